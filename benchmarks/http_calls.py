"""HTTP calls over kept connections, as cheap for the client as Python can make them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.processes import HOST, Watched

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a series of calls showed.

    Units:
        ``per_second`` in calls, ``cpu`` in seconds of the server per call, ``seconds`` the time of
        each call.
    ``complete`` is the share of answers that hold cards with suggestions.
    """

    per_second: float
    cpu: float
    seconds: tuple[float, ...]
    statuses: frozenset[int]
    complete: float

    def quantile(self, share: float) -> float:
        """Return the time that *share* of the calls did not exceed."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    @property
    def median(self) -> float:
        """Return the median time of a call."""
        return self.quantile(0.5)


class Connection:
    """One kept connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._opened()

    def _opened(self) -> socket.socket:
        found = socket.create_connection((HOST, self._port), timeout=_TIMEOUT_SECONDS)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def call(self, request: bytes) -> tuple[int, bytes]:
        """Send *request*; return the status and the body.

        A server may hang up between two calls; then the call is made on a new connection.
        """
        try:
            return self._exchanged(request)
        except ConnectionError:
            self._socket.close()
            self._socket = self._opened()
            return self._exchanged(request)

    def _exchanged(self, request: bytes) -> tuple[int, bytes]:
        self._socket.sendall(request)
        head, _, body = self._until_head_ends().partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += self._received()
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _until_head_ends(self) -> bytes:
        found = self._received()
        while b"\r\n\r\n" not in found:
            found += self._received()
        return found

    def _received(self) -> bytes:
        piece = self._socket.recv(262_144)
        if not piece:
            raise ConnectionError("the server hung up before its answer was complete")
        return piece


def post(path: str, body: bytes, token: str | None = None) -> bytes:
    """Return a whole POST request."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def measured(port: int, server: Watched, requests: Sequence[bytes], *, callers: int = 1) -> Load:
    """Send *requests*, shared out to *callers* that each wait for their answer."""
    seconds: list[float] = []
    statuses: list[int] = []
    complete: list[bool] = []

    def run(own: Sequence[bytes]) -> None:
        connection = Connection(port)
        for request in own:
            started = time.perf_counter()
            status, body = connection.call(request)
            statuses.append(status)
            complete.append(b'"suggestions"' in body)
            seconds.append(time.perf_counter() - started)
        connection.close()

    threads = [
        threading.Thread(target=run, args=(requests[first::callers],)) for first in range(callers)
    ]
    cpu, started = server.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = time.perf_counter() - started
    if len(seconds) != len(requests):
        raise SystemExit("A caller was cut off; the server's log says why.")
    return Load(
        per_second=len(requests) / lasted,
        cpu=(server.cpu_seconds() - cpu) / len(requests),
        seconds=tuple(seconds),
        statuses=frozenset(statuses),
        complete=sum(complete) / len(requests),
    )
