"""A running demo: the real service as its own process, and the test EHR beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.demo.command import RunningDemo, running_demo
from tests.demo.ports import HOST, free_port


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """One demo for all tests of this folder."""
    state_dir: Path = tmp_path_factory.mktemp("demo")
    with running_demo(HOST, port=free_port(), ehr_port=free_port(), state_dir=state_dir) as running:
        yield running
