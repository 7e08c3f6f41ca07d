"""Yes, no and cannot tell add up as a careful reader would."""

from __future__ import annotations

from datetime import date

import pytest

from cds_service.evaluation.answers import NO, YES, Answer, PassedOver, all_of, any_of, found, of

UNKNOWN = Answer(None, frozenset({"scores"}))
OTHER = Answer(None, frozenset({"devices"}))


@pytest.mark.parametrize(
    ("one", "other", "both", "either"),
    [
        (YES, YES, True, True),
        (YES, NO, False, True),
        (NO, NO, False, False),
        (YES, UNKNOWN, None, True),
        (NO, UNKNOWN, False, None),
        (UNKNOWN, OTHER, None, None),
    ],
)
def test_answer_pairs_follow_the_table(
    *, one: Answer, other: Answer, both: bool | None, either: bool | None
) -> None:
    """What is unknown decides nothing, unless the other half decides alone; order is no matter."""
    assert (one & other).value is (other & one).value is both
    assert (one | other).value is (other | one).value is either


def test_answer_unknown_names_every_part_that_was_not_read() -> None:
    """Two unknown halves name both parts of the record; a decided answer names none."""
    assert (UNKNOWN & OTHER).unread == {"scores", "devices"}
    assert (UNKNOWN | OTHER).unread == {"scores", "devices"}
    assert (UNKNOWN & NO).unread == frozenset()
    assert (UNKNOWN | YES).unread == frozenset()


def test_answer_denied_turns_yes_and_no_and_leaves_unknown() -> None:
    """The opposite of cannot tell is cannot tell."""
    assert (~YES).is_no
    assert (~NO).is_yes
    assert (~UNKNOWN).is_unknown
    assert (~UNKNOWN).unread == UNKNOWN.unread


def test_answer_found_denies_only_when_everything_was_read() -> None:
    """Nothing found in a record read in part is not nothing there."""
    unread = frozenset({"conditions"})
    assert found(flag=True, unread=unread).is_yes
    assert found(flag=False, unread=unread).is_unknown
    assert found(flag=False, unread=frozenset()).is_no


def test_answer_lists_end_at_the_first_that_decides() -> None:
    """One yes is any, one no is not all, and an empty list is all and not any."""
    assert any_of([NO, UNKNOWN, YES]).is_yes
    assert any_of([NO, UNKNOWN]).is_unknown
    assert any_of([]).is_no
    assert all_of([YES, UNKNOWN, NO]).is_no
    assert all_of([YES, UNKNOWN]).is_unknown
    assert all_of([]).is_yes
    assert of(flag=False).is_no


def _passed(reference: str) -> PassedOver:
    return PassedOver(
        on=date(2026, 3, 1),
        concept="mri-lumbar",
        reference=reference,
        is_order=False,
        why="too-early",
        written="2026-03-01",
    )


def test_answer_names_the_tests_that_did_not_count_where_they_decided() -> None:
    """Two early MRIs are both named as no MRI; beside an MRI that counts none is."""
    one, other = _passed("Procedure/1"), _passed("Procedure/2")
    early, earlier = (found(flag=False, unread=frozenset(), passed_over=(p,)) for p in (one, other))
    assert (early | earlier).passed_over == (early & earlier).passed_over == (one, other)
    assert (early | earlier).is_no
    assert (early & earlier).is_no
    assert (early | YES).passed_over == (YES | early).passed_over == ()
    assert (early & YES).passed_over == (YES & early).passed_over == (one,)
