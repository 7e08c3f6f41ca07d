"""Small rooms and small readers for tests of the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from cds_service.app import Rooms
from cds_service.chart.facts import Chart, PatientFact, SetAside
from cds_service.evaluation.assessment import Assessment, Finding, Outcome
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.reading import AnotherPatientError
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import Rendered
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.trust.profile import ClientProfile

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVICE = "/cds-services/post-laminectomy-evaluation"
HOOK_INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"


@dataclass
class SmallRooms:
    """Rooms that answer one card and remember what they were asked."""

    fault: Exception | None = None
    another_patient: AnotherPatientError | None = None
    set_aside: tuple[SetAside, ...] = ()
    findings: tuple[Finding, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    takes_time: Callable[[str], object] = lambda _room: None
    """Called in each room with its name."""
    requests: list[HookRequest] = field(default_factory=list)
    days: list[date] = field(default_factory=list)
    options: list[CardOptions] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)
    readings: list[Mapping[str, Any]] = field(default_factory=list)
    """What was said of each chart that was to be read."""
    contexts: list[CardContext] = field(default_factory=list)

    def answers(
        self, request: HookRequest, client: ClientProfile, deadline: Deadline
    ) -> Mapping[str, KeyAnswer]:
        """Remember the request; fail if told so."""
        del client
        self.requests.append(request)
        self.deadlines.append(deadline)
        self.takes_time("gateway")
        if self.fault is not None:
            raise self.fault
        return {}

    def read_chart(self, answers: Mapping[str, KeyAnswer], **asked: object) -> Chart:
        """Return a chart with nothing but a patient, and what was set aside."""
        del answers
        self.readings.append(asked)
        self.takes_time("reading")
        if self.another_patient is not None:
            raise self.another_patient
        patient = PatientFact(reference=f"Patient/{asked['patient_id']}", birth=None, gender=None)
        return Chart(patient=patient, set_aside=self.set_aside)

    def assess(self, chart: Chart, knowledge: Knowledge, as_of: date) -> Assessment:
        """Remember the day."""
        del chart, knowledge
        self.takes_time("assessment")
        self.days.append(as_of)
        return Assessment(
            outcome=Outcome.EVALUATED, as_of=as_of, findings=self.findings, unread=self.unread
        )

    def render(
        self,
        assessment: Assessment,
        knowledge: Knowledge,
        options: CardOptions,
        context: CardContext,
    ) -> Rendered:
        """Return one small card."""
        del assessment, knowledge
        self.contexts.append(context)
        self.takes_time("rendering")
        self.options.append(options)
        return Rendered(
            [{"summary": "A card", "indicator": "info", "source": {"label": "test"}}], ()
        )

    def as_rooms(self) -> Rooms:
        """Return these rooms as the application takes them."""
        return Rooms(
            gateway=self,
            read_chart=self.read_chart,
            assess=self.assess,
            render=self.render,
        )


@dataclass
class Ticks:
    """A monotonic clock that the test moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return the seconds the test has set."""
        return self.seconds


def issue_of(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - werkzeug's TestResponse
    """Return the one issue of an answer that must be an OperationOutcome."""
    assert answer.mimetype == "application/json"
    outcome = json.loads(answer.data)
    assert outcome["resourceType"] == "OperationOutcome"
    [issue] = outcome["issue"]
    assert issue["severity"] == "error"
    assert issue["details"]["text"].endswith(".")
    return issue
