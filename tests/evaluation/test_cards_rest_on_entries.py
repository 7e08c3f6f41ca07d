"""A card names the entries of the chart it rests on.

They make its id, and "not clinically indicated" holds a card back while they stay the same.  One
that names none would stay away whatever is found later.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment
from cds_service.knowledge.loading import load_knowledge
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.concepts import LOINC
from cds_service.vignettes.running import AS_OF, Answered, answered, chart_of
from tests.evaluation.whole_charts import answered_with, coded, observed
from tests.vignettes.cases import all_vignettes

KNOWLEDGE = load_knowledge()
ABOUT_WHAT_IS_MISSING = frozenset({"DATA-PAIN", "DATA-READ"})
"""Cards that say what is not in the chart."""


def assessed(facts: Facts) -> Assessment:
    """Return the whole assessment of the patient of *facts*."""
    return assess(chart_of(facts, KNOWLEDGE), KNOWLEDGE, AS_OF)


@pytest.mark.parametrize("vignette", all_vignettes(), ids=lambda vignette: vignette.name)
def test_every_card_names_an_entry_of_the_chart(vignette: Vignette) -> None:
    """Whatever is said of a finding can be compared with what is found tomorrow."""
    bare = {
        finding.card
        for finding in answered(vignette, KNOWLEDGE).assessment.findings
        if finding.is_met and not finding.evidence
    }
    assert bare <= ABOUT_WHAT_IS_MISSING


@pytest.mark.parametrize(
    "facts",
    [
        {"strength": [{"day": 60, "side": "left", "muscle": "quadriceps", "grade": 4}]},
        {"findings": {"hardware failure": 60}},
        {"findings": {"disc herniation": 60}},
    ],
)
def test_a_pain_score_is_no_fact_behind_a_referral_for_something_else(
    facts: dict[str, object],
) -> None:
    """A referral that was not indicated does not come back because pain was scored again."""
    patient = {"day": 100, "operation": "discectomy", "done": {"MRI": 70}, **facts}
    scored = Answered(assessed({**patient, "leg": {-14: 8, 95: 2}}), KNOWLEDGE)
    again = Answered(assessed({**patient, "leg": {-14: 8, 95: 2, 99: 2}}), KNOWLEDGE)
    assert scored.card("SURG-REV")["uuid"] == again.card("SURG-REV")["uuid"]


def test_card_shows_a_converted_result_as_the_laboratory_sent_it() -> None:
    """The rule compares 32 mg/L; the laboratory's own page says 3.2 mg/dL."""
    result = observed(
        coded(LOINC, "1988-5"),
        effectiveDateTime=(AS_OF - timedelta(days=2)).isoformat(),
        valueQuantity={
            "value": 3.2,
            "unit": "mg/dL",
            "system": "http://unitsofmeasure.org",
            "code": "mg/dL",
        },
    )
    patient: Facts = {"day": 60, "operation": "discectomy", "leg": {-14: 8, 55: 2}}
    card = answered_with(KNOWLEDGE, patient, result).card("RF-INF-W")
    assert "sent as 3.2 mg/dL" in card["detail"]


def test_a_pain_score_is_no_fact_behind_the_scan_of_a_weakness() -> None:
    """An implant holds back the MRI; the pain is low and was low before."""
    weak = {"day": 60, "side": "left", "muscle": "quadriceps", "grade": 4}
    patient: dict[str, object] = {
        "day": 100,
        "operation": "discectomy",
        "strength": [weak],
        "implant": {"what": "pacemaker", "in the scanner": "unsafe"},
    }
    scored = Answered(assessed({**patient, "leg": {-14: 8, 95: 2}}), KNOWLEDGE)
    again = Answered(assessed({**patient, "leg": {-14: 8, 95: 2, 99: 2}}), KNOWLEDGE)
    assert scored.card("IMG-ALT")["uuid"] == again.card("IMG-ALT")["uuid"]


def test_a_pain_score_is_a_fact_behind_a_referral_for_returned_pain() -> None:
    """The new score is a reason to ask again."""
    patient = {"day": 100, "operation": "discectomy"}
    scored = Answered(assessed({**patient, "leg": {-14: 8, 30: 2, 95: 7}}), KNOWLEDGE)
    again = Answered(assessed({**patient, "leg": {-14: 8, 30: 2, 95: 7, 99: 8}}), KNOWLEDGE)
    assert scored.card("SURG-REV")["uuid"] != again.card("SURG-REV")["uuid"]


@pytest.mark.parametrize(
    ("card", "implant"),
    [
        ("IMG-MRI-NR", {}),
        ("IMG-ALT", {"implant": {"what": "pacemaker", "in the scanner": "unsafe"}}),
    ],
)
def test_claudication_since_the_mri_is_a_fact_behind_another_scan(
    card: str, implant: dict[str, object]
) -> None:
    """Not indicated for the pain says nothing of a walk that has been short since the MRI."""
    patient = {"day": 400, "operation": "decompression", "leg": {-14: 8, 395: 7}, **implant}
    for_pain = Answered(assessed(patient), KNOWLEDGE)
    scanned = {**patient, "done": {"MRI": 397}, "findings": {"claudication": 399}}
    since_then = Answered(assessed(scanned), KNOWLEDGE)
    assert for_pain.card(card)["uuid"] != since_then.card(card)["uuid"]
    told = f"Neurogenic claudication ({AS_OF - timedelta(days=1)})"
    assert told in since_then.card(card)["detail"]


def test_claudication_from_before_the_mri_is_no_fact_behind_another_scan() -> None:
    """The MRI of the time answered it; only its age asks for another one."""
    patient = {"day": 800, "operation": "decompression", "leg": {-14: 8, 795: 7}}
    asked = Answered(assessed({**patient, "done": {"MRI": 60}}), KNOWLEDGE)
    older = {**patient, "done": {"MRI": 60}, "findings": {"claudication": 60}}
    with_older = Answered(assessed(older), KNOWLEDGE)
    assert asked.card("IMG-MRI-NR")["uuid"] == with_older.card("IMG-MRI-NR")["uuid"]
