"""Small values every room uses: calendar days as FHIR writes them, and sides of the body.

Nothing here knows medicine, JSON or the clock.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum

from msgspec import Struct


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

    @staticmethod
    def on(day: date) -> FhirDate:
        """Return the exact *day*."""
        return FhirDate(earliest=day, latest=day)


class Side(Enum):
    """A side of the body."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"
    UNSPECIFIED = "unspecified"
