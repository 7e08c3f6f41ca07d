"""Whatever the FHIR server does, the answer is in time, names the gap and keeps the token."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway, PullRecord
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.everything_written import ACCESS_TOKEN
from tests.fhir import fault_server
from tests.fhir.chart_parts import (
    PATIENT,
    Resource,
    chart_read,
    observation,
    procedure,
    searches,
)
from tests.fhir.fault_server import FaultServer, Handler

TOKEN = ACCESS_TOKEN
SECONDS = 2.0
ENOUGH_SECONDS = 20.0
SEARCHES = 10


def call(
    server: FaultServer | str,
    token: str | None = TOKEN,
    *,
    is_expired: bool = False,
    **prefetch: bytes | None,
) -> HookRequest:
    """Return a hook call for the patient."""
    base = server if isinstance(server, str) else server.base
    return HookRequest(
        hook="patient-view",
        hook_instance="d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        patient_id="anna",
        user_id="Practitioner/1",
        fhir_server=base or None,
        access_token=None if is_expired else token,
        is_token_expired=is_expired,
        prefetch=prefetch,
    )


def deadline(seconds: float = ENOUGH_SECONDS) -> Deadline:
    """Return a deadline from now, by default one that a busy test machine does not miss."""
    return Deadline.after(seconds, time.monotonic)


def page(*entries: Resource, following: str | None = None, **fields: object) -> dict[str, object]:
    """Return one page of a search."""
    links = [{"relation": "next", "url": following}] if following else []
    found = [{"resource": entry} for entry in entries]
    return {"resourceType": "Bundle", "entry": found, "link": links, **fields}


def only(*keys: str) -> dict[str, bytes | None]:
    """Return a prefetch after which only *keys* are asked for."""
    return dict.fromkeys(key for key in Key.DEFAULT if key not in keys)


def sends(body: object) -> Callable[[Handler], None]:
    """Answer with *body*."""
    return lambda handler: handler.send_json(body)


ABSENT = "the FHIR server does not have it ({status})"


def early_hints(handler: Handler) -> None:
    """Send hints before the answer, as a proxy with HTTP/2 on its other side does."""
    handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
    handler.send_json(page(procedure()))


def overlapping(handler: Handler) -> None:
    """Send four operations in two pages, the second of them twice and the fourth never."""
    found = [procedure(id=f"p{number}") for number in range(4)]
    if "page=2" in handler.path:
        handler.send_json(page(*found[1:3], total=4))
    else:
        handler.send_json(page(*found[:2], total=4, following="Procedure?page=2"))


HTML = b"<html>Tomcat</html>"
FAULTS: list[tuple[str, Callable[[Handler], None], State, str]] = [
    ("slow", fault_server.slow(6), State.NOT_SUPPLIED, reasons.SERVER_TOO_SLOW),
    ("drip", fault_server.drip, State.NOT_SUPPLIED, reasons.SERVER_TOO_SLOW),
    ("401", fault_server.status(401), State.NOT_SUPPLIED, "the FHIR server refused access (401)"),
    ("403", fault_server.status(403), State.NOT_SUPPLIED, "the FHIR server refused access (403)"),
    ("404", fault_server.status(404), State.NOT_SUPPLIED, ABSENT.format(status=404)),
    ("410", fault_server.status(410), State.NOT_SUPPLIED, ABSENT.format(status=410)),
    ("429", fault_server.status(429), State.NOT_SUPPLIED, "the FHIR server was too busy (429)"),
    ("500", fault_server.status(500), State.NOT_SUPPLIED, "the FHIR server failed (500)"),
    ("599", fault_server.status(599), State.NOT_SUPPLIED, "the FHIR server failed (5xx)"),
    ("503", fault_server.status(503), State.NOT_SUPPLIED, "the FHIR server was too busy (503)"),
    (
        "retry after the deadline",
        fault_server.status(429, Retry_After="30"),
        State.NOT_SUPPLIED,
        "the FHIR server was too busy (429)",
    ),
    (
        "html",
        fault_server.content(HTML, "text/html"),
        State.NOT_SUPPLIED,
        reasons.SERVER_NOT_FHIR_JSON,
    ),
    (
        "html that says it is json",
        fault_server.content(HTML),
        State.NOT_SUPPLIED,
        reasons.SERVER_NOT_FHIR_JSON,
    ),
    (
        "json that says it is html",
        fault_server.content(b'{"resourceType":"Bundle"}', "text/html"),
        State.NOT_SUPPLIED,
        reasons.SERVER_NOT_FHIR_JSON,
    ),
    (
        "half json",
        fault_server.content(b'{"resourceType":"Bund'),
        State.NOT_SUPPLIED,
        reasons.NOT_FHIR_JSON,
    ),
    ("empty", fault_server.content(b""), State.NOT_SUPPLIED, reasons.SERVER_NOT_FHIR_JSON),
    ("array", fault_server.content(b"[]"), State.NOT_SUPPLIED, reasons.SERVER_NOT_FHIR_JSON),
    ("truncated", fault_server.truncated, State.NOT_SUPPLIED, reasons.SERVER_UNREACHABLE),
    ("reset", fault_server.reset, State.NOT_SUPPLIED, reasons.SERVER_UNREACHABLE),
    (
        "outcome with status 200",
        sends({"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]}),
        State.NOT_SUPPLIED,
        reasons.REPORTED_PROBLEM,
    ),
    (
        "redirect",
        fault_server.status(302, Location="http://evil.example/fhir"),
        State.NOT_SUPPLIED,
        reasons.SERVER_REDIRECTED,
    ),
    (
        "a next page without an address",
        sends({"resourceType": "Bundle", "link": [{"relation": "next"}]}),
        State.PARTIAL,
        reasons.MORE_PAGES,
    ),
    (
        "one entry of another kind",
        sends(observation("72514-3")),
        State.PARTIAL,
        reasons.SINGLE_RESOURCE,
    ),
    (
        "paging to another host",
        sends(page(following="http://evil.example/fhir/Condition?page=2")),
        State.PARTIAL,
        reasons.NEXT_PAGE_ELSEWHERE,
    ),
]


@pytest.mark.parametrize(
    ("behaviour", "state", "reason"), [case[1:] for case in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_fault_of_one_search_leaves_the_others_and_says_why(
    gateway: Gateway,
    server: FaultServer,
    behaviour: Callable[[Handler], None],
    state: State,
    reason: str,
) -> None:
    """Conditions fail in one way; the rest arrives in time, even if the server wants a pause."""
    server.behaviours["Condition"] = behaviour
    started = time.monotonic()
    is_slow = reason == reasons.SERVER_TOO_SLOW
    within = deadline(SECONDS) if is_slow else deadline()
    answers = gateway.answers(call(server), dev_profile(), within)
    assert time.monotonic() - started < SECONDS + 3
    supply = answers[Key.CONDITIONS].supply
    assert (supply.state, supply.reason) == (state, reason)
    others = [answers[key].supply for key in Key.DEFAULT[1:] if key != Key.CONDITIONS]
    assert {supply.state for supply in others} == {State.EMPTY}


def test_half_an_emoji_in_a_text_of_the_server_is_one_unknown_character(
    gateway: Gateway, server: FaultServer, knowledge: Knowledge
) -> None:
    """A text that was cut inside an emoji does not void the operations of the chart."""
    sent = {**procedure(), "note": [{"text": "scar \ud83d"}]}
    server.behaviours["Procedure"] = sends(page(sent))
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.PROCEDURES].supply.state is State.SUPPLIED
    chart = chart_read(
        answers,
        knowledge,
        fhir_server=server.base,
    )
    assert len(chart.procedures) == 1


def test_server_that_begins_its_answers_with_a_byte_order_mark_is_read(
    gateway: Gateway, server: FaultServer
) -> None:
    """It says nothing but that the text is UTF-8 (RFC 8259, section 8.1); the implants are read."""
    body = json.dumps(page()).encode("utf-8-sig")
    server.behaviours["Device"] = fault_server.content(body)
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.DEVICES].supply.state is State.EMPTY


@pytest.mark.parametrize("behaviour", [fault_server.bomb, fault_server.huge], ids=["bomb", "huge"])
def test_enormous_answer_is_refused_as_too_much(
    gateway: Gateway, server: FaultServer, behaviour: Callable[[Handler], None]
) -> None:
    """Two hundred megabytes are not read, compressed or not."""
    server.behaviours["Condition"] = behaviour
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.reason == reasons.TOO_MUCH


def test_searches_run_side_by_side(gateway: Gateway, server: FaultServer) -> None:
    """Five slow searches take about as long as one."""
    for kind in ("Procedure", "Condition", "Device", "Observation", "ServiceRequest"):
        server.behaviours[kind] = fault_server.slow(1)
    started = time.monotonic()
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert time.monotonic() - started < 4
    assert not any(answer.supply.has_failed for answer in answers.values())


@pytest.mark.parametrize(
    "first",
    [fault_server.reset, fault_server.status(503, Retry_After="0")],
    ids=["reset", "busy"],
)
def test_lost_connection_and_busy_server_are_tried_once_more(
    gateway: Gateway, server: FaultServer, first: Callable[[Handler], None]
) -> None:
    """A second try that succeeds makes the key known."""
    server.behaviours["Condition"] = fault_server.once_then(first, sends(page()))
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert len(server.asked("Condition")) == 2


def test_connection_on_which_more_came_than_was_asked_for_is_not_used_again(
    gateway: Gateway, server: FaultServer
) -> None:
    """The rest could be taken for the answer to the next search, which is about somebody else."""
    came: list[object] = []

    def says_more(handler: Handler) -> None:
        came.append(handler.client_address)
        body = b'{"resourceType":"Bundle","type":"searchset","total":0}'
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        handler.wfile.write(head + body + b"HTTP/1.1 200 OK\r\n")

    server.behaviours["Condition"] = says_more
    client = dev_profile()
    for _ in range(4):
        answers = gateway.answers(call(server, **only(Key.CONDITIONS)), client, deadline())
        assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert len(set(came)) == 4


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
def test_refusal_is_not_repeated(gateway: Gateway, server: FaultServer, code: int) -> None:
    """One request per search when a second would be no use."""
    server.behaviours["Condition"] = fault_server.status(code)
    gateway.answers(call(server), dev_profile(), deadline())
    assert len(server.asked("Condition")) == 1


def test_part_that_is_sent_unasked_is_used_and_another_is_not_asked_for(
    gateway: Gateway, server: FaultServer
) -> None:
    """An EHR that sends encounters to a site that did not wish for them is not sending in vain."""
    sent = json.dumps(page({"resourceType": "Encounter", "id": "e1"})).encode()
    answers = gateway.answers(call(server, encounters=sent), dev_profile(), deadline())
    assert len(answers[Key.ENCOUNTERS].resources) == 1
    assert set(answers) == {*Key.DEFAULT, Key.ENCOUNTERS}
    assert not server.asked("AllergyIntolerance")


def test_patient_who_is_no_part_of_the_list_sent_is_asked_for(
    gateway: Gateway, server: FaultServer
) -> None:
    """An EHR that searches for the patient and finds nobody leaves the reading to us."""
    sent = json.dumps(page(total=0)).encode()
    answers = gateway.answers(call(server, patient=sent), dev_profile(), deadline())
    assert len(answers[Key.PATIENT].resources) == 1


def test_pages_are_followed_to_the_end(gateway: Gateway, server: FaultServer) -> None:
    """All pages of all searches are read, filters kept by the server or not."""

    def behaviour(handler: Handler) -> None:
        number = int(handler.path.partition("page=")[2] or 1)
        entry = procedure(id=f"p{number}")
        following = f"{server.base}/Procedure?page={number + 1}" if number < 7 else None
        handler.send_json(page(entry, following=following, total=7))

    server.behaviours["Procedure"] = behaviour
    answer = gateway.answers(call(server), dev_profile(), deadline())[Key.PROCEDURES]
    assert (answer.supply.state, len(answer.resources)) == (State.SUPPLIED, 7)


def test_pages_that_overlap_leave_a_gap(gateway: Gateway, server: FaultServer) -> None:
    """A server that loses its place between two pages has not sent everything."""
    server.behaviours["Procedure"] = overlapping
    supply = gateway.answers(call(server), dev_profile(), deadline())[Key.PROCEDURES].supply
    assert (supply.state, supply.reason) == (State.PARTIAL, reasons.FEWER_THAN_TOTAL)
    assert len(server.asked("Procedure")) == 2


def test_hints_before_the_answer_are_not_the_answer(gateway: Gateway, server: FaultServer) -> None:
    """The operations come after them, and the connection stays of use."""
    server.behaviours["Procedure"] = early_hints
    for _ in range(2):
        answers = gateway.answers(call(server), dev_profile(), deadline())
        assert answers[Key.PROCEDURES].supply.state is State.SUPPLIED
        assert not any(answer.supply.has_failed for answer in answers.values())


@pytest.mark.parametrize("step", [0, 1], ids=["loop", "endless"])
def test_endless_paging_ends_and_is_partial(
    gateway: Gateway, server: FaultServer, step: int
) -> None:
    """A loop and a list without end are cut, and said to be."""

    def behaviour(handler: Handler) -> None:
        number = int(handler.path.partition("page=")[2] or 1) + step
        handler.send_json(page(procedure(), following=f"{server.base}/Procedure?page={number}"))

    server.behaviours["Procedure"] = behaviour
    answer = gateway.answers(call(server), dev_profile(), deadline())[Key.PROCEDURES]
    assert (answer.supply.state, answer.supply.reason) == (State.PARTIAL, reasons.MORE_PAGES)
    assert len(server.asked("Procedure")) <= 50


def test_what_arrived_before_the_deadline_counts(gateway: Gateway, server: FaultServer) -> None:
    """A first page is used although the second is too late."""
    following = f"{server.base}/Procedure?page=2"

    def behaviour(handler: Handler) -> None:
        if "page=2" in handler.path:
            time.sleep(6)
        handler.send_json(page(procedure(), following=following))

    server.behaviours["Procedure"] = behaviour
    answer = gateway.answers(call(server), dev_profile(), deadline(SECONDS))[Key.PROCEDURES]
    assert (answer.supply.state, len(answer.resources)) == (State.PARTIAL, 1)


def test_another_patient_on_the_second_page_is_never_a_fact(
    gateway: Gateway, server: FaultServer, knowledge: Knowledge
) -> None:
    """A server whose next link drops the filter shows nobody else's operation."""

    def behaviour(handler: Handler) -> None:
        if "page=2" in handler.path:
            foreign = procedure(id="x", subject={"reference": "Patient/bert"})
            handler.send_json(page(foreign))
        else:
            handler.send_json(page(procedure(), following=f"{server.base}/Procedure?page=2"))

    server.behaviours["Procedure"] = behaviour
    answers = gateway.answers(call(server), dev_profile(), deadline())
    chart = chart_read(
        answers,
        knowledge,
        fhir_server=server.base,
    )
    assert [fact.reference for fact in chart.procedures] == ["Procedure/p1"]
    assert [item.reason for item in chart.set_aside] == [reasons.ANOTHER_PATIENT]


