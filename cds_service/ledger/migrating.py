"""Are the tables there, and of this version?  Makes or changes them if not.

Alembic is imported only when there is something to change: it costs a noticeable part of a start.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from cds_service.errors import SettingsError
from cds_service.ledger.place import AT_LEISURE, FEEDBACK, LedgerPlace, Patience
from cds_service.ledger.quickly import kind_of

HEAD = "0002"
"""The newest migration; a test proves that it is."""
_LOCK = 7_201_900_417
"""Any number, the same in every process that migrates one PostgreSQL database."""


def migrate(place: LedgerPlace, patience: Patience = AT_LEISURE) -> bool:
    """Bring the tables to this version; return whether anything was changed.

    Raises:
        SettingsError: A newer version of this service made the tables.
    """
    if place.file is not None:
        _make_file(place.file)
        if _found(place, patience) == HEAD:
            return False  # without the lock for writing, which another process may hold
    engine = place.writer(patience)
    try:
        with engine.begin() as connection:
            if place.file is None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            before = revision(connection)
            if before == HEAD:
                return False
            _refuse_newer(place, before)
            _upgrade(connection)
            return True
    finally:
        engine.dispose()


def prepare(place: LedgerPlace) -> str | None:
    """See that the ledger is fit for a service that starts.

    Returns:
        Why it cannot be opened now, in words for the operator; None if it can.

    Raises:
        SettingsError: Its tables are not those of this version, and a command has to be run.
    """
    try:
        if place.file is not None:
            migrate(place, FEEDBACK)
        else:
            require_current(place, FEEDBACK)
    except (SQLAlchemyError, OSError) as error:
        return (
            f"The ledger, {place.name}, cannot be opened now ({kind_of(error)}). The service "
            "answers without it and tries again. See that the service's user can write the file "
            "and its folder and that the disk has room, or that the database answers. If the file "
            "is damaged (DatabaseError), move it away or put a backup in its place."
        )
    return None


def require_current(place: LedgerPlace, patience: Patience) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        SettingsError: They are older or newer, or there are none.
    """
    found = _found(place, patience)
    _refuse_newer(place, found)
    if found != HEAD:
        raise SettingsError(
            f"The ledger, {place.name}: its tables are missing or older than this version of the "
            "service needs. Run: cds-service ledger migrate --config FILE"
        )


def _found(place: LedgerPlace, patience: Patience) -> str | None:
    engine = place.reader(patience)
    try:
        with engine.connect() as connection:
            return revision(connection)
    finally:
        engine.dispose()


def revision(connection: Connection) -> str | None:
    """Return the version of the tables; None if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _make_file(file: Path) -> None:
    """Make the file so that only this user can read it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))


def _refuse_newer(place: LedgerPlace, found: str | None) -> None:
    if found is not None and found > HEAD:
        raise SettingsError(
            f"The ledger, {place.name}: a newer version of this service made its tables. Run that "
            "version, or give this one a ledger of its own."
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see the head of this module
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
