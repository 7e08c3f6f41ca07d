"""``cds-service orders``: a site's own order codes, checked, imported, listed."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from cds_service.catalogue.concept_map import read_concept_map
from cds_service.catalogue.orders import (
    OrderCatalogue,
    OrderEntry,
    catalogue_csv,
    order_concepts,
    template_csv,
)
from cds_service.commands.clients import client_of, client_options
from cds_service.commands.manners import clear_errors, examples
from cds_service.fhir.coding import Vocabulary
from cds_service.fhir.local_codes import check_local_codes
from cds_service.fhir.wire import Coding
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import OrderTemplate

_SHOWN = 20
"""Codes named of those an import leaves out."""


@click.group(
    short_help="A site's own order codes: check, import, list.",
    epilog=examples(
        "cds-service orders template > orders.csv",
        "cds-service orders import conceptmap.json > orders.csv",
        "cds-service orders check --config clients.toml --client epic-main",
    ),
)
def orders() -> None:
    """Give our orders the codes of a site's own order list."""


@orders.command("check", short_help="Which of our orders have a local code?")
@client_options
@clear_errors
def check(config_file: Path, client_id: str) -> None:
    """Print a table of all orders with the local codes of one client.

    An arrow says as what an entry of a chart with this code is read.

    Exit code 1 if the client requires local codes and an order has none.
    """
    client, knowledge = client_of(config_file, client_id)
    catalogue, is_required = client.order_catalogue, client.cards.requires_local_codes
    check_local_codes(client.code_map, knowledge)
    vocabulary = Vocabulary(knowledge, client.code_map)
    wanted = order_concepts(knowledge)
    missing = [order for order in wanted if not catalogue.entries_for(order.id)]
    without = (
        "no local code: shown as text" if is_required else "no local code: standard codes are sent"
    )
    width = max(len(order.id) for order in wanted)
    for order in wanted:
        for number, words in enumerate(_words(order, catalogue, vocabulary) or [without]):
            click.echo(f"{order.id if number == 0 else '':<{width}}  {words}")
    click.echo(f"{len(wanted) - len(missing)} of {len(wanted)} orders have a local code.")
    if catalogue.entries:
        click.echo("-> read so in charts; without an arrow no card asks whether it was ordered.")
    if missing and is_required:
        click.echo(
            "This client requires local codes (requires_local_codes). Add a line to its "
            "order_catalogue for each order without one.",
            err=True,
        )
        raise SystemExit(1)


@orders.command("template", short_help="An order list to fill in.")
@clear_errors
def template() -> None:
    """Print an order list in CSV with every concept and nothing filled in."""
    click.echo(template_csv(load_knowledge()), nl=False)


@orders.command("import", short_help="An order list from a FHIR ConceptMap.")
@click.argument("file", metavar="CONCEPTMAP", type=click.File("rb"))
@clear_errors
def import_(file: BinaryIO) -> None:
    """Print the order list in CSV that a FHIR ConceptMap (R4 or R5, JSON) describes.

    Its source codes are our order ids, or the LOINC, CPT and SNOMED CT codes of our orders.
    """
    found = read_concept_map(file.read(), load_knowledge())
    click.echo(catalogue_csv(found.entries), nl=False)
    if found.skipped:
        click.echo(f"Left out: {len(found.skipped)} codes that are no order of ours.", err=True)
        more = len(found.skipped) - _SHOWN
        shown = [*found.skipped[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        click.echo("\n".join(f"    {code}" for code in shown), err=True)


def _words(order: OrderTemplate, catalogue: OrderCatalogue, vocabulary: Vocabulary) -> list[str]:
    return [
        f"{entry.code}  {entry.display}  ({entry.system}){_arrow(entry, vocabulary)}"
        for entry in catalogue.entries_for(order.id)
    ]


def _arrow(entry: OrderEntry, vocabulary: Vocabulary) -> str:
    """Return what a chart's entry with the code of *entry* is read as, as words to append."""
    found = vocabulary.of_coding(Coding(system=entry.system, code=entry.code)).meanings
    return f"  -> {', '.join(sorted({concept for concept, _ in found}))}" if found else ""
