"""Sites may ask for searches by POST, in one batch, or fresh; the answers stay the same."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.asking import FORM
from cds_service.fhir.batch import batch_parts
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.queries import observation_codes
from cds_service.knowledge.model import Knowledge
from cds_service.trust.dialect import search_form
from cds_service.trust.profile import ClientProfile
from tests.fhir import fault_server
from tests.fhir.chart_parts import PATIENT, observation, procedure
from tests.fhir.fault_server import FaultServer, Handler
from tests.fhir.test_gateway_faults import ENOUGH_SECONDS, call, deadline, page, sends

NO_OUTCOMES: Mapping[str, object] = {}


@pytest.fixture
def server(server: FaultServer) -> FaultServer:
    """Return a FHIR server with a patient and one operation."""
    server.behaviours["Procedure"] = sends(page(procedure()))
    return server


def client(**wishes: object) -> ClientProfile:
    """Return a client on this machine with *wishes*."""
    return ClientProfile(
        id="a",
        allows_open_fhir=True,
        allows_loopback_fhir=True,
        allows_unlisted_loopback_fhir=True,
        **wishes,  # type: ignore[arg-type]
    )


def test_searches_by_post_put_nothing_of_the_patient_into_a_url(
    gateway: Gateway, server: FaultServer, knowledge: Knowledge
) -> None:
    """The form holds what the URL would hold, unsplit; only the Patient itself is read by GET."""
    answers = gateway.answers(call(server), client(searches_by_post=True), deadline())
    assert answers[Key.PROCEDURES].supply.state is State.SUPPLIED
    assert [path for path, _ in server.seen if "anna" in path] == ["/fhir/Patient/anna"]
    posted = [headers for path, headers in server.seen if path.endswith("/_search")]
    assert {headers["Content-Type"] for headers in posted} == {FORM}
    forms = [parse_qs(body.decode()) for path, body in server.bodies if "Observation" in path]
    asked = [tuple(form["code"][0].split(",")) for form in forms]
    wanted = [observation_codes(knowledge, key) for key in (Key.SCORES, Key.FINDINGS)]
    assert sorted(asked) == sorted(wanted)
    assert all(form["patient"] == ["anna"] for form in forms)


@pytest.mark.parametrize("link", ["Procedure?page=2", "?page=2", "{base}/Procedure?page=2"])
def test_next_page_of_a_search_by_post_is_found_by_a_relative_link_too(
    gateway: Gateway, server: FaultServer, link: str
) -> None:
    """The second operation is on a page below the type, not below ``_search``."""
    first = page(procedure(), following=link.format(base=server.base))
    pages = {
        ("POST", "/fhir/Procedure/_search"): sends(first),
        ("GET", "/fhir/Procedure?page=2"): sends(page(procedure(id="p2"))),
    }

    def behaviour(handler: Handler) -> None:
        asked = (handler.command, handler.path)
        pages.get(asked, fault_server.status(404))(handler)

    server.behaviours["Procedure"] = behaviour
    answers = gateway.answers(call(server), client(searches_by_post=True), deadline())
    answer = answers[Key.PROCEDURES]
    assert (answer.supply.state, len(answer.resources)) == (State.SUPPLIED, 2)


def batch_server(
    server: FaultServer, *, drops: int = 0, outcomes: Mapping[str, object] = NO_OUTCOMES
) -> None:
    """Let *server* answer a batch as it would answer each search.

    *drops* entries are left out; *outcomes* stand beside what was found of a kind.
    """
    found = {"Patient/anna": PATIENT}

    def behaviour(handler: Handler) -> None:
        asked = json.loads(handler.server.bodies[-1][1])["entry"]
        entries = []
        for entry in asked:
            path = entry["request"]["url"]
            body = found.get(path, fault_server.EMPTY)
            status = "200 OK"
            if path.startswith("Procedure"):
                body = page(procedure(), following=f"{server.base}/Procedure?page=2")
            elif path.startswith("Device"):
                body, status = None, "403 Forbidden"
            response = {"status": status, "outcome": outcomes.get(path.split("?")[0])}
            entries.append({"resource": body, "response": response})
        handler.send_json(
            {"resourceType": "Bundle", "type": "batch-response", "entry": entries[drops:]}
        )

    server.behaviours[""] = behaviour
    server.behaviours["fhir"] = behaviour


def batched(
    gateway: Gateway, server: FaultServer, seconds: float = ENOUGH_SECONDS
) -> dict[str, KeyAnswer]:
    """Return the answers of a client that wants batches, within *seconds*."""
    return dict(gateway.answers(call(server), client(searches_in_batch=True), deadline(seconds)))


def test_one_batch_asks_for_everything_and_pages_go_on_alone(
    gateway: Gateway, server: FaultServer
) -> None:
    """One POST brings all first pages; a refused part is one unknown key."""
    batch_server(server)
    server.behaviours["Procedure"] = sends(page(procedure(id="p2")))
    answers = batched(gateway, server)
    assert len(server.bodies) == 1
    assert len(server.seen) == 2
    assert len(answers[Key.PROCEDURES].resources) == 2
    assert answers[Key.PROCEDURES].supply.state is State.SUPPLIED
    assert answers[Key.SCORES].supply.state is State.EMPTY
    assert answers[Key.DEVICES].supply.reason == "the FHIR server refused access (403)"


def reported(severity: str, code: str) -> dict[str, object]:
    """Return an OperationOutcome with one issue."""
    issue = {"severity": severity, "code": code}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def test_what_the_server_says_beside_a_part_of_a_batch_counts(
    gateway: Gateway, server: FaultServer
) -> None:
    """An error beside nothing is no empty list, and a warning may say that something is missing."""
    outcomes = {
        "Procedure": reported("error", "exception"),
        "Condition": reported("error", "exception"),
        "ServiceRequest": reported("warning", "incomplete"),
        "MedicationRequest": reported("warning", "informational"),
        "DiagnosticReport": "denied",
    }
    batch_server(server, outcomes=outcomes)
    server.behaviours["Procedure"] = sends(page(procedure(id="p2")))
    answers = batched(gateway, server)
    states = {key: answers[key].supply.state for key in Key.DEFAULT[1:6]}
    assert states == {
        Key.PROCEDURES: State.PARTIAL,
        Key.CONDITIONS: State.NOT_SUPPLIED,
        Key.SERVICE_REQUESTS: State.PARTIAL,
        Key.MEDICATION_REQUESTS: State.EMPTY,
        Key.DIAGNOSTIC_REPORTS: State.NOT_SUPPLIED,
    }
    assert answers[Key.SERVICE_REQUESTS].supply.reason == reasons.REPORTED_PROBLEM


def test_batch_answer_with_too_few_parts_is_not_used(gateway: Gateway, server: FaultServer) -> None:
    """Parts are told apart by their order only, so nothing is guessed."""
    batch_server(server, drops=1)
    answers = batched(gateway, server)
    assert {answer.supply.reason for answer in answers.values()} == {reasons.BATCH_MIXED_UP}


def test_batch_answer_in_another_order_is_not_used(gateway: Gateway, server: FaultServer) -> None:
    """An operation where the Patient was asked for: no part can be trusted, none is empty."""
    batch_server(server)
    in_order = server.behaviours["fhir"]

    def behaviour(handler: Handler) -> None:
        send = handler.send_json
        handler.send_json = lambda body: send(  # type: ignore[method-assign, assignment]
            {**body, "entry": body["entry"][::-1]}
        )
        in_order(handler)

    server.behaviours["fhir"] = server.behaviours[""] = behaviour
    answers = batched(gateway, server)
    assert {answer.supply.reason for answer in answers.values()} == {reasons.BATCH_MIXED_UP}


def test_refused_batch_makes_every_key_unknown(gateway: Gateway, server: FaultServer) -> None:
    """A server without batches is said to have failed."""
    server.behaviours["fhir"] = server.behaviours[""] = fault_server.status(405)
    answers = batched(gateway, server)
    found = {answer.supply.reason for answer in answers.values()}
    assert found == {"the FHIR server failed (405)"}


def test_batch_that_is_too_late_holds_nothing_up(gateway: Gateway, server: FaultServer) -> None:
    """The answer is in time although all of it waits for the batch."""
    server.behaviours["fhir"] = server.behaviours[""] = fault_server.slow(8)
    started = time.monotonic()
    answers = batched(gateway, server, 0.45)
    assert time.monotonic() - started < 5
    assert {answer.supply.reason for answer in answers.values()} == {reasons.SERVER_TOO_SLOW}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", reasons.NOT_FHIR_JSON),
        (b'{"resourceType":"Bundle"}', reasons.BATCH_MIXED_UP),
        (b'{"resourceType":"OperationOutcome","issue":[]}', reasons.REPORTED_PROBLEM),
        (b'{"resourceType":"Patient","entry":[{}]}', reasons.NOT_FHIR_JSON),
        (b'{"resourceType":"Bundle","entry":[{}]}', reasons.NOT_FHIR_JSON),
        (
            b'{"resourceType":"Bundle","entry":[{"response":{"status":200},"resource":null}]}',
            reasons.NOT_FHIR_JSON,
        ),
        (
            b'{"resourceType":"Bundle","entry":[{"response":{"status":"OK"},"resource":{}}]}',
            reasons.NOT_FHIR_JSON,
        ),
    ],
)
def test_odd_batch_answers_have_no_parts(body: bytes, why: str) -> None:
    """What is no batch answer brings nothing and breaks nothing.

    A server that says no, or leaves a part out, did send FHIR JSON; the operator reads which.
    """
    assert [(part.body, part.problem) for part in batch_parts(body, 1)] == [(None, why)]


def test_sandbox_servers_are_asked_for_fresh_answers_with_medications(
    gateway: Gateway, server: FaultServer
) -> None:
    """HAPI answers a repeated search from store unless told not to."""
    gateway.answers(call(server), client(searches=search_form("sandbox")), deadline())
    assert all(headers["Cache-Control"] == "no-cache" for _, headers in server.seen)
    assert "_include=MedicationRequest:medication" in server.asked("MedicationRequest")[0]


def test_other_servers_may_answer_from_store(gateway: Gateway, server: FaultServer) -> None:
    """Nothing is said about stored answers unless the dialect needs it."""
    gateway.answers(call(server), client(), deadline())
    assert server.seen
    assert not any("Cache-Control" in headers for _, headers in server.seen)


def test_no_more_requests_at_a_time_than_the_profile_allows(
    gateway: Gateway, server: FaultServer
) -> None:
    """A small server is not flooded; the searches queue up."""
    now, most = [0], [0]

    def behaviour(handler: Handler) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.03)
        now[0] -= 1
        handler.send_json(page(observation("72514-3", valueInteger=5)))

    for kind in ("Procedure", "Condition", "Device", "Observation", "ServiceRequest"):
        server.behaviours[kind] = behaviour
    answers = gateway.answers(call(server), client(max_fhir_requests=2), deadline(5))
    assert most[0] <= 2
    assert not any(answer.supply.state is State.NOT_SUPPLIED for answer in answers.values())
