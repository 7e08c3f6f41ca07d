"""A key written twice has no certain meaning: the entry is not used, or the page is no FHIR."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import pytest

from cds_service.chart.supply import Key, State
from cds_service.errors import RequestError
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.gateway import Gateway
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import dev_profile
from tests.fhir import fault_server
from tests.fhir.chart_parts import chart_read, procedure
from tests.fhir.fault_server import FaultServer
from tests.fhir.test_gateway_faults import call, deadline, page

GOOD = json.dumps(page(procedure())).encode()
DOUBTFUL = (
    json.dumps(procedure(id="p2")).encode()[:-1] + b', "subject": {"reference": "Patient/b"}}'
)
DEEP = json.dumps(procedure(id="p2")).encode()[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}"


def pulled(knowledge: Knowledge, server: FaultServer, body: bytes) -> Mapping[str, KeyAnswer]:
    """Return the answers when *body* answers the search for operations."""
    server.behaviours["Procedure"] = fault_server.content(body)
    gateway = Gateway(knowledge, time.monotonic)
    answers = gateway.answers(call(server), dev_profile(), deadline(5))
    gateway.close()
    return answers


def test_number_of_any_length_is_no_doubt(knowledge: Knowledge, server: FaultServer) -> None:
    """An operation with a number of 5,000 digits in a field nobody reads is an operation."""
    long = json.dumps(procedure()).encode()[:-1] + b', "x": ' + b"9" * 5_000 + b"}"
    body = json.dumps(page()).encode().replace(b"[]", b'[{"resource": ' + long + b"}]", 1)
    supply = pulled(knowledge, server, body)[Key.PROCEDURES].supply
    assert (supply.state, supply.reason) == (State.SUPPLIED, None)


@pytest.mark.parametrize("odd", [DOUBTFUL, DEEP], ids=["two subjects", "bottomless"])
def test_entry_that_two_readers_could_read_differently_is_not_used(
    knowledge: Knowledge, server: FaultServer, odd: bytes
) -> None:
    """An operation with two subjects is nobody's; the patient's other operation counts."""
    body = GOOD.replace(b'"entry": [', b'"entry": [{"resource": ' + odd + b"}, ")
    chart = chart_read(
        pulled(knowledge, server, body),
        knowledge,
        fhir_server=server.base,
    )
    assert [fact.reference for fact in chart.procedures] == ["Procedure/p1"]
    supply = chart.supply_of(Key.PROCEDURES)
    assert (supply.state, supply.reason) == (State.PARTIAL, reasons.UNREADABLE_ENTRY)


@pytest.mark.parametrize(
    "body",
    [
        GOOD[:-1] + b', "entry": []}',
        GOOD[:-1] + b', "entry": [{"resource": ' + DOUBTFUL + b"}]}",
        GOOD.replace(b'"entry": [{', b'"entry": [{"resource": null, '),
        GOOD.replace(
            b'"entry": [',
            b'"entry": ['
            + b"".join(
                b'{"resource": ' + DOUBTFUL.replace(b"p2", b"p%d" % number) + b"}, "
                for number in range(100)
            ),
        ),
    ],
    ids=["entries twice", "entries and a subject twice", "a resource twice", "very many entries"],
)
def test_page_that_two_readers_could_read_differently_is_no_fhir(
    knowledge: Knowledge, server: FaultServer, body: bytes
) -> None:
    """A Bundle whose second list of entries is empty is not taken for an empty chart."""
    supply = pulled(knowledge, server, body)[Key.PROCEDURES].supply
    assert (supply.state, supply.reason) == (State.NOT_SUPPLIED, reasons.NOT_FHIR_JSON)


def test_call_that_two_readers_could_read_differently_bothers_no_server(
    knowledge: Knowledge, server: FaultServer
) -> None:
    """It is refused before anything else of the chart is asked for."""
    gateway = Gateway(knowledge, time.monotonic)
    doubtful = GOOD[:-1] + b', "entry": []}'
    with pytest.raises(RequestError, match=r"\$\.prefetch\.procedures"):
        gateway.answers(call(server, procedures=doubtful), dev_profile(), deadline())
    gateway.close()
    assert not server.seen
