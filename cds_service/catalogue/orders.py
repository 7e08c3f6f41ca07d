"""Which entries of a site's own order list stand for our orders?

The file is CSV, one line for each entry.  Several entries may stand for one order; the first is
the one to recommend.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cds_service.catalogue.tables import Column, check_code, read_rows
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge, Needs, OrderTemplate

_COLUMNS = (
    Column(name="concept", longest=64),
    Column(name="system", longest=256, may_be_empty=True),
    Column(name="code", longest=128, may_be_empty=True),
    Column(name="display", longest=80, may_be_empty=True),
    Column(name="instructions", longest=500, is_required=False),
)
_SITE_FORMS = ("-other", "-orthopedic")
"""Endings of orders that take another's place at some sites; that other one is the concept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEntry:
    """One entry of a site's order list; ``line`` is its place in the file."""

    concept: str
    system: str
    code: str
    display: str
    instructions: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCatalogue:
    """A site's order list, as far as it concerns us."""

    file: str = ""
    entries: tuple[OrderEntry, ...] = ()
    by_concept: Mapping[str, tuple[OrderEntry, ...]] = field(default_factory=dict, repr=False)
    by_code: Mapping[tuple[str, str], tuple[OrderEntry, ...]] = field(
        default_factory=dict, repr=False
    )
    """System and code to what is ordered by it."""

    def entries_for(self, *concepts: str) -> tuple[OrderEntry, ...]:
        """Return the entries of the first of *concepts* that has any."""
        found = (self.by_concept.get(concept) for concept in concepts)
        return next((entries for entries in found if entries), ())


NO_CATALOGUE = OrderCatalogue()


def read_order_catalogue(
    file: str, content: bytes, allowed_systems: Iterable[str] = ()
) -> OrderCatalogue:
    """Return the order list in the CSV *content*; *file* is its name in faults.

    With *allowed_systems* an entry of another code system is refused: the EHR would ignore it.

    Raises:
        SettingsError: A line is wrong; the text names line and column.
    """
    allowed = tuple(allowed_systems)
    by_concept: dict[str, list[OrderEntry]] = {}
    by_code: dict[tuple[str, str], tuple[OrderEntry, ...]] = {}
    for row in read_rows(file, content, _COLUMNS):
        if not any(row.cells[name] for name in ("system", "code", "display")):
            continue  # a line of the template nobody has filled in
        system, code = check_code(row)
        if not row.cells["display"]:
            raise row.fault("display", "the cell is empty.", "Write the name clinicians know.")
        if allowed and system not in allowed:
            raise row.fault(
                "system",
                "this EHR does not act on orders of this code system.",
                f"Use one of: {', '.join(allowed)}.",
            )
        entry = OrderEntry(
            concept=row.cells["concept"],
            system=system,
            code=code,
            display=row.cells["display"],
            instructions=row.cells["instructions"],
            line=row.line,
        )
        known = by_concept.setdefault(entry.concept, [])
        if any((other.system, other.code) == (system, code) for other in known):
            raise row.fault("code", "this concept has this code already.", "Remove one line.")
        known.append(entry)
        by_code[system, code] = (*by_code.get((system, code), ()), entry)
    return OrderCatalogue(
        file=file,
        entries=tuple(entry for entries in by_concept.values() for entry in entries),
        by_concept=MappingProxyType({name: tuple(found) for name, found in by_concept.items()}),
        by_code=MappingProxyType(by_code),
    )


def check_order_concepts(catalogue: OrderCatalogue, knowledge: Knowledge) -> None:
    """Refuse a catalogue that maps something we never order.

    Raises:
        SettingsError: A concept is no id of ``cards/orders``; the text names its line.
    """
    for entry in catalogue.entries:
        if entry.concept not in knowledge.orders:
            near = difflib.get_close_matches(entry.concept, knowledge.orders, n=1)
            todo = (
                f"Did you mean '{near[0]}'?"
                if near
                else "'cds-service orders template' lists the concepts."
            )
            raise SettingsError(
                f"{catalogue.file}, line {entry.line}, column concept: '{entry.concept}' is no "
                f"order of this service. {todo}"
            )


def meanings_of_entries(
    entries: Iterable[OrderEntry], knowledge: Knowledge
) -> tuple[tuple[str, Needs], ...]:
    """Return what a chart's entry under the one code of *entries* counts as.

    Of an order set everything in it is ordered.  Where one order means all that another means and
    more (a pain referral, and one for stimulation), the code alone tells only the less.
    """
    meanings = {frozenset(knowledge.orders[entry.concept].read_as) for entry in entries}
    meanings.discard(frozenset())
    least = [each for each in meanings if not any(other < each for other in meanings)]
    return tuple(sorted(frozenset().union(*least), key=lambda meaning: meaning[0]))


def order_concepts(knowledge: Knowledge) -> tuple[OrderTemplate, ...]:
    """Return the orders a site has to map; forms for other countries and specialties are left out.

    A site may map those by their own id where it wants them told apart.
    """
    return tuple(
        knowledge.orders[order_id]
        for order_id in sorted(knowledge.orders)
        if not any(
            order_id.endswith(ending) and order_id.removesuffix(ending) in knowledge.orders
            for ending in _SITE_FORMS
        )
    )


def template_csv(knowledge: Knowledge) -> str:
    """Return an order list to fill in: every concept once, with our title as a remark."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([column.name for column in _COLUMNS])
    for order in order_concepts(knowledge):
        lines.write(f"# {order.title}\n")
        writer.writerow([order.id, "", "", "", ""])
    return lines.getvalue()


def catalogue_csv(entries: Iterable[OrderEntry]) -> str:
    """Return *entries* as the CSV file this module reads."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([column.name for column in _COLUMNS])
    for entry in entries:
        writer.writerow(
            [entry.concept, entry.system, entry.code, entry.display, entry.instructions]
        )
    return lines.getvalue()
