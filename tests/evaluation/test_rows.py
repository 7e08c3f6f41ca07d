"""Every row of the decision table answers yes, no and cannot tell, and missing data never lies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache

import pytest

from cds_service.chart.facts import ConditionFact, DrugFact
from cds_service.chart.supply import Key
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment, Finding, Verdict
from cds_service.evaluation.rules.catalog import CARDS, DATA_DATE, DATA_READ
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, chart_of
from tests.changing import replace
from tests.vignettes.cases import all_vignettes

READABLE = tuple(key for key in Key.DEFAULT if key not in Key.REQUIRED)
RELIEVED: Facts = {
    "day": 100,
    "operation": "discectomy",
    "leg": {-14: 8, 95: 1},
    "back": {-14: 5, 95: 1},
}
WITHOUT_GAPS = tuple(
    vignette
    for vignette in all_vignettes()
    if "not supplied" not in vignette.facts and "supplied in part" not in vignette.facts
)


@cache
def _knowledge() -> Knowledge:
    return load_knowledge()


def _assessed(facts: Facts, seed: int = 0) -> Assessment:
    return assess(chart_of(facts, _knowledge(), seed=seed), _knowledge(), AS_OF)


def _rows(facts: Facts, seed: int = 0) -> Mapping[str, Finding]:
    return {row.card: row for row in _assessed(facts, seed).findings}


@cache
def _answers_of(card: str) -> frozenset[Verdict]:
    """Return the answers the row gives to one patient who shows it and to others like them."""
    shows = next(v for v in all_vignettes() if card in v.expect["cards"])
    answers = {_rows(shows.facts, shows.seed)[card].verdict, _rows(RELIEVED)[card].verdict}
    for key in READABLE:
        row = _rows({**shows.facts, "not supplied": [key]}, shows.seed).get(card)
        if row is not None:
            answers.add(row.verdict)
    return frozenset(answers)


@pytest.mark.parametrize("card", [card for card in CARDS if card != DATA_READ])
def test_row_answers_yes_no_and_cannot_tell(card: str) -> None:
    """Some patient shows this card, a relieved one does not, and without the data nobody knows."""
    assert _answers_of(card) == {Verdict.MET, Verdict.NOT_MET, Verdict.CANNOT_TELL}


def test_operation_without_any_date_needs_no_data_to_be_asked_about() -> None:
    """That the date is missing is known as soon as the procedures are."""
    undated: Facts = {"day": 100, "operation": "discectomy", "operation date": "unknown"}
    rows = [_rows({**undated, "not supplied": [key]}) for key in READABLE]
    found = {row[DATA_DATE].verdict for row in rows if DATA_DATE in row}
    assert found == {Verdict.MET}


@cache
def _silenced() -> Mapping[str, list[str]]:
    """Return, by card, the patients who lose it although missing data could only leave it open."""
    found: dict[str, list[str]] = {card: [] for card in CARDS}
    gaps = [("not supplied", key) for key in READABLE]
    gaps += [("supplied in part", key) for key in (Key.SCORES, Key.FINDINGS)]
    for vignette in WITHOUT_GAPS:
        shown = [row.card for row in _assessed(vignette.facts, vignette.seed).shown]
        for state, key in gaps if shown else ():
            rows = _rows({**vignette.facts, state: [key]}, vignette.seed)
            for card in shown:
                if card in rows and _is_denied(card, rows):
                    found[card].append(f"{vignette.title} ({key} {state})")
    return found


def _is_denied(card: str, rows: Mapping[str, Finding]) -> bool:
    """Return whether the row says no, and no more urgent card has taken its place."""
    more_urgent = any(rows[flag].verdict is Verdict.MET for flag in REPLACED_BY.get(card, ()))
    return rows[card].verdict is Verdict.NOT_MET and not more_urgent


REPLACED_BY = {
    "RF-POUR": ("RF-CES",),
    "DATA-DATE": ("RF-CES", "RF-INF"),
    "NEURO-PERM": ("IMG-MRI-DEF", "IMG-ALT", "EMG-MOTOR"),
}
"""Rows that a more urgent card takes the place of."""


@pytest.mark.parametrize("card", [card for card in CARDS if card != DATA_READ])
def test_row_never_takes_missing_data_for_no(card: str) -> None:
    """A patient who shows this card shows it, or nobody can tell, when a part was not read."""
    assert _silenced()[card] == []


def test_row_is_never_lost() -> None:
    """Every evaluated patient gets an answer from every row, and no rule has a fault."""
    for vignette in all_vignettes():
        findings = _assessed(vignette.facts, vignette.seed).findings
        assert [row.card for row in findings] in ([], [DATA_READ], list(CARDS))
        assert not [row.card for row in findings if row.is_faulty]


@pytest.mark.parametrize("key", [Key.SCORES, Key.FINDINGS])
def test_bladder_sign_is_no_mere_warning_while_its_company_is_unread(key: str) -> None:
    """Late retention is a warning only if weakness and worse pain are known to be absent."""
    alone: Facts = {"day": 120, "operation": "discectomy", "findings": {"urinary retention": 118}}
    assert _rows(alone)["RF-POUR"].verdict is Verdict.MET
    assert _rows({**alone, "not supplied": [key]})["RF-CES"].verdict is Verdict.MET


@pytest.mark.parametrize(("scanned", "is_proposed"), [(15, True), (19, False)])
def test_scan_answers_only_signs_that_were_there(scanned: int, *, is_proposed: bool) -> None:
    """An MRI between the first sign of infection and the next one does not answer the next."""
    facts: Facts = {
        "day": 20,
        "operation": "discectomy",
        "temperature": {19: 38.6},
        "findings": {"wound breakdown": 10},
        "done": {"MRI": scanned},
    }
    row = _rows(facts)["RF-INF"]
    orders = {order for proposal in row.proposals for order in proposal.orders}
    assert row.verdict is Verdict.MET
    assert any(order.startswith("mri-") for order in orders) is is_proposed


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        (frozenset(), Verdict.MET),
        (frozenset({"buprenorphine-with-naloxone"}), Verdict.NOT_MET),
    ],
)
def test_treatment_of_use_disorder_is_no_opioid_for_pain(
    more: frozenset[str], verdict: Verdict
) -> None:
    """Buprenorphine with naloxone gets no opioid card, though the disorder is not coded."""
    chart = chart_of({**RELIEVED, "day": 120}, _knowledge())
    film = DrugFact(
        reference="MedicationRequest/1",
        concepts=frozenset({"opioid", "buprenorphine"}) | more,
        status="active",
        started=FhirDate.on(AS_OF - timedelta(days=60)),
    )
    rows = assess(replace(chart, drugs=(film,)), _knowledge(), AS_OF).findings
    assert {row.card: row.verdict for row in rows}["OPIOID"] is verdict


@pytest.mark.parametrize(
    ("display", "variant", "label"),
    [
        ("Piriformis syndrome", "default", "Piriformis syndrome"),
        (None, "unnamed", "competing-diagnosis"),
    ],
)
def test_competing_diagnosis_is_named(display: str | None, variant: str, label: str) -> None:
    """The card says which other cause is on record; a site's own code may have no words."""
    chart = chart_of({"day": 120, "operation": "discectomy", "leg": {-14: 8, 119: 8}}, _knowledge())
    day = FhirDate.on(AS_OF - timedelta(days=30))
    other = ConditionFact(
        reference="Condition/other",
        concepts=frozenset({"competing-diagnosis"}),
        is_active=True,
        onset=day,
        recorded=day,
        when=day,
        display=display,
    )
    rows = assess(replace(chart, conditions=(other,)), _knowledge(), AS_OF).findings
    row = {row.card: row for row in rows}["DX-RECHECK"]
    assert (row.verdict, row.variant) == (Verdict.MET, variant)
    assert [entry.label for entry in row.evidence] == [label]


