"""What one key may cost is counted over all its searches, and one server never starves another."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.paging import MOST_BYTES, MOST_PAGES, MOST_RESOURCES, Allowance
from cds_service.knowledge.model import Code, Knowledge
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.fhir import fault_server
from tests.fhir.chart_parts import observation, procedure, searches
from tests.fhir.fault_server import FaultServer, Handler
from tests.fhir.test_gateway_faults import call, deadline, page, sends

SPLITS = 3


@pytest.fixture
def server(server: FaultServer) -> FaultServer:
    """Return a FHIR server with a patient and one operation."""
    server.behaviours["Procedure"] = sends(page(procedure()))
    return server


@pytest.fixture
def many_codes(knowledge: Knowledge) -> Knowledge:
    """Return knowledge with so many laboratory codes that their search is split in three."""
    value_set = knowledge.value_sets["crp"]
    codes = tuple(
        Code(system="LOINC", code=f"{number}-0", display="a test", mark="V")
        for number in range(90_000, 90_060)
    )
    more = replace(value_set, codes=(*value_set.codes, *codes))
    found = replace(knowledge, value_sets={**knowledge.value_sets, "crp": more})
    assert len(searches(found, "anna")[Key.FINDINGS]) == SPLITS
    return found


@pytest.fixture
def gateway(many_codes: Knowledge) -> Iterator[Gateway]:
    """Return a gateway that asks for the findings in three searches."""
    found = Gateway(many_codes, time.monotonic)
    yield found
    found.close()


def endless(server: FaultServer, entries: int, padding: int = 0) -> None:
    """Let every Observation search have pages without end, of so many entries and bytes."""
    lock, number = threading.Lock(), [0]
    filler = [observation("1988-5", id=f"o{entry}") for entry in range(entries)]
    body = json.dumps(page(*filler, note="x" * padding)).encode()

    def behaviour(handler: Handler) -> None:
        with lock:
            number[0] += 1
            following = f"{server.base}/Observation?page={number[0]}"
        link = json.dumps([{"relation": "next", "url": following}]).encode()
        handler.send_bytes(body.replace(b'"link": []', b'"link": ' + link))

    server.behaviours["Observation"] = behaviour


def pages_of_findings(server: FaultServer, gateway: Gateway) -> int:
    """Return how many pages were read for the findings, which are told to be in part."""
    answers = gateway.answers(call(server), dev_profile(), deadline(20))
    assert answers[Key.FINDINGS].supply.state is State.PARTIAL
    assert len(answers[Key.FINDINGS].resources) <= MOST_RESOURCES
    counted = {totals.key: totals for totals in gateway.metrics.totals()}
    assert counted[Key.FINDINGS].bytes <= MOST_BYTES
    return counted[Key.FINDINGS].pages


def test_pages_of_a_split_search_are_counted_together(
    gateway: Gateway, server: FaultServer
) -> None:
    """Three searches of one key read fifty pages, not three times fifty."""
    endless(server, 1)
    assert pages_of_findings(server, gateway) == MOST_PAGES


def test_entries_of_a_split_search_are_counted_together(
    gateway: Gateway, server: FaultServer
) -> None:
    """Pages of 3,000 entries end at 20,000 entries, whichever of the searches brought them."""
    endless(server, 3_000)
    assert 7 <= pages_of_findings(server, gateway) <= 7 + SPLITS


def test_bytes_of_a_split_search_are_counted_together(
    gateway: Gateway, server: FaultServer
) -> None:
    """Pages of 3 MB end at 20 MB, whichever of the searches brought them."""
    endless(server, 1, padding=3_000_000)
    assert pages_of_findings(server, gateway) <= 6


def test_one_page_of_more_entries_than_the_limit_is_cut(
    gateway: Gateway, server: FaultServer
) -> None:
    """Of 21,000 operations the first 20,000 are read, and the rest is said to be missing."""
    entries = [procedure(id=f"p{number}") for number in range(21_000)]
    server.behaviours["Procedure"] = sends(page(*entries))
    answer = gateway.answers(call(server), dev_profile(), deadline(20))[Key.PROCEDURES]
    assert (answer.supply.state, answer.supply.reason) == (State.PARTIAL, reasons.TOO_MUCH)
    assert len(answer.resources) == MOST_RESOURCES


def test_page_that_was_sent_counts_too(gateway: Gateway, server: FaultServer) -> None:
    """A first page from the EHR and 49 from its server are the fifty that are read."""
    endless(server, 1)
    first = page(observation("72514-3"), following=f"{server.base}/Observation?page=0")
    sent = {"scores": json.dumps(first).encode()}
    answers = gateway.answers(call(server, **sent), dev_profile(), deadline(20))
    assert answers[Key.SCORES].supply.state is State.PARTIAL
    counted = {totals.key: totals for totals in gateway.metrics.totals()}
    assert counted[Key.SCORES].pages == MOST_PAGES - 1


@pytest.mark.parametrize("limit", ["pages", "resources", "bytes"])
def test_each_limit_is_inclusive(limit: str) -> None:
    """What is just at the limit is read; nothing is read after it."""
    allowance = Allowance(**{limit: 2})
    assert allowance.takes_page()
    assert allowance.takes_resources(2) == 2
    assert allowance.takes_bytes(2)
    assert allowance.takes_page() is (limit == "pages")
    assert not allowance.takes_page()


def test_a_search_is_tried_once_more_and_not_each_of_its_pages(
    gateway: Gateway, server: FaultServer
) -> None:
    """A second page that loses its connection again ends the search; the first page counts."""
    failing = fault_server.once_then(
        fault_server.reset, sends(page(procedure(), following=f"{server.base}/Procedure?page=2"))
    )

    def behaviour(handler: Handler) -> None:
        (fault_server.reset if "page=2" in handler.path else failing)(handler)

    server.behaviours["Procedure"] = behaviour
    answer = gateway.answers(call(server), dev_profile(), deadline())[Key.PROCEDURES]
    assert (answer.supply.state, len(answer.resources)) == (State.PARTIAL, 1)
    assert len(server.asked("Procedure")) == 3


def test_process_that_can_start_no_thread_still_answers(
    gateway: Gateway, server: FaultServer
) -> None:
    """Without threads, or while the process ends, every key is unknown and nothing is raised."""
    client = dev_profile()
    gateway.answers(call(server), client, deadline())
    fhir = next(iter(gateway._servers.values())).server
    fhir.close()
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.state for answer in answers.values()} == {State.NOT_SUPPLIED}


def test_server_that_hangs_keeps_no_other_hospital_waiting(
    gateway: Gateway, server: FaultServer
) -> None:
    """A dozen calls wait for one server while a call to another is answered at once."""
    hanging = FaultServer()
    for kind in ("Patient", "Procedure", "Condition", "Device", "Observation", "ServiceRequest"):
        hanging.behaviours[kind] = fault_server.slow(3.0)

    def waits(number: int) -> None:
        gateway.answers(call(hanging), clients[number % 2], deadline(5))

    clients = [
        ClientProfile(
            id=f"c{number}",
            allows_open_fhir=True,
            allows_loopback_fhir=True,
            allows_unlisted_loopback_fhir=True,
        )
        for number in range(2)
    ]
    threads = [threading.Thread(target=waits, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    started = time.monotonic()
    answers = gateway.answers(call(server), clients[0], deadline(5))
    took = time.monotonic() - started
    for thread in threads:
        thread.join()
    hanging.stop()
    assert took < 3
    assert not any(answer.supply.has_failed for answer in answers.values())
