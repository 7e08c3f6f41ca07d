"""A threshold is its number and its boundary word, on the day of the evaluation."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.evaluation.limits import Limits
from cds_service.knowledge.model import DatedValue, Fires, Knowledge, Threshold
from tests.changing import replace

FIRST_DAY = date(2026, 1, 1)


def _limits(knowledge: Knowledge, *, fires: Fires, as_of: date = FIRST_DAY) -> Limits:
    threshold = Threshold(
        id="visits",
        title="Visits",
        unit="d",
        unit_shown="days",
        fires=fires,
        values=(
            DatedValue(from_day=FIRST_DAY, value=Decimal(5), source="s", locator="l"),
            DatedValue(from_day=date(2026, 7, 1), value=Decimal(6), source="s", locator="l"),
        ),
        status="draft",
    )
    return Limits(replace(knowledge, thresholds={"visits": threshold}), as_of)


@pytest.mark.parametrize(
    ("fires", "below", "at", "above"),
    [
        (Fires.ABOVE, False, False, True),
        (Fires.AT_OR_ABOVE, False, True, True),
        (Fires.BELOW, True, False, False),
        (Fires.AT_OR_BELOW, True, True, False),
        (Fires.EXACTLY, False, True, False),
    ],
)
def test_limit_fires_on_its_side(
    knowledge: Knowledge, *, fires: Fires, below: bool, at: bool, above: bool
) -> None:
    """The boundary itself is in or out as the boundary word says."""
    limits = _limits(knowledge, fires=fires)
    assert [limits.met("visits", value) for value in (4, 5, 6)] == [below, at, above]


@pytest.mark.parametrize(
    ("as_of", "value"),
    [
        (date(2025, 1, 1), 5),
        (date(2026, 6, 30), 5),
        (date(2026, 7, 1), 6),
        (date(2030, 1, 1), 6),
    ],
)
def test_limit_uses_the_value_in_force(knowledge: Knowledge, as_of: date, value: int) -> None:
    """A new value counts from its first day on; before the first one the first one counts."""
    limits = _limits(knowledge, fires=Fires.AT_OR_ABOVE, as_of=as_of)
    assert limits.number("visits") == value
    assert limits.first_day("visits") == value


def test_limit_in_words_names_boundary_number_and_unit(knowledge: Knowledge) -> None:
    """Cards print boundary, number and unit from the same threshold, told apart by the boundary."""
    words = {_limits(knowledge, fires=fires).words("visits") for fires in Fires}
    assert len(words) == len(Fires)
    assert all("5 days" in text for text in words)


def test_limit_window_needs_both_ends(knowledge: Knowledge) -> None:
    """A window counts its first and its last day."""
    limits = Limits(knowledge, FIRST_DAY)
    inside = [
        day
        for day in range(1, 10)
        if limits.within("inflammation-onset-first", "inflammation-onset-last", day)
    ]
    assert inside == [2, 3, 4, 5, 6, 7]
