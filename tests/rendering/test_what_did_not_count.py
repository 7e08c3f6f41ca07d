"""What nearly held a card back is named on that card, with the reason why it does not count."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from cds_service.chart.facts import EncounterFact, OrderFact, ProcedureFact, ReportFact
from cds_service.evaluation.assess import assess
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace

LINE = "Found, but does not hold this card back: "
WEAK_ANKLE = {"side": "left", "muscle": "tibialis anterior", "grade": 4}
UNRELIEVED: Facts = {"day": 400, "operation": "discectomy", "leg": {-14: 8, 395: 7}}
RETURNED: Facts = {"day": 300, "operation": "discectomy", "leg": {-14: 9, 100: 1, 250: 8, 290: 8}}
SI_PAIN: Facts = {**UNRELIEVED, "findings": {"sacroiliac pain": 100}}
DISTRESSED: Facts = {**UNRELIEVED, "questionnaires": {"PHQ-9": {390: 14}}}
SMOKER: Facts = {**UNRELIEVED, "smoker": True}
BACK_AFTER_FUSION: Facts = {"day": 600, "operation": "fusion", "back": {-14: 7, 500: 3, 595: 8}}
TREATED: Facts = {
    **UNRELIEVED,
    "done": {"physiotherapy": [100]},
    "drugs": [{"drug": "NSAID", "from": 100}],
}
CANDIDATE: Facts = {
    "day": 400,
    "operation": "discectomy",
    "leg": {-14: 8, 100: 8, 200: 8, 300: 8, 395: 8},
    "questionnaires": {"DN4": {390: 6}},
    "done": {"MRI": 300, "physiotherapy": [100, 350]},
    "drugs": [{"drug": "gabapentinoid", "from": 60}, {"drug": "NSAID", "from": 60}],
}


def _day(facts: Facts, day: int) -> date:
    return AS_OF + timedelta(days=day - int(facts["day"]))


def _line(answered: Answered, card: str) -> str:
    lines = str(answered.card(card)["detail"]).splitlines()
    return next((line for line in lines if LINE in line), "")


def _answered(facts: Facts, knowledge: Knowledge) -> Answered:
    return Answered(assess(chart_of(facts, knowledge), knowledge, AS_OF), knowledge)


CASES = [
    # card, patient, what is on record, what the card says of it
    (
        "SURG-REV",
        RETURNED,
        {"ordered": {"spine surgeon": 240}},
        "spine surgeon referral ordered",
        240,
    ),
    ("IMG-MRI-RTR", RETURNED, {"ordered": {"MRI": 240}}, "lumbar MRI ordered", 240),
    ("IMG-MRI-NR", UNRELIEVED, {"ordered": {"MRI": 309}}, "lumbar MRI ordered", 309),
    (
        "IMG-MRI-NR",
        UNRELIEVED,
        {"done": {"MRI": 100}, "findings": {"claudication": 101}},
        "lumbar MRI",
        100,
    ),
    ("PT-REF", UNRELIEVED, {"ordered": {"physiotherapy": 309}}, "physiotherapy ordered", 309),
    ("PT-REF", UNRELIEVED, {"done": {"physiotherapy": 13}}, "physiotherapy", 13),
    ("PT-REF", UNRELIEVED, {"done": {"physiotherapy": 219}}, "physiotherapy", 219),
    ("PAIN-REF", TREATED, {"ordered": {"pain clinic": 219}}, "pain clinic referral ordered", 219),
    ("PSYCH", DISTRESSED, {"ordered": {"psychology": 219}}, "psychology referral ordered", 219),
    ("SMOKE", SMOKER, {"ordered": {"smoking cessation": 34}}, "help to stop smoking ordered", 34),
    ("CT-FUSION", BACK_AFTER_FUSION, {"done": {"CT": 200}}, "lumbar CT", 200),
    ("XR-DYN", BACK_AFTER_FUSION, {"done": {"x-ray": 89}}, "lumbar x-ray", 89),
    ("SCS-EVAL", CANDIDATE, {"ordered": {"stimulator evaluation": 34}}, "SCS referral ordered", 34),
    (
        "IMG-MRI-DEF",
        {"day": 60, "operation": "discectomy", "leg": {-14: 8, 55: 2}},
        {"strength": [{"day": 30, **WEAK_ANKLE}], "done": {"MRI": 29}},
        "lumbar MRI",
        29,
    ),
    (
        "EMG-MOTOR",
        {"day": 60, "operation": "discectomy", "leg": {-14: 8, 55: 2}},
        {"strength": [{"day": 30, **WEAK_ANKLE}], "done": {"EMG": 50}},
        "EMG",
        50,
    ),
    (
        "RF-CES",
        {"day": 20, "operation": "discectomy"},
        {"findings": {"saddle numbness": 18}, "done": {"MRI": 17}},
        "lumbar MRI",
        17,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[3]}")
def test_what_nearly_held_a_card_back_is_named(
    case: tuple[str, Facts, Facts, str, int], knowledge: Knowledge
) -> None:
    """A referral, order, visit or test that is too old or too early is named with its reason."""
    card, patient, record, test, day = case
    answered = _answered({**patient, **record}, knowledge)
    said = f"{test} {_day(patient, day).isoformat()} (counts "
    assert said.lower() in _line(answered, card).lower()


@pytest.mark.parametrize("card", ["SURG-REV"])
@pytest.mark.parametrize(
    ("day", "said"),
    [
        (-20, "spine surgeon visit {date} (before surgery)"),
        (240, "spine surgeon visit {date} (counts from {first} on)"),
        (260, None),
    ],
)
def test_surgeon_visit_that_answers_nothing_is_named(
    card: str, day: int, said: str | None, knowledge: Knowledge
) -> None:
    """A visit from before the operation or before pain returned is named; a later one counts."""
    visit = EncounterFact(
        reference="Encounter/1",
        concepts=frozenset({"spine-surgery-visit"}),
        started=FhirDate.on(_day(RETURNED, day)),
        is_inpatient=False,
    )
    chart = replace(chart_of(RETURNED, knowledge), encounters=(visit,))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    if said is None:
        assert card not in answered.shown
        return
    first = _day(RETURNED, 250).isoformat()
    text = said.format(date=_day(RETURNED, day).isoformat(), first=first)
    assert text.lower() in str(answered.card(card)["detail"]).lower()


def test_therapy_in_hospital_is_named_with_the_reason(knowledge: Knowledge) -> None:
    """Therapy during a stay in hospital is no outpatient therapy, and the card says so."""
    visit = EncounterFact(
        reference="Encounter/1",
        concepts=frozenset({"physiotherapy-contact"}),
        started=FhirDate.on(_day(UNRELIEVED, 390)),
        is_inpatient=True,
    )
    chart = replace(chart_of(UNRELIEVED, knowledge), encounters=(visit,))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    assert f"{_day(UNRELIEVED, 390)} (in hospital)" in _line(answered, "PT-REF")


@pytest.mark.parametrize(("age", "is_shown"), [(180, False), (181, True)])
def test_old_sacroiliac_injection_is_named(
    age: int, *, is_shown: bool, knowledge: Knowledge
) -> None:
    """An injection of 180 days ago holds the card back; one of 181 days ago is only named."""
    on = AS_OF - timedelta(days=age)
    injection = ProcedureFact(
        reference="Procedure/si",
        concepts=frozenset({"si-joint-injection"}),
        performed=FhirDate.on(on),
    )
    chart = chart_of(SI_PAIN, knowledge)
    chart = replace(chart, procedures=(*chart.procedures, injection))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    assert ("SIJ" in answered.shown) == is_shown
    if is_shown:
        assert f"SI-joint injection {on} (counts if at most 180 days old)" in _line(answered, "SIJ")


def test_missing_step_says_what_was_found_instead(knowledge: Knowledge) -> None:
    """A card that misses imaging or therapy names the early scan and the young course."""
    facts = {**CANDIDATE, "done": {"MRI": 41, "physiotherapy": [380]}}
    line = _line(_answered(facts, knowledge), "SCS-PREREQ")
    assert f"physiotherapy {_day(facts, 380)} (counts as a course" in line
    assert f"lumbar MRI {_day(facts, 41)} (counts from {_day(facts, 42)} on)" in line


def test_nothing_is_named_where_nothing_was_found(knowledge: Knowledge) -> None:
    """A patient without any earlier order or visit reads no line about them."""
    answered = _answered(UNRELIEVED, knowledge)
    assert "IMG-MRI-NR" in answered.shown
    assert all(_line(answered, card) == "" for card in answered.shown)


@pytest.mark.parametrize(("kind", "card"), [("MRI", "IMG-MRI-NR"), ("physiotherapy", "PT-REF")])
@pytest.mark.parametrize(
    ("days", "named"),
    [
        ([-1], None),
        ([-40, -30, -20], None),
        ([-50, -40, -30, -20], -50),
        ([0], 0),
    ],
)
def test_what_the_list_calls_older_than_the_operation_is_not_named_twice(
    kind: str, card: str, days: list[int], named: int | None, knowledge: Knowledge
) -> None:
    """The list of what was done shows the last three; the reason stands behind each."""
    answered = _answered({**UNRELIEVED, "done": {kind: days}}, knowledge)
    line = _line(answered, card)
    dates = [_day(UNRELIEVED, day).isoformat() for day in days]
    assert [on for on in dates if on in line] == (
        [] if named is None else [_day(UNRELIEVED, named).isoformat()]
    )
    assert bool(line) == (named is not None)


UNDATED = "On record without a date, and so not counted: "
MRI_ORDER = OrderFact(
    reference="ServiceRequest/1",
    concepts=frozenset({"mri-lumbar"}),
    status="active",
    authored=None,
)
MRI_REPORT = ReportFact(
    reference="DiagnosticReport/1",
    concepts=frozenset({"mri-lumbar"}),
    effective=None,
    is_final=True,
)
THERAPY = ProcedureFact(
    reference="Procedure/pt", concepts=frozenset({"physiotherapy-contact"}), performed=None
)
VISIT = EncounterFact(
    reference="Encounter/1",
    concepts=frozenset({"spine-surgery-visit"}),
    started=None,
    is_inpatient=False,
)


@pytest.mark.parametrize(
    ("part", "entry", "said"),
    [
        ("orders", MRI_ORDER, "lumbar MRI ordered."),
        ("orders", replace(MRI_ORDER, status="draft"), "lumbar MRI ordered."),
        ("reports", MRI_REPORT, "lumbar MRI."),
        ("reports", replace(MRI_REPORT, is_final=False), "lumbar MRI ordered."),
        ("procedures", THERAPY, "physiotherapy."),
        ("encounters", VISIT, "spine surgeon visit."),
    ],
)
def test_what_has_no_date_is_named_and_counts_for_nothing(
    part: str, entry: object, said: str, knowledge: Knowledge
) -> None:
    """An MRI, an order, a therapy or a visit without a date is not kept quiet."""
    chart = chart_of(UNRELIEVED, knowledge)
    chart = replace(chart, **{part: (*getattr(chart, part), entry)})
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    assert set(answered.shown) == {"IMG-MRI-NR", "PT-REF"}
    for card in answered.shown:
        assert f"{UNDATED}{said}".lower() in str(answered.card(card)["detail"]).lower()


def test_several_entries_without_a_date_are_named_once_each(knowledge: Knowledge) -> None:
    """Two orders of an MRI and a report of one: the order and the scan, each once."""
    chart = chart_of(UNRELIEVED, knowledge)
    chart = replace(
        chart,
        orders=(MRI_ORDER, replace(MRI_ORDER, reference="ServiceRequest/2")),
        reports=(MRI_REPORT,),
        procedures=(*chart.procedures, THERAPY),
    )
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    said = f"{UNDATED}lumbar MRI; physiotherapy; lumbar MRI ordered."
    assert said.lower() in str(answered.card("PT-REF")["detail"]).lower()


def test_operation_without_a_date_is_not_listed_among_the_tests(knowledge: Knowledge) -> None:
    """Only tests, visits and orders that cards name are listed; nothing where all have dates."""
    chart = chart_of({**UNRELIEVED, "done": {"MRI": 60}}, knowledge)
    other = ProcedureFact(reference="Procedure/x", concepts=frozenset({"fusion"}), performed=None)
    chart = replace(chart, procedures=(*chart.procedures, other))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    assert UNDATED not in str(answered.card("PT-REF")["detail"])


def test_thirty_old_sessions_do_not_fill_the_card(knowledge: Knowledge) -> None:
    """The last three are named and the others counted, as in the list of what was done."""
    sessions = list(range(100, 130))
    answered = _answered({**UNRELIEVED, "done": {"physiotherapy": sessions}}, knowledge)
    last = ", ".join(str(_day(UNRELIEVED, day)) for day in (129, 128, 127))
    reason = "(counts if at most 180 days old)"
    assert _line(answered, "PT-REF").endswith(f"{LINE}physiotherapy {last} and 27 more {reason}.")


def test_tests_that_do_not_count_for_several_reasons_are_told_by_reason(
    knowledge: Knowledge,
) -> None:
    """Sessions of the first days stand apart from those that are long past."""
    facts = {**UNRELIEVED, "done": {"physiotherapy": [5, 6, 100, 101]}}
    early = f"{_day(facts, 6)}, {_day(facts, 5)} (counts from {_day(facts, 14)} on)"
    old = f"{_day(facts, 101)}, {_day(facts, 100)} (counts if at most 180 days old)"
    assert f"physiotherapy {early}; physiotherapy {old}" in _line(
        _answered(facts, knowledge), "PT-REF"
    )
