"""Why was one call answered as it was?  Every row of the table, from what the ledger kept.

Verdicts, reasons in our words, and references to entries of the chart; never their content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from cds_service.knowledge.model import Knowledge
from cds_service.ledger.records import ReasonedRow
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING
from cds_service.reporting.page import moment_text
from cds_service.reporting.reading import decoded
from cds_service.reporting.tables_cards import WHY_WORDS

_WEIGHTS: Mapping[str, int] = {"met": 0, "cannot tell": 1, "not met": 2}
_MOST_CALLS = 20
"""An EHR that repeats a hookInstance gets its latest calls explained."""
NO_SUCH_CALL = (
    "The ledger holds no call with this hookInstance. Copy the id from the log; calls older than "
    "the ledger keeps, and calls refused before they were read, are not in it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedAnswer:
    """What a user did with a card of the call."""

    outcome: str
    at: str
    reason: str | None
    counts: bool
    """False: a later answer to the same card counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRow:
    """One row of the decision table in this call."""

    card: str
    title: str
    verdict: str
    reasons: tuple[str, ...]
    held_by: str | None
    unread: tuple[str, ...]
    is_order_withheld: bool
    evidence: tuple[str, ...]
    indicator: str | None
    fate: str | None
    """What became of the card of a met row, in words."""
    orders: tuple[str, ...]
    answers: tuple[ExplainedAnswer, ...]

    @property
    def weight(self) -> int:
        """Return where the row stands on a page: met first, then what cannot be told."""
        return _WEIGHTS.get(self.verdict, len(_WEIGHTS))

    @property
    def is_lacking(self) -> bool:
        """Return whether the reasons are conditions that do not hold."""
        is_held = self.held_by or any(reason.startswith("held back: ") for reason in self.reasons)
        return self.verdict == "not met" and bool(self.reasons) and not is_held


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCall:
    """One call: what came out, what could not be read, which knowledge decided."""

    hook_instance: str
    client: str
    at: str
    outcome: str
    http_status: int
    error: str | None
    is_silent: bool
    knowledge_version: str
    knowledge_digest: str
    is_knowledge_of_now: bool
    """Whether the clinical content in use now is that of the call."""
    total_ms: float
    steps_ms: Mapping[str, float]
    unread: Mapping[str, str]
    set_aside: Mapping[str, int]
    unmapped: tuple[str, ...]
    rows: tuple[ExplainedRow, ...]


def explained(
    connection: Connection, hook_instance: str, knowledge: Knowledge
) -> tuple[ExplainedCall, ...]:
    """Return the calls with *hook_instance*, the latest first; none if the ledger has none.

    Its letters may be large or small, as in any UUID; the ledger has small ones.
    """
    rows = connection.execute(
        select(CALL)
        .where(CALL.c.hook_instance == hook_instance.lower())
        .order_by(CALL.c.id.desc())
        .limit(_MOST_CALLS)
    ).all()
    return tuple(_call(connection, row, knowledge) for row in rows)


def _call(connection: Connection, row: Row[Any], knowledge: Knowledge) -> ExplainedCall:
    shown = {
        each.card: each
        for each in connection.execute(select(SHOWING).where(SHOWING.c.call_id == row.id))
    }
    answers = connection.execute(
        select(FEEDBACK).where(FEEDBACK.c.call_id == row.id).order_by(FEEDBACK.c.id)
    ).all()
    reasoning = decoded(row.reasoning, list[ReasonedRow], [])
    titles = {card.id: card.title for card in knowledge.cards.values()}
    return ExplainedCall(
        hook_instance=row.hook_instance,
        client=row.client,
        at=moment_text(row.received_at),
        outcome=row.outcome,
        http_status=row.http_status,
        error=row.error,
        is_silent=bool(row.is_silent),
        knowledge_version=row.knowledge_version,
        knowledge_digest=row.knowledge_digest,
        is_knowledge_of_now=row.knowledge_digest == knowledge.digest,
        total_ms=row.total_ms,
        steps_ms=decoded(row.steps_ms, dict[str, float], {}),
        unread=decoded(row.unread, dict[str, str], {}),
        set_aside=decoded(row.set_aside, dict[str, int], {}),
        unmapped=tuple(decoded(row.unmapped, list[str], [])),
        rows=tuple(
            _row(each, shown.get(each.card), titles, [a for a in answers if a.card == each.card])
            for each in reasoning
        ),
    )


