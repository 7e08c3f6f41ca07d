"""Can each number of ``cards/thresholds`` be meant, alone and beside the others?

A number on another scale (40 of 10), or a window that ends before it begins, stops no rule: its
card never appears again, and nobody is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from cds_service.knowledge.model import Fires, Knowledge, Threshold

WINDOWS: tuple[tuple[str, str], ...] = (
    ("data-window-early-first", "data-window-early-last"),
    ("data-window-late-first", "data-window-late-last"),
    ("emg-age", "emg-age-max"),
    ("improving-lookback-first", "improving-lookback-last"),
    ("inflammation-onset-first", "inflammation-onset-last"),
    ("pregnancy-age-first", "pregnancy-age-last"),
    ("pt-day", "pt-max-day"),
    ("pt-day-fusion", "pt-max-day"),
    ("scar-onset-first", "scar-onset-last"),
)
"""First and last day, or age, of a window, of which at least one must be left."""
APART: tuple[tuple[str, str], ...] = (("pain-low", "pain-hot"), ("odi-low", "odi-hot"))
"""Scores that are low and scores that matter; none may be both."""

_WHOLE = frozenset({"d", "a", "{count}"})
_SCALE = re.compile(r"\bof (\d+)\b")
_MOST: Mapping[str, int] = {"d": 36525, "a": 150, "%": 100}
_MOST_OTHERWISE = 100_000


def number_problems(knowledge: Knowledge) -> Iterator[str]:
    """Yield the numbers that cannot be meant, each with file and what to do."""
    for threshold in knowledge.thresholds.values():
        yield from _own_problems(threshold)
    for first, last in WINDOWS:
        yield from _pair_problems(knowledge, first, last, is_window=True)
    for low, high in APART:
        yield from _pair_problems(knowledge, low, high, is_window=False)


def _own_problems(threshold: Threshold) -> Iterator[str]:
    most = _most(threshold)
    for dated in threshold.values:
        number = f"{_file(threshold)}: {dated.value} (from {dated.from_day} on)"
        if not 0 <= dated.value <= most:
            yield (
                f"{number} does not lie between 0 and {most} ({threshold.unit_shown}). Correct it; "
                "to switch a card off, write enabled: false in its own file."
            )
        elif threshold.unit in _WHOLE and dated.value % 1:
            yield f"{number} is not a whole number, and is compared with such. Write one."


def _most(threshold: Threshold) -> int:
    """Return the end of the scale that cards print ("out of 10"), else the most that is sane."""
    scale = _SCALE.search(threshold.unit_shown)
    return int(scale[1]) if scale else _MOST.get(threshold.unit, _MOST_OTHERWISE)


def _pair_problems(knowledge: Knowledge, one: str, other: str, *, is_window: bool) -> Iterator[str]:
    if not {one, other} <= knowledge.thresholds.keys():
        return
    lower, upper = knowledge.thresholds[one], knowledge.thresholds[other]
    for day in sorted({dated.from_day for each in (lower, upper) for dated in each.values}):
        if is_window and _first(lower, day) > _last(upper, day):
            fault = "leave nothing between them"
        elif not is_window and _meet(lower, upper, day):
            fault = "would be true of one and the same score"
        else:
            continue
        yield (
            f"{_file(lower)} ('{lower.words_on(day)}') and {_file(upper)} "
            f"('{upper.words_on(day)}') {fault}, from {day} on. Correct one of them."
        )
        return


def _first(threshold: Threshold, day: date) -> Decimal:
    return threshold.value_on(day).value + (threshold.fires is Fires.ABOVE)


def _last(threshold: Threshold, day: date) -> Decimal:
    return threshold.value_on(day).value - (threshold.fires is Fires.BELOW)


def _meet(low: Threshold, high: Threshold, day: date) -> bool:
    """Return whether a score can be on the firing side of both."""
    ends = low.value_on(day).value, high.value_on(day).value
    both_count = low.fires is Fires.AT_OR_BELOW and high.fires is Fires.AT_OR_ABOVE
    return ends[0] > ends[1] or (ends[0] == ends[1] and both_count)


def _file(threshold: Threshold) -> str:
    return f"cards/thresholds/{threshold.id}.yaml"
