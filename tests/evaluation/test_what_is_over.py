"""What was recorded long ago and is over by now silences nothing and withholds nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Facts, Resource
from cds_service.vignettes.concepts import ICD, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
UNRELIEVED: Facts = {"day": 100, "operation": "discectomy", "leg": {-14: 8, 95: 7}}
UNSAFE: Facts = {
    "day": 400,
    "age": 30,
    "operation": "discectomy",
    "leg": {-14: 8, 399: 7},
    "implant": {"what": "pacemaker", "in the scanner": "unsafe"},
}


def ago(days: int) -> str:
    """Return the day so many days before today."""
    return (AS_OF - timedelta(days=days)).isoformat()


@pytest.mark.parametrize(("begun", "is_silent"), [(100, True), (101, False)])
def test_stay_in_a_hospice_before_the_operation_is_over(
    knowledge: Knowledge, begun: int, *, is_silent: bool
) -> None:
    """One that began on the day of surgery, 100 days ago, counts; on the day before it does not."""
    stay: Resource = {
        "resourceType": "Encounter",
        "status": "finished",
        "type": [coded(SNOMED, "305336008")],
        "period": {"start": ago(begun)},
    }
    assert ("IMG-MRI-NR" not in answered_with(knowledge, UNRELIEVED, stay).shown) == is_silent


@pytest.mark.parametrize(("recorded", "is_pregnant"), [(300, True), (301, False)])
def test_pregnancy_recorded_again_counts_from_then(
    knowledge: Knowledge, recorded: int, *, is_pregnant: bool
) -> None:
    """Its onset is 390 days old; an entry of 300 days ago still holds the CT back, of 301 not."""
    pregnancy: Resource = {
        "resourceType": "Condition",
        "code": coded(ICD, "Z33.1"),
        "onsetDateTime": ago(390),
        "recordedDate": ago(recorded),
    }
    shown = answered_with(knowledge, UNSAFE, pregnancy).shown
    assert ("IMG-ALT" not in shown) == is_pregnant


@pytest.mark.parametrize(
    ("onset", "recorded", "counts"), [(500, 365, True), (365, 500, True), (500, 366, False)]
)
def test_fracture_counts_for_a_year_from_its_onset_or_from_its_record(
    knowledge: Knowledge, onset: int, recorded: int, *, counts: bool
) -> None:
    """Whichever is later, in a patient without pain."""
    fracture: Resource = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "426646004"),
        "onsetDateTime": ago(onset),
        "recordedDate": ago(recorded),
    }
    facts: Facts = {"day": 600, "operation": "discectomy", "leg": {-14: 8, 599: 1}}
    assert ("RF-OTHER" in answered_with(knowledge, facts, fracture).shown) == counts


@pytest.mark.parametrize(
    "code", ["G83.4", "R33.9", "M46.46", "G97.61", "G97.41", "R45.851", "T84.216A"]
)
@pytest.mark.parametrize("status", ["resolved", "inactive"])
def test_red_flag_that_the_problem_list_calls_over_is_none(
    knowledge: Knowledge, code: str, status: str
) -> None:
    """It was recorded yesterday, and is over."""
    problem: Resource = {
        "resourceType": "Condition",
        "code": coded(ICD, code),
        "clinicalStatus": coded(CLINICAL, status),
        "recordedDate": ago(1),
    }
    facts: Facts = {"day": 20, "operation": "discectomy", "leg": {-14: 8, 19: 2}}
    assert answered_with(knowledge, facts, problem).shown == {}


def test_half_dated_operation_is_not_asked_about_for_a_mere_reminder(knowledge: Knowledge) -> None:
    """DATA-PAIN would remind of a score if it was done 45 days ago, not 15: no day is asked for."""
    half: Facts = {"day": 35, "operation": "discectomy", "operation date": "month"}
    assert answered_with(knowledge, half).shown == {}
