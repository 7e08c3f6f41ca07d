"""What happened when, around the operation: the picture on the chart page, as plain values.

Words are those of our value sets; nothing of the chart's own text gets here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from cds_service.chart.facts import Chart, ObservationFact, Site
from cds_service.demo.insight import Insight
from cds_service.evaluation.case import Case
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.pain import PAIN_SCALES
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate

Json = dict[str, object]

DAYS_BEFORE = 30
DAYS_BEFORE_MOST = 120
DAYS_AHEAD = 60
OPERATIONS = (
    "fusion",
    "discectomy",
    "decompression",
    "spine-surgery-unspecified",
)
TESTS = ("mri-lumbar", "ct-myelogram", "ct-lumbar", "xray-lumbar", "emg")
LABS = ("crp", "temperature", "wbc", "esr", "pvr", "egfr")
CARE = (
    "physiotherapy-contact",
    "pain-clinic-contact",
    "spine-surgery-visit",
    "epidural-injection",
    "scs-procedure",
)
ORDERS = (
    *TESTS,
    "physiotherapy-order",
    "spine-surgery-referral",
    "pain-clinic-referral",
    "scs-referral",
    "psychology-referral",
    "smoking-cessation-order",
    *LABS,
)
RED_FLAGS = (
    "cauda-equina",
    "saddle-sensation",
    "saddle-numbness",
    "anal-tone",
    "urinary-retention",
    "urinary-incontinence",
    "incomplete-bladder-emptying",
    "faecal-incontinence",
    "motor-paraplegia",
    "motor-paresis",
    "motor-weakness",
    "mrc-grade",
    "infection-spinal",
    "infection-sign",
    "wound-problem",
    "postoperative-fever",
    "haematoma-spinal",
    "haematoma-other",
    "csf-leak",
    "hardware-failure",
    "bone-metastasis",
    "tumour-spine",
    "vertebral-fracture",
    "suicidal-ideation",
    "pvr",
    "temperature",
    "crp",
)
DIAGNOSES = ("post-laminectomy-syndrome", "neurogenic-claudication", "pseudarthrosis")
_SERIES: Mapping[Site, str] = {Site.LEG: "leg", Site.BACK: "back", Site.ANY: "any"}
_SERIES_WORDS = {"leg": "Leg pain", "back": "Back pain", "any": "Pain, site not recorded"}
ABNORMAL_ANSWERS = frozenset({"answer-reduced", "answer-absent"})
_HIGH = (
    ("pvr", "pvr-volume", None),
    ("temperature", "fever-temperature", "fever-day"),
    ("crp", "crp-absolute", "crp-absolute-day"),
)
"""Concept, threshold of its value, and the day since surgery from which it counts."""
_LINES = {
    "hot": "pain-hot",
    "workup": "workup-day",
    "permanent": "neuro-permanent-day",
}


def timeline(insight: Insight, patient_id: str, today: date) -> Json:
    """Return everything the timeline of one patient shows.

    Time:
        ``day`` counts from the operation (day 0); without a dated operation from *today*.
    """
    chart = insight.chart(patient_id, today)
    case = insight.assessment(patient_id, today).case
    if case is not None and case.is_date_unknown:
        case = None
    zero = case.operation.day if case else today
    page = _Page(insight.knowledge, zero, today)
    series = page.series(chart)
    events = page.events(chart, case)
    entries = _days(series, events)
    last = max([(today - zero).days, *entries]) + DAYS_AHEAD
    first = min([-DAYS_BEFORE, *entries])
    spans = insight.card_spans(patient_id, page.date(first), page.date(last))
    return {
        "dayZero": zero.isoformat(),
        "hasOperation": case is not None,
        "firstDay": first,
        "lastDay": last,
        "today": (today - zero).days,
        "lines": page.lines(),
        "series": series,
        "events": events,
        "cards": [
            {
                "card": span.card,
                "title": page.card_title(span.card),
                "indicator": span.indicator,
                "first": page.day(span.first),
                "last": page.day(span.last),
            }
            for span in spans
        ],
    }


def _days(series: Iterable[Json], events: Iterable[Json]) -> list[int]:
    """Return the day of everything shown, but for what is long before the operation."""
    marks = [*events, *(point for line in series for point in _points(line))]
    return [day for mark in marks if (day := int(str(mark["day"]))) >= -DAYS_BEFORE_MOST]


def _points(line: Json) -> list[Json]:
    points = line["points"]
    return points if isinstance(points, list) else []


class _Page:
    """Turns dated facts into days and words for one patient."""

    def __init__(self, knowledge: Knowledge, zero: date, today: date) -> None:
        self._knowledge = knowledge
        self._limits = Limits(knowledge, today)
        self._zero = zero

    def day(self, day: date) -> int:
        """Return the days since day zero."""
        return (day - self._zero).days

    def date(self, day: int) -> date:
        """Return the calendar day."""
        return self._zero + timedelta(days=day)

    def label(self, concept: str) -> str:
        """Return our words for a concept."""
        value_set = self._knowledge.value_sets.get(concept)
        label = value_set.label if value_set else concept.replace("-", " ")
        return label[:1].upper() + label[1:]

    def card_title(self, card: str) -> str:
        """Return the title of a card."""
        template = self._knowledge.cards.get(card)
        return template.title if template else card

    def lines(self) -> Json:
        """Return where the lines of the picture run."""
        return {name: float(self._limits.number(threshold)) for name, threshold in _LINES.items()}

    def series(self, chart: Chart) -> list[Json]:
        """Return the pain scores of each site, before and after the operation."""
        points: dict[str, list[Json]] = {}
        for entry in chart.observations:
            if not entry.concepts & PAIN_SCALES or entry.effective is None or entry.value is None:
                continue
            name = _SERIES[entry.site or Site.ANY]
            point = {**self._when(entry.effective), "value": float(entry.value)}
            points.setdefault(name, []).append(point)
        return [
            {
                "id": name,
                "label": words,
                "points": sorted(points[name], key=lambda point: str(point["date"])),
            }
            for name, words in _SERIES_WORDS.items()
            if name in points
        ]

    def events(self, chart: Chart, case: Case | None) -> list[Json]:
        """Return everything that gets a mark, lane by lane."""
        procedures = [(e.concepts, e.performed) for e in chart.procedures]
        reports = [(e.concepts, e.effective) for e in chart.reports if e.is_final]
        orders = [(e.concepts, e.authored) for e in chart.orders]
        conditions = [(e.concepts, e.when) for e in chart.conditions if e.is_active]
        findings = [(e.concepts, e.effective) for e in self._abnormal(chart)]
        days = {case.operation.day, *case.operation.earlier_days} if case else set()
        operations = [
            (concepts, when) for concepts, when in procedures if when and when.latest in days
        ]
        return [
            *self._lane("operation", OPERATIONS, operations),
            *self._lane("finding", RED_FLAGS, [*conditions, *findings]),
            *self._lane("diagnosis", DIAGNOSES, conditions),
            *self._lane("test", TESTS, [*procedures, *reports]),
            *self._lane("care", CARE, procedures),
            *self._lane("order", ORDERS, orders),
        ]

    def _abnormal(self, chart: Chart) -> Iterable[ObservationFact]:
        """Return the findings worth a mark: those the thresholds of red flags call abnormal."""
        return [
            entry
            for entry in chart.observations
            if entry.choice & ABNORMAL_ANSWERS
            or self._is_weak(entry)
            or any(self._is_high(entry, *rule) for rule in _HIGH)
        ]

    def _is_weak(self, entry: ObservationFact) -> bool:
        if "mrc-grade" not in entry.concepts or entry.value is None:
            return False
        return entry.value < self._limits.number("motor-normal-grade")

    def _is_high(
        self, entry: ObservationFact, concept: str, value: str, from_day: str | None
    ) -> bool:
        if concept not in entry.concepts or entry.value is None or entry.effective is None:
            return False
        day = self.day(entry.effective.latest)
        is_late = from_day is None or self._limits.met(from_day, day)
        return is_late and self._limits.met(value, entry.value)

    def _lane(
        self,
        lane: str,
        concepts: tuple[str, ...],
        entries: Iterable[tuple[frozenset[str], FhirDate | None]],
    ) -> list[Json]:
        marks: dict[tuple[str, str], Json] = {}
        for known, when in entries:
            concept = next((concept for concept in concepts if concept in known), None)
            if concept is not None and when is not None:
                mark = {"lane": lane, "label": self.label(concept), **self._when(when)}
                marks[concept, str(mark["date"])] = mark
        return sorted(marks.values(), key=lambda mark: str(mark["date"]))

    def _when(self, when: FhirDate) -> Json:
        return {"day": self.day(when.latest), "date": when.latest.isoformat()}
