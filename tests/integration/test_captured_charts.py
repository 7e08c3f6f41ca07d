"""Everything captured from real systems, put on a real FHIR server: the same cards by each way."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import FhirServer, Service
from tests.integration.hook_calls import HOOK_INSTANCE, by_prefetch, by_pull, card_ids
from tests.integration.paged_server import KEYS, made_up_operation, whole_prefetch

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("integration")]
Resource = dict[str, Any]


@pytest.fixture(scope="module")
def captured(real_charts: Path) -> dict[tuple[str, str], Resource]:
    """Return every resource of the captured files by type and id; of several the last counts."""
    found: list[Resource] = []
    for path in sorted(real_charts.glob("*/*.json")):
        if path.parent.name != "synthea":
            _collect(json.loads(path.read_text("utf-8")), found)
    assert len(found) > 500
    kept = {}
    for number, resource in enumerate(found):
        name = resource.get("id") or f"made-up-{number}"
        kept[resource["resourceType"], str(name)] = {**resource, "id": str(name)}
    return kept


def _collect(value: object, found: list[Resource]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        if value.get("resourceType", "Bundle") != "Bundle":
            found.append(value)
            return
        for item in value.values():
            _collect(item, found)


def _owner(resource: Resource) -> str | None:
    reference = resource.get("subject") or resource.get("patient")
    text = reference.get("reference") if isinstance(reference, dict) else None
    return text.removeprefix("Patient/") if isinstance(text, str) and "://" not in text else None


def test_captured_charts_get_the_same_cards_whole_sent_and_pulled(
    fhir_server: FhirServer,
    service: Service,
    captured: dict[tuple[str, str], Resource],
    today: date,
) -> None:
    """Each patient any of them names is opened, with a made-up operation and leg pain added."""
    owners = {owner for owner in map(_owner, captured.values()) if owner}
    names = sorted(owners | {name for kind, name in captured if kind == "Patient"})
    assert len(names) >= 10
    for number, name in enumerate(names):
        plain = {"resourceType": "Patient", "id": name, "birthDate": "1970-01-01"}
        captured.setdefault(("Patient", name), plain)
        for added in made_up_operation(f"captured-{number}", name, today):
            captured[added["resourceType"], added["id"]] = added
    fhir_server.put_all(
        [found for (kind, _), found in captured.items() if kind in {*KEYS, "Patient", "Medication"}]
    )
    shown: set[str] = set()
    drugs = [found for (kind, _), found in captured.items() if kind == "Medication"]
    for name in names:
        own = [found for found in captured.values() if _owner(found) == name]
        whole = service.post(
            {
                "hook": "patient-view",
                "hookInstance": HOOK_INSTANCE,
                "context": {"userId": "Practitioner/example", "patientId": name},
                "prefetch": whole_prefetch([captured["Patient", name], *own, *drugs]),
            }
        )
        assert by_pull(service, fhir_server, name).json() == whole.json(), name
        assert by_prefetch(service, fhir_server, name).json() == whole.json(), name
        shown |= set(card_ids(whole))
    assert "IMGMRINR" in shown
