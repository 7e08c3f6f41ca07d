"""A prefetch that is not strict JSON is refused before a FHIR server is bothered with the call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.settings import Settings
from tests.fhir.fault_server import FaultServer
from tests.web.small_rooms import HOOK_INSTANCE, SERVICE

MALFORMED = {
    "a key written twice": '{"a": 1, "a": 2}',
    "a Bundle with two lists of entries": '{"resourceType": "Bundle", "entry": [], "entry": []}',
    "an entry with two ids": (
        '{"resourceType": "Bundle", "entry": [{"resource": '
        '{"resourceType": "Procedure", "id": "1", "id": "2"}}]}'
    ),
    "a number with a leading zero": '{"a": 01}',
    "half an escape": '{"a": "\\ud80"}',
}


@pytest.mark.parametrize("key", ["procedures", "scores", "somethingElse"])
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_prefetch_is_refused_before_any_search(
    server: FaultServer, tmp_path: Path, key: str, value: str
) -> None:
    """The EHR is told at once; its FHIR server saw no request."""
    body = {
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/1", "patientId": "p1"},
        "fhirServer": server.base,
        "prefetch": {key: None},
    }
    text = json.dumps(body).replace("null", value)
    settings = Settings(is_dev=True, state_dir=tmp_path / "state", deadline_ms=5_000)
    client = create_app(settings, knowledge=load_knowledge()).test_client()
    answer = client.post(SERVICE, data=text, content_type="application/json")
    assert answer.status_code == 400
    assert server.seen == []
