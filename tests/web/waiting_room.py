"""A worker of gunicorn without a process: the test turns its event loop."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from flask import Flask, request

from cds_service.serving import _QuietLogger, _Server, _Worker
from cds_service.settings import Settings
from cds_service.turns import resting
from cds_service.web.headers import register_headers
from cds_service.web.large_calls import Door
from cds_service.web.problems import register_problems
from cds_service.web.refusing import register_refusal
from tests.patience import PATIENT_SECONDS

_TURN_SECONDS = 0.01
LARGE_PAGE_CHARACTERS = 200_000


class Worker(_Worker):
    """A worker whose loop goes round only when the test waits for something."""

    address: tuple[str, int]
    clients: list[socket.socket]

    def connect(self, first: bytes = b"") -> socket.socket:
        """Return a client that has connected, and sent *first*."""
        client = socket.create_connection(self.address)
        client.sendall(first)
        self.clients.append(client)
        return client

    def until(self, is_so: Callable[[], bool], seconds: float = PATIENT_SECONDS) -> bool:
        """Turn the loop until *is_so*; return whether that came true."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            if is_so():
                return True
            self.wait_for_and_dispatch_events(_TURN_SECONDS)
        return is_so()

    def waits_with(self, sent: bytes) -> bool:
        """Turn the loop until one client waits outside the threads, with all it has *sent*."""
        return self.until(lambda: [bytes(conn.early) for conn in self.pending_conns] == [sent])

    def answer(self, client: socket.socket) -> bytes:
        """Turn the loop until an answer has come to *client*, whole; "" says it was hung up."""
        client.settimeout(0)
        received = bytearray()
        ended: list[bool] = []

        def is_whole() -> bool:
            try:
                piece = client.recv(1_000_000)
            except BlockingIOError:
                return _is_whole(bytes(received))
            except ConnectionResetError:
                piece = b""
            received.extend(piece)
            ended.extend([True] * (not piece))
            return bool(ended) or _is_whole(bytes(received))

        assert self.until(is_whole), bytes(received)
        return bytes(received)

    def close(self) -> None:
        """Let go of everything, when the calls in threads have ended."""
        assert self.until(lambda: not (self._in_threads or self._hook_calls or len(self._line)))
        self.tpool.shutdown()
        for client in self.clients:
            client.close()
        self.murder_keepalived(force=True)
        for conn in [*self.pending_conns, *self._hanging_up]:
            conn.sock.close()
        self.poller.close()
        self.method_queue.close()
        self.tmp.close()
        for listener in self.sockets:
            listener.close()
        for end in (self.door._giving, self.door.taking):
            end.close()

    @property
    def in_threads(self) -> int:
        """Return how many calls have a thread."""
        return len(self._in_threads)


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


class Room:
    """Where calls are answered, when the test lets them go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.may_rest = threading.Event()
        self.may_rest.set()
        self.rests = False
        """Whether a call rests while it waits to go on, as it does for a FHIR server."""
        self.begun: list[str] = []
        self.app = Flask("room")
        register_problems(self.app)
        register_refusal(self.app)
        register_headers(self.app, lambda: ("*",))
        self.app.add_url_rule("/<path:path>", view_func=self._answer, methods=["GET", "POST"])

    def _answer(self, path: str) -> str:
        self.begun.append(path)
        body = request.get_data(as_text=True) if path.endswith("read") else ""
        body += "x" * LARGE_PAGE_CHARACTERS * path.startswith("large")
        assert self.may_rest.wait(PATIENT_SECONDS)
        with resting() if self.rests else nullcontext():
            assert self.goes_on.wait(PATIENT_SECONDS)
        return f"{path} {body}"


@contextmanager
def at_work(room: Room, door: Door | None = None, **changed: object) -> Iterator[Worker]:
    """Let a worker listen.

    *changed* are attributes of the worker, such as how many hook calls have threads.
    """
    cfg = _Server(Settings(), lambda: room.app, lambda: None, lambda: None, None).cfg
    with ExitStack() as open_until_the_end, socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(1, os.getppid(), [listener], None, 30, cfg, _QuietLogger(cfg))
        worker.door, worker.wsgi = door or Door(), room.app
        worker.address, worker.clients = listener.getsockname(), []
        for name, value in changed.items():
            setattr(worker, name, value)
        worker.tpool, worker.poller = worker.get_thread_pool(), selectors.DefaultSelector()
        worker.method_queue.init()
        wakes = worker.method_queue
        worker.poller.register(wakes.fileno(), selectors.EVENT_READ, wakes.run_callbacks)
        if worker.takes_large:
            worker._close_listeners()
        worker.set_accept_enabled(enabled=True)
        open_until_the_end.callback(worker.close)
        open_until_the_end.callback(room.goes_on.set)
        open_until_the_end.callback(room.may_rest.set)
        yield worker
