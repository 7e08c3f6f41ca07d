"""How the test EHR writes its requests."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from cds_service.demo.fhir_server import AccessTokens
from cds_service.demo.personas import load_personas
from cds_service.demo.prefetch import Delivery, Manner, Opening, RequestWriter
from cds_service.demo.store import ChartStore

TODAY = date(2026, 3, 1)
BASE = "http://127.0.0.1:8090/fhir"
TEMPLATES = {
    "patient": "Patient/{{context.patientId}}",
    "procedures": "Procedure?patient={{context.patientId}}",
    "devices": "Device?patient={{context.patientId}}",
}
TOKENS = AccessTokens()


def _request(delivery: Delivery, manner: Manner = Manner.PLAIN) -> dict[str, Any]:
    resources = [r for persona in load_personas(TODAY) for r in persona.resources]
    store = ChartStore(resources, lambda: datetime(2026, 3, 1, tzinfo=UTC))
    opening = Opening(
        patient_id="plcds-opioid",
        as_of=TODAY,
        hook_instance=UUID(int=7),
        delivery=delivery,
        manner=manner,
    )
    writer = RequestWriter(store=store, tokens=TOKENS, fhir_base=BASE)
    return writer.request(opening, TEMPLATES)


def test_prefetch_sends_every_key_and_no_token() -> None:
    """With prefetch, the service needs nothing from the FHIR server."""
    request = _request(Delivery.PREFETCH)
    assert set(request["prefetch"]) == set(TEMPLATES)
    assert "fhirAuthorization" not in request
    assert request["prefetch"]["patient"]["id"] == "plcds-opioid"
    assert request["prefetch"]["devices"]["total"] == 0


def test_pull_sends_a_token_for_this_patient_only() -> None:
    """With pull, nothing is prefetched and the token opens one chart."""
    request = _request(Delivery.PULL)
    assert "prefetch" not in request
    token = request["fhirAuthorization"]["access_token"]
    grant = TOKENS.grant_of(f"Bearer {token}")
    assert grant is not None
    assert (grant.patient_id, grant.may_write) == ("plcds-opioid", False)


def test_both_sends_the_required_keys_and_lets_the_rest_be_pulled() -> None:
    """Patient and procedures travel in the request."""
    request = _request(Delivery.BOTH)
    assert set(request["prefetch"]) == {"patient", "procedures"}
    assert request["fhirServer"] == BASE


def test_epic_manner_is_absolute_references_and_a_warning_for_nothing_found() -> None:
    """Epic answers an empty search with an OperationOutcome entry."""
    prefetch = _request(Delivery.PREFETCH, Manner.EPIC)["prefetch"]
    outcome = prefetch["devices"]["entry"][0]
    assert outcome["search"]["mode"] == "outcome"
    assert outcome["resource"]["issue"][0]["details"]["coding"][0]["code"] == "4101"
    subject = prefetch["procedures"]["entry"][0]["resource"]["subject"]
    assert subject["reference"] == f"{BASE}/Patient/plcds-opioid"


@pytest.mark.parametrize("manner", Manner)
def test_every_manner_says_which_day_it_is(manner: Manner) -> None:
    """The as-of extension carries the day of the slider."""
    request = _request(Delivery.PREFETCH, manner)
    assert request["extension"]["org.post-laminectomy-cds.as-of"] == "2026-03-01"
