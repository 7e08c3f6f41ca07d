"""Yes, no, or cannot tell: the logic every rule is written in.

An unknown answer carries the chart parts (prefetch keys) that could not be read.  Missing data is
never "no": only a part that was completely supplied can deny.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from msgspec import Struct


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PassedOver:
    """A test, visit or order that was found and does not count, and why.

    ``why`` ends the name of a phrase (``why-not-...``).  ``first``: it would count from this day
    on.  ``limit``: the threshold its age does not meet.  ``written`` is its date as the chart gives
    it; ``on`` is the last possible day of half a date.
    """

    on: date
    concept: str
    reference: str
    is_order: bool
    why: str
    written: str = field(compare=False)
    first: date | None = field(default=None, compare=False)
    limit: str | None = field(default=None, compare=False)


class Answer(Struct, frozen=True, gc=False):
    """True, False, or None for *cannot tell* because of the keys in ``unread``.

    ``passed_over`` holds what was found on the way to "no" and does not count.
    """

    value: bool | None
    unread: frozenset[str] = frozenset()
    passed_over: tuple[PassedOver, ...] = ()

    def __and__(self, other: Answer) -> Answer:
        if self is YES:
            return other
        return self if other is YES else _joined(self, other, deciding=False)

    def __or__(self, other: Answer) -> Answer:
        if self is NO:
            return other
        return self if other is NO else _joined(self, other, deciding=True)

    def __invert__(self) -> Answer:
        if self.value is None:
            return self
        if self.passed_over:
            return Answer(not self.value, passed_over=self.passed_over)
        return NO if self.value else YES

    @property
    def is_yes(self) -> bool:
        """Whether the answer is certainly yes."""
        return self.value is True

    @property
    def is_no(self) -> bool:
        """Whether the answer is certainly no."""
        return self.value is False

    @property
    def is_unknown(self) -> bool:
        """Whether the data needed was not there."""
        return self.value is None


YES = Answer(value=True)
NO = Answer(value=False)


def _joined(one: Answer, other: Answer, *, deciding: bool) -> Answer:
    """Return *deciding* if one of the two is; its opposite if both are; else cannot tell."""
    if one.value is deciding or other.value is deciding:
        if one.value is not other.value:
            return one if one.value is deciding else other
        result = YES if deciding else NO
    elif one.value is None or other.value is None:
        result = Answer(None, one.unread | other.unread)
    else:
        result = NO if deciding else YES
    passed = one.passed_over + other.passed_over
    return Answer(result.value, result.unread, passed) if passed else result


def of(flag: bool) -> Answer:  # noqa: FBT001 - the flag is the value itself
    """Return *flag* as an answer."""
    return YES if flag else NO


def found(
    flag: bool,  # noqa: FBT001 - as above
    unread: frozenset[str],
    passed_over: tuple[PassedOver, ...] = (),
) -> Answer:
    """Return yes if *flag*; otherwise no, or cannot tell when *unread* parts might hold it."""
    if flag:
        return YES
    if unread:
        return Answer(None, unread, passed_over)
    return Answer(value=False, passed_over=passed_over) if passed_over else NO


def any_of(answers: Iterable[Answer]) -> Answer:
    """Return yes if one is yes, no if all are no."""
    result = NO
    for answer in answers:
        result = result | answer
    return result


def all_of(answers: Iterable[Answer]) -> Answer:
    """Return yes if all are yes, no if one is no."""
    result = YES
    for answer in answers:
        result = result & answer
    return result
