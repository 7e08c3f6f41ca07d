"""Large bodies are read and evaluated in a process of their own, so that they delay nobody else.

A chart of many megabytes computes for a good part of a second, much of it in one piece.  The worker
process that received such a call hands its connection over, with what was read of it.
"""

from __future__ import annotations

import contextlib
import re
import socket

LARGE_BODY_BYTES = 2_097_152
MOST_LARGE_CALLS = 4
"""At work at once; their bodies and what is read of them stay in memory."""
_LONGEST_PIECE_BYTES = 262_144
_STATED_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)


def stated_length(head: bytes) -> int | None:
    """Return the body's length by the *head* of a call; it only decides who reads the body."""
    found = _STATED_LENGTH.search(head)
    return int(found[1]) if found else None


class Door:
    """Connections go in on one side, in any worker process, and come out in one of them."""

    def __init__(self) -> None:
        """Open the door before the worker processes are made, so that all of them have it."""
        self._giving, self.taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._giving.settimeout(0)
        self.taking.settimeout(0)

    def give(self, connection: socket.socket, early: bytes) -> bool:
        """Hand *connection* over with what was read *early*; return whether it is taken."""
        try:
            socket.send_fds(self._giving, [early], [connection.fileno()])
        except OSError:
            return False  # too many wait there, or too much was read already
        return True

    def take(self) -> tuple[socket.socket, bytes] | None:
        """Return the next connection and what was read early, or None if there is none."""
        with contextlib.suppress(BlockingIOError):
            early, handles, _, _ = socket.recv_fds(self.taking, _LONGEST_PIECE_BYTES, 1)
            if handles:
                return socket.socket(fileno=handles[0]), early
        return None
