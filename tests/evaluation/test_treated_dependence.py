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
