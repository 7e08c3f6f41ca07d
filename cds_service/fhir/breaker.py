"""A FHIR server that keeps failing is left alone for a few seconds, then tried by one call.

A call that was under way when the pause began is let finish: one busy search must not take the
others of the same chart with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from cds_service.fhir.deadline import Deadline

FAILURES_TO_OPEN = 5
FAILURE_WINDOW_SECONDS = 10.0
OPEN_SECONDS = 5.0
LONGEST_OPEN_SECONDS = 60.0
_REMEMBERED_RESULTS = 64


class Breaker:
    """Counts the failures of one server; safe for several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure time with *clock*, in seconds."""
        self._clock = clock
        self._lock = Lock()
        self._results: deque[tuple[float, bool]] = deque(maxlen=_REMEMBERED_RESULTS)
        self._open_until: float | None = None
        self._opened_at = 0.0
        self._probe: object | None = None

    def lets_through(self, call: Deadline | None = None) -> bool:
        """Whether a request of *call* may be sent; after a pause only one call may, as a probe."""
        with self._lock:
            if self._open_until is None or (call and call.began_at < self._opened_at):
                return True
            if self._clock() < self._open_until:
                return False
            if self._probe is None:
                self._probe = call or object()
                return True
            return self._probe is call

    @property
    def is_open(self) -> bool:
        """Whether the server is left alone at the moment."""
        with self._lock:
            return self._open_until is not None and self._clock() < self._open_until

    def succeeded(self) -> None:
        """Remember that the server answered; a good probe ends the pause."""
        with self._lock:
            self._results.append((self._clock(), True))
            if self._probe is not None:
                self._results.clear()
                self._open_until = None
                self._probe = None

    def failed(self) -> None:
        """Remember a failure; several in a short time, or a failed probe, start a pause."""
        with self._lock:
            now = self._clock()
            self._results.append((now, False))
            if self._probe is not None or self._is_failing(now):
                self._open(now, OPEN_SECONDS)
            self._probe = None

    def _is_failing(self, now: float) -> bool:
        """Whether enough recent requests failed, and not only a few of very many."""
        recent = [is_good for at, is_good in self._results if now - at <= FAILURE_WINDOW_SECONDS]
        failures = recent.count(False)
        return failures >= FAILURES_TO_OPEN and 2 * failures >= len(recent)

    def pause(self, seconds: float) -> None:
        """Leave the server alone for *seconds*, as it asked."""
        with self._lock:
            self._open(self._clock(), min(max(seconds, 0.0), LONGEST_OPEN_SECONDS))
            self._probe = None

    def _open(self, now: float, seconds: float) -> None:
        self._opened_at = now
        self._open_until = now + seconds

    def abandoned(self) -> None:
        """Give the probe back without a result."""
        with self._lock:
            self._probe = None
