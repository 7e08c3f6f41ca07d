"""Do the recorded level and side of the operation and of its indication differ?"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.values import FhirDate, Side


class Indication(Struct, frozen=True, kw_only=True):
    """Levels and sides recorded as the reason for the operation, and where."""

    levels: frozenset[str]
    sides: frozenset[Side]
    references: tuple[str, ...]
    when: FhirDate | None
    """The date the problem was recorded, if it is one entry of the problem list."""


class LevelCheck(Struct, frozen=True, kw_only=True):
    """The two records and whether they contradict each other."""

    indication: Indication | None
    differs: Answer
    is_by_level: bool
    is_by_side: bool


def check_levels(chart: Chart, operation: Operation, limits: Limits) -> LevelCheck:
    """Compare the operation with its indication.

    Missing data:
        A level or side missing in one of the two records: no difference; so if the codes of the
        operation count more levels than it names.  Conditions not completely supplied: cannot tell,
        unless the operation itself names its reason.
    """
    indication = _stated(chart, operation) or _sole_problem(chart, operation, limits)
    unread = (
        frozenset({Key.CONDITIONS})
        if indication is None and chart.supply_of(Key.CONDITIONS).has_failed
        else frozenset[str]()
    )
    by_level = by_side = False
    if indication is not None:
        known = operation.levels if operation.are_levels_known else ()
        by_level = _disjoint(known, indication.levels)
        by_side = _opposite(operation.sides, indication.sides)
    differs = found(by_level or by_side, unread)
    return LevelCheck(
        indication=indication, differs=differs, is_by_level=by_level, is_by_side=by_side
    )


def _stated(chart: Chart, operation: Operation) -> Indication | None:
    """Return the indication that the operation itself names, by reference or code."""
    reasons = [reference for stage in operation.stages for reference in stage.reason_references]
    conditions = {c.reference: c for c in chart.conditions} if reasons else {}
    named = [conditions[reference] for reference in reasons if reference in conditions]
    levels = frozenset[str]().union(
        *[stage.reason_levels for stage in operation.stages],
        *[condition.levels for condition in named],
    )
    sides = {stage.reason_side for stage in operation.stages}
    sides |= {condition.side for condition in named}
    known_sides = frozenset([side for side in sides if side is not None])
    if not levels and not known_sides:
        return None
    references = tuple(sorted(condition.reference for condition in named))
    days = {condition.when.latest: condition.when for condition in named if condition.when}
    when = next(iter(days.values())) if len(days) == 1 else None
    return Indication(levels=levels, sides=known_sides, references=references, when=when)


def _sole_problem(chart: Chart, operation: Operation, limits: Limits) -> Indication | None:
    """Return the only level-bearing problem, if it was recorded shortly before the operation."""
    bearing = [condition for condition in chart.conditions if condition.levels]
    if len(bearing) != 1:
        return None
    problem = bearing[0]
    recorded = problem.recorded or problem.when
    if recorded is None:
        return None
    before = (operation.first_day - recorded.latest).days
    if before < 0 or not limits.met("level-indication-age", before):
        return None
    sides = frozenset({problem.side} if problem.side is not None else ())
    return Indication(
        levels=problem.levels, sides=sides, references=(problem.reference,), when=recorded
    )


def _disjoint(first: Iterable[str], second: Iterable[str]) -> bool:
    one, other = frozenset(first), frozenset(second)
    return bool(one) and bool(other) and not one & other


def _opposite(first: frozenset[Side], second: frozenset[Side]) -> bool:
    if Side.BOTH in first | second or Side.UNSPECIFIED in first | second:
        return False
    return _disjoint({side.value for side in first}, {side.value for side in second})
