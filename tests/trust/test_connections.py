"""A connection is dropped before its first byte when it reached a refused address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from urllib3 import HTTPResponse
from urllib3.exceptions import NewConnectionError

from cds_service.trust.addresses import AddressRefusedError
from cds_service.trust.connections import Connector, refuse_private_peer
from cds_service.trust.profile import ClientProfile, dev_profile

pytestmark = pytest.mark.enable_socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Listener:
    """A server on this machine that notes the bytes it gets."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.is_done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            self.received.append(connection.recv(4096))
            if self.received[0]:
                connection.sendall(ANSWER)
        self.is_done.set()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Return a server on this machine."""
    server = Listener()
    yield server
    server.close()


def fetch(client: ClientProfile, base: str) -> HTTPResponse:
    """Call *base* with a token over a guarded connection."""
    connection = Connector(client, base=base)()
    connection.timeout = 5
    connection.request("GET", "/", headers={"Authorization": "Bearer canary"})
    answer = connection.getresponse()
    connection.close()
    return answer


def test_name_that_points_to_this_machine_gets_no_byte(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the listed name resolves to loopback, the token stays with us."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: look_up(
            "127.0.0.1" if host == "ehr.example.org" else host, *rest, **more
        ),
    )
    base = f"http://ehr.example.org:{listener.port}"
    client = ClientProfile(id="hospital", fhir_bases=(base,))
    with pytest.raises(NewConnectionError):
        fetch(client, base)
    assert listener.is_done.wait(30)
    assert listener.received == [b""]


def test_tls_connection_is_dropped_before_its_first_byte(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With https not even the TLS greeting is sent."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: look_up(
            "127.0.0.1" if host == "ehr.example.org" else host, *rest, **more
        ),
    )
    base = f"https://ehr.example.org:{listener.port}"
    with pytest.raises(NewConnectionError):
        fetch(ClientProfile(id="hospital", fhir_bases=(base,)), base)
    assert listener.is_done.wait(30)
    assert listener.received == [b""]


def test_permitted_connection_is_used(listener: Listener) -> None:
    """A FHIR server on this machine is called in development."""
    assert fetch(dev_profile(), f"http://127.0.0.1:{listener.port}").data == b"ok"
    assert b"Bearer canary" in listener.received[0]


def test_peer_that_cannot_be_read_is_refused() -> None:
    """An unconnected socket or a text that is no address is not trusted."""
    with socket.socket() as unconnected, pytest.raises(AddressRefusedError):
        refuse_private_peer(unconnected, dev_profile(), base="http://127.0.0.1:1")
    with pytest.raises(AddressRefusedError):
        refuse_private_peer("no address", dev_profile(), base="http://127.0.0.1:1")
    refuse_private_peer("127.0.0.1", dev_profile(), base="http://127.0.0.1:1")
