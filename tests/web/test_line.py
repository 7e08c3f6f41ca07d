"""The line of calls that wait for a thread, and the turns of those that have one."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from cds_service.turns import Turns, resting, seconds_since_arrival
from cds_service.web.limits import LONGEST_EARLY_BODY_BYTES
from cds_service.web.line import (
    LONGEST_EXPECTED_SECONDS,
    LONGEST_WAIT_SECONDS,
    WaitingLine,
)
from cds_service.web.refusing import refusal
from tests.patience import PATIENT_SECONDS
from tests.web.small_rooms import SERVICE, SmallRooms, Ticks

ACCEPTED = {
    "outcome": "accepted",
    "acceptedSuggestions": [{"id": "s"}],
    "outcomeTimestamp": "2026-01-31T09:30:00Z",
}
HEAD = f"POST {SERVICE}?x=1 HTTP/1.1\r\nHost: x\r\nOrigin: https://ehr.example\r\n\r\n".encode()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody compute beside another because the machine stood still."""
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", PATIENT_SECONDS)


def _line(ticks: Ticks) -> WaitingLine[str]:
    return WaitingLine(ticks)


def _learned(pace: float, ticks: Ticks) -> WaitingLine[str]:
    """Return a line that has seen calls leave every *pace* seconds."""
    line = _line(ticks)
    line.join("first")
    for _ in range(100):
        line.join("next")
        ticks.seconds += pace
        line.next()
    ticks.seconds += pace
    line.next()
    return line


def test_calls_leave_the_line_in_the_order_they_came() -> None:
    """First come, first served; an empty line gives nobody."""
    line = _line(Ticks())
    for name in ("Ann", "Ben", "Cleo"):
        line.join(name)
    assert len(line) == 3
    assert [line.next() for _ in range(4)] == ["Ann", "Ben", "Cleo", None]


@pytest.mark.parametrize("pace", [0.004, 0.05])
def test_line_takes_as_many_calls_as_can_be_answered_in_time(pace: float) -> None:
    """The slower the calls before were, the shorter the line."""
    ticks = Ticks()
    line = _learned(pace, ticks)
    joined = 0
    while not line.is_too_long:
        line.join("call")
        joined += 1
    assert joined == pytest.approx(LONGEST_EXPECTED_SECONDS / pace, abs=1.5)


def test_line_that_stands_still_takes_nobody() -> None:
    """While the threads are held by something slow, more calls are refused at once."""
    ticks = Ticks()
    line = _line(ticks)
    line.join("waits")
    ticks.seconds += LONGEST_EXPECTED_SECONDS - 0.01
    assert not line.is_too_long
    ticks.seconds += 0.01
    assert line.is_too_long


def test_nobody_waits_for_half_a_second() -> None:
    """A clinician does not: the call is taken out, and before that nobody stands behind it."""
    ticks = Ticks()
    line = _line(ticks)
    line.join("waits")
    ticks.seconds = 0.3
    assert line.is_too_long
    ticks.seconds = 0.5
    assert list(line.impatient()) == ["waits"]


def test_one_slow_call_does_not_close_the_line() -> None:
    """The pace is that of many calls, not that of the last one."""
    ticks = Ticks()
    line = _learned(0.004, ticks)
    line.join("slow")
    ticks.seconds += 0.2
    line.next()
    for _ in range(5):
        assert not line.is_too_long
        line.join("call")


def test_line_is_as_long_after_a_quiet_night() -> None:
    """While nobody waits nobody can be slow."""
    ticks = Ticks()
    line = _learned(0.004, ticks)
    ticks.seconds += 3600
    line.join("first")
    assert not line.is_too_long
    line.next()
    line.join("second")
    assert not line.is_too_long


def test_first_caller_may_always_wait() -> None:
    """However slow it was before: with nobody in front a call is never refused unseen."""
    assert not _learned(10.0, Ticks()).is_too_long


def test_call_that_waited_too_long_is_taken_out() -> None:
    """Only who has waited the whole time loses patience."""
    ticks = Ticks()
    line = _line(ticks)
    line.join("early")
    ticks.seconds += 0.1
    line.join("late")
    ticks.seconds = LONGEST_WAIT_SECONDS - 0.001
    assert list(line.impatient()) == []
    ticks.seconds = LONGEST_WAIT_SECONDS
    assert list(line.impatient()) == ["early"]
    assert line.seconds_of_patience == pytest.approx(0.1)
    assert line.next() == "late"
    assert line.seconds_of_patience == float("inf")


