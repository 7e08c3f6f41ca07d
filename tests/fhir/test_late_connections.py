"""A server that takes long to connect to answers the next call, though it was too late for one."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from urllib3.connection import HTTPConnection

from cds_service.chart.supply import Key, State
from cds_service.fhir.breaker import OPEN_SECONDS
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.http import FhirServer
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.fhir.chart_parts import PATIENT
from tests.fhir.fault_server import FaultServer, Handler
from tests.fhir.test_gateway_faults import ENOUGH_SECONDS, call, only
from tests.fhir.test_secure_connections import OWN_ADDRESS, certified, secure_base, tls
from tests.patience import PATIENT_SECONDS, until


@dataclass
class Hospital:
    """A FHIR server behind TLS, and a gateway that reads from it."""

    server: FaultServer
    knowledge: Knowledge
    client: ClientProfile
    skipped: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the gateway."""
        self.gateway = Gateway(self.knowledge, self.clock)

    def clock(self) -> float:
        """Return the time of the gateway."""
        return time.monotonic() + sum(self.skipped)

    def patient(self, seconds: float = ENOUGH_SECONDS) -> State:
        """Ask for the Patient once the server is asked again; return what became of it."""
        self.skipped.append(OPEN_SECONDS + 1)
        deadline = Deadline.after(seconds, self.clock)
        asked = call(secure_base(self.server), **only(Key.PATIENT))
        return self.gateway.answers(asked, self.client, deadline)[Key.PATIENT].supply.state

    def has_connected(self) -> bool:
        """Whether a connection stands that nobody uses."""
        (found,) = self.gateway._servers.values()
        return bool(found.server._idle)


@pytest.fixture
def hospital(server: FaultServer, knowledge: Knowledge, tmp_path: Path) -> Iterator[Hospital]:
    """Let the server speak TLS, each connection in a thread of its own."""
    file, key_file = certified(tmp_path, OWN_ADDRESS)
    server.socket = tls(file, key_file).wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    found = Hospital(server, knowledge, replace(dev_profile(), ca_file=file))
    yield found
    found.gateway.close()


def _connects_after(server: FaultServer, seconds: float) -> None:
    """Let *server* begin to speak with whoever connects after a while."""
    speak: Callable[..., None] = server.finish_request

    def later(*args: Any) -> None:  # noqa: ANN401 - socketserver's
        time.sleep(seconds)
        speak(*args)

    server.finish_request = later  # type: ignore[method-assign]


def test_connection_that_stood_too_late_serves_the_next_call(hospital: Hospital) -> None:
    """It takes longer to connect than a call has; the next call need not connect."""
    _connects_after(hospital.server, 0.8)
    assert hospital.patient(0.6) is State.NOT_SUPPLIED
    assert until(hospital.has_connected)
    _connects_after(hospital.server, PATIENT_SECONDS)
    assert hospital.patient() is State.SUPPLIED


def test_time_to_connect_and_time_to_answer_together_are_too_long_only_once(
    hospital: Hospital,
) -> None:
    """Each alone is short enough."""
    _connects_after(hospital.server, 0.8)

    def slow_patient(handler: Handler) -> None:
        time.sleep(0.6)
        handler.send_json(PATIENT)

    hospital.server.behaviours["Patient"] = slow_patient
    assert hospital.patient(1.2) is State.NOT_SUPPLIED
    assert until(hospital.has_connected)
    _connects_after(hospital.server, PATIENT_SECONDS)
    assert hospital.patient() is State.SUPPLIED


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connection_is_used_again(hospital: Hospital, version: ssl.TLSVersion) -> None:
    """Whatever TLS says for itself after it was set up, the second call connects no more."""
    assert isinstance(hospital.server.socket, ssl.SSLSocket)
    hospital.server.socket.context.maximum_version = version
    accepted: list[socket.socket] = []
    accept = hospital.server.get_request

    def counting() -> tuple[Any, Any]:
        connection, address = accept()
        accepted.append(connection)
        return connection, address

    hospital.server.get_request = counting  # type: ignore[method-assign]
    assert hospital.patient() is State.SUPPLIED
    before = len(accepted)
    assert hospital.patient() is State.SUPPLIED
    assert len(accepted) == before


def test_connections_still_to_be_opened_at_the_end_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process ends while one thread connects and the next connection waits for it."""
    ended = threading.Event()
    server = FhirServer(
        lambda: HTTPConnection("127.0.0.1", 1),
        time.monotonic,
        base="http://127.0.0.1:1/fhir",
        most_requests=1,
    )
    server._openers.submit(ended.wait)
    server._open_for_next()
    server.close()
    ended.set()
    assert caplog.records == []