def test_ten_thousand_observations_in_a_hundred_pages_keep_the_limit(
    gateway: Gateway, server: FaultServer
) -> None:
    """More pages than the limit are cut after fifty, and said to be."""

    def behaviour(handler: Handler) -> None:
        number = int(handler.path.partition("page=")[2] or 0)
        entries = [observation("72514-3", id=f"o{number}-{i}", valueInteger=5) for i in range(100)]
        following = f"{server.base}/Observation?page={number + 1}" if number < 99 else None
        handler.send_json(page(*entries, following=following))

    server.behaviours["Observation"] = behaviour
    answer = gateway.answers(call(server), dev_profile(), deadline(20))[Key.SCORES]
    assert (answer.supply.state, len(answer.resources)) == (State.PARTIAL, 5000)


def test_token_goes_to_the_fhir_server_and_cookies_nowhere(
    gateway: Gateway, server: FaultServer
) -> None:
    """Every request carries the token of its call, and no cookie of an earlier answer."""
    server.behaviours["Condition"] = lambda handler: handler.send_json(
        fault_server.EMPTY, Set_Cookie="session=anna; Path=/"
    )
    client = dev_profile()
    gateway.answers(call(server), client, deadline())
    gateway.answers(call(server, "second-token"), client, deadline())
    tokens = [headers.get("Authorization") for _, headers in server.seen]
    assert tokens.count(f"Bearer {TOKEN}") == tokens.count("Bearer second-token") == SEARCHES
    assert not any("Cookie" in headers for _, headers in server.seen)
    hosts = {headers.get("Host") for _, headers in server.seen}
    assert hosts == {server.base.split("/")[2]}  # servers with several names choose by it


