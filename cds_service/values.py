"""Small values every room uses: calendar days as FHIR writes them, sides, lazy attributes.

Nothing here knows medicine, JSON or the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from msgspec import Struct

Value = TypeVar("Value")


class FhirDate(Struct, frozen=True, kw_only=True):
    """A local calendar day as precisely as the chart states it.

    Time:
        ``earliest`` and ``latest`` are both included; they are equal for a full date.  ``instant``
        is the time zone aware moment when the chart states a time, and only orders values within
        one day.
    """

    earliest: date
    latest: date
    instant: datetime | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the chart states a single day."""
        return self.earliest == self.latest

    @property
    def written(self) -> str:
        """The date as the chart writes it: a day, a month ("2026-04") or a year."""
        first, last = self.earliest.isoformat(), self.latest.isoformat()
        for length in (len("YYYY-MM-DD"), len("YYYY-MM"), len("YYYY")):
            if first[:length] == last[:length]:
                return first[:length]
        return f"{first[:4]} to {last[:4]}"

    @staticmethod
    def on(day: date) -> FhirDate:
        """Return the exact *day*."""
        return FhirDate(earliest=day, latest=day)


def whole_months(days: int) -> int:
    """Return *days* as whole months, rounded down.

    Units:
        Months of a twelfth of 365 days, each reached up to two days early: 180 days are six.
    """
    return (days * 12 + 30) // 365


class Side(Enum):
    """A side of the body."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"
    UNSPECIFIED = "unspecified"


class lazy(Generic[Value]):  # noqa: N801 - written as a decorator
    """An attribute that is worked out when it is first asked for, and kept.

    The ``cached_property`` of Python 3.11 takes a lock for that, which costs more than most of what
    is worked out here; nothing that has a lazy attribute is shared between threads.
    """

    def __init__(self, work_out: Callable[[Any], Value]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Value:
        value = instance.__dict__[self._name] = self._work_out(instance)
        return value
