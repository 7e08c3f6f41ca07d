"""The whole reasoning behind an answer, as a terminal prints it and as programs read it."""

from __future__ import annotations

from datetime import date

import pytest

from cds_service.evaluation.answers import PassedOver
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import (
    Assessment,
    Evidence,
    Explanation,
    Finding,
    Indicator,
    Outcome,
    Verdict,
)
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.trace import render_text, trace_json
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, chart_of
from tests.changing import replace

PATIENT: Facts = {
    "day": 400,
    "operation": "discectomy",
    "leg": {-14: 8, 200: 8, 395: 7},
    "back": {300: 6, 395: 5},
    "residual urine": {100: 300},
    "implant": {"what": "pacemaker", "in the scanner": "unknown"},
    "not supplied": ["conditions"],
}
FINDINGS = (
    Finding(
        card="RF-CES",
        row=1,
        verdict=Verdict.CANNOT_TELL,
        reasons=("met: an operation", "cannot tell: a sign"),
        unread=frozenset({"scores", "findings", "labs", "conditions"}),
    ),
    Finding(
        card="RF-INF",
        row=4,
        verdict=Verdict.MET,
        indicator=Indicator.CRITICAL,
        variant="coded",
        reasons=("met: an infection",),
        is_shown=True,
        is_order_withheld=True,
        evidence=(
            Evidence(reference="Condition/a", label="spinal-infection", day=date(2026, 6, 1)),
            Evidence(
                reference="Condition/b", label="spinal-infection", day=None, written="2026-06"
            ),
        ),
        passed_over=(
            PassedOver(
                on=date(2026, 5, 1),
                concept="mri-lumbar",
                reference="DiagnosticReport/early",
                is_order=False,
                why="too-early",
                written="2026-05-01",
                first=date(2026, 5, 24),
            ),
        ),
    ),
    Finding(card="RF-CSF", row=8, verdict=Verdict.NOT_MET),
    Finding(
        card="SCS-EVAL",
        row=24,
        verdict=Verdict.NOT_MET,
        reasons=("met: a candidate",),
        held_by="a score <4 & >2 [each]",
    ),
    Finding(card="PT-REF", row=25, verdict=Verdict.MET, reasons=("met: pain",)),
)
EXPLANATIONS = (
    Explanation(phenotype="infection", points=12, reasons=("red-flag", "warning")),
    Explanation(
        phenotype="deconditioning",
        points=2,
        reasons=("no-therapy",),
        is_only_by_exclusion=True,
    ),
)
PRINTED = """\
Outcome
  evaluated, as of 2026-06-15

Operation and course
  Operation 2025-05-11 (400 days ago): discectomy; operations on record: 1.
  On record since the operation, not recent: raised residual urine 300 mL (2025-08-19). \
Ask whether they have cleared.
  Leg pain: 8 on 2025-04-27, 8 on 2025-11-27, 7 on 2026-06-10, change -1.
  Back pain: 6 on 2026-03-07, 5 on 2026-06-10.
  Course: no relief (leg).

Course at each site
  leg: no relief; decides
  back: not known

Red flags found
   4 RF-INF       met, shown: met: an infection

Red flags looked for and not recorded
   8 RF-CSF       not met: -

Red flags that cannot be told
   1 RF-CES       cannot tell: met: an operation; cannot tell: a sign; \
not read: conditions, findings, labs, scores

Cautions
  Cardiac pacemaker: MR status not recorded. Ask MR safety or the device clinic before any MRI.

Looked at
  Not shown - Evaluation for spinal cord stimulation: a score <4 & >2 [each].
  This may be incomplete, because this part of the chart could not be read: \
problem list (the FHIR server did not answer in time).

Likely explanations, with points
   12 Infection of the operated spine: signs of spinal infection; \
a single sign that can mean infection
    2 Weak or tense muscles: no therapy in this record that counts; only by exclusion

Decision table
   1 RF-CES       cannot tell: met: an operation; cannot tell: a sign; \
not read: conditions, findings, labs, scores
   4 RF-INF       met, shown: met: an infection
   8 RF-CSF       not met: -
  24 SCS-EVAL     not met: met: a candidate; held by: a score <4 & >2 [each]
  25 PT-REF       met: met: pain

Found on the way and not counted
   4 RF-INF       Found, but does not hold this card back: \
lumbar MRI 2026-05-01 (counts from 2026-05-24 on).
"""
INFECTION = {
    "row": 4,
    "card": "RF-INF",
    "verdict": "met",
    "isShown": True,
    "indicator": "critical",
    "variant": "coded",
    "reasons": ["met: an infection"],
    "heldBy": None,
    "unread": [],
    "isOrderWithheld": True,
    "passedOver": [
        {"reference": "DiagnosticReport/early", "day": "2026-05-01", "why": "too-early"}
    ],
    "evidence": [
        {"reference": "Condition/a", "label": "spinal-infection", "day": "2026-06-01"},
        {"reference": "Condition/b", "label": "spinal-infection", "day": "2026-06"},
    ],
}
LEG = {"course": "NO_RELIEF", "lastLow": None, "onset": None, "decides": True}
BACK = {"course": None, "lastLow": None, "onset": None, "decides": False}


