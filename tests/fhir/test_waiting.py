"""How long a busy or a dripping server is waited for, and that nothing is lost to one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

import pytest
from urllib3.connection import HTTPConnection

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.asking import Question
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.http import FhirServer, Terms
from cds_service.fhir.queries import TYPES
from cds_service.fhir.side_by_side import Steps
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import dev_profile
from cds_service.turns import Turns
from tests.fhir import fault_server
from tests.fhir.chart_parts import PATIENT
from tests.fhir.fault_server import FaultServer, Handler
from tests.fhir.test_gateway_faults import call, deadline, only, page, sends
from tests.patience import PATIENT_SECONDS, until

MOMENT = 1_800_000_000


def busy_until(seconds: int, *, says_now: bool = True) -> Callable[[Handler], None]:
    """Answer 503 with a date *seconds* after the server's own."""

    def behaviour(handler: Handler) -> None:
        handler.send_response_only(503)
        if says_now:
            handler.send_header("Date", formatdate(MOMENT, usegmt=True))
        handler.send_header("Retry-After", formatdate(MOMENT + seconds, usegmt=True))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behaviour


def test_retry_after_as_a_date_is_waited_for_if_it_fits(
    gateway: Gateway, server: FaultServer
) -> None:
    """The wait is counted by the server's own clock: the date is now, so the retry is at once."""
    server.behaviours["Condition"] = fault_server.once_then(busy_until(0), sends(page()))
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert len(server.asked("Condition")) == 2


def test_wait_that_fits_is_waited_for(gateway: Gateway, server: FaultServer) -> None:
    """The server asks for one second of ten."""
    busy = fault_server.status(503, Retry_After="1")
    server.behaviours["Condition"] = fault_server.once_then(busy, sends(page()))
    started = time.monotonic()
    answers = gateway.answers(call(server), dev_profile(), deadline(10))
    assert 1 <= time.monotonic() - started < 6
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY


def test_connection_that_stood_idle_for_too_long_loses_no_search(
    gateway: Gateway, server: FaultServer
) -> None:
    """Some servers answer 408 to whoever is about to ask, and hang up; that is no answer to it."""
    server.behaviours["Condition"] = fault_server.once_then(fault_server.status(408), sends(page()))
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert len(server.asked("Condition")) == 2
    server.behaviours["Condition"] = fault_server.status(408)
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.reason == reasons.of_status(408)


def test_call_ends_with_its_last_answer(gateway: Gateway, server: FaultServer) -> None:
    """However much time is left, over new connections and over kept ones."""
    client = dev_profile()
    for _ in range(2):
        started = time.monotonic()
        gateway.answers(call(server), client, deadline(30))
        assert time.monotonic() - started < 15


def test_server_that_answers_nothing_in_time_is_left_alone(
    gateway: Gateway, server: FaultServer
) -> None:
    """Nine searches that were cut off are nine failures."""
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.slow(3.0))
    client = dev_profile()
    gateway.answers(call(server), client, deadline(0.6))
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.reason for answer in answers.values()} == {reasons.SERVER_PAUSED}


@pytest.mark.parametrize(
    "behaviour",
    [
        busy_until(30),
        busy_until(0, says_now=False),
        fault_server.status(503, Retry_After="soon"),
        fault_server.status(503, Retry_After="Sat, 99 Foo 2026 99:99:99 GMT"),
        fault_server.status(503, Retry_After="-1"),
        fault_server.status(503, Retry_After="9" * 400),
    ],
    ids=["later", "no clock", "words", "no date", "negative", "for ever"],
)
def test_wait_that_does_not_fit_or_cannot_be_read_is_a_pause(
    gateway: Gateway, server: FaultServer, behaviour: Callable[[Handler], None]
) -> None:
    """The server is asked once, and then left alone with that for a while."""
    client = dev_profile()
    server.behaviours["Condition"] = behaviour
    first = gateway.answers(call(server), client, deadline())
    assert first[Key.CONDITIONS].supply.reason == "the FHIR server was too busy (503)"
    assert len(server.asked("Condition")) == 1
    again = gateway.answers(call(server), client, deadline())
    assert len(server.asked("Condition")) == 1
    assert again[Key.CONDITIONS].supply.reason == reasons.SERVER_PAUSED


