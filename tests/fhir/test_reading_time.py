"""An enormous chart is read as long as there is time; an ordinary one is always read whole."""

from __future__ import annotations

import json

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.deadline import READING_SECONDS, Deadline
from cds_service.fhir.reader import ALWAYS_READ
from tests.fhir.chart_parts import ReadChart, Resource, condition, observation, procedure


def scores(count: int) -> list[Resource]:
    """Return so many pain scores."""
    return [observation("72514-3", id=f"o{number}", valueInteger=4) for number in range(count)]


def never() -> bool:
    """Say that the time is up."""
    return False


def test_ordinary_chart_is_read_whole_however_late_it_came(read: ReadChart) -> None:
    """Five hundred scores and the operation are all facts."""
    chart = read(procedure(), *scores(ALWAYS_READ), has_time=never)
    assert len(chart.observations) == ALWAYS_READ
    assert chart.supply_of(Key.SCORES).state is State.SUPPLIED


def test_what_there_is_no_time_to_read_is_a_gap_that_says_so(read: ReadChart) -> None:
    """One score too many makes the scores known in part; nothing else of the chart suffers."""
    chart = read(procedure(), condition("27151001"), *scores(ALWAYS_READ + 1), has_time=never)
    assert len(chart.observations) == ALWAYS_READ
    supply = chart.supply_of(Key.SCORES)
    assert (supply.state, supply.reason) == (State.PARTIAL, reasons.NOT_READ_IN_TIME)
    assert (len(chart.procedures), len(chart.conditions)) == (1, 1)
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED


def test_time_that_runs_out_between_two_entries_ends_the_reading_there(read: ReadChart) -> None:
    """All entries were sorted in time, and a hundred more than the usual were read."""
    count = 2 * ALWAYS_READ
    answers = iter([True] * (count - ALWAYS_READ) + [True] * 100)
    chart = read(procedure(), *scores(count), has_time=lambda: next(answers, False))
    assert len(chart.observations) == ALWAYS_READ + 100
    assert chart.supply_of(Key.SCORES).reason == reasons.NOT_READ_IN_TIME


def test_time_that_runs_out_is_a_gap_of_each_part_that_brought_observations(
    read: ReadChart,
) -> None:
    """An EHR sends all Observations in both parts; what was left may belong to either."""
    count = ALWAYS_READ + 10
    answers = iter([True] * (count - ALWAYS_READ))
    temperature = json.dumps(observation("8310-5", id="t")).encode()
    chart = read(
        procedure(),
        *scores(count),
        raw={Key.FINDINGS: (temperature,)},
        has_time=lambda: next(answers, False),
    )
    for key in (Key.SCORES, Key.FINDINGS):
        assert chart.supply_of(key).reason == reasons.NOT_READ_IN_TIME
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED


def test_reading_ends_soon_after_the_deadline() -> None:
    """The time to read ends a tenth of a second after the deadline, which is not included."""
    now = [0.0]
    deadline = Deadline.after(1, lambda: now[0])
    for moment, is_time in ((0.5, True), (1.05, True), (1 + READING_SECONDS, False)):
        now[0] = moment
        assert deadline.leaves_time_to_read() is is_time
