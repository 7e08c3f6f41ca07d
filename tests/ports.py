"""Ports for servers that tests start."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import count

HOST = "127.0.0.1"
_LOWEST, _COUNT = 11_000, 21_000
"""Below the ports that the system hands out: nobody gets one between its choice and its use."""
_NUMBERS = count(os.getpid() * 101)
"""Processes that test side by side begin at different ports, and go on to the next each time."""


def free_port() -> int:
    """Return a port nobody has."""
    while True:
        port = _LOWEST + next(_NUMBERS) % _COUNT
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
