"""Cuts connections that still wait for the head of an answer when a deadline falls.

A socket time-out begins again with every byte, so a server that sends its headers one byte at a
time would hold a thread for hours.  ``requests`` gives no hand on a connection before its headers
have come; so the connections themselves say when they wait, and what waits too long is shut down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter


class HeadersWatch:
    """Knows which connections of one server wait for headers, and until when they may.

    Time:
        All times are seconds of the clock of :class:`cds_service.fhir.deadline.Deadline`.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, socket.socket]] = {}
        self._thread = threading.local()

    @contextlib.contextmanager
    def until(self, ends_at: float) -> Iterator[None]:
        """Let what this thread asks for inside the block wait until *ends_at*."""
        self._thread.ends_at = ends_at
        try:
            yield
        finally:
            del self._thread.ends_at

    def cut(self, ends_at: float) -> int:
        """Shut down every connection that may wait until *ends_at* at most; return how many."""
        with self._lock:
            late = [waiting for until, waiting in self._waiting.values() if until <= ends_at]
            for connection in late:
                with contextlib.suppress(OSError):
                    # not the method of the TLS socket, which would pull it from under its reader
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        return len(late)

    @contextlib.contextmanager
    def waiting(self, connection: socket.socket | None) -> Iterator[None]:
        """Remember *connection* as waiting inside the block."""
        ends_at = getattr(self._thread, "ends_at", None)
        if connection is None or ends_at is None:
            yield
            return
        name = threading.get_ident()
        with self._lock:
            self._waiting[name] = (ends_at, connection)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(name, None)


def watch_headers(adapter: HTTPAdapter, watch: HeadersWatch) -> None:
    """Let every connection of *adapter* tell *watch* when it waits for headers."""
    pools = adapter.poolmanager.pool_classes_by_scheme
    adapter.poolmanager.pool_classes_by_scheme = {
        scheme: _watched_pool(pool, watch) for scheme, pool in pools.items()
    }


def _watched_pool(pool: Any, watch: HeadersWatch) -> Any:  # noqa: ANN401 - classes of urllib3
    """Return *pool* with connections that are watched."""

    class _Connection(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:  # noqa: ANN401 - the answer as urllib3 has it
            with watch.waiting(self.sock):
                return super().getresponse()

    return type("WatchedPool", (pool,), {"ConnectionCls": _Connection})
