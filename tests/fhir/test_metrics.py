"""What each key and FHIR base cost is counted, and nothing of a patient is."""

from __future__ import annotations

import json
import time

from cds_service.chart.supply import Key, State
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.metrics import OTHER_BASES, SENT_ALONG, PullMetrics, PullRecord
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import dev_profile
from tests.fhir import fault_server
from tests.fhir.chart_parts import procedure
from tests.fhir.fault_server import FaultServer
from tests.fhir.test_gateway_faults import call, deadline, page


def record(base: str = "https://a.example", seconds: float = 0.02) -> PullRecord:
    """Return one record."""
    return PullRecord(
        client="a",
        base=base,
        key="devices",
        outcome=State.EMPTY,
        reason=None,
        seconds=seconds,
        pages=1,
        bytes=60,
    )


def test_calls_add_up_by_key_base_and_outcome(knowledge: Knowledge, server: FaultServer) -> None:
    """Pulled, refused and sent keys are told apart."""
    gateway = Gateway(knowledge, time.monotonic)
    server.behaviours["Device"] = fault_server.status(403)
    server.behaviours["Condition"] = fault_server.slow(0.3)
    sent = json.dumps(page(procedure())).encode()
    client = dev_profile(fhir_bases=(server.base,))
    for _ in range(2):
        gateway.answers(call(server, procedures=sent), client, deadline())
    gateway.close()
    totals = {found.key: found for found in gateway.metrics.totals()}
    assert set(totals) == set(Key.DEFAULT)
    assert {found.calls for found in totals.values()} == {2}
    assert {found.base for found in totals.values()} == {server.base, SENT_ALONG}
    assert totals[Key.PROCEDURES].base == SENT_ALONG
    assert totals[Key.PROCEDURES].bytes == 2 * len(sent)
    assert totals[Key.DEVICES].reason == "the FHIR server refused access (403)"
    assert totals[Key.CONDITIONS].pages == 2
    assert 0.6 <= totals[Key.CONDITIONS].seconds < 10
    assert totals[Key.SERVICE_REQUESTS].seconds < totals[Key.CONDITIONS].seconds
    assert "anna" not in repr(gateway.metrics.totals())


def test_latencies_are_counted_in_groups() -> None:
    """The boundary belongs to the lower group, and the last group has no end."""
    metrics = PullMetrics()
    for seconds in (0.001, 0.01, 0.011, 7.0):
        metrics.observe(record(seconds=seconds))
    (totals,) = metrics.totals()
    assert totals.latencies == (2, 1, 0, 0, 0, 0, 0, 0, 1)
    assert (totals.calls, totals.pages, totals.bytes) == (4, 4, 240)


def test_totals_only_ever_grow() -> None:
    """Whoever reads them twice may subtract."""
    metrics = PullMetrics()
    metrics.observe(record())
    (before,) = metrics.totals()
    metrics.observe(record(seconds=0.5))
    (after,) = metrics.totals()
    assert (before.calls, after.calls) == (1, 2)
    assert all(new >= old for new, old in zip(after.latencies, before.latencies, strict=True))


def test_address_that_no_configuration_names_is_no_label(
    knowledge: Knowledge, server: FaultServer
) -> None:
    """In development mode callers choose the address; all of them share one name."""
    gateway = Gateway(knowledge, time.monotonic)
    gateway.answers(call(server), dev_profile(), deadline())
    gateway.close()
    assert {totals.base for totals in gateway.metrics.totals()} == {OTHER_BASES}


def test_server_that_is_left_alone_is_told(knowledge: Knowledge, server: FaultServer) -> None:
    """A pause is seen under the configured base, and only while it lasts."""
    gateway = Gateway(knowledge, time.monotonic)
    client = dev_profile(fhir_bases=(server.base,))
    gateway.answers(call(server), client, deadline())
    assert gateway.paused_servers() == ()
    server.behaviours["Device"] = fault_server.status(429, Retry_After="30")
    gateway.answers(call(server), client, deadline())
    assert gateway.paused_servers() == ((client.id, server.base),)
    gateway.close()
