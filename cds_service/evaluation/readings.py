"""What several rules read from one case is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

from cds_service.evaluation.case import Case

Read = TypeVar("Read")
_NOT_YET = object()


def once(reading: Callable[[Case], Read]) -> Callable[[Case], Read]:
    """Let *reading* be made once for each case."""

    @wraps(reading)
    def remembered(case: Case) -> Read:
        read = case.readings.get(reading, _NOT_YET)
        if read is _NOT_YET:
            read = case.readings[reading] = reading(case)
        return cast("Read", read)

    return remembered
