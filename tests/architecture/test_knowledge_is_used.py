"""What the code names exists in cards/, what cards/ hold is used, and every claim is cited."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from cds_service.evaluation.rules.catalog import CARDS
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cds_service"
CORE = sorted((PACKAGE / "evaluation").rglob("*.py"))
LIMIT_CALLS = {"met", "number", "days", "words", "at", "leg_fires", "back_fires"}
WINDOW_CALLS = {"within"}


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@cache
def _texts() -> frozenset[str]:
    """Return every text constant of the clinical core."""
    return frozenset(
        node.value
        for path in CORE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def _named_thresholds() -> frozenset[str]:
    """Return the first text argument of each call that asks for a threshold."""
    named: set[str] = set()
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            count = 2 if node.func.attr in WINDOW_CALLS else 1
            if node.func.attr in LIMIT_CALLS | WINDOW_CALLS:
                named.update(
                    argument.value
                    for argument in node.args[:count]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                )
    return frozenset(named)


def test_threshold_named_in_code_exists(knowledge: Knowledge) -> None:
    """A rule cannot ask for a number that cards/ do not hold."""
    assert len(_named_thresholds()) > 50
    assert _named_thresholds() - knowledge.thresholds.keys() == set()


def test_threshold_in_cards_is_used(knowledge: Knowledge) -> None:
    """A clinician who changes a number changes something."""
    written = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "cards").rglob("*.yaml"))
        if path.parent.name != "thresholds"
    )
    unused = [
        name
        for name in knowledge.thresholds
        if name not in _texts() and not re.search(rf"\b{re.escape(name)}\b", written)
    ]
    assert unused == []


def test_value_set_in_cards_is_used(knowledge: Knowledge) -> None:
    """Every concept is asked for somewhere in the service."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    written = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("templates", "orders", "phenotypes")
        for path in sorted((ROOT / "cards" / folder).glob("*.yaml"))
    )
    families = ("muscle-", "level-", "side-", "site-", "answer-", "implant-")
    unused = [
        name
        for name in knowledge.value_sets
        if f'"{name}"' not in code and name not in written and not name.startswith(families)
    ]
    assert set(unused) <= CONTEXT_ONLY


CONTEXT_ONLY = {
    "chronic-pain",
    "index-level",
    "index-side",
    "reflexes",
    "revision-surgery",
    "straight-leg-raise",
}
"""Concepts published for sites and readers; no rule asks for them."""


def test_card_in_the_catalogue_is_in_cards(knowledge: Knowledge) -> None:
    """The rows of the table and the card texts are the same, in the order of their rows."""
    assert set(CARDS) == set(knowledge.cards)
    rows = [knowledge.cards[card].row for card in CARDS]
    assert rows == sorted(rows) == list(range(1, len(rows) + 1))


def test_point_named_in_code_exists(knowledge: Knowledge) -> None:
    """Every reason that weighs for an explanation in cards/ is one the core can give."""
    for phenotype in knowledge.phenotypes.values():
        unused = [point for point in phenotype.points if point not in _texts()]
        assert unused == [], phenotype.id


def test_order_that_a_rule_proposes_has_a_template(knowledge: Knowledge) -> None:
    """Every order template is proposed by a rule or chosen by a site for one that is."""
    variants = {"spine-surgery-referral-orthopedic", "physiotherapy-referral-other"}
    unused = [name for name in knowledge.orders if name not in _texts() | variants]
    assert unused == []


def test_automated_claim_is_cited(knowledge: Knowledge) -> None:
    """Every statement of the source articles that is automated is cited by what automates it."""
    cited = {claim for card in knowledge.cards.values() for claim in card.claims}
    cited |= {claim for each in knowledge.phenotypes.values() for claim in each.claims}
    locators = "\n".join(
        value.locator for each in knowledge.thresholds.values() for value in each.values
    )
    cited |= set(re.findall(r"\bS\d-\d\d\b", locators))
    assert len(knowledge.automated_claims) > 70
    assert knowledge.automated_claims - cited == set()


def test_card_cites_a_source(knowledge: Knowledge) -> None:
    """Every card names at least one publication that exists in cards/sources.yaml."""
    for card in knowledge.cards.values():
        assert card.sources, card.id
        assert set(card.sources) <= knowledge.sources.keys(), card.id


def test_threshold_cites_a_source(knowledge: Knowledge) -> None:
    """Every number names where it comes from, and where in it."""
    for threshold in knowledge.thresholds.values():
        for value in threshold.values:
            assert value.source in knowledge.sources, threshold.id
            assert value.locator.strip(), threshold.id
