"""Where an answer ends, whatever its pieces, and that what is no answer is not waited for."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator

import pytest
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from cds_service.fhir.arriving import Arriving
from cds_service.fhir.deadline import Deadline

pytestmark = pytest.mark.enable_socket

BODY = b'{"resourceType":"Bundle","type":"searchset","total":0}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ZIPPED = gzip.compress(BODY)
MOST = 10_000

WHOLE = {
    "with its length": OK + LENGTH + BODY,
    "of a length in small letters": OK + LENGTH.lower() + BODY,
    "with lines that end in one sign": (OK + LENGTH).replace(b"\r", b"") + BODY,
    "after a Continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + BODY,
    "after Early Hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + LENGTH + BODY,
    "after hints and news of its making": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"
    + b"HTTP/1.1 102 Processing\r\n\r\n" * 20
    + b"HTTP/1.1 100 Continue\r\n\r\n"
    + (OK + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "in one chunk": OK + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "in chunks with extensions and a trailer": OK
    + CHUNKED
    + b"\r\n5;a=b\r\n%b\r\n%X\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:]),
    "in chunks, the last of one empty line": OK
    + CHUNKED
    + b"\r\n%x\r\n%b\r\n1\r\n\n\r\n0\r\n\r\n" % (len(BODY), BODY),
    "in a chunk that looks like the last": OK
    + CHUNKED
    + b"\r\n%x\r\n%b0\r\n\r\n\r\n0\r\n\r\n" % (len(BODY) + 5, BODY),
    "in chunks and with a length": OK
    + CHUNKED
    + b"Content-Length: 3\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "zipped": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
}
NEVER_READ = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "a page instead of an answer": b"<html>",
    "another protocol": b"HTTP/2.0 200 OK\r\n\r\n",
    "a refusal whose page is long": b"HTTP/1.1 403 No\r\nContent-Length: 9999\r\n\r\n<html>",
    "nothing to say": b"HTTP/1.1 204 No Content\r\n\r\n",
    "another protocol on this connection": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a refusal after a hint": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\n\r\n",
    "no HTTP after a hint": b"HTTP/1.1 103 Early Hints\r\n\r\n<html>",
    "hints without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 6_000,
    "a chunk of no size": OK + CHUNKED + b"\r\nsize\r\n",
    "a chunk of less than nothing": OK + CHUNKED + b"\r\n-5\r\n",
    "a size that never ends": OK + CHUNKED + b"\r\n" + b"0" * 70_000,
    "a head that never ends": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 140_000,
    "more than is taken": OK + b"Content-Length: 900000\r\n\r\n" + b" " * 150_000,
}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return our end of a connection and the server's."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with ours, theirs:
        yield ours, theirs


def arriving(ours: socket.socket, ends: list[str] | None = None) -> Arriving:
    """Return what waits for an answer at our end; *ends* gets a word at its end."""
    return Arriving(
        ours,
        most_bytes=MOST,
        deadline=Deadline.after(60, time.monotonic),
        on_whole=lambda: (ends if ends is not None else []).append("end"),
    )


def read(answer: Arriving, ours: socket.socket) -> bytes:
    """Return the body, as urllib3 reads it."""
    connection = HTTPConnection("ehr.example")
    connection.sock = ours
    connection.request("GET", "/", preload_content=False)
    ours.settimeout(0)
    return answer.response(connection).read(decode_content=True)


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_end_is_known_with_the_last_byte_and_not_before(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """Byte by byte; the connection can then be used again, and the place is given back once."""
    ours, theirs = pair
    ends: list[str] = []
    answer = arriving(ours, ends)
    for number in range(len(text)):
        assert not answer.is_whole
        theirs.sendall(text[number : number + 1])
        answer.receive()
    assert (answer.is_whole, answer.is_clean, ends) == (True, True, ["end"])
    assert read(answer, ours).startswith(BODY)


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_answer_in_one_piece_is_read_alike(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """One look is enough."""
    ours, theirs = pair
    theirs.sendall(text)
    answer = arriving(ours)
    assert answer.receive()
    assert read(answer, ours).startswith(BODY)


@pytest.mark.parametrize("text", NEVER_READ.values(), ids=NEVER_READ.keys())
def test_what_brings_nothing_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """Nobody waits for the deadline, and the connection carries no other request."""
    ours, theirs = pair
    answer = arriving(ours)
    for begin in range(0, len(text), 60_000):
        theirs.sendall(text[begin : begin + 60_000])
        answer.receive()
    assert answer.is_whole
    assert not answer.is_clean


def test_what_comes_after_the_end_makes_the_connection_unclean(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """It could be taken for the next answer."""
    ours, theirs = pair
    theirs.sendall(WHOLE["with its length"] + b"HTTP/1.1 200 OK\r\n")
    answer = arriving(ours)
    assert answer.receive()
    assert not answer.is_clean
    assert read(answer, ours) == BODY


@pytest.mark.parametrize(
    "text",
    [OK + LENGTH + BODY[:9], OK + CHUNKED + b"\r\n9\r\n" + BODY[:4], b""],
    ids=["length", "chunk", "nothing"],
)
def test_half_an_answer_is_a_lost_connection(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """The server hung up before its answer was whole."""
    ours, theirs = pair
    answer = arriving(ours)
    theirs.sendall(text)
    theirs.shutdown(socket.SHUT_WR)
    assert any(answer.receive() for _ in range(2))
    with pytest.raises((HTTPError, OSError)):
        read(answer, ours)


def test_answer_without_a_length_ends_when_the_server_hangs_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """As an HTTP/1.0 server does."""
    ours, theirs = pair
    answer = arriving(ours)
    theirs.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + BODY)
    assert not answer.receive()
    theirs.shutdown(socket.SHUT_WR)
    assert answer.receive()
    assert read(answer, ours) == BODY
    assert not answer.is_clean


def test_lost_connection_is_told_when_the_answer_is_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Receiving itself never fails: it may be another thread's turn."""
    ours, _ = pair
    ends: list[str] = []
    answer = arriving(ours, ends)
    ours.close()
    assert answer.receive()
    assert ends == ["end"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        answer.response(HTTPConnection("ehr.example"))


@pytest.mark.parametrize("word", [b"close", b"keep-alive"])
def test_connection_the_server_will_close_is_closed(
    pair: tuple[socket.socket, socket.socket], word: bytes
) -> None:
    """And one it keeps stays open, with what it is connected to."""
    ours, theirs = pair
    theirs.sendall(OK + b"Connection: " + word + b"\r\n" + LENGTH + BODY)
    answer = arriving(ours)
    assert answer.receive()
    assert read(answer, ours) == BODY
    assert (ours.fileno() == -1) is (word == b"close")
