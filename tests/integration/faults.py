"""Everything a FHIR server has been seen to do wrong, and what the service made of it.

``observe`` drives one fault through a running service process and returns what came back; the
tests judge it, and ``python -m tests.integration.fault_table`` writes it into
``docs/reliability.md``.
"""

from __future__ import annotations

import functools
import gzip
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import requests

from cds_service.demo.personas import Persona
from tests.everything_written import ACCESS_TOKEN
from tests.fhir import fault_server
from tests.fhir.fault_server import FaultServer, Handler
from tests.integration.conftest import free_port

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


def _send_bomb(handler: Handler) -> None:
    handler.send_bytes(bomb(), Content_Encoding="gzip")


def _many_entries(ehr: Ehr, kind: str) -> Behaviour:
    """Send the chart and 10,000 entries that mean nothing to us."""
    filler = [
        {
            "resourceType": kind,
            "id": f"filler-{number}",
            "status": "completed",
            "code": {"text": "something else"},
            "subject": {"reference": f"Patient/{ehr.chart.patient_id}"},
        }
        for number in range(10_000)
    ]
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


def _outcome(severity: str, code: str) -> bytes:
    found = {"severity": severity, "code": code, "diagnostics": CANARY}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [found]}).encode()


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
        fault_server.content(_outcome("error", "exception")),
    ),
    _simple(
        "OperationOutcome (forbidden) with status 200",
        _LOST,
        fault_server.content(_outcome("error", "forbidden")),
    ),
    Fault(name="every entry twice", effect=_NONE, behave=_twice),
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


def observe(service: Any, fault: Fault, where: str, people: tuple[Persona, Persona]) -> Observed:  # noqa: ANN401 - a running service
    """Let *fault* strike the searches for *where*, call the hook, and return what happened."""
    server, elsewhere = FaultServer(), FaultServer()
    ehr = Ehr(server=server, elsewhere=elsewhere, chart=people[0], stranger=people[1])
    for kind in TYPES:
        is_struck = where in (kind, EVERYTHING) and (kind != "Patient" or where == kind)
        server.behaviours[kind] = fault.behave(ehr, kind) if is_struck else ehr.healthy(kind)
    base = f"http://127.0.0.1:{free_port()}/fhir" if fault.is_down else server.base
    instance = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    read_from = service.log.stat().st_size
    started = time.monotonic()
    try:
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
            requests=len(server.seen),
            requests_elsewhere=len(elsewhere.seen),
        )
    finally:
        server.stop()
        elsewhere.stop()


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
