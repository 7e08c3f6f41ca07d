"""An implant is named with what the chart says of it in the MR scanner."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.chart.facts import ProcedureFact
from cds_service.evaluation.assess import assess
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import CPT, ICD, SNOMED
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace
from tests.evaluation.whole_charts import FOR_STIMULATION, answered_with, coded, device

UNSAFE = {"safety": [{"text": "MR Unsafe"}]}
NO_RELIEF = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 115: 7}}
WEAK = {
    "day": 80,
    "operation": "discectomy",
    "strength": [{"day": 30, "side": "left", "muscle": "big toe extensor", "grade": 4}],
}
STATUS = "http://terminology.hl7.org/CodeSystem/condition-clinical"
PACEMAKER = coded(SNOMED, "424921004")


def _diagnosis(code: str, status: str = "active", **words: str) -> Resource:
    """Return a condition of long ago."""
    return {
        "resourceType": "Condition",
        "code": {**coded(ICD, code), **words},
        "clinicalStatus": coded(STATUS, status),
        "recordedDate": (AS_OF - timedelta(days=900)).isoformat(),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"type": {"text": "Penile prosthesis"}},
        {"deviceName": [{"name": "Brand 7", "type": "user-friendly-name"}]},
        {"type": {"coding": [{"system": "https://hospital.example", "code": "X1"}]}},
        {"type": {"text": "Implanted probe with external processor"}},
    ],
)
def test_unsafe_implant_of_an_unknown_kind_holds_back_the_mri(
    knowledge: Knowledge, fields: Resource
) -> None:
    """Whatever it is, what is documented MR unsafe does not go into the scanner."""
    answered = answered_with(knowledge, NO_RELIEF, device(**fields, **UNSAFE))
    assert list(answered.shown) == ["IMG-ALT", "PT-REF"]
    detail = str(answered.card("IMG-ALT")["detail"])
    assert "Implant - an implant, documented MR unsafe" in detail
    assert "Penile" not in detail
    emergency = {"day": 20, "operation": "discectomy", "findings": {"cauda equina syndrome": 19}}
    answered = answered_with(knowledge, emergency, device(**fields, **UNSAFE))
    assert answered.shown["RF-CES"].proposals == ()
    assert "No MRI order: an implant, MR status unsafe" in str(answered.card("RF-CES")["detail"])


@pytest.mark.parametrize(
    "fields",
    [
        {"type": {"text": "Wearable monitor"}, **UNSAFE},
        {"type": {"text": "Knee prosthesis"}, "safety": [{"text": "MR Conditional"}]},
        {"type": {"text": "Cochlear implant"}, **UNSAFE, "status": "inactive"},
    ],
)
def test_device_worn_outside_or_not_unsafe_or_out_of_use_changes_nothing(
    knowledge: Knowledge, fields: Resource
) -> None:
    """A kind of device nobody knows counts only where the chart warns of it."""
    answered = answered_with(knowledge, NO_RELIEF, device(**fields))
    assert list(answered.shown) == ["IMG-MRI-NR", "PT-REF"]
    assert "implant" not in str(answered.card("IMG-MRI-NR")["detail"]).split("**Cautions**")[-1]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("MR Conditional", "MR conditional: check the conditions of scan region and lead"),
        ("MR Safe", "documented MR safe"),
    ],
)
def test_implant_that_may_be_scanned_is_named_and_the_mri_is_proposed(
    knowledge: Knowledge, status: str, words: str
) -> None:
    """The radiographer must know of the pacemaker; the order stays."""
    found = device(type=PACEMAKER, safety=[{"text": status}])
    answered = answered_with(knowledge, NO_RELIEF, found)
    assert answered.shown["IMG-MRI-NR"].proposals
    assert f"Cardiac pacemaker, {words}" in str(answered.card("IMG-MRI-NR")["detail"])


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (device(type={"text": "Cochlear implant, left"}), "Cochlear implant"),
        (device(type=coded(SNOMED, "43252007")), "Cochlear implant"),
        (_diagnosis("Z96.21"), "Cochlear implant"),
        (device(type={"text": "HeartMate 3 LVAD"}), "Heart assist device"),
        (_diagnosis("Z95.811"), "Heart assist device"),
        (device(type={"text": "Programmable VP shunt"}), "Shunt for spinal fluid"),
        (_diagnosis("Z98.2"), "Shunt for spinal fluid"),
    ],
)
def test_implant_the_scanner_may_harm_is_named_beside_the_mri(
    knowledge: Knowledge, entry: Resource, name: str
) -> None:
    """A magnet may move a cochlear implant or set a valve anew; whoever scans must know of it."""
    answered = answered_with(knowledge, NO_RELIEF, entry)
    assert answered.shown["IMG-MRI-NR"].proposals
    detail = str(answered.card("IMG-MRI-NR")["detail"])
    assert f"{name}: MR status not recorded. Ask MR safety" in detail


def test_named_implant_that_is_documented_unsafe_holds_back_the_mri(knowledge: Knowledge) -> None:
    """What the chart warns of does not go into the scanner."""
    unsafe = device(type={"text": "Cochlear implant"}, **UNSAFE)
    answered = answered_with(knowledge, NO_RELIEF, unsafe)
    assert list(answered.shown) == ["IMG-ALT", "PT-REF"]
    assert "cochlear implant, documented MR unsafe" in str(answered.card("IMG-ALT")["detail"])


@pytest.mark.parametrize("code", ["H44.642", "Z18.11"])
def test_magnetic_metal_in_the_body_is_a_caution_of_the_mri(
    knowledge: Knowledge, code: str
) -> None:
    """A splinter in the eye that the magnet moves can blind."""
    answered = answered_with(knowledge, NO_RELIEF, _diagnosis(code))
    assert "Retained magnetic metal on record" in str(answered.card("IMG-MRI-NR")["detail"])
    assert "magnetic" not in str(answered.card("PT-REF")["detail"])


@pytest.mark.parametrize("status", ["MR Conditional", "MR Safe", "MR Unsafe", None])
def test_implant_is_told_to_the_laboratory_whatever_the_scanner_does_to_it(
    knowledge: Knowledge, status: str | None
) -> None:
    """Stimulation near a pacemaker has nothing to do with the MR scanner."""
    safety = {"safety": [{"text": status}]} if status else {}
    answered = answered_with(knowledge, WEAK, device(type=PACEMAKER, **safety))
    assert "emg-device" in {note.key for note in answered.shown["EMG-MOTOR"].notes}


@pytest.mark.parametrize("kind", ["Aneurysm clip", "VP shunt"])
def test_implant_without_a_current_is_no_matter_of_the_laboratory(
    knowledge: Knowledge, kind: str
) -> None:
    """Nothing in a clip or a shunt is disturbed by stimulating a leg."""
    answered = answered_with(knowledge, WEAK, device(type={"text": kind}, **UNSAFE))
    assert "emg-device" not in {note.key for note in answered.shown["EMG-MOTOR"].notes}


@pytest.mark.parametrize("kind", ["Pacemaker", "Implantable defibrillator", "Intrathecal pump"])
@pytest.mark.parametrize("status", ["MR Conditional", "MR Safe", "MR Unsafe", None])
def test_implant_is_told_before_a_stimulator_is_considered(
    knowledge: Knowledge, kind: str, status: str | None
) -> None:
    """Two devices can disturb each other, also where both may be scanned."""
    safety = {"safety": [{"text": status}]} if status else {}
    answered = answered_with(knowledge, FOR_STIMULATION, device(type={"text": kind}, **safety))
    assert "check interference" in str(answered.card("SCS-EVAL")["detail"])


def test_clip_disturbs_no_stimulator(knowledge: Knowledge) -> None:
    """An aneurysm clip has no current."""
    clip = device(type={"text": "Aneurysm clip"}, safety=[{"text": "MR Safe"}])
    answered = answered_with(knowledge, FOR_STIMULATION, clip)
    assert "interference" not in str(answered.card("SCS-EVAL")["detail"])


@pytest.mark.parametrize(
    "entry",
    [
        _diagnosis("Z96.82", text="Presence of spinal cord stimulator"),
        _diagnosis("Z45.42", text="Check of spinal cord stimulator"),
        *(_diagnosis(code) for code in ("T85.112A", "T85.122D", "T85.192A", "T85.733A")),
        _diagnosis("T85.733A", "resolved"),
        device(type={"text": "Spinal cord stimulator"}, status="inactive"),
        device(type={"text": "Spinal cord stimulator"}),
        {"resourceType": "Procedure", "status": "completed", "code": coded(CPT, "95971")},
    ],
)
def test_stimulator_that_was_ever_there_is_not_considered_again(
    knowledge: Knowledge, entry: Resource
) -> None:
    """The patient's stimulator is on the problem list, or was taken out again."""
    assert "SCS-EVAL" in answered_with(knowledge, FOR_STIMULATION).shown
    shown = answered_with(knowledge, FOR_STIMULATION, entry).shown
    assert not shown.keys() & {"SCS-EVAL", "SCS-PREREQ"}


