"""Connections that nobody uses: for how long they are kept, and what too few open files cost."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.breaker import OPEN_SECONDS
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.queries import TYPES
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import dev_profile
from tests.fhir.chart_parts import PATIENT
from tests.fhir.fault_server import EMPTY, FaultServer, Handler
from tests.fhir.test_gateway_faults import ENOUGH_SECONDS, SEARCHES, call, only
from tests.patience import PATIENT_SECONDS

CLIENT = replace(dev_profile(), max_fhir_requests=SEARCHES)
MINUTES = 60.0


@dataclass
class Hospital:
    """A gateway whose clock can be moved on, and the connections its server has taken."""

    server: FaultServer
    gateway: Gateway
    accepted: list[socket.socket]
    skipped: float = 0.0

    def clock(self) -> float:
        """Return the time of the gateway."""
        return time.monotonic() + self.skipped

    def patient(self) -> State:
        """Ask for the Patient alone; return what became of it."""
        return self._answers(**only(Key.PATIENT))[Key.PATIENT].supply.state

    def why_not(self) -> set[str | None]:
        """Ask for everything; return why it was not had."""
        return {answer.supply.reason for answer in self._answers().values()}

    def idle(self) -> int:
        """Return how many connections stand idle."""
        (found,) = self.gateway._servers.values()
        return len(found.server._idle)

    def _answers(self, **prefetch: bytes | None) -> Any:  # noqa: ANN401 - what the gateway says
        deadline = Deadline.after(ENOUGH_SECONDS, self.clock)
        return self.gateway.answers(call(self.server, **prefetch), CLIENT, deadline)


@pytest.fixture
def hospital(server: FaultServer, knowledge: Knowledge) -> Iterator[Hospital]:
    """Count the connections."""
    accepted: list[socket.socket] = []
    accept = server.get_request

    def counting() -> tuple[Any, Any]:
        accepted.append((taken := accept())[0])
        return taken

    server.get_request = counting  # type: ignore[method-assign]
    found = Hospital(server, Gateway(knowledge, time.monotonic), accepted)
    found.gateway = Gateway(knowledge, found.clock)
    yield found
    found.gateway.close()


@pytest.mark.parametrize(("minutes", "connections"), [(2.9, 1), (3.0, 2)])
def test_connection_is_used_again_for_three_minutes(
    hospital: Hospital, minutes: float, connections: int
) -> None:
    """A clinic opens a chart every few minutes."""
    assert hospital.patient() is State.SUPPLIED
    hospital.skipped += minutes * MINUTES
    assert hospital.patient() is State.SUPPLIED
    assert len(hospital.accepted) == connections


def test_connection_a_firewall_has_forgotten_costs_no_call(hospital: Hospital) -> None:
    """After four quiet minutes nothing comes back on it, and neither end was told."""
    over = threading.Event()

    def forgotten_after_one(handler: Handler) -> None:
        if getattr(handler, "has_answered", False):
            over.wait(PATIENT_SECONDS)
        handler.has_answered = True  # type: ignore[attr-defined]
        handler.send_json(PATIENT)

    hospital.server.behaviours["Patient"] = forgotten_after_one
    assert hospital.patient() is State.SUPPLIED
    hospital.skipped += 4 * MINUTES
    assert hospital.patient() is State.SUPPLIED
    over.set()


def test_connections_of_a_busy_moment_are_given_up_while_calls_go_on(hospital: Hospital) -> None:
    """One chart after the other needs one of them; the others are closed after three minutes."""
    together = threading.Barrier(SEARCHES, timeout=PATIENT_SECONDS)

    def at_once(handler: Handler) -> None:
        together.wait()
        handler.send_json(EMPTY)

    hospital.server.behaviours |= dict.fromkeys(TYPES.values(), at_once)
    hospital.why_not()
    del hospital.server.behaviours["Patient"]
    left = []
    for _ in range(2):
        hospital.skipped += 2 * MINUTES
        hospital.patient()
        left.append(hospital.idle())
    assert left == [SEARCHES, 1]


@contextmanager
def no_open_files_left() -> Iterator[None]:
    """Leave this process no room for another open file, while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
        with suppress(OSError):
            while True:
                opened.enter_context(Path(os.devnull).open("rb"))
        yield


def test_process_without_open_files_left_answers_and_says_what_is_unread(
    hospital: Hospital,
) -> None:
    """Nothing could be read, which is said; once there is room again everything is."""
    with no_open_files_left():
        assert hospital.why_not() <= {reasons.SERVER_UNREACHABLE, reasons.SERVER_PAUSED}
    hospital.skipped += OPEN_SECONDS + 1
    assert hospital.why_not() == {None}
