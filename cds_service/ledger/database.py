"""The ledger's database for a running service: bounded waits, and never a fault for the caller.

Whatever goes wrong becomes one ``LedgerLostError``.  A SQLite file that has vanished is made again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cds_service.ledger.migrating import migrate, require_current
from cds_service.ledger.place import (
    CALLS,
    FEEDBACK,
    HOUSE,
    MOST_READERS,
    LedgerPlace,
    Patience,
)
from cds_service.ledger.quickly import (
    Connections,
    QuickWork,
    RowRefusedError,
    kind_of,
    refuses_the_row,
)
from cds_service.sqlite_waits import is_long, shorten_journal

Result = TypeVar("Result")
Work = Callable[[Connection], Result]

_TRY_AGAIN_SECONDS = 1.0
_LOG = structlog.get_logger("cds_service.ledger")


class LedgerLostError(Exception):
    """The ledger cannot be used now."""


@dataclass(frozen=True, slots=True)
class _Engines:
    calls: Connections
    feedback: Engine
    reading: Connections

    def dispose(self) -> None:
        self.calls.dispose()
        self.feedback.dispose()
        self.reading.dispose()


class _Road:
    """Whether one use of the ledger, writing or reading, works at present."""

    def __init__(self, name: str, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._lost_until: float | None = None

    @property
    def is_lost(self) -> bool:
        return self._lost_until is not None

    @property
    def is_paused(self) -> bool:
        return self._lost_until is not None and self._monotonic() < self._lost_until

    def failed(self, error: Exception) -> None:
        if self._lost_until is None:
            _LOG.error("ledger_lost", use=self._name, exception=kind_of(error))
        self._lost_until = self._monotonic() + _TRY_AGAIN_SECONDS

    def worked(self) -> None:
        if self._lost_until is not None:
            _LOG.info("ledger_back", use=self._name)
            self._lost_until = None


class Database:
    """One ledger as a worker process uses it.

    Time:
        After a failure calls do not try again for a second, and a lost server is tried again by
        nobody who has an answer to give: it may hang.  Feedback always tries, but while the ledger
        is lost only one of them at a time: each waits for seconds in a place that calls need.
    """

    def __init__(
        self, place: LedgerPlace, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._trial = threading.Lock()
        """Held by the one who waits for a lost ledger."""
        self._engines: _Engines | None = None
        self._seen: tuple[int, int] | None = None
        self._writing = _Road("writing", monotonic)
        self._reading = _Road("reading", monotonic)

    @property
    def is_writable(self) -> bool:
        """Whether the last attempt to write worked."""
        return not self._writing.is_lost

    @property
    def is_readable(self) -> bool:
        """Whether the last attempt to read worked."""
        return not self._reading.is_lost

    def write_call(
        self, work: QuickWork[Result], *, insists: bool = False, seconds: float = CALLS.seconds
    ) -> Result:
        """Do *work* in one transaction that is safe from the end of this process.

        With *insists* a lost ledger is tried at once.  While another process writes to a SQLite
        file this waits *seconds*.

        Raises:
            LedgerLostError: It could not be committed in time.
            RowRefusedError: The database takes no such row.
        """
        is_server = self.place.file is None
        if is_server and self._reading.is_lost and not insists:
            raise LedgerLostError  # who has just waited for it does not wait again
        begin = None if is_server else "BEGIN IMMEDIATE"
        return self._used(
            self._writing,
            lambda engines: engines.calls.do(work, begin=begin, seconds=seconds),
            insists=insists,
        )

    def prepare_calls(self, work: QuickWork[object]) -> None:
        """Open what calls write with and do *work*, which writes nothing; no lock is asked for.

        A fault is left to the first call that meets it.
        """
        if self._writing.is_lost:
            return
        with suppress(Exception):
            self._ready().calls.do(work)

    def read(self, work: QuickWork[Result], *, insists: bool = False) -> Result:
        """Do *work*, which only reads; with *insists* a lost ledger is tried at once.

        Raises:
            LedgerLostError: It could not be read in time.
        """
        return self._used(self._reading, lambda engines: engines.reading.do(work), insists=insists)

    def write_feedback(self, work: Work[Result]) -> Result:
        """Do *work* in one transaction that is on the disk when this returns.

        Raises:
            LedgerLostError: It could not be committed.
            RowRefusedError: The database takes no such row.
        """
        if self.is_writable:
            return self._committed(work)
        if not self._trial.acquire(blocking=False):
            raise LedgerLostError
        try:
            return self._committed(work)
        finally:
            self._trial.release()

    def _committed(self, work: Work[Result]) -> Result:
        return self._watched(
            self._writing, lambda engines: _committed(engines.feedback, work), FEEDBACK
        )

    def forget_deleted(self) -> None:
        """Empty SQLite's journal, which keeps what was deleted; while others hold it, later."""
        if self.place.file is not None:
            self._shorten_journal(self.place.file, is_emptied=True)

    def shorten_journal(self) -> None:
        """Bring what SQLite's journal holds into the file, if it is long; waits for the disk."""
        if self.place.file is not None and is_long(self.place.file):
            self._shorten_journal(self.place.file, is_emptied=False)

    def _shorten_journal(self, file: Path, *, is_emptied: bool) -> None:
        """Work on the file with a connection of its own; what fails is done another time."""
        engine = self.place.writer(HOUSE)
        with suppress(Exception):
            self._ready(HOUSE)
            connection = engine.raw_connection()
            try:
                shorten_journal(connection.cursor(), file, is_emptied=is_emptied)
            finally:
                connection.close()
        engine.dispose()

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        """Close every connection when the database is forgotten."""
        if getattr(self, "_engines", None) is not None:
            self._drop()

    def _used(self, road: _Road, use: Callable[[_Engines], Result], *, insists: bool) -> Result:
        waits = road.is_paused or (road.is_lost and self.place.file is None)
        if waits and not insists:
            raise LedgerLostError
        return self._watched(road, use, CALLS)

    def _watched(
        self, road: _Road, use: Callable[[_Engines], Result], patience: Patience
    ) -> Result:
        """Return what *use* does; remember and log when the ledger is lost and found."""
        try:
            engines = self._ready(patience)
        except Exception as error:
            for each in (self._reading, self._writing):
                each.failed(error)
            raise LedgerLostError from error
        try:
            result = use(engines)
        except RowRefusedError:
            raise
        except PoolTimeoutError as error:  # others are using it
            raise LedgerLostError from error
        except Exception as error:
            road.failed(error)
            raise LedgerLostError from error
        road.worked()
        return result

    def _ready(self, patience: Patience = FEEDBACK) -> _Engines:
        """Return the engines for the database that is there now, its tables made.

        Raises:
            TimeoutError: Somebody else has been opening it for as long as *patience* says.
        """
        if self._engines is not None and self._seen == self._identity():
            return self._engines
        if not self._lock.acquire(timeout=patience.seconds):
            raise TimeoutError
        try:
            if self._engines is None or self._seen != self._identity():
                self._open(patience)
            return self._engines  # type: ignore[return-value] # _open sets it
        finally:
            self._lock.release()

    def _open(self, patience: Patience) -> None:
        self._drop()
        if self.place.file is not None:
            migrate(self.place, patience)
        else:
            require_current(self.place, FEEDBACK)
        self._engines = _Engines(
            Connections(self.place.writer(CALLS), most=1, seconds=CALLS.seconds),
            self.place.writer(FEEDBACK),
            Connections(self.place.reader(CALLS), most=MOST_READERS, seconds=CALLS.seconds),
        )
        self._seen = self._identity()

    def _drop(self) -> None:
        engines, self._engines = self._engines, None
        if engines is not None:
            engines.dispose()

    def _identity(self) -> tuple[int, int]:
        """Return what tells this process's database from another under the same name."""
        if self.place.file is None:
            return os.getpid(), 0
        try:
            return os.getpid(), self.place.file.stat().st_ino
        except OSError:
            return os.getpid(), -1


def _committed(engine: Engine, work: Work[Result]) -> Result:
    """Do *work* and commit; a connection on which anything failed is not used again."""
    with engine.connect() as connection:
        try:
            with connection.begin():
                return work(connection)
        except Exception as error:
            driver = connection.dialect.loaded_dbapi
            if isinstance(error, DBAPIError) and refuses_the_row(error.orig, driver):
                raise RowRefusedError from error
            connection.invalidate()
            raise