@pytest.mark.parametrize(
    ("seen", "is_final", "is_target"), [(1, True, True), (0, True, False), (1, False, False)]
)
def test_report_of_a_lesion_is_a_reason_for_the_surgeon(
    seen: int, *, is_final: bool, is_target: bool
) -> None:
    """A final report from the day after surgery on counts; one of that day or a draft does not."""
    facts: Facts = {"day": 60, "operation": "discectomy", "leg": {-14: 8, 55: 2}}
    chart = chart_of({**facts, "MRI report finds": {"disc herniation": seen}}, _knowledge())
    reports = tuple(replace(report, is_final=is_final) for report in chart.reports)
    rows = assess(replace(chart, reports=reports), _knowledge(), AS_OF).findings
    found = {row.card for row in rows if row.verdict is Verdict.MET}
    assert ("SURG-REV" in found) == is_target


@pytest.mark.parametrize(
    ("operation", "needed"), [("fusion", "from day 180"), ("discectomy", "from day 90")]
)
def test_row_says_which_day_it_waits_for(operation: str, needed: str) -> None:
    """Back pain after a fusion is judged later; the reasons named the day of all others."""
    row = _rows({"day": 85, "operation": operation, "back": {-14: 7, 80: 7}})["IMG-MRI-NR"]
    assert row.verdict is Verdict.NOT_MET
    assert [reason for reason in row.reasons if f"(needed: {needed})" in reason]


def test_year_of_birth_that_leaves_the_age_open_is_not_called_missing() -> None:
    """A patient born some day of a year is 17 or 18: the year is there, the full date is not."""
    youngest = AS_OF.replace(year=AS_OF.year - 18) + timedelta(days=1)
    birth = FhirDate(earliest=youngest - timedelta(days=364), latest=youngest)
    chart = chart_of({"day": 20, "operation": "discectomy", "leg": {-14: 8, 15: 8}}, _knowledge())
    chart = replace(chart, patient=replace(chart.patient, birth=birth))
    said = assess(chart, _knowledge(), AS_OF).unread.get(Key.PATIENT)
    assert said == "the full date of birth is not recorded"
