"""One table of the report: numbers with what they are a share of, now and in the period before.

Web page, CSV and JSON are written from these tables, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cds_service.reporting.tally import Tally

Value = float | int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A kind of number: its id in CSV and JSON, its heading, and what it is a share of."""

    id: str
    title: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One subject with its numbers now and in the period before, by column id."""

    id: str
    title: str
    now: Mapping[str, Value]
    before: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; ``note`` says what is counted."""

    id: str
    title: str
    subject: str
    note: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def columns(*parts: tuple[str, str, str]) -> tuple[Column, ...]:
    """Return a column for each id, heading and meaning."""
    return tuple(Column(id=name, title=title, meaning=text) for name, title, text in parts)


def share(part: float, whole: float) -> float | None:
    """Return *part* in 100 of *whole*, to two decimals; None when there is no whole."""
    return round(100 * part / whole, 2) if whole else None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that *percent* of *values* do not exceed (nearest rank); None of none."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return round(ordered[int(rank) - 1], 2)


def counted_lines(
    names: Iterable[str],
    now: Tally,
    before: Tally,
    numbers: Callable[[Tally, str], dict[str, Value]],
    count: Callable[[Tally, str], int],
) -> tuple[Line, ...]:
    """Return a line for each of *names*, the most frequent first."""
    return tuple(
        Line(id=name, title=name, now=numbers(now, name), before=numbers(before, name))
        for name in sorted(names, key=lambda name: (-count(now, name), name))
    )
