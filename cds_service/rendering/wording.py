"""How do numbers, dates and ideas become words?  Fills the templates of ``cards/``.

Template text is ours and may be Markdown; whatever fills a placeholder is escaped, so nothing that
gets in by mistake can become a link, a tag or a heading.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Term, Word
from cds_service.evaluation.limits import limits_on
from cds_service.knowledge.model import Knowledge

SUMMARY_LIMIT = 139
"""CDS Hooks: a summary has fewer than 140 characters."""

_REMEMBERED_TEXTS = 4096
_SHOWN_DIGITS = Decimal("0.01")
_SINGULAR = re.compile(r"(?<![\d.,/-])1 (day|point|test)s\b")
_PLACEHOLDER = re.compile(r"\{(?P<kind>threshold:)?(?P<name>[a-z0-9_-]+)\}")
_MARKDOWN = re.compile(r"[\\`*_\[\]{}|~]")
_LINE_START = re.compile(r"^([-+=#>])")
_AUTOLINK = re.compile(r"://|www\.|@", re.IGNORECASE)
_UNSAFE_IN_PLAIN = re.compile(r"[\\`*_\[\]{}|~<>&@]|://")


def printable(text: str) -> str:
    """Return *text* on one line without control, format and private characters."""
    if text.isprintable():
        return " ".join(text.split())
    spaced = re.sub(r"\s+", " ", text)
    return "".join(c for c in spaced if not unicodedata.category(c).startswith("C")).strip()


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def escape_markdown(text: str) -> str:
    """Return *text* so that GitHub Markdown and HTML show it letter by letter."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _MARKDOWN.sub(lambda match: "\\" + match.group(), escaped)
    escaped = _AUTOLINK.sub(_as_entity, escaped)
    return _LINE_START.sub(r"\\\1", escaped)


def _as_entity(match: re.Match[str]) -> str:
    text = match.group()
    return text.replace(":", "&#58;").replace(".", "&#46;").replace("@", "&#64;")


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def strip_markup(text: str) -> str:
    """Return *text* for places that are not Markdown: marks of Markdown and HTML are left out."""
    return printable(_UNSAFE_IN_PLAIN.sub("", printable(text)))


def number(value: int | Decimal) -> str:
    """Return a number without an exponent or trailing zeros, with at most two decimals."""
    rounded = Decimal(value).quantize(_SHOWN_DIGITS)
    return f"{rounded.normalize():f}"


def listed(items: list[str], most: int | None = None) -> str:
    """Return "a, b, c"; with *most*, the first ones "and n more"."""
    if most is not None and len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return ", ".join(items)


class _Blank(NamedTuple):
    """A placeholder and the text before it; the last one of a text has no name."""

    before: str
    name: str
    is_threshold: bool


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def _blanks(text: str) -> tuple[_Blank, ...]:
    *filled, last = _PLACEHOLDER.split(text)
    befores, kinds, names = filled[::3], filled[1::3], filled[2::3]
    blanks = (
        _Blank(before, name, is_threshold=kind is not None)
        for before, kind, name in zip(befores, kinds, names, strict=True)
    )
    return (*blanks, _Blank(last, "", is_threshold=False))


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def _lines(template: str) -> tuple[str | tuple[_Blank, ...], ...]:
    """Return the lines of *template*; those with nothing to fill in as they are."""
    lines = template.strip().splitlines()
    return tuple(_blanks(line) if "{" in line else line for line in lines)


