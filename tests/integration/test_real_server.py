"""The whole road on real input: a real FHIR server, a real service process, real charts."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.demo.personas import load_personas
from tests.integration.conftest import FhirServer, Service
from tests.integration.hook_calls import by_prefetch, by_pull, card_ids

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("integration")]


@pytest.fixture(scope="module")
def stored_personas(fhir_server: FhirServer, today: date) -> tuple[Any, ...]:
    """Store every persona on the FHIR server, as the EHR would hold it."""
    personas = load_personas(today)
    for persona in personas:
        fhir_server.put_all(list(persona.resources))
    return personas


@pytest.mark.parametrize("call", [by_pull, by_prefetch])
def test_every_persona_gets_the_cards_its_story_tells(
    call: Any,  # noqa: ANN401 - one of the two ways to call
    fhir_server: FhirServer,
    service: Service,
    stored_personas: tuple[Any, ...],
    today: date,
) -> None:
    """Each synthetic patient gets the expected cards, by prefetch and by pull, in pages of 7."""
    for persona in stored_personas:
        answer = call(service, fhir_server, persona.patient_id, today)
        expected = [card.replace("-", "") for card in persona.expected_cards]
        assert card_ids(answer) == expected, persona.id


def test_every_real_resource_is_read_without_a_failure(service: Service, real_charts: Path) -> None:
    """Each real resource, thrown at the service as prefetch, gets an answer and never a 5xx."""
    resources = [
        resource
        for path in sorted(real_charts.glob("*/*.json"))
        if path.parent.name != "synthea"
        for resource in _resources_of(path)
    ]
    assert resources
    patient = {"resourceType": "Patient", "id": "example", "birthDate": "1960-01-01"}
    for start in range(0, len(resources), 40):
        entries = [{"resource": resource} for resource in resources[start : start + 40]]
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        answer = service.post(
            {
                "hook": "patient-view",
                "hookInstance": "11111111-2222-4333-8444-555555555555",
                "context": {"userId": "Practitioner/example", "patientId": "example"},
                "prefetch": {
                    "patient": patient,
                    **dict.fromkeys(("procedures", "conditions", "scores", "findings"), bundle),
                },
            }
        )
        assert answer.status_code == 200, answer.text


def _resources_of(path: Path) -> list[Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and content.get("resourceType") == "Bundle":
        return [entry.get("resource") for entry in content.get("entry", [])]
    return [content]
