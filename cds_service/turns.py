"""Turns at computing: a process gets nothing more done when several of its threads compute.

They only take Python's lock from each other, up to five milliseconds at every look at a socket, and
whoever waits for it longest answers last.  So hook calls compute one at a time, first come, first
served.  Whoever waits for somebody else (a FHIR server, a key set, a slow sender) rests meanwhile.

A call that begins has a head start over those that have rested: what it does first is short, and
then it may wait for its FHIR server while those compute.  Without it all calls would fall into
step, compute together and then wait together.  Nobody gives way for long, and whoever has waited
for turns before gives way for less; how long its server took is no reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

_BEFORE_ALL = float("-inf")
_HEAD_START_SECONDS = 0.05
"""Who has rested waits at most so much longer than calls that begin."""
_ON_THE_WAY_SECONDS = 0.005
"""Who was given a thread is waited for so long until it asks for its turn."""
_LONGEST_WAIT_SECONDS = 1.0
"""Who has waited so long computes beside whoever does not end."""


class _Place(NamedTuple):
    since: float
    number: int
    """Tells apart who came at the same moment."""
    turn: threading.Lock


class Turns:
    """One turn at a time; safe for several threads."""

    def __init__(self, on_rest: Callable[[], None] = lambda: None) -> None:
        """Call *on_rest* whenever a thread begins to rest."""
        self._on_rest = on_rest
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: list[_Place] = []
        """A heap: who has waited longest is first."""
        self._expected = 0
        self._nobody_expected = threading.Condition(self._lock)
        self._numbers = count()
        self.rested = 0
        """How many calls have rested and not ended; they have the first part behind them."""

    @contextmanager
    def turn(self, arrived_at: float) -> Iterator[None]:
        """Compute inside of this block, when it is this thread's turn.

        Time:
            *arrived_at* is the monotonic moment, in seconds, at which the call was there.  After a
            second the block begins although somebody else still computes.
        """
        since = time.monotonic() - _HEAD_START_SECONDS
        has_turn = self._take(since, _LONGEST_WAIT_SECONDS, begins=True)
        _own.turns, _own.arrived_at = self if has_turn else None, arrived_at
        _own.has_rested = False
        _own.waited_seconds = time.monotonic() - arrived_at
        try:
            yield
        finally:
            if _own.has_rested:
                with self._lock:
                    self.rested -= 1
            if _own.turns is not None:
                self._give_back()
            _own.turns = _own.arrived_at = None

    @contextmanager
    def first(self, longest_wait_seconds: float) -> Iterator[None]:
        """Compute inside of this block before all who wait; then come the calls it has announced.

        After *longest_wait_seconds* the block begins although somebody else still computes.
        """
        has_turn = self._take(_BEFORE_ALL, longest_wait_seconds)
        try:
            yield
        finally:
            if has_turn:
                self._wait_for_expected()
                self._give_back()

    def expect(self) -> None:
        """Announce a call that was given a thread and will ask for its turn at once.

        Else one that has rested would have the turn before that thread has begun.
        """
        with self._lock:
            self._expected += 1

    @contextmanager
    def rest(self) -> Iterator[None]:
        """Let others compute while this thread, whose turn it is, waits for somebody."""
        if not _own.has_rested:
            _own.has_rested = True
            with self._lock:
                self.rested += 1
        self._give_back()
        self._on_rest()
        try:
            yield
        finally:
            wanted_at = time.monotonic()
            has_turn = self._take(wanted_at - _own.waited_seconds, _LONGEST_WAIT_SECONDS)
            _own.turns = self if has_turn else None
            _own.waited_seconds += time.monotonic() - wanted_at

    def _wait_for_expected(self) -> None:
        """Wait for those on their way, if others would be next; who is slow is not waited for."""
        with self._lock:
            if self._waiting and not self._nobody_expected.wait_for(
                lambda: not self._expected, _ON_THE_WAY_SECONDS
            ):
                self._expected = 0

    def _take(self, since: float, longest_wait_seconds: float, *, begins: bool = False) -> bool:
        """Wait for a turn; return whether it came in time."""
        with self._lock:
            if begins and self._expected:
                self._expected -= 1
                self._nobody_expected.notify()
            if not self._is_taken:
                self._is_taken = True
                return True
            mine = _Place(since, next(self._numbers), threading.Lock())
            mine.turn.acquire()
            heappush(self._waiting, mine)
        if mine.turn.acquire(timeout=longest_wait_seconds):
            return True
        with self._lock:
            if mine not in self._waiting:
                return True  # it came at the last moment
            self._waiting.remove(mine)
            heapify(self._waiting)
            return False

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                heappop(self._waiting).turn.release()
            else:
                self._is_taken = False


class _Own(threading.local):
    turns: Turns | None = None
    arrived_at: float | None = None
    has_rested: bool = False
    waited_seconds: float = 0.0
    """How long it has waited for turns so far, and for a thread before that."""


_own = _Own()
"""Whose turn it is in this thread."""


@contextmanager
def resting() -> Iterator[None]:
    """Let others compute while this thread waits for somebody; without a turn, simply wait."""
    turns = _own.turns
    if turns is None:
        yield
        return
    with turns.rest():
        _own.turns = None  # nothing to give back until the rest is over
        yield


def seconds_since_arrival() -> float:
    """Return how long ago the call of this thread's turn was there; 0 without a turn."""
    return 0.0 if _own.arrived_at is None else time.monotonic() - _own.arrived_at
