"""Where is the ledger: a SQLite file of this host, or PostgreSQL for several hosts?

Makes engines; opens nothing before it is used.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from cds_service.errors import SettingsError
from cds_service.sqlite_waits import LEAVE_TO_THE_THREAD
from cds_service.trust.config_ledger import LedgerSettings

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

FILE_NAME = "ledger.sqlite3"
MOST_READERS = 16
_LONGEST_USE_SECONDS = 180
"""A connection to PostgreSQL is not used for longer: firewalls forget a silent one after four
minutes or more, and who asks whether it still answers waits in vain."""
_SHORTEST_SECONDS = 0.2
"""How long a server may take for any answer, be it that it hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one kind of use may wait, and how safe its commits are.

    Units:
        ``seconds`` is the longest wait for a lock, a connection or an answer.  ``is_durable``: a
        commit survives the loss of power, not only the end of this process.
    """

    seconds: float
    is_durable: bool


CALLS = Patience(seconds=0.05, is_durable=False)
"""A hook call waits no longer than this for the ledger."""
FEEDBACK = Patience(seconds=2.0, is_durable=True)
HOUSE = Patience(seconds=2.0, is_durable=False)
"""The thread that looks after the file."""
AT_LEISURE = Patience(seconds=10.0, is_durable=True)
"""Commands, migrations and reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """A SQLite ``file``, or the PostgreSQL database at ``url``."""

    file: Path | None = None
    url: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return what to call it in messages: no user, no password."""
        return str(self.file) if self.file is not None else "the PostgreSQL database of [ledger]"

    def writer(self, patience: Patience) -> Engine:
        """Return an engine of one connection whose transactions begin as writers."""
        engine = self._engine(patience, most=1)
        if self.file is not None:
            event.listen(engine, "begin", _begin_writing)
        return engine

    def reader(self, patience: Patience) -> Engine:
        """Return an engine for reading."""
        return self._engine(patience, most=MOST_READERS)

    def _engine(self, patience: Patience, *, most: int) -> Engine:
        pool: dict[str, Any] = {
            "pool_size": most,
            "max_overflow": 0,
            "pool_timeout": patience.seconds,
        }
        if self.file is not None:
            engine = create_engine(f"sqlite:///{self.file}", **pool)
            event.listen(engine, "connect", _sqlite_settings(patience))
            return engine
        milliseconds = str(int(patience.seconds * 1000))
        arguments = {
            "password": self.password,
            "ssl_context": self.tls,
            "timeout": max(_SHORTEST_SECONDS, patience.seconds * 2),
            "startup_params": {
                "statement_timeout": milliseconds,
                "synchronous_commit": "on" if patience.is_durable else "off",
            },
        }
        return create_engine(
            str(self.url),
            connect_args=arguments,
            pool_pre_ping=True,
            pool_recycle=_LONGEST_USE_SECONDS,
            **pool,
        )


def ledger_place(
    settings: LedgerSettings, state_dir: Path, environment_password: str | None = None
) -> LedgerPlace:
    """Return where the ledger of this configuration is.

    Raises:
        SettingsError: The URL is no PostgreSQL URL, or the driver for it is not installed.
    """
    if settings.url is None:
        return LedgerPlace(file=state_dir.resolve() / FILE_NAME)
    try:
        url = make_url(settings.url)
    except ArgumentError:
        raise SettingsError(
            "[ledger] url: this is not a database URL. Write it as "
            "postgresql+pg8000://USER@HOST:PORT/DATABASE."
        ) from None
    if find_spec("pg8000") is None:
        raise SettingsError(
            "[ledger] url: PostgreSQL needs the package pg8000, which is not installed. Install "
            "what requirements.txt lists."
        )
    is_encrypted = settings.has_tls and not _is_this_machine(url.host)
    cafile = str(settings.ca_file) if settings.ca_file else None
    return LedgerPlace(
        url=settings.url,
        password=settings.password or environment_password,
        tls=ssl.create_default_context(cafile=cafile) if is_encrypted else None,
    )


def _is_this_machine(host: str | None) -> bool:
    if host in {None, "", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _sqlite_settings(patience: Patience) -> Any:  # noqa: ANN401 - SQLAlchemy's listener
    def set_up(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {int(patience.seconds * 1000)}",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if patience.is_durable else 'NORMAL'}",
            "secure_delete = ON",
            *LEAVE_TO_THE_THREAD,
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return set_up


def _begin_writing(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's Connection
    connection.exec_driver_sql("BEGIN IMMEDIATE")
