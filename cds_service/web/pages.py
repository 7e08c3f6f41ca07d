"""Pages for people: what each card means, what it rests on, and whom it is not for.

Everything printed comes from ``cards/``; no chart and no request is ever shown here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from itertools import groupby

from flask import Flask, abort, redirect, render_template
from markupsafe import Markup, escape
from werkzeug.wrappers import Response

from cds_service.evaluation.limits import Limits
from cds_service.evaluation.rules.catalog import DATA_READ, RED_FLAGS
from cds_service.knowledge.model import PLACEHOLDER, SPAN, CardTemplate, Knowledge, Review, Source

_STRONG = re.compile(r"\*\*([^*\n]+)\*\*")
_EMPHASIS = re.compile(r"(?<![*\w])[*_]([^*_\n]+)[*_](?![*\w])")
_BULLET = re.compile(r"[-*] +")

_CARD_ID = re.compile(r"\b[A-Z]{2,}(?:-[A-Z]+)+\b")
_BULLET_START = re.compile(r"(?m)^((?:[-*] )?)([a-z])")

_ACTION, _WHY, _CHANGE = "action", "why", "change"
_APPEARS, _WITHHELD, _CAVEAT, _ENDING = "appears", "withheld", "caveat", "ending"
_INDICATOR_WORDS = {"critical": "Critical", "warning": "Warning", "info": "Information"}
_COUNTED = "number of"
_PLACEHOLDER_WORDS = {
    "after": "score",
    "age": _COUNTED,
    "before": "score",
    "benzo": "with a benzodiazepine",
    "condition": "condition",
    "course": "persistent or returned back pain",
    "count": "number",
    "date": "date",
    "days": _COUNTED,
    "dss": _COUNTED,
    "finding": "finding",
    "findings": "findings",
    "flag": "red flag",
    "flags": "cards",
    "grade": "grade",
    "implant": "implant",
    "indication": "level and side",
    "interval": _COUNTED,
    "keys": "parts of the chart",
    "low": "number",
    "measure": "latest score",
    "missing": "missing steps",
    "mme": "dose",
    "months": _COUNTED,
    "muscle": "muscle group",
    "on": "number",
    "onset": "number",
    "operation": "level and side",
    "reason": "reason",
    "scale": "questionnaire",
    "score": "score",
    "side": "side",
    "sign": "sign",
    "signs": "signs",
    "since": "date",
    "surgeries": _COUNTED,
    "type": "type of operation",
    "volume": "volume",
}
"""What stands on a page where the card puts the patient's own words and numbers."""
_STATUS_WORDS = {
    "draft": "draft",
    "reviewed": "reviewed, not yet released for use",
    "active": "released for use",
    "retired": "retired",
}


