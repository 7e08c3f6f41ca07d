"""What was not read is never told as "none": explanations, contrast, needles, therapy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from cds_service.chart.facts import ObservationFact
from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Verdict
from cds_service.knowledge.loading import load_knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, Answered, chart_of

NERVE_PAIN: Facts = {
    "day": 400,
    "operation": "discectomy",
    "leg": {-14: 8, 200: 7, 395: 7},
    "findings": {"neuropathic pain": 200},
    "done": {"MRI": [300]},
}
UNRELIEVED: Facts = {"day": 200, "operation": "discectomy", "leg": {-14: 8, 195: 7}, "age": 40}
WEAK: Facts = {
    "day": 60,
    "operation": "discectomy",
    "leg": {-14: 8, 55: 2},
    "strength": [{"day": 30, "side": "left", "muscle": "tibialis anterior", "grade": 4}],
}


def _answered(facts: Facts, **more: object) -> Answered:
    knowledge = load_knowledge()
    chart = chart_of({**facts, **more}, knowledge)
    return Answered(assess(chart, knowledge, AS_OF), knowledge)


def _detail(facts: Facts, card: str, **more: object) -> str:
    return str(_answered(facts, **more).card(card)["detail"])


def _explanations(facts: Facts, **more: object) -> set[str]:
    return {each.phenotype for each in _answered(facts, **more).assessment.explanations}


@pytest.mark.parametrize("key", [Key.CONDITIONS, Key.DIAGNOSTIC_REPORTS])
def test_nerve_pain_without_a_target_needs_everything_read(key: str) -> None:
    """A missing structural target is claimed only when problem list and reports were read."""
    assert "neuropathic" in _explanations(NERVE_PAIN)
    assert "neuropathic" not in _explanations(NERVE_PAIN, **{"supplied in part": [key]})


def test_contrast_with_unread_kidney_values_says_so() -> None:
    """A normal eGFR is not trusted as the latest when not all values could be read."""
    said = "Renal function not found or not fully read"
    normal = {"eGFR": {190: 90}}
    assert said not in _detail(UNRELIEVED, "IMG-MRI-NR", **normal)
    part = {**normal, "supplied in part": [Key.FINDINGS]}
    assert said in _detail(UNRELIEVED, "IMG-MRI-NR", **part)


def test_contrast_without_an_allergy_list_says_so() -> None:
    """A site that does not share allergies is told to ask about gadolinium."""
    assert "ask about gadolinium" in _detail(UNRELIEVED, "IMG-MRI-NR")
    known = {"findings": {"gadolinium allergy": 10}}
    assert "ask about gadolinium" not in _detail(UNRELIEVED, "IMG-MRI-NR", **known)


def test_contrast_with_some_allergies_read_does_not_say_that_none_were() -> None:
    """The one to gadolinium may be on the page that did not come."""
    knowledge = load_knowledge()
    chart = chart_of(UNRELIEVED, knowledge)
    in_part = Supply(state=State.PARTIAL, reason="only some pages could be read")
    chart = replace(chart, supply={**chart.supply, Key.ALLERGIES: in_part})
    detail = str(Answered(assess(chart, knowledge, AS_OF), knowledge).card("IMG-MRI-NR")["detail"])
    assert "Allergies not read, or not all of them; ask about gadolinium" in detail


@pytest.mark.parametrize("lack", ["not supplied", "supplied in part"])
def test_mri_without_the_problem_list_asks_about_implants(lack: str) -> None:
    """A pacemaker may be coded there alone, and so may a reaction to gadolinium."""
    said = "ask about a pacemaker or another implant"
    assert said not in _detail(UNRELIEVED, "IMG-MRI-NR")
    answered = _answered(UNRELIEVED, **{lack: [Key.CONDITIONS]})
    assert answered.card("IMG-MRI-NR")["suggestions"]
    assert said in str(answered.card("IMG-MRI-NR")["detail"])


@pytest.mark.parametrize("key", [Key.CONDITIONS, Key.DEVICES])
def test_card_without_an_mri_order_asks_about_no_implants(key: str) -> None:
    """Neither one that orders none, nor one whose order is held back."""
    unread = _answered(UNRELIEVED, **{"not supplied": [key]})
    card = "PT-REF" if key == Key.CONDITIONS else "IMG-MRI-NR"
    assert "another implant" not in str(unread.card(card)["detail"])


@pytest.mark.parametrize(("day", "is_known"), [(-100, True), (-101, False)])
def test_old_pregnancy_status_is_no_status(day: int, *, is_known: bool) -> None:
    """A status older than a pregnancy lasts says nothing about today."""
    said = "Pregnancy status not found, not fully read or not current"
    answered = _answered(UNRELIEVED, **{"pregnancy test": day})
    is_scanned = bool(answered.shown["IMG-MRI-NR"].proposals)
    assert is_scanned
    assert (said not in str(answered.card("IMG-MRI-NR")["detail"])) == is_known


PREGNANT = "Pregnancy on record"
UNKNOWN_IF_PREGNANT = "Pregnancy status not found"


def _told_of_pregnancy(*answers: tuple[int, str], **more: object) -> str:
    """Return the MRI card of a woman of 40 with these answers, each as many days ago."""
    knowledge = load_knowledge()
    chart = chart_of({**UNRELIEVED, **more}, knowledge)
    statuses = [
        ObservationFact(
            reference=f"Observation/status-{number}",
            concepts=frozenset({"pregnancy-status"}),
            effective=FhirDate.on(AS_OF - timedelta(days=age)),
            choice=frozenset({answer} if answer else ()),
        )
        for number, (age, answer) in enumerate(answers)
    ]
    chart = replace(chart, observations=(*chart.observations, *statuses))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    return str(answered.card("IMG-MRI-NR")["detail"])


@pytest.mark.parametrize("answer", ["pregnancy", "answer-present"])
def test_a_coded_or_plain_yes_is_a_pregnancy(answer: str) -> None:
    """However the EHR writes it."""
    assert PREGNANT in _told_of_pregnancy((5, answer))


@pytest.mark.parametrize("answer", ["not-pregnant", "answer-no", "answer-absent"])
def test_a_coded_or_plain_no_settles_the_question(answer: str) -> None:
    """Nothing is said about a pregnancy that was asked about and is not there."""
    told = _told_of_pregnancy((5, answer))
    assert PREGNANT not in told
    assert UNKNOWN_IF_PREGNANT not in told


@pytest.mark.parametrize("answer", ["answer-other", ""])
def test_an_answer_that_says_unknown_settles_nothing(answer: str) -> None:
    """The word unknown, or a code we do not know, is not a no."""
    assert UNKNOWN_IF_PREGNANT in _told_of_pregnancy((5, answer))
    assert PREGNANT in _told_of_pregnancy((30, "pregnancy"), (5, answer))
    assert UNKNOWN_IF_PREGNANT not in _told_of_pregnancy((30, "not-pregnant"), (5, answer))


def test_a_no_that_was_read_settles_nothing_while_a_pregnancy_may_be_unread() -> None:
    """It may stand in the part of the problem list that is missing."""
    no = (5, "not-pregnant")
    assert UNKNOWN_IF_PREGNANT not in _told_of_pregnancy(no)
    assert UNKNOWN_IF_PREGNANT in _told_of_pregnancy(no, **{"supplied in part": [Key.CONDITIONS]})


def test_the_latest_answer_about_pregnancy_counts() -> None:
    """Of two answers of one day the yes."""
    assert PREGNANT in _told_of_pregnancy((30, "not-pregnant"), (5, "pregnancy"))
    assert PREGNANT not in _told_of_pregnancy((30, "pregnancy"), (5, "not-pregnant"))
    assert PREGNANT in _told_of_pregnancy((5, "pregnancy"), (5, "not-pregnant"))


def test_x_rays_ask_for_an_unknown_pregnancy_too() -> None:
    """Not only an MRI: x-rays of a woman of child-bearing age ask before the scan."""
    back = {"day": 200, "operation": "discectomy", "back": {-14: 7, 195: 7}, "age": 40}
    said = "Pregnancy status not found"
    assert said in _detail({**back, "operation": "fusion"}, "XR-DYN")
    assert said not in _detail({**back, "operation": "fusion", "sex": "male"}, "XR-DYN")


def test_needles_with_unread_medication_say_so() -> None:
    """An EMG is proposed with the advice to ask when anticoagulants could not be read."""
    said = "Anticoagulants and clotting disorders not fully read"
    assert said not in _detail(WEAK, "EMG-MOTOR")
    assert said in _detail(WEAK, "EMG-MOTOR", **{"not supplied": [Key.MEDICATION_REQUESTS]})


def test_an_emg_ordered_for_one_weakness_answers_none_that_could_not_be_read() -> None:
    """The order holds the card back; in the rest of the problem list may stand another."""
    facts = {**WEAK, "ordered": {"EMG": 40}}
    rows = [
        next(f for f in _answered(facts, **more).assessment.findings if f.card == "EMG-MOTOR")
        for more in ({}, {"supplied in part": [Key.CONDITIONS]})
    ]
    assert [row.verdict for row in rows] == [Verdict.NOT_MET, Verdict.CANNOT_TELL]
    assert rows[0].held_by == "EMG done or ordered since the weakness"


@pytest.mark.parametrize("card", ["PT-REF", "XR-DYN"])
def test_therapy_and_bending_wait_while_the_problem_list_is_unread(card: str) -> None:
    """Nobody knows that no fracture stands against them; the card says what was open."""
    fused = {"day": 400, "operation": "fusion", "back": {-14: 7, 395: 7}}
    assert "suggestions" in _answered(fused).card(card)
    answered = _answered(fused, **{"not supplied": [Key.CONDITIONS]})
    assert "suggestions" not in answered.card(card)
    reasons = answered.shown[card].reasons
    assert "could not check: another cause is on record" in reasons


@pytest.mark.parametrize("key", [Key.DIAGNOSTIC_REPORTS, Key.PROCEDURES])
@pytest.mark.parametrize("day", [30, "undated"])
def test_an_mri_that_could_not_be_read_is_not_called_missing(key: str, day: object) -> None:
    """It may be among the reports or procedures that did not come; the card says to look."""
    weak = {"strength": [], "coded weakness": [{"what": "muscle weakness", "day": day}]}
    known = _answered(WEAK, **weak).card("IMG-MRI-DEF")
    assert "no MRI lumbar spine found since" in known["summary"]
    unread = _answered(WEAK, **weak, **{"supplied in part": [key]}).card("IMG-MRI-DEF")
    assert "look for an MRI" in unread["summary"]
    assert "found since" not in unread["summary"]
    assert "no lumbar MRI since" not in str(unread["detail"])
    assert "suggestions" not in unread


def test_therapy_that_could_not_be_read_is_not_called_missing() -> None:
    """Sessions may be among the procedures that did not come."""
    said = "no recent therapy in this record"
    assert said in _answered(UNRELIEVED).card("PT-REF")["summary"]
    unread = _answered(UNRELIEVED, **{"supplied in part": [Key.PROCEDURES]}).card("PT-REF")
    assert said not in unread["summary"]
    assert "could not all be read" in unread["summary"]
    assert "shows no therapy" not in str(unread["detail"])


@pytest.mark.parametrize("key", [Key.CONDITIONS, Key.FINDINGS])
def test_strength_before_surgery_that_could_not_be_read_is_not_called_missing(key: str) -> None:
    """An old weakness may stand on the problem list, or in an examination, that did not come."""
    severe = {"strength": [{"day": 55, "side": "left", "muscle": "quadriceps", "grade": 2}]}
    said = "No pre-operative grade on record"
    assert said in _detail(WEAK, "RF-MOTOR", **severe)
    unread = _detail(WEAK, "RF-MOTOR", **severe, **{"supplied in part": [key]})
    assert said not in unread
    assert "Earlier findings not all read; full strength is assumed" in unread


@pytest.mark.parametrize("key", [Key.CONDITIONS, Key.FINDINGS])
def test_signs_that_could_not_be_read_are_not_called_missing(key: str) -> None:
    """A numb saddle or a weak leg may be coded in the part that did not come."""
    said = "Bladder, saddle sensation, leg strength not found in"
    assert f"{said} coded data - ask" in _detail(UNRELIEVED, "IMG-MRI-NR")
    unread = _detail(UNRELIEVED, "IMG-MRI-NR", **{"supplied in part": [key]})
    assert f"{said} coded data, as far as it could be read - ask" in unread


@pytest.mark.parametrize("key", [Key.CONDITIONS, Key.FINDINGS])
def test_card_that_orders_nothing_speaks_of_no_order_held_back(key: str) -> None:
    """Cancer that makes the opioid right may be in what did not come; an order it never had."""
    opioid = {"drugs": [{"drug": "opioid", "from": 60, "MME a day": 90}]}
    detail = _detail(UNRELIEVED, "OPIOID-W", **opioid, **{"supplied in part": [key]})
    assert "Whether this applies is open" in detail
    assert "No order is proposed" not in detail
    detail = _detail(UNRELIEVED, "PT-REF", **{"supplied in part": [Key.SERVICE_REQUESTS]})
    assert "No order is proposed" in detail


def test_drugs_read_in_part_are_not_all_there_are() -> None:
    """Naloxone and further opioids may be among the prescriptions that did not come."""
    opioid = {"drugs": [{"drug": "opioid", "from": 60, "MME a day": 90}]}
    known = _answered(UNRELIEVED, **opioid).card("OPIOID-W")
    assert "at least" not in known["summary"]
    assert "No naloxone on record" in str(known["detail"])
    part = {"supplied in part": [Key.MEDICATION_REQUESTS]}
    unread = _answered(UNRELIEVED, **opioid, **part).card("OPIOID-W")
    assert "at least 90 MME/day" in unread["summary"]
    assert "No naloxone on record" not in str(unread["detail"])
    assert "Ask about naloxone" in str(unread["detail"])
