"""An HTTP answer that arrives piece by piece: nobody waits here, and the end is known when it came.

Only the end is looked for (RFC 9112, section 6.3).  What the answer says is read afterwards, once,
by ``urllib3``, which also judges whatever is not understood here.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
from collections.abc import Callable

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection

from cds_service.fhir.deadline import Deadline

_PIECE_BYTES = 65_536
_LONGEST_HEAD_BYTES = 131_072
_LONGEST_LINE_BYTES = 65_536
_PROTOCOL = b"HTTP/"
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r?\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked[ \t]*\r?\n", re.IGNORECASE)
_INTERIM = b"1"
"""The first digit of what comes before the answer; nothing of it is read (RFC 9110, 15.2)."""
_OTHER_PROTOCOL = b"101"
_OK = b"200"


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
        self._lost: OSError | None = None
        self._most_bytes = most_bytes + _LONGEST_HEAD_BYTES
        self._came = bytearray()
        self._begin = 0
        """Where the answer begins, after interim ones."""
        self._at = 0
        """Where the head begins, then the body, then the next chunk."""
        self._is_head_read = False
        self._is_chunked = False
        self._end: int | None = None
        self.is_whole = False
        """Whether more would change nothing: the end is there, or nobody will read on."""

    @property
    def is_clean(self) -> bool:
        """Whether the connection can carry another request: nothing came after the end."""
        return self._end == len(self._came)

    def fileno(self) -> int:
        """Return the number of the connection, to wait for it."""
        return self._connection.fileno()

    def receive(self) -> bool:
        """Take a piece of what is there, without waiting; return whether it is whole."""
        try:
            self._take(self._connection.recv(_PIECE_BYTES))
            while self._may_hide_more and not self.is_whole and not self._deadline.has_passed:
                self._take(self._connection.recv(_PIECE_BYTES))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            self._lost = error
            self.is_whole = True
        if self.is_whole:
            self._on_whole()
        return self.is_whole

    def response(self, connection: HTTPConnection) -> BaseHTTPResponse:
        """Return the answer to the request that *connection* sent; nothing is waited for.

        The connection is closed if the server said that it will close it.

        Raises:
            HTTPException, HTTPError: It is no HTTP, or not whole.
            OSError: The connection was lost.
        """
        if self._lost is not None:
            raise self._lost
        real = connection.sock
        connection.sock = _AsIfFromSocket(bytes(memoryview(self._came)[self._begin :]))
        try:
            return connection.getresponse()
        finally:
            if connection.sock is None:
                real.close()
            else:
                connection.sock = real

    def _take(self, piece: bytes) -> None:
        """Take one *piece*; an empty one means that the server hung up."""
        if not piece:
            self.is_whole = True
            return
        self._came += piece
        if not self._is_head_read:
            self._look_for_head()
        if self._is_head_read and self._is_chunked:
            self._look_for_last_chunk()
        if self._end is not None and len(self._came) >= self._end:
            self.is_whole = True
        if len(self._came) > self._most_bytes:
            self.is_whole = True

    def _look_for_head(self) -> None:
        """Find the end of the head, and from it where the body will end."""
        while found := _EMPTY_LINE.search(self._came, self._at):
            head = bytes(self._came[self._at : found.end()])
            self._at = found.end()
            status = _STATUS.match(head)
            if status is not None and status[1] == _OK:
                self._read_head(head)
                return
            if status is None or not _is_interim(status[1]):
                self.is_whole = True  # of an answer that brings nothing, only the head is read
                return
            self._begin = self._at
        there = len(self._came) - self._begin
        begins_well = self._came.startswith(_PROTOCOL[:there], self._begin)
        self.is_whole = not begins_well or len(self._came) > _LONGEST_HEAD_BYTES

    def _read_head(self, head: bytes) -> None:
        self._is_head_read = True
        self._is_chunked = _CHUNKED.search(head) is not None
        length = _LENGTH.search(head)
        if length is not None and not self._is_chunked:
            self._end = self._at + int(length[1])

    def _look_for_last_chunk(self) -> None:
        """Go from chunk to chunk as far as they are there."""
        while self._end is None and not self.is_whole and self._at <= len(self._came):
            line_end = self._came.find(b"\n", self._at)
            if line_end < 0:
                self.is_whole = len(self._came) - self._at > _LONGEST_LINE_BYTES
                return
            size = _chunk_size(bytes(self._came[self._at : line_end]))
            if size is None:
                self.is_whole = True
            elif size > 0:
                self._at = line_end + size + len(b"\n\r\n")
            else:
                last = _EMPTY_LINE.search(self._came, line_end)
                if last is None:
                    return
                self._end = last.end()


class _AsIfFromSocket:
    """What came, where ``http.client`` expects the socket it came from."""

    def __init__(self, came: bytes) -> None:
        self._came = came

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._came)

    def settimeout(self, _seconds: float | None) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """The real one is closed by whoever has it."""


def _is_interim(status: bytes) -> bool:
    """Whether the answer is still to come on this connection."""
    return status.startswith(_INTERIM) and status != _OTHER_PROTOCOL


def _chunk_size(line: bytes) -> int | None:
    """Return the size of a chunk, or None if *line* does not say it."""
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError:
        return None
    return size if size >= 0 else None
