"""How much of the time for one hook call is left.

The clock is passed in, so tests need no waiting; nothing here sleeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

READING_SECONDS = 0.1
"""How long after the deadline a chart that came late, or is enormous, may still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """The moment after which a hook call no longer waits for anything.

    Time:
        All of it in seconds of one monotonic clock, never of the calendar.
    """

    ends_at: float
    clock: Callable[[], float]
    began_at: float = math.inf
    """When the call began; never, if nobody said."""

    @staticmethod
    def after(seconds: float, clock: Callable[[], float]) -> Deadline:
        """Return the deadline *seconds* from now."""
        now = clock()
        return Deadline(ends_at=now + seconds, clock=clock, began_at=now)

    def remaining_seconds(self) -> float:
        """Return the seconds left; zero when none are."""
        return max(0.0, self.ends_at - self.clock())

    def leaves_time_to_read(self) -> bool:
        """Whether a chart of very many entries may be read further."""
        return self.clock() < self.ends_at + READING_SECONDS

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining_seconds() <= 0