@pytest.mark.parametrize(
    "entry",
    [
        _diagnosis("Z96.82", text="Presence of vagus nerve stimulator"),
        _diagnosis("Z96.82"),
        device(type={"text": "Pacemaker"}, status="inactive"),
        device(type={"text": "Spinal cord stimulator"}, status="entered-in-error"),
    ],
)
def test_other_implant_is_no_spinal_cord_stimulator(knowledge: Knowledge, entry: Resource) -> None:
    """A stimulator of another nerve, or of nobody knows which, was no trial."""
    assert "SCS-EVAL" in answered_with(knowledge, FOR_STIMULATION, entry).shown


def test_ordered_stimulator_trial_is_a_referral_for_it(knowledge: Knowledge) -> None:
    """The evaluation came before the order."""
    trial = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": coded(CPT, "63650"),
        "authoredOn": (AS_OF - timedelta(days=10)).isoformat(),
    }
    assert "SCS-EVAL" not in answered_with(knowledge, FOR_STIMULATION, trial).shown


def _procedure(name: str, day: int, *concepts: str) -> ProcedureFact:
    """Return an operation *day* days after the discectomy."""
    return ProcedureFact(
        reference=f"Procedure/{name}",
        concepts=frozenset(concepts),
        performed=FhirDate.on(AS_OF - timedelta(days=120 - day)),
    )


