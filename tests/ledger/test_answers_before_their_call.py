"""Feedback that is kept before the call it answers: it still belongs to that showing."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from cds_service.hooks.feedback import CardOutcome, FeedbackItem
from cds_service.knowledge.model import Knowledge
from cds_service.ledger import feedback as module
from cds_service.ledger import keeping
from cds_service.ledger.answers import unplaced
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.quickly import RowRefusedError
from cds_service.ledger.tables import FEEDBACK, SNOOZE
from cds_service.trust.profile import dev_profile
from tests.changing import replace
from tests.ledger.clinic import MORNING, Clinic, Json, MakeClinic, new_uuid
from tests.locked_file import locked_file


def open_unwritten(clinic: Clinic) -> Json:
    """Open a chart while another program writes to the ledger; return a card with an order."""
    assert clinic.place.file is not None
    clinic.open("resolved")  # its tables are made
    with locked_file(clinic.place.file):
        cards = clinic.open()
    assert clinic.ledger.calls.waiting == 1
    return next(card for card in cards if card.get("suggestions"))


Apart = tuple[Clinic, Clinic, Json]


@pytest.fixture
def apart(new_clinic: MakeClinic) -> Apart:
    """Return a process in which a call waits, another one of the same ledger, and the card."""
    asked, answered = new_clinic(), new_clinic()
    return asked, answered, open_unwritten(asked)


def test_call_that_waits_is_written_with_the_answer_to_it(clinic: Clinic) -> None:
    """The ledger was busy for a moment: the user who declined is not asked again at once."""
    card = open_unwritten(clinic)
    clinic.override(card, "patient-declined")
    assert [row["reason"] for row in clinic.rows(SNOOZE)] == ["patient-declined"]
    assert card["uuid"] not in [each["uuid"] for each in clinic.open()]


def test_answer_kept_by_another_process_finds_its_call_when_that_is_written(
    apart: Apart,
) -> None:
    """The call waits in one process, the answer comes to another one, of this host or not."""
    asked, answered, card = apart
    answered.override(card, "patient-declined")
    assert [row["call_id"] for row in answered.rows(FEEDBACK)] == [None]
    asked.ledger.catch_up()
    [row] = answered.rows(FEEDBACK)
    assert (row["call_id"] is None, row["card"] is None) == (False, False)
    assert [row["reason"] for row in answered.rows(SNOOZE)] == ["patient-declined"]
    assert card["uuid"] not in [each["uuid"] for each in answered.open()]


def test_of_several_such_answers_the_one_that_counts_holds_the_card_back(
    apart: Apart,
) -> None:
    """First declined, then accepted: the acceptance counts, as if both had come in time."""
    asked, answered, card = apart
    answered.override(card, "patient-declined")
    answered.pass_time(minutes=3)
    answered.accept(card)
    asked.ledger.catch_up()
    counts = {row["outcome"]: row["is_superseded"] for row in answered.rows(FEEDBACK)}
    assert counts == {"overridden": True, "accepted": False}
    assert [row["reason"] for row in answered.rows(SNOOZE)] == ["accepted"]


def test_answer_that_crossed_its_call_on_the_way_is_found_within_a_minute(
    apart: Apart,
) -> None:
    """Both were written in the same moment, and neither saw the other: somebody looks later."""
    asked, answered, card = apart
    answered.override(card, "patient-declined")
    asked.ledger.calls.write_waiting(insists=True)
    assert answered.rows(SNOOZE) == []
    assert answered.ledger.feedback.settle() == 1
    assert [row["reason"] for row in answered.rows(SNOOZE)] == ["patient-declined"]
    assert answered.ledger.feedback.settle() == 0


def test_process_looks_for_such_answers_by_itself(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody calls, and nothing waits in the process that kept the answer."""
    asked, answered, card = apart
    answered.override(card, "patient-declined")
    asked.ledger.calls.write_waiting(insists=True)
    rests = iter(range(3))
    monkeypatch.setattr(keeping, "time", SimpleNamespace(sleep=lambda _: next(rests)))
    with pytest.raises(StopIteration):
        answered.ledger._house()
    assert [row["reason"] for row in answered.rows(SNOOZE)] == ["patient-declined"]


def test_only_answers_that_may_be_placed_are_looked_for(apart: Apart) -> None:
    """Thousands about cards nobody was shown, or of another hospital, cost nothing each minute."""
    asked, answered, card = apart
    unknown = answered.item({"uuid": new_uuid()}, "overridden")
    answered.send(unknown)
    answered.override(card, "patient-declined")
    item = FeedbackItem(card=card["uuid"], outcome=CardOutcome.OVERRIDDEN, acted_at=MORNING)
    answered.ledger.feedback.keep(replace(dev_profile(), id="another-hospital"), (item,))
    asked.ledger.calls.write_waiting(insists=True)

    def found(days: int) -> int:
        since = MORNING + timedelta(days=days)
        return len(answered.ledger.database.write_feedback(lambda each: unplaced(each, since)))

    assert [found(0), found(1)] == [1, 0]
    assert answered.ledger.feedback.settle() == 1
    assert found(0) == 0


def test_answer_that_cannot_be_placed_now_leaves_the_ledger_in_order(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is taken out, the ledger is lost, or another process is quicker with it."""
    asked, answered, card = apart
    answered.override(card, "patient-declined")
    asked.ledger.calls.write_waiting(insists=True)
    feedback, database = answered.ledger.feedback, answered.ledger.database
    with monkeypatch.context() as changed:
        changed.setattr(feedback, "_client_of", lambda _: None)
        assert feedback.settle() == 0
    with monkeypatch.context() as changed:  # the one place to try is for users meanwhile
        changed.setattr(Database, "is_writable", property(lambda _: False))
        changed.setattr(database, "write_feedback", pytest.fail)
        assert feedback.settle() == 0
    for error in (LedgerLostError, RowRefusedError):

        def fails(_: object, error: type[Exception] = error) -> None:
            raise error

        with monkeypatch.context() as changed:
            changed.setattr(database, "write_feedback", fails)
            assert feedback.settle() == 0
    with monkeypatch.context() as changed:
        changed.setattr(module, "unplaced", lambda *asked: [*unplaced(*asked)] * 2)
        assert feedback.settle() == 1
    assert database.is_writable
    assert len(answered.rows(SNOOZE)) == 1


def test_days_count_from_the_answer_and_not_from_when_it_found_its_call(
    apart: Apart, knowledge: Knowledge
) -> None:
    """Hours later the same day is the last one."""
    asked, answered, card = apart
    answered.override(card)
    asked.pass_time(hours=20)
    asked.ledger.catch_up()
    [row] = answered.rows(SNOOZE)
    assert row["until"] == MORNING.date() + timedelta(days=knowledge.no_reason_snooze_days)


def test_answer_to_a_card_that_nobody_was_shown_stays_unknown(new_clinic: MakeClinic) -> None:
    """A card of later is not what was answered before."""
    clinic = new_clinic()
    later = new_clinic()
    later.pass_time(hours=2)
    card = next(card for card in later.open() if card.get("suggestions"))
    clinic.override(card, "patient-declined")
    assert clinic.ledger.feedback.settle() == 0
    assert [row["call_id"] for row in clinic.rows(FEEDBACK)] == [None]
    assert clinic.rows(SNOOZE) == []
