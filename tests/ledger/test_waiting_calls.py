"""Calls that cannot be written wait in memory, in bounds, and are written once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete
from structlog.testing import capture_logs

from cds_service.errors import OverloadedError
from cds_service.hooks.feedback import CardOutcome, FeedbackItem
from cds_service.ledger import calls as module
from cds_service.ledger import database as database_module
from cds_service.ledger import keeping
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.place import LedgerPlace
from cds_service.ledger.quickly import QuickWork
from cds_service.ledger.records import CallRecord, Outcome
from cds_service.ledger.tables import CALL
from cds_service.trust.profile import ClientProfile
from tests.ledger.clinic import Clinic, rows
from tests.locked_file import locked_file

CALL_RECORD = CallRecord(
    client="north",
    service="s",
    received_at=1_800_000_000_000,
    outcome=Outcome.FIRED,
    http_status=200,
    knowledge_version="1",
    knowledge_digest="d",
    total_ms=1.0,
)
CLIENT = ClientProfile(id="north")
ITEM = FeedbackItem(
    card="c", outcome=CardOutcome.ACCEPTED, acted_at=datetime(2026, 3, 1, 9, tzinfo=UTC)
)


class Breakable(Database):
    """A database that the test breaks, before a commit or after it."""

    def __init__(self, place: LedgerPlace) -> None:
        super().__init__(place)
        self.is_broken = False
        self.loses_the_answer = False

    def write_call(  # type: ignore[override] # one use of it
        self, work: QuickWork[None], *, insists: bool = False, seconds: float = 0.0
    ) -> None:
        """Write, or fail as told."""
        if self.is_broken:
            raise LedgerLostError
        super().write_call(work, insists=insists, seconds=seconds)
        if self.loses_the_answer:
            raise LedgerLostError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Breakable]:
    """Return a SQLite ledger that can be broken."""
    database = Breakable(LedgerPlace(file=tmp_path / "ledger.sqlite3"))
    yield database
    database.close()


def test_calls_wait_and_are_all_written_when_it_works_again(database: Breakable) -> None:
    """Nothing is lost as long as there is room."""
    ledger = CallLedger(database)
    database.is_broken = True
    for _ in range(5):
        ledger.keep(CALL_RECORD)
    assert ledger.waiting == 5
    database.is_broken = False
    ledger.keep(CALL_RECORD)
    assert ledger.waiting == 0
    assert len(rows(database.place, CALL)) == 6
    assert ledger.counts.kept == 6


def test_more_calls_than_there_is_room_for_are_lost_and_counted(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has a bound, and the loss has a number."""
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    ledger = CallLedger(database)
    database.is_broken = True
    for _ in range(5):
        ledger.keep(CALL_RECORD)
    assert (ledger.waiting, ledger.counts.lost) == (3, 2)


def test_call_whose_commit_was_in_doubt_is_counted_once(database: Breakable) -> None:
    """The database had it, and only its answer was lost: written again, it is one row."""
    ledger = CallLedger(database)
    database.loses_the_answer = True
    ledger.keep(CALL_RECORD)
    assert ledger.waiting == 1
    database.loses_the_answer = False
    ledger.keep(CALL_RECORD)
    assert len(rows(database.place, CALL)) == 2


def test_row_that_no_database_takes_costs_no_other(database: Breakable) -> None:
    """One impossible row among those that wait is dropped and counted; the others are kept."""
    ledger = CallLedger(database)
    database.is_broken = True
    ledger.keep(CALL_RECORD)
    ledger.keep(replace(CALL_RECORD, service=None))  # type: ignore[arg-type] # impossible
    ledger.keep(CALL_RECORD)
    database.is_broken = False
    ledger.write_waiting()
    assert ledger.waiting == 0
    assert ledger.counts.lost == 1
    assert len(rows(database.place, CALL)) == 2


