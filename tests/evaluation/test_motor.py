"""New weakness: its reference, its onset and whether it is getting worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cds_service.evaluation.episode import find_episode
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.motor import Motor, read_motor
from cds_service.knowledge.model import Knowledge
from cds_service.values import Side
from cds_service.vignettes.running import AS_OF, chart_of


def _motor(knowledge: Knowledge, today: int, grades: Mapping[int, float], **more: Any) -> Motor:  # noqa: ANN401 - a vignette's facts
    strength = [
        {"day": day, "side": "left", "muscle": "quadriceps", "grade": grade}
        for day, grade in grades.items()
    ]
    facts = {"day": today, "operation": "discectomy", "strength": strength, **more}
    chart, limits = chart_of(facts, knowledge), Limits(knowledge, AS_OF)
    return read_motor(chart, find_episode(chart, limits).operations[0], limits)


@pytest.mark.parametrize(
    ("grades", "onset"),
    [
        ({-1: 5, 2: 4}, 2),
        ({2: 4}, 2),
        ({2: 4, 10: 5, 20: 4, 30: 4}, 20),
        ({-1: 3, 10: 5, 20: 4}, 20),
        ({-1: 4.5, 10: 3.5}, 10),
    ],
)
def test_deficit_begins_with_its_latest_run(
    knowledge: Knowledge, grades: Mapping[int, float], onset: int
) -> None:
    """A muscle that recovered and weakened again has been weak since the second time."""
    assert [deficit.onset for deficit in _motor(knowledge, 40, grades).new] == [onset]


@pytest.mark.parametrize(
    "grades", [{-1: 4, 10: 4}, {-1: 3, 10: 4, 30: 4}, {10: 4.5}, {10: 4, 20: 5}]
)
def test_muscle_as_strong_as_before_has_no_deficit(
    knowledge: Knowledge, grades: Mapping[int, float]
) -> None:
    """A weakness from before surgery, or one that recovered, is not new."""
    assert _motor(knowledge, 40, grades).new == ()


@pytest.mark.parametrize(
    ("grades", "progressed"),
    [({2: 4, 30: 3}, 30), ({2: 4, 20: 3, 30: 3}, 20), ({2: 4, 30: 4}, None), ({2: 3, 30: 4}, None)],
)
def test_deficit_that_gets_worse_has_a_day_of_progression(
    knowledge: Knowledge, grades: Mapping[int, float], progressed: int | None
) -> None:
    """Progression is dated to the first grade after the last one that was clearly better."""
    assert _motor(knowledge, 40, grades).new[0].progressed == progressed


def test_lowest_grade_of_a_day_counts(knowledge: Knowledge) -> None:
    """Two examiners on one day: the weaker grade is believed."""
    twice = [
        {"day": 38, "side": "right", "muscle": "quadriceps", "grade": grade} for grade in (5, 3)
    ]
    motor = _motor(knowledge, 40, {}, strength=twice)
    assert [(deficit.side, deficit.grade) for deficit in motor.critical] == [(Side.RIGHT, 3)]


def test_examinations_not_read_leave_weakness_open(knowledge: Knowledge) -> None:
    """Without the examinations a weakness is neither found nor denied."""
    motor = _motor(knowledge, 40, {38: 3}, **{"not supplied": ["findings"]})
    assert motor.new == ()
    assert motor.any(motor.new).is_unknown


def test_coded_weakness_counts_when_examinations_are_not_read(knowledge: Knowledge) -> None:
    """A foot drop on the problem list is certain without any examination."""
    coded = [{"what": "foot drop", "day": 38, "side": "left"}]
    motor = _motor(knowledge, 40, {}, **{"coded weakness": coded, "not supplied": ["findings"]})
    assert [deficit.side for deficit in motor.critical] == [Side.LEFT]
