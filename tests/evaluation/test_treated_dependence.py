"""An opioid that treats dependence is never asked about, whatever became of the dependence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import FOR_STIMULATION, answered_with, coded

STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
BESIDE = "is on record too; it is treatment and not counted here"
PATIENT = {"day": 100, "operation": "discectomy", "leg": {-14: 8, 95: 7}}


def _dependence(status: str, **fields: object) -> Resource:
    return {
        "resourceType": "Condition",
        "code": coded(ICD, "F11.20"),
        "clinicalStatus": coded(STATUS, status),
        "recordedDate": (AS_OF - timedelta(days=800)).isoformat(),
        **fields,
    }


@pytest.mark.parametrize("status", ["active", "remission", "inactive", "resolved"])
@pytest.mark.parametrize("drug", ["methadone", "buprenorphine"])
def test_substitute_keeps_a_dependence_in_remission(
    knowledge: Knowledge, drug: str, status: str
) -> None:
    """Who takes it is in remission because of it; nobody is told to review or taper it."""
    patient = {**PATIENT, "drugs": [{"drug": drug, "from": -300}]}
    assert "OPIOID" in answered_with(knowledge, patient).shown
    assert "OPIOID" not in answered_with(knowledge, patient, _dependence(status)).shown


def test_refuted_dependence_is_none(knowledge: Knowledge) -> None:
    """Methadone is then taken for the pain."""
    patient = {**PATIENT, "drugs": [{"drug": "methadone", "from": -300}]}
    refuted = _dependence("inactive", verificationStatus=coded(VERIFICATION, "refuted"))
    assert "OPIOID" in answered_with(knowledge, patient, refuted).shown


@pytest.mark.parametrize(
    ("code", "is_considered"),
    [("F11.20", False), ("F11.10", False), ("F11.21", True), ("F11.11", True)],
)
def test_only_an_active_dependence_stands_before_a_stimulator(
    knowledge: Knowledge,
    code: str,
    is_considered: bool,  # noqa: FBT001 - a case
) -> None:
    """One that its code calls in remission does not."""
    entry = {**_dependence("active"), "code": coded(ICD, code)}
    shown = answered_with(knowledge, FOR_STIMULATION, entry).shown
    assert ("SCS-EVAL" in shown) is is_considered


def test_dependence_in_remission_is_no_active_one(knowledge: Knowledge) -> None:
    """Another opioid than a substitute is asked about."""
    patient = {**PATIENT, "drugs": [{"drug": "opioid", "from": 60}]}
    assert "OPIOID" in answered_with(knowledge, patient, _dependence("remission")).shown


def _opioid(name: str, since: int, milligrams: int) -> dict[str, object]:
    return {"drug": name, "from": since, "MME a day": milligrams}


def test_substitute_is_no_part_of_the_dose_of_another_opioid(knowledge: Knowledge) -> None:
    """80 mg of methadone would make a high dose of a low one, and ask to reduce the treatment."""
    drugs = [_opioid("methadone", -800, 80), _opioid("opioid", 60, 30)]
    answered = answered_with(knowledge, {**PATIENT, "drugs": drugs}, _dependence("active"))
    assert "OPIOID-W" not in answered.shown
    detail = answered.card("OPIOID")["detail"]
    assert "come to 30 MME/day" in detail
    assert "it is treatment and not counted here" in detail
    assert f"active since {AS_OF - timedelta(days=40)} " in detail
    assert BESIDE in detail
    alone = answered_with(knowledge, {**PATIENT, "drugs": drugs[1:]}, _dependence("active"))
    assert BESIDE not in alone.card("OPIOID")["detail"]


def test_substitute_does_not_make_a_new_opioid_an_old_one(knowledge: Knowledge) -> None:
    """The other opioid is for a few days; only the substitute has been taken for years."""
    drugs = [_opioid("methadone", -800, 80), _opioid("opioid", 90, 30)]
    shown = answered_with(knowledge, {**PATIENT, "drugs": drugs}, _dependence("active")).shown
    assert not {"OPIOID", "OPIOID-W"} & set(shown)


def test_substitute_that_was_stopped_is_not_how_an_opioid_for_pain_began(
    knowledge: Knowledge,
) -> None:
    """Treatment for years, then another opioid from the next day on: that is ten days old."""
    drugs = [{**_opioid("methadone", -800, 80), "to": 89}, _opioid("opioid", 90, 30)]
    shown = answered_with(knowledge, {**PATIENT, "drugs": drugs}, _dependence("active")).shown
    assert not {"OPIOID", "OPIOID-W"} & set(shown)
    without = answered_with(knowledge, {**PATIENT, "drugs": drugs}).shown
    assert {"OPIOID", "OPIOID-W"} & set(without)


def test_methadone_for_pain_counts_beside_another_opioid(knowledge: Knowledge) -> None:
    """Without a dependence on record both are taken for the pain."""
    drugs = [_opioid("methadone", -800, 80), _opioid("opioid", 60, 30)]
    answered = answered_with(knowledge, {**PATIENT, "drugs": drugs})
    assert "not counted here" not in answered.card("OPIOID-W")["detail"]
