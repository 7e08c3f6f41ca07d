"""Rows about charts of any size and about the rules, from what ``benchmarks.in_process`` found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.many_of_a_kind import TIMES
from benchmarks.report import Row

_LARGE_CHART = 10_000
_STEEPEST = 6.0
"""A rule that compares each entry with each costs sixteen times as much."""
CHART_SIZES = (100, 1_000, _LARGE_CHART, 50_000)
SIZES_QUICK = (100, 1_000)
"""Observations of the charts measured in process."""


def chart_rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """Yield how the cost of a chart grows with it, and what ten times the rules cost."""
    charts = {chart["count"]: chart for chart in found["charts"]}
    sizes = sorted(charts)
    smallest = charts[sizes[0]]
    area = "Charts"
    for size in sizes[2:] or sizes[1:]:
        cost = math.log(charts[size]["cards"] / smallest["cards"])
        exponent = cost / math.log(size / sizes[0])
        steepest = 1.10 if size <= _LARGE_CHART else 1.20
        what = f"exponent from {sizes[0]} to {size:,} Observations"
        yield Row(area=area, what=what, value=exponent, goal=steepest)
    for size in sizes:
        chart = charts[size]
        goal = 0.25 if size == _LARGE_CHART else None
        what = f"{size:,} Observations: decoded, read, evaluated"
        value = chart["cards"] / chart["orjson"]
        yield Row(area=area, what=f"{what} / orjson.loads", value=value, goal=goal)
        if "check" in chart:
            what = f"{size:,} Observations: strict check of the body / orjson.loads"
            yield Row(area=area, what=what, value=chart["check"] / chart["orjson"])
    largest = charts[sizes[-1]]
    grown = largest["grown"] / largest["bytes"]
    what = f"{sizes[-1]:,} Observations: peak memory / body"
    yield Row(area=area, what=what, value=grown, goal=2.5)
    yield from _other_rows(found)


def _other_rows(found: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what many entries of one kind cost, and ten times the rules."""
    worst, growth = found["steepest"]
    what = f"{TIMES} times the entries of one kind, at worst ({worst}): cost"
    yield Row(area="Charts", what=what, value=growth, goal=_STEEPEST)
    value = found["rules"]["ten_times"] / found["rules"]["once"]
    yield Row(area="Rules", what="60 KB: every rule ten times / once", value=value, goal=1.3)
