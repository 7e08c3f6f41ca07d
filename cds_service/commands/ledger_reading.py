"""The ledger for a command that only reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import click
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from cds_service.app import config_source, load_content, place_of_ledger
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.place import AT_LEISURE, LedgerPlace
from cds_service.ledger.quickly import kind_of
from cds_service.settings import load_settings, process_environment

PLACE_OPTIONS = (
    click.option("--config", type=click.Path(), help="TOML file with the service and its clients."),
    click.option(
        "--state-dir",
        type=click.Path(),
        help="Folder for state.  [default: the file's, else ./var]",
    ),
)


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the ledger is."""
    for option in reversed(PLACE_OPTIONS):
        command = option(command)
    return command


def require_ledger(place: LedgerPlace) -> None:
    """Make sure that *place* is not a folder without a ledger.

    Raises:
        SettingsError: It is.
    """
    if place.file is not None and not place.file.is_file():
        raise SettingsError(
            f"{place.file}: there is no ledger here. Name the folder of the service's state with "
            "--state-dir, or its configuration with --config."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLedger:
    """A ledger to read, and the clinical content of now."""

    engine: Engine
    knowledge: Knowledge


@contextmanager
def ledger_to_read(options: Mapping[str, str | None]) -> Iterator[ReadLedger]:
    """Open the ledger that ``--config`` and ``--state-dir`` name.

    Raises:
        SettingsError: There is none, or it cannot be read.
    """
    settings = load_settings(options, process_environment())
    config = config_source(settings).current()
    place = place_of_ledger(settings, config)
    require_ledger(place)
    engine = place.reader(AT_LEISURE)
    try:
        yield ReadLedger(engine=engine, knowledge=load_content(config))
    except (SQLAlchemyError, OSError) as error:
        raise SettingsError(
            f"{place.name}: the ledger cannot be read ({kind_of(error)}). See that the "
            "database answers or the file is whole, and that cds-service ledger migrate was run "
            "for this version."
        ) from None
    finally:
        engine.dispose()
