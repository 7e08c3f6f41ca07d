"""How an EHR calls the service: by prefetch it resolved itself, or by letting the service pull."""

from __future__ import annotations

from datetime import date
from typing import Any

import requests

from cds_service.hooks.request import AS_OF_EXTENSION
from tests.integration.conftest import TOKEN, FhirServer, Service

HOOK_INSTANCE = "11111111-2222-4333-8444-555555555555"


def by_pull(
    service: Service, fhir: FhirServer, patient_id: str, as_of: date | None = None
) -> requests.Response:
    """Fire patient-view without prefetch; the service reads the chart with the token."""
    return service.post({**_call(patient_id, as_of), **_access(fhir)})


def by_prefetch(
    service: Service, fhir: FhirServer, patient_id: str, as_of: date | None = None
) -> requests.Response:
    """Fire patient-view with every template of discovery resolved, first pages only."""
    services = requests.get(f"{service.base}/cds-services", timeout=10).json()["services"]
    templates = services[0]["prefetch"]
    prefetch = {
        key: fhir.get(template.replace("{{context.patientId}}", patient_id))
        for key, template in templates.items()
    }
    return service.post({**_call(patient_id, as_of), **_access(fhir), "prefetch": prefetch})


def card_ids(answer: requests.Response) -> list[str]:
    """Return the topic codes of the cards, in order."""
    assert answer.status_code == requests.codes.ok, answer.text
    return [card["source"]["topic"]["code"] for card in answer.json()["cards"]]


def _call(patient_id: str, as_of: date | None) -> dict[str, Any]:
    """Return a call for the chart as of a day; a run of the tests may go past midnight."""
    asked = {} if as_of is None else {"extension": {AS_OF_EXTENSION: as_of.isoformat()}}
    return {
        **asked,
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/example", "patientId": patient_id},
    }


def _access(fhir: FhirServer) -> dict[str, Any]:
    return {
        "fhirServer": fhir.base,
        "fhirAuthorization": {
            "access_token": TOKEN,
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "user/*.read",
            "subject": "post-laminectomy-cds",
        },
    }
