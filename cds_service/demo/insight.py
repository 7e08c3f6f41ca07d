"""What did the clinical core see and weigh?  Runs it inside the demo, for the developer panel.

The cards a demo user reads come from the real service over HTTP; only the reasons, the timeline and
the days on which a card would appear come from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from itertools import groupby
from zoneinfo import ZoneInfo

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key, State, Supply
from cds_service.demo.personas import Resource
from cds_service.demo.store import ChartStore
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.model import Knowledge

ZONE = ZoneInfo("UTC")
MOST_DAYS = 240
_Shown = Callable[[date], frozenset[tuple[str, str]]]
_KINDS: Mapping[str, str] = {
    Key.PATIENT: "Patient",
    Key.PROCEDURES: "Procedure",
    Key.CONDITIONS: "Condition",
    Key.SERVICE_REQUESTS: "ServiceRequest",
    Key.MEDICATION_REQUESTS: "MedicationRequest",
    Key.DIAGNOSTIC_REPORTS: "DiagnosticReport",
    Key.DEVICES: "Device",
    Key.SCORES: "Observation",
    Key.FINDINGS: "Observation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSpan:
    """A card that appears from ``first`` to ``last``, both included, as far as was looked."""

    card: str
    indicator: str
    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """The core, looking at the charts of the demo."""

    store: ChartStore
    knowledge: Knowledge

    def chart(self, patient_id: str, as_of: date) -> Chart:
        """Return the chart as the service reads it on *as_of*."""
        return self._chart(self._answers(patient_id), patient_id, as_of)

    def assessment(self, patient_id: str, as_of: date) -> Assessment:
        """Return every row of the decision table for one patient and day."""
        return assess(self.chart(patient_id, as_of), self.knowledge, as_of)

    def card_spans(self, patient_id: str, first: date, last: date) -> list[CardSpan]:
        """Return when each card appears, to the day.

        Time:
            From *first* to *last*, both included.  A long course is looked at every few days, and
            day by day only where a card comes or goes: one that comes and goes between two looks
            is not seen.
        """
        answers = self._answers(patient_id)

        @cache
        def shown(day: date) -> frozenset[tuple[str, str]]:
            chart = self._chart(answers, patient_id, day)
            found = assess(chart, self.knowledge, day).shown
            return frozenset((finding.card, finding.indicator.value) for finding in found)

        step = max(1, -(-(last - first).days // MOST_DAYS))
        days = [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]
        spans = [
            span
            for one in {one for day in days for one in shown(day)}
            for span in _spans(*one, days, partial(_contains, shown, one))
        ]
        return sorted(spans, key=lambda s: (self.knowledge.cards[s.card].row, s.first))

    def _chart(self, answers: Mapping[str, KeyAnswer], patient_id: str, as_of: date) -> Chart:
        return read_chart(
            answers,
            patient_id=patient_id,
            as_of=as_of,
            zone=ZONE,
            knowledge=self.knowledge,
            bases=frozenset(),
            fhir_server=None,
        )

    def _answers(self, patient_id: str) -> Mapping[str, KeyAnswer]:
        found = {
            kind: self.store.search(kind, [("_id" if kind == "Patient" else "patient", patient_id)])
            for kind in set(_KINDS.values())
        }
        return {key: _answer(found[kind]) for key, kind in _KINDS.items()}


def _answer(resources: Sequence[Resource]) -> KeyAnswer:
    if not resources:
        return KeyAnswer.known_empty()
    return KeyAnswer(
        supply=Supply(state=State.SUPPLIED),
        resources=tuple(json.dumps(resource).encode() for resource in resources),
    )


def _contains(shown: _Shown, one: tuple[str, str], day: date) -> bool:
    return one in shown(day)


def _spans(
    card: str, indicator: str, days: Sequence[date], is_shown: Callable[[date], bool]
) -> list[CardSpan]:
    """Return the spans of one card; each end is looked for between two looks."""
    return [
        CardSpan(
            card=card,
            indicator=indicator,
            first=_edge(days[run[0]], days[max(run[0] - 1, 0)], is_shown),
            last=_edge(days[run[-1]], days[min(run[-1] + 1, len(days) - 1)], is_shown),
        )
        for run in _runs([n for n, day in enumerate(days) if is_shown(day)])
    ]


def _edge(inside: date, outside: date, is_shown: Callable[[date], bool]) -> date:
    """Return the last day on the way from *inside* to *outside* on which the card is shown."""
    while abs((outside - inside).days) > 1:
        middle = inside + (outside - inside) // 2
        inside, outside = (middle, outside) if is_shown(middle) else (inside, middle)
    return inside


def _runs(positions: Sequence[int]) -> list[list[int]]:
    """Return *positions* cut where one is missing."""
    numbered = groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0])
    return [[position for _, position in run] for _, run in numbered]
