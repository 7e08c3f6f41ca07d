"""What several rules read from one case is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from cds_service.evaluation.case import Case

Read = TypeVar("Read")


def once(reading: Callable[[Case], Read]) -> Callable[[Case], Read]:
    """Let *reading* be made once for each case."""

    @wraps(reading)
    def remembered(case: Case) -> Read:
        if reading in case.readings:
            read: Read = case.readings[reading]
        else:
            read = case.readings[reading] = reading(case)
        return read

    return remembered
