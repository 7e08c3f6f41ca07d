"""What an EHR is answered once a clinician has pressed a button and the order is in the chart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cds_service.vignettes.running import AS_OF
from tests.contract.ehrs import Answered, Ehr, card_id

Order = dict[str, Any]
CHARTS = 2
"""Charts in which each button is pressed, at most."""
LABORATORY = {
    "Blood cultures",
    "C-reactive protein",
    "Erythrocyte sedimentation rate",
    "White blood cell count",
}
"""Orders that no card asks about: their results count."""


def _buttons(answers: list[Answered]) -> Iterator[tuple[Answered, str, list[Order]]]:
    """Yield each button that orders more than blood tests, in few charts, with its answer."""
    pressed: Counter[tuple[str, ...]] = Counter()
    for answer in answers:
        if answer.status != 200 or answer.request["prefetch"].get("serviceRequests") is None:
            continue
        for card in answer.cards:
            for suggestion in card.get("suggestions", []):
                orders = [action["resource"] for action in suggestion["actions"]]
                button = (answer.version.named, card_id(card), suggestion["label"])
                pressed[button] += 1
                if pressed[button] <= CHARTS and not LABORATORY.issuperset(map(_words, orders)):
                    yield answer, card_id(card), orders


def _words(order: Order) -> str:
    return str(order["code"]["text"])


def _accepted(answer: Answered, orders: list[Order], status: str = "active") -> dict[str, Any]:
    """Return the request again, with *orders* in the chart."""
    signature = {"status": status, "authoredOn": AS_OF.isoformat()}
    signed = [
        {"resource": {**order, **signature, "id": f"signed-{n}"}} for n, order in enumerate(orders)
    ]
    request = json.loads(json.dumps(answer.request))
    bundle = request["prefetch"]["serviceRequests"]
    bundle["entry"] = [*bundle.get("entry", []), *signed]
    return request


def test_order_that_stands_in_the_chart_is_offered_by_no_card(
    answers: list[Answered], ehrs: dict[str, Ehr]
) -> None:
    """Every button of every card, once pressed and signed, is gone at the next opening."""
    again = set()
    for answer, card, orders in _buttons(answers):
        [ehr] = [ehr for ehr in ehrs.values() if ehr.version is answer.version]
        found = ehr.asked(answer.name, _accepted(answer, orders))
        offered = {
            _words(action["resource"])
            for each in found.cards
            for suggestion in each.get("suggestions", [])
            for action in suggestion["actions"]
        }
        again |= {(card, words) for words in map(_words, orders) if words in offered}
    assert again == set()


UPGRADE = "upgrade to urgent"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"priority": "routine"}, UPGRADE),
        ({"priority": "urgent"}, "ordered as urgent"),
        ({"priority": "asap"}, "ordered as urgent"),
        ({"priority": "stat"}, "ordered as urgent"),
        ({"priority": "urgent", "status": "on-hold"}, "is on hold: release it now"),
        ({"priority": "stat", "status": "on-hold"}, "ordered as urgent"),
    ],
)
def test_order_that_was_upgraded_as_the_card_asked_is_not_to_be_upgraded_again(
    answers: list[Answered], ehrs: dict[str, Ehr], changed: dict[str, str], words: str
) -> None:
    """The weakness came after the MRI was ordered; the clinician makes that order urgent."""
    answer = next(each for each in answers if each.status == 200 and UPGRADE in str(each.cards))
    request = json.loads(json.dumps(answer.request))
    for entry in request["prefetch"]["serviceRequests"]["entry"]:
        entry["resource"].update(changed)
    [ehr] = [ehr for ehr in ehrs.values() if ehr.version is answer.version]
    [card] = [c for c in ehr.asked(answer.name, request).cards if card_id(c) == "IMG-MRI-DEF"]
    assert words in card["detail"]
    assert UPGRADE in words or UPGRADE not in card["detail"]
    assert "suggestions" not in card


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (("draft",), "is begun and not signed: sign it now"),
        (("on-hold",), "is on hold: release it now"),
        (("active",), "is on record (done or ordered): read it now"),
        (("active", "draft", "on-hold"), "is on record (done or ordered): read it now"),
    ],
)
@pytest.mark.parametrize("card", ["RF-CES", "RF-MOTOR", "RF-EDH", "RF-INF", "RF-OTHER"])
def test_emergency_scan_that_waits_for_a_signature_is_not_to_be_read(
    answers: list[Answered], ehrs: dict[str, Ehr], card: str, statuses: tuple[str, ...], words: str
) -> None:
    """The EHR keeps the accepted order as a draft: until somebody signs it no scan is made."""
    answer, _, orders = next(each for each in _buttons(answers) if each[1] == card)
    [ehr] = [ehr for ehr in ehrs.values() if ehr.version is answer.version]
    scan = [order for order in orders if _words(order).startswith("MRI")]
    request = _accepted(answer, [])
    for status in statuses:
        entries = _accepted(answer, scan, status)["prefetch"]["serviceRequests"]["entry"]
        entries[-1]["resource"]["id"] = status
        request["prefetch"]["serviceRequests"]["entry"].append(entries[-1])
    [found] = [c for c in ehr.asked(answer.name, request).cards if card_id(c) == card]
    assert words in found["detail"]
    assert "read it now" in words or "read it now" not in found["detail"]
