"""Every order the service can suggest, before two validators and our own rules.

The first validator is ``fhir.resources`` (inside ``order_faults``), the second pyrofile with the
official R4 definitions.  Together with the asserts of ``orders.py`` they see what one alone misses.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.evaluation.assessment import (
    Assessment,
    Evidence,
    Finding,
    Outcome,
    Proposal,
    Term,
    Verdict,
)
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.values import Side
from tests.contract.ehrs import Answered, card_id
from tests.contract.official import OfficialR4, has_definitions
from tests.contract.orders import order_faults

Order = dict[str, Any]
DAY = date(2026, 6, 10)
ORDERED_BY_CARDS = {
    "CT-FUSION", "EMG-MOTOR", "EMG-RAD", "IMG-ALT", "IMG-MRI-DEF", "IMG-MRI-NR", "IMG-MRI-RTR",
    "PAIN-REF", "PSYCH", "PT-REF", "RF-CES", "RF-EDH", "RF-INF", "RF-INF-W", "RF-MOTOR", "RF-OTHER",
    "SCS-EVAL", "SMOKE", "SURG-REV", "XR-DYN",
}  # fmt: skip
"""The cards that ever offer an order; the others speak only."""
_CHANGING = frozenset({"note", "subject", "encounter", "requester", "supportingInfo"})


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> OfficialR4:
    """Return the validator with the official definitions."""
    folder = Path(os.environ.get("FHIR_TEST_SERVER") or "absent")
    if not has_definitions(folder):
        pytest.skip(
            "FHIR_TEST_SERVER names no prepared folder, and the official FHIR definitions come "
            "with it: run tests/fhir_server/install FOLDER and set FHIR_TEST_SERVER=FOLDER"
        )
    return OfficialR4(folder, tmp_path_factory.mktemp("r4"))


def _orders_of(answers: list[Answered]) -> list[tuple[str, Order]]:
    return [
        (card_id(card), action["resource"])
        for answer in answers
        for card in answer.cards
        for suggestion in card.get("suggestions", [])
        for action in suggestion["actions"]
    ]


def _different(orders: list[tuple[str, Order]]) -> list[Order]:
    """Return one order of each make: the same but for the patient and the words of the note."""
    makes = {}
    for _, order in orders:
        make = {name: value for name, value in order.items() if name not in _CHANGING}
        makes[json.dumps([make, sorted(order)], sort_keys=True)] = order
    return list(makes.values())


def _written(knowledge: Knowledge) -> list[Order]:
    """Return every order on every side, in the form of every kind of site."""
    sites = itertools.product(("US", "other"), ("neurosurgeon", "orthopedic"))
    contexts = itertools.cycle(
        [
            CardContext(patient_id="p1"),
            CardContext(patient_id="p.1", user_id="PractitionerRole/r.1", encounter_id="e-1"),
            CardContext(patient_id="p1", user_id="Patient/p1", encounter_id="e1"),
        ]
    )
    reasons = itertools.cycle(
        [(("Condition/c1",), None), ((), "radiculopathy"), ((), "infection-spinal")]
    )
    return [
        _order(knowledge, options, next(contexts), proposal, next(reasons))
        for (country, surgeon), intent in itertools.product(sites, ("order", "plan", "proposal"))
        for options in [_options(country=country, spine_referral=surgeon, intent=intent)]
        for order_id, side in itertools.product(knowledge.orders, (None, *Side))
        for proposal in [_proposal(order_id, side)]
    ]


def _options(**wishes: str) -> CardOptions:
    return CardOptions(
        client_id="ehr", public_base_url="https://cds.example", identity_key=b"key", **wishes
    )


def _proposal(order_id: str, side: Side | None) -> Proposal:
    priority = "stat" if side is None else "routine"
    occurrence = DAY if side is Side.LEFT else None
    return Proposal(orders=(order_id,), priority=priority, side=side, occurrence=occurrence)


def _order(
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
    proposal: Proposal,
    reason: tuple[tuple[str, ...], str | None],
) -> Order:
    references, code = reason
    finding = Finding(
        card="IMG-MRI-NR",
        row=knowledge.cards["IMG-MRI-NR"].row,
        verdict=Verdict.MET,
        words={"dss": 120, "score": 7, "site": Term(kind="phrase", id="site-leg")},
        is_shown=True,
        proposals=(proposal,),
        evidence=(Evidence(reference="Procedure/op", label="operation", day=DAY),),
        reason_references=references,
        reason_code=code,
    )
    assessment = Assessment(outcome=Outcome.EVALUATED, as_of=DAY, findings=(finding,))
    [card] = render_cards(assessment, knowledge, options, context)
    suggestions: Any = card["suggestions"]
    resource: Order = suggestions[0]["actions"][0]["resource"]
    return resource


def test_suite_meets_every_card_that_offers_an_order(
    answers: list[Answered], knowledge: Knowledge
) -> None:
    """The orders judged below are all there are: each card's, and each file of cards/orders."""
    orders = _orders_of(answers)
    assert {card for card, _ in orders} == ORDERED_BY_CARDS
    texts = {order["code"]["text"] for _, order in orders}
    ours = {
        order.text for order in knowledge.orders.values() if not order.id.endswith(_OTHER_SITES)
    }
    assert texts == ours


_OTHER_SITES = ("-other", "-orthopedic")


def test_every_order_of_an_answer_passes_the_official_definitions(
    answers: list[Answered], official: OfficialR4
) -> None:
    """No order a client got breaks a cardinality, a binding, a reference type or an invariant."""
    orders = _different(_orders_of(answers))
    assert len(orders) > 100
    wrong = {
        order["code"]["text"]: faults for order in orders if (faults := official.faults_of(order))
    }
    assert wrong == {}


def test_every_order_on_every_side_for_every_site_can_be_filed(knowledge: Knowledge) -> None:
    """Whatever country, surgeon, intent, side and user: R4, US Core and our promises hold."""
    orders = _written(knowledge)
    assert len(orders) > 500
    assert [faults for order in orders if (faults := order_faults(order))] == []


def test_every_order_on_every_side_passes_the_official_definitions(
    knowledge: Knowledge, official: OfficialR4
) -> None:
    """The same orders before the official definitions."""
    orders = _different([("", order) for order in _written(knowledge)])
    assert [faults for order in orders if (faults := official.faults_of(order))] == []


BROKEN: dict[str, Callable[[Order], object]] = {
    "a status nobody knows": lambda order: order.update(status="activ"),
    "a priority nobody knows": lambda order: order.update(priority="hi"),
    "no subject": lambda order: order.pop("subject"),
    "a requester of another kind": lambda order: order.update(
        requester={"reference": "Observation/1"}
    ),
    "details without a code": lambda order: (
        order.pop("code"),
        order.update(orderDetail=[{"text": "x"}]),
    ),
    "an empty list": lambda order: order.update(supportingInfo=[]),
    "two choices": lambda order: order.update(
        occurrenceDateTime="2026-01-01", occurrencePeriod={"start": "2026-01-01"}
    ),
    "a day no calendar has": lambda order: order.update(occurrenceDateTime="2026-13-45"),
    "an element of R5": lambda order: order.update(code={"concept": {"text": "MRI"}}),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_broken_order_is_found(
    change: Callable[[Order], object], knowledge: Knowledge, official: OfficialR4
) -> None:
    """The judges together do find what is wrong; an order that must fail, fails."""
    order = copy.deepcopy(_written(knowledge)[0])
    assert official.faults_of(order) + order_faults(order) == []
    change(order)
    assert official.faults_of(order) + order_faults(order) != []
