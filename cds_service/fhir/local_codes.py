"""Do a site's local codes fit what this service reads?"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from cds_service.catalogue.codes import CodeEntry, CodeMap, check_code_concepts
from cds_service.catalogue.orders import NO_CATALOGUE, check_order_concepts, meanings_of_entries
from cds_service.errors import SettingsError
from cds_service.fhir import reasons
from cds_service.fhir.coding import Vocabulary
from cds_service.fhir.units import SCALES, measured
from cds_service.fhir.wire import Coding, Quantity
from cds_service.knowledge.checking import DISJOINT
from cds_service.knowledge.model import Knowledge

_EXCLUSIVE = tuple(group for group in DISJOINT if not group[0].startswith("level-"))


def check_local_codes(code_map: CodeMap, knowledge: Knowledge) -> None:
    """Refuse local codes for a concept we do not have, or with a unit it cannot have.

    So are two concepts of one code that exclude each other, and a code by which the order list
    orders something else.

    Raises:
        SettingsError: A line is wrong; the text names line and column.
    """
    check_code_concepts(code_map, knowledge)
    _check_orders(code_map, knowledge)
    for entry in code_map.entries:
        other = _contradicted(code_map, entry)
        if other is not None:
            raise SettingsError(
                f"{code_map.file}, line {entry.line}, column concept: this code stands for "
                f"'{other}' too, and nothing is both. Remove one of the lines."
            )
        scales = _numbers(code_map, entry.system, entry.code)
        if entry.unit and not any(_is_read(name, entry.unit) for name in scales):
            why = "this unit is not read for it" if scales else "its concept carries no number"
            raise SettingsError(
                f"{code_map.file}, line {entry.line}, column unit: {why}. Write a UCUM unit such "
                "as mg/L or mL, or leave the cell empty."
            )


def _check_orders(code_map: CodeMap, knowledge: Knowledge) -> None:
    """Refuse a code that is read as an order, and as none of those the order list has for it."""
    check_order_concepts(code_map.orders, knowledge)
    orders = {name for order in knowledge.orders.values() for name, _ in order.read_as}
    elsewhere = Vocabulary(knowledge, replace(code_map, orders=NO_CATALOGUE))
    for (system, code), entries in code_map.orders.by_code.items():
        meanings = elsewhere.of_coding(Coding(system=system, code=code)).meanings
        known = [name for name, _ in meanings if name in orders]
        ordered = {name for name, _ in meanings_of_entries(entries, knowledge)}
        if known and ordered.isdisjoint(known):
            is_mapped = known[0] in code_map.concepts.get((system, code), ())
            where = code_map.file if is_mapped else f"cards/value-sets/{known[0]}.yaml"
            raise SettingsError(
                f"{code_map.orders.file}, line {entries[0].line}, column code: this code orders "
                f"'{entries[0].concept}' here, and {where} reads it as '{known[0]}'. Correct the "
                "wrong one; a code that means both has a line for each in the code map."
            )


def _contradicted(code_map: CodeMap, entry: CodeEntry) -> str | None:
    """Return an earlier meaning of the same code beside which that of *entry* cannot be true.

    One number is one measurement; one code may well name several levels.
    """
    meanings = code_map.concepts[entry.system, entry.code]
    for earlier in meanings[: meanings.index(entry.concept)]:
        pair = {earlier, entry.concept}
        if pair <= SCALES.keys() or any(pair <= set(group) for group in _EXCLUSIVE):
            return earlier
    return None


def _numbers(code_map: CodeMap, system: str, code: str) -> list[str]:
    return [name for name in code_map.concepts[system, code] if name in SCALES]


def _is_read(concept: str, unit: str) -> bool:
    middle = (SCALES[concept].low + SCALES[concept].high) / Decimal(2)
    return measured(concept, Quantity(value=middle, unit=unit)) != reasons.UNIT_NOT_READ
