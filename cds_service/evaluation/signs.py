"""Which findings does the chart record, and when?  Conditions and observed findings alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, timedelta

from msgspec import Struct

from cds_service.chart.facts import Chart, ConditionFact, ObservationFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.values import FhirDate, Side, lazy

_ABNORMAL = frozenset({"answer-reduced", "answer-absent"})
_ANY_SIDE = (None, Side.UNSPECIFIED, Side.BOTH)


class Sign(Struct, frozen=True, kw_only=True):
    """A finding on record.

    Time:
        ``day`` is in days since surgery, ``age`` how many days ago.  A finding without any date, or
        dated only to a month or year, counts as of its last possible day (none: today) and has
        ``is_dated`` false; ``when`` is the date as the chart gives it.  ``is_onset``: ``day`` is
        the day it began, not the day it was written down.
    """

    concept: str
    day: int
    age: int
    on: date
    is_dated: bool
    reference: str
    is_condition: bool
    is_onset: bool = False
    names_spine: bool = False
    recorded_day: int | None = None
    when: FhirDate | None = None
    display: str | None = None
    side: Side | None = None

    def may_be_on(self, sides: AbstractSet[Side | None]) -> bool:
        """Return whether it may be of one of *sides* of the body."""
        if self.side in _ANY_SIDE:
            return bool(sides)
        return self.side in sides or not sides.isdisjoint(_ANY_SIDE)


class Signs(Struct, frozen=True, dict=True):
    """All findings of one chart, seen from one operation."""

    chart: Chart
    limits: Limits
    operation: Operation

    @lazy
    def unread(self) -> frozenset[str]:
        """Return the chart parts that may hold findings and could not be read completely."""
        return self.chart.failed_keys.intersection((Key.CONDITIONS, Key.FINDINGS))

    def of(self, *concepts: str) -> tuple[Sign, ...]:
        """Return every active finding of *concepts*, oldest first."""
        if self._by_concept.keys().isdisjoint(concepts):
            return ()  # most questions ask for what the chart does not hold
        signs = [sign for concept in set(concepts) for sign in self._by_concept.get(concept, ())]
        if len(signs) > 1:
            signs.sort(key=lambda sign: (sign.day, sign.concept, sign.reference))
        return tuple(signs)

    def conditions(self, *concepts: str) -> tuple[Sign, ...]:
        """Return the active conditions of *concepts*, oldest first."""
        signs = self.of(*concepts)
        return tuple([sign for sign in signs if sign.is_condition]) if signs else ()

    def on_record(self, *concepts: str) -> tuple[Sign, ...]:
        """Return the conditions of *concepts*, and what examinations found of them, oldest first.

        What a later examination denies was found, and is no longer there.

        Missing data:
            Findings not completely supplied: all that was read, because the latest examination
            cannot be told.
        """
        signs = self.of(*concepts)
        if Key.FINDINGS in self.unread:
            return signs
        return tuple([sign for sign in signs if sign.is_condition or self.denied_on(sign) is None])

    def has(self, *concepts: str, test: Callable[[Sign], bool] | None = None) -> Answer:
        """Return whether a finding of *concepts* passes *test*; cannot tell if parts are unread."""
        signs = self.of(*concepts)
        passes = bool(signs) if test is None else any(test(sign) for sign in signs)
        return found(passes, self.unread)

    def abnormal(self, concept: str) -> tuple[Sign, ...]:
        """Return the latest abnormal examination result of *concept* unless a later one is normal.

        Missing data:
            Of findings not completely supplied the latest abnormal one that was read: it is a fact,
            and a normal one denies nothing, because the latest value cannot be told.
        """
        examined = self.chart.observed.get(concept)
        if not examined:
            return ()
        abnormal = [self._sign(o, concept) for o in examined if o.choice & _ABNORMAL]
        normal = [self._on(o.effective) for o in examined if "answer-normal" in o.choice]
        if Key.FINDINGS in self.unread:
            normal = []
        latest = max(abnormal, key=lambda sign: (sign.on, sign.reference), default=None)
        if latest is None or any(on > latest.on for on in normal):
            return ()
        return (latest,)

    def standing(self, concept: str) -> tuple[Sign, ...]:
        """Return the findings of *concept* that no later examination denies, oldest first.

        The problem list stands by itself: see ``denied_on``.

        Missing data:
            Findings not completely supplied: conditions only, because the latest examination
            cannot be told.
        """
        return (self.conditions if Key.FINDINGS in self.unread else self.on_record)(concept)

    def denied_on(self, sign: Sign) -> date | None:
        """Return the latest day on which an examination found none after *sign* was recorded.

        Time:
            On a day after it, and dated to the day: of two answers of one day the finding counts.
        """
        on = sign.on
        if sign.recorded_day is not None:
            on = max(on, self.operation.day + timedelta(days=sign.recorded_day))
        denials = self._last_denials(sign.concept)
        days = [denials[side] for side in {*_ANY_SIDE, sign.side} if side in denials]
        return max((day for day in days if day > on), default=None)

    def _last_denials(self, concept: str) -> Mapping[Side | None, date]:
        """Return the last day on which an examination found no *concept*, by side."""
        if concept not in self._denials:
            found_on = {sign.on for sign in self.of(concept) if not sign.is_condition}
            answers = [
                (examined.effective.latest, examined.side)
                for examined in self.chart.observed.get(concept, ())
                if examined.is_denial
                and examined.effective is not None
                and examined.effective.is_exact
                and examined.effective.latest not in found_on
            ]
            by_day = sorted(answers, key=lambda answer: answer[0])
            self._denials[concept] = {side: day for day, side in by_day}
        return self._denials[concept]

    @lazy
    def _denials(self) -> dict[str, Mapping[Side | None, date]]:
        """The denials asked for so far."""
        return {}

    @lazy
    def _by_concept(self) -> Mapping[str, list[Sign]]:
        signs: dict[str, list[Sign]] = {}
        for sign in (*self._conditions(), *self._observed()):
            signs.setdefault(sign.concept, []).append(sign)
        return signs

    def _conditions(self) -> Iterable[Sign]:
        for condition in self.chart.conditions:
            if condition.is_active:
                for concept in condition.concepts:
                    yield self._condition_sign(condition, concept)

    def _observed(self) -> Iterable[Sign]:
        for observation in self.chart.observations:
            if observation.value is not None and not observation.choice:
                continue  # a measurement states no finding
            for concept in observation.concepts | observation.choice:
                if is_stated(observation, concept):
                    yield self._sign(observation, concept)

    def _condition_sign(self, condition: ConditionFact, concept: str) -> Sign:
        on = self._on(condition.when)
        recorded = condition.recorded or condition.onset or condition.when
        return Sign(
            concept=concept,
            day=self._day(on),
            age=(self.limits.as_of - on).days,
            on=on,
            is_dated=condition.when is not None and condition.when.is_exact,
            reference=condition.reference,
            is_condition=True,
            is_onset=condition.onset is not None,
            names_spine=condition.names_spine,
            recorded_day=self._day(recorded.latest) if recorded else None,
            when=condition.when,
            display=condition.display,
            side=condition.side,
        )

    def _sign(self, observation: ObservationFact, concept: str) -> Sign:
        on = self._on(observation.effective)
        return Sign(
            concept=concept,
            day=self._day(on),
            age=(self.limits.as_of - on).days,
            on=on,
            is_dated=observation.effective is not None and observation.effective.is_exact,
            reference=observation.reference,
            is_condition=False,
            when=observation.effective,
            side=observation.side,
        )

    def _on(self, when: FhirDate | None) -> date:
        return when.latest if when is not None else self.limits.as_of

    def _day(self, on: date) -> int:
        return self.operation.dss(on)


def is_stated(observation: ObservationFact, concept: str) -> bool:
    """Return whether an observation states the finding itself (not a scale or a measurement)."""
    if concept in observation.choice:
        return True
    if concept not in observation.concepts:
        return False
    if observation.choice:
        return "answer-present" in observation.choice
    return observation.value is None
