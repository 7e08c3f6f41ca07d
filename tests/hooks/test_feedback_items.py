"""Feedback as EHRs really send it, item by item."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError

from cds_service.errors import RequestError
from cds_service.hooks import validation
from cds_service.hooks.feedback import MAX_ITEMS, CardOutcome, Feedback, parse_feedback

CANARY = "CanaryShaw"
ACCEPTED: dict[str, Any] = {
    "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
    "outcome": "accepted",
    "acceptedSuggestions": [{"id": "e56e1945-20b3-4393-8503-a1a20fd73152"}],
    "outcomeTimestamp": "2026-11-20T21:38:11.454Z",
}
OVERRIDDEN: dict[str, Any] = {
    "card": "123456",
    "outcome": "overridden",
    "outcomeTimestamp": "1985-04-12T23:20:50.52Z",
}


def _parse(*items: object) -> Feedback:
    return parse_feedback(json.dumps({"feedback": list(items)}).encode())


def test_accepted_card_is_kept_with_its_suggestions() -> None:
    """The form of the CDS Hooks Sandbox is read whole."""
    [item] = _parse(ACCEPTED).items
    assert item.outcome is CardOutcome.ACCEPTED
    assert item.accepted_suggestions == ("e56e1945-20b3-4393-8503-a1a20fd73152",)
    assert item.acted_at == datetime(2026, 11, 20, 21, 38, 11, 454_000, tzinfo=UTC)


MOMENTS = {
    "2016-12-31T23:59:60Z": datetime(2016, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "1990-12-31t15:59:60.25-08:00": datetime(1990, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "2026-11-21T10:00:00.1234567890123Z": datetime(2026, 11, 21, 10, 0, 0, 123_456, tzinfo=UTC),
    "2026-11-21T10:00:00.12345678901234567890+02:00": datetime(
        2026, 11, 21, 8, 0, 0, 123_456, tzinfo=UTC
    ),
}


@pytest.mark.parametrize(("sent", "moment"), MOMENTS.items(), ids=MOMENTS.keys())
def test_every_time_of_rfc_3339_is_read(sent: str, moment: datetime) -> None:
    """A leap second and a clock with many digits are times at which a user acts."""
    [item] = _parse({**OVERRIDDEN, "outcomeTimestamp": sent}).items
    assert item.acted_at == moment


@pytest.mark.parametrize(
    "sent", ["2026-11-21T10:30:60Z", "2026-11-21T23:59:61Z", "2026-11-21T23:59:60+02:00"]
)
def test_second_that_no_minute_has_is_refused(sent: str) -> None:
    """Leap seconds end a day in UTC; any other sixtieth second is a fault of the sender."""
    assert not _parse({**OVERRIDDEN, "outcomeTimestamp": sent}).items


REASONS: dict[str, tuple[dict[str, Any], tuple[str | None, str | None]]] = {
    "no reason": ({}, (None, None)),
    "coding": (
        {"overrideReason": {"reason": {"code": "already-planned", "system": "urn:x"}}},
        ("urn:x", "already-planned"),
    ),
    "coding without system": (
        {"overrideReason": {"reason": {"code": "already-planned"}}},
        (None, "already-planned"),
    ),
    "an unknown code of the site": (
        {"overrideReason": {"reason": {"code": "our-own-7", "system": "urn:site"}}},
        ("urn:site", "our-own-7"),
    ),
    "comment only": ({"overrideReason": {"userComment": CANARY}}, (None, None)),
    "Epic's plural with a coding": (
        {
            "overrideReasons": {
                "reason": {"code": "d7", "display": "Later", "system": "urn:epic"},
                "userComment": CANARY,
            }
        },
        ("urn:epic", "d7"),
    ),
    "Epic's plural with extensions": (
        {
            "overrideReasons": {
                "extension": {
                    "com.epic.cdshooks.feedback.overrideReason.reasonCategory": "3",
                    "com.epic.cdshooks.feedback.overrideReason.reasonDisplay": "Later",
                }
            }
        },
        (None, "3"),
    ),
}


@pytest.mark.parametrize(("more", "reason"), REASONS.values(), ids=REASONS.keys())
def test_overridden_card_is_kept_with_its_reason(
    more: dict[str, Any], reason: tuple[str | None, str | None]
) -> None:
    """Every form of a reason is read; a missing one is fine."""
    [item] = _parse({**OVERRIDDEN, **more}).items
    assert (item.reason_system, item.reason_code) == reason


def test_comment_is_kept_but_never_shown() -> None:
    """What a clinician wrote may name a patient, so no text form holds it."""
    [item] = _parse({**OVERRIDDEN, "overrideReason": {"userComment": CANARY}}).items
    assert item.user_comment == CANARY
    assert CANARY not in repr(item)


REFUSED: dict[str, object] = {
    "not an object": CANARY,
    "no card": {key: value for key, value in ACCEPTED.items() if key != "card"},
    "empty card": {**ACCEPTED, "card": ""},
    "unknown outcome": {**ACCEPTED, "outcome": CANARY},
    "outcome missing": {key: value for key, value in ACCEPTED.items() if key != "outcome"},
    "no time": {key: value for key, value in ACCEPTED.items() if key != "outcomeTimestamp"},
    "time without zone": {**ACCEPTED, "outcomeTimestamp": "2026-11-20T21:38:11"},
    "time not of the calendar": {**ACCEPTED, "outcomeTimestamp": "2026-02-30T21:38:11Z"},
    "time before computers": {**ACCEPTED, "outcomeTimestamp": "0001-01-01T00:00:00+14:00"},
    "time nobody lives to see": {**ACCEPTED, "outcomeTimestamp": "2200-01-01T00:00:00Z"},
    "accepted without suggestions": {
        key: value for key, value in ACCEPTED.items() if key != "acceptedSuggestions"
    },
    "accepted with no suggestion": {**ACCEPTED, "acceptedSuggestions": []},
    "suggestion without id": {**ACCEPTED, "acceptedSuggestions": [{"uuid": CANARY}]},
    "suggestion a string": {**ACCEPTED, "acceptedSuggestions": [CANARY]},
    "empty reason": {**OVERRIDDEN, "overrideReason": {}},
    "reason a string": {**OVERRIDDEN, "overrideReason": CANARY},
    "reason without code": {**OVERRIDDEN, "overrideReason": {"reason": {"display": CANARY}}},
    "comment a list": {**OVERRIDDEN, "overrideReason": {"userComment": [CANARY]}},
}


@pytest.mark.parametrize("item", REFUSED.values(), ids=REFUSED.keys())
def test_item_is_refused_by_its_place_while_others_are_kept(item: object) -> None:
    """One bad item is named by its place, never by its content, and costs no other item."""
    feedback = _parse(ACCEPTED, item, OVERRIDDEN)
    assert [kept.card for kept in feedback.items] == [ACCEPTED["card"], OVERRIDDEN["card"]]
    [fault] = feedback.refused
    assert fault.path == "feedback[1]"
    assert fault.message.startswith("feedback[1]")
    assert CANARY not in fault.message


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"feedback": {}}', b'{"feedback": null}', b"7"])
def test_call_is_refused_when_it_has_no_array_of_feedback(body: bytes) -> None:
    """Without the array there is nothing to keep."""
    with pytest.raises(RequestError) as refusal:
        parse_feedback(body)
    assert refusal.value.path == "$.feedback"


def test_call_is_refused_when_it_has_too_many_items() -> None:
    """A flood in one call is refused as a whole."""
    with pytest.raises(RequestError, match="more than"):
        _parse(*[OVERRIDDEN] * (MAX_ITEMS + 1))


@pytest.mark.parametrize("suggestions", [[5] * 101, [{"id": "a"}] * 101])
def test_too_many_suggestions_are_one_fault(suggestions: list[object]) -> None:
    """Nobody looks through half a megabyte of them; the first thing wrong is their number."""
    feedback = _parse({**ACCEPTED, "acceptedSuggestions": suggestions})
    [fault] = feedback.refused
    assert "acceptedSuggestions: has more than 100 entries" in fault.message


@pytest.mark.parametrize(("longest", "looked_at"), [(1000, 100), (999, 1)])
def test_of_a_thousand_faults_a_hundred_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, longest: int, looked_at: int
) -> None:
    """Each costs more to word than an item costs to read; of a list too long none is looked at."""
    worded: list[object] = []
    word = validation._fault

    def count(error: ValidationError, root: str) -> validation.Fault:
        worded.append(error)
        return word(error, root)

    monkeypatch.setattr(validation, "_fault", count)
    schema = Draft7Validator(
        {
            "description": "Send words.",
            "maxItems": longest,
            "items": {"type": "string", "description": "Send a word."},
        }
    )
    fault = validation.first_fault(schema, [5] * 1000)
    assert fault is not None
    assert fault.path == ("$[0]" if looked_at > 1 else "$")
    assert len(worded) == looked_at


def test_call_with_an_empty_array_keeps_nothing_and_refuses_nothing() -> None:
    """An empty array is a valid, if idle, call."""
    assert _parse() == Feedback(items=(), refused=())


def test_reason_is_looked_for_only_where_the_client_puts_it() -> None:
    """A field that a client's profile does not name is an unknown field; the item is kept."""
    item = {**OVERRIDDEN, "overrideReasons": {"reason": {"code": "d7", "system": "urn:epic"}}}
    body = json.dumps({"feedback": [item]}).encode()
    [epic] = parse_feedback(body, ("overrideReason", "overrideReasons")).items
    [strict] = parse_feedback(body, ("overrideReason",)).items
    assert (epic.reason_code, strict.reason_code) == ("d7", None)
