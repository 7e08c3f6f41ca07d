"""Feedback is kept once, belongs to the right showing, and an acknowledged item is never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from cds_service.hooks.feedback import CardOutcome, FeedbackItem, parse_feedback
from cds_service.ledger.records import FeedbackCounts
from cds_service.ledger.tables import CALL, FEEDBACK, SNOOZE
from cds_service.trust.profile import dev_profile
from tests.ledger.clinic import MORNING, SERVICE, Clinic, card_id, new_uuid

EPIC = "com.epic.cdshooks.feedback.overrideReason.reasonCategory"


def test_override_is_kept_with_its_reason_and_its_showing(clinic: Clinic) -> None:
    """The reason as sent, ours, and the card it answers are in one row."""
    card = clinic.open()[0]
    clinic.override(card, "already-planned")
    [row] = clinic.rows(FEEDBACK)
    assert (row["outcome"], row["reason_code"], row["reason"]) == (
        "overridden",
        "already-planned",
        "already-planned",
    )
    assert row["card"] == card_id(card)
    assert row["call_id"]


@pytest.mark.parametrize(
    ("override", "ours"),
    [
        ({"overrideReason": {"reason": {"code": "patient-refuses"}}}, "patient-declined"),
        (
            {
                "overrideReason": {
                    "reason": {
                        "system": "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes",
                        "code": "action-completed",
                    }
                }
            },
            "done-elsewhere",
        ),
        ({"overrideReasons": {"extension": {EPIC: "contraindicated"}}}, "contraindicated"),
        ({"overrideReason": {"reason": {"system": "urn:site", "code": "x-7"}}}, None),
        (
            {
                "overrideReason": {
                    "reason": {"system": "http://other.system", "code": "already-planned"}
                }
            },
            None,
        ),
        (
            {"overrideReason": {"reason": {"system": "urn:site", "code": "action-completed"}}},
            None,
        ),
        ({"overrideReason": {"userComment": "seen last week"}}, None),
        ({}, None),
    ],
    ids=[
        "3.0 code",
        "3.0 coding",
        "Epic",
        "site's own code",
        "our code of another system",
        "3.0 code of another system",
        "comment only",
        "nothing",
    ],
)
def test_reason_is_read_in_every_shape(
    clinic: Clinic, override: dict[str, Any], ours: str | None
) -> None:
    """Our codes, those of CDS Hooks 3.0 and Epic's extension are understood; others are kept."""
    [card, *_] = clinic.open()
    assert clinic.send(clinic.item(card, "overridden", **override)).status_code == 200
    [row] = clinic.rows(FEEDBACK)
    assert row["reason"] == ours


def test_repeated_item_is_kept_once(clinic: Clinic) -> None:
    """An EHR that sends the same item again, alone or in one batch, changes nothing."""
    card = clinic.open()[0]
    item = clinic.override(card, "already-planned")
    assert clinic.send(item, item).get_json() == {}
    assert len(clinic.rows(FEEDBACK)) == 1
    assert clinic.ledger.status.feedback.repeated == 2


def test_items_that_differ_in_one_part_are_different_answers(clinic: Clinic) -> None:
    """Who corrects the reason, or answers in the same moment as another, sends no repetition."""
    item = FeedbackItem(
        card=clinic.open()[0]["uuid"], outcome=CardOutcome.OVERRIDDEN, acted_at=MORNING
    )
    others = (
        replace(item, accepted_suggestions=("a",)),
        replace(item, reason_system="urn:a"),
        replace(item, reason_code="a"),
        replace(item, user_comment="a"),
    )
    keep, site = clinic.ledger.feedback.keep, dev_profile()
    assert len(keep(site, (item, *others)).new) == 5
    assert [row["is_superseded"] for row in clinic.rows(FEEDBACK)] == [True] * 4 + [False]
    accepted = replace(item, outcome=CardOutcome.ACCEPTED)
    assert keep(site, (*others, accepted)).counts == FeedbackCounts(kept=1, repeated=4)
    assert keep(replace(site, id="another-hospital"), (item,)).counts.kept == 1
    counts = FeedbackCounts(kept=7, repeated=4, unknown_cards=1)
    assert clinic.ledger.status.feedback == counts


def test_batches_about_the_same_cards_are_kept_in_one_order(clinic: Clinic) -> None:
    """Two hosts that take theirs in opposite order would wait for each other in PostgreSQL."""
    shown = sorted(card["uuid"] for card in clinic.open())
    assert len(shown) > 1
    for cards in (shown, shown[::-1]):
        clinic.pass_time(minutes=1)
        clinic.send(*(clinic.item({"uuid": card}, "overridden") for card in cards))
    assert [row["card_uuid"] for row in clinic.rows(FEEDBACK)] == shown * 2


