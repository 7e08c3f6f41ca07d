"""The hospital with its EHRs, and every answer they get for the charts of this suite."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import structlog

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from tests.contract.ehrs import Answered, Ehr, hospital
from tests.contract.requests import persona_requests, vignette_requests


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="session")
def ehrs(
    knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ehr]]:
    """Return one EHR of each version, all served by one service whose log nobody reads."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    yield hospital(tmp_path_factory.mktemp("hospital"), knowledge)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def answers(ehrs: dict[str, Ehr]) -> list[Answered]:
    """Return what the EHRs get for every persona and every vignette.

    Every persona is opened in every EHR; a vignette in the one of version 3.0 and one other.
    """
    templates = ehrs["3.0"].discover()["prefetch"]
    found = [
        ehr.asked(name, request)
        for name, request in persona_requests(templates)
        for ehr in ehrs.values()
    ]
    names = list(ehrs)
    for place, (name, request) in enumerate(vignette_requests()):
        chosen = dict.fromkeys(("3.0", names[place % len(names)]))
        found += [ehrs[each].asked(name, request) for each in chosen]
    return found
