"""What a busy test machine disturbs is done again; what is wrong stays wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0, 0.5, 1, 2, 4)
"""Seconds before a call is made again: the tests themselves can use up the deadline of one.

In all of them together a FHIR server that was left alone is asked again.
"""


def done_calmly(make: Callable[[], T], *, is_disturbed: Callable[[T], bool]) -> T:
    """Return the first result of *make* that *is_disturbed* does not reject, else the last one."""
    result = make()
    for seconds in PAUSES:
        if not is_disturbed(result):
            break
        time.sleep(seconds)
        result = make()
    return result