def test_part_of_the_server_that_is_busy_takes_no_other_with_it(
    gateway: Gateway, server: FaultServer
) -> None:
    """Of each of ten calls only the implants are missing; it was 412 for nearly all of them."""
    client = dev_profile()
    server.behaviours["Device"] = fault_server.status(503, Retry_After="30")
    for _ in range(10):
        answers = gateway.answers(call(server), client, deadline())
        missing = {key for key, answer in answers.items() if answer.supply.has_failed}
        assert missing == {Key.DEVICES}
    assert len(server.asked("Device")) == 1
    assert gateway.paused_servers() == ()


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "30"}])
def test_server_whose_every_part_is_busy_is_left_alone(
    gateway: Gateway, server: FaultServer, headers: dict[str, str]
) -> None:
    """The next call asks nothing, and the operators see it."""
    client = dev_profile(fhir_bases=(server.base,))
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.status(503, **headers))
    gateway.answers(call(server), client, deadline())
    seen = len(server.seen)
    answers = gateway.answers(call(server), client, deadline())
    assert len(server.seen) == seen
    assert {answer.supply.reason for answer in answers.values()} == {reasons.SERVER_PAUSED}
    assert gateway.paused_servers() == ((client.id, server.base),)


@pytest.mark.parametrize(("later", "times"), [(59, 1), (61, 2)])
def test_part_of_a_server_is_left_alone_for_a_minute_at_most(
    knowledge: Knowledge, server: FaultServer, later: int, times: int
) -> None:
    """However long it asks for."""
    begun = time.monotonic()
    now = [begun]
    gateway = Gateway(knowledge, lambda: now[0])
    client = dev_profile()
    server.behaviours["Condition"] = fault_server.status(503, Retry_After="9" * 400)
    gateway.answers(call(server), client, deadline())
    now[0] = begun + later
    gateway.answers(call(server), client, deadline())
    assert len(server.asked("Condition")) == times
    gateway.close()


def test_limit_on_requests_is_kept_by_all_of_them(gateway: Gateway, server: FaultServer) -> None:
    """429 says that we ask too much, whatever it answered."""
    client = dev_profile()
    server.behaviours["Device"] = fault_server.status(429, Retry_After="30")
    gateway.answers(call(server), client, deadline())
    seen = len(server.seen)
    gateway.answers(call(server), client, deadline())
    assert len(server.seen) == seen


@pytest.mark.parametrize(
    "behaviour", [fault_server.drip_headers, fault_server.drip_chunk_size], ids=["head", "chunk"]
)
def test_dripping_server_holds_no_place_past_the_deadline(
    gateway: Gateway, server: FaultServer, behaviour: Callable[[Handler], None]
) -> None:
    """Each byte would start a socket time-out again; the connection is cut instead."""
    server.behaviours["Condition"] = behaviour
    client = replace(dev_profile(), max_fhir_requests=1)
    started = time.monotonic()
    hook_call = call(server, **only(Key.CONDITIONS))
    answers = gateway.answers(hook_call, client, deadline(0.6))
    assert time.monotonic() - started < 6
    assert answers[Key.CONDITIONS].supply.reason == reasons.SERVER_TOO_SLOW
    del server.behaviours["Condition"]
    answers = gateway.answers(hook_call, client, deadline())
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY


