"""The thresholds of ``cards/`` as they stand on the day of the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from operator import eq, ge, gt, le, lt

from cds_service.knowledge.model import Fires, Knowledge

_Compare = Callable[[Decimal | int, Decimal], bool]
_COMPARE: Mapping[Fires, _Compare] = {
    Fires.ABOVE: gt,
    Fires.AT_OR_ABOVE: ge,
    Fires.BELOW: lt,
    Fires.AT_OR_BELOW: le,
    Fires.EXACTLY: eq,
}


class _InForce(dict[str, tuple[_Compare, Decimal]]):
    """The thresholds looked up so far: rules ask for the same ones again and again."""

    def __init__(self, knowledge: Knowledge, as_of: date) -> None:
        super().__init__()
        self._knowledge = knowledge
        self._as_of = as_of

    def __missing__(self, threshold_id: str) -> tuple[_Compare, Decimal]:
        threshold = self._knowledge.thresholds[threshold_id]
        number = threshold.value_on(self._as_of).value
        found = self[threshold_id] = (_COMPARE[threshold.fires], number)
        return found


class Limits:
    """Thresholds by id.  Comparing always uses the threshold's own boundary word."""

    def __init__(self, knowledge: Knowledge, as_of: date) -> None:
        self.knowledge = knowledge
        self.as_of = as_of
        self._in_force = _InForce(knowledge, as_of)
        self._worded: dict[str, str] = {}

    def number(self, threshold_id: str) -> Decimal:
        """Return the value of the threshold in force."""
        return self._in_force[threshold_id][1]

    def first_day(self, threshold_id: str) -> int:
        """Return the first whole day that meets a threshold which is met from a day on."""
        day = int(self.number(threshold_id))
        return day if self.met(threshold_id, day) else day + 1

    def last_day(self, threshold_id: str) -> int:
        """Return the last whole day that meets a threshold which is met up to a day."""
        day = int(self.number(threshold_id))
        return day if self.met(threshold_id, day) else day - 1

    def met(self, threshold_id: str, value: Decimal | int) -> bool:
        """Return whether *value*, in the threshold's unit, is on its firing side."""
        is_on_firing_side, number = self._in_force[threshold_id]
        return is_on_firing_side(value, number)

    def within(self, first_id: str, last_id: str, value: int) -> bool:
        """Return whether *value* is inside the window that two thresholds make."""
        return self.met(first_id, value) and self.met(last_id, value)

    def words(self, threshold_id: str) -> str:
        """Return the boundary in words: "from day 90"."""
        words = self._worded.get(threshold_id)
        if words is None:
            words = self.knowledge.thresholds[threshold_id].words_on(self.as_of)
            self._worded[threshold_id] = words
        return words

    def span(self, threshold_id: str) -> str:
        """Return the time up to the boundary in words: "1 year"."""
        return self.knowledge.thresholds[threshold_id].span_on(self.as_of)


def limits_on(day: date, knowledge: Knowledge) -> Limits:
    """Return the thresholds as they stand on *day*; every chart of that day shares them."""
    return knowledge.remember(("limits", day), lambda: Limits(knowledge, day))
