"""Where an answer ends, whatever its pieces, and that what is no answer is not waited for."""

from __future__ import annotations

import gc
import gzip
import socket
import time
import weakref
from collections.abc import Iterator

import pytest
from urllib3.exceptions import HTTPError, ProtocolError

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
    "in chunks with blanks after their sizes": OK
    + CHUNKED
    + b"\r\n%x  \r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "with a header in two lines": OK + b"X-A: one\r\n two\r\n" + LENGTH + BODY,
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
    "a size that never ends": OK + CHUNKED + b"\r\n" + b"0" * 150_000,
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


def read(answer: Arriving) -> bytes:
    """Return the body, without its compression."""
    found = answer.answer()
    assert found.is_whole
    return b"".join(found.pieces())


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_end_is_known_with_the_last_byte_and_not_before(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """Byte by byte; the connection can then be used again, and the place is given back once."""
    ours, theirs = pair
    ends: list[str] = []
    answer = arriving(ours, ends)
    for number in range(len(text)):
        theirs.sendall(text[number : number + 1])
        assert answer.receive() is (number == len(text) - 1)
    assert (answer.is_clean, ends) == (True, ["end"])
    assert read(answer).startswith(BODY)


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_answer_in_one_piece_is_read_alike(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """One look is enough."""
    ours, theirs = pair
    theirs.sendall(text)
    answer = arriving(ours)
    assert answer.receive()
    assert read(answer).startswith(BODY)


@pytest.mark.parametrize("text", NEVER_READ.values(), ids=NEVER_READ.keys())
def test_what_brings_nothing_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket], text: bytes
) -> None:
    """Nobody waits for the deadline, and the connection carries no other request."""
    ours, theirs = pair
    answer = arriving(ours)
    is_whole = False
    for begin in range(0, len(text), 60_000):
        assert not is_whole
        theirs.sendall(text[begin : begin + 60_000])
        is_whole = answer.receive()
    assert is_whole
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
    assert read(answer) == BODY


def test_second_answer_changes_nothing_of_the_first(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Neither its body nor what is said of it; nor do headers that come after the body."""
    ours, theirs = pair
    chunks = b"%x\r\n%b\r\n0\r\nContent-Encoding: gzip\r\n\r\n" % (len(BODY), BODY)
    theirs.sendall(OK + CHUNKED + b"\r\n" + chunks)
    theirs.sendall(b"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
    answer = arriving(ours)
    assert answer.receive()
    assert not answer.is_clean
    assert read(answer) == BODY
    assert answer.answer().status == 200
    assert set(answer.answer().headers) == {"content-type", "transfer-encoding"}


def test_hint_before_the_answer_leaves_none_of_its_headers(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """They are about the hint."""
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 103 Early Hints\r\nContent-Encoding: gzip\r\n\r\n" + OK + LENGTH)
    answer = arriving(ours)
    assert not answer.receive()
    theirs.sendall(BODY)
    assert answer.receive()
    assert read(answer) == BODY


def test_header_that_comes_twice_has_both_values(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """In their order (RFC 9110, section 5.3); letters that are not ASCII do no harm."""
    ours, theirs = pair
    theirs.sendall(OK + b"x-a: 1\r\nX-A: Z\xfcrich\r\n" + LENGTH + BODY)
    answer = arriving(ours)
    assert answer.receive()
    assert answer.answer().headers["x-a"] == "1, Zürich"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nab", 101),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 429\r\nRetry-After: 3\r\n\r\n", 429),
    ],
)
def test_answer_that_brings_nothing_tells_its_status(
    pair: tuple[socket.socket, socket.socket], text: bytes, status: int
) -> None:
    """What is done about it is decided elsewhere."""
    ours, theirs = pair
    theirs.sendall(text)
    answer = arriving(ours)
    assert answer.receive()
    assert answer.answer().status == status
    assert (answer.answer().body, answer.answer().is_whole) == (b"", False)


@pytest.mark.parametrize(
    "text", [b"HTTP/2.0 200 OK\r\n\r\n", b"<html>", b"HTTP/1.1 2"], ids=["2", "page", "half"]
)
def test_what_is_no_answer_is_told(pair: tuple[socket.socket, socket.socket], text: bytes) -> None:
    """It is as if the connection had been lost."""
    ours, theirs = pair
    theirs.sendall(text)
    theirs.shutdown(socket.SHUT_WR)
    answer = arriving(ours)
    assert any(answer.receive() for _ in range(2))
    with pytest.raises(ProtocolError):
        answer.answer()


@pytest.mark.parametrize("over", [0, 1])
def test_answer_that_is_too_long_is_told_from_one_that_was_cut_off(
    pair: tuple[socket.socket, socket.socket], over: int
) -> None:
    """The limit itself is not too long; a head may be added to it."""
    ours, theirs = pair
    head = OK + b"Content-Length: 900000\r\n\r\n"
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)
    answer = arriving(ours)
    theirs.sendall(head)
    left = MOST + 131_072 + over - len(head)
    is_whole = False
    while left:
        left -= theirs.send(b" " * min(left, 30_000))
        is_whole = answer.receive()
    assert is_whole is bool(over)
    theirs.shutdown(socket.SHUT_WR)
    assert is_whole or answer.receive()
    assert (answer.answer().is_whole, answer.answer().is_too_long) == (False, bool(over))


def test_answer_nobody_waits_for_any_more_is_forgotten_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Twenty megabytes must not wait for Python's collector."""
    ours, theirs = pair
    answer = arriving(ours)
    theirs.sendall(OK + LENGTH + BODY[:9])
    assert not answer.receive()
    message = weakref.ref(answer._message)
    gc.disable()
    try:
        answer.close()
        del answer
        assert message() is None
    finally:
        gc.enable()


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
    with pytest.raises((HTTPError, AssertionError)):
        read(answer)


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
    assert read(answer) == BODY
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
        answer.answer()


@pytest.mark.parametrize("word", [b"close", b"keep-alive"])
def test_connection_the_server_will_close_is_not_used_again(
    pair: tuple[socket.socket, socket.socket], word: bytes
) -> None:
    """It says so itself."""
    ours, theirs = pair
    theirs.sendall(OK + b"Connection: " + word + b"\r\n" + LENGTH + BODY)
    answer = arriving(ours)
    assert answer.receive()
    assert read(answer) == BODY
    assert answer.is_clean is (word == b"keep-alive")
