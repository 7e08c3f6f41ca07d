"""A weak leg is seen however the chart dates, writes and codes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.evaluation.assessment import Indicator, Verdict
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF, Answered
from tests.evaluation.whole_charts import LEFT, RIGHT, answered_with, coded, observed, strength

TWO = {"valueQuantity": {"value": 2, "unit": "{score}"}}
FOOT_DROP, PARAPLEGIA = coded(SNOMED, "6077001"), coded(SNOMED, "60389000")
NOT_FOUND = "leg strength not found in coded data"
ASK = "found in coded data, but not used - ask"


def operated(day: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a vignette's facts
    """Return a patient *day* days after a discectomy."""
    return {"day": day, "operation": "discectomy", **more}


def ago(days: int) -> str:
    """Return a calendar day before the evaluation."""
    return (AS_OF - timedelta(days=days)).isoformat()


def limits_of(answered: Answered, card: str) -> str:
    """Return the limits line of *card*."""
    return str(answered.card(card)["detail"]).split("**Limits.**")[-1]


@pytest.mark.parametrize(
    "words",
    [
        "Bilateral leg weakness",
        "Weakness of both lower extremities",
        "Weakness of both lower limbs",
        "Weakness of both feet",
        "Weakness, legs, bilat",
        "BLE weakness",
        "Weakness of both LEs",
        "Leg weakness, B/L",
    ],
)
def test_weakness_of_both_legs_in_words_is_an_emergency(knowledge: Knowledge, words: str) -> None:
    """Problem lists write the side in many ways; without it, it was a weakness of one leg."""
    code = {**coded(SNOMED, "26544005"), "text": words}
    weak = {"resourceType": "Condition", "code": code, "onsetDateTime": ago(1)}
    answered = answered_with(knowledge, operated(21), weak)
    assert answered.shown["RF-CES"].indicator is Indicator.CRITICAL


UNDATED = [
    pytest.param({}, 10, id="no date"),
    pytest.param({"effectiveDateTime": "2026-06"}, 10, id="this month"),
    pytest.param({"effectiveDateTime": "2026-05"}, 50, id="last month"),
    pytest.param({"effectiveDateTime": "2026"}, 50, id="this year"),
    pytest.param({"effectiveTiming": {"event": [ago(30), ago(2)]}}, 10, id="one of two days"),
]


@pytest.mark.parametrize(("dated", "today"), UNDATED)
def test_weakness_without_a_day_asks_for_an_mri_and_is_no_emergency(
    knowledge: Knowledge, dated: Resource, today: int
) -> None:
    """Grade 2 is severe, but nobody knows since when: a warning, and the date is asked for."""
    answered = answered_with(knowledge, operated(today), strength(TWO, LEFT, **dated))
    assert answered.shown["IMG-MRI-DEF"].indicator is Indicator.WARNING
    assert "RF-MOTOR" not in answered.shown
    assert "EMG-MOTOR" not in answered.shown
    card = answered.card("IMG-MRI-DEF")
    assert "big toe extensor" in str(card["summary"])
    assert "date not recorded" in str(card["detail"])
    assert "date is not recorded" in str(card["detail"])
    assert "leg strength" not in limits_of(answered, "IMG-MRI-DEF")


def test_weakness_without_a_day_waits_for_the_day_after_surgery(knowledge: Knowledge) -> None:
    """On the day of the operation it may still be the anaesthetic."""
    assert "IMG-MRI-DEF" not in answered_with(knowledge, operated(0), strength(TWO, LEFT)).shown


@pytest.mark.parametrize(
    ("dated", "cards"),
    [
        ({"effectiveDateTime": "2025-11"}, []),
        ({"effectiveDateTime": "2026-04"}, ["IMG-MRI-DEF"]),
    ],
)
def test_half_a_date_counts_on_its_last_possible_day(
    knowledge: Knowledge, dated: Resource, cards: list[str]
) -> None:
    """Weakness from half a year ago is not current; the chart still shows that it was there."""
    answered = answered_with(knowledge, operated(300), strength(TWO, LEFT, **dated))
    assert [card for card in answered.shown if card == "IMG-MRI-DEF"] == cards


def test_half_a_date_before_surgery_is_the_strength_before_surgery(knowledge: Knowledge) -> None:
    """A weakness known since last year and unchanged is not new."""
    old = strength(TWO, LEFT, effectiveDateTime="2025")
    now = strength(TWO, LEFT, effectiveDateTime=ago(2))
    assert "RF-MOTOR" in answered_with(knowledge, operated(40), now).shown
    assert list(answered_with(knowledge, operated(40), old, now).shown) == []


def test_later_normal_strength_ends_a_weakness_dated_to_a_month(knowledge: Knowledge) -> None:
    """The leg recovered; of a weakness without any date nobody can say that."""
    weak = strength(TWO, LEFT, effectiveDateTime="2026-05")
    five = {"valueInteger": 5}
    normal = strength(five, LEFT, effectiveDateTime=ago(2))
    assert "IMG-MRI-DEF" not in answered_with(knowledge, operated(60), weak, normal).shown
    undated = strength(TWO, LEFT)
    assert "IMG-MRI-DEF" in answered_with(knowledge, operated(60), undated, normal).shown


@pytest.mark.parametrize("day", ["undated", "month"])
def test_coded_weakness_without_a_day_is_no_emergency(knowledge: Knowledge, day: str) -> None:
    """A foot drop on the problem list since "2026-06" has no onset to count from."""
    dated = {"onsetDateTime": "2026-06"} if day == "month" else {}
    drop = {"resourceType": "Condition", "code": FOOT_DROP, **dated}
    answered = answered_with(knowledge, operated(20), drop)
    assert [card for card in answered.shown if card.startswith(("RF", "IMG"))] == ["IMG-MRI-DEF"]


def test_only_event_of_a_timing_is_the_moment(knowledge: Knowledge) -> None:
    """An examination timed as an event is as dated as any other."""
    timing = {"effectiveTiming": {"event": [f"{ago(1)}T10:00:00Z"]}}
    answered = answered_with(knowledge, operated(10), strength(TWO, LEFT, **timing))
    assert answered.shown["RF-MOTOR"].indicator is Indicator.CRITICAL
    saddle = observed(
        coded(LOCAL, "saddle-sensation"), valueCodeableConcept=coded(LOCAL, "absent"), **timing
    )
    answered = answered_with(knowledge, operated(10), saddle)
    assert answered.shown["RF-CES"].indicator is Indicator.CRITICAL


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        ({"valueString": "2-"}, 2),
        ({"valueString": "2+/5"}, 2),
        ({"valueString": "3/5-"}, 3),
        ({"valueString": "MRC 3"}, 3),
        ({"valueString": "3 \N{EN DASH}"}, 3),
        ({"valueString": "1\N{MINUS SIGN}"}, 1),
        ({"valueCodeableConcept": {"text": "2-"}}, 2),
        ({"valueCodeableConcept": {**coded("https://hospital.example", "m2"), "text": "2/5"}}, 2),
    ],
)
def test_grade_written_with_a_sign_is_the_number_before_it(
    knowledge: Knowledge, value: Resource, grade: int
) -> None:
    """Our thresholds are whole numbers: 2- is a 2."""
    weak = strength(value, LEFT, effectiveDateTime=ago(1))
    answered = answered_with(knowledge, operated(10), weak)
    assert answered.shown["RF-MOTOR"].words["grade"] == grade


def test_almost_normal_strength_is_no_deficit(knowledge: Knowledge) -> None:
    """4- is a 4, a warning; 5- is a 5."""
    four = strength({"valueString": "4-"}, LEFT, effectiveDateTime=ago(1))
    assert "IMG-MRI-DEF" in answered_with(knowledge, operated(10), four).shown
    five = strength({"valueString": "5-"}, LEFT, effectiveDateTime=ago(1))
    assert list(answered_with(knowledge, operated(10), five).shown) == []


UNREADABLE = [
    {"valueString": "2-3"},
    {"valueString": "weak"},
    {"valueString": "3/10"},
    {"valueQuantity": {"value": 9}},
    {"valueQuantity": {"value": 3, "unit": "kg"}},
    {"valueCodeableConcept": coded("https://hospital.example", "m2")},
    {},
]


@pytest.mark.parametrize("value", UNREADABLE)
def test_grade_nobody_can_read_is_said(knowledge: Knowledge, value: Resource) -> None:
    """The service is not silent, and no card says that nothing was found."""
    unread = strength(value, LEFT, effectiveDateTime=ago(1))
    answered = answered_with(knowledge, operated(10), unread)
    assert list(answered.shown) == ["DATA-READ"]
    rows = {finding.card: finding.verdict for finding in answered.assessment.findings}
    assert rows["RF-MOTOR"] is Verdict.CANNOT_TELL
    painful = operated(120, leg={-14: 8, 115: 8})
    limits = limits_of(answered_with(knowledge, painful, unread), "IMG-MRI-NR")
    assert NOT_FOUND not in limits
    assert f"Leg strength: {ASK}" in limits
    said = "Bladder, saddle sensation not found in coded data, as far as it could be read - ask"
    assert said in limits


def test_examination_that_was_not_done_is_no_gap(knowledge: Knowledge) -> None:
    """A grade that the chart itself calls missing hides nothing."""
    absent = strength({"dataAbsentReason": {"text": "not performed"}}, LEFT)
    assert list(answered_with(knowledge, operated(10), absent).shown) == []


@pytest.mark.parametrize(
    "fields",
    [{"status": "preliminary", "effectiveDateTime": ago(1)}, {"effectiveDateTime": "2026-07-01"}],
)
def test_finding_that_was_set_aside_is_not_called_missing(
    knowledge: Knowledge, fields: Resource
) -> None:
    """A preliminary grade is not used, but it is there."""
    painful = operated(120, leg={-14: 8, 115: 8})
    answered = answered_with(knowledge, painful, strength(TWO, LEFT, **fields))
    assert f"Leg strength: {ASK}" in limits_of(answered, "IMG-MRI-NR")


def test_card_resting_on_an_undated_sign_does_not_call_it_missing(knowledge: Knowledge) -> None:
    """Retention without a date is found in coded data, and so is altered saddle sensation."""
    facts = operated(10, findings={"urinary retention": "undated"})
    saddle = observed(coded(LOCAL, "saddle-sensation"), valueCodeableConcept=coded(LOCAL, "absent"))
    answered = answered_with(knowledge, facts, saddle)
    assert "Leg strength not found in coded data" in limits_of(answered, "RF-CES")


@pytest.mark.parametrize("answer", [{"valueBoolean": True}, {}, {"valueString": "yes"}])
def test_foot_drop_sent_as_an_observation_is_an_emergency(
    knowledge: Knowledge, answer: Resource
) -> None:
    """A finding is a finding, in the problem list or in the examination."""
    site = coded(SNOMED, LEFT)
    drop = observed(FOOT_DROP, effectiveDateTime=ago(1), bodySite=site, **answer)
    answered = answered_with(knowledge, operated(10), drop)
    finding = answered.shown["RF-MOTOR"]
    assert (finding.indicator, finding.words["grade"]) == (Indicator.CRITICAL, 3)
    assert "leg, left" in str(answered.card("RF-MOTOR")["detail"]).lower()
    assert "grade-estimated" in {note.key for note in finding.notes}


def test_paraplegia_sent_as_an_observation_is_weakness_of_both_legs(knowledge: Knowledge) -> None:
    """Both legs since yesterday: cauda equina."""
    both = observed(PARAPLEGIA, effectiveDateTime=ago(1))
    answered = answered_with(knowledge, operated(10), both)
    assert answered.shown["RF-CES"].indicator is Indicator.CRITICAL
    undated = answered_with(knowledge, operated(10), observed(PARAPLEGIA))
    assert "RF-CES" not in undated.shown
    assert "IMG-MRI-DEF" in undated.shown


@pytest.mark.parametrize(
    ("later", "cards"),
    [
        ({"effectiveDateTime": ago(1), "bodySite": coded(SNOMED, LEFT)}, []),
        ({"effectiveDateTime": ago(1)}, []),
        ({"effectiveDateTime": ago(1), "bodySite": coded(SNOMED, "51440002")}, []),
        ({"effectiveDateTime": ago(1), "bodySite": coded(SNOMED, LEFT, RIGHT)}, []),
        ({"effectiveDateTime": ago(1), "bodySite": coded(SNOMED, "61685007")}, []),
        ({"effectiveDateTime": ago(2), "bodySite": coded(SNOMED, LEFT)}, ["RF-MOTOR"]),
        ({"effectiveDateTime": ago(1), "bodySite": coded(SNOMED, RIGHT)}, ["RF-MOTOR"]),
        ({}, ["RF-MOTOR"]),
    ],
)
def test_later_no_ends_an_observed_foot_drop(
    knowledge: Knowledge, later: Resource, cards: list[str]
) -> None:
    """Only a later answer about the same leg says that it is over."""
    drop = observed(
        FOOT_DROP, effectiveDateTime=ago(2), bodySite=coded(SNOMED, LEFT), valueBoolean=True
    )
    over = observed(FOOT_DROP, valueBoolean=False, **later)
    assert list(answered_with(knowledge, operated(10), drop, over).shown) == cards


def test_foot_drop_that_is_denied_is_none(knowledge: Knowledge) -> None:
    """Asked and answered: no."""
    denied = observed(FOOT_DROP, effectiveDateTime=ago(1), valueBoolean=False)
    assert list(answered_with(knowledge, operated(10), denied).shown) == []


@pytest.mark.parametrize(
    "site",
    [
        coded(SNOMED, "53120007", LEFT),
        {**coded(SNOMED, LEFT), "text": "left forearm"},
        {"text": "Right upper extremity"},
        {**coded("https://hospital.example", "9"), "text": "hand"},
        coded(SNOMED, "122494005"),
    ],
)
def test_strength_of_an_arm_is_no_leg_weakness(knowledge: Knowledge, site: Resource) -> None:
    """A weak hand after a back operation is another question."""
    arm = strength(TWO, muscle=None, bodySite=site, effectiveDateTime=ago(1))
    answered = answered_with(knowledge, operated(10), arm)
    assert list(answered.shown) == []
    painful = operated(120, leg={-14: 8, 115: 8})
    answered = answered_with(knowledge, painful, arm)
    assert "leg strength not found in coded data" in limits_of(answered, "IMG-MRI-NR")
    assert "another part of the body than a leg" in str(answered.card("IMG-MRI-NR")["detail"])


@pytest.mark.parametrize(
    ("site", "muscle"),
    [
        (None, None),
        (coded(SNOMED, LEFT), None),
        (coded(SNOMED, "61685007"), None),
        ({"text": "left foot"}, None),
        (coded("https://hospital.example", "9"), None),
        ({"text": "leg (compared with arm)"}, None),
        (coded(SNOMED, "53120007"), "ehl"),
    ],
)
def test_strength_that_may_be_of_a_leg_counts(
    knowledge: Knowledge, site: Resource | None, muscle: str | None
) -> None:
    """Only what is clearly no leg is set aside; a muscle of the leg outweighs a wrong site."""
    where = {"bodySite": site} if site else {}
    weak = strength(TWO, muscle=muscle, effectiveDateTime=ago(1), **where)
    assert list(answered_with(knowledge, operated(10), weak).shown) == ["RF-MOTOR"]


@pytest.mark.parametrize("done", [[100, 111], [100]])
def test_weakness_of_both_legs_waits_for_the_emg_on_both_sides(
    knowledge: Knowledge, done: list[int]
) -> None:
    """One card asks for the EMG of the first side; the other side is not called permanent."""
    weak = [
        strength({"valueInteger": 4}, side, effectiveDateTime=ago(days))
        for side in (LEFT, RIGHT)
        for days in (330, 20)
    ]
    facts = {"day": 420, "operation": "discectomy", "done": {"MRI": [100], "EMG": done}}
    is_answered = 111 in done
    shown = answered_with(knowledge, facts, *weak).shown
    assert ("EMG-MOTOR" in shown) is not is_answered
    assert ("NEURO-PERM" in shown) is is_answered


@pytest.mark.parametrize(
    ("words", "is_answered"),
    [("EMG both upper limbs", False), ("EMG pelvic floor", False), ("EMG left leg", True)],
)
def test_emg_of_an_arm_answers_no_question_of_a_leg(
    knowledge: Knowledge,
    words: str,
    is_answered: bool,  # noqa: FBT001 - a case
) -> None:
    """The foot drop of a patient with a carpal tunnel still needs its own."""
    weak = strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(60))
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {**coded(SNOMED, "42803009"), "text": words},
        "effectiveDateTime": ago(20),
    }
    shown = answered_with(knowledge, operated(100), weak, report).shown
    assert ("EMG-MOTOR" in shown) is not is_answered