def test_answer_of_very_many_pieces_is_left_before_it_ends(
    gateway: Gateway, server: FaultServer
) -> None:
    """Chunks of one byte without end cost their own search, and no time of the call."""
    server.behaviours["Condition"] = fault_server.tiny_chunks
    started = time.monotonic()
    answers = gateway.answers(call(server), dev_profile(), deadline(3))
    assert time.monotonic() - started < 9
    assert answers[Key.CONDITIONS].supply.reason in {reasons.TOO_MUCH, reasons.SERVER_TOO_SLOW}
    assert answers[Key.DEVICES].supply.state is State.EMPTY


def test_connections_of_other_calls_are_not_cut(gateway: Gateway, server: FaultServer) -> None:
    """A call with more time gets its answer although another call's time is up meanwhile."""
    over = threading.Event()
    server.behaviours["Condition"] = fault_server.held_until(over)
    found: list[State] = []

    def patient_call() -> None:
        answers = gateway.answers(hook_call, client, deadline())
        found.append(answers[Key.CONDITIONS].supply.state)

    client, hook_call = dev_profile(), call(server, **only(Key.CONDITIONS))
    thread = threading.Thread(target=patient_call)
    thread.start()
    assert until(lambda: len(server.asked("Condition")) == 1)
    hasty = gateway.answers(hook_call, client, deadline(0.1))
    over.set()
    thread.join()
    assert hasty[Key.CONDITIONS].supply.reason == reasons.SERVER_TOO_SLOW
    assert found == [State.EMPTY]


def test_others_compute_while_a_call_waits_for_its_server(
    gateway: Gateway, server: FaultServer
) -> None:
    """The turn is free for as long as nothing has come."""
    server.behaviours["Condition"] = fault_server.slow(3)
    rests, seconds = threading.Event(), list[float]()
    turns = Turns(on_rest=rests.set)

    def computes() -> None:
        assert rests.wait(PATIENT_SECONDS)
        started = time.monotonic()
        with turns.turn(started):
            seconds.append(time.monotonic() - started)

    other = threading.Thread(target=computes)
    other.start()
    with turns.turn(time.monotonic()):
        answers = gateway.answers(call(server), dev_profile(), deadline())
    other.join()
    assert answers[Key.CONDITIONS].supply.state is State.EMPTY
    assert seconds[0] < 2


def test_answer_that_was_there_in_time_is_read_when_the_turn_comes_late(
    gateway: Gateway, server: FaultServer
) -> None:
    """Our being busy is no failure of the server: what it sent counts, and it is asked again."""
    rests = threading.Event()
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.slow(0.1))
    server.behaviours["Patient"] = sends(PATIENT)
    turns = Turns(on_rest=rests.set)

    def computes_for_long() -> None:
        assert rests.wait(PATIENT_SECONDS)
        with turns.turn(time.monotonic()):
            time.sleep(1.8)

    client, other = dev_profile(), threading.Thread(target=computes_for_long)
    gateway.answers(call(server), client, deadline())  # its connections are open now
    other.start()
    with turns.turn(time.monotonic()):
        answers = gateway.answers(call(server), client, deadline(1.2))
    other.join()
    assert {answer.supply.reason for answer in answers.values()} == {None}
    assert gateway.paused_servers() == ()


def test_server_with_less_time_than_it_usually_needs_has_not_failed(
    gateway: Gateway, server: FaultServer
) -> None:
    """A call that stood in the line for long leaves it no time; the next call asks it again."""
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.slow(0.2))
    client = dev_profile()
    gateway.answers(call(server), client, deadline())
    over = threading.Event()
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.held_until(over))
    for _ in range(2):
        hasty = gateway.answers(call(server), client, deadline(0.05))
        assert {answer.supply.reason for answer in hasty.values()} == {reasons.SERVER_TOO_SLOW}
    over.set()
    assert gateway.paused_servers() == ()


