"""An HTTP answer that arrives piece by piece: nobody waits here, and the end is known when it came.

``httptools`` (the parser of Node.js) reads it as it comes; what is in a compressed body is left to
``urllib3``.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError

from cds_service.fhir.deadline import Deadline

_PIECE_BYTES = 65_536
_LONGEST_HEAD_BYTES = 131_072
_CHUNKED = "chunked"
_VERSIONS = frozenset({"1.0", "1.1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer: its status, its headers by their names in small letters, and its body.

    A body that came only in part is not whole; it is too long if that is why nobody read on.  That
    of a refusal is not read at all.
    """

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_whole: bool
    is_too_long: bool

    def pieces(self) -> Iterator[bytes]:
        """Yield the body; one that is compressed without that, in pieces of which none is large.

        Raises:
            urllib3.exceptions.DecodeError: It is not compressed as the server says.
        """
        encoding = self.headers.get("content-encoding")
        if encoding is None:
            yield self.body
            return
        packed = HTTPResponse(
            io.BytesIO(self.body), {"Content-Encoding": encoding}, preload_content=False
        )
        while piece := packed.read1(_PIECE_BYTES, decode_content=True):
            yield piece


class Arriving:
    """What has come of the answer to one request."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        most_bytes: int,
        deadline: Deadline,
        on_whole: Callable[[], None],
    ) -> None:
        """Read from *connection*, which must not block, and call *on_whole* at the end.

        More than *most_bytes* and a head is as good as the end.
        """
        self._connection = connection
        self._deadline = deadline
        self._may_hide_more = not isinstance(connection, socket.socket)
        """TLS within TLS reads ahead, and nothing tells that it still holds something."""
        self._on_whole = on_whole
        self._most_bytes = most_bytes + _LONGEST_HEAD_BYTES
        self._bytes_came = 0
        self._message = _Message()
        self._lost: OSError | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the connection can carry another request.

        The server keeps it, and nothing came after the end.
        """
        return self._message.is_kept

    def fileno(self) -> int:
        """Return the number of the connection, to wait for it."""
        return self._connection.fileno()

    def receive(self) -> bool:
        """Take a piece of what is there, without waiting; return whether it is whole.

        Then more would change nothing: the end is there, or nobody will read on.
        """
        try:
            is_whole = self._takes_last(self._connection.recv(_PIECE_BYTES))
            while self._may_hide_more and not is_whole and not self._deadline.has_passed:
                is_whole = self._takes_last(self._connection.recv(_PIECE_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            self._lost = error
            is_whole = True
        if is_whole:
            self._on_whole()
        return is_whole

    def answer(self) -> Answer:
        """Return what came; nothing is waited for.

        Raises:
            urllib3.exceptions.ProtocolError: It is no HTTP, or nothing of it came.
            OSError: The connection was lost.
        """
        if self._lost is not None:
            raise self._lost
        message = self._message
        if not message.status:
            raise ProtocolError("no HTTP")
        return Answer(
            status=message.status,
            headers=message.headers,
            body=bytes(message.body),
            is_whole=message.is_whole,
            is_too_long=self._bytes_came > self._most_bytes,
        )

    def close(self) -> None:
        """Let go of what came; nothing is received after this."""
        self._message.close()

    def _takes_last(self, piece: bytes) -> bool:
        """Take one *piece*, an empty one when the server hung up; return whether it is the last."""
        message = self._message
        if piece:
            message.take(piece)
        else:
            message.end()
        self._bytes_came += len(piece)
        most = self._most_bytes if message.status else _LONGEST_HEAD_BYTES
        return message.is_over or self._bytes_came > most


class _Message:
    """An answer as the parser hears it; interim ones before it are passed over (RFC 9110, 15.2).

    Of an answer that brings nothing only the head is heard.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_whole = False
        self.is_over = False
        """Whether more would change nothing."""
        self.is_kept = False
        """Whether it is whole, nothing came after it, and the server keeps the connection."""
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # what old servers write; nobody else reads it
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def take(self, piece: bytes) -> None:
        """Hear *piece*; what is no HTTP ends the message."""
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            self.is_over = True

    def end(self) -> None:
        """Hear that the server hung up: the end of a body that does not tell its length."""
        is_chunked = _CHUNKED in self.headers.get("transfer-encoding", "").lower()
        self.is_whole = not (is_chunked or "content-length" in self.headers)
        self.is_over = True

    def close(self) -> None:
        """Forget the parser: it and its message hold each other."""
        del self._parser

    def on_message_begin(self) -> None:
        """Begin; what was heard before was interim, or this is more than was asked for."""
        self.is_kept = False
        if not self.is_over:
            self.headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; those after the body say nothing that is asked."""
        if self.status:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Read the status, and whether there is more to hear."""
        status = self._parser.get_status_code()
        is_interim = status < HTTPStatus.OK and status != HTTPStatus.SWITCHING_PROTOCOLS
        if self.is_over or is_interim:
            return
        if self._parser.get_http_version() in _VERSIONS:
            self.status = status
        self.is_over = self.status != HTTPStatus.OK

    def on_body(self, piece: bytes) -> None:
        """Keep what is asked for."""
        if not self.is_over:
            self.body += piece

    def on_message_complete(self) -> None:
        """End, unless that was an interim answer."""
        if self.status and not self.is_over:
            self.is_whole = self.is_over = True
            self.is_kept = self._parser.should_keep_alive()
