"""A service with small rooms, for tests of the wire."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.logging_setup import set_up_logging
from cds_service.settings import Settings
from tests.web.small_rooms import HOOK_INSTANCE, NOW, SmallRooms, Ticks


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture
def rooms() -> SmallRooms:
    """Return fresh small rooms."""
    return SmallRooms()


@pytest.fixture
def ticks() -> Ticks:
    """Return a clock that stands still."""
    return Ticks()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return what the service logs during the test."""
    stream = io.StringIO()
    set_up_logging(stream=stream)
    yield stream
    set_up_logging()


@pytest.fixture
def service(
    knowledge: Knowledge, rooms: SmallRooms, ticks: Ticks, log: io.StringIO, tmp_path: Path
) -> Callable[..., FlaskClient]:
    """Return a maker of services with small rooms; development mode unless told otherwise."""
    del log

    def make(**settings: Any) -> FlaskClient:  # noqa: ANN401 - the fields of Settings
        chosen = {"is_dev": True, "state_dir": tmp_path / "state", **settings}
        app = create_app(
            Settings(**chosen),
            clock=lambda: NOW,
            monotonic=ticks,
            knowledge=knowledge,
            rooms=rooms.as_rooms(),
        )
        return app.test_client()

    return make


@pytest.fixture
def client(service: Callable[..., FlaskClient]) -> FlaskClient:
    """Return a client of a development service with small rooms."""
    return service()


@pytest.fixture
def body() -> dict[str, Any]:
    """Return a small good request."""
    return {
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/1", "patientId": "zqcanid-12"},
    }
