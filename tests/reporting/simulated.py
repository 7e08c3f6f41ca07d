"""Calls, cards and answers of a made-up hospital in a ledger; the caller keeps its own count."""

from __future__ import annotations

import hashlib
import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import msgspec
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from cds_service.ledger.tables import CALL, FEEDBACK, METADATA, SHOWING
from cds_service.reporting.reading import MS_PER_DAY, ms_of

FIRST_DAY = date(2026, 11, 2)
"""A Monday."""
SECOND_WEEK = FIRST_DAY + timedelta(days=7)
LAST_DAY = FIRST_DAY + timedelta(days=13)
AFTERWARDS = ms_of(LAST_DAY + timedelta(days=1)) + 60_000
DIGEST = "d" * 64
CARDS = {
    "IMG-MRI-NR": (0.12, "warning"),
    "PT-REF": (0.2, "info"),
    "OPIOID": (0.05, "info"),
    "SMOKE": (0.08, "info"),
    "RF-CES": (0.004, "critical"),
}
"""Card to how often its rule is met in a chart open, and its urgency."""
REASONS = ("already-planned", "patient-declined", "not-clinically-indicated", None)
COMMENTS = (
    "This is wrong, the MRI was done",
    "not my patient",
    "annoying",
    "could be dangerous here",
    "fine",
    "=HYPERLINK(1)",
)


@dataclass(frozen=True, kw_only=True)
class Open:
    """One chart open before it is written; ``change`` functions may alter it."""

    day: date
    client: str
    patient: str
    cards: tuple[str, ...]
    unread: dict[str, str] = field(default_factory=dict)
    unmapped: tuple[str, ...] = ()
    error: str | None = None
    is_silent: bool = False
    total_ms: float = 20.0


Change = Callable[[Open], Open]


@dataclass
class Kept:
    """What the caller itself counted."""

    calls: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    opens_with_card: int = 0
    shown: Counter[str] = field(default_factory=Counter)
    shown_to: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    comments: int = 0
    strayed: int = 0


def empty_ledger(url: str = "sqlite://") -> Engine:
    """Return a ledger without calls."""
    if url == "sqlite://":
        from sqlalchemy.pool import StaticPool  # noqa: PLC0415 - only memory needs one connection

        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        weakref.finalize(engine, engine.pool.dispose)  # Python 3.13 warns of what is left open
    else:
        engine = create_engine(url)
    METADATA.create_all(engine)
    return engine


