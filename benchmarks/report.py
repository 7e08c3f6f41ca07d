"""The table of ratios, for the terminal and for ``docs/benchmarks.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_BEFORE = """# Benchmarks

Written by `make bench`; do not edit.

Every figure is a ratio of two things measured in one run, in turn, on the same machine; the median
of several rounds is shown.
Absolute times say little on a shared machine and are left out, except where a goal is a time.
CPU is the time of the server's processes from `/proc`; "calls" compares calls per second.

The service walks the whole road: RS384 token, replay check, strict JSON, patient check, all rules,
rendering.
Its request fires {cards} cards, each with a suggestion.
`null` is a route of the same server that reads the body and answers an empty card list; `orjson` is
one that parses it too.
Added Observations are about 1,200 bytes each; the rules use one in ten of them.

Python {python}, {cores} cores, {mode}.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure and its goal; ``is_at_least`` says on which side of it is good."""

    area: str
    what: str
    value: float
    goal: float | None = None
    is_at_least: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the goal, if there is one, is reached."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.is_at_least else self.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        """Return the row as words."""
        goal = ""
        if self.goal is not None:
            goal = f"{'at least' if self.is_at_least else 'at most'} {_shown(self.goal, self.unit)}"
        verdict = ("yes" if self.is_met else "**no**") if goal else ""
        return self.area, self.what, _shown(self.value, self.unit), goal, verdict


def markdown(rows: Sequence[Row]) -> str:
    """Return *rows* as a Markdown table."""
    head = ("Area", "Figure", "Measured", "Goal", "Met")
    table = [head, ("---",) * len(head), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def page(rows: Sequence[Row], *, cards: int, python: str, cores: int, mode: str) -> str:
    """Return the whole page."""
    return (
        _BEFORE.format(cards=cards, python=python, cores=cores, mode=mode) + markdown(rows) + "\n"
    )


def _shown(value: float, unit: str) -> str:
    return f"{value:.2f}{f' {unit}' if unit else ''}"
