"""How do numbers, dates and ideas become words?  Fills the templates of ``cards/``.

Template text is ours and may be Markdown; whatever fills a placeholder is escaped, so nothing that
gets in by mistake can become a link, a tag or a heading.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Term, Word
from cds_service.evaluation.limits import limits_on
from cds_service.knowledge.model import PLACEHOLDER, SPAN, SUMMARY_MOST, Knowledge

_MadeSafe = Callable[[str], str]

_REMEMBERED_TEXTS = 4096
_SHOWN_DIGITS = Decimal("0.01")
_FIRST_LINE = (0,)
# The number stands before the look behind it, so that it is found by its first digit.
_SINGULAR = re.compile(r"1(?<![\d.,/-]1) (day|point|test)s\b")
_MARKDOWN = re.compile(r"[\\`*_\[\]{}|~]")
_LINE_START = re.compile(r"^([-+=#>])")
_AUTOLINK = re.compile(r"://|www\.|@", re.IGNORECASE)
_UNSAFE_IN_PLAIN = re.compile(r"[\\`*_\[\]{}|~<>&@]|://")
_TODAY = re.compile(r"0(?<![\d.,/-]0) days ago\b")
_DAY_ZERO = re.compile(r"0(?<![\d.,/-]0) days after (?=(?:lumbar )?surgery|the operation)")


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
    if isinstance(value, int):
        return str(value)
    rounded = value.quantize(_SHOWN_DIGITS)
    return f"{rounded.normalize():f}"


def listed(items: Iterable[str]) -> str:
    """Return "a, b, c"."""
    return ", ".join(items)


def headed(title: str, text: str) -> str:
    """Return *text* after its title in bold, or nothing."""
    return f"**{title}.** {text}" if text else ""


def itemised(title: str, lines: Sequence[str]) -> str:
    """Return *lines* as a Markdown list under its title in bold, or nothing."""
    return f"**{title}**\n\n- " + "\n- ".join(lines) if lines else ""


class _Pattern(NamedTuple):
    """A template with ``%s`` where each of ``names`` goes."""

    text: str
    names: tuple[str, ...]
    lines_begun_by_a_word: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """Fills templates with words for one day; each template is read once."""

    knowledge: Knowledge
    as_of: date
    _markdown: dict[str, str | _Pattern] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _plain: dict[str, str | _Pattern] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What was read so far; a template without words is ready as it is."""

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
        if isinstance(word, str):
            return word
        if isinstance(word, int):
            return str(word)
        if isinstance(word, date):
            return word.isoformat()
        if isinstance(word, Term):
            return self.term(word)
        if isinstance(word, tuple):
            return self.listed([self.term(term) for term in word], most)
        return number(word)

    def listed(self, items: Sequence[str], most: int | None) -> str:
        """Return "a, b, c"; with *most*, the first ones "and n more"."""
        if most is None or len(items) <= most:
            return listed(items)
        shown = listed(items[:most])
        return self.knowledge.said("and-more", shown=shown, count=len(items) - most)

    def threshold(self, threshold_id: str, kind: str = "") -> str:
        """Return a threshold as *kind* of placeholder: "at least 50 MME/day", or a span."""
        if threshold_id not in self.knowledge.thresholds:
            raise KnowledgeError(
                f"cards/templates: there is no threshold '{threshold_id}'. Correct its name."
            )
        limits = limits_on(self.as_of, self.knowledge)
        return limits.span(threshold_id) if kind == SPAN else limits.words(threshold_id)

    def with_numbers(self, text: str) -> str:
        """Return *text*, which has room for thresholds only, with these in words."""
        return PLACEHOLDER.sub(lambda blank: self.threshold(blank["name"], blank["kind"]), text)

    def markdown(self, template: str, words: Mapping[str, Word]) -> str:
        """Return the filled *template* as Markdown; lines that begin with a word begin upper case.

        Raises:
            KnowledgeError: The template names a placeholder that the rule does not fill.
        """
        pattern = self._markdown.get(template)
        if pattern is None:
            pattern = self._markdown[template] = self._markdown_pattern(template)
        if isinstance(pattern, str):
            return pattern
        text = self._filled(pattern, words, escape_markdown)
        begun = pattern.lines_begun_by_a_word
        return _begun_upper(text, begun) if begun else text

    def plain(self, template: str, words: Mapping[str, Word], most: int | None = None) -> str:
        """Return the filled *template* on one line of plain text, beginning upper case."""
        pattern = self._plain.get(template)
        if pattern is None:
            pattern = self._plain[template] = self._plain_pattern(template)
        if isinstance(pattern, str):
            return pattern
        return _sentence(self._filled(pattern, words, strip_markup, most))

    def summary(self, template: str, words: Mapping[str, Word], title: str) -> str:
        """Return the headline, with lists shortened to "and n more" until it fits.

        Nothing is cut inside a word: a headline that never fits (a site's longer words) gives way
        to *title*, so that the card itself is not lost.
        """
        text = self.plain(template, words)
        if len(text) <= SUMMARY_MOST:
            return text
        longest = max((len(w) for w in words.values() if isinstance(w, tuple)), default=1)
        for most in range(longest - 1, 0, -1):
            text = self.plain(template, words, most)
            if len(text) <= SUMMARY_MOST:
                return text
        return title

    def _markdown_pattern(self, template: str) -> str | _Pattern:
        lines = template.strip().splitlines()
        begun = tuple(n for n, line in enumerate(lines) if PLACEHOLDER.match(line))
        text, names = self._opened("\n".join(lines), escape_markdown)
        if names:
            return _Pattern(text, names, begun)
        return _begun_upper(_counted(text % ()), begun)

    def _plain_pattern(self, template: str) -> str | _Pattern:
        text, names = self._opened(template.replace("*", ""), strip_markup)
        return _Pattern(text, names, ()) if names else _sentence(_counted(text % ()))

    def _opened(self, template: str, made_safe: _MadeSafe) -> tuple[str, tuple[str, ...]]:
        """Return *template* with thresholds in words and ``%s`` for the rest, and its names."""
        names = []

        def opened(blank: re.Match[str]) -> str:
            if blank["kind"]:
                return made_safe(self.threshold(blank["name"], blank["kind"])).replace("%", "%%")
            names.append(blank["name"])
            return "%s"

        return PLACEHOLDER.sub(opened, template.replace("%", "%%")), tuple(names)

    def _filled(
        self,
        pattern: _Pattern,
        words: Mapping[str, Word],
        made_safe: _MadeSafe,
        most: int | None = None,
    ) -> str:
        word = self.word
        try:
            filling = [made_safe(word(words[name], most)) for name in pattern.names]
        except KeyError as missing:
            raise KnowledgeError(
                f"cards/templates: nothing fills the placeholder '{{{missing.args[0]}}}'. "
                "Correct its name in the template."
            ) from None
        text = pattern.text % tuple(filling)
        return _counted(text)


