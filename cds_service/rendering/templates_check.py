"""Are the words of ``cards/`` fit to be sent?  Asked once at start-up.

Every order is filled with an example and validated as an R4 ServiceRequest.
"""

from __future__ import annotations

from datetime import date

from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import ValidationError

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Evidence, Finding, Proposal, Verdict
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.forms import Forms
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.rendering.orders import OrderWriter
from cds_service.rendering.placing import Offer, Place
from cds_service.rendering.wording import Wording
from cds_service.values import Side

_OPTIONS = CardOptions(
    client_id="check", public_base_url="https://cds.example", identity_key=b"check"
)
_CONTEXT = CardContext(patient_id="example", user_id="Practitioner/example", encounter_id="example")
_CARD = "00000000-0000-0000-0000-000000000000"
_DAY = date(2026, 1, 1)


def check_orders(knowledge: Knowledge) -> list[str]:
    """Return what is wrong with the orders of ``cards/orders``, each filled with an example."""
    problems = []
    for order_id in sorted(knowledge.orders):
        try:
            ServiceRequest.model_validate(_example(knowledge, order_id))
        except ValidationError as error:
            fields = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
            problems.append(
                f"cards/orders/{order_id}.yaml: the order is not a valid FHIR R4 ServiceRequest "
                f"({fields}). Correct these fields."
            )
        except KnowledgeError as error:
            problems.append(str(error))
    return problems


def _example(knowledge: Knowledge, order_id: str) -> object:
    proposal = Proposal(orders=(order_id,), priority="routine", side=Side.LEFT, occurrence=_DAY)
    finding = Finding(
        card="CK-LEVEL",
        row=knowledge.cards["CK-LEVEL"].row,
        verdict=Verdict.MET,
        evidence=(Evidence(reference="Procedure/example", label="operation", day=_DAY),),
        proposals=(proposal,),
        reason_references=("Condition/example",),
    )
    forms = Forms(_OPTIONS, knowledge)
    writer = OrderWriter(forms, _CONTEXT, Wording(knowledge, _DAY))
    offer = Offer(proposal=proposal, places=(Place(form=forms.order(order_id)),))
    [suggestion] = writer.suggestions(finding, [offer], _CARD, lambda _: "Example.")
    actions = suggestion["actions"]
    if not isinstance(actions, list):
        raise KnowledgeError(f"cards/orders/{order_id}.yaml: the order makes no action.")
    return actions[0]["resource"]
