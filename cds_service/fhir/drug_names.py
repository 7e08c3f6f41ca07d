"""Drugs by their names, for sites whose lists hold words where codes belong.

Only behind a switch of the client profile: a name says less than a code.  The exception is
naloxone beside coded buprenorphine: the two together under the tongue treat opioid use disorder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cds_service.knowledge.model import Knowledge

_DRUG_SETS = (
    "acetaminophen",
    "anticoagulant",
    "antiplatelet",
    "benzodiazepine",
    "buprenorphine",
    "gabapentinoid",
    "methadone",
    "nsaid",
    "opioid",
    "snri",
    "tca",
    "topical-analgesic",
)
"""Naloxone is left out: kept at hand or part of a treatment, a name does not tell."""
_NALOXONE = re.compile(r"\bnaloxone\b", re.IGNORECASE)


def names_naloxone(texts: Iterable[str]) -> bool:
    """Whether the words of a drug known by its code name naloxone as a part of it."""
    return any(_NALOXONE.search(text) for text in texts)


def drugs_named(texts: Iterable[str], knowledge: Knowledge) -> frozenset[str]:
    """Return the drug value sets of which *texts* name a drug as a whole word."""
    names = knowledge.remember("drug names", lambda: _names(knowledge))
    pattern = knowledge.remember("drug name in a text", lambda: _pattern(names))
    found = (name for text in texts for name in pattern.findall(text.lower()))
    return frozenset(value_set for name in found for value_set in names[name])


def _names(knowledge: Knowledge) -> dict[str, set[str]]:
    """Return the value sets of each drug by its name in small letters."""
    names: dict[str, set[str]] = {}
    for value_set in _DRUG_SETS:
        for code in knowledge.value_sets[value_set].codes:
            for name in (code.display, *code.names) if code.is_enabled else ():
                names.setdefault(name.lower(), set()).add(value_set)
    return names


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<![a-z])(?:{'|'.join(map(re.escape, longest_first))})(?![a-z])")
