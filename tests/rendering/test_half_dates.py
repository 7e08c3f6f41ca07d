"""A card shows the month or year that the chart gives, never a day nobody wrote."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.rendering.trace import trace_json
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import LOCAL, LOINC, SNOMED
from cds_service.vignettes.running import Answered
from tests.evaluation.whole_charts import LEFT, answered_with, coded, observed, strength

MRI = coded(LOINC, "24967-2")
NO_RELIEF = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
LAST_DAYS = re.compile(r"2026-04-30|2026-05-31|2025-12-31|2026-06-15")


def detail(answered: Answered, card: str) -> str:
    """Return summary and text of *card*."""
    shown = answered.card(card)
    return f"{shown['summary']}\n{shown['detail']}"


@pytest.mark.parametrize(
    ("earliest", "latest", "written"),
    [
        (date(2025, 1, 1), date(2025, 12, 31), "2025"),
        (date(2025, 4, 1), date(2025, 4, 30), "2025-04"),
        (date(2026, 6, 1), date(2026, 6, 15), "2026-06"),
        (date(2026, 1, 1), date(2026, 6, 15), "2026"),
        (date(2025, 12, 30), date(2026, 1, 2), "2025 to 2026"),
        (date(2025, 4, 30), date(2025, 4, 30), "2025-04-30"),
    ],
)
def test_date_is_written_as_precisely_as_it_is_known(
    earliest: date, latest: date, written: str
) -> None:
    """Years and months stay years and months, also where today cuts them."""
    assert FhirDate(earliest=earliest, latest=latest).written == written


def test_operation_dated_to_a_month_says_how_it_was_looked_at(knowledge: Knowledge) -> None:
    """Who reads "120 days ago" beside a month learns that its first and last day both count."""
    said = "The chart dates the operation only to a month or year"
    chart = {**NO_RELIEF, "leg": {-30: 8, 115: 7}}
    dated = answered_with(knowledge, chart)
    assert said not in detail(dated, "IMG-MRI-NR")
    to_a_month = answered_with(knowledge, {**chart, "operation date": "month"})
    assert said in detail(to_a_month, "IMG-MRI-NR")


@pytest.mark.parametrize(("date_of_second", "count"), [("unknown", 1), ("day", 0)])
def test_operation_without_a_date_that_was_not_used_is_told(
    knowledge: Knowledge, date_of_second: str, count: int
) -> None:
    """Days count from the operation with a date; the reader learns that there is another entry."""
    second = {"day": -400, "operation": "fusion", "date": date_of_second}
    answered = answered_with(knowledge, {**NO_RELIEF, "other operations": [second]})
    said = "Entries for a lumbar operation without a date, not used: 1."
    assert detail(answered, "IMG-MRI-NR").count(said) == count
    assert str(trace_json(answered.assessment)["undatedOperations"]).count("Procedure/") == count


@pytest.mark.parametrize(
    ("onset", "said"), [("2025", "since 2025:"), ("2026-01", "since 2026-01:")]
)
def test_old_infection_is_on_record_since_the_year_the_chart_gives(
    knowledge: Knowledge, onset: str, said: str
) -> None:
    """An onset of "2025" is not the last day of 2025."""
    infection = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "302935008"),
        "onsetDateTime": onset,
    }
    answered = answered_with(knowledge, {"day": 500, "operation": "discectomy"}, infection)
    text = detail(answered, "RF-INF-W")
    assert said in text
    assert f"({onset})" in text
    assert not LAST_DAYS.search(text)


def _report(effective: str) -> Resource:
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": MRI,
        "effectiveDateTime": effective,
    }


def test_test_done_in_a_month_is_shown_with_the_month(knowledge: Knowledge) -> None:
    """It counts on the last day of April, but nobody wrote that day."""
    facts: dict[str, Any] = {**NO_RELIEF, "day": 60, "leg": {-14: 8, 1: 1, 58: 7}}
    for month in ("2026-05", "2026-04"):
        answered = answered_with(knowledge, facts, _report(month))
        text = detail(answered, next(iter(answered.shown)))
        assert f"lumbar MRI {month}" in text
        assert f"Reports of {month} not read" in text
        assert not LAST_DAYS.search(text)


def test_mri_to_read_now_is_named_with_its_month(knowledge: Knowledge) -> None:
    """Done in the month of the sign, as the chart says."""
    facts = {"day": 30, "operation": "discectomy", "findings": {"cauda equina syndrome": 20}}
    text = detail(answered_with(knowledge, facts, _report("2026-06")), "RF-CES")
    assert "An MRI of 2026-06 is on record" in text
    assert not LAST_DAYS.search(text)


def test_weakness_of_a_month_is_shown_with_the_month(knowledge: Knowledge) -> None:
    """The month is said, and that the exact date is missing."""
    grade = {"valueInteger": 3}
    facts = {"day": 80, "operation": "discectomy"}
    weak = strength(grade, LEFT, effectiveDateTime="2026-05")
    text = detail(answered_with(knowledge, facts, weak), "IMG-MRI-DEF")
    assert "exact date not recorded (2026-05)" in text
    assert not LAST_DAYS.search(text)


def test_weakness_of_a_month_long_ago_is_shown_with_the_month(knowledge: Knowledge) -> None:
    """Not current any more, but to be examined again."""
    facts = {"day": 300, "operation": "discectomy", "leg": {-14: 8, 295: 7}}
    weak = strength({"valueInteger": 3}, LEFT, effectiveDateTime="2025-11")
    text = detail(answered_with(knowledge, facts, weak), "IMG-MRI-NR")
    assert "last exam 2025-11: re-examine" in text.replace("big toe extensor, left", "")


def test_clearance_and_smoking_of_a_month_are_shown_with_the_month(knowledge: Knowledge) -> None:
    """Whatever a card rests on is dated as the chart dates it."""
    code = coded(LOCAL, "surgeon-clearance-pt")
    allowed = observed(code, valueBoolean=True, effectiveDateTime="2026-05")
    text = detail(answered_with(knowledge, NO_RELIEF, allowed), "PT-REF")
    assert "The surgeon allowed physiotherapy on 2026-05" in text
    assert not LAST_DAYS.search(text)


def test_operation_of_a_month_is_shown_with_the_month(knowledge: Knowledge) -> None:
    """The days since surgery are a span then."""
    facts = {"day": 200, "operation": "discectomy", "leg": {-60: 8, 195: 7}}
    answered = answered_with(knowledge, {**facts, "operation date": "month"})
    text = detail(answered, next(iter(answered.shown)))
    assert "Operation 2025-11 (197 to 226 days ago)" in text


def test_course_after_an_operation_of_a_month_is_told_in_dates(knowledge: Knowledge) -> None:
    """The day since surgery is not known, the day of the score is."""
    facts = {"day": 100, "operation": "discectomy", "leg": {-60: 8, 40: 1, 95: 7}}
    answered = answered_with(knowledge, {**facts, "operation date": "month"})
    text = detail(answered, "IMG-MRI-RTR")
    assert "Low until 2026-04-16, back by 2026-06-10." in text
    assert "back by day 95" not in text


def test_span_of_dates_runs_forward(knowledge: Knowledge) -> None:
    """The day to measure again is counted from both ends, the first one first."""
    facts = {"day": 50, "operation": "discectomy", "leg": {-60: 8, 45: 7}}
    answered = answered_with(knowledge, {**facts, "operation date": "month"})
    assert "re-measure on 2026-06-30 to 2026-07-29" in detail(answered, "EARLY-WATCH")


def test_test_in_the_month_of_the_operation_is_not_called_earlier(knowledge: Knowledge) -> None:
    """It may have been before the operation or after it; one of the month before was before."""
    facts = {"day": 120, "operation": "discectomy", "leg": {-60: 8, 115: 7}}
    reports = [_report("2026-02-10"), _report("2026-01-20")]
    answered = answered_with(knowledge, {**facts, "operation date": "month"}, *reports)
    text = detail(answered, next(iter(answered.shown)))
    assert "2026-02-10 (perhaps before surgery), 2026-01-20 (before surgery)" in text
