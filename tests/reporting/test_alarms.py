"""A rule that stops, a part that goes missing: seen, in words; a quiet weekend: not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy.engine import Engine

from cds_service.reporting.alarms import (
    Alarm,
    Direction,
    Place,
    Watched,
    alarms,
    poisson_at_least,
    poisson_at_most,
    unusual,
)
from cds_service.reporting.page import as_page
from cds_service.reporting.reading import ms_of
from cds_service.reporting.report import Report
from cds_service.reporting.watching import Watch
from tests.reporting.simulated import (
    AFTERWARDS,
    FIRST_DAY,
    LAST_DAY,
    SECOND_WEEK,
    Open,
    Simulation,
    days,
    empty_ledger,
)


def alarms_at(engine: Engine, moment: int) -> dict[tuple[str, Watched, str], Alarm]:
    """Return the alarms of a moment by client, what is counted, and of what."""
    found = Watch(engine.connect).alarms(moment)
    return {(alarm.client, alarm.watched, alarm.subject): alarm for alarm in found}


def morning_after(day: date) -> int:
    """Return the first minute of the next day."""
    return ms_of(day + timedelta(days=1)) + 60_000


def test_broken_rule_is_seen_on_its_first_day_by_whoever_watches(
    fortnight: tuple[Engine, Simulation],
) -> None:
    """The morning after the MRI rule broke, the metrics of that client, and only of it, say so."""
    found = alarms_at(fortnight[0], morning_after(SECOND_WEEK))
    alarm = found["ehr-a", Watched.CARD, "IMG-MRI-NR"]
    assert alarm.direction is Direction.ZERO
    assert alarm.seen == 0
    assert alarm.expected == pytest.approx(36, abs=8)
    assert "ehr-a: the card IMG-MRI-NR stopped. On 2026-11-09: 0 in" in alarm.sentence
    assert "knowledge diff" in alarm.check


def test_broken_feed_is_seen_on_its_first_day_by_whoever_watches(
    fortnight: tuple[Engine, Simulation],
) -> None:
    """The morning after the reports stopped coming, the part and the client are named."""
    found = alarms_at(fortnight[0], morning_after(SECOND_WEEK))
    alarm = found["ehr-b", Watched.UNREAD, "diagnosticReports"]
    assert alarm.direction is Direction.HIGH
    assert "'diagnosticReports' could not be read rose" in alarm.sentence
    assert "Ask the EHR team" in alarm.check
    assert set(found) == {
        ("ehr-a", Watched.CARD, "IMG-MRI-NR"),
        ("ehr-b", Watched.UNREAD, "diagnosticReports"),
    }


def test_week_without_a_fault_raises_no_alarm(fortnight: tuple[Engine, Simulation]) -> None:
    """On no hour of the good week's last four days does chance alone look like a fault."""
    engine = fortnight[0]
    watch = Watch(engine.connect)
    for hour in range(4 * 24):
        assert watch.alarms(ms_of(SECOND_WEEK) - hour * 3_600_000) == ()


def test_both_faults_stand_in_the_report_from_the_day_they_began(report: Report) -> None:
    """The committee reads which day, which client, how many, and what to check."""
    told = {(each.alarm.client, each.alarm.subject): each for each in report.alarms}
    assert set(told) == {("ehr-a", "IMG-MRI-NR"), ("ehr-b", "diagnosticReports")}
    for lasting in told.values():
        assert lasting.first_day == SECOND_WEEK
        assert lasting.last_day == LAST_DAY
    page = as_page(report, with_comments=False)
    assert "Needs attention: 2 unusual counts" in page
    assert "the card IMG-MRI-NR stopped" in page


def test_both_faults_last_until_the_end_of_the_fortnight(
    fortnight: tuple[Engine, Simulation],
) -> None:
    """A week later both are still told: the faulty days do not become the new usual."""
    found = alarms_at(fortnight[0], AFTERWARDS)
    assert ("ehr-a", Watched.CARD, "IMG-MRI-NR") in found
    assert ("ehr-b", Watched.UNREAD, "diagnosticReports") in found


def flood(opened: Open) -> Open:
    """In the second week every second patient of ehr-a gets the opioid card."""
    is_hit = opened.day >= SECOND_WEEK and opened.client == "ehr-a"
    if not is_hit or opened.error or hash(opened.total_ms) % 2 or "OPIOID" in opened.cards:
        return opened
    return replace(opened, cards=(*opened.cards, "OPIOID"))


def failing(opened: Open) -> Open:
    """In the second week one call in twenty of ehr-b ends in an error."""
    is_hit = opened.day >= SECOND_WEEK and opened.client == "ehr-b"
    return replace(opened, error="KeyError") if is_hit and opened.total_ms > 45 else opened


def unknown(opened: Open) -> Open:
    """In the second week a third of ehr-a's charts carry a code system nobody mapped."""
    is_hit = opened.day >= SECOND_WEEK and opened.client == "ehr-a" and opened.total_ms > 25
    return replace(opened, unmapped=("urn:new|1",)) if is_hit else opened


def slow(opened: Open) -> Open:
    """In the second week a tenth of ehr-a's calls take a second."""
    is_hit = opened.day >= SECOND_WEEK and opened.client == "ehr-a" and opened.total_ms > 38
    return replace(opened, total_ms=1000.0) if is_hit else opened


