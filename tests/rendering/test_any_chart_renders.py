"""Whatever a chart holds, every card that a rule shows can be worded and sent."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from fhir.resources.R4B.servicerequest import ServiceRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.chart.facts import (
    Chart,
    ConditionFact,
    DeviceFact,
    DrugFact,
    MrStatus,
    ObservationFact,
    OrderFact,
    PatientFact,
    ProcedureFact,
    ReportFact,
    Site,
)
from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assess import assess
from cds_service.knowledge.loading import load_knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.rendering.trace import render_text, trace_json
from cds_service.values import FhirDate, Side

KNOWLEDGE = load_knowledge()
AS_OF = date(2026, 6, 10)
OPTIONS = CardOptions(
    client_id="ehr", public_base_url="https://cds.example", identity_key=b"key", max_cards=40
)
CONTEXT = CardContext(patient_id="p1", user_id="PractitionerRole/r1", encounter_id="e1")

DAYS = st.sampled_from([0, 1, 2, 3, 7, 10, 14, 20, 30, 41, 60, 90, 120, 180, 365, 400, 800])
WHEN = st.one_of(st.none(), DAYS.map(lambda ago: FhirDate.on(AS_OF - timedelta(days=ago))))
DATED = DAYS.map(lambda ago: FhirDate.on(AS_OF - timedelta(days=ago)))
SIDES = st.sampled_from([None, Side.LEFT, Side.RIGHT, Side.BOTH])
FINDINGS = (
    "cauda-equina", "faecal-incontinence", "urinary-retention", "urinary-incontinence",
    "incomplete-bladder-emptying", "sensory-deficit", "motor-weakness", "motor-paresis",
    "motor-paraplegia", "infection-spinal", "infection-spinal-if-text-or-early", "infection-sign",
    "wound-problem", "postoperative-fever", "haematoma-spinal", "haematoma-other", "csf-leak",
    "hardware-failure", "spinal-instability", "sacroiliac-pain", "competing-diagnosis",
    "competing-neuropathy", "smoker", "coagulopathy", "tumour-spine", "bone-metastasis",
    "vertebral-fracture", "suicidal-ideation", "neuropathic-pain", "pregnancy", "radiculopathy",
    "post-laminectomy-syndrome", "foraminal-stenosis", "disc-herniation", "spinal-stenosis",
    "pseudarthrosis", "implant-pacemaker", "gadolinium-allergy", "dialysis", "hospice",
)  # fmt: skip
MEASURES = (
    "pvr", "temperature", "crp", "esr", "wbc", "egfr", "odi", "phq9", "phq9-item9", "gad7", "pcs",
    "dn4", "sij-tests",
)  # fmt: skip
TESTS = ("mri-lumbar", "ct-lumbar", "xray-lumbar", "emg")
ORDERS = (*TESTS, "physiotherapy-order", "spine-surgery-referral", "pain-clinic-referral")
DRUGS = ("opioid", "benzodiazepine", "gabapentinoid", "nsaid", "anticoagulant", "naloxone")
OPERATIONS = ("decompression", "discectomy", "fusion")
_names = st.integers(0, 10**6)


@st.composite
def observations(draw: st.DrawFn) -> ObservationFact:
    """Return a pain score, a grade, a measurement or an examination."""
    kind = draw(st.sampled_from(["pain", "pain", "pain", "grade", "measure", "exam", "smoking"]))
    value = Decimal(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])))
    concept, choice, muscle, site = (
        "pain-score",
        frozenset[str](),
        None,
        draw(st.sampled_from(Site)),
    )
    match kind:
        case "grade":
            concept, value = "mrc-grade", min(value, Decimal(5))
            muscle = draw(st.sampled_from([None, "tibialis-anterior", "ehl"]))
        case "measure":
            concept, value = draw(st.sampled_from(MEASURES)), value * 30
        case "exam":
            concept = draw(st.sampled_from(["saddle-sensation", "anal-tone"]))
            choice = frozenset({draw(st.sampled_from(["answer-reduced", "answer-normal"]))})
        case "smoking":
            concept, choice = "smoking-status", frozenset({"smoker"})
    return ObservationFact(
        reference=f"Observation/{draw(_names)}",
        concepts=frozenset({concept}),
        effective=draw(DATED),
        value=None if choice else value,
        choice=choice,
        site=site if concept == "pain-score" else None,
        side=draw(SIDES) if concept == "mrc-grade" else None,
        muscle=muscle,
    )


@st.composite
def conditions(draw: st.DrawFn) -> ConditionFact:
    """Return an active finding, dated or not."""
    when = draw(WHEN)
    return ConditionFact(
        reference=f"Condition/{draw(_names)}",
        concepts=frozenset({draw(st.sampled_from(FINDINGS))}),
        is_active=True,
        onset=when,
        recorded=when,
        when=when,
        side=draw(SIDES),
        levels=draw(st.sampled_from([frozenset(), frozenset({"L5-S1"})])),
    )


@st.composite
def _courses(draw: st.DrawFn, performed: int) -> tuple[ObservationFact, ...]:
    """Return a course of pain: before, soon after, half way and now."""
    values = draw(
        st.sampled_from([(8, 8, 8, 8), (8, 2, 7, 7), (8, 2, 2, 7), (2, 6, 8, 8), (8, 7, 7, 5)])
    )
    days = (-10, draw(st.sampled_from([1, 3, 5, 15])), performed // 2, performed)
    operated = AS_OF - timedelta(days=performed)
    site = draw(st.sampled_from([Site.LEG, Site.LEG, Site.BACK, Site.ANY]))
    is_disability = draw(st.integers(0, 9)) == 0
    return tuple(
        ObservationFact(
            reference=f"Observation/course-{day}",
            concepts=frozenset({"odi" if is_disability else "pain-score"}),
            effective=FhirDate.on(operated + timedelta(days=day)),
            value=Decimal(value * 9 if is_disability else value),
            site=None if is_disability else site,
        )
        for day, value in zip(days, values, strict=True)
        if day <= performed
    )


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Return a chart with an operation and a handful of anything else."""
    performed = draw(st.sampled_from([0, 3, 20, 60, 100, 200, 400, 1000]))
    operation = ProcedureFact(
        reference="Procedure/op",
        concepts=frozenset({draw(st.sampled_from(OPERATIONS))}),
        performed=draw(
            st.sampled_from(
                [
                    None,
                    FhirDate(earliest=date(2025, 6, 1), latest=date(2025, 6, 30)),
                    *[FhirDate.on(AS_OF - timedelta(days=performed))] * 8,
                ]
            )
        ),
        levels=frozenset({"L4-L5"}),
    )
    scores = draw(_courses(performed)) if draw(st.booleans()) else ()
    failed = (
        draw(st.sets(st.sampled_from(Key.DEFAULT[2:]), max_size=2)) if draw(st.booleans()) else ()
    )
    supply = {key: Supply(state=State.SUPPLIED) for key in Key.DEFAULT}
    supply |= {key: Supply(state=State.NOT_SUPPLIED, reason="time ran out") for key in failed}
    birth = draw(st.sampled_from([FhirDate.on(date(1980, 1, 1))] * 5 + [None]))
    return Chart(
        patient=PatientFact(reference="Patient/p1", birth=birth, gender="female"),
        procedures=(operation, *draw(st.lists(_contacts(), max_size=1))),
        conditions=tuple(draw(st.lists(conditions(), max_size=1 if scores else 4))),
        observations=(*scores, *draw(st.lists(observations(), max_size=0 if scores else 9))),
        orders=tuple(draw(st.lists(_orders(), max_size=2))),
        reports=tuple(draw(st.lists(_reports(), max_size=2))),
        drugs=tuple(draw(st.lists(_drugs(), max_size=3))),
        devices=tuple(draw(st.lists(_devices(), max_size=1))),
        supply=supply,
    )


