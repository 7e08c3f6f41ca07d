"""Two short weeks with restarts and kills: the caller's numbers are those of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.integration.busy import done_calmly
from tests.ledger.fortnight import two_weeks
from tests.ledger.postgres import Postgres


def test_fortnight_on_sqlite_with_two_worker_processes(tmp_path: Path) -> None:
    """Every call, card and answer of two hospitals is counted as the callers counted it."""
    assert _differences(tmp_path, lambda: None) == []


@pytest.mark.integration
def test_fortnight_on_postgresql_with_two_service_processes(
    tmp_path: Path, postgres: Postgres
) -> None:
    """The same with one database for two hosts."""
    assert _differences(tmp_path, postgres.new_database) == []


def _differences(folder: Path, database: Callable[[], str | None]) -> list[str]:
    """Return what differs; on a busy machine a ledger that is late leads to other cards."""
    runs = count()

    def run() -> list[str]:
        own = folder / f"run-{next(runs)}"
        own.mkdir()
        return two_weeks(own, database(), calls=420, patients=60, troubles=2).run()

    return done_calmly(run, is_disturbed=bool)
