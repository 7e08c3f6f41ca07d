"""An emergency that was read is shown although other findings were not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.chart.supply import Key
from cds_service.evaluation.assessment import Indicator, Verdict
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import LEFT, RIGHT, answered_with, coded, observed, strength


def ago(days: int) -> str:
    """Return a calendar day before the evaluation."""
    return (AS_OF - timedelta(days=days)).isoformat()


def saddle(answer: str, days_ago: int) -> Resource:
    """Return an examination of the saddle."""
    value = {"valueCodeableConcept": coded(LOCAL, answer)}
    return observed(coded(LOCAL, "saddle-sensation"), effectiveDateTime=ago(days_ago), **value)


def anal_tone(answer: str, days_ago: int) -> Resource:
    """Return an examination of the anal sphincter."""
    value = {"valueCodeableConcept": coded(LOCAL, answer)}
    return observed(coded(LOCAL, "anal-tone"), effectiveDateTime=ago(days_ago), **value)


def residual(volume: int, days_ago: int) -> Resource:
    """Return a residual volume of urine."""
    value = {"valueQuantity": {"value": volume, "unit": "mL", "code": "mL"}}
    return observed(coded(LOCAL, "pvr-ml"), effectiveDateTime=ago(days_ago), **value)


def power(grade: float, days_ago: int, side: str = LEFT) -> Resource:
    """Return the strength of a muscle."""
    value = {"valueQuantity": {"value": grade, "unit": "{score}"}}
    return strength(value, side, effectiveDateTime=ago(days_ago))


def foot_drop(days_ago: int, *, is_found: bool) -> Resource:
    """Return an examination for a foot drop."""
    return observed(
        coded(SNOMED, "6077001"), effectiveDateTime=ago(days_ago), valueBoolean=is_found
    )


@pytest.mark.parametrize(
    ("entries", "card"),
    [
        ([saddle("absent", 1)], "RF-CES"),
        ([saddle("reduced", 2), saddle("normal", 1)], "RF-CES"),
        ([anal_tone("reduced", 14)], "RF-CES"),
        ([residual(200, 1)], "RF-CES"),
        ([residual(600, 2), residual(50, 1)], "RF-CES"),
        ([power(2, 1), power(2, 1, RIGHT)], "RF-CES"),
        ([power(3, 1)], "RF-MOTOR"),
        ([power(2, 2), power(5, 1)], "RF-MOTOR"),
        ([foot_drop(2, is_found=True), foot_drop(1, is_found=False)], "RF-MOTOR"),
    ],
)
def test_emergency_that_was_read_is_shown_although_more_was_not(
    knowledge: Knowledge, entries: list[Resource], card: str
) -> None:
    """Other pages may hold a later, better value; that is no reason to be silent."""
    answered = answered_with(
        knowledge, {"day": 20, "operation": "discectomy"}, *entries, in_part=Key.FINDINGS
    )
    assert list(answered.shown) == [card]
    assert answered.shown[card].indicator is Indicator.CRITICAL
    assert answered.shown[card].proposals
    detail = str(answered.card(card)["detail"])
    assert "examination and laboratory findings (only some pages could be read)" in detail


@pytest.mark.parametrize(
    "entries",
    [
        [saddle("absent", 15)],
        [saddle("normal", 1)],
        [residual(199, 1)],
        [residual(600, 15)],
        [power(4, 1)],
        [power(3, 15)],
        [power(2, 60), power(2, 1)],
    ],
)
def test_finding_that_is_no_emergency_needs_all_findings(
    knowledge: Knowledge, entries: list[Resource]
) -> None:
    """A normal, mild, old or long known finding settles nothing while others are unread."""
    answered = answered_with(
        knowledge, {"day": 40, "operation": "discectomy"}, *entries, in_part=Key.FINDINGS
    )
    assert list(answered.shown) == ["DATA-READ"]
    rows = {finding.card: finding.verdict for finding in answered.assessment.findings}
    assert rows["RF-CES"] is rows["RF-MOTOR"] is rows["IMG-MRI-DEF"] is Verdict.CANNOT_TELL


def test_severe_early_pain_with_weakness_read_in_part_is_a_haematoma_alarm(
    knowledge: Knowledge,
) -> None:
    """Row 3 uses what was read of bladder and strength too."""
    facts = {"day": 2, "operation": "discectomy", "back": {1: 4, 2: 9}}
    volume = residual(300, 0)
    answered = answered_with(knowledge, facts, volume, in_part=Key.FINDINGS)
    assert list(answered.shown) == ["RF-EDH", "RF-POUR"]


def test_weakness_of_the_problem_list_counts_although_examinations_were_not_all_read(
    knowledge: Knowledge,
) -> None:
    """It is no emergency after 20 days; the surgeon and the MRI are named all the same."""
    facts = {"day": 40, "operation": "discectomy"}
    facts |= {"coded weakness": [{"what": "foot drop", "day": 20, "side": "left"}]}
    shown = answered_with(knowledge, facts, power(5, 1, RIGHT), in_part=Key.FINDINGS).shown
    assert {"SURG-REV", "IMG-MRI-DEF"} <= shown.keys()
