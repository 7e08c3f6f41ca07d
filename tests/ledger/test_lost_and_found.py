"""Who tries a lost ledger again and when, what the log says of it, and who looks after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from cds_service.ledger import keeping
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.feedback import FeedbackLedger
from cds_service.ledger.keeping import Ledger
from cds_service.ledger.place import CALLS, FEEDBACK, LedgerPlace, Patience
from tests.ledger.clinic import MORNING, Clinic

SERVER = "postgresql+pg8000://cds@ledger.example/cds"


@dataclass
class Stage:
    """A ledger whose connections fail as the test says, and a clock moved by hand."""

    now: float = 1000.0
    read_error: Exception | None = None
    write_error: Exception | None = None
    tries: list[str] = field(default_factory=list)

    @property
    def calls(self) -> Stage:
        """Return what writes calls."""
        return Stage(read_error=self.write_error, tries=self.tries)

    @property
    def reading(self) -> Stage:
        """Return what reads."""
        return self

    def do(self, *_: object, **more: object) -> str:
        """Fail, or answer."""
        self.tries.append("write" if "begin" in more else "read")
        if self.read_error is not None:
            raise self.read_error
        return "answer"

    def dispose(self) -> None:
        """Close nothing."""


@pytest.fixture
def stage() -> Stage:
    """Return connections that work."""
    return Stage()


def database(stage: Stage, place: LedgerPlace, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return a database on *stage*."""
    made = Database(place, monotonic=lambda: stage.now)

    def ready(_patience: Patience = CALLS) -> Stage:
        return stage

    monkeypatch.setattr(made, "_ready", ready)
    return made


def read(ledger: Database, *, insists: bool = False) -> str:
    """Read as a call does; return what came of it."""
    try:
        return str(ledger.read(lambda _quick: "answer", insists=insists))
    except LedgerLostError:
        return "lost"


def write(ledger: Database, *, insists: bool = False) -> str:
    """Write as a call does; return what came of it."""
    try:
        return str(ledger.write_call(lambda _quick: "answer", insists=insists))
    except LedgerLostError:
        return "lost"


FILE = LedgerPlace(file=Path("/nowhere/ledger.sqlite3"))
SERVED = LedgerPlace(url=SERVER)


