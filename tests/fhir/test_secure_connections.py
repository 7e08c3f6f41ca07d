"""Over TLS and through a proxy the token reaches the server it is for, and nobody else."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs
from urllib3.util.wait import wait_for_read

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.queries import TYPES
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.everything_written import ACCESS_TOKEN
from tests.fhir import fault_server
from tests.fhir.chart_parts import PATIENT
from tests.fhir.fault_server import FaultServer, Handler
from tests.fhir.test_gateway_faults import SEARCHES, call, deadline, only
from tests.patience import PATIENT_SECONDS

OWN_ADDRESS = x509.IPAddress(IPv4Address("127.0.0.1"))
ANOTHER_NAME = x509.DNSName("another.example")

Secured = Callable[[x509.GeneralName], Path]


def certified(folder: Path, name: x509.GeneralName) -> tuple[Path, Path]:
    """Write a certificate for *name* that vouches for itself; return its file and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made up")])
    now = datetime.now(UTC)  # noqa: TID251 - certificates are believed today
    certificate = (
        x509.CertificateBuilder(title, title, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return file, key_file


@pytest.fixture
def secure(server: FaultServer, tmp_path: Path) -> Secured:
    """Return what makes the server speak TLS under a name; it returns who vouches for the name."""

    def speaks_tls(name: x509.GeneralName) -> Path:
        file, key_file = certified(tmp_path, name)
        server.socket = tls(file, key_file).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        return file

    return speaks_tls


def tls(file: Path, key_file: Path) -> ssl.SSLContext:
    """Return how a server with this certificate speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context


def secure_base(server: FaultServer) -> str:
    """Return the base of the server that speaks TLS."""
    return server.base.replace("http://", "https://")


def patient(
    gateway: Gateway, server: FaultServer, ca_file: Path | None, proxy: str | None = None
) -> tuple[State, str | None]:
    """Ask the server for a chart; return what became of the Patient."""
    client = replace(dev_profile(), ca_file=ca_file, outbound_proxy=proxy)
    supply = gateway.answers(call(secure_base(server)), client, deadline())[Key.PATIENT].supply
    return supply.state, supply.reason


def test_private_authority_of_the_profile_is_believed(
    gateway: Gateway, server: FaultServer, secure: Secured
) -> None:
    """The hospital's own authority vouches for its server."""
    assert patient(gateway, server, secure(OWN_ADDRESS)) == (State.SUPPLIED, None)
    tokens = [headers.get("Authorization") for _, headers in server.seen]
    assert tokens == [f"Bearer {ACCESS_TOKEN}"] * SEARCHES


def test_server_nobody_vouches_for_gets_no_token(
    gateway: Gateway, server: FaultServer, secure: Secured
) -> None:
    """A certificate of an unknown authority: nothing is sent."""
    secure(OWN_ADDRESS)
    state, reason = patient(gateway, server, None)
    assert (state, server.seen) == (State.NOT_SUPPLIED, [])
    assert reason in {reasons.SERVER_NOT_TRUSTED, reasons.SERVER_PAUSED}


def test_environment_vouches_for_nobody(
    gateway: Gateway, server: FaultServer, secure: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority named by the environment is not believed."""
    file = secure(OWN_ADDRESS)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(file))
    assert patient(gateway, server, None)[0] is State.NOT_SUPPLIED
    assert server.seen == []


def test_certificate_of_another_server_gets_no_token(
    gateway: Gateway, server: FaultServer, secure: Secured
) -> None:
    """The authority is known, but the certificate is another server's."""
    state, reason = patient(gateway, server, secure(ANOTHER_NAME))
    assert (state, server.seen) == (State.NOT_SUPPLIED, [])
    assert reason in {reasons.SERVER_NOT_TRUSTED, reasons.SERVER_PAUSED}


@pytest.mark.parametrize(
    ("leads_to", "reason"),
    [("127.0.0.1", reasons.SERVER_ADDRESS_REFUSED), (None, reasons.SERVER_NAME_UNKNOWN)],
)
def test_operator_reads_why_no_connection_came_about(
    gateway: Gateway,
    server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    leads_to: str | None,
    reason: str,
) -> None:
    """A private address that is not listed as such, and a name nobody knows, are told apart."""
    look_up = socket.getaddrinfo

    def looked_up(_host: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - as in the library
        if leads_to is None:
            raise socket.gaierror
        return look_up(leads_to, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    base = f"https://ehr.example:{server.server_address[1]}/fhir"
    client = ClientProfile(id="hospital", fhir_bases=(base,))
    supply = gateway.answers(call(base), client, deadline())[Key.PATIENT].supply
    assert (supply.reason, server.seen) == (reason, [])


def test_authority_whose_file_is_gone_is_a_gap_and_no_failure(
    gateway: Gateway, server: FaultServer, tmp_path: Path
) -> None:
    """The file vanished after the configuration was read: the server cannot be reached."""
    state, reason = patient(gateway, server, tmp_path / "gone.pem")
    assert state is State.NOT_SUPPLIED
    assert reason in {reasons.SERVER_UNREACHABLE, reasons.SERVER_PAUSED}


@pytest.mark.parametrize("way", ["direct", "http", "https"])
def test_dripping_server_is_cut_over_tls_and_through_a_proxy_too(
    gateway: Gateway, server: FaultServer, secure: Secured, tmp_path: Path, way: str
) -> None:
    """After the deadline nobody reads on, even with TLS to the proxy and TLS within that."""
    file = secure(OWN_ADDRESS)
    proxy = Proxy(tls(file, tmp_path / "key.pem") if way == "https" else None)
    url = None if way == "direct" else proxy.url
    client = replace(dev_profile(), ca_file=file, outbound_proxy=url)
    is_cut = threading.Event()

    def drips(handler: Handler) -> None:
        try:
            fault_server.drip_headers(handler)
        finally:
            is_cut.set()

    server.behaviours["Condition"] = drips
    asked = only(Key.PATIENT, Key.CONDITIONS)
    answers = gateway.answers(call(secure_base(server), **asked), client, deadline(3))
    proxy.close()
    assert answers[Key.CONDITIONS].supply.reason == reasons.SERVER_TOO_SLOW
    assert answers[Key.PATIENT].supply.state is State.SUPPLIED
    assert is_cut.wait(PATIENT_SECONDS)


class Proxy:
    """A proxy on this machine; ``asked`` holds what it was sent before a tunnel stood."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        with suppress(OSError), client:  # it hangs up, or the server has ended meanwhile
            self._tunnel(client)

    def _tunnel(self, client: socket.socket) -> None:
        if self._context is not None:
            client = self._context.wrap_socket(client, server_side=True)
        head = client.recv(65_536)
        if not head:
            return
        self.asked.append(head)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        with client, socket.create_connection((host, int(port))) as target:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copied, args=(target, client), daemon=True)
            back.start()
            _copied(client, target)
            back.join()

    def close(self) -> None:
        """Take no further tunnels."""
        self._socket.close()


def _copied(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Return a proxy on this machine."""
    found = Proxy()
    yield found
    found.close()


def test_proxy_of_the_profile_sees_the_name_of_the_server_and_no_token(
    gateway: Gateway, server: FaultServer, secure: Secured, proxy: Proxy
) -> None:
    """Every connection goes through the proxy, encrypted from here to the FHIR server."""
    file = secure(OWN_ADDRESS)
    assert patient(gateway, server, file, proxy.url) == (State.SUPPLIED, None)
    port = server.server_address[1]
    asked = {head.split(b" HTTP/1.")[0] for head in proxy.asked}  # 1.0, or 1.1 from Python 3.13 on
    assert asked == {f"CONNECT 127.0.0.1:{port}".encode()}
    assert ACCESS_TOKEN.encode() not in b"".join(proxy.asked)
    assert len(server.seen) == SEARCHES


def test_certificate_is_checked_through_a_proxy_too(
    gateway: Gateway, server: FaultServer, secure: Secured, proxy: Proxy
) -> None:
    """A proxy that leads to another server gets no token."""
    file = secure(ANOTHER_NAME)
    assert patient(gateway, server, file, proxy.url)[0] is State.NOT_SUPPLIED
    assert server.seen == []


def test_proxy_that_is_down_is_an_unreachable_server(
    gateway: Gateway, server: FaultServer, secure: Secured
) -> None:
    """There is no way around the proxy."""
    file = secure(OWN_ADDRESS)
    state, reason = patient(gateway, server, file, "http://127.0.0.1:9")
    assert (state, server.seen) == (State.NOT_SUPPLIED, [])
    assert reason in {reasons.SERVER_UNREACHABLE, reasons.SERVER_PAUSED}


def test_connections_are_kept_for_the_next_call(gateway: Gateway, server: FaultServer) -> None:
    """A second call opens no further connection."""
    peers: set[object] = set()

    def behaviour(handler: Handler) -> None:
        peers.add(handler.client_address)
        handler.send_json(PATIENT)

    server.behaviours["Patient"] = behaviour
    client = dev_profile()
    prefetch = dict.fromkeys(Key.DEFAULT[1:])
    for _ in range(3):
        gateway.answers(call(server, **prefetch), client, deadline())
    assert len(peers) == 1


@pytest.mark.parametrize("word", ["close", "keep-alive"])
def test_server_that_hangs_up_is_asked_on_a_new_connection(
    gateway: Gateway, server: FaultServer, word: str
) -> None:
    """Whether it says so or not, the next call is answered at the first try."""

    def behaviour(handler: Handler) -> None:
        handler.close_connection = True
        handler.send_json(PATIENT, Connection=word)
        handler.close_connection = True

    server.behaviours["Patient"] = behaviour
    client = dev_profile()
    for _ in range(3):
        answers = gateway.answers(call(server), client, deadline())
        assert answers[Key.PATIENT].supply.state is State.SUPPLIED
        time.sleep(0.05)
    assert len(server.asked("Patient")) == 3


def test_connections_the_server_gave_up_are_given_up(gateway: Gateway, server: FaultServer) -> None:
    """After a quiet hour none of them keeps a file open here."""

    def behaviour(handler: Handler) -> None:
        together.wait()
        handler.send_json(fault_server.EMPTY)
        handler.close_connection = True

    together = threading.Barrier(SEARCHES, timeout=PATIENT_SECONDS)
    server.behaviours |= dict.fromkeys(TYPES.values(), behaviour)
    client = dev_profile()
    gateway.answers(call(server), client, deadline())
    (found,) = gateway._servers.values()
    left = [connection for _, connection in found.server._idle._idle]
    assert all(wait_for_read(connection.sock, PATIENT_SECONDS) for connection in left)  # its end
    server.behaviours["Patient"] = fault_server.content(b"{}")
    gateway.answers(call(server, **dict.fromkeys(Key.DEFAULT[1:])), client, deadline())
    assert len(left) == SEARCHES
    assert sum(connection.sock is not None for connection in left) == 0


def test_rest_of_one_answer_is_never_taken_for_the_next(
    gateway: Gateway, server: FaultServer
) -> None:
    """What a server sends after an answer belongs to nobody."""
    foreign = (
        b'HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{"resourceType":"Patient","id":"bert","x":1}'
    )

    def behaviour(handler: Handler) -> None:
        handler.send_json(PATIENT)
        time.sleep(0.02)
        handler.wfile.write(foreign)
        written.release()

    written = threading.Semaphore(0)
    server.behaviours["Patient"] = behaviour
    client = dev_profile()
    prefetch = dict.fromkeys(Key.DEFAULT[1:])
    for _ in range(3):
        answer = gateway.answers(call(server, **prefetch), client, deadline())[Key.PATIENT]
        assert b'"bert"' not in b"".join(map(bytes, answer.resources))  # type: ignore[arg-type]
        assert written.acquire(timeout=PATIENT_SECONDS)
        time.sleep(0.01)


def test_rest_that_came_with_an_answer_ends_the_connection(
    gateway: Gateway, server: FaultServer
) -> None:
    """The other half of it would come in front of the next answer."""
    peers: list[object] = []

    def behaviour(handler: Handler) -> None:
        peers.append(handler.client_address)
        body = json.dumps(PATIENT).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        handler.wfile.write(head.encode() + b"\r\n\r\n" + body + b"HTTP/1.1 200 OK\r\nContent-Le")

    server.behaviours["Patient"] = behaviour
    client, prefetch = dev_profile(), dict.fromkeys(Key.DEFAULT[1:])
    for _ in range(2):
        answers = gateway.answers(call(server, **prefetch), client, deadline())
        assert answers[Key.PATIENT].supply.state is State.SUPPLIED
    assert len(set(peers)) == len(peers) == 2


def test_without_a_thread_to_connect_the_server_cannot_be_reached(
    gateway: Gateway, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without a thread left answers with gaps, and at once."""

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("cds_service.fhir.http.ThreadPoolExecutor.submit", no_thread)
    with capture_logs() as told:
        answers = gateway.answers(call(server), dev_profile(), deadline())
    assert told == []  # it is no fault of ours
    found = {answer.supply.reason for answer in answers.values()}
    assert found <= {reasons.SERVER_UNREACHABLE, reasons.SERVER_PAUSED}


def test_refusal_leaves_no_rest_on_the_connection(gateway: Gateway, server: FaultServer) -> None:
    """The page of a 404 is not read, and the next search still gets its own answer."""
    server.behaviours["Condition"] = fault_server.status(404)
    client = dev_profile()
    for _ in range(2):
        answers = gateway.answers(call(server), client, deadline())
        assert answers[Key.CONDITIONS].supply.reason == reasons.of_status(404)
        assert answers[Key.PATIENT].supply.state is State.SUPPLIED
