"""The clinical content of this checkout."""

from __future__ import annotations

import pytest

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()