def test_line_recovers_when_calls_are_quick_again() -> None:
    """After a slow time, quick departures let it grow again."""
    ticks = Ticks()
    line = _learned(1.0, ticks)
    for _ in range(100):
        line.join("quick")
        line.next()
    line.join("one")
    assert not line.is_too_long


def _service(client: FlaskClient) -> Flask:
    app: Flask = client.application
    return app


def test_refused_call_is_told_so_as_any_other(client: FlaskClient) -> None:
    """Status, Retry-After, CORS and body are those of every refusal; the connection ends."""
    answer = refusal(_service(client), HEAD)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 503 ")
    for line in (
        b"Retry-After: 1",
        b"Access-Control-Allow-Origin: *",
        b"Access-Control-Expose-Headers: Retry-After",
        b"Cache-Control: no-store",
        b"Connection: close",
        f"Content-Length: {len(body)}".encode(),
    ):
        assert line in lines
    assert b'"transient"' in body


def test_log_says_that_a_call_was_refused_for_want_of_room(client: FlaskClient) -> None:
    """The operator tells overload from a lost store, which is answered with 503 too."""
    with capture_logs() as logs:
        refusal(_service(client), HEAD)
    assert [log["reason"] for log in logs] == ["it would have waited too long in the line"]


def test_refused_call_is_counted(client: FlaskClient) -> None:
    """The metrics tell how many calls found the line too long."""
    refusal(_service(client), HEAD)
    numbers = client.get("/metrics").get_data(as_text=True)
    counted = (
        'cds_http_answers_total{address="/cds-services/<service_id>",client="unknown",status="503"}'
    )
    assert f"{counted} 1.0" in numbers


def test_one_thread_computes_at_a_time() -> None:
    """Ten threads take turns; two never compute at once."""
    assert _most_at_once(Turns()) == 1


def _most_at_once(turns: Turns) -> int:
    """Return how many of ten threads computed at once, at most."""
    at_once, most = [0], [0]

    def compute() -> None:
        with turns.turn(0.0):
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            time.sleep(0.002)
            at_once[0] -= 1

    _all_at_once([threading.Thread(target=compute) for _ in range(10)])
    return most[0]


def test_event_loop_comes_first_and_waits_no_longer_than_it_wants() -> None:
    """Beside a call that computes for long the loop goes on; the turn is not lost by that."""
    turns = Turns()
    begun, ends = threading.Event(), threading.Event()

    def computes() -> None:
        with turns.turn(0.0):
            begun.set()
            ends.wait(PATIENT_SECONDS)

    thread = threading.Thread(target=computes)
    thread.start()
    assert begun.wait(PATIENT_SECONDS)
    started = time.monotonic()
    with turns.first(0.05):
        assert 0.05 <= time.monotonic() - started < 3
    ends.set()
    thread.join(PATIENT_SECONDS)
    with turns.first(5):
        pass


def _beside_one_that_does_not_end(turns: Turns, work: Callable[[], None]) -> list[str]:
    """Do *work* while another call computes and does not end; return who was through first."""
    order: list[str] = []
    begun, ends = threading.Event(), threading.Event()

    def never_ends() -> None:
        with turns.turn(0.0):
            begun.set()
            ends.wait(PATIENT_SECONDS)
        order.append("the other")

    thread = threading.Thread(target=never_ends)
    thread.start()
    assert begun.wait(PATIENT_SECONDS)
    work()
    order.append("this one")
    ends.set()
    thread.join(PATIENT_SECONDS)
    return order


