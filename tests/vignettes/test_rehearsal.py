"""The service rehearses before the first patient comes, and leaves no trace of it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date

import pytest
from structlog.testing import capture_logs

from cds_service.knowledge.loading import load_knowledge
from cds_service.vignettes.rehearsal import rehearse, rehearse_if_possible


@pytest.mark.parametrize("today", [date(2026, 11, 21), date(2028, 2, 29)])
def test_rehearsed_patient_gets_cards_with_orders_on_any_day(today: date) -> None:
    """Rules, words and orders have all been used once when the first real patient comes."""
    with capture_logs() as lines:
        cards = rehearse(load_knowledge(), today, time.monotonic)
    assert len(cards) >= 3
    assert all(card.get("suggestions") for card in cards)
    assert lines == []


def test_rehearsal_that_fails_keeps_no_service_from_starting() -> None:
    """A site's content may have a fault that real patients never meet; the log names it."""
    content = replace(load_knowledge(), value_sets={})
    with capture_logs() as lines:
        rehearse_if_possible(content, date(2026, 11, 21), time.monotonic)
    assert [line["event"] for line in lines] == ["rehearsal_failed"]
