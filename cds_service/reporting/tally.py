"""Adding up the calls and answers of a period: counts only, no words and no rates."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from enum import Enum

from cds_service.ledger.records import Outcome, State, Why
from cds_service.reporting.reading import Answer, Call, Shown, day_of

ACCEPTED = "accepted"
OVERRIDDEN = "overridden"


class Fired(Enum):
    """Where a card was shown, or would have been: for silent mode against live use."""

    SILENT_CARD = "the card is silent"
    SILENT_PATIENT = "the patient is silent"
    LIVE = "live"
    ANSWERED = "held back from a live patient by an earlier answer or showing"
    SILENT_ANSWERED = "held back so from a patient who was live then and is silent now"


_ANSWERED = frozenset({Why.OVERRIDDEN, Why.ACCEPTED, Why.SHOWN_LATELY})


@dataclass(slots=True)
class CardTally:
    """One card: how often its row was met, what became of it, and what users did."""

    states: Counter[str] = field(default_factory=Counter)
    whys: Counter[str] = field(default_factory=Counter)
    shown_to: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(client, patient hash) to how often the card was shown for this patient."""
    shown_on: Counter[date] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From the card to the user's action."""

    @property
    def met(self) -> int:
        """Return how often the row was met."""
        return self.states.total()

    @property
    def shown(self) -> int:
        """Return how often users saw the card."""
        return self.states[State.SHOWN]

    @property
    def unanswered(self) -> int:
        """Return how often users saw the card and did not answer."""
        return max(0, self.shown - self.answered.total())


@dataclass(slots=True)
class DayTally:
    """One calendar day (UTC)."""

    opens: int = 0
    errors: int = 0
    shown: Counter[str] = field(default_factory=Counter)
    """Urgency to cards shown."""
    incomplete: int = 0
    """Chart opens of which a part could not be read."""


@dataclass(slots=True)
class Tally:
    """All of a period.

    A *chart open* is a recorded call that did not end in an error.
    """

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    by_client: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    errors: Counter[str] = field(default_factory=Counter)
    cards: dict[str, CardTally] = field(default_factory=lambda: defaultdict(CardTally))
    opens_with_card: int = 0
    opens_of: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """(client, whether of a patient in the silent percentage) to chart opens."""
    fired: dict[str, Counter[tuple[str, Fired]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """Card to where it was shown, or would have been."""
    patients: set[tuple[str, str]] = field(default_factory=set)
    unread: Counter[str] = field(default_factory=Counter)
    unread_why: Counter[tuple[str, str]] = field(default_factory=Counter)
    incomplete: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    faulty_rules: Counter[str] = field(default_factory=Counter)
    total_ms: list[float] = field(default_factory=list)
    steps_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    days: dict[date, DayTally] = field(default_factory=lambda: defaultdict(DayTally))
    knowledge: Counter[tuple[str, str]] = field(default_factory=Counter)
    comments: list[Answer] = field(default_factory=list)
    strayed_feedback: int = 0

    @property
    def opens(self) -> int:
        """Return the chart opens."""
        return self.calls - self.outcomes[Outcome.ERROR]

    def add_call(self, call: Call) -> None:
        """Count one call and its cards."""
        self.calls += 1
        self.outcomes[call.outcome] += 1
        self.by_client[call.client][call.outcome] += 1
        self.knowledge[call.knowledge] += 1
        day = self.days[day_of(call.received_at)]
        self._add_times(call)
        if call.outcome == Outcome.ERROR:
            self.errors[call.error or "not said"] += 1
            day.errors += 1
            return
        day.opens += 1
        self._add_reading(call, day)
        self._add_cards(call, day)

    def _add_times(self, call: Call) -> None:
        self.total_ms.append(call.total_ms)
        for step, milliseconds in call.steps_ms.items():
            self.steps_ms[step].append(milliseconds)

    def _add_reading(self, call: Call, day: DayTally) -> None:
        """Count what could not be read, used or understood."""
        if call.unread:
            self.incomplete += 1
            day.incomplete += 1
        self.unread.update(call.unread.keys())
        self.unread_why.update(call.unread.items())
        self.set_aside.update(call.set_aside)
        self.unmapped.update(call.unmapped)
        self.faulty_rules.update(call.faulty_rules)

    def _add_cards(self, call: Call, day: DayTally) -> None:
        if call.patient is not None:
            self.patients.add((call.client, call.patient))
        self.opens_of[call.client, call.is_silent] += 1
        self.opens_with_card += any(card.state == State.SHOWN for card in call.cards)
        for card in call.cards:
            self._add_card(call, card, day)

    def _add_card(self, call: Call, card: Shown, day: DayTally) -> None:
        tally = self.cards[card.card]
        tally.states[card.state] += 1
        fired = _fired(call, card)
        if fired is not None:
            self.fired[card.card][call.client, fired] += 1
        if card.state == State.SHOWN:
            tally.shown_to[call.client, call.patient or ""] += 1
            tally.shown_on[day_of(call.received_at)] += 1
            day.shown[card.indicator] += 1
        elif card.why is not None:
            tally.whys[card.why] += 1

    def add_answer(self, answer: Answer) -> None:
        """Count what a user did with a card."""
        tally = self.cards[answer.card]
        tally.answered[answer.outcome] += 1
        tally.seconds.append(answer.seconds)
        if answer.outcome == OVERRIDDEN:
            unknown = "a reason we do not know" if answer.has_reason else "no reason given"
            tally.reasons[answer.reason or unknown] += 1
        if answer.comment:
            self.comments.append(answer)


def _fired(call: Call, card: Shown) -> Fired | None:
    """Return where *card* fired; None if it was held back for another reason."""
    if card.state == State.SILENT:
        return Fired.SILENT_CARD if card.why == Why.SILENT_CARD else Fired.SILENT_PATIENT
    if card.state == State.SHOWN:
        return Fired.LIVE
    if card.why in _ANSWERED:
        return Fired.SILENT_ANSWERED if call.is_silent else Fired.ANSWERED
    return None
