"""What the parts of charts cost: calls, time, pages and bytes for each key and FHIR base.

Counts only, nothing of a patient: keys and reasons are our own fixed words, and a base is an
address of the configuration, never one of a request.  Each worker process counts for itself, from
zero and only upwards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from threading import Lock

from cds_service.chart.supply import State

SENT_ALONG = "sent along"
"""Stands for the base of what the EHR sent as prefetch."""
OTHER_BASES = "other"
"""Stands for every base that no configuration names (development mode)."""
LATENCY_BOUNDS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.45, 1.0, 5.0)
"""Upper ends of the groups that latencies are counted in; one more group has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """What one key of one call cost; ``reason`` is one of :mod:`cds_service.fhir.reasons`.

    Units:
        ``seconds`` from the start of the pull to its last page or the deadline.
    """

    client: str
    base: str
    key: str
    outcome: State
    reason: str | None
    seconds: float
    pages: int
    bytes: int


Observer = Callable[[PullRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTotals:
    """The sum of all records with the same client, base, key, outcome and reason.

    ``latencies`` counts the calls by duration, one number for each of
    ``LATENCY_BOUNDS_SECONDS`` and one for the rest.
    """

    client: str
    base: str
    key: str
    outcome: State
    reason: str | None
    calls: int = 0
    seconds: float = 0.0
    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1)
    pages: int = 0
    bytes: int = 0

    @property
    def at_most(self) -> tuple[int, ...]:
        """How many calls took at most each of ``LATENCY_BOUNDS_SECONDS``, and last of all, all."""
        return tuple(accumulate(self.latencies))

    def with_one_more(self, record: PullRecord) -> PullTotals:
        """Return these totals with *record* added."""
        group = bisect_left(LATENCY_BOUNDS_SECONDS, record.seconds)
        latencies = (
            *self.latencies[:group],
            self.latencies[group] + 1,
            *self.latencies[group + 1 :],
        )
        return replace(
            self,
            calls=self.calls + 1,
            seconds=self.seconds + record.seconds,
            latencies=latencies,
            pages=self.pages + record.pages,
            bytes=self.bytes + record.bytes,
        )


class PullMetrics:
    """The totals of this process; safe for several threads."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = Lock()
        self._totals: dict[tuple[str, str, str, State, str], PullTotals] = {}

    def observe(self, record: PullRecord) -> None:
        """Add one record."""
        with self._lock:
            place = (record.client, record.base, record.key, record.outcome, record.reason or "")
            totals = self._totals.get(place) or PullTotals(
                client=record.client,
                base=record.base,
                key=record.key,
                outcome=record.outcome,
                reason=record.reason,
            )
            self._totals[place] = totals.with_one_more(record)

    def totals(self) -> tuple[PullTotals, ...]:
        """Return all totals, always in the same order."""
        with self._lock:
            places = sorted(self._totals, key=lambda place: (*place[:3], place[3].value, place[4]))
            return tuple(self._totals[place] for place in places)
