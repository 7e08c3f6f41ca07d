"""What one moment may ask of the running service: places, sizes, and an even share for everyone."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cds_service.web.line import LONGEST_WAIT_SECONDS
from tests.ports import free_port
from tests.security.conftest import Site
from tests.security.lab import SERVICE, Ehr, Service, hook_body, listening, running_service

AT_ONCE = 6
MANY_AT_ONCE = 20


@contextmanager
def _with_slow_fhir_server(folder: Path, limits: str) -> Iterator[tuple[Service, Ehr, str]]:
    """Run a service with these *limits* whose FHIR server takes two seconds for every answer."""
    port = free_port()

    def slowly(_path: str, _headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(2)
        return 404, {}, b""

    with listening(slowly) as (fhir_port, _):
        fhir, ehr = f"http://127.0.0.1:{fhir_port}/fhir", Ehr(f"http://127.0.0.1:{port}")
        config = "\n".join(
            [
                f'[service]\nmode = "demo"\npublic_base_url = "http://127.0.0.1:{port}"',
                f'state_dir = "state"\nworkers = 1\ndeadline_ms = 20000\n{limits}',
                ehr.profile(
                    "hospital",
                    f'fhir_bases = ["{fhir}"]',
                    f'private_fhir_bases = ["{fhir}"]',
                    "allows_loopback_fhir = true\nallows_open_fhir = true",
                ),
            ]
        )
        with running_service(folder, config, port=port) as service:
            yield service, ehr, fhir


@pytest.fixture(scope="module")
def narrow_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Ehr, str]]:
    """Run a service with two places."""
    folder = tmp_path_factory.mktemp("narrow")
    with _with_slow_fhir_server(folder, "max_concurrent_requests = 2") as found:
        yield found


def _without_prefetch(fhir: str) -> dict[str, Any]:
    body = hook_body(fhirServer=fhir)
    del body["prefetch"]
    return body


def test_many_calls_wait_for_their_fhir_server_side_by_side(tmp_path: Path) -> None:
    """Twenty at once, two seconds each: nobody has to stand in the line behind them."""
    with (
        _with_slow_fhir_server(tmp_path, "threads = 32") as (service, ehr, fhir),
        ThreadPoolExecutor(MANY_AT_ONCE) as pool,
    ):
        body = _without_prefetch(fhir)
        calls = [pool.submit(service.post, ehr.token(), body) for _ in range(MANY_AT_ONCE)]
        assert {call.result().status_code for call in calls} == {412}


def test_call_too_many_gets_503_with_retry_after_and_health_still_answers(
    narrow_service: tuple[Service, Ehr, str],
) -> None:
    """With every place taken by slow charts, more calls are told to come back, at once."""
    service, ehr, fhir = narrow_service
    body = _without_prefetch(fhir)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [pool.submit(service.post, ehr.token(), body) for _ in range(AT_ONCE)]
        time.sleep(0.3)
        assert service.talk(b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
        assert not all(call.done() for call in calls)
        answers = [call.result() for call in calls]
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [412, 412, 503, 503, 503, 503]
    for answer in answers:
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["issue"][0]["code"] == "transient"


def test_call_that_would_wait_too_long_is_told_at_once(
    narrow_service: tuple[Service, Ehr, str],
) -> None:
    """The first in the line has not moved for a while, so nobody else has to stand in it.

    Calls follow each other while two charts take two seconds.  Whoever comes when the line is
    empty waits for nearly half a second; of those after it, one comes late enough to be told.
    """
    service, ehr, fhir = narrow_service
    body = _without_prefetch(fhir)

    def call(_number: int) -> tuple[int, float]:
        token, started = ehr.token(), time.monotonic()
        status = service.post(token, body).status_code
        return status, time.monotonic() - started

    calls = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(MANY_AT_ONCE):
            calls.append(pool.submit(call, number))
            time.sleep(0.1)
    refused = [seconds for status, seconds in map(Future.result, calls) if status == 503]
    assert refused
    assert min(refused) < LONGEST_WAIT_SECONDS / 2


def test_others_are_answered_while_a_known_client_sends_a_long_body_slowly(
    narrow_service: tuple[Service, Ehr, str],
) -> None:
    """Its body is too long to be collected before a thread has it; others compute meanwhile."""
    service, ehr, _ = narrow_service
    head = (
        f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ehr.token()}\r\nContent-Length: 400000\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head.encode())
        time.sleep(0.3)
        for _ in range(5):
            started = time.monotonic()
            assert service.post(ehr.token(), hook_body()).status_code == 200
            assert time.monotonic() - started < 4


def _padded(size: int, piece: str) -> bytes:
    body = hook_body()
    body["prefetch"]["more"] = "@"
    start, end = json.dumps(body).split('"@"')
    return f"{start}[{piece * ((size - len(start) - len(end)) // len(piece))}0]{end}".encode()


HEAVY = {
    "small numbers": "1,",
    "long numbers": "9" * 300 + ",",
    "fractions": "1.0e-300,",
    "empty texts": '"",',
    "escapes": '"\\u0041\\n\\\\",',
    "lists": "[],",
    "one long text": '"' + "a" * 1_000_000 + '",',
}


@pytest.mark.parametrize("piece", HEAVY.values(), ids=HEAVY.keys())
def test_heavy_body_costs_a_bounded_time(site: Site, piece: str) -> None:
    """Two megabytes of the worst JSON are answered, or refused, in a time that is no multiple."""
    started = time.monotonic()
    answer = site.service.post(None, {})
    assert answer.status_code == 401
    head = (
        f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {site.ehr.token()}\r\nConnection: close\r\n"
    )
    body = _padded(2_000_000, piece)
    sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    answer_bytes = site.service.talk(sent)
    assert answer_bytes[9:12] in {b"200", b"400"}
    assert time.monotonic() - started < 5


def test_number_of_a_million_digits_costs_a_bounded_time(site: Site) -> None:
    """Turning digits into a number must not take the square of their count."""
    started = time.monotonic()
    body = json.dumps({**hook_body(), "more": 0})[:-2] + "9" * 1_000_000 + "}"
    answer = site.service.talk(
        (
            f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {site.ehr.token()}\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )
    assert answer[9:12] in {b"200", b"400"}
    assert time.monotonic() - started < 5
