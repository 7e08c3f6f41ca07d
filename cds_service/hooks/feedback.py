"""What users did with the cards: the feedback endpoint's body, item by item.

Good items are kept although others of the same call are refused; a refused item is named by its
place (``feedback[2]``), never by its content.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from cds_service.errors import RequestError
from cds_service.hooks.strict_json import parse_json
from cds_service.hooks.validation import Fault, first_fault, packaged_validator

SCHEMA_FILE = "feedback-item.schema.json"
MAX_ITEMS = 1000
"""How many items one call may carry."""

_YEARS = range(1970, 2200)
_LEAP_SECOND = re.compile(r"(.{16}):60(?:\.[0-9]+)?(Z|[+-].{5})")
_EPIC_REASON = "com.epic.cdshooks.feedback.overrideReason.reasonCategory"


class CardOutcome(Enum):
    """What the user did with a card."""

    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackItem:
    """One user's answer to one card.

    ``reason_system`` and ``reason_code`` are the override reason as sent (Epic's extension form has
    a code only).  ``user_comment`` is free text of a clinician: it may name a patient and is never
    logged.
    """

    card: str
    outcome: CardOutcome
    acted_at: datetime
    accepted_suggestions: tuple[str, ...] = ()
    reason_system: str | None = None
    reason_code: str | None = None
    user_comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """The items of one call that can be kept, and the faults of those that cannot."""

    items: tuple[FeedbackItem, ...]
    refused: tuple[Fault, ...]


def parse_feedback(
    body: bytes, reason_fields: Collection[str] = ("overrideReason", "overrideReasons")
) -> Feedback:
    """Read the body of a feedback call; a reason may stand in any of *reason_fields*.

    Raises:
        RequestError: The body is not strict JSON, or has no array ``feedback``.
    """
    sent = parse_json(body)
    items = sent.get("feedback") if isinstance(sent, dict) else None
    if not isinstance(items, list):
        raise RequestError(
            "$.feedback: an array of feedback items is expected here. Send an object "
            'with "feedback": [...].',
            path="$.feedback",
        )
    if len(items) > MAX_ITEMS:
        raise RequestError(
            f"$.feedback: more than {MAX_ITEMS} items are in one call. Send them in several calls.",
            path="$.feedback",
        )
    read = [
        _read_item(item, f"feedback[{place}]", reason_fields) for place, item in enumerate(items)
    ]
    return Feedback(
        items=tuple(item for item in read if isinstance(item, FeedbackItem)),
        refused=tuple(item for item in read if isinstance(item, Fault)),
    )


def _read_item(sent: object, place: str, reason_fields: Collection[str]) -> FeedbackItem | Fault:
    fault = first_fault(packaged_validator(SCHEMA_FILE), sent, root=place)
    if fault is not None:
        return Fault(path=place, message=fault.message)
    item = sent if isinstance(sent, dict) else {}
    acted_at = _moment(str(item["outcomeTimestamp"]).upper())
    if acted_at is None or acted_at.year not in _YEARS:
        return Fault(
            path=place,
            message=f"{place}.outcomeTimestamp: this is not a time at which a user can have acted. "
            "Send the time of the action as in RFC 3339, in UTC, for example 2026-01-31T09:30:00Z.",
        )
    found = (item.get(name) for name in sorted(reason_fields))
    override: Mapping[str, object] = next((value for value in found if value), {})
    system, code = _reason(override)
    comment = override.get("userComment")
    return FeedbackItem(
        card=item["card"],
        outcome=CardOutcome(item["outcome"]),
        acted_at=acted_at,
        accepted_suggestions=tuple(
            suggestion["id"] for suggestion in item.get("acceptedSuggestions") or ()
        ),
        reason_system=system,
        reason_code=code,
        user_comment=comment if isinstance(comment, str) else None,
    )


def _moment(text: str) -> datetime | None:
    """Return the moment of an RFC 3339 time in capitals, or None if there is no such moment.

    Time:
        To the microsecond; a leap second counts as the last microsecond of its minute.
    """
    leap = _LEAP_SECOND.fullmatch(text)
    try:
        moment = datetime.fromisoformat(text if leap is None else f"{leap[1]}:59.999999{leap[2]}")
    except ValueError:
        return None
    in_utc = moment.astimezone(UTC) if moment.year in _YEARS else moment
    is_last_minute = (in_utc.hour, in_utc.minute) == (23, 59)
    return moment if leap is None or is_last_minute else None


def _reason(override: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return system and code of the chosen reason, from the coding or from Epic's extension."""
    coding = override.get("reason")
    if isinstance(coding, dict):
        system = coding.get("system")
        return (system if isinstance(system, str) else None, str(coding["code"]))
    extension = override.get("extension")
    epic = extension.get(_EPIC_REASON) if isinstance(extension, dict) else None
    return (None, epic[:256] if isinstance(epic, str) else None)
