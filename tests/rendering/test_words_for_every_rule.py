"""For everything a rule can say there are words: read from the rules' own syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import cds_service.evaluation
from cds_service.evaluation.assessment import Term, Word
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.wording import Wording

EVALUATION = Path(next(iter(cds_service.evaluation.__path__)))
MODULES = sorted(EVALUATION.rglob("*.py"))


def _calls(name: str) -> Iterator[ast.Call]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=called)) if called == name:
                    yield node


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the string constants of an expression; an f-string yields its beginning and a star."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        first = node.values[0]
        if isinstance(first, ast.Constant):
            yield f"{first.value}*"
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _keyword_texts(call: ast.Call, keyword: str) -> Iterator[str]:
    for item in call.keywords:
        if item.arg == keyword:
            yield from _texts(item.value)


def _is_worded(text: str, known: set[str]) -> bool:
    if text.endswith("*"):
        return any(key.startswith(text[:-1]) for key in known)
    return text in known


def test_every_note_has_a_sentence(knowledge: Knowledge) -> None:
    """Whatever note a rule adds, a card has a sentence for it or all cards share one."""
    shared = {key.removeprefix("note-") for key in knowledge.phrases if key.startswith("note-")}
    own = {key for card in knowledge.cards.values() for key in card.notes}
    keys = {text for call in _calls("Note") for text in _keyword_texts(call, "key")}
    assert len(keys) > 20
    assert sorted(key for key in keys if not _is_worded(key, shared | own)) == []


def test_every_phrase_has_words(knowledge: Knowledge) -> None:
    """Every idea a rule names by phrase has words, and by value set a label."""
    known = {"phrase": set(knowledge.phrases), "value-set": set(knowledge.value_sets)}
    missing = []
    for call in _calls("Term"):
        kinds = list(_keyword_texts(call, "kind"))
        for text in _keyword_texts(call, "id"):
            missing += [text for kind in kinds if not _is_worded(text, known[kind])]
    assert missing == []


def test_every_variant_has_a_summary(knowledge: Knowledge) -> None:
    """Every variant a rule chooses is the name of a summary of some card."""
    known = {variant for card in knowledge.cards.values() for variant in card.summaries}
    chosen = {
        text
        for name in ("replace", "Finding")
        for call in _calls(name)
        for text in _keyword_texts(call, "variant")
    }
    assert {"default", "coded", "overdue"} <= chosen
    assert sorted(chosen - known - {"odi"}) == []


@pytest.mark.parametrize("family", ["muscle", "level", "side"])
def test_every_body_part_has_words(family: str, knowledge: Knowledge) -> None:
    """Every muscle, level and side that the chart can name has words for cards."""
    sets = {name for name in knowledge.value_sets if name.startswith(f"{family}-")}
    sets -= {"muscle-component"}
    assert sets
    assert sets <= set(knowledge.phrases)


def test_every_card_has_what_a_reader_needs(knowledge: Knowledge) -> None:
    """All 36 cards say what to do, why, what changes it, whom it is not for, and its sources."""
    assert sorted(card.row for card in knowledge.cards.values()) == list(range(1, 37))
    for card in knowledge.cards.values():
        assert {"action", "why", "change"} <= set(card.texts), card.id
        assert card.sources, card.id
        assert card.not_for, card.id
        for variant in card.texts:
            block, _, name = variant.partition("-")
            if name and not variant.startswith("order-note"):
                assert block in {"action", "why", "change"}, card.id


def test_no_card_promises_the_absence_of_red_flags(knowledge: Knowledge) -> None:
    """No template and no shared phrase says that there are no red flags."""
    texts = [
        text
        for card in knowledge.cards.values()
        for text in (*card.summaries.values(), *card.texts.values(), *card.notes.values())
    ]
    for text in (*texts, *knowledge.phrases.values()):
        assert "no red flag" not in text.lower()


def test_action_and_reason_are_short(knowledge: Knowledge) -> None:
    """Action and reason together stay within 600 characters before they are filled."""
    for card in knowledge.cards.values():
        variants = {name.partition("-")[2] for name in card.texts if name.startswith("action-")}
        for variant in {"", *variants}:
            action = card.texts.get(f"action-{variant}", card.texts["action"])
            why = card.texts.get(f"why-{variant}", card.texts["why"])
            assert len(action) + len(why) <= 600, card.id


LONGEST: dict[str, Word] = {
    "flag": "Another spinal condition on record",
    "dss": "3650 to 3680",
    "score": Decimal("10.25"),
    "grade": Decimal("4.5"),
    "volume": Decimal(1000),
    "mme": Decimal("1000.25"),
    "days": 36500,
    "months": 1200,
    "low": 36500,
    "onset": 36500,
    "date": date(2026, 12, 31),
    "since": date(2026, 12, 31),
    "measure": "disability (any site) 100/100",
}

SIGNS = (
    "cauda-equina",
    "faecal-incontinence",
    "saddle-sensation",
    "saddle-numbness",
    "anal-tone",
    "urinary-retention",
    "urinary-incontinence",
    "incomplete-bladder-emptying",
    "pvr",
    "infection-spinal",
    "infection-spinal-if-text-or-early",
    "infection-sign",
    "wound-problem",
)
"""The findings that red-flag headlines name."""


def _longest(knowledge: Knowledge, kind: str, ids: Iterable[str]) -> Term:
    wording = Wording(knowledge, date(2026, 1, 1))
    terms = [Term(kind=kind, id=name) for name in ids]
    return max(terms, key=lambda term: len(wording.term(term)))


def test_every_summary_fits_when_filled_with_the_longest_words(knowledge: Knowledge) -> None:
    """Every headline stays under 140 characters with the longest words and the longest lists."""
    phrases = knowledge.phrases
    families = {
        "muscle": [name for name in phrases if name.startswith("muscle-")],
        "side": [name for name in phrases if name.startswith("side-")],
        "reason": [name for name in phrases if name.startswith("surgery-reason-")],
        "missing": [name for name in phrases if name.startswith("prerequisite-")],
        "keys": [name for name in phrases if name.startswith("key-")],
        "scale": [name for name in phrases if name.startswith("scale-")],
        "course": [name for name in phrases if name.startswith("back-pain-")],
        "type": [name for name in phrases if name.startswith("operation-")],
        "operation": [name for name in phrases if name.startswith(("level-", "side-"))],
        "indication": [name for name in phrases if name.startswith(("level-", "side-"))],
        "benzo": ["with-benzodiazepine"],
    }
    labels = {
        "sign": SIGNS,
        "condition": ("tumour-spine", "vertebral-fracture", "hardware-failure"),
        "finding": ("sensory-deficit",),
    }
    words = dict(LONGEST)
    for name, ids in families.items():
        longest = _longest(knowledge, "phrase", ids)
        is_list = name in {"reason", "missing", "keys", "operation", "indication"}
        words[name] = (longest,) * 6 if is_list else longest
    for name, sets in labels.items():
        longest = _longest(knowledge, "value-set", sets)
        words[name] = (longest,) * 6 if name == "sign" else longest
    wording = Wording(knowledge, date(2026, 1, 1))
    for card in knowledge.cards.values():
        for template in card.summaries.values():
            assert 0 < len(wording.summary(template, words, "")) <= 139, card.id
