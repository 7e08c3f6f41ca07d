"""Connections to one FHIR server that stand and that nobody uses."""

from __future__ import annotations

import contextlib
import ssl
import weakref
from collections import deque
from collections.abc import Callable

from urllib3.connection import HTTPConnection

LONGEST_IDLE_SECONDS = 180.0
"""Firewalls and load balancers forget a silent connection after four minutes or more, and tell
neither end: what is sent into it then is lost, and so is the call that waits for the answer."""

_Idle = deque[tuple[float, HTTPConnection]]


class IdleConnections:
    """The last to come is the first to go; safe for several threads.

    Time:
        Those that have stood idle for *LONGEST_IDLE_SECONDS* or longer are closed, at the latest
        when another one comes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; *clock* gives monotonic seconds."""
        self._clock = clock
        self._idle: _Idle = deque()
        weakref.finalize(self, _close_all, self._idle)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._idle)

    def put(self, connection: HTTPConnection) -> None:
        """Keep *connection* for whoever asks next."""
        now = self._clock()
        self._idle.append((now, connection))
        with contextlib.suppress(IndexError):  # another thread takes from them too
            while self._is_old(self._idle[0][0], now):
                self._idle.popleft()[1].close()

    def take(self) -> HTTPConnection | None:
        """Return one that can be used; if the last to come cannot, none of the others can."""
        with contextlib.suppress(IndexError):
            since, connection = self._idle.pop()
            if not self._is_old(since, self._clock()) and _still_stands(connection):
                return connection
            connection.close()
            self.close_all()
        return None

    def close_all(self) -> None:
        """Give them up."""
        _close_all(self._idle)

    @staticmethod
    def _is_old(since: float, now: float) -> bool:
        return now - since >= LONGEST_IDLE_SECONDS


def _still_stands(connection: HTTPConnection) -> bool:
    """Whether the server has neither hung up nor said anything unasked.

    What TLS says for itself, such as the tickets after it was set up, is no answer.
    """
    try:
        connection.sock.settimeout(0)
        connection.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except (AttributeError, OSError):
        return False
    return False


def _close_all(idle: _Idle) -> None:
    with contextlib.suppress(IndexError):  # another thread takes from them too
        while True:
            idle.pop()[1].close()
