"""Hook requests of any size, all about one patient who gets cards with suggestions.

The patient had a lumbar fusion 400 days ago, still has back pain, smokes, and has had neither a CT
nor physiotherapy.  Whatever is added to reach a size are Observations as US Core servers send them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

SERVICE = "/cds-services/post-laminectomy-evaluation"
PATIENT_ID = "bench"
KEYS = {
    "Procedure": "procedures",
    "Condition": "conditions",
    "ServiceRequest": "serviceRequests",
    "MedicationRequest": "medicationRequests",
    "DiagnosticReport": "diagnosticReports",
    "Device": "devices",
    "Observation": "scores",
}
"""The prefetch key of each kind; added Observations go to ``findings``."""
FINDINGS = "findings"

_LOINC = "http://loinc.org"
_SNOMED = "http://snomed.info/sct"
_SUBJECT = {"reference": f"Patient/{PATIENT_ID}"}

Resource = dict[str, Any]

_READ = (
    ("1988-5", "C reactive protein [Mass/volume] in Serum or Plasma", 3.1, "mg/L"),
    ("8310-5", "Body temperature", 36.7, "Cel"),
    ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", 6.4, "10*3/uL"),
)
"""Measurements the rules use, at harmless values."""
_UNREAD = (
    ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", 94.2, "mg/dL"),
    ("8867-4", "Heart rate", 71, "/min"),
    ("29463-7", "Body weight", 80.4, "kg"),
    ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", 4.1, "mmol/L"),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", 13.9, "g/dL"),
)
"""Measurements no rule uses; a server that ignores ``code=`` sends them all."""


def chart(today: date) -> list[Resource]:
    """Return the patient's resources, in the few fields a small EHR sends."""
    return [
        {
            "resourceType": "Patient",
            "id": PATIENT_ID,
            "gender": "female",
            "birthDate": "1970-01-01",
        },
        _coded("Procedure", "op", _SNOMED, "50172003")
        | {"status": "completed", "performedDateTime": _day(today, 400)},
        *(
            _coded("Observation", f"pain-{ago}", _LOINC, "72514-3")
            | {"status": "final", "effectiveDateTime": _day(today, ago)}
            | {"bodySite": {"coding": [{"system": _SNOMED, "code": "77568009"}]}}
            | {"valueQuantity": {"value": score}}
            for ago, score in ((410, 7), (200, 6), (5, 7))
        ),
        _coded("Condition", "smoking", "http://hl7.org/fhir/sid/icd-10-cm", "F17.210"),
    ]


def observations(count: int, today: date, *, read_every: int = 10) -> Iterator[Resource]:
    """Yield *count* Observations as a US Core server sends them, about 1,300 bytes each.

    One in *read_every* is a measurement the rules use.
    """
    for number in range(count):
        kinds = _UNREAD if number % read_every else _READ
        yield _observation(number, _day(today, 2 + number % 900), kinds[number % len(kinds)])


def body(resources: Sequence[Resource], findings: Sequence[Resource] = ()) -> bytes:
    """Return a hook request that carries *resources* and *findings* as prefetch."""
    prefetch: dict[str, object] = {"patient": resources[0]}
    for kind, key in KEYS.items():
        prefetch[key] = searchset([each for each in resources if each["resourceType"] == kind])
    prefetch[FINDINGS] = searchset(findings)
    return encoded(_call() | {"prefetch": prefetch})


def sized_body(size: int, today: date) -> bytes:
    """Return a hook request of about *size* bytes."""
    resources = chart(today)
    empty = len(body(resources))
    each = len(body(resources, list(observations(100, today)))) - empty
    return body(resources, list(observations(max(0, (size - empty) * 100 // each), today)))


def body_to_pull(fhir_server: str) -> bytes:
    """Return a hook request without prefetch, to be answered from *fhir_server*."""
    authorization = {
        "access_token": "bench",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read",
        "subject": "bench",
    }
    return encoded(_call() | {"fhirServer": fhir_server, "fhirAuthorization": authorization})


def searchset(resources: Sequence[Resource]) -> Resource:
    """Return *resources* as the answer to a search."""
    entries = [{"resource": each, "search": {"mode": "match"}} for each in resources]
    found: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return found | ({"entry": entries} if entries else {})


def encoded(value: Mapping[str, object]) -> bytes:
    """Return *value* as JSON without blanks, as servers write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def _call() -> Resource:
    return {
        "hook": "patient-view",
        "hookInstance": "7f2b3a52-6c1d-4f7a-9a53-1f6f2f0c5a10",
        "context": {"userId": "Practitioner/bench", "patientId": PATIENT_ID},
    }


def _coded(kind: str, name: str, system: str, code: str) -> Resource:
    return {
        "resourceType": kind,
        "id": name,
        "subject": _SUBJECT,
        "code": {"coding": [{"system": system, "code": code}]},
    }


def _day(today: date, ago: int) -> str:
    return (today - timedelta(days=ago)).isoformat()


def _observation(number: int, day: str, kind: tuple[str, str, float, str]) -> Resource:
    code, display, value, unit = kind
    name = str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": {
            "versionId": "1",
            "lastUpdated": f"{day}T09:12:44.000+00:00",
            "source": f"#{name[:16]}",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"],
        },
        "identifier": [{"system": "https://ehr.example/observation", "value": name}],
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                        "display": "Laboratory",
                    }
                ],
                "text": "Laboratory",
            }
        ],
        "code": {
            "coding": [{"system": _LOINC, "code": code, "display": display}],
            "text": display,
        },
        "subject": _SUBJECT | {"display": "Example, Patient"},
        "encounter": {"reference": f"Encounter/{name[::-1]}"},
        "effectiveDateTime": f"{day}T08:30:00+00:00",
        "issued": f"{day}T09:12:44.000+00:00",
        "performer": [{"reference": f"Practitioner/{name[4:12]}", "display": "Example, Clinician"}],
        "valueQuantity": {
            "value": value,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
        "referenceRange": [{"low": {"value": 0.5, "unit": unit}, "text": f"above 0.5 {unit}"}],
    }
