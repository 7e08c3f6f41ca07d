"""Large bodies have a process of their own, so whoever sends them delays nobody else."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.web.large_calls import LARGE_BODY_BYTES
from tests.patience import until
from tests.ports import free_port
from tests.security.lab import SERVICE, Ehr, Service, hook_body, running_service


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Ehr]]:
    """Run a service with one worker process for the calls that are not large."""
    with _lone_service(tmp_path_factory.mktemp("lone")) as both:
        yield both


@contextmanager
def _lone_service(folder: Path) -> Iterator[tuple[Service, Ehr]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ehr = Ehr(url)
    config = "\n".join(
        [
            f'[service]\nmode = "demo"\npublic_base_url = "{url}"\nworkers = 1',
            'state_dir = "state"',
            ehr.profile("hospital", "rate_per_second = 10000\nburst = 10000"),
        ]
    )
    with running_service(folder, config, port=port) as service:
        yield service, ehr


def _large_body(size: int = LARGE_BODY_BYTES) -> dict[str, Any]:
    return {**hook_body(), "extension": {"org.example.padding": "x" * size}}


@contextmanager
def _stopped(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_large_call_is_answered_as_any_other(lone: tuple[Service, Ehr]) -> None:
    """The same cards; the connection ends, as the client's next call may be a small one."""
    service, ehr = lone
    small = service.post(ehr.token(), hook_body())
    large = service.post(ehr.token(), _large_body())
    assert (small.status_code, large.status_code) == (200, 200)
    assert large.json() == small.json()
    assert large.headers["Connection"] == "close"
    assert small.headers.get("Connection", "keep-alive") == "keep-alive"


def test_small_calls_are_answered_while_the_process_for_large_ones_stands_still(
    lone: tuple[Service, Ehr],
) -> None:
    """The large call waits for its process and is then answered; nobody else waits with it."""
    service, ehr = lone
    assert service.post(ehr.token(), _large_body()).status_code == 200
    answers: list[requests.Response] = []
    call = threading.Thread(target=lambda: answers.append(service.post(ehr.token(), _large_body())))
    with _stopped(service.workers()[-1]):
        call.start()
        time.sleep(0.5)
        for _ in range(5):
            assert service.post(ehr.token(), hook_body()).status_code == 200
        assert not answers
    call.join(20)
    assert [answer.status_code for answer in answers] == [200]


def test_process_for_large_calls_is_replaced_when_it_is_killed(lone: tuple[Service, Ehr]) -> None:
    """There is always exactly one, whichever process was killed."""
    service, ehr = lone
    for _ in range(3):
        for position in (0, -1):
            os.kill(service.workers()[position], signal.SIGKILL)
            ends_at = time.monotonic() + 15
            while len(service.workers()) < 2 and time.monotonic() < ends_at:
                time.sleep(0.05)
            assert _answered(service, ehr, hook_body()) == 200
            assert _answered(service, ehr, _large_body()) == 200


def _answered(service: Service, ehr: Ehr, body: dict[str, Any]) -> int:
    """Return the status of a call; one whose process was just killed is made again."""
    for _ in range(5):
        try:
            return service.post(ehr.token(), body, SERVICE).status_code
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail("no process answers")


def test_large_call_after_an_empty_line_is_large_all_the_same(lone: tuple[Service, Ehr]) -> None:
    """HTTP allows an empty line before a call; it goes to the process for large calls too."""
    service, ehr = lone
    body = json.dumps(_large_body()).encode()
    head = (
        f"\r\nPOST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ehr.token()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = service.talk(head.encode() + body, seconds=10)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer.partition(b"\r\n\r\n")[0]


def test_body_over_the_limit_is_refused_by_either_process(lone: tuple[Service, Ehr]) -> None:
    """17 MB: 413, told before the body is read."""
    service, ehr = lone
    head = (
        f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ehr.token()}\r\nContent-Length: 17000000\r\n\r\n{{"
    )
    assert service.talk(head.encode()).startswith(b"HTTP/1.1 413 ")


def test_large_calls_that_wait_when_the_service_stops_are_answered(tmp_path: Path) -> None:
    """Their process was busy; meanwhile nobody new waits for it, but is refused at once."""
    with _lone_service(tmp_path) as (service, ehr):
        assert service.post(ehr.token(), _large_body()).status_code == 200
        statuses: list[int] = []
        calls = [
            threading.Thread(
                target=lambda: statuses.append(service.post(ehr.token(), _large_body()).status_code)
            )
            for _ in range(2)
        ]
        with _stopped(service.workers()[-1]):
            for call in calls:
                call.start()
            time.sleep(0.5)
            service.process.terminate()
            assert until(service.refuses, seconds=3)
        for call in calls:
            call.join(20)
        assert statuses == [200, 200]
