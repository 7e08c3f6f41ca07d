"""A site writes another number: the rule follows it, and so does every day and word on a card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cds_service.knowledge.model import Fires, Knowledge
from cds_service.vignettes.running import AS_OF
from tests.changing import replace
from tests.evaluation.whole_charts import answered_with

WEAK_LEG = {
    "operation": "discectomy",
    "leg": {-14: 8, 19: 2},
    "strength": [{"day": 10, "side": "left", "muscle": "tibialis anterior", "grade": 4}],
}
NOT_RELIEVED = {"operation": "discectomy", "leg": {-14: 8, 80: 8}}


def with_number(
    knowledge: Knowledge, name: str, number: int | None = None, fires: Fires | None = None
) -> Knowledge:
    """Return *knowledge* as a site has it that writes another *number*, or side of its boundary."""
    ours = knowledge.thresholds[name]
    value = ours.values[-1]
    dated = replace(value, value=value.value if number is None else Decimal(number))
    theirs = replace(ours, values=(dated,), fires=fires or ours.fires)
    return replace(knowledge, thresholds={**knowledge.thresholds, name: theirs})


def _cards(knowledge: Knowledge, facts: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return answered_with(knowledge, facts).cards()


@pytest.mark.parametrize(
    ("fires", "first_day"), [(Fires.AT_OR_ABOVE, 21), (Fires.ABOVE, 22)], ids=["from", "after"]
)
def test_emg_is_announced_for_the_first_day_on_which_the_rule_wants_it(
    knowledge: Knowledge, fires: Fires, first_day: int
) -> None:
    """Weak since day 10: on the day the card names, the card that orders the EMG appears."""
    theirs = with_number(knowledge, "emg-age", fires=fires)
    day_before = {**WEAK_LEG, "day": 10 + first_day - 1}
    useful = (AS_OF + timedelta(days=1)).isoformat()
    assert useful in _cards(theirs, day_before)["EMG-LATER"]["summary"]
    assert "EMG-MOTOR" in _cards(theirs, {**day_before, "day": 10 + first_day})


@pytest.mark.parametrize(
    ("fires", "first_day"), [(Fires.AT_OR_ABOVE, 90), (Fires.ABOVE, 91)], ids=["from", "after"]
)
def test_pain_is_measured_again_on_the_first_day_of_the_work_up(
    knowledge: Knowledge, fires: Fires, first_day: int
) -> None:
    """Not relieved on the day before: the card names tomorrow, and tomorrow the MRI card comes."""
    theirs = with_number(knowledge, "workup-day", fires=fires)
    tomorrow = (AS_OF + timedelta(days=1)).isoformat()
    cards = _cards(theirs, {**NOT_RELIEVED, "day": first_day - 1})
    assert tomorrow in cards["EARLY-WATCH"]["summary"]
    assert "IMG-MRI-NR" in _cards(theirs, {**NOT_RELIEVED, "day": first_day})


@pytest.mark.parametrize(
    ("fires", "is_asked_for"), [(Fires.AT_OR_ABOVE, False), (Fires.ABOVE, True)]
)
def test_scan_of_the_boundary_day_counts_as_the_site_says(
    knowledge: Knowledge, *, fires: Fires, is_asked_for: bool
) -> None:
    """An MRI of day 42 answers the question "from day 42", not "after day 42"."""
    theirs = with_number(knowledge, "mri-readable-day", fires=fires)
    facts = {**NOT_RELIEVED, "day": 100, "done": {"MRI": 42}}
    assert ("IMG-MRI-NR" in _cards(theirs, facts)) is is_asked_for
