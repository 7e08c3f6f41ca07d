"""Ends an exchange over HTTP after a while, however often the other side sends a byte.

The timeouts of ``requests`` are for each byte, so an answer that drips could be waited for for
ever.  Here the connection itself is ended, and whoever waits for it hears that it was lost.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter


@contextlib.contextmanager
def ended_after(seconds: float, session: requests.Session) -> Iterator[None]:
    """End each connection that *session* makes meanwhile, *seconds* from now."""
    connections = _Connections()
    adapter = _WatchedAdapter(connections)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    timer = threading.Timer(seconds, connections.end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connections.forget()


class _Connections:
    """Second handles of connections: TLS takes the first ones over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._are_ended = False

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            self._handles.append(connection.dup())
            if self._are_ended:
                self._end_all()

    def end(self) -> None:
        with self._lock:
            self._are_ended = True
            self._end_all()

    def forget(self) -> None:
        with self._lock:
            while self._handles:
                self._handles.pop().close()

    def _end_all(self) -> None:
        for handle in self._handles:
            with contextlib.suppress(OSError):  # it is over already
                handle.shutdown(socket.SHUT_RDWR)


class _WatchedAdapter(HTTPAdapter):
    """Tells *connections* of each connection it makes."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **named: Any) -> Any:  # type: ignore[explicit-override]  # noqa: ANN401 - as in requests
        """Return the pool whose connections are watched."""
        pool: Any = super().get_connection_with_tls_context(*args, **named)
        pool.ConnectionCls = _watched(pool.ConnectionCls, self._connections)
        return pool


def _watched(kind: Any, connections: _Connections) -> Any:  # noqa: ANN401 - classes of urllib3
    class _Watched(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            made: socket.socket = super()._new_conn()
            connections.add(made)
            return made

    return _Watched
