"""Small FHIR resources of one made-up patient, as dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.queries import Searches
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.model import Knowledge
from tests.everything_written import FAMILY_NAME

Resource = dict[str, Any]
ReadChart = Callable[..., Chart]

KEYS = {
    "Patient": Key.PATIENT,
    "Procedure": Key.PROCEDURES,
    "Condition": Key.CONDITIONS,
    "ServiceRequest": Key.SERVICE_REQUESTS,
    "MedicationRequest": Key.MEDICATION_REQUESTS,
    "DiagnosticReport": Key.DIAGNOSTIC_REPORTS,
    "Device": Key.DEVICES,
    "Observation": Key.SCORES,
    "Encounter": Key.ENCOUNTERS,
    "ImagingStudy": Key.IMAGING_STUDIES,
    "MedicationStatement": Key.MEDICATION_STATEMENTS,
    "AllergyIntolerance": Key.ALLERGIES,
}
PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "anna",
    "name": [{"family": FAMILY_NAME}],
    "birthDate": "1970-05-01",
}
TODAY = date(2026, 11, 20)
UNREADABLE_CODES: tuple[object, ...] = (
    *(None, True, 0, {}, {"text": " "}),
    {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": {}}]},
)
"""What stands where the code of an entry should be, and says nothing."""


def chart_read(
    answers: Mapping[str, KeyAnswer],
    knowledge: Knowledge,
    *,
    fhir_server: str | None = None,
    **chosen: Any,  # noqa: ANN401 - of whatever else read_chart takes
) -> Chart:
    """Return the chart of the patient that *answers* hold."""
    return read_chart(
        answers,
        patient_id="anna",
        as_of=TODAY,
        zone=ZoneInfo("UTC"),
        knowledge=knowledge,
        bases=frozenset(),
        fhir_server=fhir_server,
        **chosen,
    )


def drug_order(**medication: object) -> Resource:
    """Return an active order of a drug."""
    return {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/anna"},
        **medication,
    }


def concept(system: str, code: str, text: str | None = None) -> Resource:
    """Return a CodeableConcept."""
    found: Resource = {"coding": [{"system": system, "code": code}]}
    return found | ({"text": text} if text else {})


SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
LOCAL = "http://post-laminectomy-cds.example/fhir/CodeSystem/finding"


def observation(code: str, system: str = LOINC, /, **fields: object) -> Resource:
    """Return a final Observation of the patient."""
    return {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": concept(system, code),
        "subject": {"reference": "Patient/anna"},
        "effectiveDateTime": "2026-11-01",
        **fields,
    }


def procedure(code: str = "50172003", system: str = SNOMED, /, **fields: object) -> Resource:
    """Return a completed Procedure of the patient; a lumbar fusion unless told otherwise."""
    return {
        "resourceType": "Procedure",
        "id": "p1",
        "status": "completed",
        "code": concept(system, code),
        "subject": {"reference": "Patient/anna"},
        "performedDateTime": "2026-05-04",
        **fields,
    }


def condition(code: str, system: str = SNOMED, /, **fields: object) -> Resource:
    """Return a Condition of the patient."""
    return {
        "resourceType": "Condition",
        "id": "c1",
        "code": concept(system, code),
        "subject": {"reference": "Patient/anna"},
        "recordedDate": "2026-10-01",
        **fields,
    }


def searches(
    knowledge: Knowledge,
    patient_id: str,
    **more: Any,  # noqa: ANN401 - handed on
) -> dict[str, tuple[str, ...]]:
    """Return every search for the patient, as the gateway sends it."""
    asked = Searches(knowledge, **more)
    return {key: asked.of(key, patient_id) for key in Key.ALL}
