"""Before cards go live: silent chart opens beside live ones, each in 100 of its own."""

from __future__ import annotations

from itertools import count

import pytest

from cds_service.ledger.records import State, Why
from cds_service.reporting.reading import Call, Shown
from cds_service.reporting.table import Value
from cds_service.reporting.tables_cards import gate
from cds_service.reporting.tally import Tally

CARD = "PAIN-REF"
_NUMBERS = count()
SHOWN = (State.SHOWN, None)
SILENT_CARD = (State.SILENT, Why.SILENT_CARD)
SILENT_PATIENT = (State.SILENT, Why.SILENT_PATIENT)
OVERRIDDEN = (State.HELD_BACK, Why.OVERRIDDEN)


def opened(client: str, fate: tuple[State, Why | None] | None, *, is_silent: bool = False) -> Call:
    """Return a chart open; *fate* is what became of the card, None if its rule was not met."""
    number = next(_NUMBERS)
    cards = [
        Shown(card=CARD, card_uuid=str(number), indicator="info", state=state, why=why)
        for state, why in ([fate] if fate else [])
    ]
    return Call(
        id=number,
        client=client,
        received_at=number,
        patient=str(number),
        outcome="fired",
        http_status=200,
        error=None,
        is_silent=is_silent,
        knowledge=("1", "d"),
        total_ms=1.0,
        steps_ms={},
        unread={},
        set_aside={},
        unmapped=(),
        faulty_rules=(),
        cards=tuple(cards),
    )


def compared(*calls: Call) -> dict[str, Value]:
    """Return the numbers of the card on the page."""
    tally = Tally()
    for call in calls:
        tally.add_call(call)
    [line] = gate(tally, {}).lines
    return dict(line.now)


def many(times: int, client: str, *fates: tuple[State, Why | None] | None) -> list[Call]:
    """Return the same chart opens several times."""
    return [opened(client, fate) for _ in range(times) for fate in fates]


def test_card_silent_in_one_hospital_is_counted_in_the_charts_of_that_hospital() -> None:
    """North has it silent in every second chart, south live in every fourth."""
    numbers = compared(
        *many(100, "north", SILENT_CARD, None), *many(100, "south", SHOWN, None, None, None)
    )
    assert (numbers["silent"], numbers["silent-opens"], numbers["silent-rate"]) == (100, 200, 50)
    assert (numbers["live"], numbers["live-opens"], numbers["live-rate"]) == (100, 400, 25)
    assert str(numbers["words"]).startswith("fires 2.0 times as often as live")


def test_card_that_users_answered_still_fires() -> None:
    """An answer keeps it from live patients only; the silent ones are not more for it."""
    numbers = compared(
        *(opened("north", SILENT_PATIENT, is_silent=True) for _ in range(100)),
        *many(50, "north", SHOWN, OVERRIDDEN),
    )
    assert (numbers["live"], numbers["live-held"], numbers["live-rate"]) == (50, 50, 100)
    assert numbers["words"] == "as in live use"


@pytest.mark.parametrize("is_silent", [True, False])
def test_card_that_users_answered_before_silent_mode_fires_there_too(*, is_silent: bool) -> None:
    """Silent again after live use: the answers of that time do not look like missing data."""
    quiet = SILENT_PATIENT if is_silent else SILENT_CARD
    fates = (quiet, OVERRIDDEN)
    numbers = compared(
        *(opened("north", fate, is_silent=is_silent) for fate in fates * 50),
        *many(100, "south", SHOWN),
    )
    assert (numbers["silent"], numbers["silent-held"], numbers["silent-rate"]) == (50, 50, 100)
    assert (numbers["live"], numbers["live-held"], numbers["live-rate"]) == (100, 0, 100)
    assert numbers["words"] == "as in live use"


def test_card_that_went_live_meanwhile_gets_no_rates() -> None:
    """Nobody knows which chart opens without the card were silent, so nothing is said of them."""
    numbers = compared(*many(100, "north", SILENT_CARD), *many(100, "north", SHOWN))
    assert (numbers["silent"], numbers["live"]) == (100, 100)
    assert numbers["silent-rate"] is numbers["live-rate"] is None
    assert "only a part of these days" in str(numbers["words"])


def test_card_silent_everywhere_has_nothing_beside_it() -> None:
    """There is no live use to compare with."""
    numbers = compared(*many(100, "north", SILENT_CARD, None))
    assert (numbers["silent-opens"], numbers["live-opens"]) == (200, 0)
    assert numbers["words"] == "nothing to compare with"
