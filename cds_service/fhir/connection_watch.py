"""Cuts connections that are still being read when a deadline falls.

A socket time-out begins again with every byte, so a server that sends its headers, or the sizes of
its chunks, one byte at a time would hold a thread for hours.  What is read for too long is shut
down by the call that waited for it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class ConnectionWatch:
    """Knows which connections of one server are being read, and until when they may be.

    Time:
        All times are seconds of the clock of :class:`cds_service.fhir.deadline.Deadline`.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._lock = threading.Lock()
        self._reading: dict[socket.socket, float] = {}

    @contextlib.contextmanager
    def reading(self, connection: socket.socket, ends_at: float) -> Iterator[None]:
        """Let *connection* be read inside the block, until *ends_at*."""
        with self._lock:
            self._reading[connection] = ends_at
        try:
            yield
        finally:
            with self._lock:
                del self._reading[connection]

    def cut(self, ends_at: float) -> None:
        """Shut down every connection that may be read until *ends_at* at most."""
        with self._lock:
            for connection, until in self._reading.items():
                if until <= ends_at:
                    bare = getattr(connection, "socket", connection)  # of TLS within TLS
                    with contextlib.suppress(OSError):
                        # not the method of a TLS socket, which would pull it from under its reader
                        socket.socket.shutdown(bare, socket.SHUT_RDWR)
