"""Fetching, keeping and refreshing a client's key set."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import responses
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.exceptions import TimeoutError as TooSlowError

from cds_service.errors import UnauthorizedError
from cds_service.trust import keysets
from cds_service.trust.keysets import KeySetFetchError, KeySets, fetch_key_set
from cds_service.trust.profile import ClientProfile
from tests.patience import PATIENT_SECONDS, until
from tests.trust.conftest import public_jwk

URL = "https://ehr.hospital.example/jwks.json"
CLIENT = ClientProfile(id="hospital", issuers=("https://ehr.hospital.example",), jwks_url=URL)
DAY = 86_400.0


@dataclass
class HandClock:
    """A monotonic clock moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> HandClock:
    """Return a clock moved by hand."""
    return HandClock()


@pytest.fixture
def key_sets(clock: HandClock) -> KeySets:
    """Return an empty store of key sets."""
    return KeySets(monotonic=clock)


@pytest.fixture
def server() -> Iterator[responses.RequestsMock]:
    """Return the server of the key set."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def document(key: ec.EllipticCurvePrivateKey, *kids: str) -> dict[str, object]:
    """Return a key set with *key* under each of *kids*."""
    return {"keys": [public_jwk(key, kid) for kid in kids]}


def settle() -> None:
    """Wait until no thread of this test is fetching."""
    for thread in threading.enumerate():
        if "_run" in thread.name:
            thread.join(30)


def test_key_set_is_fetched_once_and_kept(
    key_sets: KeySets, server: responses.RequestsMock, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """A hundred tokens cost one call."""
    server.get(URL, json=document(ec_key, "a"))
    assert all(key_sets.find(CLIENT, "a") is not None for _ in range(100))
    assert len(server.calls) == 1


def test_new_key_is_seen_at_the_next_token(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """A client that rotates its keys is not refused: an unknown kid makes us look."""
    server.get(URL, json=document(ec_key, "a"))
    key_sets.find(CLIENT, "a")
    server.replace(responses.GET, URL, json=document(ec_key, "b"))
    clock.now += 5
    assert key_sets.find(CLIENT, "b") is not None
    assert key_sets.find(CLIENT, "a") is None


def test_unknown_kids_cost_one_call_a_minute(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """Invented kids cannot make us call the client's server again and again."""
    server.get(URL, json=document(ec_key, "a"))
    key_sets.find(CLIENT, "a")
    for number in range(50):
        assert key_sets.find(CLIENT, f"invented-{number}") is None
    assert len(server.calls) == 2
    clock.now += 59
    key_sets.find(CLIENT, "invented")
    assert len(server.calls) == 2
    clock.now += 1
    key_sets.find(CLIENT, "invented")
    assert len(server.calls) == 3


