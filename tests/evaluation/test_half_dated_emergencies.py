"""An operation dated only to this month: both of its possible days are looked at."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.evaluation.selection import ACCEPTED, OVERRIDDEN, SWITCHED_OFF, WITHHELD, without
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import LEFT, RIGHT, answered_with, coded, strength

THIS_MONTH: dict[str, Any] = {"day": 0, "operation": "discectomy", "operation date": "month"}
"""From day 14 down to today, because today is the fifteenth."""
TODAY = AS_OF.isoformat()
A_WEEK_AGO = AS_OF.replace(day=AS_OF.day - 7).isoformat()


def condition(system: str, code: str, day: str) -> Resource:
    """Return a diagnosis of this day."""
    return {"resourceType": "Condition", "code": coded(system, code), "onsetDateTime": day}


RETENTION = condition(SNOMED, "267064002", TODAY)


def test_weak_legs_are_an_emergency_whatever_the_day_of_the_operation(knowledge: Knowledge) -> None:
    """The right leg was weak before the operation or after it; the left leg is new either way."""
    answered = answered_with(
        knowledge,
        {**THIS_MONTH, "leg": {0: 7}},
        strength({"valueInteger": 4}, RIGHT, effectiveDateTime=A_WEEK_AGO),
        strength({"valueInteger": 4}, RIGHT, effectiveDateTime=TODAY),
        strength({"valueInteger": 3}, LEFT, effectiveDateTime=TODAY),
    )
    assert list(answered.shown) == ["RF-MOTOR"]
    card = answered.card("RF-MOTOR")
    assert card["indicator"] == "critical"
    assert "0 to 14 days after lumbar surgery" in card["summary"]


def test_severe_pain_with_retention_is_an_emergency_whatever_the_day(knowledge: Knowledge) -> None:
    """Today the bladder sign is late if the operation was early in the month."""
    answered = answered_with(knowledge, {**THIS_MONTH, "back": {0: 9}}, RETENTION)
    assert list(answered.shown) == ["RF-EDH", "RF-POUR"]
    assert answered.card("RF-EDH")["indicator"] == "critical"


def test_milder_card_names_both_days(knowledge: Knowledge) -> None:
    """Nobody knows that today is the day of surgery."""
    answered = answered_with(knowledge, THIS_MONTH, RETENTION)
    card = answered.card("RF-POUR")
    assert "0 to 14 days after surgery" in card["summary"]
    assert "Today is day 0 to 14 after surgery" in card["detail"]


def test_coded_emergency_perhaps_older_than_the_operation_is_shown(knowledge: Knowledge) -> None:
    """As for an operation without any date: a more precise date protects no less."""
    syndrome = condition(SNOMED, "192970008", A_WEEK_AGO)
    answered = answered_with(knowledge, THIS_MONTH, syndrome)
    assert list(answered.shown) == ["RF-CES"]
    card = answered.card("RF-CES")
    assert card["indicator"] == "critical"
    assert card["summary"].startswith("Possible cauda equina syndrome after lumbar surgery")


def test_spinal_infection_perhaps_older_than_the_operation_is_shown(knowledge: Knowledge) -> None:
    """Discitis coded a week ago, the operation some day of this month."""
    discitis = condition(ICD, "M46.46", A_WEEK_AGO)
    answered = answered_with(knowledge, THIS_MONTH, discitis)
    assert list(answered.shown) == ["RF-INF"]
    assert answered.card("RF-INF")["indicator"] == "critical"


def test_other_emergency_of_one_end_asks_for_the_day(knowledge: Knowledge) -> None:
    """A foot weak for a week: new after the operation, or the reason for it."""
    answered = answered_with(
        knowledge,
        THIS_MONTH,
        strength({"valueInteger": 2}, LEFT, effectiveDateTime=A_WEEK_AGO),
    )
    assert list(answered.shown) == ["DATA-DATE"]
    card = answered.card("DATA-DATE")
    assert card["indicator"] == "warning"
    assert card["summary"].endswith("urgent advice depends on it: New or worsening leg weakness.")
    assert "they may be older than the operation" in card["detail"]


@pytest.mark.parametrize(
    ("day", "is_asked"),
    [("2026-05-20", True), ("2025-12-20", False)],
)
def test_emergency_of_a_day_between_both_ends_asks_for_the_day(
    knowledge: Knowledge, day: str, *, is_asked: bool
) -> None:
    """Operated on some day of this year: too long ago in January, and not yet before today.

    A leak of spinal fluid since May is an urgent matter after an operation in spring.
    """
    this_year = {**THIS_MONTH, "operation date": "year"}
    answered = answered_with(knowledge, this_year, condition(ICD, "G97.41", day))
    assert list(answered.shown) == (["DATA-DATE"] if is_asked else [])
    if is_asked:
        card = answered.card("DATA-DATE")
        assert card["indicator"] == "warning"
        assert card["summary"].endswith("depends on it: Spinal fluid leak on record.")


def test_infection_of_a_day_between_both_ends_asks_for_the_day(knowledge: Knowledge) -> None:
    """A wound infection and a fever of this week; the operation is dated to this year."""
    patient = {**THIS_MONTH, "operation date": "year", "temperature": {0: 38.6}}
    wound = condition(ICD, "T81.41XA", A_WEEK_AGO)
    card = answered_with(knowledge, patient, wound).card("DATA-DATE")
    assert card["indicator"] == "warning"
    assert "Signs of spinal infection" in card["summary"]


def test_hospice_hears_of_an_emergency_that_hangs_on_the_day(knowledge: Knowledge) -> None:
    """Red flags are shown in hospice care, and so is the question on which one hangs."""
    weak = strength({"valueInteger": 2}, LEFT, effectiveDateTime=A_WEEK_AGO)
    hospice = {**THIS_MONTH, "done": {"hospice admission": 0}}
    assert list(answered_with(knowledge, hospice, weak).shown) == ["DATA-DATE"]
    assert list(answered_with(knowledge, hospice).shown) == []


@pytest.mark.parametrize("why", [OVERRIDDEN, ACCEPTED, WITHHELD])
def test_question_on_which_an_emergency_hangs_is_never_held_back(
    knowledge: Knowledge, why: str
) -> None:
    """Nobody is spared it for an earlier answer or a role: no other card tells of the weak foot."""
    weak = strength({"valueInteger": 2}, LEFT, effectiveDateTime=A_WEEK_AGO)
    asked = answered_with(knowledge, THIS_MONTH, weak).assessment
    for held_by, shown in ((why, ["DATA-DATE"]), (SWITCHED_OFF, [])):
        told = without(asked, {"DATA-DATE": held_by}).shown
        assert [finding.card for finding in told] == shown


def test_emergency_on_which_both_ends_agree_asks_for_no_day(knowledge: Knowledge) -> None:
    """What is certain is shown, and nothing beside it."""
    answered = answered_with(
        knowledge,
        THIS_MONTH,
        strength({"valueInteger": 2}, LEFT, effectiveDateTime=TODAY),
    )
    assert list(answered.shown) == ["RF-MOTOR"]


def test_emergency_of_both_ends_stands_alone(knowledge: Knowledge) -> None:
    """Beside it nobody is asked for the day on which a leak of spinal fluid hangs."""
    leak = condition(ICD, "G97.41", A_WEEK_AGO)
    weak = strength({"valueInteger": 2}, LEFT, effectiveDateTime=TODAY)
    assert list(answered_with(knowledge, THIS_MONTH, leak).shown) == ["DATA-DATE"]
    assert list(answered_with(knowledge, THIS_MONTH, leak, weak).shown) == ["RF-MOTOR"]


def test_half_dated_operation_without_a_red_flag_asks_for_nothing(knowledge: Knowledge) -> None:
    """Where the ends disagree about a work-up only, the service waits."""
    answered = answered_with(knowledge, THIS_MONTH)
    assert "DATA-DATE" not in answered.shown


TWIN: dict[str, Any] = {
    "day": 40,
    "operation": "discectomy",
    "other operations": [{"day": 0, "operation": "discectomy", "date": "year"}],
}
"""Operated on 6 May; the list of former operations repeats it as "2026"."""


def test_emergency_is_not_lost_to_a_half_dated_second_entry(knowledge: Knowledge) -> None:
    """A new weakness after an operation whose day is known, and which is listed once more."""
    weak = strength({"valueInteger": 3}, LEFT, effectiveDateTime=A_WEEK_AGO)
    answered = answered_with(knowledge, TWIN, weak)
    assert list(answered.shown) == ["DATA-DATE"]
    card = answered.card("DATA-DATE")
    assert card["indicator"] == "warning"
    assert card["summary"].endswith("urgent advice depends on it: New or worsening leg weakness.")
    assert "Operation (2026-05-06)" in card["detail"]
    assert "Operation (2026)" in card["detail"]
    assert "which was the last is not known" in card["detail"]


def test_emergency_whichever_of_two_operations_was_the_last_is_shown(knowledge: Knowledge) -> None:
    """Weak today: new after either operation."""
    weak = strength({"valueInteger": 2}, LEFT, effectiveDateTime=TODAY)
    answered = answered_with(knowledge, TWIN, weak)
    assert list(answered.shown) == ["RF-MOTOR"]
    card = answered.card("RF-MOTOR")
    assert card["indicator"] == "critical"
    assert "0 to 40 days after lumbar surgery" in card["summary"]


def test_emergency_shown_whatever_the_day_takes_the_place_of_its_milder_card(
    knowledge: Knowledge,
) -> None:
    """Retention today: late after the one operation, early after the other if that was today."""
    answered = answered_with(knowledge, TWIN, RETENTION)
    assert list(answered.shown) == ["RF-CES"]


def test_new_weakness_is_told_beside_an_emergency_shown_whatever_the_day(
    knowledge: Knowledge,
) -> None:
    """It claims less than cauda equina syndrome, and says what else is there."""
    syndrome = condition(SNOMED, "192970008", TODAY)
    weak = strength({"valueInteger": 2}, LEFT, effectiveDateTime=TODAY)
    assert list(answered_with(knowledge, TWIN, syndrome, weak).shown) == ["RF-CES", "RF-MOTOR"]


def test_half_dated_second_entry_alone_asks_for_its_day(knowledge: Knowledge) -> None:
    """Without a red flag nothing but the date is asked for, and no day is said to be missing."""
    answered = answered_with(knowledge, TWIN)
    assert list(answered.shown) == ["DATA-DATE"]
    card = answered.card("DATA-DATE")
    assert card["indicator"] == "info"
    assert "not the day on which the last one was done" in card["detail"]
