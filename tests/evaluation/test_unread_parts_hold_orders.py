"""The README says which unread parts of a chart hold back the orders of which card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.running import AS_OF, chart_of
from tests.vignettes.cases import all_vignettes

README = Path(__file__).parents[2] / "cards" / "README.md"
SOMETIMES_MISSING = ("not supplied", "supplied in part")
KEYS = tuple(key for key in Key.ALL if key != Key.PATIENT)


@cache
def _knowledge() -> Knowledge:
    return load_knowledge()


@cache
def _stated() -> Mapping[str, frozenset[str]]:
    """Return the table of the README: card to the parts, as keys."""
    page = README.read_text(encoding="utf-8")
    section = page.split("## When a part of the chart cannot be read", 1)[1].split("\n## ", 1)[0]
    phrases = _knowledge().phrases
    keys = {phrases[f"key-{key.lower()}"]: key for key in KEYS}
    stated = {}
    for line in section.splitlines()[1:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[0][:1].isupper():
            for card in cells[0].split(", "):
                stated[card] = frozenset(keys[part] for part in cells[1].split(", "))
    return stated


def _rows(vignette: Vignette, key: str | None = None) -> Mapping[str, Finding]:
    chart = chart_of(vignette.facts, _knowledge(), seed=vignette.seed)
    if key is not None:
        in_part = Supply(state=State.PARTIAL, reason="only some pages could be read")
        chart = replace(chart, supply={**chart.supply, key: in_part})
    return {row.card: row for row in assess(chart, _knowledge(), AS_OF).findings}


@cache
def _found() -> Mapping[str, frozenset[str]]:
    """Return for each card the keys whose being read in part costs it its orders."""
    held: dict[str, set[str]] = defaultdict(set)
    for vignette in all_vignettes():
        if any(name in vignette.facts for name in SOMETIMES_MISSING):
            continue
        whole = _rows(vignette)
        ordering = [card for card, row in whole.items() if row.is_shown and row.proposals]
        for key in KEYS if ordering else ():
            rows = _rows(vignette, key)
            for card in ordering:
                row = rows.get(card)
                is_met = row is not None and row.verdict is Verdict.MET
                if row is not None and is_met and (row.is_order_withheld or not row.proposals):
                    held[card].add(key)
    return {card: frozenset(keys) for card, keys in held.items()}


@pytest.mark.parametrize("card", sorted(_stated()))
def test_unread_part_holds_the_orders_the_readme_says(card: str) -> None:
    """The card appears without its order for each part listed, and for no other."""
    assert _found()[card] == _stated()[card]


def test_every_card_that_can_lose_its_order_is_listed() -> None:
    """No card keeps silent about what its orders wait for."""
    assert set(_found()) == set(_stated())
