"""The road of one hook call: bytes, trusted request, chart, assessment, cards, bytes.

No step looks back.  Each part is handed in, so the road itself reads no clock, file or network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec
import structlog
from flask import g
from msgspec import structs

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.chart.facts import Chart
from cds_service.errors import DataNotAvailableError
from cds_service.evaluation.assessment import Assessment
from cds_service.evaluation.selection import SILENT, WITHHELD
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.queries import USER_KEY
from cds_service.fhir.reading import AnotherPatientError
from cds_service.fhir.users import user_roles
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import HookRequest, parse_request
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.patients import is_silent, operation_key, patient_key
from cds_service.ledger.recording import completed, held_back, showings_of
from cds_service.ledger.records import CallRecord, Outcome, milliseconds
from cds_service.ledger.repeating import held_reminders
from cds_service.ledger.snoozes import Snooze, fulfilled
from cds_service.rendering.cards import Rendered
from cds_service.rendering.identity import CardNames
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.trust.profile import ClientProfile
from cds_service.trust.roles import hidden_cards, role_name
from cds_service.web.problems import status_of

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
        sent: Mapping[str, bytes | None],
    ) -> Chart:
        """Return the chart of one patient, as far as *has_time* allows."""


CardOptionsOf = Callable[[ClientProfile], CardOptions]
Assess = Callable[[Chart, Knowledge, date], Assessment]
Render = Callable[[Assessment, Knowledge, CardOptions, CardContext], Rendered]


class CallLedger(Protocol):
    """Where calls are kept; no method raises, whatever becomes of the database."""

    def keep(self, call: CallRecord, ended_snoozes: tuple[int, ...] = ()) -> None:
        """Keep *call*; a snooze in *ended_snoozes* is over."""

    def snoozes(self, patient: str) -> tuple[Snooze, ...]:
        """Return what may hold cards of *patient* (a hash) back."""

    def was_shown(self, card_uuid: str, since: datetime, before: datetime) -> bool:
        """Return whether this card was shown from *since* on and before *before*."""


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
    ledger: CallLedger
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    waited: Callable[[], float] = lambda: 0.0
    """For how many seconds the call of this thread has been here: line, token, body."""
    allows_as_of: bool

    def answer(self, body: bytes, client: ClientProfile, deadline: Deadline) -> bytes:
        """Return the hook answer to *body* as JSON.

        Raises:
            RequestError: The request is not valid, or required data could not be had.
        """
        waited = self.waited()
        arrived_at = self.now() - timedelta(seconds=waited)
        call = _Call(client, arrived_at, _StopWatch(self.monotonic, waited))
        try:
            return self._answered(body, call, deadline)
        except Exception as error:
            self.ledger.keep(self._refusal(call, error))
            raise

    def _answered(self, body: bytes, call: _Call, deadline: Deadline) -> bytes:
        client, watch = call.client, call.watch
        request = parse_request(body, service_id=SERVICE_ID, allows_as_of=self.allows_as_of)
        call.request = request
        g.hook_instance = request.hook_instance
        watch.lap("request")
        answers = dict(self.gateway.answers(request, client, deadline))
        user = user_roles(answers.pop(USER_KEY, None), request.user_id)
        watch.lap("gateway")
        as_of = request.as_of or call.received_at.astimezone(client.time_zone).date()
        chart = self._chart(answers, request, client, as_of, deadline)
        watch.lap("reading")
        assessment = self.assess(chart, self.knowledge, as_of)
        watch.lap("assessment")
        call.user_roles = user
        cards = self._rendered(call, request, chart, assessment)
        answer = msgspec.json.encode({"cards": cards})
        watch.lap("ledger")
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

    def _rendered(
        self, call: _Call, request: HookRequest, chart: Chart, assessment: Assessment
    ) -> list[dict[str, object]]:
        """Return the cards this patient's users see; the call is in the ledger before."""
        options = self.card_options(call.client)
        record = self._record(call, request, options)
        patient = record.patient or ""
        names = CardNames(
            patient_id=request.patient_id, client_id=options.client_id, key=options.identity_key
        )
        operation = operation_key(options.identity_key, patient=patient, assessment=assessment)
        snoozes = self.ledger.snoozes(patient) if assessment.findings else ()
        reminders = held_reminders(
            assessment,
            chart,
            names,
            self.ledger.was_shown,
            knowledge=self.knowledge,
            encounter_id=request.encounter_id,
            now=call.received_at.astimezone(call.client.time_zone),
        )
        ended = fulfilled(snoozes, assessment, self.knowledge)
        open_snoozes = [snooze for snooze in snoozes if snooze.id not in ended]
        held = held_back(
            assessment, open_snoozes, names, operation=operation, knowledge=self.knowledge
        )
        call.watch.lap("holding")
        context = CardContext(
            patient_id=request.patient_id,
            user_id=request.user_id,
            encounter_id=request.encounter_id,
            fhir_server=request.fhir_server,
            held={
                **dict.fromkeys(call.client.cards.silent_cards, SILENT),
                **reminders,
                **held,
                **dict.fromkeys(hidden_cards(call.client.roles, call.user_roles), WITHHELD),
            },
        )
        rendered = self.render(assessment, self.knowledge, options, context)
        call.watch.lap("rendering")
        showings = showings_of(rendered, operation=operation, is_silent=record.is_silent)
        record = completed(record, chart, assessment, rendered, showings)
        record = structs.replace(
            record, steps_ms=call.watch.milliseconds, total_ms=call.watch.total_milliseconds
        )
        self.ledger.keep(record, ended)
        return [] if record.is_silent else rendered.cards

    def _record(self, call: _Call, request: HookRequest | None, options: CardOptions) -> CallRecord:
        """Return what is known of a call before it is evaluated."""
        patient = None
        if request is not None:
            patient = patient_key(
                options.identity_key, client_id=call.client.id, patient_id=request.patient_id
            )
        return CallRecord(
            hook_instance=request.hook_instance if request else None,
            client=call.client.id,
            service=SERVICE_ID,
            role=role_name(call.client.roles, call.user_roles),
            received_at=milliseconds(call.received_at),
            patient=patient,
            outcome=Outcome.ERROR,
            http_status=HTTPStatus.OK,
            is_silent=patient is not None and is_silent(patient, call.client.cards.silent_percent),
            knowledge_version=self.knowledge.version,
            knowledge_digest=self.knowledge.digest,
            total_ms=0.0,
        )

    def _refusal(self, call: _Call, error: Exception) -> CallRecord:
        """Return the record of a call that ends with *error*."""
        record = self._record(call, call.request, self.card_options(call.client))
        record = structs.replace(
            record,
            http_status=status_of(error),
            steps_ms=call.watch.milliseconds,
            total_ms=call.watch.total_milliseconds,
        )
        if isinstance(error, DataNotAvailableError):
            unread = dict.fromkeys(error.keys, error.reason)
            return structs.replace(record, outcome=Outcome.INSUFFICIENT_DATA, unread=unread)
        return structs.replace(record, error=type(error).__name__)

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
                sent=request.prefetch,
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


@dataclass(slots=True)
class _Call:
    """One call on its way; ``request`` is None until it is read."""

    client: ClientProfile
    received_at: datetime
    watch: _StopWatch
    request: HookRequest | None = None
    user_roles: tuple[frozenset[str], ...] = ()


class _StopWatch:
    """How long each step took, beginning with what the call waited for before."""

    def __init__(self, monotonic: Callable[[], float], waited: float) -> None:
        self._monotonic = monotonic
        self._begun = self._since = monotonic() - waited
        self.milliseconds: dict[str, float] = {}
        self.lap("waiting")

    def lap(self, step: str) -> None:
        """End *step* here."""
        now = self._monotonic()
        self.milliseconds[step] = round((now - self._since) * 1000, 2)
        self._since = now

    @property
    def total_milliseconds(self) -> float:
        """Return the time up to the end of the last step."""
        return round((self._since - self._begun) * 1000, 2)
