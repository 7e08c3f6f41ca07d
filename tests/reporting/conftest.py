"""A fortnight of a made-up hospital with a fault hidden in its second week."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.engine import Engine

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.reporting.reading import period_of_days
from cds_service.reporting.report import Asked, Report, make_report
from tests.reporting.simulated import (
    AFTERWARDS,
    FIRST_DAY,
    LAST_DAY,
    Simulation,
    broken,
    days,
    empty_ledger,
)


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="module")
def fortnight() -> tuple[Engine, Simulation]:
    """Return a ledger with one fortnight, broken in its second week, and the caller's count."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    simulation.run(days(FIRST_DAY, LAST_DAY), a_day=300, change=broken)
    return engine, simulation


@pytest.fixture(scope="module")
def report(fortnight: tuple[Engine, Simulation]) -> Report:
    """Return the report of that fortnight."""
    return make_report(fortnight[0], asked())


def asked(client: str | None = None, *, days_long: int = 14) -> Asked:
    """Return the question for the report of the fortnight."""
    first = LAST_DAY - timedelta(days=days_long - 1)
    return Asked(
        period=period_of_days(first, LAST_DAY),
        client=client,
        made_at=AFTERWARDS,
        titles={"IMG-MRI-NR": "MRI for pain that was not relieved"},
    )
