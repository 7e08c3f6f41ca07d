"""Clinics whose ledger is a SQLite file or a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from tests.ledger.clinic import Clinic, MakeClinic, make_clinic
from tests.ledger.postgres import Postgres, running_postgres, why_not


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture
def clinic(knowledge: Knowledge, tmp_path: Path) -> Clinic:
    """Return a clinic with a SQLite ledger."""
    return make_clinic(knowledge, state_dir=tmp_path / "state")


@pytest.fixture
def new_clinic(knowledge: Knowledge, tmp_path: Path) -> MakeClinic:
    """Return a maker of clinics on one state folder."""

    def make(**chosen: object) -> Clinic:
        return make_clinic(knowledge, **{"state_dir": tmp_path / "state", **chosen})

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server of our own."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with running_postgres() as server:
        yield server
