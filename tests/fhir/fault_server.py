"""A FHIR server on this machine that can fail in every way a real one has failed."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from tests.patience import PATIENT_SECONDS

EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}


class Handler(BaseHTTPRequestHandler):
    """Answers GET by the behaviour set for the resource type in the path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultServer

    def do_GET(self) -> None:
        """Answer one request."""
        self.server.remember(self.path, dict(self.headers))
        kind = self.path.removeprefix("/fhir/").split("?")[0].split("/")[0]
        behaviour = self.server.behaviours.get(kind)
        try:
            if behaviour is not None:
                behaviour(self)
            else:
                self.send_json(EMPTY)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_POST(self) -> None:
        """Answer one request with a body, which is kept in ``server.bodies``."""
        length = int(self.headers.get("Content-Length", "0"))
        self.server.bodies.append((self.path, self.rfile.read(length)))
        self.do_GET()

    def send_json(self, body: object, status: int = 200, **headers: str) -> None:
        """Send *body* as FHIR JSON."""
        self.send_bytes(json.dumps(body).encode(), status, **headers)

    def send_bytes(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send *body*; underscores in header names become hyphens."""
        self.send_response(status)
        shown = {"Content_Type": "application/fhir+json", **headers}
        for name, value in shown.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object, **more: object) -> None:
        """Say nothing."""


class FaultServer(ThreadingHTTPServer):
    """Serves ``/fhir`` on a free port; ``seen`` lists paths and headers."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: dict[str, Callable[[Handler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[tuple[str, bytes]] = []
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._thread = Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def base(self) -> str:
        """The FHIR base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/fhir"

    def remember(self, path: str, headers: dict[str, str]) -> None:
        """Keep what was asked."""
        with self._lock:
            self.seen.append((path, headers))

    def asked(self, kind: str) -> list[str]:
        """Return the paths asked for one resource type."""
        return [path for path, _ in self.seen if path.startswith(f"/fhir/{kind}")]

    def handle_error(self, *args: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""

    def get_request(self) -> tuple[socket.socket, object]:
        """Take a connection."""
        taken: tuple[socket.socket, object] = super().get_request()
        self._open.add(taken[0])
        return taken

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's
        """Give up a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop listening, and hang up: hundreds of servers must not keep their files open."""
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def slow(seconds: float) -> Callable[[Handler], None]:
    """Answer well, but late."""

    def behaviour(handler: Handler) -> None:
        time.sleep(seconds)
        handler.send_json(EMPTY)

    return behaviour


def held_until(over: Event) -> Callable[[Handler], None]:
    """Answer well, but not before *over* is set."""

    def behaviour(handler: Handler) -> None:
        over.wait(PATIENT_SECONDS)
        handler.send_json(EMPTY)

    return behaviour


def drip(handler: Handler) -> None:
    """Send one byte every 50 ms."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def drip_headers(handler: Handler) -> None:
    """Send a header that never ends, one byte every 20 ms."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(500):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.02)


def drip_chunk_size(handler: Handler) -> None:
    """Send the size of a chunk that never ends, one digit every 20 ms."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n")
    handler.wfile.write(b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(500):
        handler.wfile.write(b"0")
        handler.wfile.flush()
        time.sleep(0.02)


def tiny_chunks(handler: Handler) -> None:
    """Send chunks of one byte, as fast as they are taken, until the client hangs up."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n")
    handler.wfile.write(b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.wfile.write(b"1\r\n \r\n" * 50_000)


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    """Answer with a status and an HTML page."""

    def behaviour(handler: Handler) -> None:
        handler.send_bytes(b"<html>error</html>", code, **{"Content_Type": "text/html", **headers})

    return behaviour


def content(body: bytes, kind: str = "application/fhir+json") -> Callable[[Handler], None]:
    """Answer 200 with any bytes."""
    return lambda handler: handler.send_bytes(body, Content_Type=kind)


def truncated(handler: Handler) -> None:
    """Promise more bytes than come."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"resourceType":"Bundle"')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def reset(handler: Handler) -> None:
    """Cut the connection in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"resourceType":')
    handler.wfile.flush()
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def bomb(handler: Handler) -> None:
    """Send a small gzip body that becomes 200 MB."""
    body = gzip.compress(b'{"resourceType":"Bundle","x":"' + b" " * 200_000_000 + b'"}', 1)
    handler.send_bytes(body, Content_Encoding="gzip")


def huge(handler: Handler) -> None:
    """Send 200 MB as they are."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/fhir+json")
    handler.send_header("Content-Length", "200000000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" " * 1_000_000)


def once_then(
    first: Callable[[Handler], None], then: Callable[[Handler], None]
) -> Callable[[Handler], None]:
    """Behave in one way the first time and in another afterwards."""
    behaviours = iter([first])

    def behaviour(handler: Handler) -> None:
        next(behaviours, then)(handler)

    return behaviour


@contextmanager
def serving(patient: object) -> Iterator[FaultServer]:
    """Run a FHIR server with *patient* and an empty chart."""
    server = FaultServer()
    server.behaviours["Patient"] = lambda handler: handler.send_json(patient)
    try:
        yield server
    finally:
        server.stop()
