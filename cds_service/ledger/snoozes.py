"""For how long does an answer to a card hold that card back, and is it held back today?

The times are in ``cards/override-reasons.yaml``.  The first rows are never held back, and nothing
is held back for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from cds_service.evaluation.assessment import Assessment, Finding, Verdict
from cds_service.evaluation.rules.catalog import DATA_READ
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.records import Scope

ACCEPTED = "accepted"
NO_REASON = "no reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """What holds one card of one patient back.

    Time:
        ``until`` is the first day on which the card may show again.
    """

    id: int
    card: str
    scope: Scope
    scope_key: str
    until: date
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """For how long, and what, an answer holds back."""

    scope: Scope
    days: int
    reason: str


def term_of(card: str, reason: str | None, knowledge: Knowledge) -> Term | None:
    """Return how an answer holds *card* back; None if it does not.

    *reason* is ``ACCEPTED``, one of our override reasons, or None when there was none we know.
    What was accepted for a red flag says nothing about another sign, which makes it another card.
    """
    most = longest_days(card, knowledge)
    if reason == ACCEPTED:
        scope = Scope.OPERATION if most is None else Scope.CARD
        days = knowledge.accepted_snooze_days
    elif reason is not None and reason in knowledge.snooze_days:
        timed = knowledge.snooze_days[reason]
        scope = Scope.CARD if timed is None else Scope.OPERATION
        days = knowledge.unchanged_facts_snooze_days if timed is None else timed
    else:
        scope, days = Scope.OPERATION, knowledge.no_reason_snooze_days
    days = days if most is None else min(days, most)
    return Term(scope=scope, days=days, reason=reason or NO_REASON) if days > 0 else None


def longest_days(card: str, knowledge: Knowledge) -> int | None:
    """Return the most days *card* may be held back: 0 never, None without a limit of its own."""
    if card == DATA_READ or card not in knowledge.cards:
        return 0
    row = knowledge.cards[card].row
    limits = [days for first, last, days in knowledge.snooze_limits if first <= row <= last]
    return min(limits, default=None)


def last_day(acted_on: date, received_on: date, days: int) -> date:
    """Return the first day on which the card may show again.

    Time:
        The day of the action counts, but never a later one than the day we heard of it.
    """
    return min(acted_on, received_on) + timedelta(days=days)


def held_cards(
    snoozes: Iterable[Snooze],
    uuids: Mapping[str, str],
    *,
    operation: str | None,
    as_of: date,
    knowledge: Knowledge,
) -> dict[str, Snooze]:
    """Return the snooze that holds each card back on *as_of*, by card id.

    *uuids* has the uuid of each card whose row is met; *operation* is the index operation's hash.
    """
    return {
        snooze.card: snooze
        for snooze in snoozes
        if snooze.card in uuids
        and as_of < snooze.until
        and longest_days(snooze.card, knowledge) != 0
        and snooze.scope_key == (uuids[snooze.card] if snooze.scope is Scope.CARD else operation)
    }


def fulfilled(
    snoozes: Iterable[Snooze], assessment: Assessment, knowledge: Knowledge
) -> tuple[int, ...]:
    """Return the ids of snoozes after an acceptance whose order the chart shows now.

    The decision table then decides: it holds the card, or the card is about something newer than
    what was ordered.
    """
    findings = {finding.card: finding for finding in assessment.findings}
    return tuple(
        snooze.id
        for snooze in snoozes
        if snooze.reason == ACCEPTED
        and snooze.card in findings
        and _shows_order(findings[snooze.card], _accepted_on(snooze, knowledge))
    )


def _shows_order(finding: Finding, since: date) -> bool:
    """Whether an order or test holds the card back, or is from *since* on and does not count."""
    if finding.verdict is Verdict.NOT_MET:
        return finding.held_by is not None
    return any(entry.on >= since for entry in finding.passed_over)


def _accepted_on(snooze: Snooze, knowledge: Knowledge) -> date:
    term = term_of(snooze.card, ACCEPTED, knowledge)
    return snooze.until - timedelta(days=term.days if term else 0)
