"""Calls sent at a fixed pace, whether or not earlier ones have been answered.

One thread watches all connections, so the times are those of the server and not of a crowd of
threads on the caller's side.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.processes import HOST

_LONGEST_WAIT_SECONDS = 1.0
_NO_ANSWER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call: its status (0 if the server hung up without an answer) and its seconds."""

    status: int
    seconds: float


class _Caller:
    """One connection, kept as long as the server keeps it, and the call that is under way."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port = port
        self._selector = selector
        self._socket: socket.socket | None = None
        self._unsent = memoryview(b"")
        self._answer = b""
        self._sent_at = 0.0

    def send(self, request: bytes) -> None:
        """Begin a call."""
        connection = self._socket
        if connection is None:
            connection = self._socket = socket.create_connection((HOST, self._port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(0)
        self._unsent, self._answer = memoryview(request), b""
        self._sent_at = time.perf_counter()
        self._selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, self)
        self._push(connection)

    def on_ready(self) -> Called | None:
        """Go on with the call; return it when it has ended."""
        connection = self._socket
        if connection is None:
            return None
        self._push(connection)
        try:
            piece = connection.recv(262_144)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        self._answer += piece
        status = _whole_status(self._answer) if piece else _NO_ANSWER
        if status is None:
            return None
        self._selector.unregister(connection)
        if not piece or b"\r\nConnection: close\r\n" in self._answer:
            self.close()
        return Called(status=status, seconds=time.perf_counter() - self._sent_at)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _push(self, connection: socket.socket) -> None:
        """Send as much as the connection takes."""
        if not self._unsent:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[connection.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = memoryview(b"")  # refused; the answer may be there all the same
        self._selector.modify(connection, selectors.EVENT_READ, self)


def paced(port: int, requests: Sequence[bytes], per_second: float, callers: int) -> list[Called]:
    """Send *requests* at a fixed pace over at most *callers* connections; return how they ended."""
    called: list[Called] = []
    with selectors.DefaultSelector() as selector:
        everyone = [_Caller(port, selector) for _ in range(callers)]
        free = deque(everyone)
        started, sent = time.perf_counter(), 0
        while len(called) < len(requests):
            while sent < len(requests) and free and _until(started, sent, per_second) <= 0:
                free.popleft().send(requests[sent])
                sent += 1
            is_waiting = sent < len(requests) and bool(free)
            wait = _until(started, sent, per_second) if is_waiting else _LONGEST_WAIT_SECONDS
            for key, _ in selector.select(max(0.0, wait)):
                ended = key.data.on_ready()
                if ended is not None:
                    called.append(ended)
                    free.append(key.data)
        for caller in everyone:
            caller.close()
    return called


def _until(started: float, number: int, per_second: float) -> float:
    """Return in how many seconds the call with this *number* is due."""
    return started + number / per_second - time.perf_counter()


def _whole_status(answer: bytes) -> int | None:
    """Return the status of *answer* once it is whole."""
    head, mark, body = answer.partition(b"\r\n\r\n")
    if not mark:
        return None
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]) if len(body) >= length else None
