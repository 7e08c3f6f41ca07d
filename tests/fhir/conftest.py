"""A patient, and a way to read a chart of plain dictionaries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from zoneinfo import ZoneInfo

import pytest

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from tests.fhir.chart_parts import KEYS, PATIENT, TODAY, ReadChart, Resource
from tests.fhir.fault_server import FaultServer, serving


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """Return the knowledge of this checkout."""
    return load_knowledge()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Return a FHIR server with a patient and an empty chart."""
    with serving(PATIENT) as found:
        yield found


@pytest.fixture
def gateway(knowledge: Knowledge) -> Iterator[Gateway]:
    """Return a gateway of its own."""
    found = Gateway(knowledge, time.monotonic)
    yield found
    found.close()


@pytest.fixture
def read(knowledge: Knowledge) -> ReadChart:
    """Return a reader of resources given as dictionaries, or of raw bytes under "key"."""

    def reader(  # noqa: PLR0913 - the ways to read a chart
        *resources: Resource,
        zone: str = "UTC",
        raw: Mapping[str, tuple[bytes, ...]] | None = None,
        full_urls: Mapping[str, str] | None = None,
        fhir_server: str | None = "https://ehr.example/fhir",
        patient: Resource | None = PATIENT,
        has_time: Callable[[], bool] = lambda: True,
    ) -> Chart:
        by_key: dict[str, list[bytes]] = {key: [] for key in (Key.FINDINGS, *KEYS.values())}
        for resource in (*([patient] if patient else []), *resources):
            by_key[KEYS.get(resource["resourceType"], Key.CONDITIONS)].append(
                json.dumps(resource).encode()
            )
        for key, bodies in (raw or {}).items():
            by_key[key].extend(bodies)
        answers = {
            key: KeyAnswer(
                supply=Supply(state=State.SUPPLIED if bodies else State.EMPTY),
                resources=tuple(bodies),
                full_urls=full_urls or {},
            )
            for key, bodies in by_key.items()
        }
        return read_chart(
            answers,
            patient_id="anna",
            as_of=TODAY,
            zone=ZoneInfo(zone),
            knowledge=knowledge,
            bases=frozenset({"https://second.example/r4"}),
            fhir_server=fhir_server,
            has_time=has_time,
        )

    return reader
