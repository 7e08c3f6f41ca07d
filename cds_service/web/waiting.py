"""Slow clients wait here, outside the threads: a thread gets a call when its whole head is there.

gunicorn gives a thread to every connection at once, so a few clients that send a byte a second
would hold them all.  Here the event loop collects heads, and also waits for clients that do not
hang up.  What is sent is not judged here; gunicorn's own parser reads it, from its first byte.

gunicorn has no types, so the classes derived from it are marked for mypy.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from gunicorn.http.errors import LimitRequestHeaders  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

HEAD_SECONDS = 5.0
"""How long the head of a call may take to arrive."""
BODY_SECONDS = 10.0
"""How long the body of a call may take to arrive, and its answer to be taken."""
LONGEST_HEAD_BYTES = 65_536
_UNREAD_BODY_BYTES = 65_536
_HANGING_UP_SECONDS = 2.0
_MOST_HANGING_UP = 200
_SEND_BUFFER_BYTES = 524_288
_PIECE_BYTES = 65_536
_HEAD_END = b"\r\n\r\n"


class _Connection(TConn):  # type: ignore[misc]
    """A connection, and what came before a thread was given to it."""

    def __init__(
        self,
        cfg: object,
        sock: socket.socket,
        addresses: tuple[object, object],
        hang_up: Callable[[_Connection], None],
    ) -> None:
        super().__init__(cfg, sock, *addresses)
        self._hang_up = hang_up
        self.early = bytearray()
        self.is_head_whole = False

    def take(self, piece: bytes) -> None:
        """Keep a piece of a head, and see whether the whole head is there now."""
        start = max(0, len(self.early) - len(_HEAD_END) + 1)
        self.early += piece
        self.is_head_whole = self.early.find(_HEAD_END, start) >= 0

    def give_to_parser(self) -> None:
        """Let gunicorn's parser begin with what came early."""
        self.init()
        self.parser.unreader.unread(bytes(self.early))
        self.early.clear()

    def close(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Close at once, or after the client has read its answer and hung up."""
        if graceful:
            self._hang_up(self)
        else:
            super().close()


def _has_room(client: socket.socket) -> bool:
    """Return whether the send buffer of *client* has room for an answer of ours."""
    poll = select.poll()
    poll.register(client, select.POLLOUT)
    return bool(poll.poll(0))


class WaitingWorker(ThreadWorker):  # type: ignore[misc]
    """A gunicorn worker whose threads never wait for the head of a call.

    Units:
        ``answer_seconds`` in seconds, from the whole body to the answer.
    """

    answer_seconds = 30.0

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)
        self._in_threads: dict[_Connection, float] = {}
        self._hanging_up: deque[_Connection] = deque()

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, if it is still there."""
        try:
            client, address = listener.accept()
        except OSError:
            return  # it is gone, or another process has it
        # Our answers fit, so a client that does not read them holds no thread either.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.nr_conns += 1
        addresses = (address, listener.getsockname())
        self._wait_for_head(_Connection(self.cfg, client, addresses, self._hang_up))

    def on_client_socket_readable(self, conn: _Connection, client: socket.socket) -> None:
        """Wait for the next head on a connection that was kept open."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait_for_head(conn)

    def on_pending_socket_readable(self, conn: _Connection, client: socket.socket) -> None:
        """Take a piece of a head; with the last one the call goes to a thread."""
        try:
            piece = client.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        conn.take(piece)
        is_too_long = len(conn.early) > LONGEST_HEAD_BYTES and not conn.is_head_whole
        if piece and not conn.is_head_whole and not is_too_long:
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if is_too_long:
            self.handle_error(None, client, conn.client, LimitRequestHeaders("head"))
        if is_too_long or not conn.early:
            self.nr_conns -= 1
            conn.close(graceful=is_too_long)
        else:
            self._hand_over(conn)

    def _hand_over(self, conn: _Connection) -> None:
        """Give a call to a thread once its client has room for the answer.

        A client that asks again without reading its answers waits here and holds no thread.
        """
        if _has_room(conn.sock):
            self.enqueue_req(conn)
            return
        conn.sock.settimeout(0)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        on_room = partial(self._on_room, conn)
        self.poller.register(conn.sock, selectors.EVENT_WRITE, on_room)

    def _on_room(self, conn: _Connection, client: socket.socket) -> None:
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self.enqueue_req(conn)

    def handle(self, conn: _Connection) -> object:
        """Answer one call; runs in a thread, and its time counts from here."""
        self._in_threads[conn] = time.monotonic()
        conn.sock.settimeout(None)
        conn.give_to_parser()
        return super().handle(conn)

    def finish_request(self, conn: _Connection, fs: Future[object]) -> None:
        """Keep the connection, wait for a head that has begun, or hang up."""
        self._in_threads.pop(conn, None)
        is_kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if is_kept and conn.parser.unreader.buf.getvalue():
            conn.take(conn.parser.unreader.take_buffered())
            if conn.is_head_whole:
                self._hand_over(conn)
            else:
                self._wait_for_head(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Let go of connections that took too long; gunicorn calls this every second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, since in list(self._in_threads.items()):
            if now - since > BODY_SECONDS + self.answer_seconds:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)
        while self._hanging_up and self._hanging_up[0].timeout < now:
            self._forget(self._hanging_up[0])

    def _wait_for_head(self, conn: _Connection) -> None:
        conn.sock.settimeout(0)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        on_readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _keepalive_after(self, conn: _Connection, keepalive: bool) -> bool:  # noqa: FBT001 - gunicorn's
        """Whether the connection can be kept; a body nobody read must be here already for that."""
        try:
            conn.sock.settimeout(0)
            return bool(keepalive and conn.parser.finish_body(max_bytes=_UNREAD_BODY_BYTES))
        except OSError:
            return False  # the event loop waits for the rest, if at all

    def _hang_up(self, conn: _Connection) -> None:
        """Say that no more will come, and wait a little for the client to read and hang up."""
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            conn.close()
            return
        if len(self._hanging_up) >= _MOST_HANGING_UP:
            self._forget(self._hanging_up[0])
        conn.timeout = time.monotonic() + _HANGING_UP_SECONDS
        self._hanging_up.append(conn)
        on_readable = partial(self._read_to_the_end, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _read_to_the_end(self, conn: _Connection, client: socket.socket) -> None:
        try:
            has_more = bool(client.recv(_PIECE_BYTES))
        except BlockingIOError:
            return
        except OSError:
            has_more = False
        if not has_more:
            self._forget(conn)

    def _forget(self, conn: _Connection) -> None:
        if conn in self._hanging_up:
            self._hanging_up.remove(conn)
            self.poller.unregister(conn.sock)
            conn.close()
