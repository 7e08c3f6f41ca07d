"""One hook call as the ledger keeps it: plain values, nothing that leads back to a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from cds_service.evaluation.assessment import Verdict


class Outcome(StrEnum):
    """How a call ended."""

    FIRED = "fired"
    """At least one card was shown, or would have been but for silent mode."""
    NOTHING_TO_SAY = "nothing to say"
    NOT_APPLICABLE = "not applicable"
    """No lumbar operation on record, deceased, or not an adult."""
    INSUFFICIENT_DATA = "insufficient data"
    """Required data was not to be had (412), or the only card says that something was not read."""
    SUPPRESSED = "suppressed"
    """Rows were met, and every one of their cards was held back or switched off."""
    ERROR = "error"


class State(StrEnum):
    """What became of a card whose row was met."""

    SHOWN = "shown"
    SILENT = "silent"
    """Evaluated and recorded, not shown."""
    HELD_BACK = "held back"
    SWITCHED_OFF = "switched off"
    CUT = "cut"
    WITHHELD_FROM_ROLE = "withheld from role"


class Why(StrEnum):
    """Why a card was not shown."""

    OVERRIDDEN = "overridden"
    """A user set it aside earlier."""
    ACCEPTED = "accepted"
    """A user accepted it earlier; it waits for its order, or comes back later."""
    SHOWN_LATELY = "shown lately"
    """A reminder that was shown on an earlier day."""
    INPATIENT = "inpatient"
    """A reminder for visits, during a stay in hospital."""
    EMERGENCY = "emergency"
    """An emergency stands alone."""
    HOSPICE = "hospice"
    SILENT_CARD = "silent card"
    SILENT_PATIENT = "silent patient"
    SITE = "site"
    """The site has switched the card off."""
    CAP = "cap"
    """More cards than the site wants at once."""
    ROLE = "role"


class Scope(StrEnum):
    """What a snooze holds on to."""

    OPERATION = "operation"
    """The rule, for this index operation."""
    CARD = "card"
    """The card's uuid: the facts behind it."""


class Showing(msgspec.Struct, frozen=True, kw_only=True):
    """One card of a call, shown or not.

    ``operation`` is a keyed hash; ``suggestions`` maps suggestion uuids to order ids.
    """

    card: str
    card_uuid: str
    indicator: str
    state: State
    why: Why | None = None
    operation: str | None = None
    suggestions: Mapping[str, tuple[str, ...]] = {}


class ReasonedRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of the decision table: what it answered and why, by references only."""

    card: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    held_by: str | None = None
    unread: tuple[str, ...] = ()
    is_order_withheld: bool = False
    evidence: tuple[str, ...] = ()
    """References such as ``Procedure/1``, never to the Patient."""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One hook call.

    Units:
        ``received_at`` in milliseconds since 1970; ``total_ms`` and ``steps_ms`` in milliseconds.
    """

    client: str
    service: str
    received_at: int
    outcome: Outcome
    http_status: int
    knowledge_version: str
    knowledge_digest: str
    total_ms: float
    steps_ms: Mapping[str, float] = {}
    hook_instance: str | None = None
    role: str | None = None
    patient: str | None = None
    error: str | None = None
    is_silent: bool = False
    unread: Mapping[str, str] = {}
    set_aside: Mapping[str, int] = {}
    unmapped: tuple[str, ...] = ()
    faulty_rules: tuple[str, ...] = ()
    reasoning: tuple[ReasonedRow, ...] = ()
    showings: tuple[Showing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCounts:
    """How keeping calls goes, counted since this process began."""

    kept: int = 0
    lost: int = 0
    """Not in the ledger and never will be."""
    snoozes_unread: int = 0
    """Calls whose cards were shown although it could not be read what holds them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackCounts:
    """How keeping feedback goes, in items since this process began."""

    kept: int = 0
    repeated: int = 0
    unknown_cards: int = 0
    refused: int = 0
    """Answered with 503 because they could not be committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnswer:
    """An item of feedback that was not kept before."""

    outcome: str
    reason: str | None
    """Our override reason."""
    has_reason: bool
    """Whether any reason was sent, known to us or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFeedback:
    """What became of the items of one call."""

    counts: FeedbackCounts
    new: tuple[NewAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatus:
    """How the ledger of this process is: for health and metrics.

    ``waiting`` is how many calls wait in memory to be written.
    """

    is_writable: bool
    is_readable: bool
    """Whether snoozes can be read; if not, every card is shown."""
    waiting: int
    calls: CallCounts
    feedback: FeedbackCounts


def milliseconds(moment: datetime) -> int:
    """Return *moment* in milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
