"""The service as a process of its own under gunicorn, with the real rooms, over a real socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import requests

from cds_service.demo.personas import Persona, load_personas
from cds_service.hooks.request import AS_OF_EXTENSION
from tests.chart_keys import KINDS
from tests.ports import free_port
from tests.web.small_rooms import HOOK_INSTANCE, SERVICE

DAY = date(2026, 3, 1)
START_SECONDS = 60
CANARY = "CanaryShaw"


@dataclass(frozen=True)
class Server:
    """A running service."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def talk(self, request: bytes) -> tuple[bytes, bytes]:
        """Send raw bytes; return head and body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return head, body


def _is_live(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/live", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the service in development mode; stop it and check that it stopped well."""
    folder = tmp_path_factory.mktemp("server")
    running = Server(port=free_port(), log=folder / "log")
    command = [sys.executable, "-m", "cds_service", "serve", "--dev", "--port", str(running.port)]
    with running.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--state-dir", str(folder), "--deadline-ms", "10000"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    ends_at = time.monotonic() + START_SECONDS
    while not _is_live(running.url):
        assert process.poll() is None, running.log.read_text()
        assert time.monotonic() < ends_at, "the service did not start"
        time.sleep(0.1)
    yield running
    process.terminate()
    assert process.wait(timeout=START_SECONDS) == 0


def _prefetch(persona: Persona) -> dict[str, object]:
    """Return the chart as an EHR sends it: one searchset for each key."""
    found: dict[str, object] = {"patient": persona.resources[0], "findings": None}
    for key, kind in KINDS.items():
        entries = [{"resource": each} for each in persona.resources if each["resourceType"] == kind]
        found[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return found


def _body(persona: Persona) -> dict[str, object]:
    return {
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/1", "patientId": persona.patient_id},
        "prefetch": _prefetch(persona),
        "extension": {AS_OF_EXTENSION: DAY.isoformat()},
    }


def _topics(answer: requests.Response) -> list[str]:
    return [card["source"]["topic"]["code"] for card in answer.json()["cards"]]


@pytest.mark.parametrize("persona", load_personas(DAY), ids=lambda persona: persona.id)
def test_persona_sent_by_prefetch_gets_the_expected_cards(server: Server, persona: Persona) -> None:
    """Each synthetic patient's chart, sent over HTTP, gets the cards of their story."""
    answer = requests.post(f"{server.url}{SERVICE}", json=_body(persona), timeout=20)
    assert answer.status_code == 200
    assert _topics(answer) == [card_id.replace("-", "") for card_id in persona.expected_cards]


def test_equal_requests_get_equal_bytes_from_threads_at_once(server: Server) -> None:
    """Ten calls at the same time are answered alike, byte for byte."""
    persona = next(each for each in load_personas(DAY) if each.id == "no-relief")
    body = json.dumps(_body(persona))

    def call(_: int) -> bytes:
        answer = requests.post(
            f"{server.url}{SERVICE}",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=20,
        )
        assert answer.status_code == 200
        return answer.content

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(call, range(10)))
    assert len(answers) == 1


UNREADABLE = {
    "no HTTP": (b"CanaryShaw\r\n\r\n", b"400"),
    "a header without colon": (b"GET / HTTP/1.1\r\nHost: x\r\nCanaryShaw\r\n\r\n", b"400"),
    "a header name with a blank": (b"GET / HTTP/1.1\r\nCanary Shaw: x\r\n\r\n", b"400"),
    "a very long header": (
        b"GET / HTTP/1.1\r\nAuthorization: " + b"CanaryShaw" * 2_000 + b"\r\n\r\n",
        b"431",
    ),
    "a very long address": (b"GET /" + b"CanaryShaw" * 1_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "a body of two lengths": (
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: CanaryShaw\r\n\r\n",
        b"501",
    ),
}


@pytest.mark.parametrize(("request_bytes", "status"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_http_is_an_operation_outcome_and_stays_out_of_the_log(
    server: Server, request_bytes: bytes, status: bytes
) -> None:
    """What is not even HTTP gets FHIR back; nothing of it is repeated or logged."""
    head, body = server.talk(request_bytes)
    assert head.startswith(b"HTTP/1.1 " + status)
    assert json.loads(body)["resourceType"] == "OperationOutcome"
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in head
    assert CANARY.encode() not in head + body
    assert CANARY not in server.log.read_text()


def test_cut_body_is_refused_and_does_not_hold_the_service(server: Server) -> None:
    """A body shorter than it says is a bad request; the next call is served."""
    _, body = server.talk(
        f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        'Content-Length: 500\r\n\r\n{"hook": "patient-view", "a": "CanaryShaw'.encode()
    )
    if body:  # the client has hung up, so an answer may not be deliverable
        assert json.loads(body)["resourceType"] == "OperationOutcome"
        assert CANARY.encode() not in body
    assert requests.get(f"{server.url}/health/live", timeout=20).ok


def test_server_says_loudly_that_it_is_in_development_mode(server: Server) -> None:
    """Nobody can mistake a development service for a safe one."""
    assert "DEVELOPMENT MODE" in server.log.read_text()


def test_log_holds_no_patient(server: Server) -> None:
    """After all these charts the log names no patient and no clinician."""
    requests.post(f"{server.url}{SERVICE}", json=_body(load_personas(DAY)[0]), timeout=20)
    text = server.log.read_text()
    assert "hook_answered" in text
    assert not [persona.id for persona in load_personas(DAY) if persona.patient_id in text]
    assert "Practitioner" not in text