def test_nobody_waits_for_ever_for_a_call_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that begins computes beside it after a while, and gives back only what it had."""
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", 0.05)
    turns = Turns()

    def begins() -> None:
        with turns.turn(0.0), resting():
            pass

    assert _beside_one_that_does_not_end(turns, begins) == ["this one", "the other"]
    assert turns.rested == 0
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", PATIENT_SECONDS)
    assert _most_at_once(turns) == 1


def test_nobody_who_rested_waits_for_ever_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose searches have come goes on beside one that does not end."""
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", 0.05)
    turns = Turns()
    rests = ExitStack()

    def comes_back() -> None:
        rests.close()

    with turns.turn(0.0):
        rests.enter_context(resting())
        assert _beside_one_that_does_not_end(turns, comes_back) == ["this one", "the other"]
    assert turns.rested == 0
    monkeypatch.setattr("cds_service.turns._LONGEST_WAIT_SECONDS", PATIENT_SECONDS)
    assert _most_at_once(turns) == 1


def test_turn_is_given_back_by_a_call_that_fails() -> None:
    """A fault in one call does not stop the others."""
    turns = Turns()
    with pytest.raises(ValueError, match="fault"), turns.turn(0.0):
        raise ValueError("fault")
    with turns.turn(0.0):
        pass


def test_time_in_the_line_counts_against_the_deadline() -> None:
    """A call knows how long ago it was there; outside of a call nothing is counted."""
    with Turns().turn(time.monotonic() - 0.2):
        assert 0.2 <= seconds_since_arrival() < 5
    assert seconds_since_arrival() == 0.0


def test_deadline_of_a_call_is_shorter_by_what_it_waited(
    client: FlaskClient,
    rooms: SmallRooms,
    body: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stood in the line for a fifth of a second has so much less time to ask."""
    now = 100.0
    monkeypatch.setattr("cds_service.turns.time", SimpleNamespace(monotonic=Ticks(now)))
    for waited in (0.0, 0.2):
        with Turns().turn(now - waited):
            assert client.post(SERVICE, json=body).status_code == 200
    at_once, late = (deadline.ends_at - deadline.began_at for deadline in rooms.deadlines)
    assert at_once - late == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("length", "changed", "rests"),
    [
        (LONGEST_EARLY_BODY_BYTES, {}, 0),
        (LONGEST_EARLY_BODY_BYTES + 1, {}, 1),
        (1_000, {"HTTP_EXPECT": "100-continue"}, 1),
        (1_000, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 1),
    ],
    ids=["short", "long", "that waits to be asked for", "without a stated length"],
)
def test_call_lets_others_compute_while_its_body_may_be_on_its_way(
    client: FlaskClient, body: dict[str, object], length: int, changed: dict[str, str], rests: int
) -> None:
    """A short body is there before the call begins, and nobody has to wait for it."""
    rested: list[bool] = []
    with Turns(on_rest=lambda: rested.append(True)).turn(time.monotonic()):
        answer = client.post(
            SERVICE,
            content_type="application/json",
            environ_overrides={
                "wsgi.input": io.BytesIO(json.dumps(body).encode().ljust(length)),
                "wsgi.input_terminated": True,
                "CONTENT_LENGTH": str(length),
                **changed,
            },
        )
    assert answer.status_code == 200
    assert len(rested) == rests


@pytest.mark.parametrize(("items", "rests"), [([], 0), ([{"card": "c", **ACCEPTED}], 1)])
def test_feedback_lets_others_compute_while_it_is_kept(
    client: FlaskClient, items: list[object], rests: int
) -> None:
    """The database may be slow; a call without an answer to keep does not wait for it."""
    rested: list[bool] = []
    with Turns(on_rest=lambda: rested.append(True)).turn(time.monotonic()):
        answer = client.post(f"{SERVICE}/feedback", json={"feedback": items})
    assert answer.get_json() == {}
    assert len(rested) == rests


def test_rest_within_a_rest_gives_nothing_back_twice() -> None:
    """Feedback rests while it is kept, and what it waits for may rest too: still one at a time."""
    turns, at_once, most = Turns(), [0], [0]

    def computes() -> None:
        with turns.turn(1.0):
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            time.sleep(0.1)
            at_once[0] -= 1

    others = [threading.Thread(target=computes) for _ in range(3)]
    with turns.turn(0.0), resting():
        others[0].start()
        time.sleep(0.03)
        with resting():
            _all_at_once(others[1:])
    others[0].join(PATIENT_SECONDS)
    assert most == [1]


def test_resting_without_a_turn_is_simply_waiting() -> None:
    """The command line and the tests evaluate without turns."""
    with resting():
        pass


def _all_at_once(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_SECONDS)
