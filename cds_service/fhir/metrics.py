"""What the parts of charts cost: calls, time, pages and bytes for each key and FHIR base.

Counts only, nothing of a patient: keys and reasons are our own fixed words, and a base is an
address of the configuration, never one of a request.  Each worker process counts for itself, from
zero and only upwards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from threading import Lock

from msgspec import Struct

from cds_service.chart.supply import State

SENT_ALONG = "sent along"
"""Stands for the base of what the EHR sent as prefetch."""
OTHER_BASES = "other"
"""Stands for every base that no configuration names (development mode)."""
LATENCY_BOUNDS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.45, 1.0, 5.0)
"""Upper ends of the groups that latencies are counted in; one more group has no end."""


class PullRecord(Struct, frozen=True, kw_only=True, gc=False):
    """What one key of one call cost; ``reason`` is one of :mod:`cds_service.fhir.reasons`.

    Units:
        ``seconds`` from the start of the pull to its last page or the deadline.
    """

    client: str
    base: str
    key: str
    outcome: State
    reason: str | None
    seconds: float = 0.0
    pages: int = 0
    bytes: int = 0


Observer = Callable[[PullRecord], None]


class PullTotals(PullRecord, frozen=True, kw_only=True, gc=False):
    """The sum of all records with the same client, base, key, outcome and reason.

    ``latencies`` counts the calls by duration, one number for each of
    ``LATENCY_BOUNDS_SECONDS`` and one for the rest.
    """

    calls: int = 0
    latencies: tuple[int, ...] = ()


class _Sum:
    """Adds up records of one place."""

    __slots__ = ("bytes", "latencies", "pages", "seconds")

    def __init__(self) -> None:
        self.latencies = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.seconds = 0.0
        self.pages = 0
        self.bytes = 0

    def add(self, record: PullRecord) -> None:
        self.latencies[bisect_left(LATENCY_BOUNDS_SECONDS, record.seconds)] += 1
        self.seconds += record.seconds
        self.pages += record.pages
        self.bytes += record.bytes


_Place = tuple[str, str, str, State, str | None]


class PullMetrics:
    """The totals of this process; safe for several threads."""

    def __init__(self) -> None:
        """Start at zero."""
        self._lock = Lock()
        self._sums: dict[_Place, _Sum] = {}

    def observe(self, record: PullRecord) -> None:
        """Add one record."""
        place = (record.client, record.base, record.key, record.outcome, record.reason)
        with self._lock:
            found = self._sums.get(place)
            if found is None:
                found = self._sums[place] = _Sum()
            found.add(record)

    def totals(self) -> tuple[PullTotals, ...]:
        """Return all totals, always in the same order."""
        with self._lock:
            places = sorted(self._sums, key=_order)
            return tuple(_totals(place, self._sums[place]) for place in places)


def _order(place: _Place) -> tuple[str, str, str, str, str]:
    client, base, key, outcome, reason = place
    return client, base, key, outcome.value, reason or ""


def _totals(place: _Place, found: _Sum) -> PullTotals:
    client, base, key, outcome, reason = place
    return PullTotals(
        client=client,
        base=base,
        key=key,
        outcome=outcome,
        reason=reason,
        calls=sum(found.latencies),
        seconds=found.seconds,
        latencies=tuple(found.latencies),
        pages=found.pages,
        bytes=found.bytes,
    )
