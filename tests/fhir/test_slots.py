"""Places at a FHIR server: given in the order of asking, and never lost."""

from __future__ import annotations

from concurrent.futures import Future

from cds_service.fhir.side_by_side import Steps
from cds_service.fhir.slots import Slot, Slots


def got(search: Steps[Slot]) -> Slot | None:
    """Return the slot *search* has now, or None while it waits."""
    try:
        waits_for = next(search)
    except StopIteration as end:
        slot: Slot = end.value
        return slot
    assert isinstance(waits_for, Future)
    return None


def test_places_are_given_in_the_order_of_asking() -> None:
    """The first to wait is the first to go on."""
    slots = Slots(1)
    first = got(slots.taken())
    second, third = slots.taken(), slots.taken()
    assert (got(second), got(third)) == (None, None)
    assert first is not None
    first.give_back()
    slot = got(second)
    assert slot is not None
    slot.give_back()
    assert got(third) is not None


def test_place_given_back_twice_is_one_place() -> None:
    """With the answer, and again at the end of the search."""
    slots = Slots(1)
    slot = got(slots.taken())
    assert slot is not None
    slot.give_back()
    slot.give_back()
    assert got(slots.taken()) is not None
    assert got(slots.taken()) is None


def test_who_went_away_gets_no_place() -> None:
    """A call whose time is up in the queue is passed over."""
    slots = Slots(1)
    first = got(slots.taken())
    gone, patient = slots.taken(), slots.taken()
    assert (got(gone), got(patient)) == (None, None)
    gone.close()
    assert first is not None
    first.give_back()
    assert got(patient) is not None


def test_place_that_came_too_late_goes_to_the_next() -> None:
    """It was given in the moment in which the call gave up."""
    slots = Slots(1)
    first = got(slots.taken())
    late = slots.taken()
    assert got(late) is None
    assert first is not None
    first.give_back()
    late.close()
    assert got(slots.taken()) is not None
