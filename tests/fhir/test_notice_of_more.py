"""Epic's warning that the chart may hold more: a gap, or a notice that stands on every answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir import reasons
from cds_service.fhir.gateway import Gateway
from cds_service.trust.dialect import reading_form
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.fhir.fault_server import FaultServer
from tests.fhir.test_gateway_faults import call, deadline, sends
from tests.fhir.test_prefetch_states import ONE, bundle, outcome

MORE = outcome("warning", code="processing", detail="4119")
NONE_FOUND = outcome("warning", code="processing", detail="4101")
LOCKED = outcome("warning", code="processing", detail="4130")


def in_part(reason: str) -> Supply:
    """Return the supply of a key with a gap."""
    return Supply(state=State.PARTIAL, reason=reason)


CASES = [
    (bundle(ONE, MORE), Supply(state=State.SUPPLIED)),
    (bundle(NONE_FOUND, MORE, total=0), Supply(state=State.EMPTY)),
    (bundle(MORE, total=0), Supply(state=State.EMPTY)),
    (bundle(ONE, MORE, total=2), in_part(reasons.FEWER_THAN_TOTAL)),
    (bundle(ONE, MORE, LOCKED), in_part(reasons.REPORTED_NOT_AUTHORISED)),
    (bundle(ONE, MORE, outcome("error")), in_part(reasons.REPORTED_PROBLEM)),
]


def epic(*, is_notice: bool) -> ClientProfile:
    """Return a client whose EHR adds the warning to everything, or only where it matters."""
    reading = reading_form("epic", {"takes_more_as_notice": is_notice})
    return replace(dev_profile(), reading=reading)


@pytest.mark.parametrize(("found", "supply"), CASES)
def test_notice_makes_no_key_incomplete_and_hides_no_other_gap(
    gateway: Gateway, server: FaultServer, found: dict[str, object], supply: Supply
) -> None:
    """Whatever else the answer says against itself still counts, in prefetch and in a search."""
    client = epic(is_notice=True)
    server.behaviours["Condition"] = sends(found)
    for sent in ({Key.CONDITIONS: json.dumps(found).encode()}, {}):
        answers = gateway.answers(call(server, **sent), client, deadline())
        assert answers[Key.CONDITIONS].supply == supply


def test_warning_is_a_gap_unless_the_site_says_otherwise(
    gateway: Gateway, server: FaultServer
) -> None:
    """Nobody but the hospital knows what its EHR means by it."""
    sent = {Key.CONDITIONS: json.dumps(bundle(ONE, MORE)).encode()}
    for client in (dev_profile(), epic(is_notice=False)):
        answers = gateway.answers(call(server, **sent), client, deadline())
        assert answers[Key.CONDITIONS].supply.reason == reasons.REPORTED_MORE
    assert not reading_form("epic").takes_more_as_notice


def test_bare_warning_brings_nothing_in_either_reading(
    gateway: Gateway, server: FaultServer
) -> None:
    """Without a Bundle around it nobody looked."""
    sent = {Key.CONDITIONS: json.dumps(MORE).encode()}
    answers = gateway.answers(call(server, **sent), epic(is_notice=True), deadline())
    supply = answers[Key.CONDITIONS].supply
    assert (supply.state, supply.reason) == (State.NOT_SUPPLIED, reasons.REPORTED_MORE)
