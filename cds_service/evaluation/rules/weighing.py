"""From named conditions to a verdict with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from cds_service.evaluation.answers import Answer, PassedOver, of
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.evaluation.case import Case

Named = tuple[str, Answer]
Earlier = Mapping[str, Finding]
"""The findings of the rows above, by card id."""


def weigh(
    card: str, case: Case, requires: Iterable[Named], unless: Iterable[Named] = ()
) -> Finding:
    """Return the verdict of a row: all of *requires*, none of *unless*.

    Missing data:
        A requirement that cannot be told makes the row *cannot tell*, unless another one denies it.
        A hold that cannot be told lets the card appear without its orders.
    """
    requires, unless = tuple(requires), tuple(unless)
    row = case.limits.knowledge.cards[card].row
    finding = partial(Finding, card=card, row=row)
    denied = [text for text, answer in requires if answer.is_no]
    if denied:
        return finding(verdict=Verdict.NOT_MET, reasons=tuple(denied))
    held = [text for text, answer in unless if answer.is_yes]
    if held and not any(answer.is_unknown for _, answer in requires):
        return finding(verdict=Verdict.NOT_MET, held_by="; ".join(held), reasons=_texts(requires))
    blurred = [(text, answer) for text, answer in requires if answer.is_unknown]
    if held:
        reasons = tuple(f"held back: {text}" for text in held)
        return finding(verdict=Verdict.NOT_MET, reasons=reasons)
    if blurred:
        return finding(
            verdict=Verdict.CANNOT_TELL,
            reasons=tuple(text for text, _ in blurred),
            unread=_unread(blurred),
        )
    unclear = [(text, answer) for text, answer in unless if answer.is_unknown]
    return finding(
        verdict=Verdict.MET,
        reasons=(*_texts(requires), *(f"could not check: {text}" for text, _ in unclear)),
        unread=_unread(unclear),
        is_order_withheld=bool(unclear),
        passed_over=passed_over(answer for _, answer in unless),
    )


def passed_over(answers: Iterable[Answer]) -> tuple[PassedOver, ...]:
    """Return what was found and does not count, each entry once, oldest first."""
    entries = {passed.reference: passed for answer in answers for passed in answer.passed_over}
    return tuple(sorted(entries.values()))


def is_met(earlier: Earlier, *cards: str) -> bool:
    """Return whether one of *cards* is met in the rows above."""
    return any(earlier[card].verdict is Verdict.MET for card in cards if card in earlier)


def answer_above(earlier: Earlier, card: str) -> Answer:
    """Return whether *card* is met in the rows above; cannot tell if that row cannot."""
    finding = earlier.get(card)
    if finding is not None and finding.verdict is Verdict.CANNOT_TELL:
        return Answer(None, finding.unread)
    return of(is_met(earlier, card))


def _texts(named: Iterable[Named]) -> tuple[str, ...]:
    return tuple(text for text, _ in named)


def _unread(named: Iterable[Named]) -> frozenset[str]:
    return frozenset().union(*(answer.unread for _, answer in named))
