"""What several facts bring together is another answer once one of them is different."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.chart.facts import DrugFact
from cds_service.evaluation.assess import assess
from cds_service.evaluation.pain import Course
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import CPT, ICD, LOINC, SNOMED
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace
from tests.evaluation.whole_charts import FOR_STIMULATION, answered_with, coded

Facts = dict[str, Any]

CANDIDATE: Facts = FOR_STIMULATION
UNRELIEVED: Facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
TREATED = {**UNRELIEVED, "done": {"MRI": 60, "physiotherapy": 60}}
NUMB = {**UNRELIEVED, "findings": {"numbness": -30}, "done": {"MRI": 60}}
DOUBTED = {**UNRELIEVED, "findings": {"competing diagnosis": 50}}
CARE = {"physiotherapy": [60, 180], "pain clinic": 170}
LATER = {**CANDIDATE, "day": 300, "questionnaires": {"DN4": {290: 6}}}
WORSE = {**LATER, "leg": {-1: 5, 60: 7, 110: 7, 200: 7, 295: 7}}
RETURNED = {**LATER, "leg": {-1: 8, 10: 3, 60: 7, 110: 7, 200: 7, 295: 7}}
TRIED: list[Facts] = CANDIDATE["drugs"]
MILD = {"leg": {-14: 4, 115: 3.5}}


def weak(muscle: str, *days: int) -> list[Facts]:
    """Return a mild weakness of the left leg that was found on *days*."""
    return [{"day": day, "side": "left", "muscle": muscle, "grade": 4} for day in days]


def opioid(first: int, last: int | None = None) -> Facts:
    """Return a prescription of an opioid, over on *last* if that is given."""
    ended = {"to": last, "status": "completed"} if last is not None else {}
    return {"drug": "opioid", "from": first, "MME a day": 20, **ended}


PARETIC = {**UNRELIEVED, "day": 60, "leg": {-14: 8, 55: 2}, "strength": weak("quadriceps", 30)}
GRADED_BEFORE = {"day": -1, "side": "left", "muscle": "quadriceps", "grade": 5}

NEEDED: dict[str, tuple[str, Facts, Facts]] = {
    "Leg pain that gets better is not sent for stimulation": (
        "SCS-EVAL",
        CANDIDATE,
        {"leg": {-1: 9, 60: 8, 110: 8, 195: 6}},
    ),
    "Leg pain of 4.5 is told of no step before stimulation": (
        "SCS-PREREQ",
        {**CANDIDATE, "drugs": []},
        {"leg": {-1: 6, 60: 6, 110: 6, 195: 4.5}},
    ),
    "Two drugs, none of them for nerve pain, are not enough for stimulation": (
        "SCS-EVAL",
        CANDIDATE,
        {"drugs": [{"drug": "acetaminophen", "from": 60}, {"drug": "NSAID", "from": 60}]},
    ),
    "A drug taken since before the operation was tried if it is taken still": (
        "SCS-EVAL",
        {**CANDIDATE, "drugs": [{**drug, "from": -100} for drug in TRIED]},
        {"drugs": [{**drug, "from": -100, "to": 27, "status": "stopped"} for drug in TRIED]},
    ),
    "A CT stands for the MRI before stimulation from day 42, not on day 41": (
        "SCS-EVAL",
        {**CANDIDATE, "done": {**CARE, "CT": 42}},
        {"done": {**CARE, "CT": 41}},
    ),
    "Worse pain whose MRI is out of date needs at least a CT before stimulation": (
        "SCS-EVAL",
        {**WORSE, "done": {**CARE, "MRI": 119, "CT": 50}},
        {"done": {**CARE, "MRI": 119}},
    ),
    "A CT of the day before pain came back has not seen why": (
        "SCS-EVAL",
        {**RETURNED, "done": {**CARE, "CT": 60}},
        {"done": {**CARE, "CT": 59}},
    ),
    "An opioid is a drug that was tried before the pain specialist; no drug is none": (
        "PAIN-REF",
        {**TREATED, "drugs": [{"drug": "opioid", "from": 60}]},
        {"drugs": []},
    ),
    "A pain clinic seen before the operation is no answer to the pain after it": (
        "PAIN-REF",
        {**TREATED, "drugs": TRIED, "done": {**TREATED["done"], "pain clinic": -30}},
        {"done": {**TREATED["done"], "pain clinic": 30}},
    ),
    "An opioid written again the day after the last one goes on; two days after it is new": (
        "OPIOID",
        {**UNRELIEVED, "drugs": [opioid(40, 99), opioid(100)]},
        {"drugs": [opioid(40, 98), opioid(100)]},
    ),
    "Three prescriptions of an opioid, one after the other, are one series": (
        "OPIOID",
        {**UNRELIEVED, "drugs": [opioid(60, 94), opioid(95, 109), opioid(110)]},
        {"drugs": [opioid(95, 109), opioid(110)]},
    ),
    "Mild pain needs no pain specialist": (
        "PAIN-REF",
        {**TREATED, "drugs": [{"drug": "NSAID", "from": 60}]},
        MILD,
    ),
    "Mild pain needs no physiotherapy": ("PT-REF", UNRELIEVED, MILD),
    "Mild pain asks nobody whether the operated lesion was its source": (
        "DX-RECHECK",
        DOUBTED,
        MILD,
    ),
    "Pain that was gone for a time came from the operated lesion": (
        "DX-RECHECK",
        DOUBTED,
        {"leg": {-14: 8, 10: 2, 115: 7}},
    ),
    "Leg pain that gets better needs no EMG": ("EMG-RAD", NUMB, {"leg": {-14: 9, 115: 5}}),
    "Mild leg pain beside severe back pain needs no EMG": (
        "EMG-RAD",
        NUMB,
        {**MILD, "back": {-14: 7, 115: 7}},
    ),
    "The EMG is for the new weakness where there is one": (
        "EMG-RAD",
        NUMB,
        {"strength": weak("quadriceps", 50)},
    ),
    "A smoker without pain is asked in the first year of a fusion only": (
        "SMOKE",
        {**UNRELIEVED, "operation": "fusion", "leg": {-14: 8, 115: 2}, "smoker": True},
        {"operation": "discectomy"},
    ),
    "A weakness that was scanned lasts, whatever a newer one waits for": (
        "NEURO-PERM",
        {
            "day": 500,
            "operation": "discectomy",
            "strength": [*weak("tibialis anterior", 30, 480), *weak("quadriceps", 470)],
            "done": {"MRI": 200},
        },
        {"done": {}},
    ),
    "A weakness too old for an EMG lasts, although a newer one waits for its own": (
        "NEURO-PERM",
        {
            "day": 400,
            "operation": "discectomy",
            "strength": [*weak("tibialis anterior", 20, 395), *weak("quadriceps", 300, 395)],
            "done": {"MRI": 350},
        },
        {"done": {}},
    ),
    "A weakness that still waits for its EMG is not called lasting": (
        "NEURO-PERM",
        {
            "day": 400,
            "operation": "discectomy",
            "strength": weak("tibialis anterior", 60, 395),
            "done": {"MRI": 350, "EMG": 100},
        },
        {"done": {"MRI": 350}},
    ),
}


@pytest.mark.parametrize(("card", "patient", "change"), NEEDED.values(), ids=NEEDED)
def test_card_is_gone_when_one_fact_is_different(
    knowledge: Knowledge, card: str, patient: Facts, change: Facts
) -> None:
    """The first patient gets the card; the second, in one thing another, does not."""
    assert card in answered_with(knowledge, patient).shown
    assert card not in answered_with(knowledge, {**patient, **change}).shown


SAID: dict[str, tuple[str, str, Facts, Facts]] = {
    "Pain of no recorded site that came back early may be an infection": (
        "EARLY-WATCH",
        "consider CRP",
        {"day": 60, "operation": "discectomy", "pain": {-14: 8, 20: 2, 50: 6}},
        {"pain": {-14: 7, 20: 6, 50: 6}},
    ),
    "The last of two MRIs is to be confirmed before stimulation": (
        "SCS-EVAL",
        "the MRI of 2026-04-26 shows no surgical target",
        {**CANDIDATE, "done": {**CARE, "MRI": [100, 150]}},
        {"done": {**CARE, "MRI": 100}},
    ),
    "Who places a stimulator is told of an anticoagulant": (
        "SCS-EVAL",
        "Anticoagulant on record",
        {**CANDIDATE, "drugs": [*TRIED, {"drug": "anticoagulant", "from": 100}]},
        {"drugs": TRIED},
    ),
    "Distress by the PHQ-9 is named before stimulation and excludes nobody": (
        "SCS-EVAL",
        "High PHQ-9 score",
        {**CANDIDATE, "questionnaires": {"DN4": {190: 6}, "PHQ-9": {190: 10}}},
        {"questionnaires": {"DN4": {190: 6}, "PHQ-9": {190: 9}}},
    ),
    "Catastrophizing is named before stimulation and excludes nobody": (
        "SCS-EVAL",
        "Pain Catastrophizing Scale",
        {**CANDIDATE, "questionnaires": {"DN4": {190: 6}, "PCS": {190: 30}}},
        {"questionnaires": {"DN4": {190: 6}, "PCS": {190: 29}}},
    ),
    "Who puts the needles of an EMG is told of a bleeding risk": (
        "EMG-MOTOR",
        "Bleeding risk on record",
        {**PARETIC, "findings": {"coagulopathy": -100}},
        {"findings": {}},
    ),
    "A strength before surgery that nobody recorded is said beside the EMG": (
        "EMG-MOTOR",
        "no pre-operative grade",
        PARETIC,
        {"strength": [GRADED_BEFORE, *weak("quadriceps", 30)]},
    ),
}


@pytest.mark.parametrize(("card", "words", "patient", "change"), SAID.values(), ids=SAID)
def test_card_says_it_of_this_patient_only(
    knowledge: Knowledge, card: str, words: str, patient: Facts, change: Facts
) -> None:
    """Both patients get the card; what is true of the first alone is said to the first alone."""
    assert words.lower() in str(answered_with(knowledge, patient).card(card)).lower()
    other = answered_with(knowledge, {**patient, **change}).card(card)
    assert words.lower() not in str(other).lower()


COURSES: dict[str, tuple[Facts, Course, int | None, int | None]] = {
    "Pain of 1, 3, then 5 is back with the 5": (
        {"leg": {-14: 8, 2: 1, 7: 3, 95: 5}},
        Course.RETURNED,
        95,
        7,
    ),
    "Pain of 1, 3, then 4 is back: it rose from the lowest": (
        {"leg": {-14: 8, 5: 1, 20: 3, 95: 4}},
        Course.RETURNED,
        95,
        20,
    ),
    "Pain was last low on the last low day, not on the first or the one before it came back": (
        {"leg": {-14: 8, 5: 3, 30: 3, 40: 4, 95: 7}},
        Course.RETURNED,
        95,
        30,
    ),
    "Without a score before surgery the latest of some weeks ago says whether it is worse": (
        {"leg": {20: 5, 60: 7, 95: 7}},
        Course.NO_RELIEF,
        None,
        None,
    ),
    "Of two scores before surgery the later is what pain is measured against": (
        {"leg": {-60: 5, -1: 8, 95: 7}},
        Course.NO_RELIEF,
        None,
        None,
    ),
    "Pain that falls by 2 in some weeks gets better, though it is near that before surgery": (
        {"leg": {-14: 7, 60: 8, 95: 6}},
        Course.IMPROVING,
        None,
        None,
    ),
    "Of two scores of some weeks ago the later says whether pain falls": (
        {"leg": {-14: 7, 40: 8, 70: 7, 95: 6}},
        Course.NO_RELIEF,
        None,
        None,
    ),
    "Leg pain that still matters decides, not back pain that never did": (
        {"leg": {-14: 9, 95: 5}, "back": {-14: 4, 95: 3.5}},
        Course.IMPROVING,
        None,
        None,
    ),
}


@pytest.mark.parametrize(("scores", "course", "onset", "low"), COURSES.values(), ids=COURSES)
def test_course_of_pain(
    knowledge: Knowledge, scores: Facts, course: Course, onset: int | None, low: int | None
) -> None:
    """The course on day 100, since when pain is back, and when it was last low."""
    patient = {"day": 100, "operation": "discectomy", **scores}
    case = answered_with(knowledge, patient).assessment.case
    assert case is not None
    assert case.pain.leading is not None
    assert (case.pain.course, case.pain.onset, case.pain.leading.last_low) == (course, onset, low)


FUSED = {"day": 364, "operation": "fusion", "back": {-14: 8, 360: 7}}
NARROW = {**UNRELIEVED, "operation": "decompression", "findings": {"foraminal stenosis": -1}}
EXPLAINED: dict[str, tuple[str, Facts, Facts, list[int | None]]] = {
    "Back pain after a fusion may be non-union from day 90, likely from day 365": (
        "pseudarthrosis",
        FUSED,
        {"day": 365},
        [2, 5],
    ),
    "What was not fused cannot fail to unite": (
        "pseudarthrosis",
        FUSED,
        {"operation": "decompression"},
        [2, None],
    ),
    "Leg pain after a fusion does not point to non-union": (
        "pseudarthrosis",
        FUSED,
        {"leg": {-14: 8, 360: 7}, "back": {}},
        [2, None],
    ),
    "A narrow foramen of the day of surgery was not there before": (
        "foraminal-residual",
        NARROW,
        {"findings": {"foraminal stenosis": 0}},
        [5, None],
    ),
    "A fusion holds the foramen open": (
        "foraminal-residual",
        NARROW,
        {"operation": "fusion"},
        [5, None],
    ),
    "A narrow foramen does not explain pain that gets better": (
        "foraminal-residual",
        NARROW,
        {"leg": {-14: 9, 115: 5}},
        [5, None],
    ),
    "Nerve pain explains pain that stays, not pain that gets better": (
        "neuropathic",
        CANDIDATE,
        {"leg": {-1: 9, 60: 8, 110: 8, 195: 6}},
        [7, None],
    ),
    "A lesion that can be operated comes before nerve pain": (
        "neuropathic",
        CANDIDATE,
        {"findings": {"disc herniation": 150}},
        [7, None],
    ),
    "Numbness from the day of surgery may be a nerve hurt there, that of the day before not": (
        "nerve-injury",
        {**UNRELIEVED, "findings": {"numbness": 0}},
        {"findings": {"numbness": -1}},
        [3, None],
    ),
}


@pytest.mark.parametrize(("name", "patient", "change", "points"), EXPLAINED.values(), ids=EXPLAINED)
def test_points_of_an_explanation(
    knowledge: Knowledge, name: str, patient: Facts, change: Facts, points: list[int | None]
) -> None:
    """The second patient, in one thing another, is explained in another way."""
    found = [
        {
            each.phenotype: each.points
            for each in answered_with(knowledge, facts).assessment.explanations
        }
        for facts in (patient, {**patient, **change})
    ]
    assert [scored.get(name) for scored in found] == points


def test_scar_that_nothing_else_competes_with_is_an_explanation_by_exclusion_only(
    knowledge: Knowledge,
) -> None:
    """Two operations and pain that got better: no report says that there is a scar."""
    twice = [{"day": -400, "operation": "discectomy"}]
    patient = {**UNRELIEVED, "leg": {-14: 9, 115: 5}, "other operations": twice}
    [scar] = answered_with(knowledge, patient).assessment.explanations
    assert (scar.phenotype, scar.is_only_by_exclusion) == ("fibrosis", True)


JOINT_FUSED: Resource = {
    "resourceType": "Procedure",
    "status": "completed",
    "code": coded(CPT, "27279"),
    "performedDateTime": "2020-03-04",
}
DEMENTED: Resource = {"resourceType": "Condition", "code": coded(SNOMED, "52448006")}


@pytest.mark.parametrize(
    ("card", "patient", "entry"),
    [
        ("SIJ", {**UNRELIEVED, "findings": {"sacroiliac pain": 50}}, JOINT_FUSED),
        ("SCS-EVAL", CANDIDATE, DEMENTED),
    ],
)
def test_card_is_gone_with_one_entry_more(
    knowledge: Knowledge, card: str, patient: Facts, entry: Resource
) -> None:
    """A joint that was ever fused needs no test; dementia comes before a stimulator."""
    assert card in answered_with(knowledge, patient).shown
    assert card not in answered_with(knowledge, patient, entry).shown


def test_old_diagnosis_is_as_recent_as_its_record(knowledge: Knowledge) -> None:
    """Back pain for years, written down within the last one: pain counts without a score before."""
    patient = {"day": 500, "operation": "discectomy", "leg": {450: 7, 495: 7}}
    pain: Resource = {
        "resourceType": "Condition",
        "code": coded(ICD, "M54.50"),
        "onsetDateTime": "2020-03-04",
    }
    recent, older = (
        {**pain, "recordedDate": (AS_OF - timedelta(days=ago)).isoformat()} for ago in (365, 366)
    )
    assert "IMG-MRI-NR" in answered_with(knowledge, patient, recent).shown
    assert "IMG-MRI-NR" not in answered_with(knowledge, patient, older).shown


def test_drug_without_any_date_on_the_list_of_drugs_was_tried(knowledge: Knowledge) -> None:
    """Home medication is often listed without the day it began."""
    chart = chart_of({**CANDIDATE, "drugs": []}, knowledge)
    drugs = [
        DrugFact(
            reference=f"MedicationStatement/{name}",
            concepts=frozenset({name}),
            status="active",
            started=None,
        )
        for name in ("gabapentinoid", "nsaid")
    ]
    answered = Answered(assess(replace(chart, drugs=(*drugs,)), knowledge, AS_OF), knowledge)
    assert "SCS-EVAL" in answered.shown


def test_mri_that_waits_for_its_report_counts_as_an_order_does(knowledge: Knowledge) -> None:
    """For 90 days nobody orders it again; after that the report will not come any more."""

    def scanned(ago: int) -> Resource:
        day = (AS_OF - timedelta(days=ago)).isoformat()
        code = coded(LOINC, "24968-0")
        return {
            "resourceType": "DiagnosticReport",
            "status": "preliminary",
            "code": code,
            "effectiveDateTime": day,
        }

    assert "IMG-MRI-NR" not in answered_with(knowledge, UNRELIEVED, scanned(90)).shown
    assert "IMG-MRI-NR" in answered_with(knowledge, UNRELIEVED, scanned(91)).shown
