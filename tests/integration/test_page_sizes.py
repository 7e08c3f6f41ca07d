"""Every real chart gets the same answer, whole or in pages of one to seven, sent or fetched."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Service
from tests.integration.hook_calls import HOOK_INSTANCE, by_prefetch, by_pull, card_ids
from tests.integration.paged_server import KEYS, paged_server, resources_of, whole_prefetch

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("integration")]
Resources = list[dict[str, Any]]


@pytest.fixture(scope="module")
def charts(real_charts: Path, today: date) -> list[Resources]:
    """Return all real charts, each with a made-up lumbar operation and leg pain."""
    found = [resources_of(path) for path in sorted((real_charts / "synthea").glob("*.json"))]
    assert len(found) >= 10
    asked = {*KEYS, "Patient", "Medication"}
    return [
        [
            *(resource for resource in resources if resource["resourceType"] in asked),
            *_operation(number, _patient(resources)["id"], today),
        ]
        for number, resources in enumerate(found)
    ]


@pytest.mark.parametrize("size", range(1, 8))
def test_page_size_changes_no_answer(
    service: Service, charts: list[Resources], size: int, tmp_path: Path
) -> None:
    """The chart as one prefetch, as first pages to be continued, and pulled: equal cards.

    All charts are pulled in pages of one and seven, and every second one at each size between.
    First pages are sent for all of them at size 7, and for every fourth at each other size.
    """
    with paged_server(size, tmp_path / "server.log") as fhir:
        for resources in charts:
            fhir.put_all(resources)
        shown: set[str] = set()
        for number, resources in enumerate(charts):
            patient_id = _patient(resources)["id"]
            if size in range(2, 7) and (number // 2 + size) % 2:
                continue
            whole = _whole(service, resources)
            assert by_pull(service, fhir, patient_id).json() == whole.json()
            if size == 7 or (number + size) % 4 == 0:
                assert by_prefetch(service, fhir, patient_id).json() == whole.json()
            shown |= set(card_ids(whole))
        assert "IMGMRINR" in shown
        assert "DATAREAD" not in shown


@pytest.mark.parametrize("token", [None, "another-token"])
def test_wrong_token_reads_nothing_and_is_said(
    service: Service, charts: list[Resources], token: str | None, tmp_path: Path
) -> None:
    """A FHIR server that refuses the token leads to 412, naming what is missing."""
    with paged_server(7, tmp_path / "server.log") as fhir:
        fhir.put_all(charts[0])
        body = _hook(_patient(charts[0])["id"]) | {"fhirServer": fhir.base}
        if token is not None:
            body["fhirAuthorization"] = {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": "user/*.read",
                "subject": "post-laminectomy-cds",
            }
        answer = service.post(body)
        assert answer.status_code == 412
        assert "refused access (401)" in answer.text
        assert (token or "no token") not in answer.text


def _whole(service: Service, resources: Resources) -> Any:  # noqa: ANN401 - an answer
    body = _hook(_patient(resources)["id"])
    return service.post({**body, "prefetch": whole_prefetch(resources)})


def _hook(patient_id: str) -> dict[str, Any]:
    return {
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/example", "patientId": patient_id},
    }


def _patient(resources: Resources) -> dict[str, Any]:
    return next(found for found in resources if found["resourceType"] == "Patient")


def _operation(number: int, patient_id: str, today: date) -> Resources:
    """Return an operation 120 days ago with unchanged leg pain."""
    subject = {"reference": f"Patient/{patient_id}"}

    def score(days_ago: int, value: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": f"made-up-{number}-{days_ago}",
            "status": "final",
            "subject": subject,
            "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
            "bodySite": {"coding": [{"system": "http://snomed.info/sct", "code": "61685007"}]},
            "effectiveDateTime": (today - timedelta(days=days_ago)).isoformat(),
            "valueQuantity": {"value": value, "unit": "{score}"},
        }

    operation = {
        "resourceType": "Procedure",
        "id": f"made-up-{number}",
        "status": "completed",
        "subject": subject,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "63030"}]},
        "performedDateTime": (today - timedelta(days=120)).isoformat(),
    }
    return [operation, score(130, 8), score(60, 8), score(5, 7)]
