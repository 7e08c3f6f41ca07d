"""Everything a FHIR server has been seen to do wrong, and what the service made of it.

``observe`` drives one fault through a running service process and returns what came back, and
``traced`` asks the same rooms within this process what could not be read and told; the tests
judge both, and ``python -m tests.integration.fault_table`` writes it into
``docs/reliability.md``.
"""

from __future__ import annotations

import functools
import gzip
import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import requests

from cds_service.chart.supply import Supply
from cds_service.demo.personas import Persona
from cds_service.errors import DataNotAvailableError
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Verdict
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.reading import read_chart
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import dev_profile
from tests.everything_written import ACCESS_TOKEN
from tests.fhir import fault_server
from tests.fhir.fault_server import FaultServer, Handler
from tests.ports import free_port

DEADLINE_SECONDS = 0.45
TOKEN = ACCESS_TOKEN
CANARY = "Tomcat-canary"
EVERYTHING = "everything"
TYPES = (
    "Patient",
    "Procedure",
    "Condition",
    "ServiceRequest",
    "MedicationRequest",
    "DiagnosticReport",
    "Device",
    "Observation",
)
Resource = Mapping[str, Any]
Behaviour = Callable[[Handler], None]


class Effect(Enum):
    """What a fault of one search may cost."""

    NONE = "nothing: the same cards"
    PART = "what came is used, the gap is said"
    LOST = "the key is unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ehr:
    """A FHIR server with one chart, and the host a token must never reach."""

    server: FaultServer
    elsewhere: FaultServer
    chart: Persona
    stranger: Persona

    def resources(self, kind: str) -> list[Resource]:
        """Return the patient's resources of one type."""
        return [found for found in self.chart.resources if found["resourceType"] == kind]

    def page(self, kind: str, following: str | None = None, *more: Resource) -> dict[str, Any]:
        """Return a page with all the patient's resources of one type, and *more*."""
        links = [{"relation": "next", "url": following}] if following else []
        entries = [{"resource": found} for found in (*self.resources(kind), *more)]
        return {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links}

    def healthy(self, kind: str) -> Behaviour:
        """Answer as a good server would."""
        body = self.resources(kind)[0] if kind == "Patient" else self.page(kind)
        return lambda handler: handler.send_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail; ``behave`` makes it for the resource type it strikes."""

    name: str
    effect: Effect
    behave: Callable[[Ehr, str], Behaviour]
    is_down: bool = False
    """The server does not listen at all."""


def _simple(name: str, effect: Effect, behaviour: Behaviour) -> Fault:
    return Fault(name=name, effect=effect, behave=lambda _ehr, _kind: behaviour)


def _html(code: int, **headers: str) -> Behaviour:
    page = f"<html>{CANARY}</html>".encode()
    shown = {"Content_Type": "text/html", **headers}
    return lambda handler: handler.send_bytes(page, code, **shown)


def _hang(handler: Handler) -> None:
    """Accept the request and say nothing."""
    time.sleep(5)
    handler.close_connection = True


@functools.cache
def bomb() -> bytes:
    """Return 200 MB as 200 kB; made once, because that takes a while."""
    return gzip.compress(b'{"resourceType":"Bundle","x":"' + b" " * 200_000_000 + b'"}', 1)


def _closed(handler: Handler) -> None:
    """Hang up without a word."""
    handler.close_connection = True


def _raw(*pieces: bytes) -> Behaviour:
    """Send *pieces* as they are, and hang up."""

    def behaviour(handler: Handler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
        handler.close_connection = True

    return behaviour


def _continues(handler: Handler) -> None:
    """Announce an answer again and again, which never comes."""
    for _ in range(500):
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def _filler(ehr: Ehr, kind: str, name: str = "filler") -> dict[str, Any]:
    """Return an entry of the patient that means nothing to us."""
    return {
        "resourceType": kind,
        "id": name,
        "status": "completed",
        "code": {"text": "something else"},
        "subject": {"reference": f"Patient/{ehr.chart.patient_id}"},
    }


def _another_kind(ehr: Ehr, kind: str) -> Behaviour:
    other = "Condition" if kind != "Condition" else "Device"
    filler = {**_filler(ehr, other), "type": {"text": "walking stick"}}
    body = {"resourceType": "Bundle", "entry": [{"resource": filler}]}
    return lambda handler: handler.send_json(body)


def _bare(ehr: Ehr, kind: str) -> Behaviour:
    return lambda handler: handler.send_json(_filler(ehr, kind))


def _with(**fields: object) -> Callable[[Ehr, str], Behaviour]:
    """Send the chart in a Bundle with further *fields*."""
    return lambda ehr, kind: lambda handler: handler.send_json({**ehr.page(kind), **fields})


def _with_entry(entry: object) -> Callable[[Ehr, str], Behaviour]:
    """Send the chart with one more *entry*."""

    def behave(ehr: Ehr, kind: str) -> Behaviour:
        page = ehr.page(kind)
        body = {**page, "entry": [entry, *page["entry"]]}
        return lambda handler: handler.send_json(body)

    return behave


def _inner_bundle(ehr: Ehr, kind: str) -> Behaviour:
    body = {"resourceType": "Bundle", "entry": [{"resource": ehr.page(kind)}]}
    return lambda handler: handler.send_json(body)


def _deep_bundle(ehr: Ehr, kind: str) -> Behaviour:
    body = ehr.page(kind)
    for _ in range(4):
        body = {"resourceType": "Bundle", "entry": [{"resource": body}]}
    return lambda handler: handler.send_json(body)


def _twice_written(ehr: Ehr, kind: str) -> Behaviour:
    body = json.dumps(ehr.page(kind)).encode()
    return lambda handler: handler.send_bytes(body[:-1] + b', "entry": []}')


def _two_subjects(ehr: Ehr, kind: str) -> Behaviour:
    """Add an entry that says it is the stranger's, and then that it is the patient's."""
    entry = json.dumps({"subject": {"reference": "Patient/stranger"}}).encode()[:-1]
    entry += b", " + json.dumps(_filler(ehr, kind)).encode()[1:]
    start = b'"entry": ['
    page = json.dumps(ehr.page(kind, None, _filler(ehr, kind, "other"))).encode()
    body = page.replace(start, start + b'{"resource": ' + entry + b"}, ", 1)
    return lambda handler: handler.send_bytes(body)


def _slow_pages(ehr: Ehr, kind: str) -> Behaviour:
    endless = _endless(ehr, kind)

    def behaviour(handler: Handler) -> None:
        time.sleep(0.15)
        endless(handler)

    return behaviour


def _redirect_home(ehr: Ehr, kind: str) -> Behaviour:
    return _html(302, Location=f"{ehr.server.base}/{kind}?again")


def _send_bomb(handler: Handler) -> None:
    handler.send_bytes(bomb(), Content_Encoding="gzip")


def _many_entries(ehr: Ehr, kind: str) -> Behaviour:
    """Send the chart and 10,000 entries that mean nothing to us."""
    filler = [_filler(ehr, kind, f"filler-{number}") for number in range(10_000)]
    body = json.dumps(ehr.page(kind, None, *filler)).encode()
    return lambda handler: handler.send_bytes(body)


def _endless(ehr: Ehr, kind: str) -> Behaviour:
    def behaviour(handler: Handler) -> None:
        number = int(handler.path.partition("page=")[2] or 1)
        handler.send_json(ehr.page(kind, f"{ehr.server.base}/{kind}?page={number + 1}"))

    return behaviour


def _loop(ehr: Ehr, kind: str) -> Behaviour:
    return lambda handler: handler.send_json(ehr.page(kind, f"{ehr.server.base}/{kind}?page=2"))


def _next_page_elsewhere(ehr: Ehr, kind: str) -> Behaviour:
    link = f"{ehr.elsewhere.base}/{kind}?page=2"
    return lambda handler: handler.send_json(ehr.page(kind, link))


def _redirect(ehr: Ehr, kind: str) -> Behaviour:
    return _html(302, Location=f"{ehr.elsewhere.base}/{kind}")


def _stranger_on_page_two(ehr: Ehr, kind: str) -> Behaviour:
    foreign = [found for found in ehr.stranger.resources if found["resourceType"] == kind]

    def behaviour(handler: Handler) -> None:
        if "page=2" in handler.path:
            entries = [{"resource": found} for found in foreign]
            handler.send_json({"resourceType": "Bundle", "entry": entries})
        else:
            handler.send_json(ehr.page(kind, f"{ehr.server.base}/{kind}?page=2"))

    return behaviour


def _twice(ehr: Ehr, kind: str) -> Behaviour:
    return lambda handler: handler.send_json(ehr.page(kind, None, *ehr.resources(kind)))


def _cut_off_second_page(ehr: Ehr, kind: str) -> Behaviour:
    def behaviour(handler: Handler) -> None:
        if "page=2" in handler.path:
            fault_server.truncated(handler)
        else:
            handler.send_json(ehr.page(kind, f"{ehr.server.base}/{kind}?page=2"))

    return behaviour


def _once_busy(ehr: Ehr, kind: str) -> Behaviour:
    return fault_server.once_then(_html(429, Retry_After="0"), ehr.healthy(kind))


def _once_reset(ehr: Ehr, kind: str) -> Behaviour:
    return fault_server.once_then(fault_server.reset, ehr.healthy(kind))


def _outcome(severity: str, code: str, epic: str = "0") -> dict[str, Any]:
    details = {"coding": [{"system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369", "code": epic}]}
    found = {"severity": severity, "code": code, "details": details, "diagnostics": CANARY}
    return {"resourceType": "OperationOutcome", "issue": [found]}


HEALTHY = Fault(name="none", effect=Effect.NONE, behave=lambda ehr, kind: ehr.healthy(kind))
_LOST, _PART, _NONE = Effect.LOST, Effect.PART, Effect.NONE
FAULTS: tuple[Fault, ...] = (
    _simple("slow: 2 s, beyond the deadline", _LOST, fault_server.slow(2)),
    _simple("hangs: accepts and says nothing", _LOST, _hang),
    _simple("drips the body, a byte each 50 ms", _LOST, fault_server.drip),
    _simple("drips a header that never ends", _LOST, fault_server.drip_headers),
    _simple("drips the size of a chunk", _LOST, fault_server.drip_chunk_size),
    Fault(
        name="refuses connections",
        effect=_LOST,
        is_down=True,
        behave=lambda ehr, kind: ehr.healthy(kind),
    ),
    _simple("resets in the middle of the body, always", _LOST, fault_server.reset),
    Fault(name="resets once, then answers", effect=_NONE, behave=_once_reset),
    _simple("ends the body early", _LOST, fault_server.truncated),
    _simple("401", _LOST, _html(401)),
    _simple("403", _LOST, _html(403)),
    _simple("404", _LOST, _html(404)),
    _simple("429 without Retry-After", _LOST, _html(429)),
    _simple("429 with Retry-After: 30", _LOST, _html(429, Retry_After="30")),
    Fault(name="429 with Retry-After: 0, then answers", effect=_NONE, behave=_once_busy),
    _simple("500 with an HTML page", _LOST, _html(500)),
    _simple("503 with an HTML page", _LOST, _html(503)),
    _simple("200 with an HTML page", _LOST, _html(200)),
    _simple(
        "200 with HTML that says it is FHIR JSON",
        _LOST,
        _html(200, Content_Type="application/fhir+json"),
    ),
    Fault(
        name="FHIR JSON that says it is text/plain",
        effect=_LOST,
        behave=lambda ehr, kind: fault_server.content(
            json.dumps(ehr.page(kind)).encode(), "text/plain"
        ),
    ),
    Fault(
        name="JSON cut in the middle",
        effect=_LOST,
        behave=lambda ehr, kind: fault_server.content(json.dumps(ehr.page(kind)).encode()[:-9]),
    ),
    _simple("empty body", _LOST, fault_server.content(b"")),
    _simple("gzip bomb: 200 MB from 200 kB", _LOST, _send_bomb),
    _simple("200 MB body", _LOST, fault_server.huge),
    Fault(name="10,000 further entries in one page", effect=_NONE, behave=_many_entries),
    Fault(name="pages without end", effect=_PART, behave=_endless),
    Fault(name="pages in a loop", effect=_PART, behave=_loop),
    Fault(name="next page on another host", effect=_PART, behave=_next_page_elsewhere),
    Fault(name="second page breaks off", effect=_PART, behave=_cut_off_second_page),
    Fault(name="redirect to another host", effect=_LOST, behave=_redirect),
    Fault(name="another patient's entries on page 2", effect=_NONE, behave=_stranger_on_page_two),
    _simple(
        "OperationOutcome (error) with status 200",
        _LOST,
        lambda handler: handler.send_json(_outcome("error", "exception")),
    ),
    _simple(
        "OperationOutcome (forbidden) with status 200",
        _LOST,
        lambda handler: handler.send_json(_outcome("error", "forbidden")),
    ),
    Fault(name="every entry twice", effect=_NONE, behave=_twice),
    _simple("hangs up without an answer", _LOST, _closed),
    _simple("speaks no HTTP", _LOST, _raw(b"220 mail.example ESMTP\r\n")),
    _simple("announces an answer without end (100)", _LOST, _continues),
    _simple(
        "a header of 200 kB", _LOST, _raw(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 200_000, b"\r\n\r\n")
    ),
    _simple("204, no content", _LOST, _raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    _simple(
        "says gzip and sends something else",
        _LOST,
        lambda handler: handler.send_bytes(b'{"resourceType":"Bundle"}', Content_Encoding="gzip"),
    ),
    _simple("NaN in the JSON", _LOST, fault_server.content(b'{"resourceType":"Bundle","x":NaN}')),
    Fault(name="redirect to its own address", effect=_LOST, behave=_redirect_home),
    Fault(name="a page each 150 ms, without end", effect=_PART, behave=_slow_pages),
    Fault(
        name="a next page without an address",
        effect=_PART,
        behave=_with(link=[{"relation": "next"}]),
    ),
    Fault(name="counts more entries than it sends", effect=_PART, behave=_with(total=999)),
    Fault(
        name="says that more may exist (warning 4119)",
        effect=_PART,
        behave=_with_entry(
            {
                "resource": _outcome("warning", "informational", "4119"),
                "search": {"mode": "outcome"},
            }
        ),
    ),
    Fault(name="an entry that is null", effect=_PART, behave=_with_entry(None)),
    Fault(name="an entry of another kind only", effect=_PART, behave=_another_kind),
    Fault(name="a bare entry instead of a list", effect=_PART, behave=_bare),
    Fault(name="a Bundle in a Bundle", effect=_NONE, behave=_inner_bundle),
    Fault(name="Bundles in Bundles, five deep", effect=_PART, behave=_deep_bundle),
    Fault(name="entries written twice, the second time none", effect=_LOST, behave=_twice_written),
    Fault(name="an entry with two subjects", effect=_PART, behave=_two_subjects),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one fault led to."""

    status: int
    cards: tuple[str, ...]
    uuids: tuple[str, ...]
    text: str = field(repr=False)
    log: tuple[Mapping[str, Any], ...] = field(repr=False)
    raw_log: str = field(repr=False)
    seconds: float
    requests: int
    requests_elsewhere: int

    @property
    def unread(self) -> tuple[str, ...]:
        """The keys that the service's own log says were unread."""
        answered = [line for line in self.log if line.get("event") == "hook_answered"]
        return tuple(answered[0]["unread"]) if answered else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What of each key was read, and the rows that could not tell; None if there was no answer."""

    supply: Mapping[str, Supply]
    untold: tuple[str, ...] | None


@contextmanager
def struck(fault: Fault, where: str, people: tuple[Persona, Persona]) -> Iterator[tuple[Ehr, str]]:
    """Run a FHIR server with *fault* in its searches for *where*; yields it and its base."""
    server, elsewhere = FaultServer(), FaultServer()
    ehr = Ehr(server=server, elsewhere=elsewhere, chart=people[0], stranger=people[1])
    for kind in TYPES:
        is_struck = where in (kind, EVERYTHING) and (kind != "Patient" or where == kind)
        server.behaviours[kind] = fault.behave(ehr, kind) if is_struck else ehr.healthy(kind)
    try:
        yield ehr, f"http://127.0.0.1:{free_port()}/fhir" if fault.is_down else server.base
    finally:
        server.stop()
        elsewhere.stop()


def traced(
    knowledge: Knowledge, fault: Fault, where: str, people: tuple[Persona, Persona]
) -> Trace:
    """Let *fault* strike the searches for *where*, and return what could not be read and told."""
    today = datetime.now(UTC).date()  # noqa: TID251 - as the real service reads the real clock
    gateway = Gateway(knowledge, time.monotonic)
    with struck(fault, where, people) as (_, base):
        request = HookRequest(
            hook="patient-view",
            hook_instance=str(uuid.UUID(int=0)),
            patient_id=people[0].patient_id,
            user_id="Practitioner/example",
            fhir_server=base,
            access_token=TOKEN,
        )
        deadline = Deadline.after(2 * DEADLINE_SECONDS, time.monotonic)  # beside other tests
        answers = gateway.answers(request, dev_profile(), deadline)
        gateway.close()
    try:
        chart = read_chart(
            answers,
            patient_id=request.patient_id,
            as_of=today,
            zone=ZoneInfo("UTC"),
            knowledge=knowledge,
            bases=frozenset(),
            fhir_server=base,
            has_time=deadline.leaves_time_to_read,
        )
    except DataNotAvailableError:
        supply = {key: answer.supply for key, answer in answers.items()}
        return Trace(supply=supply, untold=None)
    findings = assess(chart, knowledge, today).findings
    untold = [found.card for found in findings if found.verdict is Verdict.CANNOT_TELL]
    return Trace(supply=chart.supply, untold=tuple(untold))


def observe(service: Any, fault: Fault, where: str, people: tuple[Persona, Persona]) -> Observed:  # noqa: ANN401 - a running service
    """Let *fault* strike the searches for *where*, call the hook, and return what happened."""
    instance = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    read_from = service.log.stat().st_size
    with struck(fault, where, people) as (ehr, base):
        started = time.monotonic()
        answer = call(service, base, people[0].patient_id, instance)
        seconds = time.monotonic() - started
        raw_log = _log_since(service.log, read_from)
        cards = answer.json().get("cards", ())
        return Observed(
            status=answer.status_code,
            cards=tuple(card["source"]["topic"]["code"] for card in cards),
            uuids=tuple(card["uuid"] for card in cards),
            text=answer.text,
            log=tuple(line for line in _lines(raw_log) if line.get("hookInstance") == instance),
            raw_log=raw_log,
            seconds=seconds,
            requests=len(ehr.server.seen),
            requests_elsewhere=len(ehr.elsewhere.seen),
        )


def call(
    service: Any,  # noqa: ANN401 - a running service
    base: str,
    patient_id: str,
    instance: str,
    prefetch: Mapping[str, Any] | None = None,
) -> requests.Response:
    """Fire patient-view with a token for the FHIR server at *base*."""
    return service.post(
        {
            "hook": "patient-view",
            "hookInstance": instance,
            "context": {"userId": "Practitioner/example", "patientId": patient_id},
            "fhirServer": base,
            "fhirAuthorization": {
                "access_token": TOKEN,
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": "user/*.read",
                "subject": "post-laminectomy-cds",
            },
            **({"prefetch": prefetch} if prefetch is not None else {}),
        }
    )


def _log_since(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
