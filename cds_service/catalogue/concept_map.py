"""A FHIR ConceptMap as an order list: R4 (``equivalence``) and R5 (``relationship``).

The source codes may be our order ids or the standard codes of our orders (LOINC, CPT, SNOMED CT).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cds_service.catalogue.orders import OrderEntry
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge

_NOT_THE_SAME = frozenset({"unmatched", "disjoint", "not-related-to"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a ConceptMap brought: entries, and those of its source codes that are no order of ours.

    Of several entries for one order the first is the one to recommend.
    """

    entries: tuple[OrderEntry, ...]
    skipped: tuple[str, ...]


def read_concept_map(content: bytes, knowledge: Knowledge) -> Imported:
    """Return the order list a ConceptMap in JSON describes.

    Raises:
        SettingsError: It is no ConceptMap, a group lacks its target system, a target its
            code or display, or nothing fits.
    """
    concepts = _concepts(knowledge)
    unique: dict[tuple[str, str, str], OrderEntry] = {}
    skipped: list[str] = []
    for place, source, target_system, element in _elements(_document(content)):
        code = _text(element, "code")
        concept = concepts.get((source, code)) or concepts.get(("", code))
        if concept is None:
            skipped.append(f"{source}|{code}")
            continue
        for entry in _entries(place, concept, target_system, element):
            unique.setdefault((entry.concept, entry.system, entry.code), entry)
    if not unique:
        raise SettingsError(
            "The ConceptMap maps none of our orders. Its source codes must be our order ids "
            "('cds-service orders template' lists them) or the standard codes of our orders."
        )
    return Imported(entries=tuple(unique.values()), skipped=tuple(skipped))


def _concepts(knowledge: Knowledge) -> Mapping[tuple[str, str], str]:
    """Return our order for each standard coding, and for its own id under any system."""
    found = {("", order_id): order_id for order_id in knowledge.orders}
    for order in knowledge.orders.values():
        for system, code, _ in order.codings:
            found.setdefault((system, code), order.id)
    return found


def _document(content: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("resourceType") != "ConceptMap":
        raise SettingsError("The file is not a FHIR ConceptMap in JSON. Export one from your tool.")
    return document


def _elements(
    document: Mapping[str, object],
) -> Iterator[tuple[str, str, str, Mapping[str, object]]]:
    """Yield place, source system, target system and element."""
    for number, group in enumerate(_objects(document.get("group"))):
        target = _text(group, "target").split("|", 1)[0]
        if not target:
            raise SettingsError(
                f"ConceptMap.group[{number}].target: the code system of the targets is missing. "
                "Add it."
            )
        source = _text(group, "source").split("|", 1)[0]
        for position, element in enumerate(_objects(group.get("element"))):
            yield f"ConceptMap.group[{number}].element[{position}]", source, target, element


def _entries(
    place: str, concept: str, system: str, element: Mapping[str, object]
) -> Iterator[OrderEntry]:
    for target in _objects(element.get("target")):
        relation = _text(target, "equivalence") or _text(target, "relationship")
        if relation in _NOT_THE_SAME:
            continue
        code, display = _text(target, "code"), _text(target, "display")
        if not code:
            raise SettingsError(
                f"{place}.target: a target has no code. Add it, or say that nothing matches "
                "(equivalence unmatched; in R5 noMap)."
            )
        if not display:
            raise SettingsError(
                f"{place}.target: a target has no display. Add the name clinicians know."
            )
        yield OrderEntry(
            concept=concept,
            system=system,
            code=code,
            display=display,
            instructions=" ".join(_text(target, "comment").split()),
        )


def _text(node: Mapping[str, object], key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
