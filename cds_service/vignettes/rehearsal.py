"""A made-up patient walks the road of a chart before the first real one, who then waits less.

Python and its packages prepare much at its first use.  Nothing of the patient is recorded, counted
or logged, and no server is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import msgspec
import structlog

from cds_service.evaluation.assess import assess
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.reading import read_chart
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import parse_request
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import render
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.trust.profile import dev_profile
from cds_service.vignettes.charts import BASE, PATIENT_ID, Facts, expand

_LOG = structlog.get_logger("cds_service.rehearsal")
_TIMES = 10
"""Python makes a function faster once it has run eight times."""
_SECONDS = 60.0
_PATIENT: Facts = {
    "day": 400,
    "operation": ["decompression", "fusion"],
    "leg": {-25: 7, 350: 6, 395: 7},
    "back": {-25: 7, 180: 6, 395: 7},
    "done": {"x-ray": 100},
    "drugs": [{"drug": "NSAID", "from": 305}],
}


def rehearse_if_possible(knowledge: Knowledge, today: date, monotonic: Callable[[], float]) -> None:
    """Rehearse; a fault in it is logged and keeps no service from starting."""
    try:
        rehearse(knowledge, today, monotonic)
    except Exception as fault:  # noqa: BLE001 - real patients may well be answered
        _LOG.error("rehearsal_failed", exception=type(fault).__name__)


def rehearse(
    knowledge: Knowledge, today: date, monotonic: Callable[[], float]
) -> tuple[dict[str, object], ...]:
    """Answer the made-up patient a few times as if it was *today*; return the cards."""
    body = _hook_call(today)
    client = dev_profile()
    gateway = Gateway(knowledge, monotonic)
    options = CardOptions(
        client_id=client.id, public_base_url="https://cds.example", identity_key=b"rehearsal"
    )
    cards: list[dict[str, object]] = []
    for _ in range(_TIMES):
        request = parse_request(body, service_id=SERVICE_ID, allows_as_of=False)
        deadline = Deadline.after(_SECONDS, monotonic)
        chart = read_chart(
            gateway.answers(request, client, deadline),
            patient_id=request.patient_id,
            as_of=today,
            zone=client.time_zone,
            knowledge=knowledge,
            bases=frozenset({BASE}),
            fhir_server=None,
            has_time=deadline.leaves_time_to_read,
            sent=request.prefetch,
        )
        context = CardContext(patient_id=request.patient_id, user_id=request.user_id)
        cards = render(assess(chart, knowledge, today), knowledge, options, context).cards
    return tuple(cards)


def _hook_call(today: date) -> bytes:
    """Return a hook call that sends the whole chart along."""
    resources = expand(_PATIENT, today)
    prefetch: dict[str, object] = {
        key: {"resourceType": "Bundle", "entry": [{"resource": each} for each in found]}
        for key, found in resources.items()
    }
    prefetch["patient"] = resources["patient"][0]
    return msgspec.json.encode(
        {
            "hook": "patient-view",
            "hookInstance": "00000000-0000-4000-8000-000000000000",
            "context": {"userId": "Practitioner/1", "patientId": PATIENT_ID},
            "prefetch": prefetch,
        }
    )
