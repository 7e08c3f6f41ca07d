"""Two weeks in two hospitals, with feedback of every shape, restarts and kills in between.

The caller keeps its own books: what it sent, what it was answered, and what the rules of the house
say must be held back.  Run the whole with
``python -m tests.ledger.fortnight --calls 20000 --patients 600 --database sqlite`` (or postgresql).
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

import requests

from cds_service.evaluation.assessment import Assessment, Finding, Outcome, Verdict
from cds_service.knowledge.loading import load_knowledge
from cds_service.ledger.place import LedgerPlace
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING
from cds_service.rendering.cards import OVERRIDE_SYSTEM, CardContext, CardOptions, render
from cds_service.rendering.identity import CardNames
from tests.changing import replace
from tests.ledger.clinic import (
    MORNING,
    PERSONAS,
    SERVICE,
    Json,
    assessed,
    card_id,
    chart_of,
    hook_call,
    new_uuid,
    rows,
)
from tests.ledger.postgres import PASSWORD, running_postgres
from tests.ledger.served import IDENTITY_KEY, Site, make_site
from tests.reporting.books import report_differences

DAYS = 14
TICKS_A_DAY = 10
SILENT_CARD = "PSYCH"
SILENT_PERCENT = 30
REMINDER = "DATA-PAIN"
REMINDER_DAYS = 30
KNOWLEDGE = load_knowledge()
EPIC = "com.epic.cdshooks.feedback.overrideReason.reasonCategory"
NEWER = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
REASON_DAYS = {
    "already-planned": 90,
    "patient-declined": 180,
    "not-clinically-indicated": 365,
    "done-elsewhere": 90,
    "contraindicated": 365,
    "will-re-examine-first": 14,
    "accepted": 14,
    None: 30,
}
"""The house rules, written down a second time."""
OUR_REASONS = KNOWLEDGE.override_reasons
OVERRIDES = (
    *((code, {"reason": {"system": OVERRIDE_SYSTEM, "code": code}}) for code, _ in OUR_REASONS),
    ("patient-declined", {"reason": {"system": NEWER, "code": "patient-refuses"}}),
    ("done-elsewhere", {"extension": {EPIC: "done-elsewhere"}}),
    (None, {"reason": {"system": "urn:site", "code": "x-7"}}),
    (None, {"userComment": "this alert is wrong"}),
    (None, None),
)


@dataclass
class Books:
    """What the caller counts."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    showings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    feedback: Counter[tuple[str, str, str | None, bool]] = field(default_factory=Counter)
    """Client, outcome, our reason, superseded."""
    unknown_cards: int = 0
    unanswered: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Books) -> None:
        """Take over the counts of another book."""
        self.calls += other.calls
        self.showings += other.showings
        self.feedback += other.feedback
        self.unknown_cards += other.unknown_cards
        self.unanswered |= other.unanswered
        self.wrong += other.wrong


@cache
def said(persona: str, day: date) -> Assessment:
    """Return what the clinical core says of a persona on a day, without a ledger."""
    return assessed(chart_of(persona), KNOWLEDGE, day)


@cache
def wanted(persona: str, day: date) -> frozenset[str]:
    """Return the cards a persona's chart asks for on a day."""
    options = CardOptions(
        client_id="x", public_base_url="https://x.example", identity_key=b"x", max_cards=36
    )
    answer = render(said(persona, day), KNOWLEDGE, options, CardContext(patient_id="x"))
    return frozenset(card_id(card) for card in answer.cards)


