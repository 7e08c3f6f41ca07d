"""What users did with their cards: kept before the EHR is told so, each item once.

While the ledger is slow an answer may be kept before the call it answers; it is placed later.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from cds_service.errors import OverloadedError
from cds_service.hooks.feedback import FeedbackItem
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.publishing import NON_ADHERENCE_SYSTEM, OVERRIDE_SYSTEM
from cds_service.ledger.answers import Answer, place, unplaced, unplaced_answer
from cds_service.ledger.calls import CallLedger, json_text
from cds_service.ledger.database import LedgerLostError
from cds_service.ledger.quickly import RowRefusedError
from cds_service.ledger.records import FeedbackCounts, KeptFeedback, NewAnswer, milliseconds
from cds_service.ledger.tables import FEEDBACK
from cds_service.trust.profile import ClientProfile

_RETRY_AFTER_SECONDS = 5
_MOST_AT_ONCE = 200
_CALL_MAY_COME = timedelta(days=1)
"""So long after an answer the call it belongs to may still be written."""
_INSERTS = {
    "sqlite": sqlite.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id),
    "postgresql": postgresql.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id),
}


class FeedbackLedger:
    """Keeps feedback, and what it means for later calls."""

    def __init__(  # noqa: PLR0913 - what keeping an answer depends on
        self,
        calls: CallLedger,
        knowledge: Knowledge,
        *,
        now: Callable[[], datetime],
        keeps_comments: bool,
        key: Callable[[], bytes],
        client_of: Callable[[str], ClientProfile | None],
    ) -> None:
        self._database = calls.database
        self._calls = calls
        self._knowledge = knowledge
        self._now = now
        self._keeps_comments = keeps_comments
        self._key = key
        self._client_of = client_of
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
        if kept.counts.unknown_cards and self._calls.waiting:
            self._calls.write_waiting(insists=True)
            self.settle()
        self._count(kept.counts)
        return kept

    def settle(self) -> int:
        """Place answers that were kept before the call they answer; return how many.

        None while the ledger cannot be used.  What is never placed is about an unknown card.
        """
        if not self._database.is_writable:
            return 0
        since = self._now() - _CALL_MAY_COME
        placed = 0
        try:
            # Not on the road by which calls read: what is slow there shows cards that are held.
            found = self._database.write_feedback(lambda connection: unplaced(connection, since))
            for first in range(0, len(found), _MOST_AT_ONCE):
                part = found[first : first + _MOST_AT_ONCE]
                placed += self._database.write_feedback(partial(self._place_all, part))
        except (LedgerLostError, RowRefusedError):
            pass
        return placed

    def _place_all(self, names: Sequence[int], connection: Connection) -> int:
        return sum(self._place(connection, name) for name in names)

    def _place(self, connection: Connection, name: int) -> bool:
        answer = unplaced_answer(connection, name)
        if answer is None:
            return False
        client = self._client_of(answer.client)
        return client is not None and place(connection, answer, client, self._knowledge)

    def _keep_all(
        self, connection: Connection, client: ClientProfile, items: tuple[FeedbackItem, ...]
    ) -> KeptFeedback:
        received = self._now()
        status = FeedbackCounts()
        new = []
        for item in sorted(items, key=_by_card):  # two hosts lock showings in one order
            answer = self._insert(connection, client, item, received)
            if answer is None:
                status = replace(status, repeated=status.repeated + 1)
                continue
            status = replace(status, kept=status.kept + 1)
            new.append(_new_answer(item, self._knowledge))
            if not place(connection, answer, client, self._knowledge):
                status = replace(status, unknown_cards=status.unknown_cards + 1)
        return KeptFeedback(counts=status, new=tuple(new))

    def _insert(
        self, connection: Connection, client: ClientProfile, item: FeedbackItem, received: datetime
    ) -> Answer | None:
        """Return *item* as it is kept now; None if this very item was kept before."""
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
            "is_superseded": False,
        }
        name = connection.execute(_INSERTS[connection.dialect.name], row).scalar()
        if name is None:
            return None
        return Answer(name, *(row[field] for field in Answer._fields[1:]))  # type: ignore[arg-type] # of the row

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


def _by_card(item: FeedbackItem) -> str:
    return item.card.lower()


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
