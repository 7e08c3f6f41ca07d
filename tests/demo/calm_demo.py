"""A demo on a busy test machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cds_service.demo.broken import SLOW_SECONDS
from cds_service.demo.command import RunningDemo, running_demo
from cds_service.demo.people import People
from tests.ports import HOST, free_port

DEADLINE = {"CDS_SERVICE_DEADLINE_MS": str(int(SLOW_SECONDS * 1000 - 500))}
"""For the environment of a demo: no usual FHIR server is too slow, the slow one still is."""


@contextmanager
def calm_demo(state_dir: Path, people: People | None = None) -> Iterator[RunningDemo]:
    """Run a demo whose service waits for its FHIR server for longer than usual."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in DEADLINE.items():
            patch.setenv(name, value)
        running = running_demo(
            HOST, port=free_port(), ehr_port=free_port(), state_dir=state_dir, people=people
        )
        with running as demo:
            patch.undo()
            yield demo
