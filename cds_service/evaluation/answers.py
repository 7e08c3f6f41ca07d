"""Yes, no, or cannot tell: the logic every rule is written in.

An unknown answer carries the chart parts (prefetch keys) that could not be read.  Missing data is
never "no": only a part that was completely supplied can deny.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """True, False, or None for *cannot tell* because of the keys in ``unread``."""

    value: bool | None
    unread: frozenset[str] = frozenset()

    def __and__(self, other: Answer) -> Answer:
        if self.value is False or other.value is False:
            return NO
        if self.value and other.value:
            return YES
        return Answer(None, self.unread | other.unread)

    def __or__(self, other: Answer) -> Answer:
        if self.value or other.value:
            return YES
        if self.value is False and other.value is False:
            return NO
        return Answer(None, self.unread | other.unread)

    def __invert__(self) -> Answer:
        return self if self.value is None else of(not self.value)

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


def of(flag: bool) -> Answer:  # noqa: FBT001 - the flag is the value itself
    """Return *flag* as an answer."""
    return YES if flag else NO


def found(flag: bool, unread: frozenset[str]) -> Answer:  # noqa: FBT001 - as above
    """Return yes if *flag*; otherwise no, or cannot tell when *unread* parts might hold it."""
    if flag:
        return YES
    return Answer(None, unread) if unread else NO


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
