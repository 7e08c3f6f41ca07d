"""What has to be settled before a stimulator is considered: each by itself holds the card back."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.evaluation.assessment import Verdict
from cds_service.knowledge.model import Knowledge
from tests.evaluation.whole_charts import FOR_STIMULATION, answered_with

WEAK = {"day": 130, "side": "left", "muscle": "quadriceps", "grade": 4}
UNSETTLED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("a new weakness is stable but unexplained", {"strength": [WEAK]}),
    (
        "recorded levels differ",
        {"operated": {"level": "L5-S1"}, "indication": {"level": "L4-L5"}},
    ),
    ("pregnant", {"age": 30, "findings": {"pregnancy": 190}}),
    ("coagulopathy", {"findings": {"thrombocytopenia": -300}}),
    ("a sign of infection is open", {"temperature": {199: 38.6}}),
    ("active substance use disorder", {"findings": {"substance use disorder": -300}}),
    ("psychosis or dementia", {"findings": {"psychosis": -300}}),
    ("a structural surgical target is coded", {"findings": {"disc herniation": 150}}),
    ("another cause is on record", {"findings": {"vertebral fracture": 150}}),
    ("an imaging question is open", {"findings": {"claudication": 150}}),
)


@pytest.mark.parametrize(("why", "more"), UNSETTLED, ids=[why for why, _ in UNSETTLED])
def test_nobody_is_sent_for_stimulation_before_it_is_settled(
    knowledge: Knowledge, why: str, more: dict[str, Any]
) -> None:
    """The patient who would get the card does not, and the trace says why."""
    patient = {**FOR_STIMULATION, "done": {**FOR_STIMULATION["done"], "MRI": 140}}
    assert "SCS-EVAL" in answered_with(knowledge, patient).shown
    rows = answered_with(knowledge, {**patient, **more}).assessment.findings
    row = next(row for row in rows if row.card == "SCS-EVAL")
    assert (row.verdict, row.held_by) == (Verdict.NOT_MET, why)


@pytest.mark.parametrize(("why", "more"), UNSETTLED, ids=[why for why, _ in UNSETTLED])
def test_nobody_is_told_the_next_step_before_it_is_settled(
    knowledge: Knowledge, why: str, more: dict[str, Any]
) -> None:
    """The same where one of the four steps is missing."""
    patient = {**FOR_STIMULATION, "drugs": [], "done": {**FOR_STIMULATION["done"], "MRI": 140}}
    assert "SCS-PREREQ" in answered_with(knowledge, patient).shown
    rows = answered_with(knowledge, {**patient, **more}).assessment.findings
    row = next(row for row in rows if row.card == "SCS-PREREQ")
    assert (row.verdict, row.held_by) == (Verdict.NOT_MET, why)


def test_drug_nobody_knows_to_have_been_taken_is_no_trial(knowledge: Knowledge) -> None:
    """A prescription of status "unknown" says that the sender cannot tell, either."""
    kinds = ("gabapentinoid", "NSAID")
    drugs = [{"drug": kind, "from": 60, "status": "unknown"} for kind in kinds]
    shown = answered_with(knowledge, {**FOR_STIMULATION, "drugs": drugs}).shown
    assert "SCS-PREREQ" in shown
