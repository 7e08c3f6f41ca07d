"""The tables about cards: how often, what users did and why, what was held back, silent mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from cds_service.ledger.records import Why
from cds_service.reporting.table import Line, Table, Value, columns, share
from cds_service.reporting.tally import ACCEPTED, OVERRIDDEN, CardTally, Fired, Tally

_EMPTY = CardTally()
_LEAST_OPENS_TO_COMPARE = 100
"""Chart opens on both sides before silent and live are compared in words."""
_ALIKE = (0.67, 1.5)
"""Silent rate over live rate between which both are called alike."""


_CARD_COLUMNS = columns(
    ("met", "Rule met", "times the rule found its patient, shown or not"),
    ("shown", "Shown", "times users saw the card"),
    ("rate", "per 100 opens", "cards shown in 100 chart opens"),
    ("patients", "Patients", "different patients for whom it was shown"),
    ("per-patient", "per patient", "cards shown per such patient"),
    ("most", "most for one", "most often shown for one patient"),
    ("accepted", "Accepted", "cards accepted"),
    ("accepted-share", "in 100 shown", "accepted in 100 cards shown"),
    ("overridden", "Overridden", "cards overridden"),
    ("overridden-share", "in 100 shown", "overridden in 100 cards shown"),
    ("unanswered", "No response", "cards shown without an answer"),
    ("unanswered-share", "in 100 shown", "without an answer in 100 cards shown"),
    ("response-seconds", "Seconds to answer", "median from card to answer"),
)


def cards(now: Tally, before: Tally, titles: Mapping[str, str]) -> Table:
    """Return each card with how often it was shown and what users did."""

    def numbers(card: CardTally, tally: Tally) -> dict[str, Value]:
        shown, unanswered = card.shown, card.unanswered
        return {
            "met": card.met,
            "shown": shown,
            "rate": share(shown, tally.opens),
            "patients": len(card.shown_to),
            "per-patient": round(shown / len(card.shown_to), 2) if card.shown_to else None,
            "most": max(card.shown_to.values(), default=0),
            "accepted": card.answered[ACCEPTED],
            "accepted-share": share(card.answered[ACCEPTED], shown),
            "overridden": card.answered[OVERRIDDEN],
            "overridden-share": share(card.answered[OVERRIDDEN], shown),
            "unanswered": unanswered,
            "unanswered-share": share(unanswered, shown),
            "response-seconds": round(median(card.seconds), 1) if card.seconds else None,
        }

    return Table(
        id="cards",
        title="Cards, and what users did with them",
        subject="Card",
        note="Rates are in 100 chart opens, answers in 100 cards shown.",
        columns=_CARD_COLUMNS,
        lines=tuple(
            Line(
                id=card,
                title=titles.get(card, card),
                now=numbers(now.cards.get(card, _EMPTY), now),
                before=numbers(before.cards.get(card, _EMPTY), before),
            )
            for card in _by_count(now, before, lambda tally: tally.shown)
        ),
    )


def _by_count(now: Tally, before: Tally, count: Callable[[CardTally], int]) -> list[str]:
    """Return every card of both periods, the most frequent first."""
    cards = {*now.cards, *before.cards}
    return sorted(cards, key=lambda card: (-count(now.cards.get(card, _EMPTY)), card))


def reasons(now: Tally, before: Tally, titles: Mapping[str, str]) -> Table:
    """Return why cards were overridden."""
    pairs = sorted(
        {
            (card, reason)
            for tally in (now, before)
            for card, counts in tally.cards.items()
            for reason in counts.reasons
        },
        key=lambda pair: (-_card(now, pair[0]).reasons[pair[1]], pair),
    )

    def numbers(tally: Tally, card: str, reason: str) -> dict[str, Value]:
        counts = _card(tally, card)
        count = counts.reasons[reason]
        return {"count": count, "share": share(count, counts.answered[OVERRIDDEN])}

    return Table(
        id="override-reasons",
        title="Why cards were overridden",
        subject="Card and reason",
        note="Shares are in 100 overridden cards of the same kind.",
        columns=columns(
            ("count", "Times", "cards overridden with this reason"),
            ("share", "in 100", "in 100 overridden cards of this kind"),
        ),
        lines=tuple(
            Line(
                id=f"{card}/{reason}",
                title=f"{titles.get(card, card)}: {reason.replace('-', ' ')}",
                now=numbers(now, card, reason),
                before=numbers(before, card, reason),
            )
            for card, reason in pairs
        ),
    )


def _card(tally: Tally, card: str) -> CardTally:
    return tally.cards.get(card, _EMPTY)


WHY_WORDS: Mapping[str, str] = {
    Why.OVERRIDDEN: "set aside by a user earlier",
    Why.ACCEPTED: "accepted earlier; it waits for its order, or comes back later",
    Why.SHOWN_LATELY: "a reminder shown on an earlier day",
    Why.INPATIENT: "a reminder for visits, during a stay in hospital",
    Why.EMERGENCY: "an emergency stands alone",
    Why.HOSPICE: "hospice care",
    Why.SILENT_CARD: "the card is in silent mode",
    Why.SILENT_PATIENT: "the patient is in the silent part",
    Why.SITE: "switched off by the site",
    Why.CAP: "more cards than the site wants at once",
    Why.ROLE: "not for the role of this user",
}


def not_shown(now: Tally, before: Tally, titles: Mapping[str, str]) -> Table:
    """Return why cards whose rule was met were not shown."""
    pairs = sorted(
        {
            (card, why)
            for tally in (now, before)
            for card, counts in tally.cards.items()
            for why in counts.whys
        },
        key=lambda pair: (-_card(now, pair[0]).whys[pair[1]], pair),
    )

    def numbers(tally: Tally, card: str, why: str) -> dict[str, Value]:
        counts = _card(tally, card)
        return {"count": counts.whys[why], "share": share(counts.whys[why], counts.met)}

    return Table(
        id="not-shown",
        title="Cards that were not shown although their rule was met",
        subject="Card and why",
        note="Shares are in 100 times the rule of the card was met.",
        columns=columns(
            ("count", "Times", "cards not shown for this reason"),
            ("share", "in 100", "in 100 times the rule was met"),
        ),
        lines=tuple(
            Line(
                id=f"{card}/{why}",
                title=f"{titles.get(card, card)}: {WHY_WORDS.get(why, why)}",
                now=numbers(now, card, why),
                before=numbers(before, card, why),
            )
            for card, why in pairs
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """One card in silent chart opens and in live ones.

    ``held`` is how often an earlier answer or showing kept it back, ``silent_held`` how often one
    of the time before silent mode did.  ``is_changed``: one client had it silent and live.
    """

    silent: int
    silent_held: int
    silent_opens: int
    live: int
    held: int
    live_opens: int
    is_changed: bool


def _beside(now: Tally, card: str) -> _Beside:
    fired = now.fired[card]
    quiet = {client for client, place in fired if place is Fired.SILENT_CARD}

    def cards(*places: Fired) -> int:
        return sum(times for (_, place), times in fired.items() if place in places)

    live_opens = {client: n for (client, is_silent), n in now.opens_of.items() if not is_silent}
    loud = sum(n for client, n in live_opens.items() if client not in quiet)
    return _Beside(
        silent=cards(Fired.SILENT_CARD, Fired.SILENT_PATIENT),
        silent_held=cards(Fired.SILENT_ANSWERED)
        + sum(fired[client, Fired.ANSWERED] for client in quiet),
        silent_opens=now.opens_of.total() - loud,
        live=cards(Fired.LIVE),
        held=sum(fired[client, Fired.ANSWERED] for client in live_opens if client not in quiet),
        live_opens=loud,
        is_changed=any(fired[client, Fired.LIVE] for client in quiet),
    )


def gate(now: Tally, titles: Mapping[str, str]) -> Table:
    """Return what silent mode would have shown beside what live use showed."""
    found = {card: _beside(now, card) for card in now.fired}
    silent = sorted(
        (card for card, beside in found.items() if beside.silent or beside.silent_held),
        key=lambda card: (-found[card].silent, card),
    )
    return Table(
        id="gate",
        title="Silent mode against live use",
        subject="Card",
        note="What would have been shown in 100 silent chart opens, beside 100 live ones. "
        "A card that an earlier answer or showing held back is counted with those shown, because "
        "nobody answers silent cards. A silent card is counted in all chart opens of its client.",
        columns=columns(
            ("silent", "Silent", "cards that would have been shown"),
            ("silent-held", "held back", "held back by an answer or showing before silent mode"),
            ("silent-opens", "of opens", "chart opens in silent mode"),
            ("silent-rate", "per 100", "silent or held back, in 100 silent chart opens"),
            ("live", "Live", "cards shown"),
            ("live-held", "held back", "held back by an earlier answer or showing"),
            ("live-opens", "of opens", "live chart opens"),
            ("live-rate", "per 100", "shown or held back, in 100 live chart opens"),
            ("words", "Compared", ""),
        ),
        lines=tuple(
            Line(id=card, title=titles.get(card, card), now=_gate_numbers(found[card]))
            for card in silent
        ),
    )


def _gate_numbers(beside: _Beside) -> dict[str, Value]:
    silent = share(beside.silent + beside.silent_held, beside.silent_opens)
    live = share(beside.live + beside.held, beside.live_opens)
    if beside.is_changed:
        silent = live = None
    return {
        "silent": beside.silent,
        "silent-held": beside.silent_held,
        "silent-opens": beside.silent_opens,
        "silent-rate": silent,
        "live": beside.live,
        "live-held": beside.held,
        "live-opens": beside.live_opens,
        "live-rate": live,
        "words": _words(beside, silent, live),
    }


def _words(beside: _Beside, silent: float | None, live: float | None) -> str:
    if beside.is_changed:
        return "silent on only a part of these days: ask for the days before the change"
    if beside.live_opens < _LEAST_OPENS_TO_COMPARE:
        return "nothing to compare with"
    return _compared(silent, live, beside.silent_opens)


def _compared(silent: float | None, live: float | None, opens: int) -> str:
    if silent is None or live is None or opens < _LEAST_OPENS_TO_COMPARE:
        return "too few chart opens to compare"
    if not live:
        return "never fires live: look at some of these patients before going live"
    ratio = silent / live
    if ratio < _ALIKE[0]:
        return f"fires {ratio:.1f} times as often as live: is its data missing for these patients?"
    if ratio > _ALIKE[1]:
        return f"fires {ratio:.1f} times as often as live: look at some of these patients first"
    return "as in live use"