def test_environment_does_not_decide_where_a_token_goes(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.PATIENT].supply.state is State.SUPPLIED


def test_token_that_came_too_late_is_said_and_no_server_is_asked(
    gateway: Gateway, server: FaultServer
) -> None:
    """Even a server that is open to all is not asked: the EHR meant a token to go along."""
    answers = gateway.answers(call(server, is_expired=True), dev_profile(), deadline())
    assert {answer.supply.reason for answer in answers.values()} == {reasons.TOKEN_EXPIRED}
    assert server.seen == []


@pytest.mark.parametrize(
    ("base", "token", "client", "reason"),
    [
        ("", None, dev_profile(), reasons.NOT_SENT),
        ("https://unlisted.example/fhir", TOKEN, dev_profile(), reasons.SERVER_NOT_ALLOWED),
        (
            "https://listed.example/fhir",
            None,
            ClientProfile(id="a", fhir_bases=("https://listed.example/fhir",)),
            reasons.NO_ACCESS_TOKEN,
        ),
        (
            "https://listed.example/fhir/../other",
            TOKEN,
            ClientProfile(id="a", fhir_bases=("https://listed.example/fhir",)),
            reasons.SERVER_NOT_ALLOWED,
        ),
    ],
)
def test_server_that_may_not_be_asked_is_not_asked(
    gateway: Gateway, base: str, token: str | None, client: ClientProfile, reason: str
) -> None:
    """Every key that was not sent says why."""
    answers = gateway.answers(call(base, token), client, deadline())
    assert {answer.supply.reason for answer in answers.values()} == {reason}


