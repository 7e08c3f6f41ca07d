"""What a card says of this patient is so: which day, which score, seen by whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.knowledge.model import SYSTEM_URIS, Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD, LOINC, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import (
    LEFT,
    RIGHT,
    answered_with,
    coded,
    device,
    observed,
    strength,
)


def ago(days: int) -> str:
    """Return the day *days* before today."""
    return (AS_OF - timedelta(days=days)).isoformat()


def test_severe_pain_is_told_with_the_day_it_was_scored(knowledge: Knowledge) -> None:
    """The latest score of a haematoma card may be days old."""
    facts = {
        "day": 7,
        "operation": "discectomy",
        "back": {1: 9},
        "findings": {"urinary retention": 2},
    }
    detail = answered_with(knowledge, facts).card("RF-EDH")["detail"]
    assert "Pain 9/10 on day 1 (" in detail


def test_early_severe_leg_pain_is_told_with_the_day_it_was_scored(knowledge: Knowledge) -> None:
    """Today is day 85, the score is of day 45."""
    facts = {"day": 85, "operation": "discectomy", "leg": {-5: 4, 45: 9}}
    detail = answered_with(knowledge, facts).card("SURG-REV")["detail"]
    assert "on day 45, higher than before the operation" in detail


def test_missing_score_from_before_surgery_is_that_of_the_pain_that_leads(
    knowledge: Knowledge,
) -> None:
    """A leg score from before the operation stands two lines above."""
    facts = {
        "day": 120,
        "operation": "discectomy",
        "leg": {-20: 8, 110: 1},
        "back": {60: 6, 110: 7},
    }
    detail = answered_with(knowledge, facts).card("PT-REF")["detail"]
    assert "8 on " in detail
    assert "Back pain: no pre-operative score on record (at most 90 days before surgery)." in detail


def test_weakness_from_a_code_was_not_examined(knowledge: Knowledge) -> None:
    """A diagnosis has no grade and is no examination, today or long ago."""
    drop = {"resourceType": "Condition", "code": coded(SNOMED, "6077001")}
    facts = {"day": 300, "operation": "discectomy", "leg": {-14: 8, 295: 7}}
    for days, said in ((30, "from a code recorded {day}, not graded"), (200, "recorded {day}")):
        chart = answered_with(knowledge, facts, {**drop, "onsetDateTime": ago(days)})
        detail = next(iter(chart.cards().values()))["detail"]
        assert said.format(day=ago(days)) in detail
        assert "last exam" not in detail


def _old(sensory: str, *more: Any) -> list[Any]:  # noqa: ANN401 - resources
    numb = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "309537005"),
        "onsetDateTime": sensory,
    }
    weak = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (400, 20)]
    return [numb, *weak, *more]


def test_numbness_nobody_confirmed_is_not_called_present(knowledge: Knowledge) -> None:
    """The weakness was graded again after a year; the numbness was only never taken off."""
    facts = {"day": 420, "operation": "discectomy", "done": {"MRI": [100], "EMG": [100]}}
    card = answered_with(knowledge, facts, *_old(ago(400))).card("NEURO-PERM")
    assert card["summary"].startswith("Big toe extensor weakness (left) present 420 days")


def test_sudden_rise_is_told_with_both_scores(knowledge: Knowledge) -> None:
    """Also the score of the day of surgery, which no list of scores shows."""
    facts = {"day": 1, "operation": "discectomy", "back": {0: 4, 1: 8}}
    clotting = {
        "resourceType": "Condition",
        "code": coded(ICD, "D68.9"),
        "onsetDateTime": ago(400),
    }
    detail = answered_with(knowledge, facts, clotting).card("RF-EDH")["detail"]
    assert "Pain rose from 4 to 8 (back)." in detail


def test_longest_weakness_emergency_is_read_at_a_glance(knowledge: Knowledge) -> None:
    """Before any list: a code for the grade, none from before, and an implant that is unsafe."""
    drop = {
        "resourceType": "Condition",
        "code": coded(ICD, "M21.371"),
        "onsetDateTime": ago(0),
    }
    implant = device(type=coded(SNOMED, "72506001"), safety=[{"text": "MR Unsafe"}])
    facts = {"day": 120, "operation": "discectomy"}
    detail = answered_with(knowledge, facts, drop, implant).card("RF-MOTOR")["detail"]
    assert "MR status unsafe" in detail
    assert len(detail.split("**In the chart**")[0].strip()) <= 600


def test_rise_long_before_the_return_is_not_called_an_abrupt_return(knowledge: Knowledge) -> None:
    """The pain jumped once in the first weeks, settled, and came back slowly."""
    leg = {-20: 8, 14: 0, 60: 5, 180: 3, 300: 3, 390: 5, 440: 6}
    facts = {"day": 450, "operation": "discectomy", "leg": leg}
    detail = answered_with(knowledge, facts).card("IMG-MRI-RTR")["detail"]
    assert "the return was abrupt" not in detail
    assert "a steep rise from one score to the next" in detail


def test_blood_test_just_done_is_shown_where_none_is_proposed(knowledge: Knowledge) -> None:
    """The card asks to consider a CRP; that of yesterday stands in it, whatever it says."""
    facts = {"day": 20, "operation": "discectomy", "temperature": {20: 38.5}, "CRP": {19: 4}}
    card = answered_with(knowledge, facts).card("RF-INF-W")
    assert "suggestions" not in card
    assert f": 4 mg/L ({ago(1)}" in card["detail"]


def test_entries_that_differ_in_level_are_told_apart(knowledge: Knowledge) -> None:
    """Which one is the operation and which the reason for it."""
    facts = {
        "day": 120,
        "operation": "discectomy",
        "operated": {"level": "L4-L5"},
        "indication": {"level": "L5-S1"},
        "leg": {-14: 8, 115: 7},
    }
    detail = answered_with(knowledge, facts).card("CK-LEVEL")["detail"]
    assert f"Level and side of the operation ({ago(120)})" in detail
    assert f"Level and side of the indication ({ago(150)})" in detail


def test_weakness_that_fell_once_has_not_fallen_again(knowledge: Knowledge) -> None:
    """Full strength after the operation, and a foot drop four weeks later."""
    weak = [
        strength({"valueInteger": grade}, LEFT, effectiveDateTime=ago(days))
        for grade, days in ((5, 30), (2, 2))
    ]
    card = answered_with(knowledge, {"day": 40, "operation": "discectomy"}, *weak).card("RF-MOTOR")
    assert f"The grade fell between examinations after surgery, last by {ago(2)}." in card["detail"]


def test_every_other_cause_is_named(knowledge: Knowledge) -> None:
    """Two are on record, one of them as an Observation: neither is passed over."""
    tumour = {
        "resourceType": "Condition",
        "code": coded(ICD, "C79.49"),
        "onsetDateTime": ago(40),
    }
    fracture = observed(coded(SNOMED, "426646004"), valueBoolean=True, effectiveDateTime=ago(10))
    facts = {"day": 120, "operation": "decompression"}
    card = answered_with(knowledge, facts, tumour, fracture).card("RF-OTHER")
    assert card["summary"].startswith("Spinal tumour, vertebral fracture on record")
    assert "On record: spinal tumour, vertebral fracture." in card["detail"]
    assert "problem list" not in card["detail"]


def test_crp_of_today_is_not_asked_for_again(knowledge: Knowledge) -> None:
    """It is the very sign the card rests on."""
    facts = {"day": 20, "operation": "discectomy", "CRP": {3: 40, 20: 30}}
    detail = answered_with(knowledge, facts).card("RF-INF-W")["detail"]
    assert "consider CRP" not in detail
    assert "check CRP, ESR and blood count, and whether they fall" in detail


def test_old_infection_is_not_closed_by_the_normal_crp_on_record(knowledge: Knowledge) -> None:
    """The card stays until the problem list says that it has cleared."""
    facts = {"day": 300, "operation": "discectomy", "CRP": {299: 4}}
    facts |= {"findings": {"spinal infection": 100}}
    detail = answered_with(knowledge, facts).card("RF-INF-W")["detail"]
    assert "A normal or falling CRP" not in detail
    assert "A problem list on which the infection is closed" in detail


def test_two_points_less_are_no_improvement_of_eight(knowledge: Knowledge) -> None:
    """A quarter less did not change the card; it says what does, also for disability."""
    facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 6}}
    detail = answered_with(knowledge, facts).card("IMG-MRI-NR")["detail"]
    assert "(at least 30 %, and at least 2 points; ODI at least 10 points)" in detail


def test_undated_weakness_is_not_called_new_since_the_operation(knowledge: Knowledge) -> None:
    """Nobody wrote when it began."""
    drop = {"resourceType": "Condition", "code": coded(ICD, "M21.372")}
    cards = answered_with(knowledge, {"day": 60, "operation": "discectomy"}, drop).cards()
    assert "new since" not in cards["IMG-MRI-DEF"]["detail"]
    assert cards["IMG-MRI-DEF"]["summary"].startswith("Weakness (leg, left) without")
    assert "the exact date is not recorded" in cards["SURG-REV"]["detail"]
    assert cards["SURG-REV"]["summary"].endswith(": weakness on record without a date.")


def test_weakness_of_three_years_is_not_told_as_one_of_today(knowledge: Knowledge) -> None:
    """It is new since surgery; the card beside it says that it is likely permanent."""
    weak = {"side": "left", "muscle": "big toe extensor", "grade": 4}
    facts = {
        "day": 1080,
        "operation": "discectomy",
        "strength": [{"day": 10, **weak}, {"day": 1080, **weak}],
        "done": {"MRI": 12},
    }
    cards = answered_with(knowledge, facts).cards()
    assert "NEURO-PERM" in cards
    assert cards["SURG-REV"]["summary"].endswith(": weakness that is new since surgery.")


def test_surgeon_card_says_which_weakness_and_which_lesion(knowledge: Knowledge) -> None:
    """A reason without muscle, side, date or diagnosis tells the surgeon nothing."""
    weak = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (50, 5)]
    slip = {"resourceType": "Condition", "code": coded(ICD, "M43.16"), "onsetDateTime": ago(30)}
    facts = {"day": 60, "operation": "discectomy"}
    card = answered_with(knowledge, facts, *weak, slip).card("SURG-REV")
    said = f"Weakness of big toe extensor (left) since {ago(50)}."
    assert said in card["detail"]
    assert said in card["suggestions"][0]["actions"][0]["resource"]["note"][0]["text"]
    assert f"Lumbar instability ({ago(30)})" in card["detail"]


def test_surgeon_reads_in_the_referral_which_levels_differ(knowledge: Knowledge) -> None:
    """The referral said only "recorded level or side differs"; the levels stood on another card."""
    facts = {
        "day": 50,
        "operation": "discectomy",
        "operated": {"level": "L5-S1", "side": "left"},
        "indication": {"level": "L4-L5", "side": "right"},
        "leg": {-9: 7, 45: 7},
    }
    said = "The operation is recorded as L5-S1, left, its indication as L4-L5, right."
    card = answered_with(knowledge, facts).card("SURG-REV")
    assert said in card["detail"]
    [note] = _notes(card)
    assert said in note
    same = {**facts, "operated": facts["indication"], "done": {"MRI": [45]}}
    assert "SURG-REV" not in answered_with(knowledge, same).cards()


def test_order_that_two_cards_offer_is_asked_for_once(knowledge: Knowledge) -> None:
    """The second card says so; the first and cards with other orders do not."""
    fracture = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "426646004"),
        "onsetDateTime": ago(10),
    }
    facts = {"day": 120, "operation": "decompression", "leg": {-14: 8, 115: 7}}
    cards = answered_with(knowledge, facts, fracture).cards()
    said = '**Also on the card "Another spinal condition on record":** MRI lumbar spine without and'
    assert [card for card, shown in cards.items() if "Also on the card" in shown["detail"]] == [
        "IMG-MRI-NR"
    ]
    assert said in cards["IMG-MRI-NR"]["detail"]


def _notes(card: Any) -> list[str]:  # noqa: ANN401 - a card as JSON
    return [
        action["resource"]["note"][0]["text"]
        for suggestion in card["suggestions"]
        for action in suggestion["actions"]
    ]


def test_order_that_has_another_name_on_an_earlier_card_is_told_by_that_name(
    knowledge: Knowledge,
) -> None:
    """The card on stimulation has no button called "Pain specialist evaluation"."""
    facts = {
        "day": 200,
        "operation": "discectomy",
        "leg": {-14: 7, 10: 6, 60: 6, 120: 6, 195: 6},
        "questionnaires": {"DN4": {190: 4}},
        "done": {"physiotherapy": 60, "MRI": 60},
        "drugs": [{"drug": "gabapentinoid", "from": 40}, {"drug": "NSAID", "from": 40}],
    }
    cards = answered_with(knowledge, facts).cards()
    there = cards["SCS-EVAL"]["suggestions"][0]["label"]
    said = f'Also on the card "Evaluation for spinal cord stimulation", there as:** {there}.'
    assert said in cards["PAIN-REF"]["detail"]
    assert "Order one of the two." in cards["PAIN-REF"]["detail"]


def test_a_drug_renewed_every_month_is_one_line(knowledge: Knowledge) -> None:
    """Old prescriptions stay active in many systems: 40 lines stood on the card of an opioid."""
    facts = {
        "day": 700,
        "operation": "discectomy",
        "leg": {-14: 8, 695: 7},
        "drugs": [
            *[{"drug": "opioid", "from": day, "MME a day": 60} for day in range(100, 700, 30)],
            {"drug": "benzodiazepine", "from": 600},
            {"drug": "benzodiazepine", "from": 650},
        ],
    }
    lines = answered_with(knowledge, facts).card("OPIOID-W")["detail"].splitlines()
    assert [line for line in lines if line.startswith("- Opioid (")] == [
        f"- Opioid ({ago(30)}, {ago(60)}, {ago(90)} and 17 more)"
    ]
    for day in (600, 650):
        assert f"- Benzodiazepine ({ago(700 - day)})" in lines


def test_order_for_a_weakness_of_unknown_day_does_not_call_it_new(knowledge: Knowledge) -> None:
    """The card does not; the radiologist read "new weakness" in the order."""
    drop = {"resourceType": "Condition", "code": coded(ICD, "M21.372")}
    facts = {"day": 60, "operation": "discectomy", "leg": {-7: 8, 50: 2}}
    card = answered_with(knowledge, facts, drop).card("IMG-MRI-DEF")
    for note in _notes(card):
        assert "new" not in note
        assert "behind weakness of leg (left)? The exact date is not recorded." in note


@pytest.mark.parametrize(
    ("back", "card"),
    [
        ({-14: 7, 95: 7}, "IMG-MRI-NR"),
        ({-14: 5, 95: 8}, "IMG-MRI-NR"),
        ({60: 7, 95: 7}, "IMG-MRI-NR"),
        ({-14: 7, 20: 2, 95: 7}, "IMG-MRI-RTR"),
    ],
)
def test_blood_tests_beside_an_mri_ask_for_an_infection(
    knowledge: Knowledge, back: dict[int, int], card: str
) -> None:
    """The laboratory read "Question: remaining or new compression?" on the order of a CRP."""
    facts = {"day": 100, "operation": "decompression", "back": back}
    notes = _notes(answered_with(knowledge, facts).card(card))
    assert len(notes) == 5
    assert all("infection? " in note for note in notes)


def test_mri_without_blood_tests_does_not_ask_for_an_infection(knowledge: Knowledge) -> None:
    """Leg pain alone."""
    facts = {"day": 100, "operation": "decompression", "leg": {-14: 7, 95: 7}}
    notes = _notes(answered_with(knowledge, facts).card("IMG-MRI-NR"))
    assert not [note for note in notes if "infection" in note]


def test_late_incontinence_is_not_answered_with_early_retention_alone(
    knowledge: Knowledge,
) -> None:
    """What is common in the first days after surgery does not explain incontinence on day 100."""
    facts = {"day": 100, "operation": "discectomy", "findings": {"urinary incontinence": 95}}
    detail = answered_with(knowledge, facts).card("RF-POUR")["detail"]
    assert "any bladder sign can be the first of cauda equina compression" in detail


def test_warning_is_not_called_an_emergency_by_what_it_held_back(knowledge: Knowledge) -> None:
    """One card said that it is not shown as an emergency, and that an emergency is shown."""
    undated = {"resourceType": "Condition", "code": coded(ICD, "R33.9")}
    facts = {"day": 4, "operation": "discectomy", "back": {3: 9}}
    detail = answered_with(knowledge, facts, undated).card("RF-CES")["detail"]
    assert "not shown as an emergency" in detail
    assert "Not shown - Possible epidural haematoma: a card on cauda equina" in detail
    assert "emergency is already shown" not in detail


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({-9: 7, 100: 2, 180: 6}, "Returned back pain after decompression: "),
        ({-9: 7, 100: 7, 180: 6}, "Persistent back pain after decompression: "),
        ({-9: 4, 100: 7, 180: 8}, "Persistent back pain after decompression: "),
    ],
)
def test_back_pain_that_returned_is_not_called_persistent(
    knowledge: Knowledge, scores: dict[int, int], words: str
) -> None:
    """It was low for months and is back since twenty days."""
    facts = {"day": 200, "operation": "decompression", "back": scores}
    card = answered_with(knowledge, facts).card("XR-DYN")
    assert card["summary"].startswith(words)
    assert all(note.startswith(words) for note in _notes(card))


def test_a_weak_muscle_alone_has_no_numb_skin_to_protect(knowledge: Knowledge) -> None:
    """Advice about numbness stood on the card of a weakness."""
    weak = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (400, 20)]
    facts = {"day": 420, "operation": "discectomy", "done": {"MRI": [100], "EMG": [100]}}
    detail = answered_with(knowledge, facts, *weak).card("NEURO-PERM")["detail"]
    assert "numb skin" not in detail
    assert "fit aids where they help" in detail


def test_one_entry_that_is_not_used_is_one(knowledge: Knowledge) -> None:
    """Of several it said "Entries not used (4): it is dated in the future"."""
    facts = {"day": 100, "operation": "discectomy", "leg": {-14: 8, 95: 7}}
    tomorrow = strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(-1))
    for entries, said in (
        ([tomorrow], "One entry not used, because it is dated in the future."),
        ([tomorrow] * 2, "Entries not used (2), each because it is dated in the future."),
    ):
        chart = answered_with(
            knowledge, facts, *[{**e, "id": f"e{n}"} for n, e in enumerate(entries)]
        )
        assert said in chart.card("IMG-MRI-NR")["detail"]


def test_retention_before_the_last_possible_day_is_not_called_not_found(
    knowledge: Knowledge,
) -> None:
    """The operation is dated to this month only; the retention is of yesterday."""
    retention = {"resourceType": "Condition", "code": coded(ICD, "R33.9"), "onsetDateTime": ago(1)}
    facts = {"day": 1, "operation": "discectomy", "operation date": "month"}
    detail = answered_with(knowledge, facts, retention).card("RF-CES")["detail"]
    assert "Bladder" not in detail


def test_scan_from_before_the_return_is_not_what_would_change_the_card(
    knowledge: Knowledge,
) -> None:
    """CT and x-ray are late enough, but the pain came back after them."""
    facts = {
        "day": 600,
        "operation": "fusion",
        "back": {-14: 8, 300: 2, 550: 7, 590: 7},
        "done": {"CT": [400], "x-ray": [400], "MRI": [560]},
    }
    cards = answered_with(knowledge, facts).cards()
    assert "one since then, if it returned" in cards["CT-FUSION"]["detail"]
    assert "taken since then, if it returned" in cards["XR-DYN"]["detail"]


def test_emergency_with_an_order_of_another_one_is_read_at_a_glance(knowledge: Knowledge) -> None:
    """Cauda equina syndrome and an infection in one answer, and weak kidneys."""
    facts = {
        "day": 45,
        "operation": "discectomy",
        "back": {-14: 5, 30: 3, 45: 8},
        "temperature": {45: 38.5},
        "CRP": {44: 80},
        "eGFR": {40: 22},
        "findings": {"wound breakdown": 40, "cauda equina syndrome": 45},
    }
    detail = answered_with(knowledge, facts).card("RF-INF")["detail"]
    opening, rest = detail.split("**In the chart**")
    assert len(opening.strip()) <= 600
    assert 'Also on the card "Possible cauda equina syndrome"' in rest


def test_old_weakness_of_a_leg_is_named_in_words(knowledge: Knowledge) -> None:
    """Beside new weakness of the other leg it supports the card; "ehl" is a word of programs."""
    old = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (300, 190)]
    new = strength({"valueInteger": 4}, RIGHT, effectiveDateTime=ago(2))
    facts = {"day": 400, "operation": "discectomy"}
    detail = answered_with(knowledge, facts, *old, new).card("RF-CES")["detail"]
    assert "Ehl" not in detail
    assert f"Weakness: big toe extensor, left, grade 4/5 ({ago(300)})" in detail


@pytest.mark.parametrize(
    "value",
    [
        {"valueString": "<15"},
        {"valueQuantity": {"value": 15, "comparator": "<", "unit": "mL/min"}},
    ],
)
def test_weak_kidneys_told_as_a_limit_are_told_so(knowledge: Knowledge, value: Resource) -> None:
    """The filtration rate is below 15, not 15; the older one of 85 says nothing any more."""
    facts = {"day": 120, "operation": "discectomy", "leg": {-10: 8, 119: 8}, "eGFR": {-10: 85}}
    latest = observed(coded(LOINC, "98979-8"), effectiveDateTime=ago(3), **value)
    card = answered_with(knowledge, facts, latest).card("IMG-MRI-NR")
    assert f"eGFR &lt; 15 mL/min/1.73 m2 on {ago(3)}" in card["detail"]
    assert card["suggestions"][0]["label"] == "MRI lumbar spine without contrast"


def test_white_cells_are_shown_in_the_unit_people_write(knowledge: Knowledge) -> None:
    """The unit of the wire has a star, which cards must escape."""
    facts = {"day": 40, "operation": "discectomy", "white cells": {39: 15}}
    facts |= {"temperature": {40: 38.5}}
    detail = answered_with(knowledge, facts).card("RF-INF")["detail"]
    assert f"White cell count: 15 x10^9/L ({ago(1)}" in detail


def test_disability_that_returned_is_not_called_pain_that_was_low(knowledge: Knowledge) -> None:
    """Only the Oswestry index is on record."""
    facts = {"day": 120, "operation": "discectomy", "ODI": {-14: 60, 40: 10, 80: 50, 115: 50}}
    detail = answered_with(knowledge, facts).card("IMG-MRI-RTR")["detail"]
    assert "ODI 50 now. It was low on day 40 and had returned by day 80" in detail


def test_test_that_two_entries_record_is_named_once(knowledge: Knowledge) -> None:
    """A report and a procedure of one scan, both too early to answer."""
    report = {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": coded(LOINC, "24967-2"),
        "effectiveDateTime": ago(100),
    }
    facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
    detail = answered_with(knowledge, facts, report, report).card("IMG-MRI-NR")["detail"]
    assert detail.count(f"lumbar MRI {ago(100)} (counts from") == 1


def test_second_competing_diagnosis_is_counted(knowledge: Knowledge) -> None:
    """The headline names one; the longest pair still fits."""
    found = [
        {"resourceType": "Condition", "code": coded(ICD, code), "onsetDateTime": ago(days)}
        for code, days in (("E11.42", 900), ("M16.9", 800))
    ]
    facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
    summary = answered_with(knowledge, facts, *found).card("DX-RECHECK")["summary"]
    assert "(Type 2 diabetes mellitus with diabetic polyneuropathy and 1 more): was" in summary
    assert len(summary) < 140


def test_every_competing_diagnosis_is_named_beside_another(knowledge: Knowledge) -> None:
    """No name is so long that the headline gives way to the bare title."""
    facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
    for known in knowledge.value_sets["competing-diagnosis"].codes:
        found = [
            {"resourceType": "Condition", "code": coded(system, code), "onsetDateTime": ago(days)}
            for system, code, days in (
                (SYSTEM_URIS[known.system], known.code, 900),
                (SNOMED, "7674000", 800),
            )
        ]
        summary = answered_with(knowledge, facts, *found).card("DX-RECHECK")["summary"]
        assert summary.startswith("Competing diagnosis on record ("), known.code


def test_diagnosis_known_by_its_family_is_named(knowledge: Knowledge) -> None:
    """One hip or both: the value set lists the family, and the card says what it is."""
    hip = {"resourceType": "Condition", "code": coded(ICD, "M16.11"), "onsetDateTime": ago(800)}
    facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
    card = answered_with(knowledge, facts, hip).card("DX-RECHECK")
    assert "on record (Osteoarthritis of hip): was" in card["summary"]


def test_scan_that_calms_a_bladder_sign_has_to_be_read(knowledge: Knowledge) -> None:
    """Because of it the sign is no emergency, but the service cannot read its report."""
    facts = {"day": 60, "operation": "discectomy", "findings": {"urinary retention": 57}}
    scanned = {**facts, "done": {"MRI": [58]}}
    assert "RF-CES" in answered_with(knowledge, facts).shown
    detail = answered_with(knowledge, scanned).card("RF-POUR")["detail"]
    assert f"**An MRI of {ago(2)} is on record (done or ordered): read it now**" in detail
    early = {**facts, "day": 10, "findings": {"urinary retention": 1}}
    assert "read it now" not in answered_with(knowledge, early).card("RF-POUR")["detail"]


@pytest.mark.parametrize(("day", "is_read"), [(116, False), (117, True)])
def test_scan_from_before_a_bladder_sign_says_nothing_of_it(
    knowledge: Knowledge, day: int, *, is_read: bool
) -> None:
    """So long after the operation the sign is no emergency with or without a scan."""
    facts = {"day": 120, "operation": "discectomy", "findings": {"urinary retention": 117}}
    detail = answered_with(knowledge, {**facts, "done": {"MRI": [day]}}).card("RF-POUR")["detail"]
    assert ("read it now" in detail) is is_read


def test_mri_to_read_does_not_speak_against_the_mri_of_another_card(knowledge: Knowledge) -> None:
    """A fracture was scanned, then the bladder failed: one card says read, the other scan now."""
    facts = {
        "day": 60,
        "operation": "discectomy",
        "findings": {"vertebral fracture": 20, "cauda equina syndrome": 59},
        "done": {"MRI": [22]},
    }
    answered = answered_with(knowledge, facts)
    assert answered.shown["RF-CES"].proposals
    detail = answered.card("RF-OTHER")["detail"]
    assert f"**An MRI of {ago(38)} is on record (done or ordered): read it now**" in detail
    assert "this card proposes no other" in detail
    assert "instead of ordering" not in detail


@pytest.mark.parametrize(
    ("day", "said"), [(10, "(today)"), (9, "(1 day ago)"), (0, "(10 days ago)")]
)
def test_what_was_found_today_was_found_today(knowledge: Knowledge, day: int, said: str) -> None:
    """Nobody says that something began 0 days ago."""
    weak = [{"day": day, "side": "left", "muscle": "quadriceps", "grade": 2}]
    facts = {"day": 10, "operation": "discectomy", "strength": weak}
    detail = answered_with(knowledge, facts).card("RF-MOTOR")["detail"]
    assert f"new since day {day} after surgery {said}." in detail


def test_operation_of_today_was_today(knowledge: Knowledge) -> None:
    """A leak of spinal fluid is known in the evening of the operation."""
    facts = {"day": 0, "operation": "discectomy", "findings": {"dural tear": 0}}
    detail = answered_with(knowledge, facts).card("RF-CSF")["detail"]
    assert "the operation, which was today." in detail
    assert f"Operation {ago(0)} (today): " in detail
    assert "0 days ago" not in detail


def test_rise_of_one_site_does_not_explain_the_severe_pain_of_another(
    knowledge: Knowledge,
) -> None:
    """The back is at 9, the leg rose from 3 to 6: each rise is told with its site."""
    facts = {
        "day": 4,
        "operation": "decompression",
        "leg": {1: 3, 4: 6},
        "back": {2: 4, 3: 9, 4: 9},
        "drugs": [{"drug": "anticoagulant", "from": 1}],
    }
    detail = answered_with(knowledge, facts).card("RF-EDH")["detail"]
    assert "Pain rose from 3 to 6 (leg)." in detail
    assert "Pain rose from 4 to 9 (back)." in detail


def test_paralysed_patient_on_a_blood_thinner_is_not_told_that_nothing_needs_a_stop(
    knowledge: Knowledge,
) -> None:
    """Both legs are weak on day 3: an operation may follow within hours, no EMG is in sight."""
    weak = [
        strength({"valueInteger": 2}, side, muscle="quadriceps", effectiveDateTime=ago(0))
        for side in (LEFT, RIGHT)
    ]
    facts = {
        "day": 3,
        "operation": "decompression",
        "drugs": [{"drug": "anticoagulant", "from": 1}],
    }
    detail = answered_with(knowledge, facts, *weak).card("RF-CES")["detail"]
    assert "Anticoagulant on record" in detail
    assert "EMG" not in detail
    assert "routine stop" not in detail


def test_wrong_side_is_named_beside_the_wrong_level(knowledge: Knowledge) -> None:
    """Level and side both differ: a reader who sees only the levels misses the side."""
    facts = {
        "day": 120,
        "operation": "discectomy",
        "operated": {"level": "L5-S1", "side": "left"},
        "indication": {"level": "L4-L5", "side": "right"},
        "leg": {-14: 8, 115: 7},
    }
    card = answered_with(knowledge, facts).card("CK-LEVEL")
    assert "operation L5-S1, left and indication L4-L5, right differ" in card["summary"]
    assert "recorded as L5-S1, left, its indication as L4-L5, right" in card["detail"]


def test_weakness_is_told_with_the_grade_it_is_measured_against(knowledge: Knowledge) -> None:
    """A foot drop from before surgery had recovered in part: 3/5 alone looks like a gain."""
    grades = ((2, 420), (4, 310), (3, 10))
    weak = [
        strength({"valueInteger": grade}, LEFT, effectiveDateTime=ago(days))
        for grade, days in grades
    ]
    card = answered_with(knowledge, {"day": 400, "operation": "discectomy"}, *weak).card("RF-MOTOR")
    assert "grade 3/5 (reference grade 4/5), since " in card["detail"]


@pytest.mark.parametrize(
    ("card", "day", "said"),
    [
        ("CT-FUSION", 430, "Back pain 7/10 now, 430 days after fusion."),
        ("XR-DYN", 430, "Back pain 7/10 now, 430 days after surgery."),
        ("PAIN-REF", 430, "Back pain 7/10 now, 430 days after surgery;"),
        ("XR-DYN", 150, "Back pain 7/10 now, 150 days after fusion."),
    ],
)
def test_pain_that_came_back_is_not_said_to_persist_since_the_operation(
    card: str, day: int, said: str, knowledge: Knowledge
) -> None:
    """It was low for months and is back since last week."""
    facts = {
        "day": day,
        "operation": "fusion",
        "back": {-20: 8, 90: 2, day - 40: 2, day - 5: 7},
        "done": {"physiotherapy": [60, 90]},
        "drugs": [{"drug": "NSAID", "from": 40}],
    }
    detail = answered_with(knowledge, facts).card(card)["detail"]
    assert said in detail
    assert "persist" not in detail.split("**In the chart**")[0]


def test_leg_pain_that_came_back_is_not_said_to_persist(knowledge: Knowledge) -> None:
    """An MRI since then, numbness, and no EMG."""
    facts = {
        "day": 400,
        "operation": "discectomy",
        "leg": {-20: 8, 90: 2, 360: 6, 395: 6},
        "findings": {"numbness": 370},
        "done": {"MRI": 380},
    }
    detail = answered_with(knowledge, facts).card("EMG-RAD")["detail"]
    assert "Leg pain now, 400 days after surgery; an MRI is on record." in detail


def test_early_return_that_became_severe_later_was_not_severe_before(knowledge: Knowledge) -> None:
    """6 when it came back, 8 three weeks later: nothing is "still" severe."""
    facts = {"day": 25, "operation": "discectomy", "leg": {-8: 8, 1: 2, 5: 6, 12: 6, 25: 8}}
    detail = answered_with(knowledge, facts).card("SURG-REV")["detail"]
    assert "it had come back by day 5 and was severe at least 14 days after onset." in detail


def test_crp_that_speaks_for_a_cleared_infection_is_told(knowledge: Knowledge) -> None:
    """Ten days old, so that new blood tests are proposed; a reader wants to know it was normal."""
    facts = {"day": 260, "operation": "discectomy", "CRP": {50: 120, 250: 4}}
    facts |= {"findings": {"spinal infection": 50}}
    card = answered_with(knowledge, facts).card("RF-INF-W")
    assert card["suggestions"]
    assert f"The latest CRP on record is 4 mg/L ({ago(10)})." in card["detail"]


def test_card_that_hospice_care_hides_is_not_called_shown(knowledge: Knowledge) -> None:
    """A high dose of an opioid at the end of life: neither opioid card is part of the answer."""
    facts = {
        "day": 120,
        "operation": "decompression",
        "done": {"hospice admission": 100},
        "leg": {-20: 7, 110: 7},
        "findings": {"bone metastasis": 90},
        "drugs": [{"drug": "opioid", "from": 10, "MME a day": 120}],
    }
    cards = answered_with(knowledge, facts).cards()
    assert "OPIOID-W" not in cards
    assert "is shown" not in cards["RF-OTHER"]["detail"]


@pytest.mark.parametrize(
    ("day", "crp", "said"),
    [
        (60, {3: 150, 25: 90, 40: 30, 55: 14}, "150 on {57}, 90 on {35}, 30 on {20}"),
        (12, {4: 60, 8: 40, 12: 70}, "60 on {8}, 40 on {4}"),
    ],
)
def test_crp_of_an_emergency_is_told_with_those_before_it(
    knowledge: Knowledge, day: int, crp: dict[int, int], said: str
) -> None:
    """The reader sees whether it falls after treatment, or has risen for a second time."""
    facts = {"day": day, "operation": "fusion", "CRP": crp}
    facts |= {"findings": {"deep infection after surgery": 10}}
    detail = answered_with(knowledge, facts).card("RF-INF")["detail"]
    dates = {number: ago(number) for number in (57, 35, 20, 8, 4)}
    for number, on in dates.items():
        said = said.replace(f"{{{number}}}", on)
    assert f"; before: {said}" in detail


def test_crp_from_before_the_operation_is_no_part_of_its_course(knowledge: Knowledge) -> None:
    """It says nothing of an infection by the operation."""
    facts = {"day": 20, "operation": "discectomy", "CRP": {-3: 5, 20: 30}}
    detail = answered_with(knowledge, facts).card("RF-INF-W")["detail"]
    assert ": 30 mg/L (" in detail
    assert "; before: " not in detail


@pytest.mark.parametrize(
    ("code", "is_cardiac"), [("424921004", True), ("72506001", True), ("25937001", False)]
)
@pytest.mark.parametrize("safety", ["", "MR Unsafe"])
def test_a_stimulator_is_not_told_by_what_is_known_of_cardiac_devices(
    code: str,
    is_cardiac: bool,  # noqa: FBT001 - a case
    safety: str,
    knowledge: Knowledge,
) -> None:
    """A pacemaker and a defibrillator are cardiac; nobody scans a stimulator by their protocol."""
    implant = device(type=coded(SNOMED, code), **({"safety": [{"text": safety}]} if safety else {}))
    facts = {"day": 200, "operation": "discectomy", "leg": {-14: 8, 195: 7}}
    detail = answered_with(knowledge, facts, implant).card("IMG-ALT")["detail"]
    assert ("Many cardiac devices" in detail) is is_cardiac


def test_positive_tests_of_the_sacroiliac_joint_are_told_with_their_number(
    knowledge: Knowledge,
) -> None:
    """Nobody coded sacroiliac pain; the tests were done, so that a block is the next step."""
    facts = {"day": 200, "operation": "fusion", "back": {-14: 8, 195: 7}}
    facts |= {"questionnaires": {"sacroiliac tests": {190: 4}}}
    detail = answered_with(knowledge, facts).card("SIJ")["detail"]
    assert "Positive provocation tests: 4 (at least 3 tests)." in detail
    assert "Sacroiliac pain is coded" not in detail


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"leg": {-20: 7, 130: 7}}, "pain not relieved after MRI and physiotherapy"),
        ({"leg": {-20: 4, 130: 7}}, "pain worse, MRI and physiotherapy done"),
        ({"ODI": {-20: 40, 130: 42}}, "disability not relieved after MRI and physiotherapy"),
        ({"ODI": {-20: 30, 130: 52}}, "disability worse, MRI and physiotherapy done"),
        ({"ODI": {-20: 40, 60: 10, 105: 44, 130: 44}}, "disability returned after relief"),
    ],
)
def test_surgeon_is_asked_about_what_did_not_get_better(
    knowledge: Knowledge, scores: dict[str, dict[int, int]], reason: str
) -> None:
    """Pain or disability, unchanged or worse: without a pain score no pain is claimed."""
    facts = {"day": 140, "operation": "decompression", **scores}
    facts |= {"done": {"MRI": 110, "physiotherapy": [60, 130]}}
    card = answered_with(knowledge, facts).card("SURG-REV")
    assert card["summary"] == f"Consider spine surgeon review: {reason}."


def test_order_that_is_routine_on_the_card_above_is_told_to_be_urgent(
    knowledge: Knowledge,
) -> None:
    """Whoever takes the routine MRI of the fracture gets no second one for the weakness."""
    fracture = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "426646004"),
        "onsetDateTime": ago(10),
    }
    weak = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (20, 2)]
    facts = {"day": 30, "operation": "decompression"}
    cards = answered_with(knowledge, facts, fracture, *weak).cards()
    assert "Order it once, as proposed here: urgent." in cards["IMG-MRI-DEF"]["detail"]


def test_leg_pain_seen_by_a_ct_is_not_called_not_imaged(knowledge: Knowledge) -> None:
    """The implant forbids the MRI; a CT myelogram was done since the pain came back."""
    implant = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Unsafe"}])
    facts = {"day": 400, "operation": "discectomy", "leg": {-14: 8, 90: 2, 360: 7, 395: 7}}
    facts |= {"done": {"CT myelogram": 380}}
    detail = answered_with(knowledge, facts, implant).card("SURG-REV")["detail"]
    assert "not yet imaged" not in detail
    assert "Physiotherapy: severe returned leg pain without an MRI since" in detail


SACRAL = {
    "cauda equina syndrome": 12,
    "saddle numbness": 12,
    "weak anal sphincter": 12,
    "faecal incontinence": 12,
    "urinary retention": 12,
    "urinary incontinence": 0,
}


def test_sign_of_cauda_equina_compression_that_is_no_longer_recent_is_still_told(
    knowledge: Knowledge,
) -> None:
    """Nobody says that it has cleared, and the card advises to reassure."""
    facts = {"day": 27, "operation": "discectomy", "leg": {-3: 7, 10: 5, 26: 6}}
    facts |= {"findings": SACRAL, "residual urine": {12: 500}}
    detail = answered_with(knowledge, facts).card("EARLY-WATCH")["detail"]
    [line] = [line for line in detail.splitlines() if "Ask whether" in line]
    assert line.startswith("- **On record since the operation, not recent: ")
    for sign in ("cauda equina syndrome", "saddle sensation", "urinary retention", "500 mL"):
        assert sign in line
    assert line.count(ago(15)) == 6
    assert f"urinary incontinence ({ago(27)})" in line


def test_residual_volume_of_yesterday_is_not_called_old(knowledge: Knowledge) -> None:
    """It has a card of its own."""
    facts = {"day": 27, "operation": "discectomy", "residual urine": {26: 500}}
    cards = answered_with(knowledge, facts).cards()
    assert cards
    assert not any("not recent" in card["detail"] for card in cards.values())


def test_sign_of_cauda_equina_compression_that_has_cleared_is_not_told(
    knowledge: Knowledge,
) -> None:
    """Normal on a later examination, a small residual, or from before the operation."""
    facts = {"day": 40, "operation": "discectomy", "leg": {-3: 7, 10: 5, 39: 6}}
    facts |= {"findings": {"saddle numbness": 12, "urinary incontinence": -200}}
    facts |= {"normal findings": {"saddle numbness": 20}}
    for volumes in ({12: 500, 20: 40}, {-5: 500}):
        answered = answered_with(knowledge, {**facts, "residual urine": volumes})
        assert "Ask whether" not in answered.card("EARLY-WATCH")["detail"]


def test_sign_that_is_recent_is_told_by_its_own_card_only(knowledge: Knowledge) -> None:
    """It was recorded twice; the red flag names the later one."""
    facts = {"day": 40, "operation": "discectomy", "findings": {"urinary retention": [12, 38]}}
    detail = answered_with(knowledge, facts).card("RF-CES")["detail"]
    assert "Ask whether" not in detail
