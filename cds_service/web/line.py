"""The line of calls that wait for a thread: first come, first served, and never too long.

A clinician waits half a second at most, so a call that would wait longer is better told at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")

LONGEST_EXPECTED_SECONDS = 0.25
"""A call that would have to wait longer is refused at once."""
LONGEST_WAIT_SECONDS = 0.45
"""A call that has waited so long, because all went slower than expected, is refused after all."""
_USUAL_PACE_SECONDS = 0.005
_SHARE_OF_NEWEST = 0.1


class WaitingLine(Generic[Waiter]):
    """Who waits, and how long the next one would; for one thread.

    Time:
        *monotonic* counts seconds.  The pace is the time from one departure to the next while
        somebody waited, as it was lately.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._waiting: deque[tuple[float, Waiter]] = deque()
        self._pace = _USUAL_PACE_SECONDS
        self._last_left = monotonic()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def is_too_long(self) -> bool:
        """Whether one more would have to wait too long; not if nobody waits."""
        if not self._waiting:
            return False
        at_standstill = self._monotonic() - self._moved_at
        return len(self._waiting) * self._pace + at_standstill > LONGEST_EXPECTED_SECONDS

    def join(self, waiter: Waiter) -> None:
        """Let *waiter* wait behind all others."""
        self._waiting.append((self._monotonic(), waiter))

    def next(self) -> Waiter | None:
        """Return who is first and leaves the line, or None if nobody waits."""
        return self._leave() if self._waiting else None

    def impatient(self) -> Iterator[Waiter]:
        """Take out of the line, and yield, who has waited for ``LONGEST_WAIT_SECONDS``."""
        while self.seconds_of_patience <= 0:
            yield self._leave()

    @property
    def seconds_of_patience(self) -> float:
        """Return after how many seconds the first will have waited for too long."""
        if not self._waiting:
            return float("inf")
        return self._waiting[0][0] + LONGEST_WAIT_SECONDS - self._monotonic()

    @property
    def _moved_at(self) -> float:
        """Return since when the first one waits for the place in front of it."""
        return max(self._waiting[0][0], self._last_left)

    def _leave(self) -> Waiter:
        now = self._monotonic()
        self._pace += _SHARE_OF_NEWEST * (now - self._moved_at - self._pace)
        self._last_left = now
        return self._waiting.popleft()[1]
