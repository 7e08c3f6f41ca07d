"""Two short weeks with restarts and kills: the caller's numbers are those of the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.fortnight import two_weeks
from tests.ledger.postgres import Postgres


def test_fortnight_on_sqlite_with_two_worker_processes(tmp_path: Path) -> None:
    """Every call, card and answer of two hospitals is counted as the callers counted it."""
    assert two_weeks(tmp_path, None, calls=420, patients=60, troubles=2).run() == []


@pytest.mark.integration
def test_fortnight_on_postgresql_with_two_service_processes(
    tmp_path: Path, postgres: Postgres
) -> None:
    """The same with one database for two hosts."""
    weeks = two_weeks(tmp_path, postgres.new_database(), calls=420, patients=60, troubles=2)
    assert weeks.run() == []