STIMULATOR, PUMP = ("implant-neurostimulator", "scs-removal"), ("implant-pump", "pump-removal")


@pytest.mark.parametrize(("placed", "removed"), [STIMULATOR, PUMP], ids=["stimulator", "pump"])
@pytest.mark.parametrize(
    ("entries", "is_there"),
    [
        ((("a", 10, "placed"),), True),
        ((("a", 10, "placed"), ("b", 11, "removed")), False),
        ((("a", 10, "placed"), ("b", 10, "removed")), True),
        ((("a", 10, "placed"), ("b", 9, "removed")), True),
        ((("a", 10, "both"),), True),
        ((("b", 10, "both"), ("a", 11, "removed"), ("c", 4, "removed")), False),
    ],
)
def test_device_is_there_until_a_later_day_removes_it(
    knowledge: Knowledge,
    placed: str,
    removed: str,
    entries: tuple[tuple[str, int, str], ...],
    is_there: bool,  # noqa: FBT001 - a case
) -> None:
    """What is removed on the day it is placed was exchanged."""
    concepts = {"placed": {placed}, "removed": {removed}, "both": {placed, removed}}
    procedures = [_procedure(name, day, *concepts[what]) for name, day, what in entries]
    assert _holds_back_the_mri(knowledge, *procedures) is is_there


