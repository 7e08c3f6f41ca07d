"""The ledger of one worker process, put together; and what is deleted when its time is over."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, select

from cds_service.ledger.calls import CallLedger, first_id, moment_of
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.feedback import FeedbackLedger
from cds_service.ledger.migrating import migrate
from cds_service.ledger.place import AT_LEISURE, LedgerPlace
from cds_service.ledger.records import LedgerStatus, milliseconds
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING, SNOOZE

_ROWS_AT_ONCE = 200
_LOOK_EVERY_SECONDS = 1.0
_SETTLE_EVERY_SECONDS = 60.0
"""An answer and its call may be written in the same moment, and neither see the other."""
_PRUNE_EVERY_SECONDS = 3600.0
_REST_SECONDS = 0.05
_LAST_SECONDS = 2.0
"""How long calls that wait are tried to be written when the process ends."""
_UNCONFIRMED = timedelta(days=1)
"""So long after the newest call the clock is trusted to delete."""
_LOG = structlog.get_logger("cds_service.ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Calls, feedback, and how long both are kept."""

    calls: CallLedger
    feedback: FeedbackLedger
    database: Database
    retention_days: int
    now: Callable[[], datetime]
    monotonic: Callable[[], float]

    @property
    def status(self) -> LedgerStatus:
        """How the ledger is, for health and metrics."""
        return LedgerStatus(
            is_writable=self.database.is_writable,
            is_readable=self.database.is_readable,
            waiting=self.calls.waiting,
            calls=self.calls.counts,
            feedback=self.feedback.counts,
        )

    def close(self) -> None:
        """Write what waits, for a moment, and close every connection; say what is lost."""
        ends_at = time.monotonic() + _LAST_SECONDS
        while self.calls.waiting and time.monotonic() < ends_at:
            if not self.calls.write_waiting(insists=True):
                time.sleep(_REST_SECONDS)
        if lost := self.calls.give_up():
            _LOG.error("calls_lost", calls=lost)
        self.database.close()

    def keep_house(self) -> None:
        """Open the ledger; start the thread that writes what waits and deletes what is too old.

        At the end of the process what waits is written, if it can be.
        """
        self.calls.prepare()
        atexit.register(self.close)
        threading.Thread(target=self._house, name="ledger", daemon=True).start()

    def _house(self) -> None:
        prune_at = settle_at = self.monotonic()
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            self.catch_up()
            if self.monotonic() >= settle_at:
                self.feedback.settle()
                settle_at = self.monotonic() + _SETTLE_EVERY_SECONDS
            self.database.shorten_journal()
            if self.monotonic() < prune_at:
                continue
            prune_at = self.monotonic() + _PRUNE_EVERY_SECONDS
            try:
                deleted = self.prune(self.catch_up, now=self.confirmed_now())
            except LedgerLostError:
                continue
            if deleted:
                _LOG.info("ledger_pruned", rows=deleted)

    def catch_up(self) -> None:
        """Write what waits, place the answers to it, and look for what is lost.

        With rests in which hook calls get on.
        """
        time.sleep(_REST_SECONDS)
        was_late = self.calls.waiting > 0
        while self.calls.write_waiting(insists=True):
            time.sleep(_REST_SECONDS)
        if was_late:
            self.feedback.settle()
        self.calls.look_again()

    def confirmed_now(self) -> datetime:
        """Return this moment, but no later than a day after the newest call.

        The times in its token fitted this machine's clock then.  A clock that nobody confirms may
        be years ahead, and what is deleted by it is gone.

        Raises:
            LedgerLostError: The ledger cannot be read now.
        """
        newest, now = self.calls.newest_id(), self.now()
        if newest is None:
            return now
        return min(now, datetime.fromtimestamp(moment_of(newest) / 1000, now.tzinfo) + _UNCONFIRMED)

    def prune(self, pause: Callable[[], object] = bool, *, now: datetime | None = None) -> int:
        """Delete what is older than its time, a bounded part at a time; return how many rows.

        *pause* is called between two parts, so that hook calls get their turn.  Without *now* the
        clock is trusted.

        Raises:
            LedgerLostError: The ledger cannot be written now.
        """
        today = now or self.now()
        oldest = today - timedelta(days=self.retention_days)
        total = 0
        while deleted := self.database.write_feedback(lambda c: _deleted(c, oldest, today)):
            total += deleted
            pause()
        self.database.forget_deleted()
        return total


def forget_everything(place: LedgerPlace) -> None:
    """Empty the ledger: for the demonstration, which begins anew."""
    migrate(place)
    engine = place.writer(AT_LEISURE)
    with engine.begin() as connection:
        for table in (SNOOZE, FEEDBACK, SHOWING, CALL):
            connection.execute(delete(table))
    engine.dispose()


def _deleted(connection: Connection, oldest: datetime, now: datetime) -> int:
    """Delete a bounded part of what is older than *oldest*, and snoozes that are over."""
    calls = select(CALL.c.id).where(CALL.c.id < first_id(milliseconds(oldest)))
    ids = connection.execute(calls.order_by(CALL.c.id).limit(_ROWS_AT_ONCE)).scalars().all()
    answers = (
        select(FEEDBACK.c.id)
        .where(FEEDBACK.c.received_at < milliseconds(oldest))
        .limit(_ROWS_AT_ONCE)
    )
    # A day more, because days are local and the clock here is not.
    over = select(SNOOZE.c.id).where(SNOOZE.c.until < now.date() - timedelta(days=1))
    deleted = 0
    if ids:
        last = ids[-1]
        connection.execute(delete(SHOWING).where(SHOWING.c.call_id <= last))
        deleted += connection.execute(delete(CALL).where(CALL.c.id <= last)).rowcount
    for table, chosen in ((FEEDBACK, answers), (SNOOZE, over.limit(_ROWS_AT_ONCE))):
        statement = delete(table).where(table.c.id.in_(chosen))
        deleted += connection.execute(statement).rowcount
    return deleted
