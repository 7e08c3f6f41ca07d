"""The report and the alarms on PostgreSQL: the same numbers as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from cds_service.ledger.migrating import migrate
from cds_service.ledger.place import AT_LEISURE, LedgerPlace
from cds_service.reporting.report import Report, make_report
from cds_service.reporting.watching import Watch
from cds_service.reporting.writing import as_json
from tests.ledger.postgres import PASSWORD, running_postgres, why_not
from tests.reporting.conftest import asked
from tests.reporting.simulated import AFTERWARDS, FIRST_DAY, LAST_DAY, Simulation, broken, days


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Return a PostgreSQL ledger with the fortnight of ``conftest``."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_postgres() as server:
        url = server.new_database()
        migrate(LedgerPlace(url=url, password=PASSWORD))
        writing = create_engine(url, connect_args={"password": PASSWORD})
        Simulation(writing).run(days(FIRST_DAY, LAST_DAY), a_day=300, change=broken)
        writing.dispose()
        reading = LedgerPlace(url=url, password=PASSWORD).reader(AT_LEISURE)
        yield reading
        reading.dispose()


def test_report_on_postgresql_equals_that_on_sqlite(engine: Engine, report: Report) -> None:
    """Every number, every alarm and every day is the same, whichever database keeps the ledger."""
    found = as_json(make_report(engine, asked()), with_comments=True)
    assert found == as_json(report, with_comments=True)


def test_alarms_on_postgresql_are_raised(engine: Engine) -> None:
    """The metrics of several hosts with one database see the hidden faults."""
    subjects = {alarm.subject for alarm in Watch(engine.connect).alarms(AFTERWARDS)}
    assert subjects == {"IMG-MRI-NR", "diagnosticReports"}
