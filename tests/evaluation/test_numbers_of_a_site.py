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


def test_reason_of_a_row_says_how_many_steps_the_site_lets_miss(knowledge: Knowledge) -> None:
    """The explanation of a call said "one or two" where the site lists up to three steps."""
    theirs = with_number(knowledge, "scs-missing-max", 3)
    found = answered_with(theirs, {**NOT_RELIEVED, "day": 100}).assessment.findings
    reasons = next(row.reasons for row in found if row.card == "SCS-PREREQ")
    assert any("prerequisites are missing, at most 3 steps" in reason for reason in reasons)


def _weak_on(day: int) -> dict[str, Any]:
    """Return a patient weak since day 30, examined again on *day*."""
    muscle = {"side": "left", "muscle": "tibialis anterior", "grade": 4}
    return {
        "day": day + 10,
        "operation": "discectomy",
        "leg": {-14: 8, day: 2},
        "strength": [{"day": 30, **muscle}, {"day": day, **muscle}],
        "done": {"MRI": 40, "EMG": 60},
    }


@pytest.mark.parametrize(
    ("number", "fires", "words"),
    [
        (365, Fires.ABOVE, "(> 1 year)"),
        (730, Fires.ABOVE, "(> 2 years)"),
        (180, Fires.ABOVE, "(> 180 days)"),
        (366, Fires.AT_OR_ABOVE, "(> 1 year)"),
    ],
)
def test_lasting_weakness_is_headed_by_the_time_that_the_site_counts(
    knowledge: Knowledge, number: int, fires: Fires, words: str
) -> None:
    """Where 180 days count as lasting, the headline of day 200 must not say "1 year"."""
    theirs = with_number(knowledge, "neuro-permanent-day", number, fires)
    assert words in _cards(theirs, _weak_on(number + 10))["NEURO-PERM"]["summary"]


@pytest.mark.parametrize(
    ("number", "facts", "card", "said"),
    [
        (
            ("neuropathic-day", 100),
            {
                "day": 200,
                "operation": "decompression",
                "leg": {-1: 7, 60: 7, 110: 7, 195: 7},
                "questionnaires": {"DN4": {190: 6}},
                "done": {"MRI": 120},
            },
            "PT-REF",
            (
                "late enough after surgery (from day 180)",
                "late enough after surgery (from day 100)",
            ),
        ),
        (
            ("stenosis-day", 181),
            {"day": 370, "operation": "decompression", "leg": {-14: 8, 369: 7}},
            "IMG-MRI-NR",
            (
                "pain more than 1 year after surgery",
                "pain more than 180 days after surgery",
            ),
        ),
        (
            ("stenosis-years", 400),
            {"day": 730, "operation": "decompression", "leg": {-14: 8, 729: 7}},
            "IMG-MRI-NR",
            (
                "long after surgery (from day 730)",
                "long after surgery (from day 400)",
            ),
        ),
        (
            ("recurrence-year-onset-last", 200),
            {"day": 110, "operation": "discectomy", "leg": {-14: 9, 84: 2, 100: 8}},
            "IMG-MRI-RTR",
            (
                "it came back within 1 year",
                "it came back within 200 days",
            ),
        ),
        (
            ("pain-referral-drug-classes", 2),
            {
                "day": 200,
                "operation": "discectomy",
                "leg": {-14: 8, 199: 6},
                "done": {"MRI": 60, "physiotherapy": 20},
                "drugs": [{"drug": "NSAID", "from": 60}, {"drug": "gabapentinoid", "from": 60}],
            },
            "PAIN-REF",
            (
                "physiotherapy and medication (at least 1 of the drug classes)",
                "physiotherapy and medication (at least 2 of the drug classes)",
            ),
        ),
    ],
)
def test_card_says_the_number_that_the_site_counts(
    knowledge: Knowledge,
    number: tuple[str, int],
    facts: Mapping[str, Any],
    card: str,
    said: tuple[str, str],
) -> None:
    """A likely explanation said "within the first year" where the site counts 200 days."""
    ours, theirs = said
    assert ours in _cards(knowledge, facts)[card]["detail"]
    assert theirs in _cards(with_number(knowledge, *number), facts)[card]["detail"]
