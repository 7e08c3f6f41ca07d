"""Turns at computing: a process gets nothing more done when several of its threads compute.

They only take Python's lock from each other, up to five milliseconds at every look at a socket, and
whoever waits for it longest answers last.  So hook calls compute one at a time, first come, first
served.  Whoever waits for somebody else (a FHIR server, a key set, a slow sender) rests meanwhile.

A call that begins has a head start over those that have rested: what it does first is short, and
then it may wait for its FHIR server while those compute.  Without it all calls would fall into
step, compute together and then wait together.  Nobody gives way for long.
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
_HEAD_START_SECONDS = 0.1
"""Who has rested waits at most so much longer than calls that begin."""
_PATIENT_SECONDS = 0.2
"""Who has been here for longer wants its turn as if it had wanted it since then."""
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
        has_turn = self._take(time.monotonic() - _HEAD_START_SECONDS, _LONGEST_WAIT_SECONDS)
        _own.turns, _own.arrived_at = self if has_turn else None, arrived_at
        _own.has_rested = False
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
        """Compute inside of this block before all who wait.

        After *longest_wait_seconds* the block begins although somebody else still computes.
        """
        has_turn = self._take(_BEFORE_ALL, longest_wait_seconds)
        try:
            yield
        finally:
            if has_turn:
                self._give_back()

    @contextmanager
    def rest(self, arrived_at: float) -> Iterator[None]:
        """Let others compute while this thread, whose turn it is, waits for somebody.

        Time:
            As in :meth:`turn`.
        """
        if not _own.has_rested:
            _own.has_rested = True
            with self._lock:
                self.rested += 1
        self._give_back()
        self._on_rest()
        try:
            yield
        finally:
            since = min(time.monotonic(), arrived_at + _PATIENT_SECONDS)
            _own.turns = self if self._take(since, _LONGEST_WAIT_SECONDS) else None

    def _take(self, since: float, longest_wait_seconds: float) -> bool:
        """Wait for a turn; return whether it came in time."""
        with self._lock:
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


_own = _Own()
"""Whose turn it is in this thread."""


@contextmanager
def resting() -> Iterator[None]:
    """Let others compute while this thread waits for somebody; without a turn, simply wait."""
    turns, arrived_at = _own.turns, _own.arrived_at
    if turns is None or arrived_at is None:
        yield
        return
    with turns.rest(arrived_at):
        _own.turns = None  # nothing to give back until the rest is over
        yield


def seconds_since_arrival() -> float:
    """Return how long ago the call of this thread's turn was there; 0 without a turn."""
    return 0.0 if _own.arrived_at is None else time.monotonic() - _own.arrived_at
