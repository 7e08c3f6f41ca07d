"""In which order calls compute: those that begin, those that rested, and those announced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from cds_service.turns import Turns, resting
from tests.patience import PATIENT_SECONDS, until
from tests.web.small_rooms import Ticks


class _Call(threading.Thread):
    """A call that rests until each of *rests* is over, in turn, and then notes itself."""

    def __init__(
        self, turns: Turns, order: list[str], *rests: threading.Event, now: Callable[[], float]
    ) -> None:
        super().__init__()
        self._turns, self._order, self._rests, self._now = turns, order, rests, now

    def run(self) -> None:  # type: ignore[explicit-override]  # needs Python 3.12
        with self._turns.turn(self._now()):
            for over in self._rests:
                with resting():
                    over.wait(PATIENT_SECONDS)
            self._order.append("rested" if self._rests else "begins")


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """Return the clock of all turns."""
    found = Ticks()
    monkeypatch.setattr("cds_service.turns.time", SimpleNamespace(monotonic=found))
    return found


def _order_of_turns(
    ticks: Ticks, *, begins_after: float, has_waited: float = 0.0, server_took: float = 0.0
) -> list[str]:
    """Let one call come back from a rest, and another begin so many seconds after that.

    The first has waited for its first turn before, and then for its server.
    """
    ticks.seconds += has_waited
    rests, over = threading.Event(), threading.Event()
    turns, order = Turns(on_rest=rests.set), list[str]()
    first = _Call(turns, order, over, now=lambda: ticks.seconds - has_waited)
    second = _Call(turns, order, now=ticks)
    first.start()
    assert rests.wait(PATIENT_SECONDS)
    ticks.seconds += server_took
    assert turns.rested == 1
    with turns.turn(ticks.seconds):
        order.append("computes meanwhile")
        over.set()
        assert until(lambda: len(turns._waiting) == 1)
        ticks.seconds += begins_after
        second.start()
        assert until(lambda: len(turns._waiting) == 2)
    for call in (first, second):
        call.join(PATIENT_SECONDS)
    assert turns.rested == 0
    return order


def test_call_that_rests_lets_others_compute(ticks: Ticks) -> None:
    """A call that waits for its FHIR server holds nobody up; how many have rested is known."""
    assert _order_of_turns(ticks, begins_after=0.0)[0] == "computes meanwhile"


@pytest.mark.parametrize(("after", "first"), [(0.049, "begins"), (0.051, "rested")])
def test_call_that_begins_has_a_head_start_of_a_twentieth_of_a_second(
    ticks: Ticks, after: float, first: str
) -> None:
    """It may have a server to wait for too; but nobody who has rested waits for ever."""
    assert _order_of_turns(ticks, begins_after=after)[1] == first


@pytest.mark.parametrize(("waited", "first"), [(0.049, "begins"), (0.051, "rested")])
def test_call_that_has_waited_for_turns_before_gives_way_for_less(
    ticks: Ticks, waited: float, first: str
) -> None:
    """On a busy day nobody is the one who always waits."""
    assert _order_of_turns(ticks, begins_after=0.0, has_waited=waited)[1] == first


def test_call_whose_server_took_its_time_gives_way_like_any_other(ticks: Ticks) -> None:
    """Where a hospital's server is slow, its calls would otherwise delay those of all others."""
    assert _order_of_turns(ticks, begins_after=0.0, server_took=0.4)[1] == "begins"


def test_call_that_rests_again_remembers_how_long_it_has_waited(ticks: Ticks) -> None:
    """It waited 60 ms when it came back from the first rest; after the second it is the first."""
    rests, overs = threading.Semaphore(0), [threading.Event(), threading.Event()]
    order: list[str] = []
    turns = Turns(on_rest=rests.release)
    calls = _Call(turns, order, *overs, now=ticks), _Call(turns, order, now=ticks)
    calls[0].start()
    assert rests.acquire(timeout=PATIENT_SECONDS)
    with turns.turn(ticks()):
        overs[0].set()
        assert until(lambda: len(turns._waiting) == 1)
        ticks.seconds += 0.06
    assert rests.acquire(timeout=PATIENT_SECONDS)
    with turns.turn(ticks()):
        overs[1].set()
        assert until(lambda: len(turns._waiting) == 1)
        calls[1].start()
        assert until(lambda: len(turns._waiting) == 2)
    for call in calls:
        call.join(PATIENT_SECONDS)
    assert order == ["rested", "begins"]


def _announcing(turns: Turns, rested: _Call, over: threading.Event) -> None:
    """Announce a call while *rested* waits for its turn, as the event loop does."""
    rested.start()
    assert until(lambda: turns.rested == 1)
    with turns.first(PATIENT_SECONDS):
        turns.expect()
        over.set()
        assert until(lambda: len(turns._waiting) == 1)


def test_call_that_was_announced_has_the_turn_before_one_that_has_rested(ticks: Ticks) -> None:
    """Although its thread has to start first."""
    turns, order, over = Turns(), list[str](), threading.Event()
    rested = _Call(turns, order, over, now=ticks)
    begins = _Call(turns, order, now=ticks)
    starter = threading.Timer(0.2, begins.start)
    with patch("cds_service.turns._ON_THE_WAY_SECONDS", PATIENT_SECONDS):
        starter.start()
        _announcing(turns, rested, over)
    for thread in (starter, begins, rested):
        thread.join(PATIENT_SECONDS)
    assert order == ["begins", "rested"]


def test_announced_call_that_does_not_come_is_waited_for_briefly_and_once() -> None:
    """No thread could be started for it, say; who waits has the turn then."""
    turns, order, over = Turns(), list[str](), threading.Event()
    rested = _Call(turns, order, over, now=time.monotonic)
    _announcing(turns, rested, over)
    rested.join(PATIENT_SECONDS)
    assert order == ["rested"]
    assert turns._expected == 0


def test_announced_call_is_not_waited_for_where_nobody_else_wants_the_turn() -> None:
    """It has the turn anyway when it comes; and it was expected once only."""
    turns, order = Turns(), list[str]()
    with patch("cds_service.turns._ON_THE_WAY_SECONDS", PATIENT_SECONDS):
        started = time.monotonic()
        with turns.first(PATIENT_SECONDS):
            turns.expect()
        assert time.monotonic() - started < PATIENT_SECONDS / 2
    call = _Call(turns, order, now=time.monotonic)
    call.start()
    call.join(PATIENT_SECONDS)
    assert order == ["begins"]
    assert turns._expected == 0
