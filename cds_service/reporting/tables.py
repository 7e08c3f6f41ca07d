"""All tables of the report, and the two about the service as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from cds_service.ledger.records import Outcome, State
from cds_service.reporting import tables_cards, tables_chart
from cds_service.reporting.table import Line, Table, Value, columns, share
from cds_service.reporting.tally import ACCEPTED, OVERRIDDEN, Tally


def tables(now: Tally, before: Tally, titles: Mapping[str, str]) -> tuple[Table, ...]:
    """Return all tables; *titles* maps card ids to their titles."""
    return (
        _overview(now, before),
        _clients(now, before),
        tables_cards.cards(now, before, titles),
        tables_cards.reasons(now, before, titles),
        tables_cards.not_shown(now, before, titles),
        tables_cards.gate(now, titles),
        tables_chart.unread(now, before),
        tables_chart.set_aside(now, before),
        tables_chart.unmapped(now, before),
        tables_chart.errors(now, before),
        tables_chart.speed(now, before),
    )


def _shown(tally: Tally) -> int:
    return _states(tally, State.SHOWN)


def _states(tally: Tally, state: State) -> int:
    return sum(card.states[state] for card in tally.cards.values())


def _answered(tally: Tally, outcome: str) -> int:
    return sum(card.answered[outcome] for card in tally.cards.values())


def _unanswered(tally: Tally) -> int:
    return sum(card.unanswered for card in tally.cards.values())


def _seconds(tally: Tally) -> float | None:
    seconds = [each for card in tally.cards.values() for each in card.seconds]
    return round(median(seconds), 1) if seconds else None


_OVERVIEW: tuple[tuple[str, str, Callable[[Tally], Value]], ...] = (
    ("calls", "Calls recorded", lambda tally: tally.calls),
    ("opens", "Chart opens (calls that did not end in an error)", lambda tally: tally.opens),
    ("patients", "Patients", lambda tally: len(tally.patients)),
    ("opens-with-card", "Chart opens with at least one card", lambda t: t.opens_with_card),
    (
        "opens-with-card-share",
        "... in 100 chart opens",
        lambda tally: share(tally.opens_with_card, tally.opens),
    ),
    ("shown", "Cards shown", _shown),
    ("shown-rate", "... per 100 chart opens", lambda tally: share(_shown(tally), tally.opens)),
    ("accepted", "Cards accepted", lambda tally: _answered(tally, ACCEPTED)),
    (
        "accepted-share",
        "... in 100 cards shown",
        lambda tally: share(_answered(tally, ACCEPTED), _shown(tally)),
    ),
    ("overridden", "Cards overridden", lambda tally: _answered(tally, OVERRIDDEN)),
    (
        "overridden-share",
        "... in 100 cards shown",
        lambda tally: share(_answered(tally, OVERRIDDEN), _shown(tally)),
    ),
    ("unanswered", "Cards without an answer", _unanswered),
    (
        "unanswered-share",
        "... in 100 cards shown",
        lambda tally: share(_unanswered(tally), _shown(tally)),
    ),
    ("response-seconds", "Seconds from card to answer, median", _seconds),
    ("held-back", "Cards held back", lambda tally: _states(tally, State.HELD_BACK)),
    ("silent", "Cards in silent mode", lambda tally: _states(tally, State.SILENT)),
    ("incomplete", "Chart opens of which a part could not be read", lambda t: t.incomplete),
    (
        "incomplete-share",
        "... in 100 chart opens",
        lambda tally: share(tally.incomplete, tally.opens),
    ),
    ("errors", "Calls that ended in an error", lambda tally: tally.outcomes[Outcome.ERROR]),
    (
        "errors-share",
        "... in 100 calls",
        lambda tally: share(tally.outcomes[Outcome.ERROR], tally.calls),
    ),
    ("strayed-feedback", "Feedback about unknown cards", lambda tally: tally.strayed_feedback),
)


def _overview(now: Tally, before: Tally) -> Table:
    lines = tuple(
        Line(id=name, title=title, now={"value": count(now)}, before={"value": count(before)})
        for name, title, count in _OVERVIEW
    )
    return Table(
        id="overview",
        title="At a glance",
        subject="Number",
        note="Answers are those given to the cards of the period, whenever they were given. "
        "A card answered twice counts once, with its latest answer.",
        columns=columns(("value", "Value", "")),
        lines=lines,
    )


def _clients(now: Tally, before: Tally) -> Table:
    outcomes = [(outcome.value.replace(" ", "-"), outcome) for outcome in Outcome]

    def numbers(counts: Mapping[str, int]) -> dict[str, Value]:
        calls = sum(counts.values())
        found: dict[str, Value] = {"calls": calls}
        for name, outcome in outcomes:
            found[name] = counts.get(outcome, 0)
            found[f"{name}-share"] = share(counts.get(outcome, 0), calls)
        return found

    return Table(
        id="clients",
        title="How calls ended, by client",
        subject="Client",
        note="Every recorded call has one ending. Shares are in 100 calls of the client.",
        columns=columns(
            ("calls", "Calls", "recorded calls"),
            *(
                column
                for name, outcome in outcomes
                for column in (
                    (name, outcome.value.capitalize(), "calls"),
                    (f"{name}-share", "in 100", "in 100 calls of the client"),
                )
            ),
        ),
        lines=tuple(
            Line(
                id=client,
                title=client,
                now=numbers(now.by_client.get(client, {})),
                before=numbers(before.by_client.get(client, {})),
            )
            for client in sorted({*now.by_client, *before.by_client})
        ),
    )
