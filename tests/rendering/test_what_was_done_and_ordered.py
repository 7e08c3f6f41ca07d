"""Every test, visit and order in the chart is listed on a card: no doctor asks for it in vain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from cds_service.chart.facts import EncounterFact, OrderFact, ProcedureFact, ReportFact
from cds_service.evaluation.assessment import Assessment
from cds_service.evaluation.case import Case, build_case
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.values import FhirDate
from tests.changing import replace

LookedAt = Callable[..., list[str]]
MAY = FhirDate.on(date(2026, 5, 4))
EARLIER = FhirDate.on(date(2026, 1, 5))

REPORTED = [
    ("mri-lumbar", "lumbar MRI"),
    ("ct-lumbar", "lumbar CT"),
    ("ct-myelogram", "CT myelogram"),
    ("xray-lumbar", "lumbar x-ray"),
    ("emg", "EMG"),
]
DONE = [
    ("scs-procedure", "spinal cord stimulator procedure"),
    ("si-joint-injection", "SI-joint injection"),
    ("si-joint-fusion", "SI-joint fusion"),
]
VISITED = [
    ("physiotherapy-contact", "physiotherapy"),
    ("spine-surgery-visit", "spine surgeon visit"),
    ("pain-clinic-contact", "pain clinic"),
]
ORDERED = [
    *REPORTED,
    ("physiotherapy-order", "physiotherapy"),
    ("spine-surgery-referral", "spine surgeon referral"),
    ("pain-clinic-referral", "pain clinic referral"),
    ("psychology-referral", "psychology referral"),
    ("scs-referral", "SCS referral"),
    ("smoking-cessation-order", "help to stop smoking"),
]


def report(concept: str, on: FhirDate | None) -> ReportFact:
    """Return the final report of a test."""
    return ReportFact(
        reference="DiagnosticReport/1",
        concepts=frozenset({concept}),
        effective=on,
        is_final=True,
    )


def procedure(concept: str, on: FhirDate | None) -> ProcedureFact:
    """Return something done."""
    return ProcedureFact(reference="Procedure/1", concepts=frozenset({concept}), performed=on)


def visit(concept: str, on: FhirDate | None) -> EncounterFact:
    """Return a visit to an outpatient clinic."""
    return EncounterFact(
        reference="Encounter/1", concepts=frozenset({concept}), started=on, is_inpatient=False
    )


def order(concept: str, on: FhirDate | None) -> OrderFact:
    """Return an open order."""
    return OrderFact(
        reference="ServiceRequest/1",
        concepts=frozenset({concept}),
        status="active",
        authored=on,
    )


@pytest.fixture
def looked_at(
    case: Case,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> LookedAt:
    """Return what else was looked at, as a card says it of a patient with these entries only."""

    def told(**entries: object) -> list[str]:
        chart = replace(case.chart, reports=(), orders=())
        more = {name: (*getattr(chart, name), entry) for name, entry in entries.items()}
        chart = replace(chart, **more)
        changed = build_case(chart, knowledge, case.as_of, case.operation, None)
        answered = replace(assessment, case=changed)
        detail = str(render_cards(answered, knowledge, options, context)[0]["detail"])
        _, heading, rest = detail.partition("**What else was looked at**\n\n")
        return rest.partition("\n\n")[0].splitlines() if heading else []

    return told


@pytest.mark.parametrize(("test", "name"), REPORTED)
def test_report_is_listed_and_has_to_be_read(test: str, name: str, looked_at: LookedAt) -> None:
    """What a scan or an EMG showed stands in its report, which the service cannot read."""
    assert looked_at(reports=report(test, MAY)) == [
        f"- Done: {name} 2026-05-04.",
        "- Reports of 2026-05-04 not read by this service.",
    ]


@pytest.mark.parametrize(("treatment", "name"), DONE)
def test_treatment_is_listed(treatment: str, name: str, looked_at: LookedAt) -> None:
    """An injection or a stimulator has no report to read."""
    done = looked_at(procedures=procedure(treatment, MAY))
    assert done == [f"- Done: {name} 2026-05-04."]


@pytest.mark.parametrize(("contact", "name"), VISITED)
def test_visit_is_listed(contact: str, name: str, looked_at: LookedAt) -> None:
    """Somebody has looked at this patient already."""
    assert looked_at(encounters=visit(contact, MAY)) == [f"- Done: {name} 2026-05-04."]


@pytest.mark.parametrize(
    ("on", "said"),
    [
        (MAY, "- Ordered: {name} 2026-05-04."),
        (EARLIER, "- Ordered, but does not count: {name} 2026-01-05 (before surgery)."),
        (None, "- On record without a date, and so not counted: {name} ordered."),
    ],
)
@pytest.mark.parametrize(("ordered", "name"), ORDERED)
def test_order_is_listed_whether_it_counts_or_not(
    ordered: str, name: str, on: FhirDate | None, said: str, looked_at: LookedAt
) -> None:
    """Open orders from before the operation, and such without a date, are no secret either."""
    assert looked_at(orders=order(ordered, on)) == [said.format(name=name)]


@pytest.mark.parametrize(
    ("status", "on", "said"),
    [
        ("active", date(2026, 2, 9), "{not_counted} 2026-02-09 (before surgery)."),
        ("active", date(2026, 2, 10), "{not_counted} 2026-02-10 (on the day of surgery)."),
        ("active", date(2026, 2, 11), "- Ordered: lumbar MRI 2026-02-11."),
        ("draft", date(2026, 2, 11), "{not_counted} 2026-02-11 (a draft that was not signed)."),
    ],
)
def test_order_that_does_not_count_says_why(
    status: str, on: date, said: str, looked_at: LookedAt
) -> None:
    """It was for the operation itself, for what came before it, or nobody signed it."""
    entry = replace(order("mri-lumbar", FhirDate.on(on)), status=status)
    not_counted = "- Ordered, but does not count: lumbar MRI"
    assert looked_at(orders=entry) == [said.format(not_counted=not_counted)]


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (date(2026, 2, 9), "2026-02-09 (before surgery)"),
        (date(2026, 2, 10), "2026-02-10"),
    ],
)
def test_scan_of_the_day_of_surgery_is_not_called_earlier(
    day: date, said: str, looked_at: LookedAt
) -> None:
    """That of the day before is."""
    listed, _ = looked_at(reports=report("mri-lumbar", FhirDate.on(day)))
    assert listed == f"- Done: lumbar MRI {said}."


def test_several_tests_visits_and_orders_share_a_line_each(looked_at: LookedAt) -> None:
    """Tests come first, then visits; what was ordered and what does not count follow."""
    assert looked_at(
        reports=report("ct-lumbar", MAY),
        encounters=visit("pain-clinic-contact", MAY),
        orders=replace(order("emg", MAY), concepts=frozenset({"emg", "scs-referral"})),
    ) == [
        "- Done: lumbar CT 2026-05-04; pain clinic 2026-05-04.",
        "- Ordered: EMG 2026-05-04; SCS referral 2026-05-04.",
        "- Reports of 2026-05-04 not read by this service.",
    ]
    old = replace(order("emg", EARLIER), concepts=frozenset({"emg", "scs-referral"}))
    [listed] = looked_at(orders=old)
    emg, referral = "EMG 2026-01-05 (before surgery)", "SCS referral 2026-01-05 (before surgery)"
    assert listed == f"- Ordered, but does not count: {emg}; {referral}."


@pytest.mark.parametrize(
    ("part", "entry", "name"),
    [
        *(("reports", report(test, None), name) for test, name in REPORTED),
        *(("procedures", procedure(done, None), name) for done, name in DONE),
        *(("encounters", visit(contact, None), name) for contact, name in VISITED),
    ],
)
def test_what_was_done_on_an_unknown_day_is_listed(
    part: str, entry: object, name: str, looked_at: LookedAt
) -> None:
    """Nobody knows whether it was before the operation; it counts for nothing and is told."""
    said = f"- On record without a date, and so not counted: {name}."
    assert looked_at(**{part: entry}) == [said]
