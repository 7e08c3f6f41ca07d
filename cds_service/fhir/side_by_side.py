"""The searches of one call run side by side in the thread of the call, which waits for them all.

A thread for every search would cost more than the search: they take Python's lock from each other
and from whoever computes.  So a search is a generator.  It yields what it waits for and is resumed
when that is there; what the call waits for in the end is the first of all these, or its deadline.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, TypeVar

from cds_service.fhir.deadline import Deadline
from cds_service.turns import resting

_T = TypeVar("_T")
_TOGETHER_SECONDS = 0.002
"""After one answer the others are waited for so long: they often come together."""


class Receiving(Protocol):
    """Something that comes piece by piece."""

    def fileno(self) -> int:
        """Return the number of what can be waited for."""

    def receive(self) -> bool:
        """Take what is there, without waiting; return whether that was all.  Never raises."""


Wait = Receiving | Future[Any] | float
"""Something to receive, something that ends, or a moment (seconds of the deadline's clock)."""
Steps = Generator[Wait, None, _T]


def run_side_by_side(searches: Sequence[Steps[None]], deadline: Deadline) -> None:
    """Run *searches* until all have ended; those that have not at the deadline are closed.

    Others may compute while this thread waits.
    """
    waiting = _Waiting(deadline)
    try:
        waiting.go_on(searches)
        while waiting.is_waiting and not deadline.has_passed:
            with resting():
                ready = waiting.ready()
            waiting.go_on(ready)
        if waiting.is_waiting:
            waiting.go_on(waiting.ready())  # what came in time, while others computed
    finally:
        waiting.close()
        for search in searches:
            search.close()


class _Waiting:
    """Which searches wait, and for what."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._poll = select.poll()
        self._receiving: dict[int, tuple[Receiving, Steps[None]]] = {}
        self._until: list[tuple[float, Steps[None]]] = []
        self._for_others = 0
        self._ended: deque[Steps[None]] = deque()
        """Whose futures have ended; filled by any thread."""
        self._bell: tuple[socket.socket, socket.socket] | None = None
        """Rung at its second end when a future has ended."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._receiving or self._until or self._for_others)

    def go_on(self, searches: Sequence[Steps[None]]) -> None:
        """Let each of *searches* go on to its next wait."""
        for search in searches:
            with contextlib.suppress(StopIteration):
                self._note(next(search), search)

    def ready(self) -> list[Steps[None]]:
        """Wait for the first of all and return whoever can go on then."""
        clock = self._deadline.clock
        ends_at = min(self._deadline.ends_at, *(until for until, _ in self._until), math.inf)
        ready: list[Steps[None]] = []
        while self._receiving or not ready:
            for number, _ in self._poll.poll(max(0.0, ends_at - clock()) * 1_000):
                ready += self._received(number)
            ready += self._who_waited_for_others()
            if clock() >= ends_at:
                break
            if ready:
                ends_at = min(ends_at, clock() + _TOGETHER_SECONDS)
        return ready + self._who_is_due(clock())

    def close(self) -> None:
        """Wait for nothing any more."""
        for end in self._bell or ():
            end.close()

    def _note(self, wait: Wait, search: Steps[None]) -> None:
        """Wait for *wait*; the search is told if that cannot be done."""
        if isinstance(wait, Future):
            try:
                bell = self._hung_bell()
            except OSError as error:  # too many open files
                self._note(search.throw(error), search)
                return
            self._for_others += 1
            wait.add_done_callback(partial(self._ring, search, bell))
        elif isinstance(wait, float):
            self._until.append((wait, search))
        else:
            self._poll.register(wait, select.POLLIN)
            self._receiving[wait.fileno()] = (wait, search)

    def _received(self, number: int) -> list[Steps[None]]:
        """Take what came at *number*; return the search if that was all."""
        if number not in self._receiving:
            return []  # the bell
        receiving, search = self._receiving[number]
        if not receiving.receive():
            return []
        self._poll.unregister(number)
        del self._receiving[number]
        return [search]

    def _who_is_due(self, now: float) -> list[Steps[None]]:
        due = [search for until, search in self._until if until <= now]
        self._until = [each for each in self._until if each[0] > now]
        return due

    def _who_waited_for_others(self) -> list[Steps[None]]:
        if self._bell is None:
            return []
        with contextlib.suppress(BlockingIOError):
            self._bell[0].recv(1_024)
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        self._for_others -= len(ended)
        return ended

    def _hung_bell(self) -> socket.socket:
        if self._bell is None:
            self._bell = socket.socketpair()
            for end in self._bell:
                end.settimeout(0)
            self._poll.register(self._bell[0], select.POLLIN)
        return self._bell[1]

    def _ring(self, search: Steps[None], bell: socket.socket, _ended: Future[Any]) -> None:
        self._ended.append(search)
        with contextlib.suppress(OSError):  # nobody waits any more, or it has rung often enough
            bell.send(b"\0")
