"""Where are we in the configuration file, and what does this table say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cds_service.errors import SettingsError
from cds_service.trust.config_faults import fault

Table = Mapping[str, object]

Stamp = tuple[int, int, int, int] | None
"""What changes with a file: times of the last change of its content and of what is said of it, such
as who may read it, then size and number; None without a file."""

_LARGEST_FILE = 262_144


@dataclass(slots=True, kw_only=True)
class Place:
    """Where we are in the configuration file, and the files read so far with their stamps."""

    file: Path
    is_demo: bool
    key_path: str = ""
    files: dict[Path, Stamp] = field(default_factory=dict)

    def fault(self, key: str, what: str, todo: str) -> SettingsError:
        """Return the error for *key* in the current table."""
        return fault(self.file, f"{self.key_path}.{key}".removeprefix("."), what, todo)

    def path(self, name: str) -> Path:
        """Return a file name of the configuration as a path; relative ones start at the file.

        Links stay links: one that is turned to another file is a change.
        """
        return (self.file.parent / Path(name).expanduser()).absolute()

    def note(self, path: Path) -> None:
        """Note that *path* is about to be read; a change from now on is a change."""
        self.files.setdefault(path, stamp_of(path))

    def bytes_of(self, key: str, name: str, *, largest: int = _LARGEST_FILE) -> bytes:
        """Return what the file *name*, given under *key*, holds; *largest* is in bytes."""
        path = self.path(name)
        self.note(path)
        try:
            if path.stat().st_size > largest:
                raise self.fault(key, "the file is too large to be right.", "Check the name.")
            return path.read_bytes()
        except OSError as error:
            raise self.fault(
                key, "the file cannot be read.", "Check its name and its permissions."
            ) from error


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of the file at *path*; links are followed."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def table_of(table: Table, key: str) -> Table:
    """Return the table under *key*; an empty one if it is not given."""
    return cast("Table", table.get(key, {}))


def text_of(table: Table, key: str, default: str = "") -> str:
    """Return the text under *key*."""
    return str(table.get(key, default))


def texts_of(table: Table, key: str) -> tuple[str, ...]:
    """Return the texts under *key*; none if it is not given."""
    return tuple(cast("list[str]", table.get(key, [])))


def whole_of(table: Table, key: str, default: int) -> int:
    """Return the whole number under *key*."""
    return int(cast("int", table.get(key, default)))


def flag_of(table: Table, key: str) -> bool:
    """Return whether *key* is true."""
    return table.get(key, False) is True
