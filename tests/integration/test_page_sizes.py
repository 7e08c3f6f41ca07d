"""Every chart gets the same answer, whole or in pages of one to seven, sent or fetched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cds_service.demo.personas import load_personas
from tests.integration.conftest import Service
from tests.integration.hook_calls import HOOK_INSTANCE, by_prefetch, by_pull, card_ids
from tests.integration.paged_server import (
    KEYS,
    made_up_operation,
    paged_server,
    resources_of,
    whole_prefetch,
)

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("integration")]
Resources = list[dict[str, Any]]
CALLERS = 4
"""Charts opened at the same time."""


@pytest.fixture(scope="module")
def charts(real_charts: Path, today: date) -> list[Resources]:
    """Return all real charts, each with a made-up lumbar operation, and all synthetic ones."""
    paths = [path for name in ("synthea", "ahrq_pain") for path in (real_charts / name).iterdir()]
    found = [resources_of(path) for path in sorted(paths)]
    assert len(found) >= 11
    asked = {*KEYS, "Patient", "Medication"}
    real = [
        [
            *(resource for resource in resources if resource["resourceType"] in asked),
            *made_up_operation(f"made-up-{number}", _patient(resources)["id"], today),
        ]
        for number, resources in enumerate(found)
    ]
    return [*real, *(list(persona.resources) for persona in load_personas(today))]


@pytest.mark.parametrize("size", range(1, 8))
def test_page_size_changes_no_answer(
    service: Service, charts: list[Resources], size: int, tmp_path: Path
) -> None:
    """The chart as one prefetch, as first pages to be continued, and pulled: equal cards."""

    def cards(resources: Resources) -> list[str]:
        patient_id = _patient(resources)["id"]
        whole = _whole(service, resources)
        assert by_pull(service, fhir, patient_id).json() == whole.json()
        assert by_prefetch(service, fhir, patient_id).json() == whole.json()
        return card_ids(whole)

    with paged_server(size, tmp_path / "server.log") as fhir, ThreadPoolExecutor(CALLERS) as pool:
        for resources in charts:
            fhir.put_all(resources)
        shown = {card for found in pool.map(cards, charts) for card in found}
    assert {"IMGMRINR", "RFCES"} <= shown
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
