"""The counts by hour that alarms are made of, from the ledger.

The database adds up what it can; an hour that is over is read once and kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Select, and_, case, func, literal_column, select
from sqlalchemy.engine import Connection

from cds_service.ledger.records import Outcome
from cds_service.ledger.tables import CALL, SHOWING
from cds_service.reporting.alarms import (
    BASELINE_DAYS,
    HOURS_PER_DAY,
    WINDOWS_DAYS,
    Alarm,
    Hours,
    Place,
    Watched,
    alarms,
)
from cds_service.reporting.reading import MS_PER_HOUR, Period

SLOW_MS = 500
"""What clinicians are said to wait without noticing; a call that took longer is slow."""
_HOUR = (CALL.c.received_at // literal_column(str(MS_PER_HOUR), BigInteger)).label("hour")
"""A literal: PostgreSQL would take two parameters of equal value for two expressions."""
_IS_OPEN = CALL.c.outcome != Outcome.ERROR
REACH_DAYS = BASELINE_DAYS + max(WINDOWS_DAYS)
"""How many days before now the alarms look at."""


def counts_by_hour(connection: Connection, period: Period) -> Hours:
    """Return what was counted in each hour of *period*."""
    hours: dict[int, Counter[Place]] = defaultdict(Counter)
    within = and_(CALL.c.received_at >= period.since, CALL.c.received_at < period.until)
    for hour, place, count in (
        *_of_calls(connection, within),
        *_of_cards(connection, within),
        *_of_texts(connection, within),
    ):
        hours[hour][place] += count
    return hours


_Counted = tuple[int, Place, int]


def _of_calls(connection: Connection, within: Any) -> Iterator[_Counted]:  # noqa: ANN401 - SQL
    def number(condition: Any) -> Any:  # noqa: ANN401 - SQL
        return func.sum(case((condition, 1), else_=0))

    measures = {
        Watched.OPENS: number(_IS_OPEN),
        Watched.NOT_APPLICABLE: number(CALL.c.outcome == Outcome.NOT_APPLICABLE),
        Watched.ERROR: number(CALL.c.outcome == Outcome.ERROR),
        Watched.SLOW: number(CALL.c.total_ms > SLOW_MS),
        Watched.UNMAPPED: number(and_(CALL.c.unmapped.is_not(None), CALL.c.unmapped != "[]")),
    }
    query: Select[Any] = (
        select(_HOUR, CALL.c.client, func.count(), *measures.values())
        .where(within)
        .group_by(_HOUR, CALL.c.client)
    )
    for hour, client, calls, *counts in connection.execute(query):
        yield hour, (client, Watched.CALLS, ""), calls
        for watched, count in zip(measures, counts, strict=True):
            yield hour, (client, watched, ""), int(count)


def _of_cards(connection: Connection, within: Any) -> Iterator[_Counted]:  # noqa: ANN401 - SQL
    query = (
        select(_HOUR, CALL.c.client, SHOWING.c.card, func.count())
        .join(SHOWING, SHOWING.c.call_id == CALL.c.id)
        .where(within)
        .group_by(_HOUR, CALL.c.client, SHOWING.c.card)
    )
    for hour, client, card, count in connection.execute(query):
        yield hour, (client, Watched.CARD, card), count


def _of_texts(connection: Connection, within: Any) -> Iterator[_Counted]:  # noqa: ANN401 - SQL
    """Yield what stands in JSON columns; equal texts are counted by the database."""
    for column, watched in (
        (CALL.c.unread, Watched.UNREAD),  # key to reason: the keys are counted
        (CALL.c.faulty_rules, Watched.FAULTY),
    ):
        query = (
            select(_HOUR, CALL.c.client, column, func.count())
            .where(within, column.is_not(None), _IS_OPEN)
            .group_by(_HOUR, CALL.c.client, column)
        )
        for hour, client, text, count in connection.execute(query):
            subjects: Any = msgspec.json.decode(text)
            for subject in subjects:
                yield hour, (client, watched, subject), count


class Watch:
    """The alarms of now; safe for several threads.

    Time:
        Hours that are over are read once; the alarms are of the hours that are over.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        """Read the ledger by *reading*."""
        self._reading = reading
        self._lock = Lock()
        self._hours: dict[int, Counter[Place]] = {}
        self._read_until: int | None = None
        self._alarms: tuple[Alarm, ...] = ()

    def alarms(self, now_ms: int) -> tuple[Alarm, ...]:
        """Return what is unusual now.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The ledger cannot be read.
        """
        hour = now_ms // MS_PER_HOUR
        with self._lock:
            if self._read_until != hour:
                self._read(hour)
                self._alarms = alarms(self._hours, hour)
            return self._alarms

    def _read(self, hour: int) -> None:
        first = hour - REACH_DAYS * HOURS_PER_DAY
        since = max(first, self._read_until) if self._read_until is not None else first
        period = Period(since=since * MS_PER_HOUR, until=hour * MS_PER_HOUR)
        with self._reading() as connection:
            self._hours.update(counts_by_hour(connection, period))
        self._hours = {each: counts for each, counts in self._hours.items() if each >= first}
        self._read_until = hour