@pytest.fixture
def reasoned(knowledge: Knowledge) -> Assessment:
    """A patient with leg and back pain, some rows of each kind, and an unread problem list."""
    assessment = assess(chart_of(PATIENT, knowledge), knowledge, AS_OF)
    return replace(assessment, findings=FINDINGS, explanations=EXPLANATIONS)


def test_terminal_shows_the_whole_reasoning(reasoned: Assessment, knowledge: Knowledge) -> None:
    """A clinician who tries a chart reads what is in it and why every row answered as it did."""
    assert render_text(reasoned, knowledge) == PRINTED


def test_programs_get_the_whole_reasoning(reasoned: Assessment) -> None:
    """A developer's panel shows each row with verdict, reasons, entries and what did not count."""
    told = trace_json(reasoned)
    rows = told.pop("rows")
    assert isinstance(rows, list)
    assert rows[1] == INFECTION
    assert [(row["row"], row["isShown"], row["heldBy"], row["unread"]) for row in rows] == [
        (1, False, None, ["conditions", "findings", "labs", "scores"]),
        (4, True, None, []),
        (8, False, None, []),
        (24, False, "a score <4 & >2 [each]", []),
        (25, False, None, []),
    ]
    assert told == {
        "outcome": "evaluated",
        "asOf": "2026-06-15",
        "daysSinceSurgery": 400,
        "undatedOperations": [],
        "unread": {"conditions": "the FHIR server did not answer in time"},
        "courses": {"leg": LEG, "back": BACK},
        "explanations": [
            {
                "phenotype": "infection",
                "points": 12,
                "reasons": ["red-flag", "warning"],
                "onlyByExclusion": False,
            },
            {
                "phenotype": "deconditioning",
                "points": 2,
                "reasons": ["no-therapy"],
                "onlyByExclusion": True,
            },
        ],
    }


def test_reasoning_about_a_patient_never_operated_has_no_days_and_courses(
    knowledge: Knowledge,
) -> None:
    """Without a lumbar operation only the outcome is printed, and programs get nothing made up."""
    never = Assessment(outcome=Outcome.NO_OPERATION, as_of=AS_OF)
    printed = "Outcome\n  no lumbar operation on record, as of 2026-06-15\n"
    assert render_text(never, knowledge) == printed
    assert trace_json(never) == {
        "outcome": "no lumbar operation on record",
        "asOf": "2026-06-15",
        "daysSinceSurgery": None,
        "undatedOperations": [],
        "unread": {},
        "courses": {},
        "explanations": [],
        "rows": [],
    }


def test_courses_are_not_told_where_nobody_knows_the_day(
    reasoned: Assessment, knowledge: Knowledge
) -> None:
    """Scores before and after an operation of an unknown day make no course."""
    assert reasoned.case is not None
    undated = replace(reasoned, case=replace(reasoned.case, is_date_unknown=True))
    printed = render_text(undated, knowledge)
    assert "Course" not in printed
    assert "days ago" not in printed
    assert "  Leg pain: 8 on 2025-04-27" in printed
    assert trace_json(undated)["courses"] == {}
