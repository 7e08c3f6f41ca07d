"""``cds-service ledger``: the tables of the record of calls and feedback, and its age."""

from __future__ import annotations

import click
from sqlalchemy.exc import SQLAlchemyError

from cds_service.app import config_source, load_content, open_ledger, place_of_ledger
from cds_service.commands.ledger_reading import require_ledger
from cds_service.commands.manners import clear_errors, examples
from cds_service.errors import SettingsError
from cds_service.ledger.database import LedgerLostError
from cds_service.ledger.migrating import migrate
from cds_service.ledger.quickly import kind_of
from cds_service.logging_setup import set_up_logging
from cds_service.settings import load_settings, process_environment

_CONFIG = click.option(
    "--config", type=click.Path(), help="TOML file with the service and its clients."
)
_STATE_DIR = click.option(
    "--state-dir", type=click.Path(), help="Folder for state.  [default: the file's, else ./var]"
)


@click.group(
    short_help="Look after the record of calls and feedback.",
    epilog=examples(
        "cds-service ledger migrate --config clients.toml",
        "cds-service ledger prune --config clients.toml",
    ),
)
def ledger() -> None:
    """Look after the ledger: the record of calls, cards and feedback."""


@ledger.command("migrate", short_help="Make or change its tables.")
@_CONFIG
@_STATE_DIR
@clear_errors
def ledger_migrate(**options: str | None) -> None:
    """Make the ledger's tables, or change them to those of this version.

    The SQLite file of the state folder needs no command: the service does it at its start.
    """
    settings = load_settings(options, process_environment())
    set_up_logging()
    place = place_of_ledger(settings, config_source(settings).current())
    try:
        is_changed = migrate(place)
    except (SQLAlchemyError, OSError) as error:
        raise SettingsError(
            f"{place.name}: the tables cannot be made or changed ({kind_of(error)}). See "
            "that the disk or the database can be written, that user and password are right, that "
            "the database's certificate can be trusted ([ledger] ca_file), and that this user may "
            "make tables; then run this again."
        ) from None
    done = "were made or changed" if is_changed else "are those of this version already"
    click.echo(f"The tables of the ledger, {place.name}, {done}.")


@ledger.command("prune", short_help="Delete what is older than its time.")
@_CONFIG
@_STATE_DIR
@clear_errors
def ledger_prune(**options: str | None) -> None:
    """Delete calls, cards and feedback older than retention_days, and snoozes that are over.

    A running service does this by itself once an hour.
    """
    settings = load_settings(options, process_environment())
    set_up_logging()
    source = config_source(settings)
    require_ledger(place_of_ledger(settings, source.current()))
    kept = open_ledger(settings, source, load_content(source.current()))
    click.echo("Deleting ...", err=True)
    try:
        deleted = kept.prune()
    except LedgerLostError as lost:
        if isinstance(lost.__cause__, SettingsError):  # its tables are not those of this version
            raise lost.__cause__ from None
        raise SettingsError(
            "The ledger cannot be written now: another program holds it, the disk is full, or the "
            "database does not answer. See that it can be written, and run this again."
        ) from None
    finally:
        kept.close()
    click.echo(f"Deleted {deleted} rows older than {kept.retention_days} days.")
