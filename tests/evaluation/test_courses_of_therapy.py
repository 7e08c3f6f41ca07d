"""Therapy of many weeks that the chart holds as one entry is therapy on its first and last day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

THERAPY = coded(SNOMED, "91251008")
UNRELIEVED = {
    "day": 300,
    "operation": "discectomy",
    "leg": {-14: 8, 295: 7},
    "done": {"MRI": 60},
}


def _lasting(first: int, last: int | None) -> dict[str, str]:
    """Return a period between two days, counted back from today."""
    ends = {"start": first, "end": last}
    return {
        end: (AS_OF - timedelta(days=ago)).isoformat()
        for end, ago in ends.items()
        if ago is not None
    }


def _course(first: int, last: int) -> Resource:
    return {
        "resourceType": "Procedure",
        "status": "completed",
        "code": THERAPY,
        "performedPeriod": _lasting(first, last),
    }


def _series(first: int, last: int | None, status: str = "finished") -> Resource:
    return {
        "resourceType": "Encounter",
        "status": status,
        "class": {"code": "AMB"},
        "type": [THERAPY],
        "period": _lasting(first, last),
    }


@pytest.mark.parametrize(("first", "is_tried"), [(42, True), (41, False)])
def test_course_of_therapy_was_tried_from_its_first_day(
    knowledge: Knowledge, first: int, *, is_tried: bool
) -> None:
    """Therapy that began six weeks ago and ended this week is a trial: the surgeon may be asked."""
    answered = answered_with(knowledge, UNRELIEVED, _course(first, 3))
    assert list(answered.shown) == (["SURG-REV"] if is_tried else [])


@pytest.mark.parametrize(("last", "is_recent"), [(180, True), (181, False), (-30, True)])
def test_series_of_therapy_visits_is_as_recent_as_its_last_day(
    knowledge: Knowledge, last: int, *, is_recent: bool
) -> None:
    """A series as one Encounter since day 40, over by then or going on, was told as no therapy."""
    answered = answered_with(knowledge, UNRELIEVED, _series(260, last))
    assert list(answered.shown) == ["SURG-REV", *([] if is_recent else ["PT-REF"])]


def test_therapy_visit_that_nobody_closed_is_of_its_first_day(knowledge: Knowledge) -> None:
    """Many systems never end a visit; one still open since spring is no therapy of today."""
    answered = answered_with(knowledge, UNRELIEVED, _series(260, None, "in-progress"))
    assert list(answered.shown) == ["SURG-REV", "PT-REF"]


def test_session_of_one_day_is_named_once(knowledge: Knowledge) -> None:
    """Its beginning and its end are the same contact."""
    answered = answered_with(knowledge, UNRELIEVED, _series(200, 200), _course(190, 190))
    days = [AS_OF - timedelta(days=ago) for ago in (190, 200)]
    assert f"physiotherapy {days[0]}, {days[1]}." in str(answered.card("SURG-REV")["detail"])


def test_visit_for_something_else_is_no_therapy(knowledge: Knowledge) -> None:
    """A consultation of last month beside therapy of long ago: the referral is proposed."""
    visit = {**_series(30, 30), "type": [coded(SNOMED, "11429006")]}
    answered = answered_with(knowledge, UNRELIEVED, _series(260, 181), visit)
    assert list(answered.shown) == ["SURG-REV", "PT-REF"]