@pytest.mark.parametrize(
    ("change", "place", "direction"),
    [
        (flood, ("ehr-a", Watched.CARD, "OPIOID"), Direction.HIGH),
        (failing, ("ehr-b", Watched.ERROR, ""), Direction.HIGH),
        (unknown, ("ehr-a", Watched.UNMAPPED, ""), Direction.HIGH),
        (slow, ("ehr-a", Watched.SLOW, ""), Direction.HIGH),
    ],
    ids=["a card floods", "errors rise", "codes become unknown", "answers become slow"],
)
def test_other_faults_are_seen_within_a_day(
    change: object, place: tuple[str, Watched, str], direction: Direction
) -> None:
    """Each kind of fault is named for the client that has it, and no other alarm is raised."""
    engine = empty_ledger()
    Simulation(engine).run(days(FIRST_DAY, SECOND_WEEK), change=change)  # type: ignore[arg-type]
    found = alarms_at(engine, morning_after(SECOND_WEEK))
    assert found.keys() == {place}
    assert found[place].direction is direction


def test_client_that_falls_silent_is_seen() -> None:
    """An EHR that no longer calls after an upgrade is the hardest fault to notice."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(days(FIRST_DAY, SECOND_WEEK - timedelta(days=1)))
    simulation.run([SECOND_WEEK], clients=("ehr-b",))
    found = alarms_at(engine, morning_after(SECOND_WEEK))
    assert found.keys() == {("ehr-a", Watched.CALLS, "")}
    assert "ehr-a: the number of calls stopped." in found["ehr-a", Watched.CALLS, ""].sentence


def test_quiet_weekends_raise_no_alarm_once_they_are_known() -> None:
    """A clinic that is shut at weekends is not reported every Saturday."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    month = days(FIRST_DAY, FIRST_DAY + timedelta(days=27))
    simulation.run([day for day in month if day.weekday() < 5])
    simulation.run([day for day in month if day.weekday() >= 5], a_day=3)
    for day in month[-7:]:
        assert alarms_at(engine, morning_after(day)) == {}, day


def test_rare_card_that_stops_is_seen_within_a_week() -> None:
    """A card shown twice a day may be away for a day by chance, not for a week."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(days(FIRST_DAY, FIRST_DAY + timedelta(days=20)), clients=("ehr-a",), a_day=900)
    stopped = days(FIRST_DAY + timedelta(days=21), FIRST_DAY + timedelta(days=27))
    simulation.run(
        stopped,
        clients=("ehr-a",),
        a_day=900,
        change=lambda each: replace(each, cards=tuple(c for c in each.cards if c != "RF-CES")),
    )
    assert alarms_at(engine, morning_after(stopped[0])) == {}
    alarm = alarms_at(engine, morning_after(stopped[-1]))["ehr-a", Watched.CARD, "RF-CES"]
    assert alarm.direction is Direction.ZERO
    assert alarm.days == 7


NOON = 500 * 24
"""An hour of a made-up past, counted from 1970."""
CALLS = ("ehr", Watched.CALLS, "")
ERRORS = ("ehr", Watched.ERROR, "")


def past(calls: int, number_of_days: int) -> dict[int, Counter[Place]]:
    """Return days of *calls* calls without an error that end a day before NOON."""
    return {NOON - day * 24 - 1: Counter({CALLS: calls}) for day in range(1, number_of_days + 1)}


@pytest.mark.parametrize(("errors", "is_told"), [(99, False), (100, True)])
def test_errors_matter_from_one_call_in_a_hundred(errors: int, *, is_told: bool) -> None:
    """Ninety-nine errors in ten thousand calls are unusual, and wake nobody."""
    today = {NOON - 1: Counter({CALLS: 10_000, ERRORS: errors})}
    found = alarms({**past(10_000, 20), **today}, NOON)
    assert any(alarm.watched is Watched.ERROR for alarm in found) is is_told


@pytest.mark.parametrize(("known_days", "is_told"), [(2, False), (3, True)])
def test_nothing_is_compared_with_less_than_three_days(known_days: int, *, is_told: bool) -> None:
    """What is usual at a new client nobody knows yet."""
    older = {hour - 24: counts for hour, counts in past(1_000, known_days).items()}
    today = {NOON - 1: Counter({CALLS: 1_000, ERRORS: 500})}
    assert bool(alarms({**older, **today}, NOON)) is is_told


@pytest.mark.parametrize(("calls", "is_told"), [(25, False), (24, True)])
def test_day_is_quiet_below_a_quarter_of_the_same_weekday(calls: int, *, is_told: bool) -> None:
    """A quarter of the usual calls is a slow day, less is a fault."""
    month = {hour - 24: counts for hour, counts in past(100, 27).items()}
    found = alarms({**month, NOON - 1: Counter({CALLS: calls})}, NOON)
    assert any(alarm.direction is Direction.LOW for alarm in found) is is_told


def test_days_that_vary_much_widen_what_is_usual() -> None:
    """A card that comes in bursts has to stay away longer before it is missed."""
    even, uneven = [(30, 300)] * 10, [(2, 300), (58, 300)] * 5
    assert unusual(0, 300, even)[0] is Direction.ZERO
    assert unusual(0, 300, uneven)[0] is None


@pytest.mark.parametrize(
    ("count", "mean", "at_most", "at_least"),
    [
        (0, 3.0, 0.0498, 1.0),
        (3, 3.0, 0.6472, 1.0),
        (9, 3.0, 0.9989, 0.0038),
        (1900, 2000.0, 0.0130, 0.9876),
    ],
)
def test_chances_are_those_of_the_poisson_distribution(
    count: int, mean: float, at_most: float, at_least: float
) -> None:
    """Checked against a published table (small means) and the normal law (large ones)."""
    assert poisson_at_most(count, mean) == pytest.approx(at_most, abs=2e-3)
    assert poisson_at_least(count, mean) == pytest.approx(at_least, abs=2e-3)