def test_search_is_not_sent_when_nobody_waits_for_it_any_more(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection was open in time, and the turn came late; the next call uses it."""
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", PATIENT_SECONDS)
    together = threading.Barrier(2, timeout=PATIENT_SECONDS)
    turns = Turns(on_rest=together.wait)

    def computes_for_long() -> None:
        with turns.turn(time.monotonic()):
            together.wait()
            time.sleep(1.5)

    client, other = dev_profile(), threading.Thread(target=computes_for_long)
    with turns.turn(time.monotonic()):
        other.start()
        time.sleep(0.05)  # it wants its turn now
        late = gateway.answers(call(server), client, deadline(1.2))
    other.join()
    assert {answer.supply.reason for answer in late.values()} == {reasons.SERVER_TOO_SLOW}
    assert server.seen == []
    assert gateway.paused_servers() == ()
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.reason for answer in answers.values()} == {None}


def test_more_searches_than_may_be_asked_at_a_time_wait_for_their_place(
    gateway: Gateway, server: FaultServer
) -> None:
    """Two at a time, five rounds, all answered; the server never sees a third one."""
    now, most, lock = [0], [0], threading.Lock()

    def behaviour(handler: Handler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        until(lambda: most[0] > 1)
        time.sleep(0.06)
        with lock:
            now[0] -= 1
        handler.send_json(fault_server.EMPTY)

    server.behaviours |= dict.fromkeys(TYPES.values(), behaviour)
    server.behaviours["Patient"] = sends(PATIENT)
    client = replace(dev_profile(), max_fhir_requests=2)
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.reason for answer in answers.values()} == {None}
    assert most == [2]


def test_searches_that_never_got_a_place_keep_none(gateway: Gateway, server: FaultServer) -> None:
    """After a call whose time was up in the queue, all places are free for the next call."""
    over = threading.Event()
    server.behaviours |= dict.fromkeys(TYPES.values(), fault_server.held_until(over))
    client = replace(dev_profile(), max_fhir_requests=1)
    hasty = gateway.answers(call(server), client, deadline(0.1))
    over.set()
    assert {answer.supply.reason for answer in hasty.values()} == {reasons.SERVER_TOO_SLOW}
    server.behaviours = {"Patient": sends(PATIENT)}
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.reason for answer in answers.values()} == {None}


def test_connection_that_opened_too_late_is_kept_for_the_next_call(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is slow to take connections is reached by the second call."""
    connect, delays = HTTPConnection.connect, iter([0.3])

    def slowly(self: HTTPConnection) -> None:
        time.sleep(next(delays, PATIENT_SECONDS))
        connect(self)

    monkeypatch.setattr(HTTPConnection, "connect", slowly)
    client, prefetch = dev_profile(), dict.fromkeys(Key.DEFAULT[1:])
    gateway.answers(call(server, **prefetch), client, deadline(0.1))
    (found,) = gateway._servers.values()
    assert until(lambda: bool(found.server._idle))
    answers = gateway.answers(call(server, **prefetch), client, deadline())
    assert answers[Key.PATIENT].supply.state is State.SUPPLIED


def test_fault_of_our_own_costs_one_key_and_not_the_answer(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens below, the other keys are answered."""
    fetch = FhirServer.fetch

    def fails(self: FhirServer, question: Question, terms: Terms) -> Steps[bytes]:
        if "Condition" in question.url:
            raise AttributeError
        return fetch(self, question, terms)

    monkeypatch.setattr(FhirServer, "fetch", fails)
    answers = gateway.answers(call(server), dev_profile(), deadline())
    assert answers[Key.CONDITIONS].supply.state is State.NOT_SUPPLIED
    assert answers[Key.DEVICES].supply.state is State.EMPTY


def test_fault_of_our_own_in_a_batch_is_a_gap_and_no_failure(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every search of the batch is told as not read."""

    def fails(_answer: bytes, _count: int) -> None:
        raise AttributeError

    monkeypatch.setattr("cds_service.fhir.pulling.batch_parts", fails)
    client = replace(dev_profile(), searches_in_batch=True)
    answers = gateway.answers(call(server), client, deadline())
    assert {answer.supply.state for answer in answers.values()} == {State.NOT_SUPPLIED}
