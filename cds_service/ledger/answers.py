"""What an answer of a user means for later calls: to which showing it belongs, and what it holds.

An answer belongs to the latest showing of its card not later than the answer.  Of several answers
to one showing the latest counts, and an acceptance before an override of the same moment.  No
answer counts as given later than we heard of it: a client's clock may be ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from cds_service.hooks.feedback import CardOutcome
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.calls import first_id
from cds_service.ledger.records import Scope, State, milliseconds
from cds_service.ledger.snoozes import ACCEPTED, last_day, term_of
from cds_service.ledger.tables import CALL, FEEDBACK, SHOWING, SNOOZE
from cds_service.trust.profile import ClientProfile

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
_PLACE = (
    update(FEEDBACK)
    .where(FEEDBACK.c.id == bindparam("name"))
    .values(call_id=bindparam("call"), card=bindparam("card_id"))
)
_SHOWN_SINCE = (
    select(SHOWING.c.call_id)
    .join(CALL, CALL.c.id == SHOWING.c.call_id)
    .where(
        SHOWING.c.card_uuid == func.lower(FEEDBACK.c.card_uuid),
        SHOWING.c.state == State.SHOWN.value,
        CALL.c.client == FEEDBACK.c.client,
    )
    .limit(1)
    .scalar_subquery()
)
"""Looked up for each answer: as a join PostgreSQL may read every showing there is."""
_UNPLACED = (
    select(FEEDBACK.c.id)
    .where(
        FEEDBACK.c.received_at >= bindparam("since"),
        FEEDBACK.c.call_id.is_(None),
        _SHOWN_SINCE.is_not(None),
    )
    .order_by(func.lower(FEEDBACK.c.card_uuid), FEEDBACK.c.id)
)
_UNPLACED_ANSWER = (
    select(
        FEEDBACK.c.id,
        FEEDBACK.c.client,
        FEEDBACK.c.card_uuid,
        FEEDBACK.c.outcome,
        FEEDBACK.c.acted_at,
        FEEDBACK.c.received_at,
        FEEDBACK.c.reason,
    )
    .where(FEEDBACK.c.id == bindparam("name"), FEEDBACK.c.call_id.is_(None))
    .with_for_update(skip_locked=True)
)
"""Another process may be placing the same one: it is done once."""


class Answer(NamedTuple):
    """An answer that is kept; ``reason`` is our override reason, moments are milliseconds."""

    id: int
    client: str
    card_uuid: str
    outcome: str
    acted_at: int
    received_at: int
    reason: str | None


class _Shown(NamedTuple):
    """A showing as an answer needs it."""

    call_id: int
    card: str
    operation: str | None
    patient: str | None


def unplaced(connection: Connection, since: datetime) -> Sequence[int]:
    """Return the ids of answers from *since* on without a showing, whose card was shown."""
    return connection.execute(_UNPLACED, {"since": milliseconds(since)}).scalars().all()


def unplaced_answer(connection: Connection, name: int) -> Answer | None:
    """Return answer *name* for whoever places it; None if that is done, or being done."""
    row = connection.execute(_UNPLACED_ANSWER, {"name": name}).first()
    return None if row is None else Answer(*row)


def place(
    connection: Connection, answer: Answer, client: ClientProfile, knowledge: Knowledge
) -> bool:
    """Give *answer* to the showing it belongs to, and hold the card back if it asks for that.

    Returns:
        Whether there is such a showing.
    """
    showing = _showing(connection, client, answer)
    if showing is None:
        return False
    placed = {"name": answer.id, "call": showing.call_id, "card_id": showing.card}
    connection.execute(_PLACE, placed)
    if _is_the_one_that_counts(connection, answer, showing):
        _hold_back(connection, answer, showing, client, knowledge)
    return True


def _showing(connection: Connection, client: ClientProfile, answer: Answer) -> _Shown | None:
    """Return the showing that *answer* is about; the client's clock may be behind ours, or ahead.

    Time:
        The latest not later than the action; of an action before all of them, the first.
    """
    asked = {"card_uuid": answer.card_uuid.lower(), "client": client.id}
    skew = client.clock_skew_seconds * 1000
    for statement, moment in (
        (_LATEST_SHOWING, min(answer.acted_at, answer.received_at)),
        (_FIRST_SHOWING, answer.received_at),
    ):
        before = first_id(moment + skew + 1)
        row = connection.execute(statement, {**asked, "before": before}).first()
        if row is not None:
            return _Shown(*row)
    return None


def _is_the_one_that_counts(connection: Connection, answer: Answer, showing: _Shown) -> bool:
    """Whether *answer* is the one that counts for *showing*; the others are superseded."""
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
    return bool(counts.id == answer.id)


def _hold_back(
    connection: Connection,
    answer: Answer,
    showing: _Shown,
    client: ClientProfile,
    knowledge: Knowledge,
) -> None:
    reason = ACCEPTED if answer.outcome == CardOutcome.ACCEPTED.value else answer.reason
    term = term_of(showing.card, reason, knowledge)
    key = answer.card_uuid.lower() if term and term.scope is Scope.CARD else showing.operation
    if term is None or key is None or showing.patient is None:
        return
    acted_on, received_on = (
        datetime.fromtimestamp(at / 1000, UTC).astimezone(client.time_zone).date()
        for at in (answer.acted_at, answer.received_at)
    )
    row = {
        "client": client.id,
        "patient": showing.patient,
        "card": showing.card,
        "scope": term.scope.value,
        "scope_key": key,
        "until": last_day(acted_on, received_on, term.days),
        "reason": term.reason,
        "feedback_id": answer.id,
    }
    connection.execute(insert(SNOOZE), row)
