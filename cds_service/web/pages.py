"""Pages for people: what each card means, what it rests on, and whom it is not for.

Everything printed comes from ``cards/``; no chart and no request is ever shown here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from flask import Flask, abort, render_template
from markupsafe import Markup, escape

from cds_service.evaluation.limits import Limits
from cds_service.knowledge.model import CardTemplate, Knowledge, Threshold

_PLACEHOLDER = re.compile(r"\{(threshold:)?([a-z0-9_-]+)\}")
_STRONG = re.compile(r"\*\*([^*\n]+)\*\*")
_EMPHASIS = re.compile(r"(?<![*\w])[*_]([^*_\n]+)[*_](?![*\w])")
_BULLET = re.compile(r"[-*] +")

_BLOCK_TITLES = {
    "action": "What to do",
    "why": "Why it appears",
    "change": "What would change it",
    "caveat": "Caution",
}
_STATUS_WORDS = {
    "draft": "not yet clinically reviewed",
    "reviewed": "reviewed, not yet in use",
    "active": "reviewed and in use",
    "retired": "no longer in use",
}


def register_pages(app: Flask, knowledge: Knowledge, today: Callable[[], date]) -> None:
    """Add the landing page and the guidance pages to *app*."""
    cards = sorted(knowledge.cards.values(), key=lambda card: card.row)
    by_id = {card.id.upper(): card for card in cards}

    @app.get("/")
    def landing() -> str:
        return render_template("landing.html", knowledge=knowledge, is_reviewed=_is_reviewed(cards))

    @app.get("/guidance/", strict_slashes=False)
    def guidance() -> str:
        return render_template("guidance.html", cards=cards, is_reviewed=_is_reviewed(cards))

    @app.get("/guidance/<card_id>")
    def guidance_card(card_id: str) -> str:
        card = by_id.get(card_id.upper())
        if card is None:
            abort(404)
        words = _GuidanceWords(knowledge, today())
        return render_template("card.html", card=card, **words.of_card(card))


def _is_reviewed(cards: list[CardTemplate]) -> bool:
    return all(card.status == "active" for card in cards if card.is_enabled)


class _GuidanceWords:
    """The words of one card's page on one day."""

    def __init__(self, knowledge: Knowledge, day: date) -> None:
        self._knowledge = knowledge
        self._limits = Limits(knowledge, day)
        self._day = day

    def of_card(self, card: CardTemplate) -> dict[str, object]:
        """Return everything the page of *card* prints."""
        knowledge = self._knowledge
        return {
            "status_words": _STATUS_WORDS.get(card.status, card.status),
            "summaries": [self._plain(text) for text in card.summaries.values()],
            "blocks": [
                (_BLOCK_TITLES.get(name, name.replace("-", " ").capitalize()), self._html(text))
                for name, text in card.texts.items()
            ],
            "notes": [self._html(text) for text in card.notes.values()],
            "thresholds": [self._threshold(knowledge.thresholds[name]) for name in card.thresholds],
            "sources": [knowledge.sources[name] for name in card.sources],
            "claims": [(claim, knowledge.claims[claim]) for claim in card.claims],
        }

    def _threshold(self, threshold: Threshold) -> tuple[str, str, str, str]:
        """Return title, boundary in words, source and place in it."""
        dated = threshold.value_on(self._day)
        source = self._knowledge.sources[dated.source]
        return (threshold.title, self._limits.words(threshold.id), source.cite, dated.locator)

    def _plain(self, template: str) -> str:
        return _PLACEHOLDER.sub(self._filled, template).replace("*", "")

    def _filled(self, match: re.Match[str]) -> str:
        if match[1]:
            return self._limits.words(match[2])
        return f"[{match[2].replace('_', ' ').replace('-', ' ')}]"

    def _html(self, template: str) -> Markup:
        return markdown_html(_PLACEHOLDER.sub(self._filled, template))


def markdown_html(text: str) -> Markup:
    """Return the small Markdown of ``cards/`` (paragraphs, lists, emphasis) as safe HTML."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return Markup("\n").join(_block_html(block.splitlines()) for block in blocks)


def _block_html(lines: list[str]) -> Markup:
    if all(_BULLET.match(line) for line in lines):
        texts = [_inline_html(_BULLET.sub("", line, count=1)) for line in lines]
        items = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
        return Markup("<ul>{}</ul>").format(items)
    return Markup("<p>{}</p>").format(_inline_html(" ".join(lines)))


def _inline_html(text: str) -> Markup:
    """Escape *text* first; only then do stars become emphasis."""
    escaped = str(escape(text))
    strong = _STRONG.sub(r"<strong>\1</strong>", escaped)
    return Markup(_EMPHASIS.sub(r"<em>\1</em>", strong))  # noqa: S704  # nosec B704 - escaped
