"""Hook calls into the ledger: committed before the answer leaves, or kept waiting in memory."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from contextlib import nullcontext, suppress
from datetime import date, datetime
from itertools import count, islice
from typing import Any

import msgspec
import structlog
from sqlalchemy import (
    Integer,
    Select,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.place import CALLS
from cds_service.ledger.quickly import Quick, RowRefusedError
from cds_service.ledger.records import (
    CallCounts,
    CallRecord,
    Scope,
    Showing,
    State,
    milliseconds,
)
from cds_service.ledger.snoozes import Snooze
from cds_service.ledger.tables import CALL, SHOWING, SNOOZE
from cds_service.sqlite_waits import WRITE_NO_CHANGE
from cds_service.turns import resting

MOST_WAITING = 2_000
_QUICK_CALL_SECONDS = 0.3
"""A call that took less waits until then for others who write: its answer is not late yet."""
_MOST_AT_ONCE = 200
_COUNTER_BITS = 22
_LOG = structlog.get_logger("cds_service.ledger")

_Row = dict[str, Any]
_INSERTS = {
    "sqlite": (
        sqlite.insert(CALL).on_conflict_do_nothing(),
        sqlite.insert(SHOWING).on_conflict_do_nothing(),
    ),
    "postgresql": (
        postgresql.insert(CALL).on_conflict_do_nothing(),
        postgresql.insert(SHOWING).on_conflict_do_nothing(),
    ),
}
"""A call whose commit was in doubt is written again; then nothing must happen."""
_SNOOZES = select(
    SNOOZE.c.id, SNOOZE.c.card, SNOOZE.c.scope, SNOOZE.c.scope_key, SNOOZE.c.until, SNOOZE.c.reason
).where(SNOOZE.c.patient == bindparam("patient"))
_SHOWN: Select[int] = select(literal_column("1", Integer)).where(
    exists()
    .where(SHOWING.c.card_uuid == bindparam("card_uuid"))
    .where(SHOWING.c.state == literal_column(f"'{State.SHOWN.value}'"))
    .where(CALL.c.id == SHOWING.c.call_id)
    .where(CALL.c.received_at >= bindparam("since"))
    .where(CALL.c.received_at < bindparam("before"))
)
_NEWEST = select(func.max(CALL.c.id))
_END_SNOOZE = delete(SNOOZE).where(SNOOZE.c.id == bindparam("snooze"))
_TOUCH = text(WRITE_NO_CHANGE)
"""The first write after a start makes SQLite's journal, and waits."""


def _newest(quick: Quick) -> int | None:
    newest: int | None = quick.read(_NEWEST, {})[0][0]
    return newest


def _look(quick: Quick) -> None:
    """Read as a call does."""
    quick.read(_SNOOZES, {"patient": "nobody"})


def _touch_nothing(quick: Quick) -> None:
    """Write as a call does, to no row; a file shows that its disk has room, too."""
    quick.write(_END_SNOOZE, [{"snooze": -1}])
    if quick.dialect.name == "sqlite":
        quick.read(_TOUCH, {})


