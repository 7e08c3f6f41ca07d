"""A running demo: the real service as its own process, and the test EHR beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cds_service.demo.command import RunningDemo
from tests.demo.calm_demo import calm_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """One demo for all tests of this folder."""
    with calm_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running
