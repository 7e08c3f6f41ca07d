"""From named conditions to a verdict with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from cds_service.evaluation.answers import Answer, PassedOver, of
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.evaluation.case import Case

Named = tuple[str, Answer]
Earlier = Mapping[str, Finding]
"""The findings of the rows above, by card id."""


def weigh(
    card: str,
    case: Case,
    requires: Sequence[Named],
    unless: Callable[[], Sequence[Named]] = tuple,
) -> Finding:
    """Return the verdict of a row: all of *requires*, none of *unless*.

    What might hold the row back is asked only when no requirement denies it.

    Missing data:
        A requirement that cannot be told makes the row *cannot tell*, unless another one denies it.
        A hold that cannot be told lets the card appear without its orders.
    """
    row = case.limits.knowledge.cards[card].row
    denied = [text for text, answer in requires if answer.value is False]
    if denied:
        return Finding(card=card, row=row, verdict=Verdict.NOT_MET, reasons=tuple(denied))
    blurred = [named for named in requires if named[1].value is None]
    holds = unless()
    held = [text for text, answer in holds if answer.value is True]
    if held:
        return _held_back(card, row, held, () if blurred else _texts(requires))
    if blurred:
        return Finding(
            card=card,
            row=row,
            verdict=Verdict.CANNOT_TELL,
            reasons=_texts(blurred),
            unread=_unread(blurred),
        )
    finding = Finding(
        card=card,
        row=row,
        verdict=Verdict.MET,
        reasons=_texts(requires),
        passed_over=passed_over([answer for _, answer in holds]),
    )
    unclear = [named for named in holds if named[1].value is None]
    return _without_orders(finding, unclear) if unclear else finding


def _held_back(card: str, row: int, held: Sequence[str], met: tuple[str, ...]) -> Finding:
    """Return a row that *held* holds back; *met* are its requirements if all are certainly met."""
    if met:
        return Finding(
            card=card, row=row, verdict=Verdict.NOT_MET, held_by="; ".join(held), reasons=met
        )
    reasons = tuple(f"held back: {text}" for text in held)
    return Finding(card=card, row=row, verdict=Verdict.NOT_MET, reasons=reasons)


def _without_orders(finding: Finding, unclear: Sequence[Named]) -> Finding:
    """Return a row that is met although *unclear* holds could not be checked."""
    unchecked = [f"could not check: {text}" for text, _ in unclear]
    return replace(
        finding,
        reasons=(*finding.reasons, *unchecked),
        unread=_unread(unclear),
        is_order_withheld=True,
    )


def since_surgery(case: Case, threshold: str) -> Named:
    """Return whether the days since surgery fire *threshold*, with both in words."""
    needed = case.limits.words(threshold)
    return f"day {case.dss} since surgery (needed: {needed})", case.at(threshold)


def passed_over(answers: Iterable[Answer]) -> tuple[PassedOver, ...]:
    """Return what was found and does not count, each entry once, oldest first."""
    entries = {passed.reference: passed for answer in answers for passed in answer.passed_over}
    return tuple(sorted(entries.values())) if entries else ()


def is_met(earlier: Earlier, card: str) -> bool:
    """Return whether *card* is met in the rows above."""
    finding = earlier.get(card)
    return finding is not None and finding.is_met


def answer_above(earlier: Earlier, card: str) -> Answer:
    """Return whether *card* is met in the rows above; cannot tell if that row cannot."""
    finding = earlier.get(card)
    if finding is not None and finding.verdict is Verdict.CANNOT_TELL:
        return Answer(None, finding.unread)
    return of(is_met(earlier, card))


def _texts(named: Iterable[Named]) -> tuple[str, ...]:
    return tuple([text for text, _ in named])


def _unread(named: Iterable[Named]) -> frozenset[str]:
    return frozenset().union(*[answer.unread for _, answer in named])
