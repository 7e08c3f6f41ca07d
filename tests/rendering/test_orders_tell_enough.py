"""Whoever gets an order reads the order, not the card."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.concepts import ICD, LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF, Answered
from tests.evaluation.whole_charts import RIGHT, answered_with, coded, observed

UNRELIEVED: dict[str, Any] = {"day": 120, "leg": {-14: 8, 115: 7}}
INTENSE = "a more intense and longer programme"


def ago(days: int) -> str:
    """Return the day *days* before today."""
    return (AS_OF - timedelta(days=days)).isoformat()


def order(answered: Answered, card: str) -> dict[str, Any]:
    """Return the first order of *card*."""
    request: dict[str, Any] = answered.card(card)["suggestions"][0]["actions"][0]["resource"]
    return request


def note(answered: Answered, card: str) -> str:
    """Return what the first order of *card* says."""
    return str(order(answered, card)["note"][0]["text"])


@pytest.mark.parametrize(("operation", "is_intense"), [("fusion", True), ("discectomy", False)])
def test_therapist_reads_which_operation_it_was(
    knowledge: Knowledge, operation: str, *, is_intense: bool
) -> None:
    """The kind of operation and its day, and whether the programme should be more intense."""
    said = note(answered_with(knowledge, {**UNRELIEVED, "operation": operation}), "PT-REF")
    assert f"{operation} ({ago(120)}): active rehabilitation" in said
    assert "no recent therapy in this record" in said
    assert (INTENSE in said) is is_intense


def test_therapist_reads_that_the_surgeon_said_no(knowledge: Knowledge) -> None:
    """Plain words, without the marks of the card."""
    code = coded(LOCAL, "surgeon-clearance-pt")
    refused = observed(code, valueBoolean=False, effectiveDateTime=ago(30))
    answered = answered_with(knowledge, {**UNRELIEVED, "operation": "discectomy"}, refused)
    said = note(answered, "PT-REF")
    assert f"The surgeon did not allow physiotherapy on {ago(30)}: ask before referring." in said
    assert "*" not in said


def test_emg_laboratory_reads_what_is_numb_and_since_when(knowledge: Knowledge) -> None:
    """Side, finding and date of the question, as for a weakness."""
    numb = {
        "resourceType": "Condition",
        "code": coded(ICD, "R20.1"),
        "bodySite": [coded(SNOMED, "56459004"), coded(SNOMED, RIGHT)],
        "onsetDateTime": ago(100),
    }
    facts = {**UNRELIEVED, "operation": "discectomy", "done": {"MRI": [60]}}
    answered = answered_with(knowledge, facts, numb)
    request = order(answered, "EMG-RAD")
    assert [site["coding"][0]["code"] for site in request["bodySite"]] == ["61685007", RIGHT]
    assert f"Leg numbness on record since {ago(100)}." in request["note"][0]["text"]
    assert "so is: leg numbness" in answered.card("EMG-RAD")["detail"]


def test_surgeon_reads_the_question_of_the_foramen(knowledge: Knowledge) -> None:
    """Foraminal stenosis from before an operation that did not relieve the pain."""
    narrow = {
        "resourceType": "Condition",
        "code": coded(ICD, "M99.63"),
        "onsetDateTime": ago(200),
    }
    done = {"MRI": [60], "physiotherapy": [60]}
    facts = {**UNRELIEVED, "operation": "decompression", "done": done}
    assert "was the foramen decompressed?" in note(
        answered_with(knowledge, facts, narrow), "SURG-REV"
    )
