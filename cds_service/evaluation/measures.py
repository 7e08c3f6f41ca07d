"""Laboratory values, vital signs and questionnaires: the latest, the worst of a day, the rise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal

from msgspec import Struct

from cds_service.chart.facts import Chart, ObservationFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found, of
from cds_service.evaluation.limits import Limits
from cds_service.values import lazy

_LOWEST_IS_WORST = frozenset({"egfr"})
_QUESTIONNAIRES = frozenset({"dn4", "paindetect", "lanss", "pcs", "phq9", "phq9-item9", "gad7"})


class Measure(Struct, frozen=True, kw_only=True):
    """The worst value of one day; ``age`` is how many days ago.

    Units:
        That of the concept; ``converted_from`` is what the chart says in another one.
    """

    on: date
    age: int
    value: Decimal
    reference: str
    converted_from: str | None = None


class Measures(Struct, frozen=True, dict=True):
    """All numeric results of a chart, one per day and concept."""

    chart: Chart
    limits: Limits

    def key_of(self, concept: str) -> str:
        """Return the chart part that holds *concept*."""
        return Key.SCORES if concept in _QUESTIONNAIRES else Key.FINDINGS

    def unread(self, concept: str) -> frozenset[str]:
        """Return the chart part of *concept* if it could not be read completely."""
        failed = self.chart.failed_keys
        return failed.intersection((self.key_of(concept),)) if failed else failed

    def series(self, concept: str) -> tuple[Measure, ...]:
        """Return the worst value of each day, oldest first."""
        observed = self.chart.observed.get(concept)
        if not observed:
            return ()  # most questions ask for what the chart does not hold
        found = self._series.get(concept)
        if found is None:
            worst = min if concept in _LOWEST_IS_WORST else max
            found = self._series[concept] = self._read_series(observed, worst)
        return found

    @lazy
    def _series(self) -> dict[str, tuple[Measure, ...]]:
        """The series asked for so far."""
        return {}

    def _read_series(
        self, observed: Iterable[ObservationFact], worst: Callable[[Iterable[Decimal]], Decimal]
    ) -> tuple[Measure, ...]:
        days: dict[date, list[tuple[Decimal, str, str | None]]] = {}
        for observation in observed:
            effective = observation.effective
            if observation.value is not None and effective is not None and effective.is_exact:
                found = (observation.value, observation.reference, observation.converted_from)
                days.setdefault(effective.latest, []).append(found)
        measures = []
        for on, entries in sorted(days.items()):
            value, reference, original = entries[0]
            if len(entries) > 1:
                value = worst([value for value, _, _ in entries])
                _, reference, original = min(
                    (found for found in entries if found[0] == value), key=lambda found: found[1]
                )
            age = (self.limits.as_of - on).days
            measures.append(
                Measure(on=on, age=age, value=value, reference=reference, converted_from=original)
            )
        return tuple(measures)

    def latest(self, concept: str) -> Measure | None:
        """Return the latest value, or None; meaningless while ``unread`` is not empty."""
        series = self.series(concept)
        return series[-1] if series else None

    def latest_meets(self, concept: str, threshold: str, newest: str) -> Answer:
        """Return whether the latest value is fresh enough and on the firing side.

        Missing data:
            The latest value cannot be told from a part that was not completely supplied.
        """
        unread = self.unread(concept)
        if unread:
            return Answer(None, unread)
        latest = self.latest(concept)
        if latest is None or not self.limits.met(newest, latest.age):
            return of(flag=False)
        return of(self.limits.met(threshold, latest.value))

    def none_since(self, concept: str, newest: str) -> Answer:
        """Return whether there is no value as young as *newest* says."""
        is_there = any(self.limits.met(newest, m.age) for m in self.series(concept))
        return ~found(is_there, self.unread(concept))
