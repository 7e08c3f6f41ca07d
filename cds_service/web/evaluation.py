"""The road of one hook call: bytes, trusted request, chart, assessment, cards, bytes.

No step looks back.  Each part is handed in, so the road itself reads no clock, file or network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec
import structlog
from flask import g

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.chart.facts import Chart
from cds_service.evaluation.assessment import Assessment
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.queries import USER_KEY
from cds_service.fhir.reading import AnotherPatientError
from cds_service.fhir.users import user_roles
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import HookRequest, parse_request
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.trust.profile import ClientProfile
from cds_service.trust.roles import hidden_cards

_log = structlog.get_logger()


class Gateway(Protocol):
    """Where the chart comes from."""

    def answers(
        self, request: HookRequest, client: ClientProfile, deadline: Deadline
    ) -> Mapping[str, KeyAnswer]:
        """Return what is known of each key, within *deadline*."""


class ChartReader(Protocol):
    """FHIR JSON to facts."""

    def __call__(  # noqa: PLR0913 - the contract of cds_service.fhir.reading
        self,
        answers: Mapping[str, KeyAnswer],
        *,
        patient_id: str,
        as_of: date,
        zone: ZoneInfo,
        knowledge: Knowledge,
        bases: frozenset[str],
        fhir_server: str | None,
        matches_drug_names: bool = False,
        has_time: Callable[[], bool] = lambda: True,
        code_map: CodeMap = NO_CODES,
    ) -> Chart:
        """Return the chart of one patient, as far as *has_time* allows."""


CardOptionsOf = Callable[[ClientProfile], CardOptions]
Assess = Callable[[Chart, Knowledge, date], Assessment]
Render = Callable[
    [Assessment, Knowledge, CardOptions, CardContext],
    list[dict[str, object]],
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """The parts of the road, in the order they are walked.

    Time:
        ``now`` is the time zone aware moment; the answer is for the calendar day it has in the
        client's time zone.  ``monotonic`` counts seconds and only measures durations.
    """

    knowledge: Knowledge
    gateway: Gateway
    read_chart: ChartReader
    assess: Assess
    render: Render
    card_options: CardOptionsOf
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    allows_as_of: bool

    def answer(self, body: bytes, client: ClientProfile, deadline: Deadline) -> bytes:
        """Return the hook answer to *body* as JSON.

        Raises:
            RequestError: The request is not valid, or required data could not be had.
        """
        watch = _StopWatch(self.monotonic)
        request = parse_request(body, service_id=SERVICE_ID, allows_as_of=self.allows_as_of)
        g.hook_instance = request.hook_instance
        watch.lap("request")
        answers = dict(self.gateway.answers(request, client, deadline))
        user = user_roles(answers.pop(USER_KEY, None), request.user_id)
        watch.lap("gateway")
        as_of = request.as_of or self.now().astimezone(client.time_zone).date()
        chart = self._chart(answers, request, client, as_of, deadline)
        watch.lap("reading")
        assessment = self.assess(chart, self.knowledge, as_of)
        watch.lap("assessment")
        cards = self.render(
            assessment,
            self.knowledge,
            self._options(client, user),
            CardContext(
                patient_id=request.patient_id,
                user_id=request.user_id,
                encounter_id=request.encounter_id,
                fhir_server=request.fhir_server,
            ),
        )
        answer = msgspec.json.encode({"cards": cards})
        watch.lap("rendering")
        _log.info(
            "hook_answered",
            hookInstance=request.hook_instance,
            client=client.id,
            service=SERVICE_ID,
            outcome=assessment.outcome.value,
            cards=[finding.card for finding in assessment.shown],
            cards_sent=len(cards),
            set_aside=dict(Counter(entry.reason for entry in chart.set_aside)),
            unread=sorted(assessment.unread),
            faulty_rules=[f.card for f in assessment.findings if f.is_faulty],
            milliseconds=watch.milliseconds,
        )
        return answer

    def _options(self, client: ClientProfile, user: tuple[frozenset[str], ...]) -> CardOptions:
        """Return how *client* wants its cards, without those hidden from this user's roles."""
        options = self.card_options(client)
        hidden = hidden_cards(client.roles, user)
        return replace(options, disabled_cards=options.disabled_cards | hidden)

    def _chart(
        self,
        answers: Mapping[str, KeyAnswer],
        request: HookRequest,
        client: ClientProfile,
        as_of: date,
        deadline: Deadline,
    ) -> Chart:
        """Return the chart; entries of another patient are a security event."""
        try:
            chart = self.read_chart(
                answers,
                patient_id=request.patient_id,
                as_of=as_of,
                zone=client.time_zone,
                knowledge=self.knowledge,
                bases=frozenset(client.fhir_bases),
                fhir_server=request.fhir_server,
                matches_drug_names=client.matches_drug_names,
                has_time=deadline.leaves_time_to_read,
                code_map=client.code_map,
            )
        except AnotherPatientError as error:
            _log_foreign(Counter({"Patient": 1}), error.keys, request, client)
            raise
        foreign = [entry for entry in chart.set_aside if entry.reason == reasons.ANOTHER_PATIENT]
        if foreign:
            types = Counter(entry.reference or "" for entry in foreign)
            _log_foreign(types, {entry.key for entry in foreign}, request, client)
        return chart


def _log_foreign(
    types: Mapping[str, int], keys: Iterable[str], request: HookRequest, client: ClientProfile
) -> None:
    """Log that entries of another patient came: keys, resource types and counts only."""
    _log.warning(
        "security_event",
        kind="another_patients_entries",
        hookInstance=request.hook_instance,
        client=client.id,
        keys=sorted(keys),
        types=dict(types),
    )


class _StopWatch:
    """How long each step took."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self.milliseconds: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """End *step* here."""
        now = self._monotonic()
        self.milliseconds[step] = round((now - self._since) * 1000, 2)
        self._since = now