def test_sent_keys_are_not_asked_again(gateway: Gateway, server: FaultServer) -> None:
    """Prefetch is used as it is; only what is missing is pulled."""
    answers = gateway.answers(
        call(
            server,
            patient=json.dumps(PATIENT).encode(),
            procedures=json.dumps(page(procedure())).encode(),
            conditions=None,
            devices=b'{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}',
            scores=b'"<html>"',
        ),
        dev_profile(),
        deadline(),
    )
    assert server.asked("Patient") == server.asked("Procedure") == []
    assert server.asked("Condition") == server.asked("Device") == []
    assert len(server.asked("Observation")) == 3  # findings have too many codes for one URL
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert answers[Key.DEVICES].supply.state is State.NOT_SUPPLIED
    assert answers[Key.SCORES].supply.state is State.EMPTY


@pytest.mark.parametrize("link", ["{base}/Procedure?page=2", "Procedure?page=2", "?page=2"])
def test_next_page_of_a_sent_bundle_is_followed(
    gateway: Gateway, server: FaultServer, link: str
) -> None:
    """A prefetched first page is completed from the server; its link may be relative."""
    server.behaviours["Procedure"] = sends(page(procedure(id="p2")))
    first = page(procedure(), following=link.format(base=server.base))
    sent = {"procedures": json.dumps(first).encode()}
    answers = gateway.answers(call(server, **sent), dev_profile(), deadline())
    assert len(answers[Key.PROCEDURES].resources) == 2
    assert answers[Key.PROCEDURES].supply.state is State.SUPPLIED
    alone = gateway.answers(call("", None, **sent), dev_profile(), deadline())
    assert alone[Key.PROCEDURES].supply.state is State.PARTIAL


