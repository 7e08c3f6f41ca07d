"""Do the report's numbers equal those a caller kept of a simulated fortnight?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import Connection, Engine

from cds_service.ledger.place import AT_LEISURE, LedgerPlace
from cds_service.ledger.records import Outcome
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING
from cds_service.reporting.reading import period_of_days
from cds_service.reporting.report import Asked, Report, make_report
from tests.ledger.clinic import MORNING

if TYPE_CHECKING:
    from tests.ledger.fortnight import Books

DAYS = 14
HELD = {"overridden", "accepted", "shown lately"}
SILENT = {"silent card", "silent patient"}


def report_differences(place: LedgerPlace, books: Books) -> list[str]:
    """Return in words where the report and the caller's *books* differ.

    Calls that were in flight at a kill are taken out of the ledger first: the caller cannot know
    whether they were kept.
    """
    _forget(place, books.unanswered)
    engine = place.reader(AT_LEISURE)
    try:
        return [
            difference
            for client in sorted({client for client, _ in books.calls})
            for difference in _of_client(engine, client, books)
        ] + _strayed(engine, books)
    finally:
        engine.dispose()


def _forget(place: LedgerPlace, hook_instances: set[str]) -> None:
    engine = place.writer(AT_LEISURE)
    with engine.begin() as connection:
        lost = CALL.c.hook_instance.in_(hook_instances)
        ids = connection.execute(CALL.select().where(lost)).scalars().all()
        _hand_on_answers(connection, ids)
        connection.execute(delete(SHOWING).where(SHOWING.c.call_id.in_(ids)))
        connection.execute(delete(CALL).where(CALL.c.id.in_(ids)))
    engine.dispose()


def _hand_on_answers(connection: Connection, lost: Sequence[int]) -> None:
    """Give the answers to cards of *lost* calls to the calls that were made in their place."""
    for answer in connection.execute(FEEDBACK.select().where(FEEDBACK.c.call_id.in_(lost))):
        again = (
            select(func.max(SHOWING.c.call_id))
            .where(SHOWING.c.card_uuid == answer.card_uuid, SHOWING.c.call_id.not_in(lost))
            .scalar_subquery()
        )
        connection.execute(update(FEEDBACK).where(FEEDBACK.c.id == answer.id).values(call_id=again))


def _report(engine: Engine, client: str | None) -> Report:
    first = MORNING.date()
    last = first + timedelta(days=DAYS - 1)
    made_at = period_of_days(last, last + timedelta(days=30)).until
    period = period_of_days(first, last)
    return make_report(engine, Asked(period=period, client=client, made_at=made_at, titles={}))


def _strayed(engine: Engine, books: Books) -> list[str]:
    overview = {
        line.id: line.now["value"] for line in _report(engine, None).table("overview").lines
    }
    found = overview["strayed-feedback"]
    if found == books.unknown_cards:
        return []
    return [f"report, unknown cards: {books.unknown_cards}, not {found}"]


def _of_client(engine: Engine, client: str, books: Books) -> Iterator[str]:
    report = _report(engine, client)
    for name, mine, theirs in (
        ("calls", _calls(books, client), _calls_told(report)),
        ("cards", _cards(books, client), _cards_told(report)),
        ("answers", _answers(books, client), _answers_told(report)),
    ):
        for key in sorted({*mine, *theirs}):
            if mine[key] != theirs[key]:
                yield f"report of {client}, {name} {key}: {mine[key]}, not {theirs[key]}"


def _calls(books: Books, client: str) -> Counter[str]:
    return Counter({key: n for (each, key), n in books.calls.items() if each == client})


def _calls_told(report: Report) -> Counter[str]:
    [line] = report.table("clients").lines
    return Counter(
        {each.value: int(str(line.now[each.value.replace(" ", "-")])) for each in Outcome}
    )


def _cards(books: Books, client: str) -> Counter[str]:
    return Counter(
        {
            f"{card} {state}": n
            for (each, card, state), n in books.showings.items()
            if each == client
        }
    )


def _cards_told(report: Report) -> Counter[str]:
    told: Counter[str] = Counter()
    for line in report.table("cards").lines:
        told[f"{line.id} shown"] += int(str(line.now["shown"]))
    for line in report.table("not-shown").lines:
        card, _, why = line.id.partition("/")
        state = "held back" if why in HELD else "silent" if why in SILENT else None
        if state is not None:
            told[f"{card} {state}"] += int(str(line.now["count"]))
    return told


def _answers(books: Books, client: str) -> Counter[str]:
    kept: Counter[str] = Counter()
    for (each, outcome, reason, is_superseded), count in books.feedback.items():
        if each == client and not is_superseded:
            kept[outcome] += count
            if outcome == "overridden" and reason is not None:
                kept[f"because {reason}"] += count
    return kept


def _answers_told(report: Report) -> Counter[str]:
    told: Counter[str] = Counter()
    for line in report.table("cards").lines:
        told["accepted"] += int(str(line.now["accepted"]))
        told["overridden"] += int(str(line.now["overridden"]))
    for line in report.table("override-reasons").lines:
        reason = line.id.partition("/")[2]
        if " " not in reason:
            told[f"because {reason}"] += int(str(line.now["count"]))
    return told
