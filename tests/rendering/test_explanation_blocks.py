"""The detail of a card: what to do first, everything a reviewer needs after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cds_service.chart.facts import ConditionFact, ObservationFact, SetAside
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import (
    Assessment,
    Evidence,
    Explanation,
    Finding,
    Indicator,
    Note,
    Term,
    Verdict,
)
from cds_service.evaluation.case import Case, build_case
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.rendering.trace import render_text, trace_json
from cds_service.values import FhirDate
from tests.changing import replace


@pytest.fixture
def detail(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> str:
    """The detail of the MRI card."""
    return str(render_cards(assessment, knowledge, options, context)[0]["detail"])


@pytest.fixture
def first_detail(
    knowledge: Knowledge, options: CardOptions, context: CardContext
) -> Callable[[Assessment], str]:
    """Return the detail of the first card of an answer."""

    def detail(assessment: Assessment) -> str:
        return str(render_cards(assessment, knowledge, options, context)[0]["detail"])

    return detail


def test_detail_begins_with_action_and_reason(detail: str) -> None:
    """Within the first 600 characters the reader knows what to do and why."""
    assert detail.startswith("**Consider an MRI")
    assert "7/10" in detail[:600].lower() or "leg pain 7" in detail[:600].lower()
    assert "- " not in detail[: detail.index("**In the chart**")].replace("re-take", "")


def test_detail_shows_operation_series_and_course(detail: str) -> None:
    """The numbers behind the card stand in it: operation, scores with dates, same-day conflict."""
    assert "Operation 2026-02-10 (120 days ago): discectomy, L4-L5" in detail
    assert "Leg pain: 8 on 2026-02-01, 6 on 2026-04-01, 7 on 2026-06-10, also 4 that day" in detail
    assert "change -1" in detail
    assert "no relief" in detail


def test_detail_says_why_a_test_or_order_does_not_count(
    case: Case, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """The MRI of day 20 and the order from before surgery are named, with the reason."""
    assessed = assess(case.chart, knowledge, case.as_of)
    detail = str(render_cards(assessed, knowledge, options, context)[0]["detail"])
    assert "lumbar MRI 2026-03-02 (counts from 2026-03-24 on)" in detail.lower().replace(
        "mri", "MRI"
    )
    assert "The MRI of 2026-03-02 does not answer this" in detail
    assert "2026-01-05 (before surgery)" in detail
    assert "Reports of 2026-03-02 not read by this service" in detail


def test_detail_tells_orders_that_count_and_those_that_do_not_latest_first(
    case: Case, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Who wonders whether something was ordered already reads it, whichever card it is."""
    [old] = case.chart.orders
    more = [
        replace(old, reference=f"ServiceRequest/{name}", concepts=frozenset({concept}), authored=on)
        for name, concept, on in (
            ("older", "mri-lumbar", FhirDate.on(date(2025, 12, 1))),
            ("old", "mri-lumbar", FhirDate.on(date(2026, 1, 5))),
            ("now", "physiotherapy-order", FhirDate.on(date(2026, 6, 1))),
        )
    ]
    assessed = assess(replace(case.chart, orders=tuple(more)), knowledge, case.as_of)
    detail = str(render_cards(assessed, knowledge, options, context)[0]["detail"])
    assert "- Ordered: physiotherapy 2026-06-01." in detail
    not_counted = "lumbar MRI 2026-01-05 (before surgery), 2025-12-01 (before surgery)"
    assert f"- Ordered, but does not count: {not_counted}." in detail


def test_detail_asks_for_what_is_not_coded(detail: str) -> None:
    """Missing examination data is asked for; no card ever claims there are no red flags."""
    assert "Bladder, saddle sensation, leg strength not found in coded data - ask" in detail
    assert "no red flag" not in detail.lower()
    assert "Decision support, not a diagnosis" in detail
    assert "not yet clinically reviewed" in detail


def test_mri_card_says_what_is_unknown_about_contrast(detail: str) -> None:
    """Missing kidney function or pregnancy status blocks nothing, but it is said."""
    assert "Renal function not found" in detail
    assert "Pregnancy status not found" not in detail