def test_unknown_card_is_kept_apart_and_counted(clinic: Clinic) -> None:
    """Feedback about a card nobody was shown is no error, and belongs to no showing."""
    clinic.open()
    unknown = clinic.item({"uuid": new_uuid()}, "overridden")
    assert clinic.send(unknown).get_json() == {}
    [row] = clinic.rows(FEEDBACK)
    assert row["call_id"] is None
    assert row["card"] is None
    assert clinic.ledger.status.feedback.unknown_cards == 1
    assert clinic.rows(SNOOZE) == []


def test_bad_items_are_refused_by_their_place_and_good_ones_kept(clinic: Clinic) -> None:
    """One call with good and bad items keeps the good ones and names the others."""
    card = clinic.open()[0]
    good = clinic.item(card, "overridden")
    answer = clinic.send(good, {"card": 7}, {**good, "outcome": "ignored"})
    assert answer.status_code == 200
    places = [issue["expression"] for issue in answer.get_json()["issue"]]
    assert places == [["feedback[1]"], ["feedback[2]"]]
    assert len(clinic.rows(FEEDBACK)) == 1
    assert clinic.send({"card": 7}).status_code == 400


def test_acceptance_after_an_override_counts_and_the_override_is_superseded(clinic: Clinic) -> None:
    """A user who first sets a card aside and then accepts it has accepted it."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    clinic.override(card, "patient-declined")
    clinic.pass_time(minutes=3)
    clinic.accept(card)
    answers = {row["outcome"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"overridden": True, "accepted": False}
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["accepted"]


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Collect what is sent to any database."""
    sent: list[str] = []

    def note(*called: Any) -> None:  # noqa: ANN401 - SQLAlchemy's arguments
        sent.append(called[2])

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


