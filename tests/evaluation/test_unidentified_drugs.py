"""A prescription that no code names may be an anticoagulant: where that matters, it is said."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.chart.facts import DrugFact
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Indicator, Verdict
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace
from tests.evaluation.whole_charts import FOR_STIMULATION

SAID = "Active prescriptions that could not be identified: 2"
UNSAFE: Facts = {
    "day": 120,
    "operation": "discectomy",
    "leg": {-14: 8, 115: 7},
    "implant": {"what": "pacemaker", "in the scanner": "unsafe"},
}
WEAK: Facts = {
    "day": 60,
    "operation": "discectomy",
    "leg": {-14: 8, 55: 2},
    "strength": [{"day": 30, "side": "left", "muscle": "tibialis anterior", "grade": 4}],
}
NUMB: Facts = {
    "day": 120,
    "operation": "discectomy",
    "leg": {-14: 8, 115: 7},
    "done": {"MRI": 60},
    "findings": {"polyneuropathy": 100},
}
RISING: Facts = {"day": 2, "operation": "discectomy", "back": {1: 4, 2: 9}}
RETAINING: Facts = {**RISING, "findings": {"urinary retention": 1}}
WARFARIN: Facts = {"drugs": [{"drug": "anticoagulant", "from": -20}]}
BLEEDING: Facts = {"findings": {"coagulopathy": -100}}
UNTREATED: Facts = {**FOR_STIMULATION, "drugs": []}


def _answered(knowledge: Knowledge, facts: Facts, unidentified: int = 2) -> Answered:
    chart = replace(chart_of(facts, knowledge), unidentified_drugs=unidentified)
    return Answered(assess(chart, knowledge, AS_OF), knowledge)


def _detail(answered: Answered, card: str) -> str:
    return str(answered.card(card)["detail"])


@pytest.mark.parametrize(
    ("facts", "card"),
    [(UNSAFE, "IMG-ALT"), (WEAK, "EMG-MOTOR"), (NUMB, "EMG-RAD"), (RETAINING, "RF-EDH")],
)
def test_card_that_depends_on_anticoagulants_says_what_could_not_be_identified(
    knowledge: Knowledge, facts: Facts, card: str
) -> None:
    """One sentence, with the number; none where every prescription is known."""
    assert _detail(_answered(knowledge, facts), card).count("could not be identified") == 1
    assert SAID in _detail(_answered(knowledge, facts), card)
    assert "could not be identified" not in _detail(_answered(knowledge, facts, 0), card)


@pytest.mark.parametrize("known", [WARFARIN, BLEEDING])
def test_nothing_is_asked_where_a_bleeding_risk_is_known(
    knowledge: Knowledge, known: Facts
) -> None:
    """With warfarin or a clotting disorder on record the card already says so."""
    answered = _answered(knowledge, {**UNSAFE, **known})
    assert answered.shown["IMG-ALT"].variant == "bleeding"
    assert "could not be identified" not in _detail(answered, "IMG-ALT")
    weak = _answered(knowledge, {**WEAK, **known})
    assert "could not be identified" not in _detail(weak, "EMG-MOTOR")


def test_no_myelogram_is_proposed_while_an_anticoagulant_cannot_be_excluded(
    knowledge: Knowledge,
) -> None:
    """The card stays and says why; with every prescription known the myelogram is proposed."""
    assert _answered(knowledge, UNSAFE).card("IMG-ALT").get("suggestions") is None
    assert _answered(knowledge, UNSAFE).shown["IMG-ALT"].proposals == ()
    detail = _detail(_answered(knowledge, UNSAFE), "IMG-ALT")
    headline = str(_answered(knowledge, UNSAFE).card("IMG-ALT")["summary"])
    assert "ask about anticoagulants" in headline
    assert detail.startswith("**Ask about anticoagulants")
    assert "no myelogram is proposed" in detail
    assert "could not be read" not in detail
    assert _answered(knowledge, UNSAFE, 0).card("IMG-ALT")["suggestions"]


def test_emg_is_proposed_all_the_same(knowledge: Knowledge) -> None:
    """Anticoagulants are a caution of an EMG, not a reason to hold it back."""
    assert _answered(knowledge, WEAK).card("EMG-MOTOR")["suggestions"]


def test_a_rise_of_pain_is_no_emergency_because_a_drug_is_unknown(knowledge: Knowledge) -> None:
    """Back pain 4, then 9 on day 2: an emergency under warfarin, else nobody can tell."""
    known = _answered(knowledge, {**RISING, **WARFARIN}, 0).shown["RF-EDH"]
    assert known.indicator is Indicator.CRITICAL
    verdicts = {
        unidentified: {
            finding.card: finding.verdict
            for finding in _answered(knowledge, RISING, unidentified).assessment.findings
        }["RF-EDH"]
        for unidentified in (0, 2)
    }
    assert verdicts == {0: Verdict.NOT_MET, 2: Verdict.CANNOT_TELL}


def test_other_cards_say_nothing_of_unidentified_prescriptions(knowledge: Knowledge) -> None:
    """Physiotherapy and the surgeon do not depend on them."""
    answered = _answered(knowledge, NUMB)
    others = {card: _detail(answered, card) for card in answered.shown if card != "EMG-RAD"}
    assert others
    assert [card for card, detail in others.items() if "could not be identified" in detail] == []


@pytest.mark.parametrize(("dose", "card"), [(90, "OPIOID-W"), (20, "OPIOID")])
def test_naloxone_may_be_among_the_prescriptions_nobody_can_identify(
    knowledge: Knowledge, dose: int, card: str
) -> None:
    """A nasal spray by its package code or in words only."""
    facts: Facts = {
        "day": 200,
        "operation": "discectomy",
        "leg": {-14: 8, 195: 7},
        "drugs": [{"drug": "opioid", "from": 60, "MME a day": dose}],
    }
    assert "No naloxone on record" in _detail(_answered(knowledge, facts, 0), card)
    unclear = _detail(_answered(knowledge, facts), card)
    assert "No naloxone on record" not in unclear
    assert "Ask about naloxone, and offer it." in unclear
    chart = chart_of(facts, knowledge)
    spray = DrugFact(
        reference="MedicationRequest/spray",
        concepts=frozenset({"naloxone"}),
        status="active",
        started=None,
    )
    at_hand = replace(chart, drugs=(*chart.drugs, spray), unidentified_drugs=2)
    said = _detail(Answered(assess(at_hand, knowledge, AS_OF), knowledge), card)
    assert "Naloxone is on record." in said
    assert "offer it" not in said


@pytest.mark.parametrize(
    ("status", "age", "is_said"),
    [
        ("active", 100, True),
        ("completed", 100, True),
        ("stopped", 173, False),
        ("completed", 172, True),
        ("completed", 900, False),
    ],
)
def test_prescription_nobody_can_identify_is_not_taken_as_no_medication(
    knowledge: Knowledge, status: str, age: int, *, is_said: bool
) -> None:
    """What was written too early (before day 28) cannot be the missing trial."""
    card = _with_course(knowledge, UNTREATED, status, age).card("SCS-PREREQ")
    words = "enough medication classes (not all prescriptions identified)"
    assert (words in str(card["summary"])) == is_said
    assert (words in str(card["detail"])) == is_said


def test_other_steps_that_are_missing_keep_their_names(knowledge: Knowledge) -> None:
    """Physiotherapy is missing; a prescription nobody can identify is no physiotherapy."""
    facts: Facts = {**FOR_STIMULATION, "done": {"MRI": 120, "pain clinic": 170}}
    card = _with_course(knowledge, facts, "active", 100).card("SCS-PREREQ")
    assert card["summary"] == "Before an SCS evaluation still needed: physiotherapy."


def _with_course(knowledge: Knowledge, facts: Facts, status: str, age: int) -> Answered:
    """Answer for a chart with a prescription of *age* days that nothing identifies."""
    course = DrugFact(
        reference="MedicationRequest/dmd",
        concepts=frozenset(),
        status=status,
        started=FhirDate.on(AS_OF - timedelta(days=age)),
    )
    chart = replace(chart_of(facts, knowledge), unidentified_courses=(course,))
    return Answered(assess(chart, knowledge, AS_OF), knowledge)
