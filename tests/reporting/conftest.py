"""A fortnight of a made-up hospital with a fault hidden in its second week."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy.engine import Engine

from cds_service.chart.supply import State as SupplyState
from cds_service.fhir.metrics import PullMetrics, PullRecord
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.records import (
    CallCounts,
    CallRecord,
    FeedbackCounts,
    LedgerStatus,
    NewAnswer,
    Outcome,
    Showing,
    State,
)
from cds_service.reporting.alarms import Alarm, Direction, Watched
from cds_service.reporting.reading import ms_of, period_of_days
from cds_service.reporting.report import Asked, Report, make_report
from cds_service.web.figures import MetricsParts, register_metrics
from cds_service.web.metrics import Metrics, Numbers, States
from cds_service.web.shared_metrics import SharedMetrics
from tests.reporting.simulated import (
    AFTERWARDS,
    FIRST_DAY,
    LAST_DAY,
    Simulation,
    broken,
    days,
    empty_ledger,
)


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="module")
def fortnight() -> tuple[Engine, Simulation]:
    """Return a ledger with one fortnight, broken in its second week, and the caller's count."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(days(FIRST_DAY, LAST_DAY), a_day=300, change=broken)
    return engine, simulation


@pytest.fixture(scope="module")
def report(fortnight: tuple[Engine, Simulation]) -> Report:
    """Return the report of that fortnight."""
    return make_report(fortnight[0], asked())


def asked(client: str | None = None, *, days_long: int = 14) -> Asked:
    """Return the question for the report of the fortnight."""
    first = LAST_DAY - timedelta(days=days_long - 1)
    return Asked(
        period=period_of_days(first, LAST_DAY),
        client=client,
        made_at=AFTERWARDS,
        titles={"IMG-MRI-NR": "MRI for pain that was not relieved"},
    )


@pytest.fixture(scope="session")
def everything(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the metrics of a service that has seen one of everything."""
    counts = Metrics(knowledge.cards)
    counts.observe_call(CALL)
    counts.observe_feedback("ehr-a", (FEEDBACK,))
    pulls = PullMetrics()
    pulls.observe(PULL)
    states = States(
        pulls=pulls.totals,
        paused_servers=lambda: (("ehr-a", PULL.base),),
        ledger=lambda: LedgerStatus(
            is_writable=False,
            is_readable=False,
            waiting=3,
            calls=CallCounts(),
            feedback=FeedbackCounts(),
        ),
        is_replay_store_lost=lambda: True,
    )
    counts.registry.register(Numbers(states.numbers))
    app = Flask("cds_service.web")
    register_metrics(
        app,
        MetricsParts(
            counts=counts,
            shared=SharedMetrics(counts.registry, tmp_path_factory.mktemp("metrics")).numbers,
            knowledge=knowledge,
            alarms=lambda: (ALARM,),
            token=lambda: None,
            port=None,
            is_open=True,
        ),
    )
    counts.observe_answer(None, "/cds-services/<service_id>", 401)
    text: str = app.test_client().get("/metrics").text
    return text


CALL = CallRecord(
    client="ehr-a",
    service="post-laminectomy-evaluation",
    received_at=ms_of(FIRST_DAY),
    outcome=Outcome.FIRED,
    http_status=200,
    knowledge_version="0.1.0",
    knowledge_digest="d" * 64,
    total_ms=21.5,
    steps_ms={"request": 0.5, "gateway": 18.0, "reading": 3.0},
    hook_instance="d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    patient="canary-patient-hash",
    unread={"scores": "the FHIR server did not answer in time"},
    unmapped=("urn:canary|code",),
    faulty_rules=("SIJ",),
    showings=(
        Showing(card="PT-REF", card_uuid="canary-uuid", indicator="info", state=State.SHOWN),
    ),
)
PULL = PullRecord(
    client="ehr-a",
    base="https://fhir.hospital.example/r4",
    key="scores",
    outcome=SupplyState.NOT_SUPPLIED,
    reason="the FHIR server did not answer in time",
    seconds=0.3,
    pages=2,
    bytes=900,
)
FEEDBACK = NewAnswer(outcome="overridden", reason=None, has_reason=True)
ALARM = Alarm(
    client="ehr-a",
    watched=Watched.CARD,
    subject="PT-REF",
    direction=Direction.ZERO,
    seen=0,
    expected=20.0,
    calls=300,
    days=1,
    until_hour=ms_of(FIRST_DAY) // 3_600_000,
)
