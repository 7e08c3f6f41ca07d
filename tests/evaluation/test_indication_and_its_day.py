"""The level of the operation compared with the level of the only problem that names one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Facts, Resource
from cds_service.vignettes.concepts import ICD
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

OPERATED_AT_L5: Facts = {
    "day": 50,
    "operation": "discectomy",
    "operated": {"level": "L5-S1"},
    "leg": {-14: 8, 49: 7},
}


def herniation_at_l4(**dates: str) -> Resource:
    """Return the problem with its level in words, as most systems keep it."""
    code = coded(ICD, "M51.26")
    return {"resourceType": "Condition", "code": code, "bodySite": [{"text": "L4-L5"}], **dates}


def day_before_surgery(days: int) -> str:
    """Return the day so many days before the operation."""
    return (AS_OF - timedelta(days=50 + days)).isoformat()


@pytest.mark.parametrize(("days", "is_compared"), [(90, True), (91, False)])
def test_problem_with_an_onset_alone_counts_from_its_onset(
    knowledge: Knowledge, days: int, *, is_compared: bool
) -> None:
    """Without the day it was recorded, an onset 90 days before surgery counts, one of 91 not."""
    problem = herniation_at_l4(onsetDateTime=day_before_surgery(days))
    shown = answered_with(knowledge, OPERATED_AT_L5, problem).shown
    assert ("CK-LEVEL" in shown) == is_compared


@pytest.mark.parametrize(
    ("recorded", "is_compared"), [("2026-03", True), ("2026-04", False), ("2026", False)]
)
def test_problem_of_the_month_of_surgery_may_be_a_later_one(
    knowledge: Knowledge, recorded: str, *, is_compared: bool
) -> None:
    """Half a date counts on its last possible day: that is after the operation of 26 April."""
    problem = herniation_at_l4(recordedDate=recorded)
    shown = answered_with(knowledge, OPERATED_AT_L5, problem).shown
    assert ("CK-LEVEL" in shown) == is_compared


@pytest.mark.parametrize(("days", "is_compared"), [(30, True), (90, False)])
def test_problem_must_be_recent_at_both_ends_of_a_month_of_surgery(
    knowledge: Knowledge, days: int, *, is_compared: bool
) -> None:
    """Nobody knows that a problem of 90 days before that month was recent at the operation."""
    first_of_month = (AS_OF - timedelta(days=50)).replace(day=1)
    recorded = first_of_month - timedelta(days=days)
    operated = OPERATED_AT_L5 | {"operation date": "month"}
    problem = herniation_at_l4(recordedDate=recorded.isoformat())
    assert ("CK-LEVEL" in answered_with(knowledge, operated, problem).shown) == is_compared


def test_card_rests_on_the_operation_and_on_the_problem(knowledge: Knowledge) -> None:
    """Whoever checks the level must see both entries, each with its day."""
    problem = herniation_at_l4(recordedDate=day_before_surgery(30))
    findings = answered_with(knowledge, OPERATED_AT_L5, problem).assessment.findings
    [found] = [finding for finding in findings if finding.card == "CK-LEVEL"]
    [operation, indication] = found.evidence
    assert operation.reference.startswith("Procedure/")
    assert indication.reference == "Condition/more0"
    assert indication.day == AS_OF - timedelta(days=80)