def test_failing_server_is_left_alone_and_tried_again(
    gateway: Gateway, server: FaultServer
) -> None:
    """After many failures the next call does not wait for the server."""
    client = dev_profile()
    for kind in ("Condition", "Device", "Observation", "ServiceRequest", "DiagnosticReport"):
        server.behaviours[kind] = fault_server.status(500)
    gateway.answers(call(server), client, deadline())
    gateway.answers(call(server), client, deadline())
    asked = len(server.seen)
    answers = gateway.answers(call(server), client, deadline())
    assert len(server.seen) == asked
    assert answers[Key.CONDITIONS].supply.reason == reasons.SERVER_PAUSED


def test_server_without_some_kinds_of_entry_is_still_asked_for_the_others(
    gateway: Gateway, server: FaultServer
) -> None:
    """It says so of itself (501) and has not failed: the implants are read at every call."""
    client = dev_profile()
    for kind in ("ServiceRequest", "DiagnosticReport"):
        server.behaviours[kind] = fault_server.status(501)
    asked = only(Key.SERVICE_REQUESTS, Key.DIAGNOSTIC_REPORTS, Key.DEVICES)
    for _ in range(6):
        answers = gateway.answers(call(server, **asked), client, deadline())
        assert answers[Key.DEVICES].supply.state is State.EMPTY
        assert answers[Key.SERVICE_REQUESTS].supply.reason == ABSENT.format(status=501)


def test_server_that_is_down_is_unreachable(gateway: Gateway) -> None:
    """A closed port is said to be unreachable, at once."""
    started = time.monotonic()
    answers = gateway.answers(call("http://127.0.0.1:9/fhir"), dev_profile(), deadline())
    assert time.monotonic() - started < ENOUGH_SECONDS / 2
    found = {answer.supply.reason for answer in answers.values()}
    assert found <= {reasons.SERVER_UNREACHABLE, reasons.SERVER_PAUSED}


def test_cost_of_each_key_is_told_without_patient_data(
    knowledge: Knowledge, server: FaultServer
) -> None:
    """The observer hears key, outcome, pages and bytes."""
    records: list[PullRecord] = []
    gateway = Gateway(knowledge, time.monotonic, observer=records.append)
    gateway.answers(call(server), dev_profile(), deadline())
    gateway.close()
    assert {record.key for record in records} == set(Key.DEFAULT)
    paths = searches(knowledge, "anna")
    assert all(record.pages == len(paths[record.key]) and record.bytes for record in records)
    assert "anna" not in repr(records)
