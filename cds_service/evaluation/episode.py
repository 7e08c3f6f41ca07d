"""Which operation started this episode, and on which day?

Operations close together are stages of one; the clock runs from the last day of the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from msgspec import Struct

from cds_service.chart.facts import Chart, ProcedureFact
from cds_service.evaluation.limits import Limits
from cds_service.values import Side

OPERATION_TYPES = frozenset({"decompression", "discectomy", "fusion"})
_CANDIDATES = OPERATION_TYPES | {"spine-surgery-unspecified"}


class Operation(Struct, frozen=True, kw_only=True):
    """The index operation, all stages and codes of it together.

    Time:
        ``day`` is its last day; ``first_day`` its first.  ``dss`` counts whole calendar days from
        ``day`` (day 0).
    """

    day: date
    first_day: date
    types: frozenset[str]
    levels: frozenset[str]
    sides: frozenset[Side]
    level_count: int | None
    surgery_count: int
    references: tuple[str, ...]
    stages: tuple[ProcedureFact, ...]
    earlier_days: tuple[date, ...] = ()
    undated: tuple[str, ...] = ()
    """Entries for an operation that are not used, because they have no date and others have one."""

    def dss(self, day: date) -> int:
        """Return the days since surgery of *day*; negative before it."""
        return (day - self.day).days

    @property
    def are_levels_known(self) -> bool:
        """Whether it names as many levels as its codes count."""
        return len(self.levels) >= (self.level_count or 1)

    @property
    def is_fusion(self) -> bool:
        """Whether a fusion was part of it."""
        return "fusion" in self.types


class Episode(Struct, frozen=True, kw_only=True):
    """The index operation as far as the chart dates it.

    ``operations`` holds one operation; two when its date is an interval (its latest and its
    earliest possible day, in this order); none when there is no lumbar operation or its date is
    unknown.  ``possible`` holds two, alike, when dates leave open which operation was the last.
    """

    operations: tuple[Operation, ...] = ()
    possible: tuple[Operation, ...] = ()
    is_date_unknown: bool = False
    history_references: tuple[str, ...] = ()


class _Group(Struct, frozen=True, kw_only=True):
    """Candidates that are one operation; an interval when its only entry is partly dated."""

    earliest: date
    latest: date
    stages: tuple[ProcedureFact, ...]

    @property
    def first_day(self) -> date:
        return min(
            (s.performed.earliest for s in self.stages if s.performed), default=self.earliest
        )


def find_episode(chart: Chart, limits: Limits) -> Episode:
    """Find the index operation among the completed procedures.

    Time:
        Candidates at most ``stage-merge`` days after the previous one belong to it.  An operation
        dated only to a month or year is an interval; if that overlaps another operation of the
        same time, the index day is unknown.  Undated ones count only if none is dated.
    """
    candidates = [p for p in chart.procedures if _is_candidate(p)]
    dated = [p for p in candidates if p.performed is not None]
    if not dated:
        return _undated(chart, candidates)
    groups = sorted(_groups(dated, limits), key=lambda group: (group.latest, group.earliest))
    index = groups[-1]
    if any(group is not index and group.latest >= index.earliest for group in groups):
        references = tuple(sorted(p.reference for p in dated))
        earliest = max(groups, key=lambda group: (group.earliest, group.latest))
        return Episode(
            possible=(
                _operation(chart, index, groups, index.latest),
                _operation(chart, earliest, groups, earliest.earliest),
            ),
            is_date_unknown=True,
            history_references=references,
        )
    days = (index.latest,) if index.latest == index.earliest else (index.latest, index.earliest)
    return Episode(operations=tuple(_operation(chart, index, groups, day) for day in days))


def _is_candidate(procedure: ProcedureFact) -> bool:
    if "not-an-index-operation" in procedure.concepts:
        return False
    return bool(procedure.concepts & _CANDIDATES)


def _undated(chart: Chart, candidates: Sequence[ProcedureFact]) -> Episode:
    """Return the episode when nothing is dated: certain but undated, or no operation at all."""
    history = [p.reference for p in candidates]
    history += [p.reference for p in chart.procedures if "lumbar-surgery-history" in p.concepts]
    history += [c.reference for c in chart.conditions if "lumbar-surgery-history" in c.concepts]
    return Episode(is_date_unknown=bool(history), history_references=tuple(sorted(set(history))))


def _groups(dated: Iterable[ProcedureFact], limits: Limits) -> list[_Group]:
    """Merge exactly dated candidates into operations; partly dated ones stand for themselves."""
    groups: list[_Group] = []
    exact: list[ProcedureFact] = []
    for procedure in sorted(dated, key=_by_day):
        performed = procedure.performed
        if performed is None:
            continue
        if not performed.is_exact:
            groups.append(
                _Group(earliest=performed.earliest, latest=performed.latest, stages=(procedure,))
            )
            continue
        if exact and not limits.met("stage-merge", (performed.latest - _day(exact[-1])).days):
            groups.append(_exact_group(exact))
            exact = []
        exact.append(procedure)
    if exact:
        groups.append(_exact_group(exact))
    return groups


def _exact_group(stages: Sequence[ProcedureFact]) -> _Group:
    last = _day(stages[-1])
    return _Group(earliest=last, latest=last, stages=tuple(stages))


def _day(procedure: ProcedureFact) -> date:
    if procedure.performed is None:  # only dated candidates get here
        raise ValueError(procedure.reference)
    return procedure.performed.latest


def _by_day(procedure: ProcedureFact) -> tuple[date, str]:
    return _day(procedure), procedure.reference


def _operation(chart: Chart, index: _Group, groups: Sequence[_Group], day: date) -> Operation:
    concepts = frozenset[str]().union(*[stage.concepts for stage in index.stages])
    first_day = index.first_day
    is_interval = index.earliest != index.latest
    beside = [
        procedure
        for procedure in chart.procedures
        if procedure.performed is not None
        and procedure.performed.earliest >= first_day
        and procedure.performed.latest <= index.latest
    ]
    add_ons = [procedure for procedure in beside if "adds-one-level" in procedure.concepts]
    levels = frozenset[str]().union(*[entry.levels for entry in (*index.stages, *add_ons)])
    several = level_floor(concepts.union(*[procedure.concepts for procedure in beside]))
    counted = max(several, 1 + len(add_ons) if add_ons else 0, len(levels))
    return Operation(
        day=day,
        first_day=day if is_interval else first_day,
        types=concepts & OPERATION_TYPES,
        levels=levels,
        sides=frozenset(stage.side for stage in index.stages if stage.side is not None),
        level_count=counted or None,
        surgery_count=len(groups),
        references=tuple(sorted(stage.reference for stage in index.stages)),
        stages=index.stages,
        earlier_days=tuple(group.latest for group in groups if group is not index),
        undated=tuple(
            sorted(p.reference for p in chart.procedures if _is_candidate(p) and not p.performed)
        ),
    )


_LEVEL_FLOORS = {"two-or-more-levels": 2, "three-or-more-levels": 3}
"""Value sets whose very name states a least number of levels."""


def level_floor(concepts: frozenset[str]) -> int:
    """Return the least number of levels that the operation's codes state; 0 if they state none."""
    return max([_LEVEL_FLOORS.get(concept, 0) for concept in concepts], default=0)