def _row(
    reasoned: ReasonedRow,
    shown: Row[Any] | None,
    titles: Mapping[str, str],
    answers: Sequence[Row[Any]],
) -> ExplainedRow:
    suggestions = decoded(shown.suggestions if shown else None, dict[str, list[str]], {})
    return ExplainedRow(
        card=reasoned.card,
        title=titles.get(reasoned.card, reasoned.card),
        verdict=reasoned.verdict.value,
        reasons=reasoned.reasons,
        held_by=reasoned.held_by,
        unread=reasoned.unread,
        is_order_withheld=reasoned.is_order_withheld,
        evidence=reasoned.evidence,
        indicator=shown.indicator if shown else None,
        fate=_fate(shown) if shown else None,
        orders=tuple(" + ".join(orders) for orders in suggestions.values()),
        answers=tuple(
            ExplainedAnswer(
                outcome=answer.outcome,
                at=moment_text(answer.acted_at),
                reason=answer.reason,
                counts=not answer.is_superseded,
            )
            for answer in answers
        ),
    )


def _fate(shown: Row[Any]) -> str:
    why = WHY_WORDS.get(shown.why, shown.why) if shown.why else None
    return f"{shown.state}: {why}" if why else str(shown.state)


def as_text(call: ExplainedCall) -> str:
    """Return the call for a terminal."""
    return "\n".join(_lines(call))


def _lines(call: ExplainedCall) -> Iterator[str]:
    yield f"Call {call.hook_instance} of {call.client}, {call.at}"
    ending = f", {call.error}" if call.error else ""
    yield f"  Outcome: {call.outcome} (status {call.http_status}{ending})"
    if call.is_silent:
        yield "  Silent: this patient's cards are recorded and not shown."
    yield (
        f"  Clinical content: version {call.knowledge_version}, digest "
        f"{call.knowledge_digest[:12]}{'' if call.is_knowledge_of_now else ' (not that of now)'}"
    )
    yield f"  Took: {call.total_ms:.1f} ms{_steps(call)}"
    for key, why in call.unread.items():
        yield f"  Not read: {key}: {why}"
    for reason, count in call.set_aside.items():
        yield f"  Set aside: {count} x {reason}"
    if call.unmapped:
        yield f"  Codes that mean nothing to the service: {', '.join(call.unmapped)}"
    yield ""
    for row in call.rows:
        yield from _row_lines(row)


def _steps(call: ExplainedCall) -> str:
    steps = ", ".join(f"{step} {ms:.1f}" for step, ms in call.steps_ms.items())
    return f" ({steps})" if steps else ""


def _row_lines(row: ExplainedRow) -> Iterator[str]:
    fate = f", {row.fate}" if row.fate else ""
    why = "; ".join(why_words(row)) or "-"
    yield f"{row.card:<12} {row.verdict}{fate}: {why}"
    if row.evidence:
        yield f"{'':<12} rests on {', '.join(row.evidence)}"
    if row.orders:
        yield f"{'':<12} offered {'; '.join(row.orders)}"
    for answer in row.answers:
        reason = f" ({answer.reason})" if answer.reason else ""
        later = "" if answer.counts else ", replaced by a later answer"
        yield f"{'':<12} {answer.outcome}{reason} at {answer.at}{later}"


def why_words(row: ExplainedRow) -> tuple[str, ...]:
    """Return why the row answered so, in words."""
    held = (f"held by: {row.held_by}",) if row.held_by else ()
    unread = (f"not read: {', '.join(row.unread)}",) if row.unread else ()
    withheld = ("shown without its orders",) if row.is_order_withheld else ()
    return (*row.reasons, *held, *unread, *withheld)


def as_json(calls: Sequence[ExplainedCall]) -> str:
    """Return the calls as JSON."""
    return msgspec.json.format(msgspec.json.encode([asdict(call) for call in calls])).decode()
