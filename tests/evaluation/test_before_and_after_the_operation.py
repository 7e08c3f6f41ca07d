"""What an entry says of today hangs on its side of the operation, and on what is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import LOINC, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import LEFT, RIGHT, answered_with, coded, observed, strength

ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
SIXTY_DAYS = {"day": 60, "operation": "discectomy"}
FOOT_DROP_LEFT = coded(ICD, "M21.372")
LUMBAR_STENOSIS = coded(SNOMED, "18347007")
FRACTURE = coded(SNOMED, "426646004")


def _ago(days: int) -> str:
    return (AS_OF - timedelta(days=days)).isoformat()


def _problem(code: Resource, **fields: object) -> Resource:
    return {"resourceType": "Condition", "code": code, **fields}


@pytest.mark.parametrize(("status", "is_new"), [("resolved", True), ("active", False)])
def test_foot_drop_that_healed_years_ago_is_no_measure_for_a_new_one(
    knowledge: Knowledge, status: str, *, is_new: bool
) -> None:
    """Only a foot drop that was still there at the operation makes today's an old one."""
    old = _problem(FOOT_DROP_LEFT, onsetDateTime=_ago(2000), clinicalStatus=coded(CLINICAL, status))
    new = _problem(FOOT_DROP_LEFT, onsetDateTime=_ago(10))
    answered = answered_with(knowledge, SIXTY_DAYS, old, new)
    assert ("RF-MOTOR" in answered.shown) == is_new


def test_foot_drop_from_before_surgery_entered_after_it_is_not_new(knowledge: Knowledge) -> None:
    """The day it began counts, not the day somebody wrote it down."""
    entry = _problem(FOOT_DROP_LEFT, onsetDateTime=_ago(80), recordedDate=_ago(10))
    assert "RF-MOTOR" not in answered_with(knowledge, SIXTY_DAYS, entry).shown


@pytest.mark.parametrize(("age", "is_emergency"), [(14, True), (15, False)])
def test_second_leg_that_weakens_is_an_emergency_though_the_first_was_not_seen_for_long(
    knowledge: Knowledge, age: int, *, is_emergency: bool
) -> None:
    """One leg examined nine months ago and never since, the other weak for two weeks."""
    weak = {"valueInteger": 4}
    answered = answered_with(
        knowledge,
        {"day": 300, "operation": "discectomy"},
        strength(weak, LEFT, effectiveDateTime=_ago(280)),
        strength(weak, RIGHT, effectiveDateTime=_ago(age)),
    )
    assert ("RF-CES" in answered.shown) == is_emergency


@pytest.mark.parametrize(("second", "rises"), [(60, False), (10, True)])
def test_crp_is_compared_with_the_worst_value_of_an_earlier_day(
    knowledge: Knowledge, second: int, *, rises: bool
) -> None:
    """10 and 60 on one day are a 60: 70 four days later is no rise by a quarter."""
    tests = [
        observed(
            coded(LOINC, "1988-5"),
            valueQuantity={"value": value, "unit": "mg/L"},
            effectiveDateTime=_ago(age),
        )
        for age, value in ((5, 10), (5, second), (1, 70))
    ]
    answered = answered_with(knowledge, {"day": 9, "operation": "discectomy"}, *tests)
    assert ("RF-INF-W" in answered.shown) == rises


def _fusion(**why: list[Resource]) -> Resource:
    """Return a fusion of sixty days ago, with the reason that its entry gives."""
    return {
        "resourceType": "Procedure",
        "status": "completed",
        "code": coded(SNOMED, "50172003"),
        "performedDateTime": _ago(60),
        **why,
    }


@pytest.mark.parametrize(
    ("dates", "is_told"),
    [
        ({"onsetDateTime": _ago(59)}, True),
        ({"onsetDateTime": _ago(60)}, False),
        ({"recordedDate": _ago(59)}, False),
    ],
)
def test_fracture_that_began_after_an_operation_for_a_fracture_is_another_one(
    knowledge: Knowledge, dates: Resource, *, is_told: bool
) -> None:
    """Without its first day nobody knows: the old one is often written down again later."""
    operation = _fusion(reasonCode=[FRACTURE])
    answered = answered_with(knowledge, SIXTY_DAYS, operation, _problem(FRACTURE, **dates))
    assert ("RF-OTHER" in answered.shown) == is_told


def test_entry_that_the_operation_names_as_its_reason_is_no_new_fracture(
    knowledge: Knowledge,
) -> None:
    """Whatever day it was given afterwards."""
    operation = _fusion(reasonReference=[{"reference": "Condition/more1"}])
    reason = _problem(FRACTURE, onsetDateTime=_ago(59))
    assert "RF-OTHER" not in answered_with(knowledge, SIXTY_DAYS, operation, reason).shown


@pytest.mark.parametrize(
    ("age", "status", "is_told"),
    [(59, "final", True), (60, "final", False), (59, "preliminary", False)],
)
def test_stenosis_coded_in_a_report_since_the_operation_goes_to_the_surgeon(
    knowledge: Knowledge, age: int, status: str, *, is_told: bool
) -> None:
    """A final report from the day after surgery on; one of the day of surgery is its reason."""
    report = {
        "resourceType": "DiagnosticReport",
        "status": status,
        "code": coded(LOINC, "24967-2"),
        "effectiveDateTime": _ago(age),
        "conclusionCode": [LUMBAR_STENOSIS],
    }
    assert ("SURG-REV" in answered_with(knowledge, SIXTY_DAYS, report).shown) == is_told
