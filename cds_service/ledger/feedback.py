"""What users did with their cards: kept before the EHR is told so, each item once.

An answer belongs to the latest showing of its card not later than the answer.  Of several answers
to one showing the latest counts, and an acceptance before an override of the same moment.  No
answer counts as given later than we heard of it: a client's clock may be ahead.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cds_service.errors import OverloadedError
from cds_service.hooks.feedback import CardOutcome, FeedbackItem
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.publishing import NON_ADHERENCE_SYSTEM, OVERRIDE_SYSTEM
from cds_service.ledger.calls import CallLedger, first_id, json_text
from cds_service.ledger.database import LedgerLostError
from cds_service.ledger.quickly import RowRefusedError
from cds_service.ledger.records import (
    FeedbackCounts,
    KeptFeedback,
    NewAnswer,
    Scope,
    State,
    milliseconds,
)
from cds_service.ledger.snoozes import ACCEPTED, last_day, term_of
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING, SNOOZE
from cds_service.trust.profile import ClientProfile

_RETRY_AFTER_SECONDS = 5
_INSERTS = {
    "sqlite": sqlite.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id),
    "postgresql": postgresql.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id),
}
_SHOWINGS = (
    select(SHOWING.c.call_id, SHOWING.c.card, SHOWING.c.operation, CALL.c.patient)
    .join(CALL, CALL.c.id == SHOWING.c.call_id)
    .where(
        SHOWING.c.card_uuid == bindparam("card_uuid"),
        SHOWING.c.state == State.SHOWN.value,
        SHOWING.c.call_id < bindparam("before"),
        CALL.c.client == bindparam("client"),
    )
    .limit(1)
    .with_for_update(of=SHOWING)
)
"""Locked on PostgreSQL, so that two answers to one showing are weighed one after the other."""
_LATEST_SHOWING = _SHOWINGS.order_by(SHOWING.c.call_id.desc())
_FIRST_SHOWING = _SHOWINGS.order_by(SHOWING.c.call_id)
_RIVALS = select(
    FEEDBACK.c.id, FEEDBACK.c.acted_at, FEEDBACK.c.received_at, FEEDBACK.c.outcome
).where(
    FEEDBACK.c.call_id == bindparam("call"),
    FEEDBACK.c.card == bindparam("card_id"),
    FEEDBACK.c.is_superseded.is_(False),
)
"""The new answer and the one that counted until now: what is superseded stays so."""
_SUPERSEDE = update(FEEDBACK).where(FEEDBACK.c.id == bindparam("name")).values(is_superseded=True)
_END_SNOOZES = delete(SNOOZE).where(SNOOZE.c.feedback_id == bindparam("name"))


class Shown(NamedTuple):
    """A showing as feedback needs it."""

    call_id: int
    card: str
    operation: str | None
    patient: str | None


class FeedbackLedger:
    """Keeps feedback, and what it means for later calls."""

    def __init__(
        self,
        calls: CallLedger,
        knowledge: Knowledge,
        *,
        now: Callable[[], datetime],
        keeps_comments: bool,
        key: Callable[[], bytes],
    ) -> None:
        self._database = calls.database
        self._calls = calls
        self._knowledge = knowledge
        self._now = now
        self._keeps_comments = keeps_comments
        self._key = key
        self._lock = threading.Lock()
        self.counts = FeedbackCounts()

    def keep(self, client: ClientProfile, items: tuple[FeedbackItem, ...]) -> KeptFeedback:
        """Keep *items* of one client and return which are new; on return they are on the disk.

        Raises:
            OverloadedError: They could not be committed; none of them is kept.
        """
        self._calls.write_waiting()
        try:
            kept = self._database.write_feedback(
                lambda connection: self._keep_all(connection, client, items)
            )
        except (LedgerLostError, RowRefusedError) as error:
            self._count(FeedbackCounts(refused=len(items)))
            raise OverloadedError(_RETRY_AFTER_SECONDS, "the ledger did not take it") from error
        self._count(kept.counts)
        return kept

    def _keep_all(
        self, connection: Connection, client: ClientProfile, items: tuple[FeedbackItem, ...]
    ) -> KeptFeedback:
        received = self._now()
        status = FeedbackCounts()
        new = []
        for item in items:
            showing = _showing(connection, client, item, received)
            name = self._insert(connection, client, item, received, showing)
            if name is None:
                status = replace(status, repeated=status.repeated + 1)
                continue
            status = replace(status, kept=status.kept + 1)
            new.append(_new_answer(item, self._knowledge))
            if showing is None:
                status = replace(status, unknown_cards=status.unknown_cards + 1)
            elif _is_the_answer(connection, showing, name):
                self._snooze(connection, client, item, received, (name, showing))
        return KeptFeedback(counts=status, new=tuple(new))

    def _insert(
        self,
        connection: Connection,
        client: ClientProfile,
        item: FeedbackItem,
        received: datetime,
        showing: Shown | None,
    ) -> int | None:
        """Return the id of the new row; None if this very item was kept before."""
        row = {
            "digest": self._digest(client.id, item),
            "client": client.id,
            "card_uuid": _storable(item.card),
            "outcome": item.outcome.value,
            "acted_at": milliseconds(item.acted_at),
            "received_at": milliseconds(received),
            "reason_system": _storable(item.reason_system),
            "reason_code": _storable(item.reason_code),
            "reason": _our_reason(item, self._knowledge),
            "accepted": json_text([_storable(each) for each in item.accepted_suggestions]),
            "comment": _storable(item.user_comment) if self._keeps_comments else None,
            "call_id": showing.call_id if showing else None,
            "card": showing.card if showing else None,
            "is_superseded": False,
        }
        return connection.execute(_INSERTS[connection.dialect.name], row).scalar()

    def _snooze(
        self,
        connection: Connection,
        client: ClientProfile,
        item: FeedbackItem,
        received: datetime,
        answered: tuple[int, Shown],
    ) -> None:
        """Hold the card of the showing back, if this answer asks for it."""
        name, showing = answered
        is_accepted = item.outcome is CardOutcome.ACCEPTED
        reason = ACCEPTED if is_accepted else _our_reason(item, self._knowledge)
        term = term_of(showing.card, reason, self._knowledge)
        key = item.card.lower() if term and term.scope is Scope.CARD else showing.operation
        if term is None or key is None or showing.patient is None:
            return
        zone = client.time_zone
        acted_on, received_on = (at.astimezone(zone).date() for at in (item.acted_at, received))
        row = {
            "client": client.id,
            "patient": showing.patient,
            "card": showing.card,
            "scope": term.scope.value,
            "scope_key": key,
            "until": last_day(acted_on, received_on, term.days),
            "reason": term.reason,
            "feedback_id": name,
        }
        connection.execute(insert(SNOOZE), row)

    def _digest(self, client_id: str, item: FeedbackItem) -> str:
        """Return what is the same for an item sent twice, and tells nothing by itself."""
        parts = [
            client_id,
            item.card,
            item.outcome.value,
            item.acted_at.astimezone(UTC).isoformat(),
            item.accepted_suggestions,
            item.reason_system,
            item.reason_code,
            item.user_comment,
        ]
        return hmac.digest(self._key(), json.dumps(parts).encode(), "sha256").hex()

    def _count(self, more: FeedbackCounts) -> None:
        with self._lock:
            self.counts = FeedbackCounts(
                kept=self.counts.kept + more.kept,
                repeated=self.counts.repeated + more.repeated,
                unknown_cards=self.counts.unknown_cards + more.unknown_cards,
                refused=self.counts.refused + more.refused,
            )


def _showing(
    connection: Connection, client: ClientProfile, item: FeedbackItem, received: datetime
) -> Shown | None:
    """Return the showing that *item* answers; the client's clock may be behind ours, or ahead.

    Time:
        The latest not later than the action; of an action before all of them, the first.
    """
    asked = {"card_uuid": _storable(item.card.lower()), "client": client.id}
    skew = client.clock_skew_seconds * 1000
    for statement, moment in (
        (_LATEST_SHOWING, min(item.acted_at, received)),
        (_FIRST_SHOWING, received),
    ):
        before = first_id(milliseconds(moment) + skew + 1)
        row = connection.execute(statement, {**asked, "before": before}).first()
        if row is not None:
            return Shown(*row)
    return None


def _is_the_answer(connection: Connection, showing: Shown, name: int) -> bool:
    """Whether answer *name* is the one that counts for *showing*; the others are superseded."""
    asked = {"call": showing.call_id, "card_id": showing.card}
    answers = connection.execute(_RIVALS, asked).all()
    counts = max(
        answers,
        key=lambda row: (
            min(row.acted_at, row.received_at),
            row.outcome == CardOutcome.ACCEPTED.value,
            row.id,
        ),
    )
    for row in answers:
        if row.id != counts.id:
            connection.execute(_SUPERSEDE, {"name": row.id})
            connection.execute(_END_SNOOZES, {"name": row.id})
    return bool(counts.id == name)


def _new_answer(item: FeedbackItem, knowledge: Knowledge) -> NewAnswer:
    return NewAnswer(
        outcome=item.outcome.value,
        reason=_our_reason(item, knowledge),
        has_reason=item.reason_code is not None,
    )


def _our_reason(item: FeedbackItem, knowledge: Knowledge) -> str | None:
    """Return our override reason for what was sent; CDS Hooks 3.0 codes are read as ours.

    The same code of any other system means something else; without a system it may be ours.
    """
    code, system = item.reason_code, (item.reason_system or "").strip()
    if system not in {"", OVERRIDE_SYSTEM, NON_ADHERENCE_SYSTEM}:
        return None
    if code in knowledge.snooze_days:
        return code
    equivalents = knowledge.override_equivalents.items()
    return next((ours for ours, theirs in equivalents if code in theirs), None)


def _storable(text: str | None) -> str | None:
    """Return *text* as every database can keep it: no NUL, no half of a character."""
    if text is None:
        return None
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
