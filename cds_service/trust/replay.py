"""Was this token used before?

Used tokens are kept until they have expired, in one SQLite file that all worker processes of a
host share.  What is kept is a hash of issuer and ``jti``, never the token or its signature: an
ECDSA signature has a twin that is just as valid.  When the file cannot be written, each process
remembers by itself, or refuses, as configured; it never simply lets tokens pass.  What it
remembered meanwhile is written when the file is back, by a thread that answers nobody; so is
whatever else waits for the disk, and all that is remembered if the file was taken away.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from cds_service.errors import OverloadedError
from cds_service.sqlite_waits import (
    LEAVE_TO_THE_THREAD,
    WRITE_NO_CHANGE,
    is_busy,
    is_long,
    shorten_journal,
)
from cds_service.turns import seconds_since_arrival

_FILE_NAME = "used-tokens.sqlite3"
_BUSY_TIMEOUT_SECONDS = 0.05
_PATIENCE_SECONDS = 0.25
"""So long after its arrival a call waits for another process that writes."""
_HOUSE_SECONDS = 2.0
_TRY_AGAIN_SECONDS = 5
_LOOK_EVERY_SECONDS = 1.0
_SETTLING_SECONDS = 2.0
"""So long after a file was taken away every process has looked, and told the new one."""
_REMOVE_EVERY_SECONDS = 60
_KEPT_LONGER_SECONDS = 3600
"""A clock that was wrong by less, and is set right, makes no used token good again."""
_MOST_SAVED_BY_A_CALL = 500
_MOST_REMEMBERED = 200_000
_LOG = structlog.get_logger("cds_service.trust.replay")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS used_token (
    digest BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID
"""
_CLAIM = """
INSERT INTO used_token (digest, expires_at) VALUES (?, ?)
ON CONFLICT (digest) DO UPDATE SET expires_at = excluded.expires_at
WHERE used_token.expires_at < ?
"""
"""Changes one row if the token is new or its earlier use has expired, else none; atomic."""
_SAVE = """
INSERT INTO used_token (digest, expires_at) VALUES (?, ?)
ON CONFLICT (digest) DO UPDATE SET expires_at = max(used_token.expires_at, excluded.expires_at)
"""
_REMOVE = "DELETE FROM used_token WHERE expires_at < ?"


