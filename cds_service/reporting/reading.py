"""The calls, cards and answers of a period, read from the ledger as plain values.

Reads only.  Everything comes in the order of time, call by call, so that a long period needs
little memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, and_, func, select
from sqlalchemy.engine import Connection

from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING

MS_PER_HOUR = 3_600_000
MS_PER_DAY = 24 * MS_PER_HOUR
_ROWS_AT_ONCE = 1_000

Stored = TypeVar("Stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A span of time.

    Time:
        ``since`` counts, ``until`` no longer counts; milliseconds since 1970.
    """

    since: int
    until: int

    @property
    def before(self) -> Period:
        """Return the period of the same length that ends where this one begins."""
        return Period(since=self.since - (self.until - self.since), until=self.since)

    @property
    def days(self) -> tuple[date, ...]:
        """Return every calendar day (UTC) that the period touches."""
        first, last = day_of(self.since), day_of(max(self.since, self.until - 1))
        return tuple(first + timedelta(days=number) for number in range((last - first).days + 1))


def period_of_days(first: date, last: date) -> Period:
    """Return the period from *first* to *last*, both whole calendar days (UTC) included."""
    return Period(since=ms_of(first), until=ms_of(last + timedelta(days=1)))


def ms_of(day: date) -> int:
    """Return the moment *day* begins in UTC, in milliseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def day_of(moment: int) -> date:
    """Return the calendar day (UTC) of a moment in milliseconds since 1970."""
    return datetime.fromtimestamp(moment / 1000, UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A card of a call whose row was met, shown or not."""

    card: str
    card_uuid: str
    indicator: str
    state: str
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One hook call of the ledger with its cards."""

    id: int
    client: str
    received_at: int
    patient: str | None
    outcome: str
    http_status: int
    error: str | None
    is_silent: bool
    knowledge: tuple[str, str]
    """Version and digest."""
    total_ms: float
    steps_ms: Mapping[str, float]
    unread: Mapping[str, str]
    set_aside: Mapping[str, int]
    unmapped: tuple[str, ...]
    faulty_rules: tuple[str, ...]
    cards: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a user did with a card of the period; the one that counts for its showing."""

    client: str
    card: str
    outcome: str
    seconds: float
    """From the card to the user's action."""
    reason: str | None
    has_reason: bool
    """Whether any reason was sent, known to us or not."""
    comment: str | None = field(repr=False)


def calls(connection: Connection, period: Period, client: str | None = None) -> Iterator[Call]:
    """Yield the calls of *period*, of one client or of all."""
    reading = connection.execution_options(yield_per=_ROWS_AT_ONCE)
    chosen = _chosen(period, client)
    rows = reading.execute(select(CALL).where(chosen).order_by(CALL.c.id))
    with connection.engine.connect() as second:
        shown = second.execution_options(yield_per=_ROWS_AT_ONCE).execute(
            select(SHOWING)
            .join(CALL, CALL.c.id == SHOWING.c.call_id)
            .where(chosen)
            .order_by(SHOWING.c.call_id, SHOWING.c.card)
        )
        pending = next(shown, None)
        for row in rows:
            cards = []
            while pending is not None and pending.call_id <= row.id:
                if pending.call_id == row.id:
                    cards.append(_shown(pending))
                pending = next(shown, None)
            yield _call(row, tuple(cards))


def answers(connection: Connection, period: Period, client: str | None = None) -> Iterator[Answer]:
    """Yield what users did with the cards of *period*, whenever they did it.

    A card answered twice counts once, with its latest answer.
    """
    rows = connection.execute(
        select(FEEDBACK, CALL.c.received_at.label("shown_at"))
        .join(CALL, CALL.c.id == FEEDBACK.c.call_id)
        .where(_chosen(period, client), FEEDBACK.c.is_superseded.is_(False))
        .order_by(FEEDBACK.c.id)
    )
    for row in rows:
        yield Answer(
            client=row.client,
            card=row.card,
            outcome=row.outcome,
            seconds=max(0.0, (row.acted_at - row.shown_at) / 1000),
            reason=row.reason,
            has_reason=row.reason_code is not None,
            comment=row.comment,
        )


def strayed_feedback(connection: Connection, period: Period, client: str | None = None) -> int:
    """Return how much feedback of *period* named a card that was never shown."""
    query = (
        select(func.count())
        .select_from(FEEDBACK)
        .where(
            FEEDBACK.c.call_id.is_(None),
            FEEDBACK.c.received_at >= period.since,
            FEEDBACK.c.received_at < period.until,
        )
    )
    if client is not None:
        query = query.where(FEEDBACK.c.client == client)
    return int(connection.execute(query).scalar_one())


def count_of_calls(connection: Connection, period: Period, client: str | None = None) -> int:
    """Return how many calls *period* has."""
    query = select(func.count()).select_from(CALL).where(_chosen(period, client))
    return int(connection.execute(query).scalar_one())


def _chosen(period: Period, client: str | None) -> ColumnElement[bool]:
    within = and_(CALL.c.received_at >= period.since, CALL.c.received_at < period.until)
    return within if client is None else and_(within, CALL.c.client == client)


def decoded(text: str | None, kind: type[Stored], otherwise: Stored) -> Stored:
    """Return the JSON of a column, or *otherwise* where the column is empty."""
    return otherwise if text is None else msgspec.json.decode(text, type=kind)


def _shown(row: Row[Any]) -> Shown:
    return Shown(
        card=row.card,
        card_uuid=row.card_uuid,
        indicator=row.indicator,
        state=row.state,
        why=row.why,
    )


def _call(row: Row[Any], cards: tuple[Shown, ...]) -> Call:
    return Call(
        id=row.id,
        client=row.client,
        received_at=row.received_at,
        patient=row.patient,
        outcome=row.outcome,
        http_status=row.http_status,
        error=row.error,
        is_silent=bool(row.is_silent),
        knowledge=(row.knowledge_version, row.knowledge_digest),
        total_ms=row.total_ms,
        steps_ms=decoded(row.steps_ms, dict[str, float], {}),
        unread=decoded(row.unread, dict[str, str], {}),
        set_aside=decoded(row.set_aside, dict[str, int], {}),
        unmapped=tuple(decoded(row.unmapped, list[str], [])),
        faulty_rules=tuple(decoded(row.faulty_rules, list[str], [])),
        cards=cards,
    )
