"""Our synthetic charts on a public FHIR R4 sandbox, and the service run against it.

Only made-up patients are ever sent; each resource carries our tag and the prefix of our ids.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import requests
from flask.testing import FlaskClient

from cds_service.demo.personas import Persona, load_personas
from cds_service.errors import CdsError, SettingsError
from cds_service.hooks.discovery import HOOK, SERVICE_ID

TAG = {
    "system": "http://post-laminectomy-cds.example/fhir/CodeSystem/tag",
    "code": "synthetic-demo",
    "display": "Synthetic patient of the post-laminectomy service",
}
_TIMEOUT_SECONDS = 60
_NAMESPACE = uuid.UUID("6f1a2f0c-6d3b-5a52-9a0e-3f2c4b1d8e77")


class SandboxError(CdsError):
    """The sandbox did not take or give what was asked."""


def load(base_url: str, today: date) -> Iterator[Persona]:
    """Put every persona on the FHIR server at *base_url*; yields each one when it is there.

    Raises:
        SandboxError: The server refused a chart or could not be reached.
    """
    _refuse_odd_base(base_url)
    with requests.Session() as session:
        session.trust_env = False
        for persona in load_personas(today):
            _put(session, base_url, persona)
            yield persona


def _refuse_odd_base(base_url: str) -> None:
    if not base_url.startswith(("https://", "http://")):
        raise SettingsError(
            "BASE_URL: this is not a web address. Give the base URL of a FHIR R4 server, for "
            "example https://hapi.fhir.org/baseR4."
        )


def _put(session: requests.Session, base_url: str, persona: Persona) -> None:
    try:
        answer = session.post(
            f"{base_url.rstrip('/')}/",
            data=json.dumps(_tagged_transaction(persona)).encode(),
            headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise SandboxError(
            f"Chart '{persona.id}': the FHIR server could not be reached "
            f"({type(error).__name__}). Check BASE_URL and your network, then run the command "
            "again; charts that are there already are only replaced."
        ) from None
    if not answer.ok or answer.is_redirect:
        raise SandboxError(
            f"Chart '{persona.id}': the FHIR server answered {answer.status_code} to a "
            "transaction. Check that BASE_URL is an R4 server that takes transactions without "
            "a login."
        )


def _tagged_transaction(persona: Persona) -> Mapping[str, Any]:
    """Return the chart as a transaction of updates, each resource with our tag."""
    entries = []
    for resource in persona.resources:
        meta = {**resource.get("meta", {}), "tag": [TAG]}
        address = f"{resource['resourceType']}/{resource['id']}"
        entries.append(
            {
                "resource": {**resource, "meta": meta},
                "request": {"method": "PUT", "url": address},
            }
        )
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def open_chart(client: FlaskClient, base_url: str, patient_id: str) -> list[Mapping[str, Any]]:
    """Return the cards of the service behind *client* for a patient on *base_url*, by pull.

    Raises:
        SandboxError: The service answered with an error.
    """
    answer = client.post(
        f"/cds-services/{SERVICE_ID}",
        json={
            "hook": HOOK,
            "hookInstance": str(uuid.uuid5(_NAMESPACE, f"{base_url} {patient_id}")),
            "fhirServer": base_url.rstrip("/"),
            "context": {"userId": "Practitioner/plcds-sandbox", "patientId": patient_id},
        },
    )
    content = answer.get_json()
    if answer.status_code != requests.codes.ok:
        raise SandboxError(
            f"The service answered {answer.status_code}: {content['issue'][0]['details']['text']}"
        )
    cards: list[Mapping[str, Any]] = content["cards"]
    return cards
