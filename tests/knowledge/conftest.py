"""The real ``cards/`` folder, read once, and copies of it that a test may spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cds_service.knowledge.loading import cards_folder, load_knowledge
from cds_service.knowledge.model import Knowledge


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the knowledge the service ships."""
    return load_knowledge()


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """Return a copy of ``cards/`` that the test may change."""
    copy = tmp_path / "cards"
    shutil.copytree(cards_folder(), copy)
    return copy
