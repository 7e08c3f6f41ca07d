"""A finding counts alike, on the problem list or written down as an examination."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD, LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded, observed

YES = {"valueBoolean": True}
DISCITIS, FRACTURE = coded(SNOMED, "2304001"), coded(SNOMED, "426646004")
LOINC = "http://loinc.org"
PRESENT = {"valueCodeableConcept": coded(LOINC, "LA9633-4")}
ABSENT = {"valueCodeableConcept": coded(LOINC, "LA9634-2")}
NO = {"valueCodeableConcept": coded(LOINC, "LA32-8")}


def patient(day: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - facts of a vignette
    """Return someone operated *day* days ago."""
    return {"day": day, "operation": "discectomy", **more}


def found(code: Resource, answer: Resource | None = None, *, days_ago: int = 1) -> Resource:
    """Return an examination of some days ago."""
    day = (AS_OF - timedelta(days=days_ago)).isoformat()
    return observed(code, effectiveDateTime=day, **(answer or {}))


@pytest.mark.parametrize(
    ("day", "code", "card"),
    [
        (30, DISCITIS, "RF-INF"),
        (30, coded(ICD, "T81.42XA"), "RF-INF"),
        (5, coded(ICD, "G97.61"), "RF-EDH"),
        (5, coded(SNOMED, "239160006"), "RF-EDH"),
        (20, coded(ICD, "G97.41"), "RF-CSF"),
        (200, FRACTURE, "RF-OTHER"),
        (200, coded(SNOMED, "188462001"), "RF-OTHER"),
        (200, coded(ICD, "T84.216A"), "RF-OTHER"),
    ],
)
@pytest.mark.parametrize("answer", [{}, YES, PRESENT])
def test_red_flag_sent_as_an_observation_is_one(
    knowledge: Knowledge, day: int, code: Resource, card: str, answer: Resource
) -> None:
    """With or without an answer, as the coded condition would."""
    assert card in answered_with(knowledge, patient(day), found(code, answer)).shown


@pytest.mark.parametrize(
    "code",
    [
        {**coded(ICD, "R20.0"), "text": "Saddle anesthesia"},
        {"coding": [{**coded(ICD, "R20.1")["coding"][0], "display": "Perineal hypoesthesia"}]},
        {**coded(SNOMED, "44077006"), "text": "Numbness of the saddle area"},
        {**coded(SNOMED, "397974008"), "text": "Hypoesthesia of scrotum and penis"},
    ],
)
@pytest.mark.parametrize("kind", ["Condition", "Observation"])
def test_numb_saddle_is_a_sign_of_cauda_equina_compression_however_it_is_sent(
    knowledge: Knowledge, code: Resource, kind: str
) -> None:
    """Diagnosis codes have only numbness of the skin; the words beside the code say where."""
    day = (AS_OF - timedelta(days=1)).isoformat()
    sent = {"resourceType": "Condition", "code": code, "onsetDateTime": day}
    entry = sent if kind == "Condition" else found(code, YES)
    card = answered_with(knowledge, patient(21), entry).card("RF-CES")
    assert card["indicator"] == "critical"
    assert "saddle numbness" in card["summary"]
    assert "saddle sensation" not in card["detail"].split("**Limits.**")[1]


def test_numb_saddle_that_was_denied_is_none(knowledge: Knowledge) -> None:
    """Nurses answer the question with no."""
    code = {**coded(SNOMED, "44077006"), "text": "Numbness of the saddle area"}
    assert "RF-CES" not in answered_with(knowledge, patient(21), found(code, NO)).shown


@pytest.mark.parametrize(
    ("words", "is_numb"),
    [
        ("Numbness of left leg, no saddle anesthesia", False),
        ("Numbness of left leg without any perineal numbness", False),
        ("Left leg numb, denies numbness of the perineum", False),
        ("Left leg numb, saddle area is intact", False),
        ("Left leg numb, no saddle or anal numbness", False),
        ("Left leg numb, no perineal/genital numbness", False),
        ("No leg numbness, saddle and anal numbness", True),
        ("Numbness around the anus", True),
        ("No leg numbness, saddle anesthesia", True),
        ("Saddle anesthesia, no leg weakness", True),
        ("No change of saddle numbness", True),
        ("Numb, saddle area is not normal", True),
    ],
)
def test_numb_saddle_is_none_where_the_words_deny_it(
    knowledge: Knowledge, words: str, *, is_numb: bool
) -> None:
    """A numb leg whose entry says that the saddle is well is no emergency."""
    entry = found({**coded(ICD, "R20.0"), "text": words}, YES)
    assert ("RF-CES" in answered_with(knowledge, patient(21), entry).shown) == is_numb


@pytest.mark.parametrize("words", ["Anesthesia of skin", "Numbness of left hand", "Left foot numb"])
def test_numbness_elsewhere_is_no_emergency(knowledge: Knowledge, words: str) -> None:
    """The code alone names no place."""
    entry = found({**coded(ICD, "R20.0"), "text": words}, YES)
    assert "RF-CES" not in answered_with(knowledge, patient(21), entry).shown


@pytest.mark.parametrize("code", [DISCITIS, FRACTURE, coded(SNOMED, "192970008")])
@pytest.mark.parametrize("answer", [NO, ABSENT, {"valueBoolean": False}, {"valueString": "no"}])
def test_red_flag_that_was_looked_for_and_not_found_is_none(
    knowledge: Knowledge, code: Resource, answer: Resource
) -> None:
    """No is an answer, in whatever form."""
    shown = answered_with(knowledge, patient(30), found(code, answer)).shown
    assert not [card for card in shown if card.startswith("RF-")]
    assert "DATA-READ" not in shown


def test_red_flag_that_a_later_examination_denies_is_gone(knowledge: Knowledge) -> None:
    """A fracture seen a month ago, and none seen yesterday."""
    seen = found(FRACTURE, YES, days_ago=30)
    assert "RF-OTHER" in answered_with(knowledge, patient(200), seen).shown
    denied = answered_with(knowledge, patient(200), seen, found(FRACTURE, NO))
    assert "RF-OTHER" not in denied.shown


def test_red_flag_of_a_chart_read_in_part_is_shown(knowledge: Knowledge) -> None:
    """The latest examination cannot be told, so the one that was read counts."""
    seen = found(FRACTURE, YES, days_ago=30)
    answered = answered_with(knowledge, patient(200), seen, found(FRACTURE, NO), in_part="findings")
    assert "RF-OTHER" in answered.shown


def test_unread_answer_about_a_spinal_infection_is_a_gap(knowledge: Knowledge) -> None:
    """The service is not silent about what may be an emergency."""
    answered = answered_with(knowledge, patient(30), found(DISCITIS, {"valueString": "see letter"}))
    assert list(answered.shown) == ["DATA-READ"]


def test_infection_observed_before_an_undated_operation_is_an_emergency(
    knowledge: Knowledge,
) -> None:
    """Only a spinal infection of the last days counts then."""
    facts = {"operation": "discectomy", "operation date": "unknown"}
    assert "RF-INF" in answered_with(knowledge, patient(30, **facts), found(DISCITIS)).shown


@pytest.mark.parametrize("dated", [{}, {"operation date": "unknown"}])
@pytest.mark.parametrize(
    ("words", "is_spinal"), [("Infection of the lumbar spine", True), ("", False)]
)
def test_deep_infection_late_after_surgery_counts_where_its_words_name_the_spine(
    knowledge: Knowledge, dated: dict[str, Any], words: str, *, is_spinal: bool
) -> None:
    """The code is that of any operation; by day 105 there may have been another one."""
    day = (AS_OF - timedelta(days=5)).isoformat()
    code = {**coded(ICD, "T81.42XA"), "text": words or "Infection after a procedure"}
    entry = {"resourceType": "Condition", "code": code, "recordedDate": day}
    assert ("RF-INF" in answered_with(knowledge, patient(105, **dated), entry).shown) is is_spinal


def test_si_joint_pain_observed_is_a_second_pain_source(knowledge: Knowledge) -> None:
    """Back pain that stays, and a painful SI joint on examination."""
    facts = patient(200, back={-20: 7, 190: 7})
    answered = answered_with(knowledge, facts, found(coded(SNOMED, "202487003")))
    assert "SIJ" in answered.shown


UNKNOWN = [coded(SNOMED, "266927001"), coded(LOINC, "LA18980-5")]
NEVER = coded(SNOMED, "266919005")


@pytest.mark.parametrize(
    ("later", "is_smoker"), [*((answer, True) for answer in UNKNOWN), (NEVER, False)]
)
def test_unknown_smoking_status_takes_back_no_known_one(
    knowledge: Knowledge,
    later: Resource,
    is_smoker: bool,  # noqa: FBT001 - a case
) -> None:
    """A form that was not filled in says nothing of who smoked last month."""
    hurting = patient(120, leg={-14: 8, 115: 7})
    status = coded(LOINC, "72166-2")
    smoked = found(status, {"valueCodeableConcept": coded(SNOMED, "449868002")}, days_ago=30)
    asked = found(status, {"valueCodeableConcept": later})
    shown = answered_with(knowledge, hurting, smoked, asked).shown
    assert ("SMOKE" in shown) is is_smoker


@pytest.mark.parametrize(
    ("answer", "is_said"), [({"valueCodeableConcept": {"text": "pending"}}, False), (NO, True)]
)
def test_only_a_no_is_told_as_the_no_of_the_surgeon(
    knowledge: Knowledge,
    answer: Resource,
    is_said: bool,  # noqa: FBT001 - a case
) -> None:
    """An answer nobody can read stood on the card as a refusal; nor does it let therapy begin."""
    clearance = coded(LOCAL, "surgeon-clearance-pt")
    yes, later = found(clearance, YES, days_ago=4), found(clearance, answer)
    hurting = patient(40, leg={-14: 8, 35: 7})
    detail = str(answered_with(knowledge, hurting, yes, later).card("PT-REF")["detail"])
    assert ("The surgeon did not allow" in detail) is is_said
    early = patient(20, leg={-14: 8, 18: 7})
    assert "PT-REF" in answered_with(knowledge, early, yes).shown
    assert "PT-REF" not in answered_with(knowledge, early, yes, later).shown
    same_day = found(clearance, answer, days_ago=4)
    assert "PT-REF" not in answered_with(knowledge, early, same_day, yes).shown
