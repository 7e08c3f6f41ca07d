"""The benchmark measures what it says: a patient with cards, bodies of the stated size, CPU."""

from __future__ import annotations

import json
import os
import socket
import threading
from datetime import date
from pathlib import Path

import pytest

from benchmarks import bodies
from benchmarks.check import INSTRUCTIONS, Ratio, compared, stored
from benchmarks.http_calls import measured, post
from benchmarks.in_process import Rooms, fired
from benchmarks.pace import Called, paced
from benchmarks.processes import HOST, Watched
from benchmarks.proxied import nginx_before
from benchmarks.report import Row, markdown
from benchmarks.tail import in_time, quantile
from tests.security.lab import listening

TODAY = date(2026, 3, 1)


def test_benchmark_patient_gets_at_least_three_cards_with_suggestions() -> None:
    """A fast answer about a patient who needs nothing would prove nothing."""
    assert sum("suggestions" in card for card in fired(Rooms())) >= 3


@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_body_has_about_the_size_asked_for(size: int) -> None:
    """A row that says 60 KB sends about 60 KB."""
    assert abs(len(bodies.sized_body(size, TODAY)) / size - 1) < 0.05


def test_smallest_body_is_about_two_kilobytes() -> None:
    """The chart alone is the body of the smallest row."""
    assert 1_800 < len(bodies.sized_body(2_000, TODAY)) < 2_600


def test_one_added_observation_in_ten_is_used_by_the_rules() -> None:
    """A chart of harmless filling only, or of used values only, would flatter or mislead."""
    codes = [each["code"]["coding"][0]["code"] for each in bodies.observations(100, TODAY)]
    assert sum(code in {"1988-5", "8310-5", "6690-2"} for code in codes) == 10


def test_figure_is_judged_on_the_right_side_of_its_goal() -> None:
    """Half of the null handler is good when a third was asked for, and bad as a cost."""
    at_least = Row(area="a", what="b", value=0.5, goal=0.3, is_at_least=True)
    at_most = Row(area="a", what="b", value=0.5, goal=0.3)
    assert (at_least.is_met, at_most.is_met) == (True, False)
    assert "**no**" in markdown([at_most])
    assert "**no**" not in markdown([at_least, Row(area="a", what="b", value=1)])


def test_calls_are_counted_with_their_statuses_and_a_lost_connection_is_made_anew() -> None:
    """A server that hangs up after each answer is still measured call by call."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"suggestions":1'
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        load = measured(
            listener.getsockname()[1], Watched(os.getpid()), [post("/", b"{}", "token")] * 3
        )
        server.join(timeout=10)
    assert (len(load.seconds), load.statuses, load.complete) == (3, {200}, 1.0)


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_calls_at_a_fixed_pace_all_end(headers: dict[str, str]) -> None:
    """Each call gets its own answer, whether or not the server keeps the connection."""

    def answer(path: str, _: object) -> tuple[int, dict[str, str], bytes]:
        return (503 if path == "/full" else 200), headers, b"{}"

    requests = [
        f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("/", "/full", "/") * 10
    ]
    with listening(answer) as (port, seen):
        calls = paced(port, requests, per_second=2_000, callers=4)
    assert sorted(call.status for call in calls) == [200] * 20 + [503] * 10
    assert len(seen) == len(requests)


def test_nginx_runs_with_the_configuration_of_the_operations_page(tmp_path: Path) -> None:
    """What is measured behind nginx is what operators are told to write; without nginx, nothing."""
    with (
        listening(lambda *_: (200, {}, b"{}")) as (port, seen),
        nginx_before(port, tmp_path) as own_port,
    ):
        if own_port is None:
            pytest.skip("nginx is not on this machine")
        request = b"GET /cds-services HTTP/1.1\r\nHost: x\r\n\r\n"
        assert [call.status for call in paced(own_port, [request], 10, 1)] == [200]
    assert seen == ["/cds-services"]


def test_post_states_the_length_of_its_body() -> None:
    """A request is complete HTTP, with its token."""
    head, _, body = post("/x", json.dumps({"a": 1}).encode(), "secret").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Authorization: Bearer secret" in head


def test_cpu_time_of_a_process_is_read_from_proc() -> None:
    """This test process has used some CPU time and holds some memory."""
    own = Watched(os.getpid())
    assert own.cpu_seconds() > 0
    assert own.resident_bytes() > 1_000_000


def test_check_fails_only_when_a_ratio_is_worse_than_its_tolerance() -> None:
    """A core that has become half as fast is noticed; noise, a gain and a missing tool are not."""
    known = {"a": Ratio(value=1.0, tolerance=0.3)}
    for value, is_good in ((0.5, True), (1.29, True), (1.31, False), (2.0, False)):
        lines, found = compared({"a": Ratio(value=value, tolerance=0.3)}, known)
        assert found is is_good
        assert lines[0].startswith("ok" if is_good else "WORSE")
    lines, found = compared({}, known)
    assert found
    assert lines[0].startswith("skipped")


def test_stored_ratios_guard_times_and_instruction_counts() -> None:
    """The file holds every figure the check measures, each with its tolerance."""
    known = stored()
    assert known[INSTRUCTIONS].tolerance < 0.1
    assert len(known) == 6
    assert all(ratio.value > 0 and ratio.tolerance > 0 for ratio in known.values())


@pytest.mark.parametrize(
    ("status", "seconds", "is_in_time"),
    [
        (200, 0.5, True),
        (200, 0.51, False),
        (503, 0.05, True),
        (503, 0.06, False),
        (401, 0.0, False),
    ],
)
def test_call_is_in_time_when_answered_soon_or_refused_at_once(
    status: int, seconds: float, *, is_in_time: bool
) -> None:
    """Under overload a doctor waits for half a second, or is told at once that there is no room."""
    assert in_time(Called(status=status, seconds=seconds)) is is_in_time


def test_slowest_call_in_a_hundred_is_found() -> None:
    """The tail of a hundred calls is its slowest one."""
    calls = [Called(status=200, seconds=number) for number in range(100)]
    assert (quantile(calls, 0.99), quantile(calls, 0.5)) == (99, 50)
