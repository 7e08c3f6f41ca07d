"""Waiting in tests for what comes true, on however busy a machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import requests

PATIENT_SECONDS = 60.0
"""Nothing takes so long; a test that waits so long has failed."""


def until(is_so: Callable[[], bool], seconds: float = PATIENT_SECONDS) -> bool:
    """Return whether *is_so* came true within *seconds*; it is not so while no service answers."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with suppress(requests.ConnectionError, requests.Timeout):
            if is_so():
                return True
        time.sleep(0.02)
    return False
