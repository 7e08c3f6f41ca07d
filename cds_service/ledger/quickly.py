"""The statements of every hook call, without SQLAlchemy's work at each execution.

SQLAlchemy words each statement once for each kind of database and opens the connections; the
driver's own cursor runs the text.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from threading import Semaphore
from typing import Any, TypeVar

from sqlalchemy import Dialect, Engine, Executable
from sqlalchemy.engine.interfaces import DBAPICursor, DBAPIModule
from sqlalchemy.exc import StatementError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import CompilerElement

from cds_service.sqlite_waits import is_busy

Result = TypeVar("Result")

_MOST_STATEMENTS = 64
_ROW_REFUSED = ("22", "23")
"""How SQL's codes begin for values that cannot be stored and for broken constraints."""


class RowRefusedError(Exception):
    """The ledger can be used, but not for this row."""


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


def refuses_the_row(error: BaseException | None, driver: DBAPIModule) -> bool:
    """Whether the database can be used, and *error* says that it takes no such row.

    The driver for PostgreSQL has one kind of error for everything, with the code of SQL in it.
    """
    if isinstance(error, driver.DataError | driver.IntegrityError):
        return True
    return isinstance(error, driver.DatabaseError) and _code(error).startswith(_ROW_REFUSED)


def kind_of(error: BaseException) -> str:
    """Return the kind of *error*, and SQL's code for it: texts of databases repeat values."""
    cause = (error.orig if isinstance(error, StatementError) else None) or error
    return f"{type(cause).__name__} {_code(cause)}".rstrip()


def _code(error: BaseException) -> str:
    """Return the code of SQL in an error of the driver for PostgreSQL; else nothing."""
    told = error.args[0] if error.args else None
    code = told.get("C") if isinstance(told, dict) else None
    return code if isinstance(code, str) else ""


QuickWork = Callable[[Quick], Result]


class Connections:
    """The connections of one engine, lent for one piece of work at a time.

    Those to a SQLite file stay open in between.  One to a server goes back to SQLAlchemy's pool,
    which looks whether it still answers.
    """

    def __init__(self, engine: Engine, *, most: int, seconds: float) -> None:
        """Lend *most* at once; whoever comes then waits *seconds*."""
        self._engine = engine
        self._stay_open = engine.dialect.name == "sqlite"
        self._seconds = seconds
        self._places = Semaphore(most)
        self._open: deque[PoolProxiedConnection] = deque()

    def do(
        self, work: QuickWork[Result], *, begin: str | None = None, seconds: float = 0.0
    ) -> Result:
        """Do *work* and commit; a connection on which anything failed is not used again.

        Who says *begin* waits *seconds* for other writers, or as long as the connection does if
        that is longer.

        Raises:
            RowRefusedError: The database takes no such row.
            TimeoutError: Every connection is in use.
        """
        if not self._places.acquire(timeout=self._seconds):
            raise TimeoutError
        try:
            return self._do(work, begin, seconds)
        finally:
            self._places.release()

    def dispose(self) -> None:
        """Close what is not in use."""
        while self._open:
            self._open.pop().close()
        self._engine.dispose()

    def _connection(self) -> PoolProxiedConnection:
        try:
            return self._open.pop()
        except IndexError:
            return self._engine.raw_connection()

    def _do(self, work: QuickWork[Result], begin: str | None, seconds: float) -> Result:
        driver = self._engine.dialect.loaded_dbapi
        connection = self._connection()
        try:
            cursor = connection.cursor()
            if begin is not None:
                _begin(cursor, begin, time.monotonic() + seconds)
            result = work(Quick(cursor, self._engine.dialect))
            connection.commit()
        except BaseException as error:
            if refuses_the_row(error, driver):
                connection.close()
                raise RowRefusedError from error
            connection.invalidate()
            connection.close()
            raise
        cursor.close()
        if self._stay_open:
            self._open.append(connection)
        else:
            connection.close()
        return result


def _begin(cursor: DBAPICursor, begin: str, ends_at: float) -> None:
    """Begin to write; again and again until *ends_at* while another process writes."""
    while True:
        try:
            cursor.execute(begin)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= ends_at:
                raise
        else:
            return


@lru_cache(maxsize=_MOST_STATEMENTS)
def _worded(statement: Executable, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return *statement* as SQL, and the names of its values in the order of their places."""
    assert isinstance(statement, CompilerElement)  # noqa: S101 - every statement is one
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - of a statement, not of a table
    return str(compiled), tuple(compiled.positiontup or ())