def test_reviewed_content_does_not_say_unreviewed(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """The sentence about review goes away when a clinician has signed."""
    [card] = render_cards(assessment, knowledge, replace(options, is_unreviewed=False), context)
    assert "not yet clinically reviewed" not in str(card["detail"])


def test_detail_names_sources_with_their_strength(detail: str, knowledge: Knowledge) -> None:
    """Every source is linked and says how far it carries; the claims of the articles are named."""
    for key in knowledge.cards["IMG-MRI-NR"].sources:
        source = knowledge.sources[key]
        assert not source.url or f"]({source.url})" in detail
    assert "S0-03" in detail


def test_detail_names_cards_held_back_entries_set_aside_and_explanations(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """What was considered and not shown is said, with the reason."""
    held = Finding(
        card="PT-REF", row=23, verdict=Verdict.NOT_MET, held_by="physiotherapy already ordered"
    )
    assert assessment.case is not None
    chart = replace(
        assessment.case.chart,
        set_aside=(
            SetAside(key="procedures", reason="it belongs to another patient"),
            SetAside(key="conditions", reason="it belongs to another patient"),
        ),
    )
    explanation = Explanation(
        phenotype="fibrosis", points=3, reasons=("scar-window",), is_only_by_exclusion=True
    )
    changed = replace(
        assessment,
        findings=(*assessment.findings, held),
        case=replace(assessment.case, chart=chart),
        explanations=(explanation,),
    )
    detail = str(render_cards(changed, knowledge, options, context)[0]["detail"])
    assert "Not shown - Physiotherapy: physiotherapy already ordered" in detail
    assert "Entries not used (2), each because it belongs to another patient." in detail
    assert knowledge.phenotypes["fibrosis"].title in detail
    assert "only by exclusion" in detail


def test_card_that_users_or_the_site_hold_back_is_not_named_on_another(
    assessment: Assessment, first_detail: Callable[[Assessment], str]
) -> None:
    """Only what the chart itself answers is told: who set a card aside has read it."""
    held = Finding(card="PT-REF", row=23, verdict=Verdict.MET, held_by="switched off by this site")
    detail = first_detail(replace(assessment, findings=(*assessment.findings, held)))
    assert "Not shown" not in detail


def test_notes_stand_before_the_lists(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A note that changes the action, such as an MRI on record, is read before any list."""
    note = Note(key="mri-read-now", words={"date": date(2026, 6, 9)})
    changed = replace(assessment, findings=(replace(assessment.findings[0], notes=(note,)),))
    detail = str(render_cards(changed, knowledge, options, context)[0]["detail"])
    assert "MRI of 2026-06-09" in detail[: detail.index("**In the chart**")]


def test_evidence_is_named_once_in_our_words(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Entries appear with the label of their value set and their day, or 'date not recorded'."""
    evidence = (
        Evidence(reference="Condition/1", label="urinary-retention", day=None),
        Evidence(reference="Condition/2", label="urinary-retention", day=None),
        Evidence(reference="Observation/1", label="crp", day=date(2026, 6, 1)),
    )
    changed = replace(assessment, findings=(replace(assessment.findings[0], evidence=evidence),))
    detail = str(render_cards(changed, knowledge, options, context)[0]["detail"])
    retention = knowledge.value_sets["urinary-retention"].label.capitalize()
    assert detail.count(f"{retention} (date not recorded)") == 1
    assert f"{knowledge.value_sets['crp'].label} (2026-06-01)" in detail


def test_measured_evidence_shows_its_number_and_the_original(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Who reads "raised CRP" sees how much, and what the chart says in its own unit."""
    day = date(2026, 6, 1)
    evidence = (
        Evidence(reference="Observation/1", label="pvr", day=day, value=Decimal(350)),
        Evidence(
            reference="Observation/2",
            label="crp",
            day=day,
            value=Decimal("12.0"),
            converted_from="1.2 mg/dL",
        ),
        Evidence(reference="Observation/3", label="phq9", day=day, value=Decimal(10)),
    )
    changed = replace(assessment, findings=(replace(assessment.findings[0], evidence=evidence),))
    detail = str(render_cards(changed, knowledge, options, context)[0]["detail"])
    assert "residual urine: 350 mL (2026-06-01)" in detail
    assert "C-reactive protein: 12 mg/L (2026-06-01; sent as 1.2 mg/dL)" in detail
    assert "PHQ-9: 10 (2026-06-01)" in detail


BEFORE = "before: 2 on 2026-06-02, 3 on 2026-06-03, 4 on 2026-06-04"
JUNE = [date(2026, 6, day) for day in (1, 2, 3, 4)]


def _entry(label: str, day: date | None, **more: Any) -> Evidence:  # noqa: ANN401 - fields
    return Evidence(reference=f"Observation/{label}-{day}", label=label, day=day, **more)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            [_entry("opioid", day) for day in JUNE],
            ["Opioid (2026-06-04, 2026-06-03, 2026-06-02 and 1 more)"],
        ),
        (
            [_entry("surgeon's letter", day) for day in JUNE],
            ["Surgeon's letter (2026-06-04, 2026-06-03, 2026-06-02 and 1 more)"],
        ),
        (
            [_entry("crp", JUNE[0]), *(_entry("opioid", day) for day in JUNE[:3])],
            [
                "C-reactive protein (2026-06-01)",
                "Opioid (2026-06-01)",
                "Opioid (2026-06-02)",
                "Opioid (2026-06-03)",
            ],
        ),
        (
            [
                *(_entry("crp", day) for day in JUNE),
                _entry("crp", None, written="2026-05"),
                _entry("crp", None),
                _entry("crp", date(2026, 6, 5), value=Decimal(40)),
                _entry("crp", date(2026, 6, 6), converted_from="4 mg/dL"),
                _entry("crp", date(2026, 6, 7), earlier=((date(2026, 4, 9), Decimal(9)),)),
            ],
            [
                "C-reactive protein (2026-06-04, 2026-06-03, 2026-06-02 and 2 more)",
                "C-reactive protein (date not recorded)",
                "C-reactive protein: 40 mg/L (2026-06-05)",
                "C-reactive protein (2026-06-06; sent as 4 mg/dL)",
                "C-reactive protein (2026-06-07); before: 9 on 2026-04-09",
            ],
        ),
        (
            [
                _entry(
                    "crp",
                    date(2026, 6, 5),
                    value=Decimal(40),
                    earlier=tuple((day, Decimal(day.day)) for day in JUNE),
                )
            ],
            [
                f"C-reactive protein: 40 mg/L (2026-06-05); {BEFORE}",
            ],
        ),
    ],
    ids=["one kind", "no value set", "few of each", "with numbers", "with earlier values"],
)
def test_many_entries_of_one_kind_share_a_line_and_numbers_stay_apart(
    entries: list[Evidence],
    said: list[str],
    assessment: Assessment,
    first_detail: Callable[[Assessment], str],
) -> None:
    """A drug renewed every month is one line; every number, unit and unknown day is still told."""
    finding = replace(assessment.findings[0], evidence=tuple(entries))
    detail = first_detail(replace(assessment, findings=(finding,)))
    _, _, chart = detail.partition("**In the chart**\n\n")
    lines = chart.partition("\n\n")[0].splitlines()
    assert lines[-len(said) :] == [f"- {line}" for line in said]
    assert "Opioid" not in lines[-len(said) - 1]


def test_score_and_weakness_shown_above_are_not_listed_again(
    assessment: Assessment, first_detail: Callable[[Assessment], str]
) -> None:
    """The series shows what the card rests on, each score with its day; other entries follow."""
    scores = ("before", "later", "same-day", "now")
    evidence = tuple(
        Evidence(reference=f"Observation/{name}", label="crp", day=date(2026, 6, 1))
        for name in scores
    )
    alone = replace(assessment.findings[0], evidence=evidence)
    other = Evidence(reference="Observation/other", label="crp", day=date(2026, 6, 1))
    details = [
        first_detail(replace(assessment, findings=(finding,)))
        for finding in (alone, replace(alone, evidence=(*evidence, other)))
    ]
    assert [detail.count("C-reactive protein (2026-06-01)") for detail in details] == [0, 1]


def test_three_likeliest_explanations_are_told(
    assessment: Assessment, first_detail: Callable[[Assessment], str], knowledge: Knowledge
) -> None:
    """The fourth only makes the card longer."""
    names = ("fibrosis", "sij", "neuropathic", "infection")
    explanations = tuple(Explanation(phenotype=name, points=3, reasons=()) for name in names)
    detail = first_detail(replace(assessment, explanations=explanations))
    told = [f"- {knowledge.phenotypes[name].title}: " in detail for name in names]
    assert told == [True, True, True, False]


@pytest.mark.parametrize(
    ("scores", "change"),
    [
        ({-10: 8, 120: 7}, "8 on 2026-01-31, 7 on 2026-06-10, change -1."),
        ({-10: 6, 120: 7}, "6 on 2026-01-31, 7 on 2026-06-10, change +1."),
        ({-10: 7, 120: 7}, "7 on 2026-01-31, 7 on 2026-06-10, change 0."),
        ({-10: 8, 20: 7}, "8 on 2026-01-31, 7 on 2026-03-02."),
        ({30: 7, 120: 6}, "7 on 2026-03-12, 6 on 2026-06-10."),
    ],
    ids=["better", "worse", "the same", "old score", "none from before"],
)
def test_change_of_pain_is_told_with_its_sign(
    scores: dict[int, int],
    change: str,
    assessment: Assessment,
    knowledge: Knowledge,
    first_detail: Callable[[Assessment], str],
) -> None:
    """Only between a score from before the operation and one that is of today's pain."""
    case = assessment.case
    assert case is not None
    observations = tuple(
        replace(
            case.chart.observations[0],
            reference=f"Observation/{day}",
            effective=FhirDate.on(date(2026, 2, 10) + timedelta(days=day)),
            value=Decimal(value),
        )
        for day, value in scores.items()
    )
    chart = replace(case.chart, observations=observations)
    scored = build_case(chart, knowledge, case.as_of, case.operation, None)
    assert f"- Leg pain: {change}\n" in first_detail(replace(assessment, case=scored))


def test_card_that_rests_on_no_operation_asks_for_the_signs_of_an_emergency(
    assessment: Assessment, first_detail: Callable[[Assessment], str]
) -> None:
    """Nobody has looked for bladder signs in coded data, so the card cannot say what is missing."""
    ask = "Ask about bladder, saddle sensation and leg strength."
    assert ask not in first_detail(assessment)
    assert ask in first_detail(replace(assessment, case=None))


def _diagnosed(when: FhirDate | None, *, is_active: bool = True) -> dict[str, object]:
    diagnosis = ConditionFact(
        reference="Condition/1",
        concepts=frozenset({"urinary-retention"}),
        is_active=is_active,
        onset=when,
        recorded=None,
        when=when,
    )
    return {"conditions": (diagnosis,)}


def _examined(effective: FhirDate | None) -> dict[str, object]:
    examination = ObservationFact(
        reference="Observation/1", concepts=frozenset({"pvr"}), effective=effective
    )
    return {"observations": (examination,)}


DAY_BEFORE, DAY_OF_SURGERY = FhirDate.on(date(2026, 2, 9)), FhirDate.on(date(2026, 2, 10))


@pytest.mark.parametrize(
    ("entries", "is_asked"),
    [
        ({}, True),
        (_diagnosed(DAY_BEFORE), True),
        (_diagnosed(DAY_OF_SURGERY), False),
        (_diagnosed(DAY_OF_SURGERY, is_active=False), True),
        (_diagnosed(None), False),
        (_diagnosed(None, is_active=False), True),
        (_examined(DAY_BEFORE), True),
        (_examined(DAY_OF_SURGERY), False),
        (_examined(None), False),
    ],
)
def test_bladder_is_asked_about_unless_an_entry_since_the_operation_tells_of_it(
    entries: dict[str, object],
    *,
    is_asked: bool,
    assessment: Assessment,
    knowledge: Knowledge,
    first_detail: Callable[[Assessment], str],
) -> None:
    """What was before the operation, or is over, says nothing of today."""
    case = assessment.case
    assert case is not None
    chart = replace(case.chart, **entries)
    told = build_case(chart, knowledge, case.as_of, case.operation, None)
    _, _, limits = first_detail(replace(assessment, case=told)).partition("**Limits.**")
    signs = "Bladder, saddle sensation" if is_asked else "Saddle sensation"
    assert f"clinician decides. {signs}, leg strength not found in coded data - ask. " in limits


@pytest.mark.parametrize(
    ("card", "is_withheld", "said"),
    [
        ("IMG-MRI-NR", True, "No order is proposed, because"),
        ("IMG-MRI-NR", False, "This may be incomplete, because"),
        ("RF-CSF", True, "Whether this applies is open, because"),
    ],
)
def test_card_says_what_an_unread_part_of_the_chart_does_to_it(
    card: str,
    *,
    is_withheld: bool,
    said: str,
    assessment: Assessment,
    first_detail: Callable[[Assessment], str],
) -> None:
    """No order waits there: so nothing is told that is to be asked before it."""
    finding = replace(
        assessment.findings[0],
        card=card,
        unread=frozenset({"labs"}),
        is_order_withheld=is_withheld,
    )
    unread = {"labs": "the FHIR server did not answer in time"}
    detail = first_detail(replace(assessment, findings=(finding,), unread=unread))
    part = "this part of the chart could not be read: labs (the FHIR server did not answer in time)"
    assert detail.count(f"{said} {part}.") == 1
    assert ("Renal function not found" in detail) is not is_withheld


EARLY = {
    "EARLY-WATCH": {"dss": 30, "date": date(2026, 5, 11), "score": Decimal(6)},
    "EARLY-INFLAM": {"dss": 20, "onset": 4, "low": 2, "date": date(2026, 2, 28)},
    "SURG-REV": {
        "dss": 40,
        "score": Decimal(8),
        "onset": 4,
        "surgeries": 1,
        "reason": (Term(kind="phrase", id="surgery-reason-severe"),),
    },
    "PT-REF": {"dss": 40, "score": Decimal(6), "site": Term(kind="phrase", id="site-leg")},
    "SMOKE": {"dss": 40},
    "DATA-PAIN": {"dss": 50},
}


@pytest.mark.parametrize("card", sorted(EARLY))
def test_early_cards_never_speak_of_failure(
    card: str,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """Before three months no card speaks of failure, and none codes M96.1."""
    for variant in knowledge.cards[card].summaries:
        finding = Finding(
            card=card,
            row=knowledge.cards[card].row,
            verdict=Verdict.MET,
            variant=variant,
            words=EARLY[card],
            is_shown=True,
        )
        early = replace(assessment, findings=(finding,), explanations=())
        rendered = str(render_cards(early, knowledge, options, context)[0])
        assert "failure" not in rendered.lower()
        assert "M96.1" not in rendered


@pytest.mark.parametrize("card", ["EARLY-WATCH", "EARLY-INFLAM"])
def test_early_cards_end_with_the_signs_to_come_back_for(
    card: str,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """A patient told to wait is told what not to wait with."""
    finding = Finding(card=card, row=1, verdict=Verdict.MET, words=EARLY[card], is_shown=True)
    [rendered] = render_cards(replace(assessment, findings=(finding,)), knowledge, options, context)
    last = str(rendered["detail"]).splitlines()[-1]
    assert last.startswith("**Same day if:**")
    for sign in ("weakness", "saddle", "bladder", "fever", "DVT", "increasing pain"):
        assert sign in last
    assert "suggestions" not in rendered


def test_stimulator_card_names_the_contested_evidence(knowledge: Knowledge) -> None:
    """The cards on stimulation name what speaks for and against, with its strength."""
    for card in ("SCS-EVAL", "SCS-PREREQ"):
        caveat = knowledge.cards[card].texts["caveat"]
        for name in ("NICE TA159", "Cochrane 2023", "Hara 2022"):
            assert name in caveat
        assert {"nice-ta159", "cochrane-cd014789", "hara-2022"} <= set(
            knowledge.cards[card].sources
        )


def test_opioid_cards_forbid_an_abrupt_stop(knowledge: Knowledge) -> None:
    """Both opioid cards say in the action and the headline that nothing is stopped abruptly."""
    for card in ("OPIOID", "OPIOID-W"):
        template = knowledge.cards[card]
        assert "not stop or reduce abruptly" in template.texts["action"]
        assert all("do not stop abruptly" in s for s in template.summaries.values())


def test_level_card_speaks_of_records_only(knowledge: Knowledge) -> None:
    """The card on levels says 'recorded' and never that the wrong level was operated."""
    template = knowledge.cards["CK-LEVEL"]
    everything = " ".join([*template.summaries.values(), *template.texts.values()]).lower()
    assert template.summaries["default"].startswith("Recorded level/side")
    assert "wrong" not in everything
    assert "does not say where the operation was done" in everything


def test_trace_lists_every_row_with_its_reason(
    assessment: Assessment, knowledge: Knowledge
) -> None:
    """The trace names rows shown, held and not tellable, for people and for programs."""
    findings = (
        Finding(
            card="RF-CES",
            row=1,
            verdict=Verdict.CANNOT_TELL,
            reasons=("cannot tell: a sign of cauda equina compression",),
            unread=frozenset({"findings"}),
        ),
        Finding(
            card="RF-CSF", row=8, verdict=Verdict.NOT_MET, reasons=("not met: a leak of fluid",)
        ),
        replace(assessment.findings[0], indicator=Indicator.WARNING),
        Finding(card="SCS-EVAL", row=24, verdict=Verdict.NOT_MET, held_by="substance use"),
    )
    changed = replace(assessment, findings=findings)
    text = render_text(changed, knowledge)
    assert "Operation 2026-02-10" in text
    assert "Red flags that cannot be told" in text
    assert "not read: findings" in text
    assert "held by: substance use" in text
    assert "IMG-MRI-NR   met, shown" in text
    rows = trace_json(changed)["rows"]
    assert isinstance(rows, list)
    assert [row["card"] for row in rows] == [finding.card for finding in findings]
    assert rows[3]["heldBy"] == "substance use"
    assert trace_json(changed)["daysSinceSurgery"] == 120


def test_days_since_surgery_are_not_told_where_nobody_knows_the_day(
    assessment: Assessment,
) -> None:
    """A program that reads the reasons of a patient operated elsewhere gets no number of days."""
    assert assessment.case is not None
    undated = replace(assessment, case=replace(assessment.case, is_date_unknown=True))
    assert trace_json(undated)["daysSinceSurgery"] is None