class House:
    """One client's hospital: its patients, its caller, its books."""

    def __init__(self, name: str, patients: list[str], hosts: list[Site], seed: int) -> None:
        self.name = name
        self.hosts = hosts
        self.books = Books()
        self._random = random.Random(seed)  # noqa: S311 - a plan, not a secret
        names = sorted(PERSONAS)
        self.patients = {each: names[n % len(names)] for n, each in enumerate(patients)}
        self._charts = {each: chart_of(persona, each) for each, persona in self.patients.items()}
        self._held: dict[str, list[tuple[str, date, str | None]]] = {}
        self._silent: dict[str, bool] = {}
        self._reminded: dict[str, date] = {}
        self._late: list[Json] = []
        self._session = requests.Session()
        self._sent = 0

    def work(self, now: datetime, calls: int) -> None:
        """Open charts of different patients at one moment, and answer some of their cards."""
        for patient in self._random.sample(sorted(self.patients), calls):
            self._open(patient, now)
        if self._random.random() < 0.3:
            self._send_bad(now)

    def finish(self, now: datetime) -> None:
        """Send the feedback that comes late, up to two weeks after the action."""
        for item in self._late:
            self._tell(now, item)

    def _open(self, patient: str, now: datetime) -> None:
        answer = self._answered(now, lambda: hook_call(self._charts[patient]))
        cards = {card_id(card): card for card in answer.json()["cards"]}
        persona, day = self.patients[patient], now.date()
        held = self._held_on(patient, persona, day)
        shown = wanted(persona, day) - held
        hidden = {SILENT_CARD} & wanted(persona, day) - held if self.name == "south" else set()
        shown -= hidden
        is_silent = self._is_silent(patient, is_empty=not cards, should_show=bool(shown))
        if REMINDER in shown and not is_silent:
            self._reminded[patient] = day
        if not is_silent and set(cards) != shown:
            self.books.wrong.append(f"{persona} {day}: {sorted(cards)}, not {sorted(shown)}")
        self._count(persona, day, shown, held, hidden, is_silent=is_silent)
        if cards and self._random.random() < 0.35:
            self._decide(patient, self._random.choice(sorted(cards)), cards, now)

    def _held_on(self, patient: str, persona: str, day: date) -> set[str]:
        found = set()
        for card, until, uuid in self._held.get(patient, ()):
            finding = next((f for f in said(persona, day).findings if f.card == card), None)
            if finding is None or day >= until or card not in wanted(persona, day):
                continue
            if uuid is None or uuid == self._uuid(finding, patient):
                found.add(card)
        reminded = self._reminded.get(patient, day)
        if REMINDER in wanted(persona, day) and 0 < (day - reminded).days < REMINDER_DAYS:
            found.add(REMINDER)
        return found

    def _uuid(self, finding: Finding, patient: str) -> str:
        key, persona = bytes.fromhex(IDENTITY_KEY), PERSONAS[self.patients[patient]]
        evidence = [
            replace(each, reference=each.reference.replace(persona.patient_id, patient))
            for each in finding.evidence
        ]
        finding = replace(finding, evidence=tuple(evidence))
        return CardNames(patient_id=patient, client_id=self.name, key=key)(finding)

    def _is_silent(self, patient: str, *, is_empty: bool, should_show: bool) -> bool:
        """Learn from the first opening that should show cards; later ones must agree."""
        if not should_show:
            return self._silent.get(patient, False)
        before = self._silent.setdefault(patient, is_empty)
        if before != is_empty:
            self.books.wrong.append(f"{patient} was silent: {before}, is: {is_empty}")
        return before

    def _count(  # noqa: PLR0913 - one opening
        self,
        persona: str,
        day: date,
        shown: frozenset[str],
        held: set[str],
        hidden: set[str],
        *,
        is_silent: bool,
    ) -> None:
        states = {"held back": held, "silent": hidden}
        for state, names in states.items():
            for name in names:
                self.books.showings[(self.name, name, state)] += 1
        for name in shown:
            self.books.showings[(self.name, name, "silent" if is_silent else "shown")] += 1
        self.books.calls[(self.name, self._outcome(persona, day, shown))] += 1

    def _outcome(self, persona: str, day: date, shown: frozenset[str]) -> str:
        answer = said(persona, day)
        if shown:
            return "fired" if shown != {"DATA-READ"} else "insufficient data"
        if answer.outcome in {Outcome.NOT_APPLICABLE, Outcome.NO_OPERATION}:
            return "not applicable"
        is_met = any(finding.verdict is Verdict.MET for finding in answer.findings)
        return "suppressed" if is_met else "nothing to say"

    def _decide(self, patient: str, name: str, cards: dict[str, Json], now: datetime) -> None:
        """Act on a card in one of many ways."""
        card, way = cards[name], self._random.random()
        acted = now + timedelta(seconds=self._random.randrange(1, 300))
        suggestions = card.get("suggestions", [])
        if way < 0.25 and suggestions:
            self._take(self._accepted(card, acted), patient, name, "accepted", now)
        elif way < 0.35 and suggestions:
            self._book("overridden", None, is_superseded=True)
            self._tell(now, self._item(card, "overridden", acted - timedelta(seconds=1)))
            self._take(self._accepted(card, acted), patient, name, "accepted", now)
        elif way < 0.45:
            reason, item = self._overridden(card, acted)
            self._book("overridden", reason)
            self._late.append(item)
        elif way < 0.5:
            self.books.unknown_cards += 1
            self._tell(now, self._item({"uuid": new_uuid()}, "overridden", acted))
        else:
            reason, item = self._overridden(card, acted)
            self._take(item, patient, name, reason, now)
            if way < 0.6:
                self._tell(now, item)  # an EHR that sends everything twice

    def _take(self, item: Json, patient: str, name: str, reason: str | None, now: datetime) -> None:
        self._book(item["outcome"], reason)
        self._tell(now, item)
        row = KNOWLEDGE.cards[name].row
        days = REASON_DAYS[reason]
        if 5 <= row <= 9:
            days = min(days, 14)
        if row >= 5 and name != "DATA-READ":
            acted = datetime.fromisoformat(item["outcomeTimestamp"]).date()
            uuid = item["card"] if reason == "not-clinically-indicated" else None
            until = min(acted, now.date()) + timedelta(days=days)
            self._held.setdefault(patient, []).append((name, until, uuid))

    def _book(self, outcome: str, reason: str | None, *, is_superseded: bool = False) -> None:
        reason = None if outcome == "accepted" else reason
        self.books.feedback[(self.name, outcome, reason, is_superseded)] += 1

    def _item(self, card: Json, outcome: str, acted: datetime, **more: object) -> Json:
        at = acted.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"card": card["uuid"], "outcome": outcome, "outcomeTimestamp": at, **more}

    def _accepted(self, card: Json, acted: datetime) -> Json:
        chosen = [{"id": card["suggestions"][0]["uuid"]}]
        return self._item(card, "accepted", acted, acceptedSuggestions=chosen)

    def _overridden(self, card: Json, acted: datetime) -> tuple[str | None, Json]:
        reason, shape = self._random.choice(OVERRIDES)
        key = "overrideReasons" if shape and "extension" in shape else "overrideReason"
        return reason, self._item(card, "overridden", acted, **({key: shape} if shape else {}))

    def _tell(self, now: datetime, item: Json) -> None:
        """Send an item, now and then in a batch with a bad one, until it is acknowledged."""
        items = [item] if self._random.random() < 0.8 else [{"card": 7}, item]
        while True:
            answer = self._post({"feedback": items}, now, f"{SERVICE}/feedback")
            if answer is not None and answer.status_code == 200:
                return

    def _send_bad(self, now: datetime) -> None:
        """Send a call that breaks the specification, and one without procedures."""
        self._answered(now, lambda: {"hook": "patient-view"}, status=400)
        self.books.calls[(self.name, "error")] += 1
        chart = dict(next(iter(self._charts.values())))
        del chart["procedures"]
        self._answered(now, lambda: hook_call(chart), status=412)
        self.books.calls[(self.name, "insufficient data")] += 1

    def _answered(self, now: datetime, make: Any, status: int = 200) -> requests.Response:  # noqa: ANN401
        """Call until an answer comes; each attempt is a call of its own."""
        while True:
            body = make()
            answer = self._post(body, now, SERVICE)
            if answer is not None and answer.status_code == status:
                return answer
            if answer is not None and answer.status_code != 503:
                self.books.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            self.books.unanswered.add(body.get("hookInstance", ""))

    def _post(self, body: Json, now: datetime, path: str) -> requests.Response | None:
        self._sent += 1
        site = self.hosts[self._sent % len(self.hosts)]
        at = int(now.timestamp())
        token = site.ehrs[self.name].token(
            aud=f"http://127.0.0.1:{site.port}{path}", iat=at, exp=at + 300
        )
        try:
            return self._session.post(
                f"http://127.0.0.1:{site.port}{path}",
                data=json.dumps(body),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                timeout=30,
            )
        except requests.RequestException:
            time.sleep(0.2)
            return None