def _contacts() -> st.SearchStrategy[ProcedureFact]:
    return st.builds(
        ProcedureFact,
        reference=st.just("Procedure/pt"),
        concepts=st.just(frozenset({"physiotherapy-contact"})),
        performed=DATED,
    )


def _orders() -> st.SearchStrategy[OrderFact]:
    return st.builds(
        OrderFact,
        reference=_names.map(lambda n: f"ServiceRequest/{n}"),
        concepts=st.sampled_from(ORDERS).map(lambda c: frozenset({c})),
        status=st.just("active"),
        authored=DATED,
    )


def _reports() -> st.SearchStrategy[ReportFact]:
    return st.builds(
        ReportFact,
        reference=_names.map(lambda n: f"DiagnosticReport/{n}"),
        concepts=st.sampled_from(TESTS).map(lambda c: frozenset({c})),
        effective=DATED,
        is_final=st.booleans(),
    )


def _drugs() -> st.SearchStrategy[DrugFact]:
    return st.builds(
        DrugFact,
        reference=_names.map(lambda n: f"MedicationRequest/{n}"),
        concepts=st.sampled_from(DRUGS).map(lambda c: frozenset({c})),
        status=st.just("active"),
        started=DATED,
        mme_per_day=st.sampled_from([None, Decimal(30), Decimal("66.6667")]),
        is_daily_maximum=st.booleans(),
    )


def _devices() -> st.SearchStrategy[DeviceFact]:
    return st.builds(
        DeviceFact,
        reference=st.just("Device/d"),
        concepts=st.sampled_from(["implant-pacemaker", "implant-clip", "other"]).map(
            lambda c: frozenset({c})
        ),
        mr_status=st.sampled_from(MrStatus),
    )


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(charts())
def test_any_chart_renders_to_valid_cards(chart: Chart) -> None:
    """Every card fits its limits, names no empty value, and proposes only valid orders."""
    assessment = assess(chart, KNOWLEDGE, AS_OF)
    cards = render_cards(assessment, KNOWLEDGE, OPTIONS, CONTEXT)
    assert len(cards) == len(assessment.shown)
    assert not [f.card for f in assessment.findings if f.is_faulty]
    for finding, card in zip(assessment.shown, cards, strict=True):
        assert 0 < len(str(card["summary"])) <= 139
        assert "{" not in str(card["summary"])
        assert "{" not in str(card["detail"])
        assert finding.is_order_withheld is False or "suggestions" not in card
        assert ("suggestions" in card) is ("selectionBehavior" in card)
        suggestions = card.get("suggestions", [])
        assert isinstance(suggestions, list)
        for suggestion in suggestions:
            assert 0 < len(suggestion["label"]) <= 80
            for action in suggestion["actions"]:
                ServiceRequest.model_validate(action["resource"])
    assert cards == render_cards(assessment, KNOWLEDGE, OPTIONS, CONTEXT)
    assert render_text(assessment, KNOWLEDGE)
    assert trace_json(assessment)
