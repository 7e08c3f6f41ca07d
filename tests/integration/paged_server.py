"""The real FHIR server with pages of a chosen size, and real charts to put on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.conftest import TOKEN, FhirServer, wait_until_answering
from tests.patience import PATIENT_SECONDS
from tests.ports import free_port

KEYS = {
    "Procedure": "procedures",
    "Condition": "conditions",
    "ServiceRequest": "serviceRequests",
    "MedicationRequest": "medicationRequests",
    "DiagnosticReport": "diagnosticReports",
    "Device": "devices",
    "Observation": "scores",
}


@contextmanager
def paged_server(size: int, log: Path) -> Iterator[FhirServer]:
    """Run the FHIR R4 test server with pages of *size* and a required token."""
    folder = os.environ.get("FHIR_TEST_SERVER")
    node = shutil.which("node")
    if not folder or node is None or not (Path(folder) / "node_modules").is_dir():
        pytest.skip(
            "FHIR_TEST_SERVER names no prepared folder; needs Node 20 and npm: run "
            "tests/fhir_server/install FOLDER and set FHIR_TEST_SERVER=FOLDER"
        )
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "TOKEN": TOKEN,
        "INDEX": "fast",
        "DEFAULT_COUNT": str(size),
        "MAX_COUNT": str(size),
    }
    command = [node, "--experimental-websocket", "--no-warnings", "server.mjs"]
    with log.open("wb") as file, requests.Session() as session:
        process = subprocess.Popen(  # noqa: S603 - our own test server
            command, cwd=folder, env=environment, stdout=file, stderr=file
        )
        try:
            wait_until_answering(f"http://127.0.0.1:{port}/healthcheck", process)
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            yield FhirServer(f"http://127.0.0.1:{port}/fhir/R4", session)
        finally:
            process.terminate()
            process.wait(timeout=PATIENT_SECONDS)


def resources_of(path: Path) -> list[dict[str, Any]]:
    """Return the resources of a transaction Bundle with their urn:uuid references resolved."""
    text = path.read_text(encoding="utf-8")
    for entry in json.loads(text)["entry"]:
        found = entry["resource"]
        text = text.replace(f"urn:uuid:{found['id']}", f"{found['resourceType']}/{found['id']}")
    return [entry["resource"] for entry in json.loads(text)["entry"]]


def whole_prefetch(resources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a chart as complete prefetch, without any page."""
    patient = next(found for found in resources if found["resourceType"] == "Patient")
    prefetch: dict[str, Any] = {"patient": patient, "findings": None}
    for kind, key in KEYS.items():
        entries = [{"resource": found} for found in resources if found["resourceType"] == kind]
        prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    drugs = [
        {"resource": found, "search": {"mode": "include"}}
        for found in resources
        if found["resourceType"] == "Medication"
    ]
    prefetch[KEYS["MedicationRequest"]]["entry"] += drugs
    return prefetch


def made_up_operation(name: str, patient_id: str, today: date) -> list[dict[str, Any]]:
    """Return an operation 120 days ago with unchanged leg pain; ids begin with *name*."""
    subject = {"reference": f"Patient/{patient_id}"}

    def score(days_ago: int, value: int) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": f"{name}-{days_ago}",
            "status": "final",
            "subject": subject,
            "code": {"coding": [{"system": "http://loinc.org", "code": "72514-3"}]},
            "bodySite": {"coding": [{"system": "http://snomed.info/sct", "code": "61685007"}]},
            "effectiveDateTime": (today - timedelta(days=days_ago)).isoformat(),
            "valueQuantity": {"value": value, "unit": "{score}"},
        }

    operation = {
        "resourceType": "Procedure",
        "id": name,
        "status": "completed",
        "subject": subject,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "63030"}]},
        "performedDateTime": (today - timedelta(days=120)).isoformat(),
    }
    return [operation, score(130, 8), score(60, 8), score(5, 7)]