def test_lost_file_is_tried_again_after_a_second(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that comes before is answered at once, unless it insists."""
    ledger = database(stage, FILE, monkeypatch)
    stage.read_error = OSError()
    assert read(ledger) == "lost"
    assert not ledger.is_readable
    assert ledger.is_writable
    for later in (0.0, 0.5, 0.99):
        stage.now = 1000.0 + later
        assert read(ledger) == "lost"
    assert stage.tries == ["read"]
    assert read(ledger, insists=True) == "lost"
    assert stage.tries == ["read"] * 2
    stage.now += 1.0
    stage.read_error = None
    assert read(ledger) == "answer"
    assert stage.tries == ["read"] * 3
    assert ledger.is_readable


def test_lost_server_is_tried_again_by_nobody_who_has_an_answer_to_give(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hang: a call neither reads nor writes there until somebody else has found it."""
    ledger = database(stage, SERVED, monkeypatch)
    stage.read_error = OSError()
    assert read(ledger) == "lost"
    stage.read_error = None
    stage.now += 3600.0
    assert read(ledger) == "lost"
    assert write(ledger) == "lost"
    assert stage.tries == ["read"]
    assert write(ledger, insists=True) == "answer"
    assert read(ledger, insists=True) == "answer"
    assert (read(ledger), write(ledger)) == ("answer", "answer")


def test_file_that_cannot_be_read_is_still_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is kept waiting because what holds cards back could not be read."""
    ledger = database(stage, FILE, monkeypatch)
    stage.read_error = OSError()
    assert (read(ledger), write(ledger)) == ("lost", "answer")


def test_ledger_that_cannot_be_opened_holds_up_the_start_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each try may take seconds; the first call tries again."""
    ledger, tries = Database(FILE), []

    def lost(patience: Patience = FEEDBACK) -> None:
        tries.append(patience)
        raise OSError

    monkeypatch.setattr(ledger, "_ready", lost)
    CallLedger(ledger).prepare()
    assert tries == [CALLS]


@pytest.mark.parametrize("place", [FILE, SERVED])
def test_ledger_that_others_use_is_not_lost(
    place: LedgerPlace, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call has its turn at once, and the log says nothing."""
    ledger = database(stage, place, monkeypatch)
    stage.write_error = PoolTimeoutError()
    with capture_logs() as logs:
        assert write(ledger) == "lost"
    assert ledger.is_writable
    assert logs == []


def test_log_names_the_use_and_the_kind_of_fault_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operators read when it was lost and when it came back, not each call between."""
    ledger = database(stage, FILE, monkeypatch)
    with capture_logs() as logs:
        read(ledger)
        stage.write_error = OSError("/nowhere")
        for _ in range(3):
            stage.now += 2.0
            write(ledger)
        stage.write_error = None
        stage.now += 2.0
        write(ledger)
        write(ledger)
    assert logs == [
        {
            "event": "ledger_lost",
            "log_level": "error",
            "use": "writing",
            "exception": "OSError",
        },
        {"event": "ledger_back", "log_level": "info", "use": "writing"},
    ]


def test_journal_that_cannot_be_shortened_is_left_for_another_time(tmp_path: Path) -> None:
    """Neither a folder that is gone nor a server, which has its own, ends who looks after it."""
    (tmp_path / "state").write_text("no folder", encoding="utf-8")
    for place in (LedgerPlace(file=tmp_path / "state" / "ledger.sqlite3"), SERVED):
        ledger = Database(place)
        ledger.shorten_journal()
        ledger.forget_deleted()
        assert (ledger.is_readable, ledger.is_writable) == (True, True)


class Clock:
    """The time of ``keeping``, which only passes while somebody rests."""

    def __init__(self) -> None:
        self.rests: list[float] = []
        self.looks = 0

    def monotonic(self) -> float:
        """Return the time."""
        self.looks += 1
        assert self.looks < 1_000, "tried again and again without a rest"
        return sum(self.rests)

    def sleep(self, seconds: float) -> None:
        """Rest."""
        self.rests.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Return a clock without waiting."""
    clock = Clock()
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "time", clock)
        yield clock


def test_service_without_anything_to_write_ends_at_once(clinic: Clinic, clock: Clock) -> None:
    """Whoever restarts it does not wait, and whoever copies the file then has everything."""
    clinic.open()
    with capture_logs() as logs:
        clinic.ledger.close()
    assert clock.rests == []
    assert logs == []
    assert clinic.place.file is not None
    assert list(clinic.place.file.parent.glob("ledger*")) == [clinic.place.file]


def test_service_that_ends_tries_for_two_seconds_with_rests(
    clinic: Clinic, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that writes gets its turn; the end of this one is not put off for ever."""
    insisted = []

    def lost(*_: object, insists: bool, **_more: object) -> None:
        insisted.append(insists)
        raise LedgerLostError

    monkeypatch.setattr(Database, "write_call", lost)
    clinic.open()
    clinic.ledger.close()
    assert clinic.ledger.calls.counts.lost == 1
    assert insisted == [False] + [True] * len(clock.rests)
    assert sum(clock.rests) == pytest.approx(2.0, abs=0.1)


HOURS = 7_201
"""Two hours and a second: so often a thread looks that looks every second."""


class HouseOverError(BaseException):
    """The test has seen enough."""


class House:
    """The thread of a ledger, run by hand for two hours that take a moment."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        self.told: list[object] = []
        self.prunings: list[int | Exception] = [LedgerLostError(), 0, 7]
        self.at_exit: list[object] = []
        self.thread: dict[str, Any] = {}
        self.now = 0.0
        monkeypatch.setattr(keeping, "time", self)
        monkeypatch.setattr(keeping, "atexit", SimpleNamespace(register=self.at_exit.append))
        monkeypatch.setattr(keeping, "threading", SimpleNamespace(Thread=self._made))
        monkeypatch.setattr(CallLedger, "prepare", lambda _: self.done.update(["prepared"]))
        monkeypatch.setattr(Ledger, "catch_up", lambda _: self.done.update(["looked"]))
        monkeypatch.setattr(Ledger, "prune", self._pruned)
        monkeypatch.setattr(FeedbackLedger, "settle", lambda _: self.done.update(["settled"]))
        monkeypatch.setattr(Database, "shorten_journal", lambda _: self.done.update(["journal"]))
        self.ledger = replace(ledger, monotonic=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        """Rest."""
        self.now += seconds
        if self.now > HOURS:
            raise HouseOverError

    def _made(self, **how: object) -> House:
        self.thread = how
        return self

    def start(self) -> None:
        """Begin nothing: the test does."""

    def _pruned(self, pause: object, *, now: object = None) -> int:
        self.done.update(["pruned"])
        self.told = [pause, now]
        deleted = self.prunings.pop(0)
        if isinstance(deleted, Exception):
            raise deleted
        return deleted


def test_ledger_is_looked_after_every_second_every_minute_and_every_hour(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that wait, answers before their call, what is too old: nobody has to start it.

    An hour in which the ledger is lost does not end it, and the log tells only what was deleted.
    """
    clinic.open()
    clinic.pass_time(days=400)
    house = House(clinic.ledger, monkeypatch)
    house.ledger.keep_house()
    assert house.at_exit == [house.ledger.close]
    assert house.thread["daemon"] is True
    with capture_logs() as logs, pytest.raises(HouseOverError):
        house.thread["target"]()
    often = {"looked": HOURS, "journal": HOURS}
    assert house.done == {"prepared": 1, "settled": 121, "pruned": 3, **often}
    assert house.told == [house.ledger.catch_up, MORNING + timedelta(days=1)]
    assert logs == [{"event": "ledger_pruned", "log_level": "info", "rows": 7}]


def test_clock_of_a_ledger_without_calls_is_trusted(clinic: Clinic) -> None:
    """There is nothing that could be deleted too early."""
    clinic.pass_time(days=400)
    assert clinic.ledger.confirmed_now() == MORNING + timedelta(days=400)
