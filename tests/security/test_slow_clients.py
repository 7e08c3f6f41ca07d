"""Clients that send slowly, read slowly or do not hang up hold no thread of the service."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import requests

from tests.security.conftest import Site
from tests.security.lab import SERVICE, Service, hook_body

CLIENTS = 80
"""More than the 64 threads of two worker processes."""
ORDINARY_CALLS = 20
LONGEST_SECONDS = 4.0

SLOW_HEAD = f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode()
SLOW_BODY = (
    f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Authorization: Bearer a.b.c\r\nContent-Length: 100000\r\n\r\n{"
).encode()
DONE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KEPT = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
NEVER_READ = b"GET /guidance/ HTTP/1.1\r\nHost: x\r\n\r\n" * 200


@contextmanager
def _attackers(service: Service, first: bytes, drip: bytes) -> Iterator[None]:
    """Keep ``CLIENTS`` connections busy with *drip*, ten times a second, and never hang up."""
    stop = threading.Event()
    held: list[socket.socket] = []

    def connect() -> None:
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        connection.sendall(first)
        held.append(connection)

    def attack() -> None:
        while not stop.wait(0.1):
            for connection in list(held):
                try:
                    connection.sendall(drip)
                except OSError:
                    held.remove(connection)
                    connection.close()
                    connect()

    with ExitStack() as closing:
        for _ in range(CLIENTS):
            connect()
        thread = threading.Thread(target=attack, daemon=True)
        thread.start()
        closing.callback(lambda: [connection.close() for connection in held])
        closing.callback(thread.join)
        closing.callback(stop.set)
        time.sleep(0.3)
        yield


ATTACKS = {
    "connect and say nothing": (b"", b""),
    "a head of one byte at a time": (SLOW_HEAD, b"a"),
    "a body of one byte at a time": (SLOW_BODY, b"a"),
    "a call, then a slow head on the kept connection": (KEPT + SLOW_HEAD, b"a"),
    "read nothing and do not hang up": (DONE, b""),
    "ask much and read nothing": (NEVER_READ, b""),
}


@pytest.mark.parametrize(("first", "drip"), ATTACKS.values(), ids=ATTACKS.keys())
def test_good_client_is_answered_while_slow_clients_hold_on(
    site: Site, first: bytes, drip: bytes
) -> None:
    """Eighty slow clients at 64 threads: no ordinary call waits until they are hung up."""
    seconds = []
    with _attackers(site.service, first, drip):
        for _ in range(ORDINARY_CALLS):
            started = time.monotonic()
            answer = site.service.post(site.ehr.token(), hook_body())
            seconds.append(time.monotonic() - started)
            assert answer.status_code == 200
    assert max(seconds) < LONGEST_SECONDS, sorted(seconds)[-3:]


def test_call_that_never_ends_is_hung_up_on(site: Site) -> None:
    """However steadily a client sends: a head may take 5 seconds, a known client's body 10."""
    slow_body = SLOW_BODY.replace(b"a.b.c", site.ehr.token().encode())
    with ThreadPoolExecutor(2) as pool:
        for_head, for_body = pool.map(partial(_seconds_until_hung_up, site), (SLOW_HEAD, slow_body))
    assert 4 < for_head < 9
    assert 9 < for_body < 18


def _seconds_until_hung_up(site: Site, first: bytes) -> float:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.service.port), timeout=0.2) as connection:
        connection.sendall(first)
        while time.monotonic() - started < 30:
            try:
                connection.sendall(b" ")
                if not connection.recv(65_536):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - started


def test_calls_sent_one_after_the_other_at_once_are_all_answered(site: Site) -> None:
    """Pipelined calls, cut anywhere, are answered in order."""
    calls = b"".join(
        f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()
        for path, more in (
            ("/health/live", ""),
            ("/missing", ""),
            ("/health/live", "Connection: close\r\n"),
        )
    )
    for cut in (1, 30, len(calls) // 2, len(calls) - 1):
        with socket.create_connection(("127.0.0.1", site.service.port), timeout=20) as connection:
            connection.sendall(calls[:cut])
            time.sleep(0.05)
            connection.sendall(calls[cut:])
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


def test_kept_connection_serves_many_calls(site: Site) -> None:
    """A well-behaved client uses one connection for all its calls."""
    with requests.Session() as session:
        for _ in range(20):
            answer = session.post(
                site.service.url + SERVICE,
                data=json.dumps(hook_body()),
                headers={
                    "Authorization": f"Bearer {site.ehr.token()}",
                    "Content-Type": "application/json",
                },
                timeout=20,
            )
            assert answer.status_code == 200
            assert answer.headers.get("Connection", "keep-alive") == "keep-alive"