@dataclass
class Fortnight:
    """The whole simulation."""

    hosts: list[Site]
    place: LedgerPlace
    calls: int
    patients: int
    kills: int
    restarts: int

    def run(self) -> list[str]:
        """Live through it; return in words whatever does not agree."""
        ticks = DAYS * TICKS_A_DAY
        half = self.patients // 2
        names = [f"p-{number}" for number in range(self.patients)]
        houses = [
            House("north", names[:half], self.hosts, 1),
            House("south", names[half:], self.hosts, 2),
        ]
        plan = random.Random(3)  # noqa: S311 - a plan, not a secret
        troubles = plan.sample(range(1, ticks), self.kills + self.restarts)
        due = [self.calls * tick // ticks // 2 for tick in range(ticks + 1)]
        with ExitStack() as stack:
            self._set_clock(MORNING)
            running = [stack.enter_context(_Host(host)) for host in self.hosts]
            for tick in range(ticks):
                now = MORNING + timedelta(days=tick // TICKS_A_DAY, hours=tick % TICKS_A_DAY)
                self._set_clock(now)
                host = running[tick % len(running)]
                if tick in troubles[self.kills :]:
                    host.restart()
                is_kill = tick in troubles[: self.kills]
                self._one_tick(houses, now, due[tick + 1] - due[tick], host if is_kill else None)
            for house in houses:
                house.finish(now)
        books = Books()
        for house in houses:
            books.add(house.books)
        return [*books.wrong[:20], *self.differences(books)]

    def _one_tick(
        self, houses: list[House], now: datetime, calls: int, victim: _Host | None
    ) -> None:
        threads = [threading.Thread(target=house.work, args=(now, calls)) for house in houses]
        for thread in threads:
            thread.start()
        if victim is not None:
            time.sleep(0.05)
            victim.kill()
        for thread in threads:
            thread.join()

    def _set_clock(self, now: datetime) -> None:
        for host in self.hosts:
            fresh = host.folder / "clock.new"
            fresh.write_text(now.isoformat(), encoding="ascii")
            fresh.replace(host.folder / "clock")

    def differences(self, books: Books) -> list[str]:
        """Return where the ledger, the report and the caller's books differ."""
        calls = [
            row for row in rows(self.place, CALL) if row["hook_instance"] not in books.unanswered
        ]
        if "" in books.unanswered:  # a bad call has no name; one more may be there
            books.wrong.append("a bad call was not answered")
        clients = {row["id"]: row["client"] for row in calls}
        states = ("shown", "silent", "held back")
        showings = [
            row
            for row in rows(self.place, SHOWING)
            if row["call_id"] in clients
            and row["state"] in states
            and row["why"] not in {"emergency", "hospice"}
        ]
        answers = rows(self.place, FEEDBACK)
        found = Books(
            calls=Counter((row["client"], row["outcome"]) for row in calls),
            showings=Counter((clients[r["call_id"]], r["card"], r["state"]) for r in showings),
            feedback=Counter(
                (row["client"], row["outcome"], row["reason"], row["is_superseded"])
                for row in answers
                if row["call_id"] is not None
            ),
            unknown_cards=sum(row["call_id"] is None for row in answers),
        )
        print(  # noqa: T201 - a command's answer
            f"{sum(books.calls.values())} calls, {sum(books.showings.values())} cards, "
            f"{sum(books.feedback.values())} answers, {books.unknown_cards} for unknown cards, "
            f"{len(books.unanswered)} calls in flight at a kill"
        )
        return [*_differences(books, found), *report_differences(self.place, books)]


def _differences(books: Books, found: Books) -> Iterator[str]:
    for name in ("calls", "showings", "feedback"):
        mine, theirs = getattr(books, name), getattr(found, name)
        for key in sorted(mine.keys() | theirs.keys(), key=str):
            if mine[key] != theirs[key]:
                yield f"{name} {key}: the caller counted {mine[key]}, the ledger {theirs[key]}"
    if books.unknown_cards != found.unknown_cards:
        yield f"unknown cards: {books.unknown_cards} against {found.unknown_cards}"


class _Host:
    """A served process that is restarted and killed."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._site.running())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Stop it well and start it again."""
        self._stack.close()
        self.__enter__()

    def kill(self) -> None:
        """End it without a word and start it again."""
        self._site.kill()
        self.restart()


@contextmanager
def fortnight(
    folder: Path, database: str, *, calls: int, patients: int, troubles: int
) -> Iterator[Fortnight]:
    """Prepare two weeks on one SQLite file, or on PostgreSQL with two service processes."""
    with ExitStack() as stack:
        url = None
        if database == "postgresql":
            url = stack.enter_context(running_postgres()).new_database()
        yield two_weeks(folder, url, calls=calls, patients=patients, troubles=troubles)


def two_weeks(
    folder: Path, url: str | None, *, calls: int, patients: int, troubles: int
) -> Fortnight:
    """Return two weeks on the PostgreSQL database at *url*, or on one SQLite file."""
    from cds_service.ledger.migrating import migrate  # noqa: PLC0415 - keeps the head short

    wishes = "[clients.cards]\nmax_cards = 36"
    quiet = f'silent_cards = ["{SILENT_CARD}"]\nsilent_percent = {SILENT_PERCENT}'
    lines = f'url = "{url}"\npassword_file = "password"' if url else ""
    hosts: list[Site] = []
    for number in range(2 if url else 1):
        home = folder / f"host-{number}"
        home.mkdir()
        (home / "password").write_text(PASSWORD)
        site = make_site(
            home,
            ledger=lines,
            workers=1 if url else 2,
            north=wishes,
            south=f"{wishes}\n{quiet}",
        )
        if hosts:
            site.config = hosts[0].config.replace(str(hosts[0].port), str(site.port))
            site.ehrs = hosts[0].ehrs
        site.program = ("-m", "tests.ledger.simulated_service")
        hosts.append(site)
    place = LedgerPlace(url=url, password=PASSWORD) if url else hosts[0].place
    if url:
        migrate(place)
    half = troubles // 2
    return Fortnight(hosts, place, calls, patients, kills=troubles - half, restarts=half)


def main() -> int:
    """Run the whole and say whether the numbers agree."""
    parser = argparse.ArgumentParser(description="Two weeks in two hospitals")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--troubles", type=int, default=8)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    asked = parser.parse_args()
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        fortnight(
            Path(folder),
            asked.database,
            calls=asked.calls,
            patients=asked.patients,
            troubles=asked.troubles,
        ) as weeks,
    ):
        wrong = weeks.run()
    for line in wrong:
        print(line)  # noqa: T201 - a command's answer
    verdict = "The numbers agree." if not wrong else f"{len(wrong)} numbers differ."
    print(f"{verdict} {time.monotonic() - begun:.0f} s")  # noqa: T201 - as above
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
