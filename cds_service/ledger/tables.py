"""The tables of the ledger, as SQLAlchemy writes and reads them.

Moments are milliseconds since 1970 in UTC, days are local calendar days, and texts that hold JSON
say so.  A patient appears only as a keyed hash; no name, date or value of a chart is in any column.
``migrations`` makes these tables; a test proves that both agree.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

METADATA = MetaData()
_COUNTED = BigInteger().with_variant(Integer, "sqlite")

CALL = Table(
    "call",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("hook_instance", String(36)),  # null: refused before it was read
    Column("client", String(64), nullable=False),
    Column("service", String(64), nullable=False),
    Column("role", String(64)),
    Column("received_at", BigInteger, nullable=False),
    Column("patient", String(64)),  # null: refused before it was read
    Column("outcome", String(32), nullable=False),  # records.Outcome
    Column("http_status", SmallInteger, nullable=False),
    Column("error", String(64)),  # the kind of a refusal or fault
    Column("is_silent", Boolean, nullable=False),  # this patient's cards are not shown
    Column("knowledge_version", String(64), nullable=False),
    Column("knowledge_digest", String(64), nullable=False),
    Column("total_ms", Float, nullable=False),
    Column("steps_ms", Text, nullable=False),  # JSON: step to milliseconds
    Column("unread", Text),  # JSON: prefetch key to why it was not, or not wholly, read
    Column("set_aside", Text),  # JSON: reason to number of entries
    Column("unmapped", Text),  # JSON: list of "system|code" no value set knows, at most 20
    Column("faulty_rules", Text),  # JSON: list of card ids
    Column("reasoning", Text),  # JSON: list of records.ReasonedRow
    Index("call_received_at", "received_at"),
    Index("call_hook_instance", "hook_instance"),
)
"""One row for each hook call of a known client; ids ascend with time."""

SHOWING = Table(
    "showing",
    METADATA,
    Column("call_id", BigInteger, primary_key=True, autoincrement=False),
    Column("card", String(32), primary_key=True),  # the rule's id, "IMG-MRI-NR"
    Column("card_uuid", String(36), nullable=False),
    Column("indicator", String(16), nullable=False),
    Column("state", String(32), nullable=False),  # records.State
    Column("why", String(32)),  # records.Why; null when shown
    Column("operation", String(64)),  # keyed hash of the index operation
    Column("suggestions", Text),  # JSON: suggestion uuid to order ids
    Index("showing_card_uuid", "card_uuid"),
)
"""One row for each card of a call, shown or not; the rule's version is the call's knowledge."""

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("id", _COUNTED, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # keyed hash of the whole item
    Column("client", String(64), nullable=False),
    Column("card_uuid", String(256), nullable=False),  # as sent
    Column("outcome", String(16), nullable=False),  # accepted, overridden
    Column("acted_at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("reason_system", String(1024)),  # as sent
    Column("reason_code", String(256)),  # as sent
    Column("reason", String(64)),  # our override reason; null: none, or one we do not know
    Column("accepted", Text),  # JSON: list of suggestion uuids
    Column("comment", Text),  # a clinician's free text, where the site keeps it
    Column("call_id", BigInteger),  # with ``card`` the showing; null: no such card was shown
    Column("card", String(32)),
    Column("is_superseded", Boolean, nullable=False),  # a later answer to the same showing counts
    Index("feedback_card_uuid", "card_uuid"),
    Index("feedback_received_at", "received_at"),
    Index("feedback_call_id", "call_id"),
)
"""One row for each item of feedback that was kept; a repeated item is one row."""

SNOOZE = Table(
    "snooze",
    METADATA,
    Column("id", _COUNTED, primary_key=True),
    Column("client", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("card", String(32), nullable=False),
    Column("scope", String(16), nullable=False),  # records.Scope
    Column("scope_key", String(64), nullable=False),  # hash of the operation, or the card's uuid
    Column("until", Date, nullable=False),  # the first day on which the card may show again
    Column("reason", String(64), nullable=False),  # our override reason, "accepted", "no reason"
    Column("feedback_id", BigInteger, nullable=False),
    Index("snooze_patient", "patient"),
    Index("snooze_until", "until"),
)
"""What holds a card back for one patient; rows are removed when their time is over."""
