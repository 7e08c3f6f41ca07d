"""The thresholds of ``cards/`` as they stand on the day of the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import eq, ge, gt, le, lt

from cds_service.knowledge.model import Fires, Knowledge

_COMPARE: Mapping[Fires, Callable[[Decimal, Decimal], bool]] = {
    Fires.ABOVE: gt,
    Fires.AT_OR_ABOVE: ge,
    Fires.BELOW: lt,
    Fires.AT_OR_BELOW: le,
    Fires.EXACTLY: eq,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds by id.  Comparing always uses the threshold's own boundary word."""

    knowledge: Knowledge
    as_of: date

    def number(self, threshold_id: str) -> Decimal:
        """Return the value of the threshold in force."""
        return self.knowledge.thresholds[threshold_id].value_on(self.as_of).value

    def days(self, threshold_id: str) -> int:
        """Return the value as a whole number of days."""
        return int(self.number(threshold_id))

    def met(self, threshold_id: str, value: Decimal | int) -> bool:
        """Return whether *value*, in the threshold's unit, is on its firing side."""
        threshold = self.knowledge.thresholds[threshold_id]
        return _COMPARE[threshold.fires](Decimal(value), self.number(threshold_id))

    def within(self, first_id: str, last_id: str, value: int) -> bool:
        """Return whether *value* is inside the window that two thresholds make."""
        return self.met(first_id, value) and self.met(last_id, value)

    def words(self, threshold_id: str) -> str:
        """Return the boundary in words: "from day 90"."""
        return self.knowledge.thresholds[threshold_id].words_on(self.as_of)
