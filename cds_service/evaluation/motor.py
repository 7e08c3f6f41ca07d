"""Is there a new weakness since the operation, how bad, since when, and is it still current?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from cds_service.chart.facts import Chart, ConditionFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.values import Side, lazy

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


class Deficit(Struct, frozen=True, kw_only=True):
    """A new weakness of one muscle on one side.

    Time:
        ``onset`` and ``progressed`` are days since surgery, None when the chart gives no date;
        ``seen_day`` is the latest examination (or record, if coded).
    """

    side: Side
    muscle: str
    grade: Decimal
    onset: int | None
    progressed: int | None
    seen_day: int | None
    has_preoperative_grade: bool
    references: tuple[str, ...]
    is_coded: bool

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
        Examination grades not completely supplied are not used (the latest cannot be told); coded
        weakness still counts.
    """
    unread = chart.failed_keys.intersection((Key.CONDITIONS, Key.FINDINGS))
    grades = {} if Key.FINDINGS in unread else _examined(chart, operation)
    weaknesses = _coded_conditions(chart)
    if not grades and not weaknesses:
        return Motor(critical=(), stable=(), outdated=(), unread=unread)
    coded = _coded(weaknesses, operation, limits)
    before = _coded_before(coded)
    for (side, muscle), grade in coded:
        if grade.day >= 0:
            grades.setdefault((side, muscle), []).append(grade)
    today = operation.dss(limits.as_of)
    deficits = [
        deficit
        for (side, muscle), series in sorted(grades.items(), key=_muscle_order)
        if (deficit := _deficit(side, muscle, series, before, limits)) is not None
    ]
    undated = list(_undated(weaknesses, limits, before))
    return _sorted_out(deficits, undated, today, limits, unread)


def _sorted_out(
    deficits: Sequence[Deficit],
    undated: Sequence[Deficit],
    today: int,
    limits: Limits,
    unread: frozenset[str],
) -> Motor:
    fresh = [d for d in deficits if limits.met("motor-fresh", today - (d.seen_day or 0))]
    critical = [d for d in fresh if _is_critical(d, today, limits)]
    return Motor(
        critical=tuple(critical),
        stable=(*(d for d in fresh if d not in critical), *undated),
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


def _examined(chart: Chart, operation: Operation) -> dict[tuple[Side, str], list[Grade]]:
    grades: dict[tuple[Side, str], list[Grade]] = {}
    for observation in chart.observed.get("mrc-grade", ()):
        effective = observation.effective
        if observation.value is None or effective is None or not effective.is_exact:
            continue
        on = effective.latest
        day = operation.dss(on)
        grade = Grade(
            day=day, value=observation.value, references=(observation.reference,), seen_day=day
        )
        for side in _sides(observation.side):
            muscle = observation.muscle or UNSPECIFIED_MUSCLE
            grades.setdefault((side, muscle), []).append(grade)
    return grades


def _coded_conditions(chart: Chart) -> Sequence[tuple[ConditionFact, str]]:
    return [
        (condition, concept)
        for condition in chart.conditions
        if condition.is_active and not condition.concepts.isdisjoint(_CODED)
        for concept in sorted(condition.concepts & _CODED.keys())
    ]


def _coded_sides(condition: ConditionFact, concept: str) -> tuple[Side, ...]:
    return (Side.LEFT, Side.RIGHT) if concept == "motor-paraplegia" else _sides(condition.side)


def _coded(
    weaknesses: Iterable[tuple[ConditionFact, str]], operation: Operation, limits: Limits
) -> list[tuple[tuple[Side, str], Grade]]:
    """Return a grade for each dated coded weakness."""
    coded: list[tuple[tuple[Side, str], Grade]] = []
    for condition, concept in weaknesses:
        if condition.when is None:
            continue
        on = condition.when.latest
        seen = (condition.recorded or condition.when).latest
        day = operation.dss(on)
        seen_day = operation.dss(seen)
        grade = Grade(
            day=day,
            value=limits.number(_CODED[concept]),
            references=(condition.reference,),
            seen_day=max(day, seen_day),
        )
        coded.extend(
            ((side, UNSPECIFIED_MUSCLE), grade) for side in _coded_sides(condition, concept)
        )
    return coded


def _undated(
    weaknesses: Iterable[tuple[ConditionFact, str]],
    limits: Limits,
    before: Mapping[Side, Decimal],
) -> Iterable[Deficit]:
    """Return the coded weaknesses without any date; they have no onset and are never critical.

    One that is no worse than the grade coded before surgery is not new.
    """
    normal = limits.number("motor-normal-grade")
    for condition, concept in weaknesses:
        if condition.when is not None:
            continue
        grade = limits.number(_CODED[concept])
        for side in _coded_sides(condition, concept):
            if not limits.met("motor-deficit-size", before.get(side, normal) - grade):
                continue
            yield Deficit(
                side=side,
                muscle=UNSPECIFIED_MUSCLE,
                grade=grade,
                onset=None,
                progressed=None,
                seen_day=None,
                has_preoperative_grade=False,
                references=(condition.reference,),
                is_coded=True,
            )


def _coded_before(coded: Iterable[tuple[tuple[Side, str], Grade]]) -> Mapping[Side, Decimal]:
    """Return the latest coded pre-operative grade of each side."""
    latest: dict[Side, Grade] = {}
    for (side, _), grade in coded:
        known = latest.get(side)
        is_newer = known is None or (grade.day, -grade.value) > (known.day, -known.value)
        if grade.day < 0 and is_newer:
            latest[side] = grade
    return {side: grade.value for side, grade in latest.items()}


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
    before = [grade for grade in days if grade.day < 0]
    after = [grade for grade in days if grade.day >= 0]
    if not after:
        return None
    known_before = before[-1].value if before else coded_before.get(side)
    starting = known_before if known_before is not None else limits.number("motor-normal-grade")
    reference = max(starting, *(grade.value for grade in after))
    latest = after[-1]
    if not limits.met("motor-deficit-size", reference - latest.value):
        return None
    run = _latest_run(after, reference, limits)
    return Deficit(
        side=side,
        muscle=muscle,
        grade=latest.value,
        onset=run[0].day,
        progressed=_progression(after, limits),
        seen_day=max(grade.seen_day for grade in run),
        has_preoperative_grade=known_before is not None,
        references=tuple(sorted({ref for grade in run for ref in grade.references})),
        is_coded=all(ref.startswith("Condition/") for ref in latest.references),
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
