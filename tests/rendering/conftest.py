"""A knowledge, options and findings for the tests of rendering."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.chart.facts import (
    Chart,
    ObservationFact,
    OrderFact,
    PatientFact,
    ProcedureFact,
    ReportFact,
    Site,
)
from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assessment import (
    Assessment,
    Evidence,
    Finding,
    Indicator,
    Outcome,
    Proposal,
    Term,
    Verdict,
)
from cds_service.evaluation.case import Case, build_case
from cds_service.evaluation.episode import find_episode
from cds_service.evaluation.limits import Limits
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions
from cds_service.values import FhirDate

AS_OF = date(2026, 6, 10)
SURGERY = date(2026, 2, 10)


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """The packaged knowledge."""
    return load_knowledge()


@pytest.fixture(scope="session")
def options() -> CardOptions:
    """The options of a plain client."""
    return CardOptions(
        client_id="ehr-a", public_base_url="https://cds.example/", identity_key=b"key"
    )


@pytest.fixture
def context() -> CardContext:
    """A call for one patient by one practitioner in one encounter."""
    return CardContext(patient_id="p1", user_id="Practitioner/u1", encounter_id="e1")


@pytest.fixture
def mri_finding() -> Finding:
    """No relief after surgery: an MRI with or without contrast is proposed."""
    return Finding(
        card="IMG-MRI-NR",
        row=14,
        verdict=Verdict.MET,
        indicator=Indicator.WARNING,
        words={
            "dss": 120,
            "score": Decimal(7),
            "site": Term(kind="phrase", id="site-leg"),
        },
        is_shown=True,
        evidence=(
            Evidence(reference="Observation/leg1", label="leg", day=date(2026, 3, 1)),
            Evidence(reference="Observation/leg2", label="leg", day=AS_OF),
            Evidence(reference="Observation/leg1", label="leg", day=date(2026, 3, 1)),
        ),
        proposals=(
            Proposal(orders=("mri-lumbar-without-contrast",), priority="routine"),
            Proposal(
                orders=("mri-lumbar-without-and-with-contrast",),
                priority="routine",
                is_recommended=True,
            ),
        ),
        is_either_or=True,
        reason_code="post-laminectomy-syndrome",
    )


@pytest.fixture
def case(knowledge: Knowledge) -> Case:
    """A discectomy 120 days ago, leg pain 8 before and 7 today, an early MRI, an old order."""
    chart = Chart(
        patient=PatientFact(
            reference="Patient/p1", birth=FhirDate.on(date(1970, 1, 1)), gender="female"
        ),
        procedures=(
            ProcedureFact(
                reference="Procedure/op",
                concepts=frozenset({"discectomy"}),
                performed=FhirDate.on(SURGERY),
                levels=frozenset({"L4-L5"}),
            ),
        ),
        observations=(
            _leg("before", date(2026, 2, 1), 8),
            _leg("later", date(2026, 4, 1), 6),
            _leg("same-day", AS_OF, 4),
            _leg("now", AS_OF, 7),
        ),
        reports=(
            ReportFact(
                reference="DiagnosticReport/early",
                concepts=frozenset({"mri-lumbar"}),
                effective=FhirDate.on(date(2026, 3, 2)),
                is_final=True,
            ),
        ),
        orders=(
            OrderFact(
                reference="ServiceRequest/old",
                concepts=frozenset({"mri-lumbar"}),
                status="active",
                authored=FhirDate.on(date(2026, 1, 5)),
            ),
        ),
        supply={key: Supply(state=State.SUPPLIED) for key in Key.DEFAULT},
    )
    episode = find_episode(chart, Limits(knowledge, AS_OF))
    return build_case(chart, knowledge, AS_OF, episode.operations[0], None)


def _leg(name: str, day: date, value: int) -> ObservationFact:
    return ObservationFact(
        reference=f"Observation/{name}",
        concepts=frozenset({"pain-score"}),
        effective=FhirDate.on(day),
        value=Decimal(value),
        site=Site.LEG,
    )


@pytest.fixture
def assessment(mri_finding: Finding, case: Case) -> Assessment:
    """One warning about an MRI, with the case behind it."""
    return Assessment(outcome=Outcome.EVALUATED, as_of=AS_OF, findings=(mri_finding,), case=case)
