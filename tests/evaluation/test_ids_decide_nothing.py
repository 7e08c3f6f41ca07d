"""What an EHR calls its entries changes nothing on a card."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD, LOINC, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

BOTH_WAYS = [("a1", "z1"), ("z1", "a1")]
NO_RELIEF = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}


def _ago(days: int) -> str:
    return (AS_OF - timedelta(days=days)).isoformat()


def _smoking(code: str) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": coded(LOINC, "72166-2"),
        "effectiveDateTime": _ago(10),
        "valueCodeableConcept": coded(SNOMED, code),
    }


@pytest.mark.parametrize(("smokes", "never"), BOTH_WAYS)
def test_of_two_answers_of_one_day_smoking_counts(
    knowledge: Knowledge, smokes: str, never: str
) -> None:
    """As of two scores of one day the higher."""
    yes = {**_smoking("449868002"), "id": smokes}
    no = {**_smoking("266919005"), "id": never}
    assert "SMOKE" in answered_with(knowledge, NO_RELIEF, yes, no).shown
    assert "SMOKE" not in answered_with(knowledge, NO_RELIEF, no).shown


@pytest.mark.parametrize(("retention", "incontinence"), BOTH_WAYS)
def test_of_two_bladder_signs_of_one_day_both_are_told(
    knowledge: Knowledge, retention: str, incontinence: str
) -> None:
    """Neither is left out because of its id."""
    signs = [
        {"resourceType": "Condition", "id": each, "code": coded(ICD, code), "recordedDate": _ago(1)}
        for each, code in ((retention, "R33.9"), (incontinence, "R32"))
    ]
    facts = {"day": 20, "operation": "discectomy"}
    card = answered_with(knowledge, facts, *signs).card("RF-CES")
    assert "urinary retention" in str(card["summary"]).lower()
    assert "urinary incontinence" in str(card["summary"]).lower()


@pytest.mark.parametrize(("pacemaker", "unknown"), BOTH_WAYS)
def test_of_several_unsafe_implants_one_of_a_known_kind_is_named_first(
    knowledge: Knowledge, pacemaker: str, unknown: str
) -> None:
    """The device clinic can be asked about it; nobody can ask about "an implant"."""
    unsafe = {"resourceType": "Device", "status": "active", "safety": [{"text": "MR Unsafe"}]}
    implants = (
        {**unsafe, "id": pacemaker, "type": coded(SNOMED, "424921004")},
        {**unsafe, "id": unknown, "type": {"text": "Brand 7"}},
    )
    facts = {"day": 20, "operation": "discectomy", "findings": {"cauda equina syndrome": 19}}
    detail = str(answered_with(knowledge, facts, *implants).card("RF-CES")["detail"])
    assert "No MRI order: cardiac pacemaker, MR status unsafe" in detail
