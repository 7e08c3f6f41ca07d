"""Whoever gets an order reads the order, not the card."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.concepts import ICD, LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF, Answered
from tests.evaluation.whole_charts import (
    LEFT,
    RIGHT,
    answered_with,
    coded,
    device,
    observed,
    strength,
)

UNRELIEVED: dict[str, Any] = {"day": 120, "leg": {-14: 8, 115: 7}}
INTENSE = "a more intense and longer programme"


def ago(days: int) -> str:
    """Return the day *days* before today."""
    return (AS_OF - timedelta(days=days)).isoformat()


def order(answered: Answered, card: str) -> dict[str, Any]:
    """Return the first order of *card*."""
    request: dict[str, Any] = answered.card(card)["suggestions"][0]["actions"][0]["resource"]
    return request


def note(answered: Answered, card: str) -> str:
    """Return what the first order of *card* says."""
    return str(order(answered, card)["note"][0]["text"])


@pytest.mark.parametrize(("operation", "is_intense"), [("fusion", True), ("discectomy", False)])
def test_therapist_reads_which_operation_it_was(
    knowledge: Knowledge, operation: str, *, is_intense: bool
) -> None:
    """The kind of operation and its day, and whether the programme should be more intense."""
    said = note(answered_with(knowledge, {**UNRELIEVED, "operation": operation}), "PT-REF")
    assert "no recent therapy in this record. Operation" in said
    assert f"Operation {ago(120)}: {operation}. Active rehabilitation" in said
    assert (INTENSE in said) is is_intense


@pytest.mark.parametrize(("day", "therapy"), [(100, -20), (250, 5)])
def test_therapy_of_long_ago_is_no_therapy_of_the_first_days(
    knowledge: Knowledge, day: int, therapy: int
) -> None:
    """Before the operation, or in its first days more than half a year ago."""
    done = {"MRI": 60, "physiotherapy": therapy}
    facts = {"day": day, "operation": "discectomy", "leg": {-14: 8, day - 5: 6}, "done": done}
    said = note(answered_with(knowledge, facts), "PT-REF")
    assert "no recent therapy in this record" in said


@pytest.mark.parametrize("others", [{}, {30: True}, {40: True}])
def test_therapist_reads_that_the_surgeon_said_no(
    knowledge: Knowledge, others: dict[int, bool]
) -> None:
    """Plain words, without the marks of the card; a yes of the same day is not believed."""
    code = coded(LOCAL, "surgeon-clearance-pt")
    said_on = [(30, False), *others.items()]
    answers = [
        observed(code, valueBoolean=value, effectiveDateTime=ago(days)) for days, value in said_on
    ]
    answered = answered_with(knowledge, {**UNRELIEVED, "operation": "discectomy"}, *answers)
    said = note(answered, "PT-REF")
    assert f"The surgeon did not allow physiotherapy on {ago(30)}: ask before referring." in said
    assert "*" not in said


def test_emg_laboratory_reads_what_is_numb_and_since_when(knowledge: Knowledge) -> None:
    """Side, finding and date of the question, as for a weakness."""
    numb = {
        "resourceType": "Condition",
        "code": coded(ICD, "R20.1"),
        "bodySite": [coded(SNOMED, "56459004"), coded(SNOMED, RIGHT)],
        "onsetDateTime": ago(100),
    }
    facts = {**UNRELIEVED, "operation": "discectomy", "done": {"MRI": [60]}}
    answered = answered_with(knowledge, facts, numb)
    request = order(answered, "EMG-RAD")
    assert [site["coding"][0]["code"] for site in request["bodySite"]] == ["61685007", RIGHT]
    assert f"Leg numbness on record since {ago(100)}." in request["note"][0]["text"]
    assert "Also on record: leg numbness" in answered.card("EMG-RAD")["detail"]
    assert "occurrenceDateTime" not in request


def test_emg_laboratory_reads_which_weakness_and_that_it_may_begin_today(
    knowledge: Knowledge,
) -> None:
    """The coded weakness itself is the reason; 21 days of waiting are over by now."""
    drop = {"what": "foot drop", "day": 30, "side": "left"}
    facts = {"day": 51, "operation": "discectomy", "coded weakness": [drop]}
    answered = answered_with(knowledge, facts)
    request = order(answered, "EMG-MOTOR")
    assert request["occurrenceDateTime"] == AS_OF.isoformat()
    [rests_on] = [entry.reference for entry in answered.shown["EMG-MOTOR"].evidence]
    assert request["reasonReference"] == [{"reference": rests_on}]


def test_surgeon_reads_the_question_of_the_foramen(knowledge: Knowledge) -> None:
    """Foraminal stenosis from before an operation that did not relieve the pain."""
    narrow = {
        "resourceType": "Condition",
        "code": coded(ICD, "M99.63"),
        "onsetDateTime": ago(200),
    }
    done = {"MRI": [60], "physiotherapy": [60]}
    facts = {**UNRELIEVED, "operation": "decompression", "done": done}
    assert "was the foramen decompressed?" in note(
        answered_with(knowledge, facts, narrow), "SURG-REV"
    )


def notes(answered: Answered, card: str) -> dict[str, str]:
    """Return what each order of *card* says, by the words of the order."""
    requests = [
        action["resource"]
        for suggestion in answered.card(card)["suggestions"]
        for action in suggestion["actions"]
    ]
    return {request["code"]["text"]: request["note"][0]["text"] for request in requests}


def test_radiologist_reads_that_the_kidneys_are_weak(knowledge: Knowledge) -> None:
    """On both scans, but not on the blood tests beside them."""
    facts: dict[str, Any] = {
        "day": 45,
        "operation": "discectomy",
        "eGFR": {40: 22},
        "findings": {"wound breakdown": 40},
        "temperature": {45: 38.5},
    }
    said = notes(answered_with(knowledge, facts), "RF-INF")
    with_words = [order for order, words in said.items() if "a group II agent only" in words]
    assert with_words == [
        "MRI lumbar spine without contrast",
        "MRI lumbar spine without and with IV contrast",
    ]
    assert len(said) == 6


def test_radiologist_reads_of_implants_metal_and_fear_before_the_scan(
    knowledge: Knowledge,
) -> None:
    """On the orders of the MRI, not on the blood tests beside it."""
    conditional = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Conditional"}])
    cochlear = device(type={"text": "Cochlear implant"})
    metal = {"resourceType": "Condition", "code": coded(ICD, "Z18.11")}
    fear = {"resourceType": "Condition", "code": coded(ICD, "F40.240")}
    facts: dict[str, Any] = {
        "day": 45,
        "operation": "discectomy",
        "findings": {"wound breakdown": 40},
        "temperature": {45: 38.5},
    }
    chart = (conditional, cochlear, metal, fear)
    said = notes(answered_with(knowledge, facts, *chart), "RF-INF")
    scan = said.pop("MRI lumbar spine without and with IV contrast")
    assert "Cardiac pacemaker, MR conditional: check the conditions of scan" in scan
    assert "Cochlear implant: MR status not recorded." in scan
    assert "Retained magnetic metal on record" in scan
    assert "Claustrophobia on record" in scan
    assert not any("MR " in words or "Claustrophobia" in words for words in said.values())
    assert len(said) == 4


def test_radiologist_reads_which_implant_makes_a_myelogram_of_the_mri(
    knowledge: Knowledge,
) -> None:
    """The order said only that an MRI cannot be done with this implant."""
    pacemaker = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Unsafe"}])
    facts = {**UNRELIEVED, "operation": "discectomy"}
    said = note(answered_with(knowledge, facts, pacemaker), "IMG-ALT")
    assert "Implant - cardiac pacemaker, documented MR unsafe." in said


def test_radiologist_reads_of_the_weakness_that_asks_for_the_myelogram(
    knowledge: Knowledge,
) -> None:
    """The reason is the new weakness, not the old back pain on the problem list."""
    pacemaker = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Unsafe"}])
    pain = {"resourceType": "Condition", "code": coded(ICD, "M54.50"), "onsetDateTime": ago(400)}
    facts = {"day": 100, "operation": "discectomy", "leg": {-14: 8, 95: 2}}
    weak = strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(10))
    answered = answered_with(knowledge, facts, pacemaker, pain, weak)
    assert f"Weakness of big toe extensor (left) since {ago(10)}." in note(answered, "IMG-ALT")
    for request in (order(answered, "IMG-ALT"), order(answered, "SURG-REV")):
        assert "reasonReference" not in request
        assert request["reasonCode"][0]["coding"][0]["display"] == "Muscle weakness"


def test_radiologist_reads_of_the_weakness_of_the_other_leg_too(knowledge: Knowledge) -> None:
    """The order of the MRI named one of two weak legs, as if the other were strong."""
    facts = {"day": 100, "operation": "discectomy", "leg": {-14: 8, 95: 2}}
    legs = [
        strength({"valueInteger": 4}, side, effectiveDateTime=ago(days))
        for side, days in ((LEFT, 30), (RIGHT, 20))
    ]
    said = note(answered_with(knowledge, facts, *legs), "IMG-MRI-DEF")
    assert f"new weakness of big toe extensor (right) since {ago(20)}?" in said
    assert f"Weakness of big toe extensor (left) since {ago(30)}." in said
    alone = note(answered_with(knowledge, facts, legs[0]), "IMG-MRI-DEF")
    assert alone.count("Weakness of") == 0


SCANNED = {"MRI": [60], "physiotherapy": [60]}
BACK: dict[str, Any] = {"operation": "decompression", "back": {-14: 7, 115: 7}}
WEAK = {"day": 100, "side": "left", "muscle": "quadriceps", "grade": 4}


@pytest.mark.parametrize(
    ("card", "facts", "words"),
    [
        ("SURG-REV", {"done": SCANNED}, f"Operation {ago(120)}: discectomy."),
        ("SURG-REV", {"done": SCANNED}, "Leg pain 7/10 now."),
        ("IMG-ALT", {"implant": {"what": "pacemaker", "in the scanner": "unsafe"}}, "120 days"),
        (
            "IMG-ALT",
            {"implant": {"what": "pacemaker", "in the scanner": "unsafe"}},
            "Leg pain 7/10 now.",
        ),
        ("XR-DYN", {**BACK, "leg": {}}, "Back pain 7/10 now, 120 days after surgery."),
        ("IMG-MRI-DEF", {"strength": [WEAK]}, f"weakness of quadriceps (left) since {ago(20)}?"),
        ("RF-INF", {"findings": {"spinal infection": 110}}, "120 days after lumbar surgery."),
        ("RF-OTHER", {"findings": {"spinal tumour": 110}}, "120 days after lumbar surgery."),
        ("SMOKE", {"smoker": True}, "120 days after lumbar surgery."),
    ],
)
def test_order_names_the_numbers_behind_it(
    knowledge: Knowledge, card: str, facts: dict[str, Any], words: str
) -> None:
    """Whoever gets it reads how long ago the operation was, and how bad the pain is."""
    patient = {**UNRELIEVED, "operation": "discectomy", **facts}
    assert words in note(answered_with(knowledge, patient), card)


def test_order_does_not_count_days_from_an_operation_without_a_date(knowledge: Knowledge) -> None:
    """It says that the day is not known."""
    infection = {
        "resourceType": "Condition",
        "code": coded(ICD, "M46.46"),
        "onsetDateTime": ago(3),
    }
    undated = {"day": 40, "operation": "fusion", "operation date": "unknown"}
    said = note(answered_with(knowledge, undated, infection), "RF-INF")
    assert "The day of the operation is not known." in said
    assert "days after" not in said


def test_laboratory_reads_nothing_of_the_implant_that_holds_back_the_scan(
    knowledge: Knowledge,
) -> None:
    """It is for whoever takes pictures."""
    pacemaker = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Unsafe"}])
    infection = {
        "resourceType": "Condition",
        "code": coded(ICD, "M46.46"),
        "onsetDateTime": ago(3),
    }
    answered = answered_with(knowledge, {"day": 40, "operation": "fusion"}, pacemaker, infection)
    assert "pacemaker" in answered.card("RF-INF")["detail"]
    assert "pacemaker" not in note(answered, "RF-INF")


def test_emg_laboratory_reads_of_implant_and_bleeding_risk(knowledge: Knowledge) -> None:
    """The card asks to tell it; the order does."""
    pacemaker = device(type=coded(SNOMED, "424921004"), safety=[{"text": "MR Conditional"}])
    clotting = {"resourceType": "Condition", "code": coded(ICD, "D68.9")}
    weak = [strength({"valueInteger": 4}, LEFT, effectiveDateTime=ago(days)) for days in (60, 5)]
    facts = {**UNRELIEVED, "operation": "discectomy"}
    said = note(answered_with(knowledge, facts, pacemaker, clotting, *weak), "EMG-MOTOR")
    assert "Implanted device on record" in said
    assert "Bleeding risk on record" in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (coded(SNOMED, "426646004"), "Vertebral fracture on record"),
        (coded(SNOMED, "188462001"), "Spinal tumour on record"),
        (coded(SNOMED, "94222008"), "Bone metastasis on record"),
        (coded(ICD, "T84.216A"), "Spinal implant problem on record"),
    ],
)
def test_order_claims_no_diagnosis_that_nobody_recorded(
    knowledge: Knowledge, code: dict[str, Any], words: str
) -> None:
    """A finding sent as an Observation has no problem-list entry: one code for all would invent it.

    The first code of fractures is that of an osteoporotic one.
    """
    seen = observed(code, valueBoolean=True, effectiveDateTime=ago(10))
    facts = {"day": 200, "operation": "discectomy"}
    answered = answered_with(knowledge, facts, seen)
    assert order(answered, "RF-OTHER")["reasonCode"] == [{"text": words}]


@pytest.mark.parametrize("code", ["T84.216A", "M43.16", "M21.371"])
def test_surgeon_is_sent_the_condition_that_is_the_reason(knowledge: Knowledge, code: str) -> None:
    """A failed implant, a new structural cause and a coded weakness, not pain in general."""
    found = {"resourceType": "Condition", "code": coded(ICD, code), "onsetDateTime": ago(30)}
    pain = {"resourceType": "Condition", "code": coded(ICD, "M96.1"), "onsetDateTime": ago(60)}
    facts = {**UNRELIEVED, "operation": "fusion", "day": 200, "leg": {-14: 8, 195: 5}}
    request = order(answered_with(knowledge, facts, found, pain), "SURG-REV")
    assert request["reasonReference"] == [{"reference": "Condition/more0"}]


def test_pain_specialist_reads_of_the_anticoagulant_and_the_psychologist_does_not(
    knowledge: Knowledge,
) -> None:
    """Whoever tests the stimulator needs it; both read of high distress."""
    facts = {
        "day": 330,
        "operation": "discectomy",
        "leg": {-14: 8, 100: 7, 200: 7, 300: 7, 325: 7},
        "done": {"MRI": [150], "physiotherapy": [60, 320]},
        "questionnaires": {"DN4": {320: 6}, "PCS": {320: 40}},
        "drugs": [
            {"drug": drug, "from": 40} for drug in ("gabapentinoid", "NSAID", "anticoagulant")
        ],
    }
    said = notes(answered_with(knowledge, facts), "SCS-EVAL")
    assert ["high bleeding risk" in words for words in said.values()] == [True, False]
    assert all("Pain Catastrophizing Scale" in words for words in said.values())


def test_blood_tests_for_an_open_wound_name_the_wound(knowledge: Knowledge) -> None:
    """It is on the problem list, so words for "suspected" are not needed."""
    wound = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "225553008"),
        "onsetDateTime": ago(5),
    }
    answered = answered_with(knowledge, {"day": 45, "operation": "discectomy"}, wound)
    request = order(answered, "RF-INF-W")
    assert request["reasonReference"] == [{"reference": "Condition/more0"}]


FOOT = {"side": "left", "muscle": "tibialis anterior"}
SEVERE = {"day": 4, "leg": {-5: 7, 3: 9}}
WEAK = {"strength": [{"day": 3, **FOOT, "grade": 4}]}


@pytest.mark.parametrize(
    ("card", "facts", "reason"),
    [
        ("RF-CES", {"findings": {"saddle numbness": 19}}, "Suspected cauda equina syndrome"),
        ("RF-MOTOR", {"strength": [{"day": 19, **FOOT, "grade": 2}]}, "New leg weakness"),
        ("RF-EDH", {**SEVERE, **WEAK}, "Suspected epidural haematoma"),
        (
            "RF-INF",
            {"temperature": {19: 38.5}, "white cells": {19: 14}},
            "Suspected spinal infection",
        ),
        ("RF-INF-W", {"temperature": {19: 38.5}}, "Suspected infection"),
    ],
)
def test_order_for_what_nobody_coded_says_what_is_suspected(
    knowledge: Knowledge, card: str, facts: dict[str, Any], reason: str
) -> None:
    """In words: a code would claim the disease."""
    answered = answered_with(knowledge, {"day": 20, "operation": "discectomy", **facts})
    [said] = order(answered, card)["reasonCode"]
    assert said == {"text": f"{reason} after lumbar surgery"}


@pytest.mark.parametrize(
    ("card", "facts"),
    [
        ("RF-CES", {"findings": {"cauda equina syndrome": 19}}),
        ("RF-MOTOR", {"coded weakness": [{"what": "foot drop", "day": 19, "side": "left"}]}),
        ("RF-EDH", {"findings": {"spinal haematoma": 19}}),
        ("RF-EDH", {"findings": {"wound haematoma": 19}}),
        ("RF-INF", {"findings": {"spinal infection": 19}}),
        ("RF-INF", {"findings": {"spinal infection": 19}, "operation date": "unknown"}),
        ("RF-INF", {"findings": {"wound breakdown": 19}, "temperature": {19: 38.5}}),
        ("RF-INF-W", {"findings": {"wound breakdown": 19}}),
        ("RF-OTHER", {"findings": {"vertebral fracture": 19}}),
        (
            "IMG-MRI-DEF",
            {"coded weakness": [{"what": "muscle weakness", "day": 19, "side": "left"}]},
        ),
    ],
)
def test_order_for_what_is_coded_points_to_the_code(
    knowledge: Knowledge, card: str, facts: dict[str, Any]
) -> None:
    """Whoever scans or sees the patient finds the problem the order is for."""
    answered = answered_with(knowledge, {"day": 20, "operation": "discectomy", **facts})
    [reference] = order(answered, card)["reasonReference"]
    assert reference["reference"].startswith("Condition/")