def _holds_back_the_mri(knowledge: Knowledge, *procedures: ProcedureFact) -> bool:
    found = chart_of(NO_RELIEF, knowledge)
    found = replace(found, procedures=(*found.procedures, *procedures))
    shown = Answered(assess(found, knowledge, AS_OF), knowledge).shown
    return not (shown["IMG-MRI-NR"].proposals if "IMG-MRI-NR" in shown else ())


@pytest.mark.parametrize("kind", ["implant-pacemaker", "implant-defibrillator"])
def test_heart_device_is_there_for_good(knowledge: Knowledge, kind: str) -> None:
    """Its leads stay in the heart when the generator is removed."""
    procedures = [_procedure("a", -4000, kind), _procedure("b", 20, "scs-removal", "pump-removal")]
    assert _holds_back_the_mri(knowledge, *procedures)


PLACED_2012 = {"status": "completed", "code": coded(CPT, "33208"), "performedDateTime": "2012-03"}
CHECKED_2019 = {**PLACED_2012, "performedDateTime": "2019-05-03"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([PLACED_2012], "known only from a procedure of 2012-03"),
        ([CHECKED_2019, PLACED_2012], "known only from a procedure of 2019-05-03"),
        ([{**PLACED_2012, "performedDateTime": None}], "Cardiac pacemaker: MR status not recorded"),
        ([_diagnosis("Z95.0"), PLACED_2012], "Cardiac pacemaker: MR status not recorded"),
    ],
)
def test_implant_known_only_from_its_operation_says_so_and_when(
    knowledge: Knowledge, entries: list[Resource], words: str
) -> None:
    """What was placed long ago may be another device today: whoever asks must know the year."""
    resources = [{"resourceType": "Procedure", **entry} for entry in entries]
    answered = answered_with(knowledge, NO_RELIEF, *resources)
    cautions = str(answered.card("IMG-ALT")["detail"]).split("**Cautions**")[-1]
    assert words in cautions
    assert cautions.count("Cardiac pacemaker") == 1


def test_blood_tests_are_the_recommended_choice_where_an_implant_holds_back_the_mri(
    knowledge: Knowledge,
) -> None:
    """What an EHR ticks beforehand for a spinal infection is the MRI, or else the blood tests."""
    infected = {"day": 40, "operation": "discectomy", "findings": {"spinal infection": 39}}
    held = answered_with(knowledge, infected, device(type={"text": "Cochlear implant"}, **UNSAFE))
    marked = [proposal.is_recommended for proposal in held.shown["RF-INF"].proposals]
    assert marked == [True]
    free = answered_with(knowledge, infected)
    marked = [proposal.is_recommended for proposal in free.shown["RF-INF"].proposals]
    assert marked == [True, False]


@pytest.mark.parametrize("code", ["14106009", "56961003", "360129009", "704708004", "704707009"])
def test_heart_device_known_by_its_code_alone_holds_back_the_mri(
    knowledge: Knowledge, code: str
) -> None:
    """Not every EHR sends words or an MR status with a pacemaker or a defibrillator."""
    answered = answered_with(knowledge, NO_RELIEF, device(type=coded(SNOMED, code)))
    assert list(answered.shown) == ["IMG-ALT", "PT-REF"]


@pytest.mark.parametrize("code", ["Z79.01", "D69.3"])
def test_bleeding_risk_on_the_problem_list_alone_holds_back_the_myelogram(
    knowledge: Knowledge, code: str
) -> None:
    """Nobody wrote a prescription down, and the platelets are few for a reason of their own."""
    implant = device(type=PACEMAKER, **UNSAFE)
    card = answered_with(knowledge, NO_RELIEF, implant, _diagnosis(code)).card("IMG-ALT")
    assert "suggestions" not in card
    assert "plain CT" in str(card["detail"])