def test_doubted_keys_are_fetched_again_once_a_minute(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """Bad signatures cannot make us call the client's server again and again; nobody waits."""
    server.get(URL, json=document(ec_key, "a"))
    key_sets.find(CLIENT, "a")
    for _ in range(50):
        key_sets.doubt(CLIENT)
        settle()
    assert len(server.calls) == 2
    clock.now += 60
    key_sets.doubt(CLIENT)
    settle()
    assert len(server.calls) == 3


def test_kept_keys_serve_for_a_day_while_fetching_fails(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """A key server that is down does not lock its EHR out, but not for ever."""
    server.get(URL, json=document(ec_key, "a"), headers={"Cache-Control": "max-age=3600"})
    key_sets.find(CLIENT, "a")
    server.replace(responses.GET, URL, status=503)
    clock.now += 3600 + DAY
    assert key_sets.find(CLIENT, "a") is not None
    settle()
    clock.now += 1
    assert key_sets.find(CLIENT, "a") is None


@pytest.mark.parametrize(
    ("cache_control", "life"),
    [
        ("max-age=600", 600),
        ("public, max-age=1", 300),
        ("max-age=999999999", DAY),
        ("no-store", 3600),
    ],
)
def test_kept_keys_are_fetched_again_when_their_time_is_over(  # noqa: PLR0913, PLR0917 - fixtures
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
    cache_control: str,
    life: float,
) -> None:
    """The server says how long to keep its keys, within five minutes and a day."""
    server.get(URL, json=document(ec_key, "a"), headers={"Cache-Control": cache_control})
    key_sets.find(CLIENT, "a")
    clock.now += life
    key_sets.find(CLIENT, "a")
    settle()
    assert len(server.calls) == 1
    clock.now += 1
    assert key_sets.find(CLIENT, "a") is not None
    settle()
    assert len(server.calls) == 2


def test_down_server_is_tried_again_after_ten_seconds(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """Without any key, every token is refused, but the server is not called for each."""
    server.get(URL, body=requests.ConnectionError())
    assert key_sets.find(CLIENT, "a") is None
    assert key_sets.find(CLIENT, "a") is None
    assert len(server.calls) == 1
    server.replace(responses.GET, URL, json=document(ec_key, "a"))
    clock.now += 10
    assert key_sets.find(CLIENT, "a") is not None


def test_key_set_is_fetched_though_there_was_no_thread_for_it_before(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine short of threads for a moment; the client was locked out until a restart."""
    server.get(URL, json=document(ec_key, "k"))

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_thread)
        assert key_sets.find(CLIENT, "k") is None
    clock.now += 10
    assert key_sets.find(CLIENT, "k") is not None
    clock.now += DAY
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_thread)
        assert key_sets.find(CLIENT, "k") is not None, "the kept key is as good as before"


def test_many_tokens_at_once_cost_one_call(
    key_sets: KeySets, server: responses.RequestsMock, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Tokens that arrive while the set is on its way wait for it together."""

    def slow(_request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        time.sleep(0.2)
        return 200, {}, json.dumps(document(ec_key, "a"))

    server.add_callback(responses.GET, URL, slow)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(key_sets.find(CLIENT, "a"))) for _ in range(15)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15
    assert None not in found
    assert len(server.calls) == 1


@pytest.fixture
def slow_server(
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], None]]:
    """Return what makes the server of the key set hang until the test is over.

    Whoever waits for it waits as long: also on a busy machine all come while others wait.
    """
    monkeypatch.setattr(keysets, "_WAIT_SECONDS", PATIENT_SECONDS)
    may_end = threading.Event()

    def hang(_request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        may_end.wait(2 * PATIENT_SECONDS)
        return 200, {}, json.dumps(document(ec_key, "a"))

    def make_slow() -> None:
        server.upsert(responses.CallbackResponse(responses.GET, URL, hang))

    yield make_slow
    may_end.set()
    settle()


def _ask_for(key_sets: KeySets, count: int, most: int) -> tuple[list[threading.Thread], list[str]]:
    """Let *count* tokens with invented kids come at once; return those that wait, and refusals.

    At *most* so many may wait.
    """
    refused: list[str] = []

    def ask() -> None:
        try:
            key_sets.find(CLIENT, "invented")
        except UnauthorizedError as error:
            refused.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()

    def waiting() -> list[threading.Thread]:
        return [each for each in threads if each.is_alive()]

    until(lambda: len(waiting()) <= most, seconds=PATIENT_SECONDS / 2)
    return waiting(), refused


def test_invented_kids_do_not_fill_the_service_while_the_key_server_is_slow(
    key_sets: KeySets,
    server: responses.RequestsMock,
    slow_server: Callable[[], None],
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """Four strangers wait, the others are refused at once, and the known EHR never waits."""
    server.get(URL, json=document(ec_key, "a"))
    assert key_sets.find(CLIENT, "a") is not None
    slow_server()
    waiting, refused = _ask_for(key_sets, 60, most=4)
    assert (len(waiting), len(refused)) == (4, 56)
    assert set(refused) == {"enough calls wait for a key set that is being fetched"}
    started = time.monotonic()
    assert key_sets.find(CLIENT, "a") is not None
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(("places", "most"), [(30, 15), (2, 1), (1, 1)])
def test_half_of_the_places_may_wait_for_the_first_key_set(
    slow_server: Callable[[], None], places: int, most: int
) -> None:
    """After the start nobody's key is known, so more calls wait, but other EHRs keep room."""
    slow_server()
    waiting, refused = _ask_for(KeySets(places=places), 20, most)
    assert (len(waiting), len(refused)) == (most, 20 - most)


def test_keys_of_one_client_are_not_found_for_another(
    key_sets: KeySets, server: responses.RequestsMock, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Each client's keys are its own, even with the same kid."""
    other = ClientProfile(id="other", jwks_url="https://other.example/jwks.json")
    server.get(URL, json=document(ec_key, "a"))
    server.get("https://other.example/jwks.json", json=document(ec_key, "b"))
    assert key_sets.find(CLIENT, "a") is not None
    assert key_sets.find(other, "a") is None
    assert key_sets.find(ClientProfile(id="none"), "a") is None


def test_warming_fetches_before_the_first_token(
    key_sets: KeySets, server: responses.RequestsMock, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """After the start the first call of an EHR need not wait for its keys."""
    server.get(URL, json=document(ec_key, "a"))
    key_sets.warm((CLIENT,))
    settle()
    assert len(server.calls) == 1
    assert key_sets.find(CLIENT, "a") is not None
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 302, "headers": {"Location": "https://attacker.example"}}, "200"),
        ({"status": 404}, "200"),
        ({"body": "<html>"}, "not a key set"),
        ({"body": "[" * 100_000}, "not a key set"),
        ({"json": {"keys": 3}}, "not a JSON Web Key Set"),
        ({"json": {"keys": [{}] * 101}}, "more than 100 keys"),
        ({"body": b"\xff\xfe"}, "not a key set"),
        ({"body": b" " * 262_145}, "larger than 256 KB"),
        ({"body": requests.ConnectTimeout()}, "did not answer in time"),
        ({"body": requests.ReadTimeout()}, "did not answer in time"),
        ({"body": TooSlowError()}, "did not answer in time"),
        ({"body": requests.exceptions.SSLError()}, "certificate is not trusted"),
        ({"body": requests.ConnectionError()}, "could not be reached"),
    ],
)
def test_answer_that_is_no_key_set_is_refused(
    server: responses.RequestsMock, answer: dict[str, object], why: str
) -> None:
    """Redirects are not followed, and huge, broken or foreign answers are not read.

    The log tells a private certificate authority from a firewall, a slow server and a large set.
    """
    server.get(URL, **answer)
    with pytest.raises(KeySetFetchError, match=why):
        fetch_key_set(URL, proxy=None, ca_file=None)
    assert len(server.calls) == 1


@contextmanager
def _dripping(begin: bytes, piece: bytes) -> Iterator[str]:
    """Run a server of key sets that sends *begin* and then *piece* again and again."""
    is_over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begin)
            while not is_over.wait(0.05):
                connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        finally:
            is_over.set()
            thread.join()


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Endless: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
)
def test_key_server_that_never_ends_its_answer_is_left_after_a_while(
    begin: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would fetch the key set again, and new keys of the EHR would never be seen."""
    monkeypatch.setattr(keysets, "_WHOLE_SECONDS", 0.3)
    with _dripping(begin, piece) as url:
        ended = threading.Event()

        def fetch() -> None:
            with pytest.raises(KeySetFetchError):
                fetch_key_set(url, proxy=None, ca_file=None)
            ended.set()

        thread = threading.Thread(target=fetch)
        thread.start()
        in_time = ended.wait(PATIENT_SECONDS / 2)
    thread.join()
    assert in_time


def test_environment_decides_nothing(
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy and the authorities of the environment are not used; those of the profile are."""
    monkeypatch.setenv("HTTPS_PROXY", "http://attacker.example:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    server.get(URL, json=document(ec_key, "a"))
    fetch_key_set(URL, proxy=None, ca_file=None)
    used = server.calls[0].request.req_kwargs
    assert not used["proxies"]
    assert used["verify"] is True
    fetch_key_set(URL, proxy="http://proxy.example:3128", ca_file=Path("/ca.pem"))
    used = server.calls[1].request.req_kwargs
    assert used["proxies"]["https"] == "http://proxy.example:3128"
    assert used["verify"] == "/ca.pem"


def _find_later(key_sets: KeySets, clock: HandClock, results: multiprocessing.Queue[bool]) -> None:
    clock.now += 10
    results.put(key_sets.find(CLIENT, "a") is not None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_process_forked_while_fetching_fetches_for_itself(
    key_sets: KeySets,
    clock: HandClock,
    server: responses.RequestsMock,
    ec_key: ec.EllipticCurvePrivateKey,
) -> None:
    """A thread does not survive a fork; the new process must not wait for it for ever."""
    has_begun, may_end = threading.Event(), threading.Event()

    def held_up(_request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        has_begun.set()
        may_end.wait(20)
        return 503, {}, ""

    server.add_callback(responses.GET, URL, held_up)
    key_sets.warm((CLIENT,))
    assert has_begun.wait(30)
    server.replace(responses.GET, URL, json=document(ec_key, "a"))
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    worker = context.Process(target=_find_later, args=(key_sets, clock, results))
    worker.start()
    try:
        assert results.get(timeout=20)
    finally:
        worker.join(30)
        may_end.set()
        settle()
