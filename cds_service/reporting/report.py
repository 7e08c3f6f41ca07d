"""The report of a period: tables, alarms, days and comments, put together from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy.engine import Connection, Engine

from cds_service.reporting.alarms import (
    HOURS_PER_DAY,
    Alarm,
    Direction,
    Hours,
    alarms,
    compared_clients,
)
from cds_service.reporting.comments import Triage, triaged
from cds_service.reporting.reading import (
    MS_PER_DAY,
    MS_PER_HOUR,
    Period,
    answers,
    calls,
    count_of_calls,
    day_of,
    strayed_feedback,
)
from cds_service.reporting.table import Table
from cds_service.reporting.tables import tables
from cds_service.reporting.tally import Tally
from cds_service.reporting.watching import REACH_DAYS, counts_by_hour

Progress = Callable[[int, int], None]
"""Told now and then how many of how many calls are counted."""
_TELL_EVERY = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LastingAlarm:
    """An alarm with the first and the last day on which it was noticed."""

    alarm: Alarm
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day (UTC) for the plots."""

    day: date
    opens: int
    errors: int
    incomplete: int
    shown: Mapping[str, int]
    """Urgency to cards shown."""
    cards: Mapping[str, int]
    """Card to times shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the report says, before it is written as a page, as CSV or as JSON."""

    period: Period
    client: str | None
    made_at: int
    tables: tuple[Table, ...]
    alarms: tuple[LastingAlarm, ...]
    compared: tuple[str, ...]
    """Clients with enough past to be compared with it; of others nothing unusual is noticed."""
    days: tuple[Day, ...]
    comments: Triage
    knowledge: tuple[tuple[str, str, int], ...]
    """Version, digest and calls of each state of the clinical content, the most used first."""

    def table(self, name: str) -> Table:
        """Return the table with the id *name*."""
        return next(table for table in self.tables if table.id == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the report is to be about."""

    period: Period
    client: str | None
    made_at: int
    titles: Mapping[str, str]
    """Card ids to titles."""


def make_report(engine: Engine, asked: Asked, progress: Progress = lambda _, __: None) -> Report:
    """Return the report that was *asked* for, with the period before for comparison.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The ledger cannot be read.
    """
    counter = _Counter(progress)
    with engine.connect() as connection:
        for period in (asked.period, asked.period.before):
            counter.total += count_of_calls(connection, period, asked.client)
        now = _tally(connection, asked.period, asked.client, counter)
        before = _tally(connection, asked.period.before, asked.client, counter)
        reach = Period(since=asked.period.since - REACH_DAYS * MS_PER_DAY, until=asked.period.until)
        hours = counts_by_hour(connection, reach)
    return Report(
        period=asked.period,
        client=asked.client,
        made_at=asked.made_at,
        tables=tables(now, before, asked.titles),
        alarms=tuple(_lasting(hours, asked)),
        compared=tuple(
            client
            for client in sorted(compared_clients(hours, _days_that_ended(asked)))
            if asked.client in {None, client}
        ),
        days=tuple(_day(now, day) for day in asked.period.days),
        comments=triaged(now.comments),
        knowledge=tuple((*state, count) for state, count in now.knowledge.most_common()),
    )


class _Counter:
    """Counts calls and tells the progress."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def one_more(self) -> None:
        """Count one call."""
        self._done += 1
        if self._done % _TELL_EVERY == 0:
            self._progress(self._done, self.total)


def _tally(connection: Connection, period: Period, client: str | None, counter: _Counter) -> Tally:
    tally = Tally()
    for call in calls(connection, period, client):
        tally.add_call(call)
        counter.one_more()
    for answer in answers(connection, period, client):
        tally.add_answer(answer)
    tally.strayed_feedback = strayed_feedback(connection, period, client)
    return tally


def _lasting(hours: Hours, asked: Asked) -> Iterator[LastingAlarm]:
    """Yield what was unusual at the end of any day of the period, the latest first."""
    found: dict[tuple[object, ...], list[Alarm]] = {}
    for day in _days_that_ended(asked):
        for alarm in alarms(hours, day * HOURS_PER_DAY):
            if asked.client in {None, alarm.client}:
                found.setdefault(alarm.identity, []).append(alarm)
    stopped = {identity[:3] for identity in found if identity[3] is Direction.ZERO}
    lasting = (
        LastingAlarm(alarm=each[-1], first_day=_last_day(each[0]), last_day=_last_day(each[-1]))
        for identity, each in found.items()
        if identity[3] is not Direction.LOW or identity[:3] not in stopped
    )
    yield from sorted(
        lasting, key=lambda each: (-each.last_day.toordinal(), str(each.alarm.identity))
    )


def _days_that_ended(asked: Asked) -> range:
    """Return the ends of the period's days, in days since 1970; today's is not among them."""
    first, last = asked.period.since // MS_PER_DAY, -(-asked.period.until // MS_PER_DAY)
    ended = min(last, asked.made_at // MS_PER_DAY)  # a day that is not over says nothing yet
    return range(first + 1, ended + 1)


def _last_day(alarm: Alarm) -> date:
    return day_of(alarm.until_hour * MS_PER_HOUR - 1)


def _day(tally: Tally, day: date) -> Day:
    counted = tally.days.get(day)
    cards = {
        card: counts.shown_on[day] for card, counts in tally.cards.items() if counts.shown_on[day]
    }
    return Day(
        day=day,
        opens=counted.opens if counted else 0,
        errors=counted.errors if counted else 0,
        incomplete=counted.incomplete if counted else 0,
        shown=dict(counted.shown) if counted else {},
        cards=cards,
    )
