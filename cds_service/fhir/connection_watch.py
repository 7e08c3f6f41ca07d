"""Cuts connections that are still being read when a deadline falls.

A socket time-out begins again with every byte, so a server that sends its headers, or the sizes of
its chunks, one byte at a time would hold a thread for hours.  ``requests`` gives no hand on a
connection before its headers have come; so the connections themselves say when they are read, and
what is read for too long is shut down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from requests.adapters import HTTPAdapter


class ConnectionWatch:
    """Knows which connections of one server are being read, and until when they may be.

    Time:
        All times are seconds of the clock of :class:`cds_service.fhir.deadline.Deadline`.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._lock = threading.Lock()
        self._reading: dict[int, tuple[float, socket.socket]] = {}
        self._thread = threading.local()

    @contextlib.contextmanager
    def until(self, ends_at: float) -> Iterator[None]:
        """Let this thread read inside the block, until *ends_at*."""
        self._thread.ends_at = ends_at
        try:
            yield
        finally:
            del self._thread.ends_at
            with self._lock:
                self._reading.pop(threading.get_ident(), None)

    def is_read(self, connection: socket.socket | None) -> None:
        """Remember that this thread begins to read *connection*."""
        ends_at = getattr(self._thread, "ends_at", None)
        if connection is not None and ends_at is not None:
            with self._lock:
                self._reading[threading.get_ident()] = (ends_at, connection)

    def cut(self, ends_at: float) -> None:
        """Shut down every connection that may be read until *ends_at* at most."""
        with self._lock:
            for until, connection in self._reading.values():
                if until <= ends_at:
                    with contextlib.suppress(OSError):
                        # not the method of a TLS socket, which would pull it from under its reader
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def watch_connections(adapter: HTTPAdapter, watch: ConnectionWatch) -> None:
    """Let every connection of *adapter* tell *watch* when an answer is read from it."""
    manager = adapter.poolmanager
    manager.pool_classes_by_scheme = {
        scheme: _watched_pool(pool, watch)
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _watched_pool(pool: Any, watch: ConnectionWatch) -> Any:  # noqa: ANN401 - classes of urllib3
    """Return *pool* with connections that are watched."""

    class _Connection(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:  # noqa: ANN401 - the answer as urllib3 has it
            watch.is_read(self.sock)
            return super().getresponse()

    return type("WatchedPool", (pool,), {"ConnectionCls": _Connection})
