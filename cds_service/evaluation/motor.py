"""Is there a new weakness since the operation, how bad, since when, and is it still current?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from msgspec import Struct

from cds_service.chart.facts import Chart, ConditionFact, ObservationFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.signs import is_stated
from cds_service.values import FhirDate, Side, lazy

UNSPECIFIED_MUSCLE = "unspecified"
_CODED: Mapping[str, str] = {
    "motor-weakness": "motor-coded-weakness",
    "motor-paresis": "motor-coded-paresis",
    "motor-paraplegia": "motor-coded-paraplegia",
}
"""Value set of a coded weakness to the threshold that holds its grade."""


class Grade(Struct, frozen=True, kw_only=True):
    """The lowest grade of one muscle on one day; ``day`` in days since surgery."""

    day: int
    value: Decimal
    references: tuple[str, ...]
    seen_day: int
    """The day the weakness was last examined or recorded."""
    is_coded: bool = False
    """Whether a coded weakness stands behind it instead of an examination."""


_Muscle = tuple[Side, str]
_Series = dict[_Muscle, list[Grade]]


class _Record(Struct, frozen=True, kw_only=True):
    """One entry about the strength of one muscle, as the chart dates it."""

    side: Side
    muscle: str
    grade: Decimal
    when: FhirDate | None
    seen: FhirDate | None
    reference: str
    is_coded: bool

    def dated(self, operation: Operation, when: FhirDate) -> Grade:
        """Return the grade on the day of *when*, the last possible one of half a date."""
        day = operation.dss(when.latest)
        seen = operation.dss(self.seen.latest) if self.seen is not None else day
        return Grade(
            day=day,
            value=self.grade,
            references=(self.reference,),
            seen_day=max(day, seen),
            is_coded=self.is_coded,
        )


class Deficit(Struct, frozen=True, kw_only=True):
    """A new weakness of one muscle on one side.

    Time:
        ``onset`` and ``progressed`` are days since surgery, None when the chart gives no day;
        ``seen_day`` is the latest examination (or record, if coded).  ``written`` is the month or
        year that the chart gives instead of a day.

    ``reference`` is the grade that ``grade`` is measured against: the better of the one before
    surgery (full strength if none is known) and the best one since.
    """

    side: Side
    muscle: str
    grade: Decimal
    reference: Decimal
    onset: int | None
    progressed: int | None
    seen_day: int | None
    has_preoperative_grade: bool
    references: tuple[str, ...]
    is_coded: bool
    written: str | None = None

    @property
    def sort_key(self) -> tuple[int, str, str]:
        """Order deficits by onset, undated last, then by side and muscle."""
        onset = self.onset if self.onset is not None else 10**6
        return onset, self.side.value, self.muscle


class Motor(Struct, frozen=True, kw_only=True, dict=True):
    """All new deficits: critical ones, stable ones and those examined too long ago."""

    critical: tuple[Deficit, ...]
    stable: tuple[Deficit, ...]
    outdated: tuple[Deficit, ...]
    unread: frozenset[str]

    @lazy
    def current(self) -> tuple[Deficit, ...]:
        """Return every new deficit that is current, earliest onset first."""
        return tuple(sorted((*self.critical, *self.stable), key=lambda d: d.sort_key))

    @lazy
    def new(self) -> tuple[Deficit, ...]:
        """Return every new deficit, also those examined too long ago, earliest onset first."""
        deficits = (*self.critical, *self.stable, *self.outdated)
        return tuple(sorted(deficits, key=lambda d: d.sort_key))

    def any(self, deficits: Sequence[Deficit]) -> Answer:
        """Return whether there is one of *deficits*; cannot tell if examinations are unread."""
        return found(bool(deficits), self.unread)

    @property
    def latest_stable_onset(self) -> int | None:
        """Return the latest onset of the stable deficits, in days since surgery."""
        return max((d.onset for d in self.stable if d.onset is not None), default=None)


def read_motor(chart: Chart, operation: Operation, limits: Limits) -> Motor:
    """Find new motor deficits.

    Missing data:
        Of examinations not completely supplied only a severe weakness is used, and only as an
        emergency: a better grade that was read denies nothing, a later one may be missing.  A
        weakness that is coded or has no date still counts.
    """
    unread = chart.failed_keys.intersection((Key.CONDITIONS, Key.FINDINGS))
    is_in_part = Key.FINDINGS in unread
    records = [*_examined(chart), *_coded(chart, limits, is_in_part=is_in_part)]
    if not records:
        return Motor(critical=(), stable=(), outdated=(), unread=unread)
    series, before, open_records = _arranged(records, operation)
    today = operation.dss(limits.as_of)
    deficits = _deficits(series, before, limits)
    if is_in_part:
        deficits = _certain(series, before, today, limits)
    undated = _without_onset(open_records, series, before, operation, limits)
    return _sorted_out((*deficits, *undated), today, limits, unread)


def _deficits(
    series: Mapping[_Muscle, Sequence[Grade]], before: Mapping[Side, Decimal], limits: Limits
) -> list[Deficit]:
    return [
        deficit
        for (side, muscle), grades in sorted(series.items(), key=_muscle_order)
        if (deficit := _deficit(side, muscle, grades, before, limits)) is not None
    ]


def _certain(
    series: Mapping[_Muscle, Sequence[Grade]],
    before: Mapping[Side, Decimal],
    today: int,
    limits: Limits,
) -> list[Deficit]:
    """Return what stands although other grades were not read: emergencies, and coded weakness."""
    severe, coded = {}, {}
    for muscle, grades in series.items():
        certain = [grade for grade in grades if grade.day < 0 or grade.is_coded]
        telling = [g for g in grades if limits.met("motor-severe-grade", g.value)]
        coded[muscle] = certain
        severe[muscle] = [*certain, *telling]
    emergencies = [d for d in _deficits(severe, before, limits) if _is_critical(d, today, limits)]
    named = {(deficit.side, deficit.muscle) for deficit in emergencies}
    others = [d for d in _deficits(coded, before, limits) if (d.side, d.muscle) not in named]
    return [*emergencies, *others]


def _sorted_out(
    deficits: Sequence[Deficit], today: int, limits: Limits, unread: frozenset[str]
) -> Motor:
    fresh = [
        d for d in deficits if d.seen_day is None or limits.met("motor-fresh", today - d.seen_day)
    ]
    critical = [d for d in fresh if _is_critical(d, today, limits)]
    return Motor(
        critical=tuple(critical),
        stable=tuple(d for d in fresh if d not in critical),
        outdated=tuple(d for d in deficits if d not in fresh),
        unread=unread,
    )


def _is_critical(deficit: Deficit, today: int, limits: Limits) -> bool:
    if deficit.progressed is not None and limits.met("motor-recent", today - deficit.progressed):
        return True
    if deficit.onset is None or not limits.met("motor-recent", today - deficit.onset):
        return False
    return limits.met("motor-severe-grade", deficit.grade)


def _sides(side: Side | None) -> tuple[Side, ...]:
    match side:
        case None | Side.UNSPECIFIED:
            return (Side.UNSPECIFIED,)
        case Side.BOTH:
            return (Side.LEFT, Side.RIGHT)
        case Side.LEFT | Side.RIGHT:
            return (side,)


def _examined(chart: Chart) -> Iterable[_Record]:
    """Yield every grade of an examination, one for each side."""
    for observation in chart.observed.get("mrc-grade", ()):
        if observation.value is None:
            continue
        for side in _sides(observation.side):
            yield _Record(
                side=side,
                muscle=observation.muscle or UNSPECIFIED_MUSCLE,
                grade=observation.value,
                when=observation.effective,
                seen=observation.effective,
                reference=observation.reference,
                is_coded=False,
            )


def _coded(chart: Chart, limits: Limits, *, is_in_part: bool) -> Iterable[_Record]:
    """Yield the grades that coded weakness stands for, of the problem list and as a finding."""
    for condition in chart.conditions:
        if condition.is_active:
            for concept in sorted(condition.concepts & _CODED.keys()):
                recorded = condition.recorded or condition.when
                yield from _graded(condition, concept, condition.when, recorded, limits)
    for concept in _CODED:
        told = chart.observed.get(concept, ())
        denied = {} if is_in_part else _denied(told)
        for observation in told:
            effective = observation.effective
            if is_stated(observation, concept) and not _is_over(observation, denied):
                yield from _graded(observation, concept, effective, effective, limits)


def _graded(
    entry: ConditionFact | ObservationFact,
    concept: str,
    when: FhirDate | None,
    seen: FhirDate | None,
    limits: Limits,
) -> Iterable[_Record]:
    both = concept == "motor-paraplegia"
    for side in (Side.LEFT, Side.RIGHT) if both else _sides(entry.side):
        yield _Record(
            side=side,
            muscle=UNSPECIFIED_MUSCLE,
            grade=limits.number(_CODED[concept]),
            when=when,
            seen=seen,
            reference=entry.reference,
            is_coded=True,
        )


def _denied(told: Iterable[ObservationFact]) -> Mapping[Side | None, date]:
    """Return the latest day on which a weakness was said not to be there, by side."""
    denied: dict[Side | None, date] = {}
    for observation in told:
        if observation.effective is not None and observation.is_denial:
            on = observation.effective.earliest
            denied[observation.side] = max(on, denied.get(observation.side, on))
    return denied


def _is_over(observation: ObservationFact, denied: Mapping[Side | None, date]) -> bool:
    """Return whether a later answer, for this side, both or none, denies the weakness."""
    if observation.effective is None:
        return False
    seen = observation.effective.latest
    sides = (None, Side.BOTH, observation.side)
    return any(denied.get(side, seen) > seen for side in sides)


def _arranged(
    records: Iterable[_Record], operation: Operation
) -> tuple[_Series, Mapping[Side, Decimal], Sequence[_Record]]:
    """Return the dated grades by muscle, the coded grade of each side before surgery, the rest.

    Time:
        Half a date that is before the operation on its last possible day is before it; any other
        entry dated only to a month or year has no onset, like one without any date.
    """
    series: _Series = {}
    before: dict[Side, Grade] = {}
    rest: list[_Record] = []
    for record in records:
        if record.when is None:
            rest.append(record)
            continue
        grade = record.dated(operation, record.when)
        if grade.day >= 0 and not record.when.is_exact:
            rest.append(record)
        elif grade.day >= 0 or not record.is_coded:
            series.setdefault((record.side, record.muscle), []).append(grade)
        else:
            known = before.get(record.side)
            if known is None or (grade.day, -grade.value) > (known.day, -known.value):
                before[record.side] = grade
    return series, {side: grade.value for side, grade in before.items()}, rest


def _without_onset(
    records: Iterable[_Record],
    series: Mapping[_Muscle, Sequence[Grade]],
    before: Mapping[Side, Decimal],
    operation: Operation,
    limits: Limits,
) -> Iterable[Deficit]:
    """Yield the weaknesses nobody dated to a day; they have no onset and are never critical.

    One that is no worse than the grade before surgery is not new, and half a date gives way to a
    grade of the same muscle that is certainly later.
    """
    latest = {muscle: max(grade.day for grade in grades) for muscle, grades in series.items()}
    muscles: dict[_Muscle, list[_Record]] = {}
    for record in records:
        muscle = (record.side, record.muscle)
        last = operation.dss(record.when.latest) if record.when is not None else None
        if last is None or latest.get(muscle, last) <= last:
            muscles.setdefault(muscle, []).append(record)
    for (side, name), entries in sorted(muscles.items(), key=_muscle_order):
        worst = min(entries, key=lambda record: (record.grade, record.reference))
        known_before = _grade_before(side, _by_day(series.get((side, name), ())), before)
        starting = known_before if known_before is not None else _normal(limits)
        if not limits.met("motor-deficit-size", starting - worst.grade):
            continue
        seen = [record.seen.latest for record in entries if record.seen is not None]
        yield Deficit(
            side=side,
            muscle=name,
            grade=worst.grade,
            reference=starting,
            onset=None,
            progressed=None,
            seen_day=operation.dss(max(seen)) if len(seen) == len(entries) else None,
            has_preoperative_grade=known_before is not None,
            references=tuple(sorted({record.reference for record in entries})),
            is_coded=worst.is_coded,
            written=worst.when.written if worst.when is not None else None,
        )


def _grade_before(
    side: Side, days: Iterable[Grade], coded_before: Mapping[Side, Decimal]
) -> Decimal | None:
    """Return the latest grade of the muscle before surgery, else the one coded for its side."""
    before = [grade for grade in days if grade.day < 0]
    return before[-1].value if before else coded_before.get(side)


def _normal(limits: Limits) -> Decimal:
    return limits.number("motor-normal-grade")


def _muscle_order(item: tuple[tuple[Side, str], object]) -> tuple[str, str]:
    side, muscle = item[0]
    return side.value, muscle


def _by_day(series: Iterable[Grade]) -> list[Grade]:
    """Return the lowest grade of each day, in order of days."""
    days: dict[int, list[Grade]] = {}
    for grade in series:
        days.setdefault(grade.day, []).append(grade)
    return [
        Grade(
            day=day,
            value=min(grade.value for grade in grades),
            references=tuple(sorted({ref for grade in grades for ref in grade.references})),
            seen_day=max(grade.seen_day for grade in grades),
            is_coded=all(grade.is_coded for grade in grades),
        )
        for day, grades in sorted(days.items())
    ]


def _deficit(
    side: Side,
    muscle: str,
    series: Sequence[Grade],
    coded_before: Mapping[Side, Decimal],
    limits: Limits,
) -> Deficit | None:
    days = _by_day(series)
    after = [grade for grade in days if grade.day >= 0]
    if not after:
        return None
    known_before = _grade_before(side, days, coded_before)
    starting = known_before if known_before is not None else _normal(limits)
    reference = max(starting, *(grade.value for grade in after))
    latest = after[-1]
    if not limits.met("motor-deficit-size", reference - latest.value):
        return None
    run = _latest_run(after, reference, limits)
    return Deficit(
        side=side,
        muscle=muscle,
        grade=latest.value,
        reference=reference,
        onset=run[0].day,
        progressed=_progression(after, limits),
        seen_day=max(grade.seen_day for grade in run),
        has_preoperative_grade=known_before is not None,
        references=tuple(sorted({ref for grade in run for ref in grade.references})),
        is_coded=latest.is_coded,
    )


def _latest_run(after: Sequence[Grade], reference: Decimal, limits: Limits) -> list[Grade]:
    """Return the latest unbroken run of grades below the reference."""
    run: list[Grade] = []
    for grade in reversed(after):
        if not limits.met("motor-deficit-size", reference - grade.value):
            break
        run.insert(0, grade)
    return run


def _progression(after: Sequence[Grade], limits: Limits) -> int | None:
    """Return the first day after the last grade that was clearly better than the latest one."""
    latest = after[-1]
    for position in reversed(range(len(after) - 1)):
        if limits.met("motor-deficit-size", after[position].value - latest.value):
            return after[position + 1].day
    return None