def test_one_call_pays_for_a_bounded_part_of_what_waits(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long loss no single call has to write everything."""
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 2)
    ledger = CallLedger(database)
    database.is_broken = True
    for _ in range(5):
        ledger.keep(CALL_RECORD)
    database.is_broken = False
    assert ledger.write_waiting()
    assert ledger.waiting == 3


def test_reading_what_holds_cards_back_never_fails(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it cannot be read nothing is held back, and the count says how often."""

    def lost(_: QuickWork[None]) -> None:
        raise LedgerLostError

    monkeypatch.setattr(database, "read", lost)
    ledger = CallLedger(database)
    assert ledger.snoozes("a") == ()
    assert ledger.counts.snoozes_unread == 1


def test_ledger_found_again_is_said_though_nothing_waits(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feedback was refused and nobody calls since: health and metrics do not stay red."""
    card = clinic.open()[0]
    database = clinic.ledger.database

    def lost(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(database, "_ready", lost)
        assert clinic.send(clinic.item(card, "overridden")).status_code == 503
        with pytest.raises(LedgerLostError):
            database.read(lambda _connection: None)
    health = clinic.client.get("/health/ready").get_json()["ledger"]
    assert health.startswith("cannot be written, ")
    assert health.endswith("; cannot be read, nothing is held back")
    clinic.ledger.calls.look_again()
    assert clinic.client.get("/health/ready").get_json()["ledger"] == "in order"


def test_feedback_that_waits_for_other_feedback_does_not_make_the_ledger_lost(
    clinic: Clinic,
) -> None:
    """A large batch keeps the next one waiting: that is sent again, and calls do not suffer."""
    card = clinic.open()[0]
    with clinic.ledger.database._ready().feedback.connect():
        assert clinic.send(clinic.item(card, "overridden")).status_code == 503
    assert clinic.ledger.database.is_writable
    assert clinic.send(clinic.item(card, "overridden")).status_code == 200


def test_feedback_that_cannot_be_kept_does_not_take_the_places_of_calls(clinic: Clinic) -> None:
    """One waits to see whether the ledger can be written again, the others are told at once."""
    card = clinic.open()[0]
    assert clinic.place.file is not None
    waited: list[float] = []

    def send() -> None:
        begun = time.monotonic()
        with pytest.raises(OverloadedError):
            clinic.ledger.feedback.keep(CLIENT, (ITEM,))
        waited.append(time.monotonic() - begun)

    with locked_file(clinic.place.file):
        assert clinic.send(clinic.item(card, "overridden")).status_code == 503
        assert not clinic.ledger.database.is_writable
        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(waited)[4] < 1.5
    assert clinic.send(clinic.item(card, "overridden")).status_code == 200


def test_looking_for_the_ledger_counts_no_call_whose_cards_were_all_shown(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is that of calls, not of the seconds the ledger was away."""

    def lost(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(database, "_ready", lost)
    ledger = CallLedger(database)
    assert ledger.snoozes("a") == ()
    for _ in range(3):
        ledger.look_again()
    assert ledger.counts.snoozes_unread == 1


def test_quick_call_waits_for_another_process_that_writes_on_a_slow_disk(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feedback is being committed elsewhere: the call is in the ledger before it is answered."""
    monkeypatch.setattr(module, "_QUICK_CALL_SECONDS", 20)
    ledger = CallLedger(database)
    ledger.prepare()
    with released_after(database.place, 0.3):
        ledger.keep(CALL_RECORD)
    assert ledger.waiting == 0
    assert database.is_writable
    assert len(rows(database.place, CALL)) == 1


def test_late_call_does_not_wait_for_another_process(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The FHIR server took all the time there is: the answer leaves, the call is written later."""
    monkeypatch.setattr(module, "_QUICK_CALL_SECONDS", 20)
    ledger = CallLedger(database)
    ledger.prepare()
    with released_after(database.place, 10):
        ledger.keep(replace(CALL_RECORD, total_ms=20_450.0))
        assert ledger.waiting == 1
    ledger.write_waiting(insists=True)
    assert len(rows(database.place, CALL)) == 1


def test_ledger_that_stays_locked_holds_up_one_call_and_not_the_next(
    database: Breakable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds it lost does not wait for it again within the same moment."""
    monkeypatch.setattr(module, "_QUICK_CALL_SECONDS", 2)
    monkeypatch.setattr(database_module, "_TRY_AGAIN_SECONDS", 60)
    ledger = CallLedger(database)
    ledger.prepare()
    with locked(database.place):
        ledger.keep(CALL_RECORD)
        begun = time.monotonic()
        ledger.keep(CALL_RECORD)
        assert time.monotonic() - begun < 1
    assert ledger.waiting == 2


def test_calls_that_wait_are_written_when_the_service_ends(clinic: Clinic) -> None:
    """The ledger was locked until just now, and nobody calls again."""
    clinic.open()
    with locked(clinic.place):
        clinic.open()
        assert clinic.ledger.calls.waiting == 1
    clinic.ledger.close()
    assert len(clinic.rows(CALL)) == 2


@pytest.mark.parametrize("use", ["calls", "reading", "feedback"])
def test_ledger_that_is_closed_is_one_file(tmp_path: Path, use: str) -> None:
    """Whoever copies it then has everything: no journal of an open connection is left beside it."""
    place = LedgerPlace(file=tmp_path / "ledger.sqlite3")
    database = Database(place)
    ledger = CallLedger(database)
    if use == "calls":
        ledger.keep(CALL_RECORD)
    elif use == "reading":
        assert ledger.snoozes("a") == ()
    else:
        database.write_feedback(lambda connection: connection.execute(delete(CALL)))
    assert len(list(tmp_path.iterdir())) > 1
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite3"]


def test_calls_that_are_lost_when_the_service_ends_are_said(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator learns how many calls the numbers of this day lack."""
    monkeypatch.setattr(keeping, "_LAST_SECONDS", 0.2)
    clinic.open()
    with locked(clinic.place), capture_logs() as logs:
        for _ in range(3):
            clinic.open()
        clinic.ledger.close()
    assert {"event": "calls_lost", "log_level": "error", "calls": 3} in logs
    assert clinic.ledger.calls.counts.lost == 3


@contextmanager
def released_after(place: LedgerPlace, seconds: float) -> Iterator[None]:
    """Hold the ledger's file for so long, as another process that writes."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(place):
            held.set()
            over.wait(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    try:
        yield
    finally:
        over.set()
        holder.join()


@contextmanager
def locked(place: LedgerPlace) -> Iterator[None]:
    """Hold the ledger's file, as another program may."""
    assert place.file is not None
    with locked_file(place.file):
        yield