class ReplayStore:
    """The tokens used so far.

    Time:
        ``expires_at`` and ``now`` are seconds since 1970; a token is kept up to and including
        ``expires_at``.
    """

    def __init__(self, state_dir: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = state_dir / _FILE_NAME
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner: tuple[int, int] | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._remembered: dict[bytes, int] = {}
        self._unsaved: dict[bytes, int] = {}
        self._forgotten_until = 0
        """Until when only the file knows some of the tokens this process has accepted."""
        self._file: int | None = None
        """The file that knows what is remembered and is not unsaved."""
        self._settled_at = 0.0
        self._lost_until: float | None = None
        self._remove_at = 0.0
        self._removes_until: int | None = None
        """What has expired before may be removed from the file."""

    @property
    def is_lost(self) -> bool:
        """Whether the shared file could not be used the last time it was tried."""
        return self._lost_until is not None

    def claim(self, issuer: str, jti: str, *, expires_at: int, now: int, refuses: bool) -> bool:
        """Note the use of a token; return whether this is its first use.

        With *refuses*, nothing is accepted while the shared file is lost.

        Raises:
            OverloadedError: The file is lost, and *refuses* is set or too many tokens are held.
        """
        digest = _digest(issuer, jti)
        with self._lock:
            self._remove_expired(now)
            if self._remembered.get(digest, now - 1) >= now:
                return False
            is_new = self._claim_in_file(digest, expires_at, now)
            if is_new is None:
                if refuses or self._is_full or now <= self._forgotten_until:
                    raise OverloadedError(_TRY_AGAIN_SECONDS, "the store of used tokens is lost")
                self._unsaved[digest] = expires_at
                is_new = True
            if is_new and self._is_full:
                self._forgotten_until = max(self._forgotten_until, expires_at)
            elif is_new:
                self._remembered[digest] = expires_at
            return is_new

    @property
    def _is_full(self) -> bool:
        return len(self._remembered) >= _MOST_REMEMBERED

    def open(self) -> None:
        """Open the file now, so that the first request does not wait for it.

        A file that cannot be opened is reported by the first use that needs it.
        """
        with self._lock, contextlib.suppress(sqlite3.Error, OSError):
            self._open()

    def keep_house(self) -> None:
        """Start the thread that tidies; at the end of the process it is done once more."""
        atexit.register(self.tidy)
        threading.Thread(target=self._house, name="used tokens", daemon=True).start()

    def _house(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            self.tidy()

    def tidy(self) -> None:
        """Save what a lost file has missed, remove what has expired, and shorten the journal."""
        with self._lock:
            self._look_for_the_file()
            unsaved, removes_until, is_lost = (
                self._unsaved.copy(),
                self._removes_until,
                self.is_lost,
            )
        has_work = is_lost or bool(unsaved) or removes_until is not None
        if not has_work and not is_long(self._path):
            return
        try:
            with contextlib.closing(self._connected(_HOUSE_SECONDS)) as connection:
                _save(connection, unsaved)
                if is_lost:
                    connection.execute(WRITE_NO_CHANGE)  # that it opens does not show it is back
                if removes_until is not None:
                    connection.execute(_REMOVE, (removes_until,))
                if is_long(self._path):
                    shorten_journal(connection, self._path)
        except (sqlite3.Error, OSError):
            self._not_tidied(is_lost=is_lost)
        else:
            self._tidied(unsaved, is_lost=is_lost)

    def _tidied(self, saved: Mapping[bytes, int], *, is_lost: bool) -> None:
        with self._lock:
            self._removes_until = None
            for digest in saved:
                self._unsaved.pop(digest, None)
            if self._file is None:
                self._file = self._inode()
            if is_lost and self._monotonic() >= self._settled_at:
                self._found()

    def _not_tidied(self, *, is_lost: bool) -> None:
        with self._lock:
            if is_lost:
                self._lost_until = self._monotonic() + _TRY_AGAIN_SECONDS
            elif self._removes_until is not None:
                _LOG.warning("expired tokens could not be removed")
            self._removes_until = None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._drop_connection()

    def __del__(self) -> None:
        """Close the file when the store is forgotten."""
        if getattr(self, "_connection", None) is not None:
            self._drop_connection()

    def _claim_in_file(self, digest: bytes, expires_at: int, now: int) -> bool | None:
        """Claim in the shared file; None means that the file cannot be used now."""
        self._look_for_the_file()
        if self._lost_until is not None and (
            self._monotonic() < self._lost_until or len(self._unsaved) > _MOST_SAVED_BY_A_CALL
        ):
            return None
        ends_at = time.monotonic() + _PATIENCE_SECONDS - seconds_since_arrival()
        while True:
            try:
                is_new = self._claim_at_once(digest, expires_at, now)
            except (sqlite3.Error, OSError) as error:
                if is_busy(error) and time.monotonic() < ends_at:
                    continue
                self._lost("the store of used tokens cannot be written")
                self._drop_connection()
                return None
            self._found()
            return is_new

    def _claim_at_once(self, digest: bytes, expires_at: int, now: int) -> bool:
        connection = self._open()
        _save(connection, self._unsaved)
        self._unsaved.clear()
        return connection.execute(_CLAIM, (digest, expires_at, now)).rowcount == 1

    def _look_for_the_file(self) -> None:
        """If the file was taken away, remember what it knew of us for the one in its place."""
        if self._file is None or self._file == self._inode():
            return
        self._file = None
        self._unsaved = self._remembered | self._unsaved
        self._settled_at = self._monotonic() + _SETTLING_SECONDS
        self._lost("the store of used tokens was taken away")

    def _lost(self, why: str) -> None:
        if self._lost_until is None:
            _LOG.error(why)
        self._lost_until = self._monotonic() + _TRY_AGAIN_SECONDS

    def _found(self) -> None:
        if self._lost_until is not None:
            _LOG.info("the store of used tokens can be written again")
            self._lost_until = None

    def _open(self) -> sqlite3.Connection:
        """Return this process's connection to the file that has this name now."""
        if self._connection is not None and self._seen() == self._owner:
            return self._connection
        self._drop_connection()
        self._connection = self._connected(_BUSY_TIMEOUT_SECONDS)
        self._owner = self._seen()
        self._file = self._inode()
        return self._connection

    def _connected(self, busy_seconds: float) -> sqlite3.Connection:
        """Return a new connection to the file, which is made if it is not there.

        While another process writes, each statement waits *busy_seconds*.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):  # to open it here would cost SQLite its locks
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(
            self._path,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,  # self._lock lets one thread in at a time
        )
        try:
            with contextlib.suppress(sqlite3.OperationalError):
                # "Locked", and SQLite does not wait here: another process is just doing the same.
                connection.execute("PRAGMA journal_mode = WAL")
            for setting in ("synchronous = NORMAL", *LEAVE_TO_THE_THREAD):
                connection.execute(f"PRAGMA {setting}")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _seen(self) -> tuple[int, int] | None:
        """Return what tells this process's file from another under the same name."""
        inode = self._inode()
        return None if inode is None else (os.getpid(), inode)

    def _inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._owner is not None and self._owner[0] != os.getpid():
            # SQLite forbids even closing a connection that was opened before a fork.
            self._inherited.append(connection)
        else:
            connection.close()
        self._owner = None

    def _remove_expired(self, now: int) -> None:
        if self._monotonic() < self._remove_at:
            return
        self._remove_at = self._monotonic() + _REMOVE_EVERY_SECONDS
        self._remembered = {key: at for key, at in self._remembered.items() if at >= now}
        self._unsaved = {key: at for key, at in self._unsaved.items() if at >= now}
        self._removes_until = now - _KEPT_LONGER_SECONDS


def _save(connection: sqlite3.Connection, tokens: Mapping[bytes, int]) -> None:
    """Note the use of *tokens* in the file, all of them or none."""
    if not tokens:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_SAVE, tokens.items())
    connection.execute("COMMIT")


def _digest(issuer: str, jti: str) -> bytes:
    """Return a hash in which issuer and jti cannot run into each other."""
    hashed = hashlib.sha256()
    for part in (issuer, jti):
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return hashed.digest()