@dataclass(frozen=True, slots=True)
class Wording:
    """Fills templates with words for one day."""

    knowledge: Knowledge
    as_of: date

    def term(self, term: Term) -> str:
        """Return the words of an idea.

        Raises:
            KnowledgeError: ``cards/`` has no words for it.
        """
        if term.kind == "value-set" and term.id in self.knowledge.value_sets:
            label = self.knowledge.value_sets[term.id].label
            return self.knowledge.phrases.get(f"finding-{term.id}", label)
        if term.kind == "phrase" and term.id.lower() in self.knowledge.phrases:
            return self.knowledge.phrases[term.id.lower()]
        raise KnowledgeError(
            f"cards/: there are no words for the {term.kind} '{term.id}'. "
            "Add them to cards/phrases.yaml or as label of the value set."
        )

    def word(self, word: Word, most: int | None = None) -> str:
        """Return one word as plain text; *most* shortens a list."""
        if isinstance(word, tuple):
            return listed([self.term(term) for term in word], most)
        if isinstance(word, Term):
            return self.term(word)
        if isinstance(word, date):
            return word.isoformat()
        return word if isinstance(word, str) else number(word)

    def threshold(self, threshold_id: str) -> str:
        """Return boundary and value of a threshold: "at or above 50 MME/day"."""
        if threshold_id not in self.knowledge.thresholds:
            raise KnowledgeError(
                f"cards/templates: there is no threshold '{threshold_id}'. Correct its name."
            )
        return limits_on(self.as_of, self.knowledge).words(threshold_id)

    def markdown(self, template: str, words: Mapping[str, Word]) -> str:
        """Return the filled *template* as Markdown; lines that begin with a word begin upper case.

        Raises:
            KnowledgeError: The template names a placeholder that the rule does not fill.
        """
        lines = [
            line if isinstance(line, str) else self._line(line, words) for line in _lines(template)
        ]
        return "\n".join(lines)

    def _line(self, blanks: Sequence[_Blank], words: Mapping[str, Word]) -> str:
        filled = _singular(self._fill_in(blanks, words, escape_markdown))
        return filled if blanks[0].before else _upper_first(filled)

    def plain(self, template: str, words: Mapping[str, Word], most: int | None = None) -> str:
        """Return the filled *template* on one line of plain text, beginning upper case."""
        filled = self._fill_in(_blanks(template), words, strip_markup, most)
        return _upper_first(_singular(" ".join(filled.replace("*", "").split())))

    def _fill_in(
        self,
        blanks: Sequence[_Blank],
        words: Mapping[str, Word],
        made_safe: Callable[[str], str],
        most: int | None = None,
    ) -> str:
        parts = []
        for blank in blanks:
            parts.append(blank.before)
            if blank.name:
                parts.append(made_safe(self._filled(blank, words, most)))
        return "".join(parts)

    def summary(self, template: str, words: Mapping[str, Word], title: str) -> str:
        """Return the headline, with lists shortened to "and n more" until it fits.

        Nothing is cut inside a word: a headline that never fits (a site's longer words) gives way
        to *title*, so that the card itself is not lost.
        """
        longest = max((len(w) for w in words.values() if isinstance(w, tuple)), default=1)
        for most in range(max(longest, 1), 0, -1):
            text = self.plain(template, words, most)
            if len(text) <= SUMMARY_LIMIT:
                return text
        return title

    def _filled(self, blank: _Blank, words: Mapping[str, Word], most: int | None = None) -> str:
        name = blank.name
        if blank.is_threshold:
            return self.threshold(name)
        if name not in words:
            raise KnowledgeError(
                f"cards/templates: nothing fills the placeholder '{{{name}}}'. "
                "Correct its name in the template."
            )
        return self.word(words[name], most)


def with_measure(words: Mapping[str, Word], knowledge: Knowledge) -> Mapping[str, Word]:
    """Return *words* with ``measure``: the score as it is read ("leg pain 7/10", "ODI 44")."""
    site, score = words.get("site"), words.get("score")
    if not isinstance(site, Term) or not isinstance(score, int | Decimal):
        return words
    template = knowledge.phrases[site.id.replace("site-", "measure-")]
    return {**words, "measure": template.replace("{score}", number(score))}


def placeholders(template: str) -> frozenset[str]:
    """Return the names of the words a template needs, thresholds not among them."""
    return frozenset(m["name"] for m in _PLACEHOLDER.finditer(template) if not m["kind"])


def _singular(text: str) -> str:
    """Return *text* with "1 day" for "1 days"."""
    return _SINGULAR.sub(r"1 \1", text) if "1 " in text else text


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
