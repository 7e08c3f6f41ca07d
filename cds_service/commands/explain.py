"""``cds-service explain``: why one call was answered as it was."""

from __future__ import annotations

import click

from cds_service.commands.ledger_reading import ledger_to_read, place_options
from cds_service.commands.manners import clear_errors, examples
from cds_service.reporting.explaining import NO_SUCH_CALL, as_json, as_text, explained


@click.command(
    short_help="Say why one call was answered as it was.",
    epilog=examples(
        "cds-service explain --config clients.toml d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "cds-service explain --format json d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    ),
)
@click.argument("hook_instance")
@place_options
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
@clear_errors
def explain(hook_instance: str, output_format: str, **place: str | None) -> None:
    """Say why the call HOOK_INSTANCE was answered as it was.

    HOOK_INSTANCE is the id the EHR gave the call; it stands in the log of both sides.
    """
    with ledger_to_read(place) as ledger, ledger.engine.connect() as connection:
        calls = explained(connection, hook_instance, ledger.knowledge)
    if not calls:
        raise click.ClickException(NO_SUCH_CALL)
    if output_format == "json":
        click.echo(as_json(calls))
    else:
        click.echo("\n".join(as_text(call) for call in calls))
