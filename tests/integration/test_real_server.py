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
) -> None:
    """Each synthetic patient gets the expected cards, by prefetch and by pull, in pages of 7."""
    for persona in stored_personas:
        answer = call(service, fhir_server, persona.patient_id)
        expected = [card.replace("-", "") for card in persona.expected_cards]
        assert card_ids(answer) == expected, persona.id


def _bundle_resources(path: Path) -> list[dict[str, Any]]:
    """Return the resources of a transaction Bundle with their urn:uuid references resolved."""
    text = path.read_text(encoding="utf-8")
    bundle = json.loads(text)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        target = f"{resource['resourceType']}/{resource['id']}"
        text = text.replace(f"urn:uuid:{resource['id']}", target)
    return [entry["resource"] for entry in json.loads(text)["entry"]]


def test_real_charts_get_the_same_answer_by_prefetch_and_by_pull(
    fhir_server: FhirServer, service: Service, real_charts: Path
) -> None:
    """Charts nobody here wrote are read to the end, whichever way they arrive."""
    others = sorted((real_charts / "ahrq_pain").glob("*.json"))
    for path in [*sorted((real_charts / "synthea").glob("*.json")), *others]:
        resources = _bundle_resources(path)
        fhir_server.put_all(resources)
        patient = next(r for r in resources if r["resourceType"] == "Patient")
        pulled = by_pull(service, fhir_server, patient["id"])
        sent = by_prefetch(service, fhir_server, patient["id"])
        assert pulled.status_code == sent.status_code == 200
        assert pulled.json() == sent.json()
        assert "DATAREAD" not in card_ids(pulled)


def test_an_operation_added_to_a_real_chart_brings_the_cards(
    fhir_server: FhirServer, service: Service, real_charts: Path, today: date
) -> None:
    """A real chart of hundreds of resources with a made-up operation and pain gets its MRI card."""
    charts = [_bundle_resources(path) for path in sorted((real_charts / "synthea").glob("*.json"))]
    resources, patient = next(
        (resources, patient)
        for resources in charts
        for patient in resources
        if patient["resourceType"] == "Patient"
        and patient["birthDate"] < "1990"
        and "deceasedDateTime" not in patient
    )
    added = _surgical_history(patient["id"], today)
    fhir_server.put_all([*resources, *added])
    answer = by_pull(service, fhir_server, patient["id"])
    assert "IMGMRINR" in card_ids(answer)
    assert card_ids(by_prefetch(service, fhir_server, patient["id"])) == card_ids(answer)


def _surgical_history(patient_id: str, today: date) -> list[dict[str, Any]]:
    """Return an operation 120 days ago with unchanged leg pain, made up for this test."""
    subject = {"reference": f"Patient/{patient_id}"}
    day = today.toordinal()

    def score(number: int, days_ago: int, value: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": f"added-score-{number}",
            "status": "final",
            "subject": subject,
            "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
            "bodySite": {"coding": [{"system": "http://snomed.info/sct", "code": "61685007"}]},
            "effectiveDateTime": date.fromordinal(day - days_ago).isoformat(),
            "valueQuantity": {"value": value, "unit": "{score}"},
        }

    operation = {
        "resourceType": "Procedure",
        "id": "added-operation",
        "status": "completed",
        "subject": subject,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "63030"}]},
        "performedDateTime": date.fromordinal(day - 120).isoformat(),
    }
    return [operation, score(1, 130, 8), score(2, 60, 8), score(3, 5, 7)]


def test_every_real_resource_is_read_without_a_failure(service: Service, real_charts: Path) -> None:
    """Each real resource, thrown at the service as prefetch, gets an answer and never a 5xx."""
    resources = [
        resource
        for path in sorted(real_charts.glob("*/*.json"))
        if path.parent.name != "synthea"
        for resource in _resources_of(path)
    ]
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
