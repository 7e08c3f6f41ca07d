"""An operation dated only to this month: both of its possible days are looked at."""

from __future__ import annotations

from typing import Any

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.concepts import SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import LEFT, RIGHT, answered_with, coded, strength

THIS_MONTH: dict[str, Any] = {"day": 0, "operation": "discectomy", "operation date": "month"}
"""From day 14 down to today, because today is the fifteenth."""
TODAY = AS_OF.isoformat()
A_WEEK_AGO = AS_OF.replace(day=AS_OF.day - 7).isoformat()
RETENTION = {
    "resourceType": "Condition",
    "code": coded(SNOMED, "267064002"),
    "onsetDateTime": TODAY,
}


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
