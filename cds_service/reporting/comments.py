"""Which comments of users should be read first?  Sorted by a list of words.

A comment is a clinician's free text and may name a patient: it is counted here, and printed only
when the reader asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from cds_service.reporting.reading import Answer

OTHER = "Other comments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """The comments of a period by theme, the most pressing theme first."""

    themes: Mapping[str, tuple[Answer, ...]]

    @property
    def total(self) -> int:
        """Return how many comments there are."""
        return sum(len(comments) for comments in self.themes.values())


def triaged(comments: Iterable[Answer]) -> Triage:
    """Return *comments* under the first theme of the word list that fits."""
    themes: dict[str, list[Answer]] = {theme: [] for theme in (*_patterns(), OTHER)}
    for comment in comments:
        themes[theme_of(comment.comment or "")].append(comment)
    return Triage(themes={theme: tuple(found) for theme, found in themes.items()})


def theme_of(text: str) -> str:
    """Return the first theme whose words stand in *text*."""
    fitting = (theme for theme, pattern in _patterns().items() if pattern.search(text))
    return next(fitting, OTHER)


@cache
def _patterns() -> Mapping[str, re.Pattern[str]]:
    path = resources.files("cds_service.reporting").joinpath("comment-words.yaml")
    themes = yaml.safe_load(path.read_text(encoding="utf-8"))["themes"]
    return {entry["theme"]: _pattern(entry["words"]) for entry in themes}


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_one(word) for word in words), re.IGNORECASE)


def _one(word: str) -> str:
    if not word[0].isalpha():
        return re.escape(word)
    ending = r"\w*" if word.endswith("*") else ""
    return rf"\b{re.escape(word.removesuffix('*'))}{ending}\b"
