"""What every call does with the ledger is cheap, and as safe as anything SQLAlchemy does itself."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, text

from cds_service.ledger import quickly
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.place import LedgerPlace
from cds_service.ledger.quickly import Quick
from cds_service.ledger.records import CallCounts, Scope, Showing, State
from cds_service.ledger.tables import CALL, SHOWING, SNOOZE
from tests.ledger.clinic import rows
from tests.ledger.test_waiting_calls import CALL_RECORD
from tests.locked_file import locked_file

PATIENT = "a" * 64
SNOOZED = {
    "client": "north",
    "patient": PATIENT,
    "card": "IMG-MRI-NR",
    "scope": Scope.CARD.value,
    "scope_key": "k",
    "until": date(2026, 4, 1),
    "reason": "accepted",
    "feedback_id": 1,
}
SHOWN = Showing(card="IMG-MRI-NR", card_uuid="u", indicator="info", state=State.SHOWN)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return a SQLite ledger."""
    database = Database(LedgerPlace(file=tmp_path / "ledger.sqlite3"))
    yield database
    database.close()


def _file(database: Database) -> Path:
    assert database.place.file is not None
    return database.place.file


def test_call_is_committed_when_keeping_it_returns(database: Database) -> None:
    """Another program sees the call and its cards, with every value as SQLAlchemy reads it."""
    CallLedger(database).keep(replace(CALL_RECORD, is_silent=True, showings=(SHOWN,)))
    [call], [showing] = rows(database.place, CALL), rows(database.place, SHOWING)
    assert call["is_silent"] is True
    assert (call["client"], call["outcome"], call["unread"]) == ("north", "fired", None)
    assert (showing["call_id"], showing["state"]) == (call["id"], "shown")


def test_connections_of_calls_have_the_settings_of_the_ledger(database: Database) -> None:
    """They write ahead, wait 50 ms at most for a lock, and overwrite what is deleted."""

    def settings(quick: Quick) -> list[Any]:
        names = ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
        return [quick.read(text(f"PRAGMA {name}"), {})[0][0] for name in names]

    normal = 1
    assert database.write_call(settings) == ["wal", normal, 50, 1]


def test_snooze_is_read_with_a_day_and_a_scope(database: Database) -> None:
    """What holds a card back is as it was written, though SQLite keeps days as text."""
    database.write_feedback(lambda connection: connection.execute(insert(SNOOZE), SNOOZED))
    [snooze] = CallLedger(database).snoozes(PATIENT)
    assert (snooze.until, snooze.scope) == (date(2026, 4, 1), Scope.CARD)
    assert CallLedger(database).snoozes("b" * 64) == ()


def test_failed_write_leaves_nothing_and_no_lock(database: Database) -> None:
    """A call is in the ledger with all of its cards or not at all."""

    def half(quick: Quick) -> None:
        quick.write(insert(SNOOZE), [{**SNOOZED, "until": "2026-04-01"}])
        raise sqlite3.OperationalError

    with pytest.raises(LedgerLostError):
        database.write_call(half)
    assert rows(database.place, SNOOZE) == []
    with closing(sqlite3.connect(str(database.place.file), timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")


def test_ledger_that_is_prepared_has_no_call(database: Database) -> None:
    """What the first call would wait for is done before it, and nothing is written for nobody."""
    quickly._worded.cache_clear()
    ledger = CallLedger(database)
    ledger.prepare()
    assert rows(database.place, CALL) == []
    assert ledger.counts == CallCounts()
    before = quickly._worded.cache_info().misses
    ledger.snoozes(PATIENT)
    ledger.keep(replace(CALL_RECORD, showings=(SHOWN,)))
    assert quickly._worded.cache_info().misses == before


def test_first_call_does_not_wait_for_the_journal(database: Database) -> None:
    """SQLite makes its journal and waits for the disk at the first write: that is before it."""
    journal = Path(f"{database.place.file}-wal")
    ledger = CallLedger(database)
    ledger.snoozes(PATIENT)
    assert not journal.stat().st_size
    ledger.prepare()
    assert journal.stat().st_size


def test_no_call_waits_until_the_journal_is_in_the_file(database: Database) -> None:
    """That waits for the disk, which may be slow; it is done by a thread that answers nobody."""
    file = database.place.file
    assert file is not None
    journal = Path(f"{file}-wal")
    ledger = CallLedger(database)
    ledger.prepare()
    before = file.stat().st_size
    while journal.stat().st_size < 5_000_000:
        ledger.keep(CALL_RECORD)
    assert file.stat().st_size == before
    database.shorten_journal()
    assert file.stat().st_size > before
    assert journal.stat().st_size < 100_000
    assert len(rows(database.place, CALL)) == ledger.counts.kept


def test_ledger_that_cannot_be_opened_is_prepared_later(tmp_path: Path) -> None:
    """A fault of the ledger is no fault of the start."""
    (tmp_path / "state").write_text("in the way")
    database = Database(LedgerPlace(file=tmp_path / "state" / "ledger.sqlite3"))
    CallLedger(database).prepare()
    assert not database.is_readable


def test_ledger_that_is_locked_at_the_start_is_not_lost(database: Database) -> None:
    """Another process writes at that moment: the first call finds the ledger in order."""
    ledger = CallLedger(database)
    ledger.snoozes(PATIENT)
    with closing(sqlite3.connect(str(database.place.file), timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        ledger.prepare()
    assert database.is_writable
    ledger.keep(CALL_RECORD)
    assert len(rows(database.place, CALL)) == 1


def test_process_that_begins_while_another_writes_reads_at_once(database: Database) -> None:
    """What holds a patient's cards back is known, and no call waits for the writer to end."""
    database.write_feedback(lambda connection: connection.execute(insert(SNOOZE), SNOOZED))
    fresh = Database(database.place)
    with locked_file(_file(database)):
        begun = time.monotonic()
        assert len(CallLedger(fresh).snoozes(PATIENT)) == 1
        assert time.monotonic() - begun < 1.5
    fresh.close()


def test_calls_do_not_wait_one_after_the_other_for_a_new_file_that_is_locked(
    database: Database,
) -> None:
    """A backup was put back and a tool still works on it: ten calls are late by little."""
    ledger = CallLedger(database)
    ledger.snoozes(PATIENT)
    for path in _file(database).parent.glob(f"{_file(database).name}*"):
        path.unlink()
    with closing(sqlite3.connect(_file(database), isolation_level=None)) as tool:
        tool.execute("CREATE TABLE other (id)")
        tool.execute("BEGIN EXCLUSIVE")
        calls = [threading.Thread(target=ledger.snoozes, args=(PATIENT,)) for _ in range(10)]
        begun = time.monotonic()
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert time.monotonic() - begun < 1.5
    assert not database.is_readable


def test_statement_of_a_call_is_worded_once(database: Database) -> None:
    """A hundred calls cost the wording of three statements."""
    quickly._worded.cache_clear()
    ledger = CallLedger(database)
    for _ in range(100):
        ledger.snoozes(PATIENT)
        ledger.keep(replace(CALL_RECORD, showings=(SHOWN,)))
    assert quickly._worded.cache_info().misses == 3
    assert len(rows(database.place, CALL)) == 100
