"""The statements of every hook call, without SQLAlchemy's work at each execution.

SQLAlchemy words each statement once for each kind of database, and keeps the connections; the
driver's own cursor runs the text.  That halves what a call pays for the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Executable
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import CompilerElement

_MOST_STATEMENTS = 64


class Quick:
    """A cursor of the driver that takes our statements.

    No value is converted: what goes in and comes out is what the driver knows.
    """

    def __init__(self, cursor: DBAPICursor, dialect: Dialect) -> None:
        self._cursor = cursor
        self.dialect = dialect

    def write(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run *statement* once for each of *rows*."""
        text, names = _worded(statement, self.dialect)
        self._cursor.executemany(text, [tuple(row[name] for name in names) for row in rows])

    def read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        """Return every row that *statement* finds with *values*."""
        text, names = _worded(statement, self.dialect)
        self._cursor.execute(text, tuple(values[name] for name in names))
        return self._cursor.fetchall()


@lru_cache(maxsize=_MOST_STATEMENTS)
def _worded(statement: Executable, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return *statement* as SQL, and the names of its values in the order of their places."""
    assert isinstance(statement, CompilerElement)  # noqa: S101 - every statement is one
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - of a statement, not of a table
    return str(compiled), tuple(compiled.positiontup or ())