class CallLedger:
    """Keeps calls, and tells what holds a patient's cards back."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.counts = CallCounts()
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._waiting: deque[tuple[_Row, list[_Row], list[_Row]]] = deque()
        self._counter = count(secrets.randbits(_COUNTER_BITS))
        self._meanwhile = nullcontext if database.place.file is not None else resting
        """A database on another host is waited for; a file is written at once."""

    @property
    def waiting(self) -> int:
        """How many calls wait in memory to be written."""
        return len(self._waiting)

    def prepare(self) -> None:
        """Open the ledger before the first call needs it; no row is written."""
        self.snoozes("nobody")
        self.database.prepare_calls(_prepare)

    def keep(self, call: CallRecord, ended_snoozes: tuple[int, ...] = ()) -> None:
        """Commit *call*; if that fails in time it waits in memory for the next call.

        With more than ``MOST_WAITING`` waiting, the newest is lost and counted.
        """
        if len(self._waiting) >= MOST_WAITING:
            self._count(CallCounts(lost=1))
        else:
            name = first_id(call.received_at) + next(self._counter) % (1 << _COUNTER_BITS)
            ended = [{"snooze": snooze} for snooze in ended_snoozes]
            self._waiting.append((_call_row(name, call), _showing_rows(name, call.showings), ended))
        left = _QUICK_CALL_SECONDS - call.total_ms / 1000
        with self._meanwhile():
            self.write_waiting(seconds=max(CALLS.seconds, left))

    def write_waiting(self, *, insists: bool = False, seconds: float = CALLS.seconds) -> bool:
        """Commit calls that wait; return whether more are left that could be committed now.

        One batch at a time, so that no hook call pays for many that came before it.  With
        *insists* a lost ledger is tried at once.  For other writers this waits *seconds*.
        """
        ends_at = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            return False
        try:
            left = ends_at - time.monotonic()
            self._write_batch(_MOST_AT_ONCE, insists=insists, seconds=left)
        except LedgerLostError:
            return False
        finally:
            self._lock.release()
        return bool(self._waiting)

    def snoozes(self, patient: str) -> tuple[Snooze, ...]:
        """Return what may hold cards of *patient* (a hash) back; nothing if it cannot be read."""
        try:
            with self._meanwhile():
                rows = self.database.read(lambda quick: quick.read(_SNOOZES, {"patient": patient}))
        except LedgerLostError:
            self._count(CallCounts(snoozes_unread=1))
            return ()
        return tuple(
            Snooze(
                id=name,
                card=card,
                scope=Scope(scope),
                scope_key=key,
                until=_day(until),
                reason=reason,
            )
            for name, card, scope, key, until, reason in rows
        )

    def was_shown(self, card_uuid: str, since: datetime, before: datetime) -> bool:
        """Return whether this card was shown from *since* on and before *before*.

        Not if it cannot be read: nothing is held back then.
        """
        moments = {"since": milliseconds(since), "before": milliseconds(before)}
        try:
            with self._meanwhile():
                rows = self.database.read(
                    lambda quick: quick.read(_SHOWN, {"card_uuid": card_uuid, **moments})
                )
        except LedgerLostError:
            self._count(CallCounts(snoozes_unread=1))
            return False
        return bool(rows)

    def require_reading(self) -> None:
        """Read as a call does, for somebody who wants to read much and would wait long.

        Raises:
            LedgerLostError: It could not be read in time.
        """
        self.database.read(_look, insists=True)

    def newest_id(self) -> int | None:
        """Return the id of the call that came last.

        Raises:
            LedgerLostError: It cannot be read now.
        """
        return self.database.read(_newest, insists=True)

    def look_again(self) -> None:
        """Find out whether a lost ledger can be used again, though no call needs it now."""
        with suppress(LedgerLostError):
            if not self.database.is_readable:
                self.require_reading()
        with suppress(LedgerLostError):
            if not self.database.is_writable and not self.waiting:
                self.database.write_call(_touch_nothing, insists=True)

    def give_up(self) -> int:
        """Count the calls that still wait as lost, when the process ends; return how many."""
        lost = len(self._waiting)
        self._waiting.clear()
        self._count(CallCounts(lost=lost))
        return lost

    def _write_batch(self, most: int, *, insists: bool, seconds: float) -> None:
        batch = list(islice(self._waiting, most))
        if not batch:
            return
        try:
            self.database.write_call(
                lambda quick: _write(quick, batch), insists=insists, seconds=seconds
            )
        except RowRefusedError:
            if len(batch) > 1:  # one of them is bad; the others are not lost with it
                for _ in batch:
                    self._write_batch(1, insists=insists, seconds=seconds)
                return
            self._count(CallCounts(lost=1))
            _LOG.error("calls_lost", calls=1)
        else:
            self._count(CallCounts(kept=len(batch)))
        for _ in batch:
            self._waiting.popleft()

    def _count(self, more: CallCounts) -> None:
        with self._counting:
            self.counts = CallCounts(
                kept=self.counts.kept + more.kept,
                lost=self.counts.lost + more.lost,
                snoozes_unread=self.counts.snoozes_unread + more.snoozes_unread,
            )


def first_id(milliseconds: int) -> int:
    """Return the smallest id a call of this moment can have; ids ascend with time."""
    return milliseconds << _COUNTER_BITS


def moment_of(call_id: int) -> int:
    """Return when a call of this id arrived, in milliseconds since 1970."""
    return call_id >> _COUNTER_BITS


def _day(value: date | str) -> date:
    """Return a day of the ledger; SQLite keeps days as text."""
    return value if isinstance(value, date) else date.fromisoformat(value)


def _prepare(quick: Quick) -> None:
    """Word what every call writes, for no call, and let SQLite begin its journal."""
    for insert in _INSERTS[quick.dialect.name]:
        quick.write(insert, [])
    if quick.dialect.name == "sqlite":
        quick.read(_TOUCH, {})


def _write(quick: Quick, batch: list[tuple[_Row, list[_Row], list[_Row]]]) -> None:
    insert_call, insert_showing = _INSERTS[quick.dialect.name]
    quick.write(insert_call, [call for call, _, _ in batch])
    showings = [row for _, rows, _ in batch for row in rows]
    if showings:
        quick.write(insert_showing, showings)
    ended = [row for _, _, rows in batch for row in rows]
    if ended:
        quick.write(_END_SNOOZE, ended)


def _call_row(name: int, call: CallRecord) -> _Row:
    return {
        "id": name,
        "hook_instance": call.hook_instance,
        "client": call.client,
        "service": call.service,
        "role": call.role,
        "received_at": call.received_at,
        "patient": call.patient,
        "outcome": call.outcome.value,
        "http_status": call.http_status,
        "error": call.error,
        "is_silent": call.is_silent,
        "knowledge_version": call.knowledge_version,
        "knowledge_digest": call.knowledge_digest,
        "total_ms": call.total_ms,
        "steps_ms": json_text(call.steps_ms) or "{}",
        "unread": json_text(call.unread),
        "set_aside": json_text(call.set_aside),
        "unmapped": json_text(call.unmapped),
        "faulty_rules": json_text(call.faulty_rules),
        "reasoning": json_text(call.reasoning),
    }


def _showing_rows(name: int, showings: tuple[Showing, ...]) -> list[_Row]:
    return [
        {
            "call_id": name,
            "card": showing.card,
            "card_uuid": showing.card_uuid,
            "indicator": showing.indicator,
            "state": showing.state.value,
            "why": showing.why.value if showing.why else None,
            "operation": showing.operation,
            "suggestions": json_text(showing.suggestions),
        }
        for showing in showings
    ]


def json_text(value: object) -> str | None:
    """Return *value* as JSON text; None if it is empty."""
    return msgspec.json.encode(value).decode() if value else None
