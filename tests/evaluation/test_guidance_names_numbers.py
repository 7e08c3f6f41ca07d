"""The guidance of every card names every number its rule reads, its own or by another card."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from cds_service.evaluation.assessment import Finding
from cds_service.evaluation.case import build_case
from cds_service.evaluation.episode import find_episode
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.rules.catalog import CARDS, RED_FLAGS, WORK_UP
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import CardTemplate, Knowledge
from cds_service.vignettes.running import AS_OF, chart_of
from tests.vignettes.cases import all_vignettes

README = Path(__file__).parents[2] / "cards" / "README.md"
RULES = {**RED_FLAGS, **WORK_UP}
_THRESHOLD = re.compile(r"\{threshold:([a-z0-9-]+)\}")
_CARD = re.compile(r"\b[A-Z]{2,}(?:-[A-Z]+)+\b")
_FILE = re.compile(r"thresholds/([a-z0-9-]+)\.yaml")


@cache
def _knowledge() -> Knowledge:
    return load_knowledge()


@cache
def _read_by_rules() -> Mapping[str, frozenset[str]]:
    """Return the thresholds each row looks up over all vignettes, beside those of the course."""
    read: dict[str, set[str]] = defaultdict(set)
    for vignette in all_vignettes():
        chart = chart_of(vignette.facts, _knowledge(), seed=vignette.seed)
        episode = find_episode(chart, Limits(_knowledge(), AS_OF))
        if not episode.operations:
            continue
        earlier: dict[str, Finding] = {}
        for card, rule in RULES.items():
            case = build_case(chart, _knowledge(), AS_OF, episode.operations[0], None)
            case.limits._in_force.clear()
            looked_up = case.limits._in_force
            earlier[card] = rule(case, earlier)
            read[card].update(looked_up)
    return {card: frozenset(names) for card, names in read.items()}


def _guidance(card: CardTemplate) -> str:
    return " ".join(card.texts.get(block, "") for block in ("appears", "withheld"))


def _own_numbers(card: CardTemplate) -> set[str]:
    texts = (*card.summaries.values(), *card.texts.values(), *card.notes.values())
    return {*card.thresholds, *(name for text in texts for name in _THRESHOLD.findall(text))}


def _shared_numbers() -> set[str]:
    """Return the numbers that the README names as those of all cards."""
    page = README.read_text(encoding="utf-8")
    section = page.split("## Numbers behind the words", 1)[1].split("\n## ", 1)[0]
    return set(_FILE.findall(section))


@pytest.mark.parametrize("card", sorted(RULES))
def test_guidance_names_every_number_of_its_rule(card: str) -> None:
    """A clinician finds each number on the card's page, on a card named there, or in the README."""
    template = _knowledge().cards[card]
    named = _own_numbers(template) | _shared_numbers()
    for other in _CARD.findall(_guidance(template)):
        named |= _own_numbers(_knowledge().cards[other])
    assert sorted(_read_by_rules()[card] - named) == []


def test_guidance_mentions_only_cards_there_are() -> None:
    """No page sends its reader to a card that does not exist."""
    for template in _knowledge().cards.values():
        assert set(_CARD.findall(_guidance(template))) <= set(CARDS)


def test_every_number_is_named_somewhere() -> None:
    """No number of ``thresholds/`` is left that neither a card nor the README names."""
    named = _shared_numbers()
    for template in _knowledge().cards.values():
        named |= _own_numbers(template)
    assert sorted(set(_knowledge().thresholds) - named) == []
    assert sorted(_shared_numbers() - set(_knowledge().thresholds)) == []
