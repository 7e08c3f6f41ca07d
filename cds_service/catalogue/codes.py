"""Which of our concepts do the local codes of a site's charts mean?

The file is CSV, one line for each meaning: a flowsheet row "EHL strength, left" has three lines
(``mrc-grade``, ``muscle-ehl``, ``side-left``).  Concepts are the ids of ``cards/value-sets``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cds_service.catalogue.orders import NO_CATALOGUE, OrderCatalogue
from cds_service.catalogue.tables import Column, check_code, read_rows
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge

_COLUMNS = (
    Column(name="system", longest=256),
    Column(name="code", longest=128),
    Column(name="concept", longest=64),
    Column(name="unit", longest=40, is_required=False),
    Column(name="remark", longest=200, is_required=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeEntry:
    """One meaning of one local code.

    Units:
        ``unit`` is the unit of a number that comes without one; empty: none is assumed.
    """

    system: str
    code: str
    concept: str
    unit: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMap:
    """The local codes of a site's charts; those of its order list mean what they order."""

    file: str = ""
    entries: tuple[CodeEntry, ...] = ()
    concepts: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict, repr=False)
    """System and code to value set ids."""
    units: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """System and code to the unit assumed where the chart states none."""
    orders: OrderCatalogue = NO_CATALOGUE


NO_CODES = CodeMap()


def read_code_map(file: str, content: bytes) -> CodeMap:
    """Return the local codes in the CSV *content*; *file* is its name in faults.

    Raises:
        SettingsError: A line is wrong; the text names line and column.
    """
    entries: list[CodeEntry] = []
    concepts: dict[tuple[str, str], tuple[str, ...]] = {}
    units: dict[tuple[str, str], str] = {}
    for row in read_rows(file, content, _COLUMNS):
        key = check_code(row)
        concept, unit = row.cells["concept"], row.cells["unit"]
        if concept in concepts.get(key, ()):
            raise row.fault("concept", "this code has this concept already.", "Remove one line.")
        if unit and units.setdefault(key, unit) != unit:
            raise row.fault("unit", "another line gives this code another unit.", "Keep one.")
        concepts[key] = (*concepts.get(key, ()), concept)
        entries.append(
            CodeEntry(system=key[0], code=key[1], concept=concept, unit=unit, line=row.line)
        )
    return CodeMap(
        file=file,
        entries=tuple(entries),
        concepts=MappingProxyType(concepts),
        units=MappingProxyType(units),
    )


def check_code_concepts(code_map: CodeMap, knowledge: Knowledge) -> None:
    """Refuse local codes that stand for a concept we do not have.

    Raises:
        SettingsError: A concept is no id of ``cards/value-sets``; the text names its line.
    """
    for entry in code_map.entries:
        if entry.concept not in knowledge.value_sets:
            near = difflib.get_close_matches(entry.concept, knowledge.value_sets, n=1)
            todo = f"Did you mean '{near[0]}'?" if near else "/fhir/ValueSet/ID shows each of them."
            raise SettingsError(
                f"{code_map.file}, line {entry.line}, column concept: '{entry.concept}' is no "
                f"concept of this service (no file in cards/value-sets has this name). {todo}"
            )