def register_pages(
    app: Flask,
    knowledge: Knowledge,
    today: Callable[[], date],
    may_link: Callable[[str], bool],
) -> None:
    """Add the landing page and the guidance pages to *app*.

    *may_link* tells whether the page of a source may be linked to.
    """
    cards = sorted(knowledge.cards.values(), key=lambda card: card.row)
    by_id = {card.id.upper(): card for card in cards}

    @app.get("/")
    def landing() -> str:
        return render_template(
            "landing.html", knowledge=knowledge, is_reviewed=not knowledge.is_unreviewed
        )

    @app.get("/guidance/")
    def guidance() -> str:
        return render_template(
            "guidance.html",
            cards=cards,
            knowledge=knowledge,
            indicator_words=_INDICATOR_WORDS,
            is_reviewed=not knowledge.is_unreviewed,
        )

    @app.get("/guidance/<card_id>", strict_slashes=True)
    def guidance_card(card_id: str) -> str:
        card = by_id.get(card_id.upper()) or abort(404)
        words = _GuidanceWords(knowledge, today())
        return render_template(
            "card.html", card=card, knowledge=knowledge, may_link=may_link, **words.of_card(card)
        )

    # Links on a page are relative, because a proxy may serve it below a path of its own: they are
    # right only at the page's one address.

    @app.get("/guidance", strict_slashes=True)
    def guidance_without_slash() -> Response:
        return redirect("guidance/")

    @app.get("/guidance/<card_id>/", strict_slashes=True)
    def guidance_card_with_slash(card_id: str) -> Response:
        card = by_id.get(card_id.upper()) or abort(404)
        return redirect(f"../{card.id.upper()}")


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
            "indicator_words": _INDICATOR_WORDS[card.indicator],
            "status_words": _STATUS_WORDS.get(card.status, card.status),
            "review_words": self._review(card.review),
            "summaries": list(dict.fromkeys(map(self._plain, card.summaries.values()))),
            "actions": self._variants(card, _ACTION),
            "endings": self._variants(card, _ENDING),
            "whys": self._variants(card, _WHY),
            "appears": self._sentences(card, _APPEARS),
            "withheld": self._sentences(card, _WITHHELD),
            "caveats": self._variants(card, _CAVEAT),
            "changes": self._variants(card, _CHANGE),
            "notes": [self._linked(_inline_html(self._fill(text))) for text in card.notes.values()],
            "is_red_flag": card.id in RED_FLAGS,
            "is_about_gaps": card.id == DATA_READ,
            "thresholds": [self._threshold(name) for name in self._numbers_of(card)],
            "sources": [knowledge.sources[name] for name in card.sources],
            "claims": [(claim, knowledge.claims[claim]) for claim in card.claims],
            "limits": self._plain(knowledge.phrases["limits-always"]),
        }

    def _review(self, review: Review | None) -> str:
        """Return who signed a card and when, or that nobody has."""
        if review is None:
            return "Not yet clinically reviewed; date of review: none."
        due = "to be reviewed again by" if self._day <= review.again_by else "review overdue since"
        return f"Reviewed by {review.by} on {review.on.isoformat()}; {due} {review.again_by}."

    def _variants(self, card: CardTemplate, *blocks: str) -> list[Markup]:
        """Return the texts of a block in all its variants, each once."""
        texts = [
            text
            for block in blocks
            for name, text in card.texts.items()
            if name == block or name.startswith(f"{block}-")
        ]
        return [self._html(text) for text in dict.fromkeys(texts)]

    def _sentences(self, card: CardTemplate, block: str) -> Markup:
        """Return a block whose sentences may start with a number in words."""
        filled = self._fill(card.texts.get(block, ""))
        capitalised = _BULLET_START.sub(lambda match: match[1] + match[2].upper(), filled)
        return self._linked(markdown_html(capitalised))

    def _numbers_of(self, card: CardTemplate) -> list[str]:
        """Return the thresholds a card names, and those only its sentences name."""
        texts = (*card.summaries.values(), *card.texts.values(), *card.notes.values())
        named = (match[2] for text in texts for match in PLACEHOLDER.finditer(text) if match[1])
        return list(dict.fromkeys([*card.thresholds, *named]))

    def _threshold(self, name: str) -> tuple[str, str, Source, str]:
        """Return title, boundary in words, source and place in it."""
        threshold = self._knowledge.thresholds[name]
        dated = threshold.value_on(self._day)
        source = self._knowledge.sources[dated.source]
        return (threshold.title, self._limits.words(threshold.id), source, dated.locator)

    def _plain(self, template: str) -> str:
        return self._fill(template).replace("*", "")

    def _fill(self, template: str) -> str:
        return PLACEHOLDER.sub(self._filled, template)

    def _filled(self, match: re.Match[str]) -> str:
        if match[1]:
            return (self._limits.span if match[1] == SPAN else self._limits.words)(match[2])
        words = _PLACEHOLDER_WORDS.get(match[2], match[2].replace("_", " "))
        if words == _COUNTED and match.string[: match.start()].lower().endswith("day "):
            words = "number"
        return f"[{words}]"

    def _html(self, template: str) -> Markup:
        return self._linked(markdown_html(self._fill(template)))

    def _linked(self, html: Markup) -> Markup:
        """Let the id of another card in safe *html* be its title, linked to its page."""
        return Markup(_CARD_ID.sub(self._link, html))  # noqa: S704 - safe already  # nosec B704

    def _link(self, match: re.Match[str]) -> str:
        card = self._knowledge.cards.get(match[0])
        if card is None:
            return match[0]
        return Markup('<a href="{}">{}</a>').format(card.id, f"“{card.title}”")


def markdown_html(text: str) -> Markup:
    """Return the small Markdown of ``cards/`` (paragraphs, lists, emphasis) as safe HTML."""
    groups = (
        list(lines)
        for is_blank, block in groupby(text.splitlines(), key=lambda line: not line.strip())
        if not is_blank
        for _, lines in groupby(block, key=lambda line: bool(_BULLET.match(line)))
    )
    return Markup("\n").join(_block_html(lines) for lines in groups)


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
    return Markup(_EMPHASIS.sub(r"<em>\1</em>", strong))  # noqa: S704 - escaped  # nosec B704