class Simulation:
    """Writes chart opens into a ledger."""

    def __init__(self, engine: Engine, *, seed: int = 7) -> None:
        """Start with nothing; the same *seed* makes the same calls."""
        self.kept = Kept()
        self._engine = engine
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._number = 0
        self._rows: dict[str, list[dict[str, Any]]] = {"call": [], "showing": [], "feedback": []}

    def run(
        self,
        days: Iterable[date],
        *,
        a_day: int = 300,
        clients: tuple[str, ...] = ("ehr-a", "ehr-b"),
        change: Change = lambda opened: opened,
    ) -> None:
        """Write *a_day* calls of each client on each of *days*."""
        for day in days:
            for client in clients:
                for _ in range(a_day):
                    self._write(change(self._open(day, client)))
        self._flush()

    def _open(self, day: date, client: str) -> Open:
        chance = self._random.random
        return Open(
            day=day,
            client=client,
            patient=f"p{self._random.randrange(300)}",
            cards=tuple(card for card, (rate, _) in CARDS.items() if chance() < rate),
            unread={"scores": "the FHIR server did not answer in time"} if chance() < 0.02 else {},
            unmapped=("http://local|77",) if chance() < 0.03 else (),
            error="HookRequest" if chance() < 0.005 else None,
            total_ms=round(self._random.lognormvariate(3, 0.5), 2),
        )

    def _write(self, opened: Open) -> None:
        kept, self._number = self.kept, self._number + 1
        moment = ms_of(opened.day) + self._random.randrange(MS_PER_DAY)
        number = moment << 22 | (self._number & 0x3FFFFF)
        kept.calls[opened.client] += 1
        kept.milliseconds.append(opened.total_ms)
        if opened.error:
            kept.errors += 1
            opened = replace(opened, cards=(), unread={}, unmapped=())
        kept.unread.update(opened.unread.keys())
        kept.unmapped.update(opened.unmapped)
        self._rows["call"].append(
            {
                "id": number,
                "hook_instance": f"00000000-0000-4000-8000-{self._number:012d}",
                "client": opened.client,
                "service": "post-laminectomy-evaluation",
                "role": None,
                "received_at": moment,
                "patient": hashlib.sha256(opened.patient.encode()).hexdigest(),
                "outcome": _outcome(opened),
                "http_status": 400 if opened.error else 200,
                "error": opened.error,
                "is_silent": opened.is_silent,
                "knowledge_version": "0.1.0",
                "knowledge_digest": DIGEST,
                "total_ms": opened.total_ms,
                "steps_ms": _json({"gateway": opened.total_ms / 2, "reading": 1.5}),
                "unread": _json(opened.unread) if opened.unread else None,
                "set_aside": _json({"no date": 2}) if opened.unread else None,
                "unmapped": _json(opened.unmapped) if opened.unmapped else None,
                "faulty_rules": None,
                "reasoning": None,
            }
        )
        states = {self._write_card(opened, card, number, moment) for card in opened.cards}
        kept.opens_with_card += "shown" in states

    def _write_card(self, opened: Open, card: str, number: int, moment: int) -> str:
        """Write one card; return what became of it."""
        state, why = "shown", None
        if opened.is_silent:
            state, why = "silent", "silent patient"
            self.kept.silent[card] += 1
        elif card == "SMOKE" and self._random.random() < 0.3:
            state, why = "held back", "overridden"
            self.kept.held_back[card] += 1
        else:
            self.kept.shown[card] += 1
            self.kept.shown_to[opened.client, opened.patient, card] += 1
        uuid = f"{card}-{opened.client}-{opened.patient}"
        self._rows["showing"].append(
            {
                "call_id": number,
                "card": card,
                "card_uuid": uuid,
                "indicator": CARDS[card][1],
                "state": state,
                "why": why,
                "operation": None,
                "suggestions": None,
            }
        )
        if state == "shown" and self._random.random() < 0.6:
            self._answer(opened, card, number, moment)
        return state

    def _answer(self, opened: Open, card: str, number: int, moment: int) -> None:
        """A user answers; one in ten changes their mind, one in fifty names no card."""
        outcomes = ["overridden", "accepted"] if self._random.random() < 0.1 else []
        last = self._random.choice(("accepted", "overridden", "overridden"))
        outcomes = [*outcomes[:1], last] if outcomes else [last]
        for position, outcome in enumerate(outcomes):
            is_last = position == len(outcomes) - 1
            reason = self._random.choice(REASONS) if outcome == "overridden" else None
            comment = self._random.choice(COMMENTS) if self._random.random() < 0.1 else None
            self._feedback(opened, number, card, outcome, reason, comment, moment, is_last=is_last)
            if is_last:
                self.kept.answers[card, outcome] += 1
                self.kept.comments += comment is not None
                if outcome == "overridden":
                    self.kept.reasons[card, reason or "no reason given"] += 1
        if self._random.random() < 0.02:
            self.kept.strayed += 1
            self._feedback(opened, None, None, "accepted", None, None, moment, is_last=True)

    def _feedback(  # noqa: PLR0913, PLR0917 - the columns of one row
        self,
        opened: Open,
        number: int | None,
        card: str | None,
        outcome: str,
        reason: str | None,
        comment: str | None,
        moment: int,
        *,
        is_last: bool,
    ) -> None:
        rows = self._rows["feedback"]
        self._number += 1
        rows.append(
            {
                "digest": hashlib.sha256(str(self._number).encode()).hexdigest(),
                "client": opened.client,
                "card_uuid": f"{card}-{opened.client}-{opened.patient}",
                "outcome": outcome,
                "acted_at": moment + 45_000,
                "received_at": min(moment + 50_000, ms_of(opened.day) + MS_PER_DAY - 1),
                "reason_system": None,
                "reason_code": reason,
                "reason": reason,
                "accepted": None,
                "comment": comment,
                "call_id": number,
                "card": card,
                "is_superseded": not is_last,
            }
        )

    def _flush(self) -> None:
        with self._engine.begin() as connection:
            for table in (CALL, SHOWING, FEEDBACK):
                if self._rows[table.name]:
                    connection.execute(table.insert(), self._rows[table.name])
                self._rows[table.name] = []


def _outcome(opened: Open) -> str:
    if opened.error:
        return "error"
    return "fired" if opened.cards else "nothing to say"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def days(first: date, last: date) -> list[date]:
    """Return every day from *first* to *last*."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def broken(opened: Open) -> Open:
    """In the second week ehr-a's MRI rule finds nobody, and ehr-b no longer sends its reports."""
    if opened.day < SECOND_WEEK or opened.error:
        return opened
    if opened.client == "ehr-a":
        return replace(opened, cards=tuple(c for c in opened.cards if c != "IMG-MRI-NR"))
    return replace(
        opened, unread={**opened.unread, "diagnosticReports": "the FHIR server refused the search"}
    )
