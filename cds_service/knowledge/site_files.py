"""What does a site's file mean beside ours of the same name, and where would it mislead the rules?

The rules count in our units and read our numbers from one side; cards need each of our texts, and
their row, which says how urgent they are.
Asked after the schemas, so every key that they require is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.knowledge.documents import Document
from cds_service.knowledge.model import words_to_fill

_SIDES = (("above", "at_or_above"), ("below", "at_or_below"), ("exactly",))
"""Boundary words that differ only in whether the boundary itself counts."""
_PARTS = ("summaries", "texts", "notes")


def misfits(ours: Document, site: Document) -> list[str]:
    """Return where *site* does not fit in the place of *ours*, each with file and what to do."""
    faults = {"thresholds": _of_number, "templates": _of_card}.get(ours.key.partition("/")[0])
    if faults is None:
        return []
    return [f"{site.name}: {fault}" for fault in faults(ours.content, site.content)]


def content_over(ours: Document, site: Document) -> dict[str, Any]:
    """Return the content that counts: before the first day of a site's number ours does."""
    if not ours.key.startswith("thresholds/"):
        return site.content
    first_day = site.content["values"][0]["from"]
    earlier = [dated for dated in ours.content["values"] if dated["from"] < first_day]
    return {**site.content, "values": [*earlier, *site.content["values"]]}


def _of_number(ours: Mapping[str, Any], site: Mapping[str, Any]) -> Iterator[str]:
    if site["unit"] != ours["unit"]:
        yield (
            f"unit: the rules count this number in '{ours['unit']}', not in '{site['unit']}'. "
            f"Write the number in '{ours['unit']}'."
        )
    if site["unit_shown"] != ours["unit_shown"]:
        yield (
            f"unit_shown: cards would print '{site['unit_shown']}' after a number that counts "
            f"'{ours['unit_shown']}'. Write '{ours['unit_shown']}'."
        )
    side = next(words for words in _SIDES if ours["fires"] in words)
    if site["fires"] not in side:
        yield (
            f"fires: '{site['fires']}' would turn the rule round; ours is '{ours['fires']}'. "
            f"Write {' or '.join(side)}."
        )


def _of_card(ours: Mapping[str, Any], site: Mapping[str, Any]) -> Iterator[str]:
    if site["row"] != ours["row"]:
        yield f"row: the decision table has this card in row {ours['row']}. Write {ours['row']}."
    if site["indicator"] != ours["indicator"]:
        yield (
            f"indicator: the rule says how urgent this card is. Write {ours['indicator']}; what an "
            "EHR shows is lowered by indicator_ceilings in the configuration."
        )
    for part in _PARTS:
        for name, text in ours[part].items():
            if name not in site[part]:
                yield f"{part}: '{name}' is missing, and a rule may ask for it. Write its words."
                continue
            filled = words_to_fill(text)
            for word in sorted(words_to_fill(site[part][name]) - filled):
                known = ", ".join(f"'{{{each}}}'" for each in sorted(filled)) or "none"
                yield f"{part}, '{name}': nothing fills '{{{word}}}'. Ours has: {known}."