def test_thirtieth_answer_to_a_card_costs_no_more_than_the_third(
    clinic: Clinic, statements: list[str]
) -> None:
    """A batch of a thousand held the ledger for half a minute, and the EHR had no answer."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    costs = []
    for _ in range(30):
        clinic.pass_time(seconds=1)
        statements.clear()
        clinic.override(card, "patient-declined")
        costs.append(len(statements))
    assert costs[29] == costs[2] > 0
    assert [row["is_superseded"] for row in clinic.rows(FEEDBACK)] == [True] * 29 + [False]
    assert len(clinic.rows(SNOOZE)) == 1


def test_override_after_an_acceptance_counts(clinic: Clinic) -> None:
    """Who has accepted and then thought better of it is not taken for one who waits."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    clinic.accept(card)
    clinic.pass_time(minutes=3)
    clinic.override(card, "patient-declined")
    answers = {row["outcome"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"accepted": True, "overridden": False}
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["patient-declined"]


def test_acceptance_of_the_same_moment_counts_whichever_came_first(clinic: Clinic) -> None:
    """Two users, one moment: the one who ordered is believed, though the other was heard last."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    clinic.accept(card)
    clinic.override(card, "patient-declined")
    answers = {row["outcome"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"overridden": True, "accepted": False}
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["accepted"]


def test_another_client_cannot_answer_for_the_one_who_was_shown_the_card(clinic: Clinic) -> None:
    """A card id that reached another hospital changes neither the card nor its numbers there."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    clinic.accept(card)
    clinic.pass_time(minutes=3)
    item = clinic.item(card, "overridden")
    feedback = parse_feedback(json.dumps({"feedback": [item]}).encode(), frozenset())
    other = replace(dev_profile(), id="another-hospital")
    kept = clinic.ledger.feedback.keep(other, feedback.items)
    assert kept.counts.unknown_cards == 1
    answers = {row["client"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"dev": False, "another-hospital": False}
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["accepted"]


def test_override_that_arrives_late_does_not_undo_a_later_acceptance(clinic: Clinic) -> None:
    """What counts is when the user acted, not when we heard of it."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    early = clinic.item(card, "overridden")
    clinic.pass_time(minutes=3)
    clinic.accept(card)
    clinic.pass_time(days=1)
    assert clinic.send(early).status_code == 200
    answers = {row["outcome"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"overridden": True, "accepted": False}
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["accepted"]


@pytest.mark.parametrize("year", [2039, 2040, 2199])
def test_clock_that_is_years_ahead_spoils_neither_the_batch_nor_the_ledger(
    clinic: Clinic, year: int
) -> None:
    """The item answers the last showing, the others of its batch are kept, and calls go on."""
    first, second, *_ = clinic.open()
    ahead = {**clinic.item(first, "overridden"), "outcomeTimestamp": f"{year}-12-31T00:00:00Z"}
    assert clinic.send(ahead, clinic.item(second, "overridden")).get_json() == {}
    assert all(row["call_id"] for row in clinic.rows(FEEDBACK))
    assert clinic.ledger.status.is_writable


def test_answer_from_a_clock_that_is_ahead_does_not_outlive_later_ones(clinic: Clinic) -> None:
    """An answer dated after we heard of it counts as given when we heard of it."""
    card = next(card for card in clinic.open() if card.get("suggestions"))
    item = clinic.item(card, "overridden")
    clinic.send({**item, "outcomeTimestamp": "2031-01-01T00:00:00Z"})
    clinic.pass_time(minutes=3)
    clinic.accept(card)
    answers = {row["outcome"]: row["is_superseded"] for row in clinic.rows(FEEDBACK)}
    assert answers == {"overridden": True, "accepted": False}


def test_answer_belongs_to_the_latest_showing_not_later_than_it(clinic: Clinic) -> None:
    """A card shown on two mornings and answered for the first belongs to the first."""
    card = clinic.open()[0]
    first = clinic.item(card, "overridden")
    clinic.pass_time(days=1)
    again = next(each for each in clinic.open() if each["uuid"] == card["uuid"])
    second = clinic.item(again, "overridden")
    clinic.send(first)
    clinic.send(second)
    calls = [row["call_id"] for row in clinic.rows(FEEDBACK)]
    assert calls[0] < calls[1]


def test_answer_of_a_client_whose_clock_is_behind_finds_its_showing(clinic: Clinic) -> None:
    """Half a minute of difference between two clocks does not make it an answer to an older one."""
    clinic.open()
    clinic.pass_time(hours=1)
    card = clinic.open()[0]
    clinic.pass_time(seconds=-30)
    item = clinic.item(card, "overridden")
    clinic.pass_time(seconds=30)
    clinic.send(item)
    assert clinic.rows(FEEDBACK)[0]["call_id"] == clinic.rows(CALL)[-1]["id"]


def test_answer_dated_before_the_card_was_shown_belongs_to_its_first_showing(
    clinic: Clinic,
) -> None:
    """Who set a card aside on a computer whose clock is slow does not see it again at once."""
    card = clinic.open()[0]
    clinic.pass_time(minutes=-5)
    item = clinic.item(card, "overridden")
    clinic.pass_time(minutes=6)
    clinic.open()
    assert clinic.send(item).get_json() == {}
    assert clinic.rows(FEEDBACK)[0]["call_id"] == clinic.rows(CALL)[0]["id"]
    assert card_id(card) not in clinic.shown()


def test_uuid_in_capitals_is_the_same_card(clinic: Clinic) -> None:
    """Some EHRs write UUIDs in capitals."""
    card = clinic.open()[0]
    clinic.send(clinic.item({"uuid": card["uuid"].upper()}, "overridden"))
    assert clinic.rows(FEEDBACK)[0]["card"] == card_id(card)


def test_odd_text_is_kept_as_far_as_a_database_can(clinic: Clinic) -> None:
    """A NUL in a comment costs the character, not the item."""
    card = clinic.open()[0]
    comment = {"userComment": "a\0b"}
    clinic.send(clinic.item(card, "overridden", overrideReason=comment))
    assert clinic.rows(FEEDBACK)[0]["comment"] == "a\ufffdb"


def test_comments_are_dropped_where_the_site_wants_no_free_text(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keep_comments = false a clinician's words are nowhere on the disk."""
    monkeypatch.setattr(clinic.ledger.feedback, "_keeps_comments", False)
    card = clinic.open()[0]
    clinic.send(clinic.item(card, "overridden", overrideReason={"userComment": "CanaryComment"}))
    assert clinic.rows(FEEDBACK)[0]["comment"] is None


def test_feedback_that_cannot_be_committed_is_refused_and_can_be_sent_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a false success: 503 with Retry-After, and the same item is kept later."""
    from cds_service.ledger.database import LedgerLostError  # noqa: PLC0415 - for this test

    card = clinic.open()[0]
    item = clinic.item(card, "overridden")

    def lost(_: object) -> None:
        raise LedgerLostError

    with monkeypatch.context() as broken:
        broken.setattr(clinic.ledger.database, "write_feedback", lost)
        answer = clinic.client.post(f"{SERVICE}/feedback", json={"feedback": [item]})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert clinic.ledger.status.feedback.refused == 1
    assert clinic.send(item).status_code == 200
    assert len(clinic.rows(FEEDBACK)) == 1
