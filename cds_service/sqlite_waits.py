"""What writing to a SQLite file waits for: the disk, and others who write.

SQLite's journal (``-wal``) holds what was written lately.  Bringing it into the file itself waits
for the disk, which may be slow.  SQLite lets whoever writes do it now and then, and so some hook
calls would be late.  Here the connections of calls never do it; a thread does that answers nobody.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol

LEAVE_TO_THE_THREAD = ("wal_autocheckpoint = 0", "journal_size_limit = 0")
"""Settings of every connection that writes.  A journal begun anew is cut, so its length tells."""
WRITE_NO_CHANGE = "PRAGMA user_version = 0"
"""Changes nothing, but needs what every write needs: the lock and room on the disk."""
_LONG_BYTES = 4_194_304
_TOO_LONG_BYTES = 67_108_864
_MAIN_CODE = 0xFF
"""The part of SQLite's error codes that says what is the matter; the rest says why."""


class Executing(Protocol):
    """A connection or a cursor of the driver."""

    def execute(self, statement: str) -> object:
        """Run *statement*."""


def is_busy(error: BaseException) -> bool:
    """Whether *error* says that another connection is writing: try again, and it may work."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # not if Python raised it
    return bool(code & _MAIN_CODE == sqlite3.SQLITE_BUSY)


def is_long(file: Path) -> bool:
    """Whether it is time to shorten the journal of *file*."""
    return _journal_bytes(file) >= _LONG_BYTES


def shorten_journal(database: Executing, file: Path, *, is_emptied: bool = False) -> None:
    """Bring what the journal of *file* holds into the file, and begin it anew.

    Others write meanwhile, and what they write may keep it as long as it was.  With *is_emptied*,
    or where it is far too long, they wait for a moment.
    """
    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    if is_emptied or _journal_bytes(file) >= _TOO_LONG_BYTES:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute(WRITE_NO_CHANGE)  # the first write into a new journal waits too


def _journal_bytes(file: Path) -> int:
    try:
        return file.with_name(f"{file.name}-wal").stat().st_size
    except OSError:
        return 0