def wording_on(day: date, knowledge: Knowledge) -> Wording:
    """Return the wording of *day*; every answer of that day shares it."""
    return knowledge.remember(("wording", day), lambda: Wording(knowledge, day))


def with_measure(words: Mapping[str, Word], knowledge: Knowledge) -> Mapping[str, Word]:
    """Return *words* with ``measure``: the score as it is read ("leg pain 7/10", "ODI 44")."""
    site, score = words.get("site"), words.get("score")
    if not isinstance(site, Term) or not isinstance(score, int | Decimal):
        return words
    measure = knowledge.said(site.id.replace("site-", "measure-"), score=number(score))
    return {**words, "measure": measure}


def _counted(text: str) -> str:
    """Return *text* with "1 day" for "1 days", and day 0 as today or as the day of surgery."""
    if "1 " in text:
        text = _SINGULAR.sub(r"1 \1", text)
    if "0 days a" in text:
        text = _DAY_ZERO.sub("on the day of ", _TODAY.sub("today", text))
    return text


def _sentence(text: str) -> str:
    """Return *text* on one line, beginning upper case."""
    return _upper_first(" ".join(text.split()))


def _begun_upper(text: str, lines: Sequence[int]) -> str:
    """Return *text* with these of its lines beginning upper case."""
    if lines == _FIRST_LINE:
        return _upper_first(text)
    every = text.split("\n")
    for line in lines:
        every[line] = _upper_first(every[line])
    return "\n".join(every)


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
