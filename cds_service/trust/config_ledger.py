"""Where are calls and feedback kept, and for how long?  The ``[ledger]`` table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cds_service.trust.config_place import Place, Table, text_of, whole_of
from cds_service.trust.config_reading import ca_file_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """The ledger; without ``url`` it is a SQLite file in the state folder.

    Units:
        ``retention_days`` in days.
    """

    url: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    has_tls: bool = True
    retention_days: int = 730
    keeps_comments: bool = True


def read_ledger(place: Place, table: Table) -> LedgerSettings:
    """Return what the ``[ledger]`` *table* says.

    Raises:
        SettingsError: A file it names cannot be read.
    """
    place.key_path = "ledger"
    return LedgerSettings(
        url=text_of(table, "url") or None,
        password=_password(place, table),
        ca_file=ca_file_of(place, table),
        has_tls=table.get("tls", True) is True,
        retention_days=whole_of(table, "retention_days", 730),
        keeps_comments=table.get("keep_comments", True) is True,
    )


def _password(place: Place, table: Table) -> str | None:
    if "password_file" not in table:
        return None
    key = "password_file"
    try:
        return place.bytes_of(key, text_of(table, key)).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise place.fault(key, "the file is not UTF-8.", "Save it as UTF-8.") from None
