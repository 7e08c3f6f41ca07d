"""Clients wait here, outside the threads: a thread gets a call that it need not wait for.

gunicorn gives a thread to every connection at once, so a few clients that send a byte a second
would hold them all.  Here the event loop collects heads and short bodies, and also waits for
clients that do not hang up.  Calls for which no thread is free stand in a line, and are refused
when it is too long; large ones go to a process of their own.  What is sent is not judged here;
gunicorn's own parser reads it, from its first byte.

gunicorn has no types, so the classes derived from it are marked for mypy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import structlog
from gunicorn.http.errors import LimitRequestHeaders  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from cds_service.turns import Turns
from cds_service.web.large_calls import LARGE_BODY_BYTES, MOST_LARGE_CALLS, Door, stated_length
from cds_service.web.limits import LONGEST_EARLY_BODY_BYTES
from cds_service.web.line import WaitingLine
from cds_service.web.refusing import is_hook_call, refusal

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
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_NICENESS_OF_LARGE = 10
"""Where processors are scarce, the process for large calls gets what the others leave."""
_MOST_NEAR_TURN = 12
"""Hook calls whose turn it is or is next; the others wait in the line and not in threads."""
_LONGEST_TURN_SECONDS = 0.02
"""The event loop waits no longer for a call to end."""
_OUT_OF_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SAY_AGAIN_SECONDS = 60.0
_LOOK_FOR_ROOM_SECONDS = 0.1
"""A machine that gives no more is asked again after so long."""


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
        self.is_hook_call = False
        self.has_place = False
        """Whether it is one of the hook calls that have a thread."""
        self.body_bytes = 0
        self.arrived_at = 0.0
        self._needed = 0

    def take(self, piece: bytes) -> None:
        """Keep a piece of a call, and see whether its whole head is there now."""
        start = max(0, len(self.early) - len(_HEAD_END) + 1)
        self.early += piece
        while self.early.startswith(_LINE_END):
            del self.early[: len(_LINE_END)]  # HTTP allows empty lines before a call
            start = 0
        if self.is_head_whole:
            return
        end = self.early.find(_HEAD_END, start)
        self.is_head_whole = end >= 0
        if self.is_head_whole:
            self._read_head(bytes(self.early[: end + len(_HEAD_END)]))

    def _read_head(self, head: bytes) -> None:
        """See what kind of call it is, and how much to wait for; the parser judges for itself."""
        self.is_hook_call = is_hook_call(head)
        self.body_bytes = stated_length(head) or 0
        waits = self.body_bytes <= LONGEST_EARLY_BODY_BYTES and b"\r\nexpect:" not in head.lower()
        self._needed = len(head) + (self.body_bytes if self.is_hook_call and waits else 0)

    @property
    def is_ready(self) -> bool:
        """Whether a thread would not have to wait: the head is there, and a body that is short."""
        return self.is_head_whole and len(self.early) >= self._needed

    def give_to_parser(self) -> None:
        """Let gunicorn's parser begin with what came early."""
        self.init()
        self.parser.unreader.unread(bytes(self.early))
        self.early.clear()
        self.is_head_whole = False

    def close(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Close at once, or after the client has read its answer and hung up."""
        if graceful:
            self._hang_up(self)
        else:
            super().close()


class _Threads(ThreadPoolExecutor):
    """Threads that answer calls; what comes when no more can be started is done by those there."""

    def _adjust_thread_count(self) -> None:  # type: ignore[explicit-override]  # needs Python 3.12
        try:
            super()._adjust_thread_count()
        except RuntimeError:  # no room for a thread on this machine
            if not self._threads:
                raise


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
    most_hook_calls = 14
    """At work at once, in threads; the others stand in the line."""
    door: Door
    """Where large calls go in; one worker process takes them out."""
    takes_large = False
    """Whether this is that process; it takes nothing else."""
    is_leaving = False
    """Whether the main process has asked it to end."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)
        self._in_threads: dict[_Connection, float] = {}
        self._hanging_up: deque[_Connection] = deque()
        self._line: WaitingLine[_Connection] = WaitingLine(time.monotonic)
        self._hook_calls = 0
        """Those that have a thread."""
        self._turns = Turns(on_rest=self._on_rest)
        self._say_no_room_at = 0.0
        self._accept_again_at = 0.0

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads; called when the process begins."""
        return _Threads(max_workers=self.cfg.threads)

    def init_process(self) -> None:
        """Begin to work; called in the new process."""
        if self.takes_large:
            self.most_hook_calls = min(self.most_hook_calls, MOST_LARGE_CALLS)
            self.cfg.set("keepalive", 0)  # the client's next call may be a small one
            os.nice(_NICENESS_OF_LARGE)
            self._close_listeners()  # however busy it is when the service stops, nobody waits there
        super().init_process()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - gunicorn's signature
        """Begin or cease to take connections; not while the machine gives no room for more."""
        if enabled and time.monotonic() < self._accept_again_at:
            return
        if not self.takes_large:
            super().set_accept_enabled(enabled)
        elif enabled != self._accepting:
            self._accepting: bool = enabled
            if enabled:
                self.poller.register(self.door.taking, selectors.EVENT_READ, self._take_large)
            else:
                self.poller.unregister(self.door.taking)
        if not self.alive:
            self._take_the_last()

    def _take_the_last(self) -> None:
        """Serve who is waiting for us already, and let go of the listening sockets.

        New connections go to another process that listens, or are refused when none is left.
        """
        if self.takes_large:
            while taken := self.door.take():
                self._welcome_large(*taken)
        for listener in self.sockets:
            self.accept(listener)
        self._close_listeners()

    def _close_listeners(self) -> None:
        for listener in self.sockets:
            listener.close()
        self.sockets: list[socket.socket] = []

    def _take_large(self, _door: socket.socket) -> None:
        """Take one connection that another process handed over."""
        if taken := self.door.take():
            self._welcome_large(*taken)

    def _welcome_large(self, client: socket.socket, early: bytes) -> None:
        try:
            addresses = (client.getpeername(), client.getsockname())
        except OSError:
            client.close()  # the client is gone
            return
        self.nr_conns += 1
        conn = _Connection(self.cfg, client, addresses, self._hang_up)
        conn.take(early)
        self._hand_over(conn)

    def accept(self, listener: socket.socket) -> None:
        """Take new connections, as far as they are still there and there is room."""
        while self.nr_conns < self.worker_connections:
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno in _OUT_OF_ROOM:
                    self._wait_for_room(error)
                return  # else there are no more, or another process has them
            self._welcome(client, address, listener)

    def _wait_for_room(self, error: OSError) -> None:
        """Let clients wait unanswered while the machine gives no more; log it now and then."""
        if self.alive:
            self._accept_again_at = time.monotonic() + _LOOK_FOR_ROOM_SECONDS
            self.set_accept_enabled(False)
        if time.monotonic() >= self._say_no_room_at:
            self._say_no_room_at = time.monotonic() + _SAY_AGAIN_SECONDS
            why = os.strerror(error.errno or 0).lower()
            structlog.get_logger().error("no connection can be taken", why=why)

    def _welcome(self, client: socket.socket, address: object, listener: socket.socket) -> None:
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
        had_head = conn.is_head_whole
        conn.take(piece)
        is_too_long = len(conn.early) > LONGEST_HEAD_BYTES and not conn.is_head_whole
        if piece and not conn.is_ready and not is_too_long:
            if conn.is_head_whole and not had_head:
                conn.timeout = time.monotonic() + BODY_SECONDS
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
            self._join_line(conn)
            return
        conn.sock.settimeout(0)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        on_room = partial(self._on_room, conn)
        self.poller.register(conn.sock, selectors.EVENT_WRITE, on_room)

    def _on_room(self, conn: _Connection, client: socket.socket) -> None:
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._join_line(conn)

    def _join_line(self, conn: _Connection) -> None:
        """Let a hook call wait for its turn, or refuse it; what is quick gets a thread at once."""
        conn.arrived_at = time.monotonic()
        if not conn.is_hook_call:
            self.enqueue_req(conn)
        elif self._is_handed_over(conn):
            self.nr_conns -= 1
            conn.sock.close()  # it stays open there
        elif self._line.is_too_long:
            self._refuse(conn)
        else:
            self._line.join(conn)
            self._advance()

    def _is_handed_over(self, conn: _Connection) -> bool:
        """Hand a large call over, unless the process that takes them may be ending too."""
        is_large = conn.body_bytes > LARGE_BODY_BYTES and not self.takes_large
        return is_large and self.alive and self.door.give(conn.sock, bytes(conn.early))

    def _advance(self) -> None:
        """Give threads to those who wait, as far as there are any and they can soon compute."""
        while self._has_place and (conn := self._line.next()):
            self._hook_calls += 1
            conn.has_place = True
            self._turns.expect()
            self.enqueue_req(conn)

    def _on_rest(self) -> None:
        """Wake the event loop, from any thread, if somebody waits for the turn that is free now."""
        if len(self._line):
            self.method_queue.defer(self._advance)

    @property
    def _has_place(self) -> bool:
        is_soon = self._hook_calls - self._turns.rested < _MOST_NEAR_TURN
        return is_soon and self._hook_calls < self.most_hook_calls

    def _refuse(self, conn: _Connection) -> None:
        with contextlib.suppress(OSError):  # there is room for the answer, unless it is gone
            conn.sock.send(refusal(self.wsgi, bytes(conn.early)))
        self.nr_conns -= 1
        conn.close(graceful=True)

    def handle(self, conn: _Connection) -> object:
        """Answer one call; runs in a thread, and its time counts from here."""
        self._in_threads[conn] = time.monotonic()
        conn.sock.settimeout(None)
        conn.give_to_parser()
        if not conn.is_hook_call:
            return super().handle(conn)
        with self._turns.turn(conn.arrived_at):
            return super().handle(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, and look after them between two calls that compute."""
        events = self.poller.select(min(timeout, max(0.0, self._line.seconds_of_patience)))
        with self._turns.first(_LONGEST_TURN_SECONDS):
            for key, _ in events:
                key.data(key.fileobj)
            for conn in self._line.impatient():
                self._refuse(conn)

    def finish_request(self, conn: _Connection, fs: Future[object]) -> None:
        """Keep the connection, wait for a head that has begun, or hang up."""
        self._in_threads.pop(conn, None)
        if conn.has_place:
            conn.has_place = False
            self._hook_calls -= 1
            self._advance()
        is_kept = not fs.cancelled() and fs.exception() is None and fs.result() is True
        if is_kept and conn.parser.unreader.buf.getvalue():
            conn.take(conn.parser.unreader.take_buffered())
            if conn.is_ready:
                self._hand_over(conn)
            else:
                self._wait_for_head(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Let go of connections that took too long; gunicorn calls this every second."""
        now = time.monotonic()
        for conn in [conn for conn in self.pending_conns if conn.timeout <= now]:
            self.pending_conns.remove(conn)
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()
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
