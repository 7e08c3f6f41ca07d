"""Clients wait outside the threads: whom a thread is given to, when, and who is let go."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from cds_service.web.large_calls import LARGE_BODY_BYTES
from cds_service.web.limits import LONGEST_EARLY_BODY_BYTES
from tests.patience import PATIENT_SECONDS, until
from tests.web.small_rooms import SERVICE, Ticks
from tests.web.waiting_room import Room, Worker, at_work

PAGE = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


def hook_call(length: int, more: str = "", address: str = SERVICE) -> bytes:
    """Return the head of a hook call whose body has this length."""
    return f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{more}\r\n".encode()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """Return the clock of the event loop."""
    ticks = Ticks(1000.0)
    monkeypatch.setattr("cds_service.web.waiting.time", SimpleNamespace(monotonic=ticks))
    return ticks


@pytest.fixture
def room() -> Room:
    """Return where calls are answered."""
    return Room()


@pytest.fixture
def worker(room: Room, ticks: Ticks) -> Iterator[Worker]:
    """Return a worker that listens."""
    del ticks
    with at_work(room) as worker:
        yield worker


def test_calls_on_one_connection_are_answered_one_after_the_other(worker: Worker) -> None:
    """It is kept between them, and a call may come before the answer to the one before."""
    client = worker.connect(PAGE)
    assert worker.answer(client).endswith(b"page ")
    client.sendall(PAGE + PAGE[:20])
    assert worker.answer(client).endswith(b"page ")
    client.sendall(PAGE[20:])
    assert worker.answer(client).endswith(b"page ")
    assert worker.nr_conns == 1


@pytest.mark.parametrize("cut", [0, 1, 20, len(PAGE) - 4, len(PAGE) - 1])
@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_head_has_no_thread_before_it_is_whole(worker: Worker, before: bytes, cut: int) -> None:
    """However it is cut, and with the empty lines before it that HTTP allows."""
    client = worker.connect(before + PAGE[:cut])
    assert worker.waits_with(PAGE[:cut])
    client.sendall(PAGE[cut:])
    assert worker.answer(client).endswith(b"page ")


def test_hook_call_has_no_thread_before_its_short_body_is_there(worker: Worker) -> None:
    """The body is as long as a thread need not wait for; its last byte counts."""
    body = b"x" * LONGEST_EARLY_BODY_BYTES
    begun = hook_call(len(body), address="/cds-services/read") + body[:-1]
    client = worker.connect(begun)
    assert worker.waits_with(begun)
    client.sendall(body[-1:])
    assert worker.answer(client).endswith(body)


@pytest.mark.parametrize(
    ("length", "more"),
    [(LONGEST_EARLY_BODY_BYTES + 1, ""), (10, "Expect: 100-continue\r\n")],
    ids=["a long body", "a body that waits to be asked for"],
)
def test_call_whose_body_is_not_collected_is_judged_by_its_head(
    worker: Worker, length: int, more: str
) -> None:
    """Its token is looked at first; only then somebody waits for what it sends."""
    client = worker.connect(hook_call(length, more))
    assert b" 200 OK" in worker.answer(client)


def test_body_of_what_is_no_hook_call_is_not_waited_for(worker: Worker) -> None:
    """A form sent to a page is answered by its head."""
    client = worker.connect(b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n")
    assert b" 200 OK" in worker.answer(client)


def test_head_that_is_too_long_is_refused(worker: Worker) -> None:
    """It says why, and hangs up; a head just below is read to its end."""
    below = b"GET /" + b"x" * 65_531
    client = worker.connect(below)
    assert worker.waits_with(below)
    client.sendall(b"x")
    assert worker.answer(client).startswith(b"HTTP/1.1 431 ")
    client.close()
    assert worker.until(lambda: not worker._hanging_up)
    assert worker.nr_conns == 0


@pytest.mark.parametrize("sent", [b"", PAGE[:9]])
def test_client_that_hangs_up_before_its_call_is_whole_is_let_go(
    worker: Worker, sent: bytes
) -> None:
    """Its place is free for another."""
    client = worker.connect(sent)
    assert worker.waits_with(sent)
    client.close()
    assert worker.until(lambda: worker.nr_conns == 0)
    assert not worker.pending_conns


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [(b"", 5), (PAGE[:9], 5), (hook_call(9), 10), (PAGE + PAGE[:9], 5)],
    ids=["nothing", "half a head", "a head without its body", "half a second call"],
)
def test_call_that_does_not_come_to_its_end_is_let_go(
    worker: Worker, ticks: Ticks, sent: bytes, seconds: int
) -> None:
    """A head may take five seconds, and the body after it ten."""
    client = worker.connect(sent)
    if sent.startswith(PAGE):
        assert worker.answer(client)
    assert worker.waits_with(sent.removeprefix(PAGE))
    ticks.seconds += seconds - 0.01
    worker.murder_pending()
    assert worker.nr_conns == 1
    ticks.seconds += 0.01
    worker.murder_pending()
    assert worker.nr_conns == 0
    assert worker.answer(client) == b""


def test_body_may_take_ten_seconds_after_its_head_and_not_after_each_piece(
    worker: Worker, ticks: Ticks
) -> None:
    """Who sends a byte now and then is hung up on all the same."""
    client = worker.connect(hook_call(9))
    assert worker.waits_with(hook_call(9))
    for sent in (b"x", b"xx"):
        ticks.seconds += 5
        client.sendall(b"x")
        assert worker.waits_with(hook_call(9) + sent)
    worker.murder_pending()
    assert worker.answer(client) == b""


def test_answered_client_that_does_not_hang_up_is_let_go(worker: Worker, ticks: Ticks) -> None:
    """It has two seconds to read its answer; what it still sends is read and not answered."""
    client = worker.connect(PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert worker.answer(client).endswith(b"page ")
    assert worker.until(lambda: len(worker._hanging_up) == 1)
    client.sendall(PAGE)
    ticks.seconds += 2
    worker.murder_pending()
    assert len(worker._hanging_up) == 1
    ticks.seconds += 0.01
    worker.murder_pending()
    assert not worker._hanging_up
    assert worker.nr_conns == 0


def test_answered_client_that_hangs_up_is_forgotten_at_once(worker: Worker) -> None:
    """Most clients do so, whatever they have sent before."""
    client = worker.connect(PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert worker.answer(client).endswith(b"page ")
    assert worker.until(lambda: len(worker._hanging_up) == 1)
    client.sendall(PAGE)
    client.close()
    assert worker.until(lambda: not worker._hanging_up)


def test_no_more_than_two_hundred_answered_clients_are_waited_for(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more do not hang up, who was answered first is let go."""
    monkeypatch.setattr("cds_service.web.waiting._MOST_HANGING_UP", 2)
    closing = PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    clients = []
    for waiting in (1, 2, 2):
        clients.append(worker.connect(closing))
        assert worker.answer(clients[-1]).endswith(b"page ")
        assert worker.until(lambda: worker.nr_conns == 0)
        assert len(worker._hanging_up) == waiting
    first = worker._hanging_up[0]
    assert first.sock.getpeername() == clients[1].getsockname()


# The line


def _busy(worker: Worker, room: Room) -> socket.socket:
    """Let a hook call take a thread and not end; return its client."""
    room.goes_on.clear()
    client = worker.connect(hook_call(0))
    assert worker.until(lambda: len(room.begun) == 1)
    return client


def test_hook_calls_wait_in_the_line_and_pages_do_not(room: Room, ticks: Ticks) -> None:
    """Health is told while every place of a hook call is taken; the next in the line is served."""
    del ticks
    with at_work(room, most_hook_calls=1) as worker:
        first = _busy(worker, room)
        second = worker.connect(hook_call(0, address=f"{SERVICE}/feedback"))
        assert worker.until(lambda: len(worker._line) == 1)
        page = worker.connect(PAGE)
        assert worker.until(lambda: "page" in room.begun)
        assert len(worker._line) == 1
        room.goes_on.set()
        for client in (page, first, second):
            assert b" 200 OK" in worker.answer(client)
        assert worker.until(lambda: worker._hook_calls == 0)


def test_call_that_would_wait_too_long_is_refused_and_hung_up_on(room: Room, ticks: Ticks) -> None:
    """The first in the line has stood there for a while; whoever comes then may come back."""
    with at_work(room, most_hook_calls=1) as worker:
        _busy(worker, room)
        worker.connect(hook_call(0))
        assert worker.until(lambda: len(worker._line) == 1)
        ticks.seconds += 0.3
        late = worker.connect(hook_call(0))
        answer = worker.answer(late)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert (worker.nr_conns, len(worker._hanging_up)) == (2, 1)


def test_call_that_has_waited_too_long_is_refused(room: Room, ticks: Ticks) -> None:
    """Nobody waits for half a second, and the loop wakes up by itself to say so."""
    with at_work(room, most_hook_calls=1) as worker:
        _busy(worker, room)
        waiting = worker.connect(hook_call(0))
        assert worker.until(lambda: len(worker._line) == 1)
        ticks.seconds += 0.45
        assert worker.answer(waiting).startswith(b"HTTP/1.1 503 ")
        assert worker.nr_conns == 1


def test_client_that_is_gone_when_it_is_refused_costs_nothing(room: Room, ticks: Ticks) -> None:
    """It hung up while it stood in the line; the others are served."""
    with at_work(room, most_hook_calls=1) as worker:
        first = _busy(worker, room)
        gone = worker.connect(hook_call(0))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert worker.until(lambda: len(worker._line) == 1)
        gone.close()
        ticks.seconds += 0.45
        assert worker.until(lambda: not len(worker._line))
        room.goes_on.set()
        assert b" 200 OK" in worker.answer(first)
        assert worker.nr_conns == 1


def test_call_begins_when_another_rests(room: Room, ticks: Ticks) -> None:
    """While a call waits for its FHIR server the next one computes, though the loop is asleep."""
    del ticks
    room.rests = True
    room.may_rest.clear()
    with at_work(room, most_hook_calls=14) as worker:
        _busy(worker, room)
        for _ in range(12):
            worker.connect(hook_call(0))
        assert worker.until(lambda: (worker._hook_calls, len(worker._line)) == (12, 1))
        room.may_rest.set()
        assert worker.until(lambda: len(room.begun) == 13)
        assert not len(worker._line)


def test_call_that_comes_computes_before_one_that_has_rested(
    room: Room, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although that one wants its turn back while the thread of the other has not begun."""
    monkeypatch.setattr("cds_service.turns._ON_THE_WAY_SECONDS", PATIENT_SECONDS)
    monkeypatch.setattr("cds_service.turns.time", SimpleNamespace(monotonic=ticks))
    room.rests = True
    room.goes_on.clear()
    with at_work(room) as worker:
        worker.connect(hook_call(0))
        assert worker.until(lambda: worker._turns.rested == 1)
        room.rests = False
        room.may_rest.clear()
        give_thread = worker.enqueue_req

        def when_the_other_wants_its_turn(conn: object) -> None:
            room.goes_on.set()
            assert until(lambda: bool(worker._turns._waiting))
            give_thread(conn)

        monkeypatch.setattr(worker, "enqueue_req", when_the_other_wants_its_turn)
        worker.connect(hook_call(0))
        assert worker.until(lambda: len(room.begun) == 2)
        assert worker._turns.rested == 1


def test_no_more_calls_have_threads_than_can_compute_soon(room: Room, ticks: Ticks) -> None:
    """While nobody rests, a dozen stand near their turn and the others in the line."""
    del ticks
    with at_work(room, most_hook_calls=14) as worker:
        _busy(worker, room)
        for _ in range(13):
            worker.connect(hook_call(0))
        assert worker.until(lambda: worker._hook_calls + len(worker._line) == 14)
        assert (worker._hook_calls, len(worker._line)) == (12, 2)


# Those who read slowly, or send what nobody reads


def test_connection_is_kept_when_a_body_nobody_read_is_there(worker: Worker) -> None:
    """A call that was refused by its head costs no new connection."""
    client = worker.connect(hook_call(9) + b"x" * 9)
    assert b" 200 OK" in worker.answer(client)
    client.sendall(PAGE)
    assert worker.answer(client).endswith(b"page ")
    assert worker.nr_conns == 1


def test_connection_is_not_kept_for_the_rest_of_a_body_nobody_reads(worker: Worker) -> None:
    """Its end may never come."""
    client = worker.connect(hook_call(LONGEST_EARLY_BODY_BYTES + 1) + b"x" * 9)
    assert b" 200 OK" in worker.answer(client)
    assert worker.until(lambda: len(worker._hanging_up) == 1)
    assert worker.nr_conns == 0


def _asks_much(worker: Worker) -> socket.socket:
    """Return a client that asks ten times and reads nothing, when it waits for that."""
    client = worker.connect(PAGE.replace(b"page", b"large-page") * 10)
    assert worker.until(lambda: bool(worker.pending_conns and worker.pending_conns[0].is_ready))
    assert not worker.in_threads
    return client


def test_client_that_reads_late_gets_every_answer(worker: Worker) -> None:
    """While it has not read what came before, its next call has no thread."""
    client = _asks_much(worker)
    answers = b""
    while answers.count(b"HTTP/1.1 200 OK") < 10:
        answers += worker.answer(client)
    assert worker.nr_conns == 1


def test_client_that_reads_nothing_is_let_go(worker: Worker, ticks: Ticks) -> None:
    """After five seconds its place is free."""
    _asks_much(worker)
    ticks.seconds += 4.99
    worker.murder_pending()
    assert worker.nr_conns == 1
    ticks.seconds += 0.01
    worker.murder_pending()
    assert (worker.nr_conns, len(worker.pending_conns)) == (0, 0)


def test_call_in_a_thread_may_take_as_long_as_its_body_and_its_answer(
    worker: Worker, room: Room, ticks: Ticks
) -> None:
    """Ten seconds for what it sends and the deadline of the site; then it is hung up on."""
    worker.answer_seconds = 3.0
    client = _busy(worker, room)
    ticks.seconds += 13
    worker.murder_pending()
    client.settimeout(0)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    ticks.seconds += 0.01
    worker.murder_pending()
    assert worker.answer(client) == b""


# Large calls


def test_large_call_is_answered_by_the_process_for_large_ones(room: Room, ticks: Ticks) -> None:
    """The connection goes there with what was read of it; here it takes no place any more."""
    del ticks
    head = hook_call(LARGE_BODY_BYTES + 1, address="/cds-services/large-read")
    with at_work(room) as worker, at_work(Room(), worker.door, takes_large=True) as other:
        client = worker.connect(head + b"yz")
        assert other.until(lambda: bool(_turned(worker).nr_conns == 0 and other.in_threads))
        client.sendall(b"z" * (LARGE_BODY_BYTES - 1))
        assert b"yzzz" in other.answer(client)
        assert not room.begun


def _turned(worker: Worker) -> Worker:
    worker.wait_for_and_dispatch_events(0)
    return worker


@pytest.mark.parametrize(
    ("length", "changed"),
    [
        (LARGE_BODY_BYTES, {}),
        (LARGE_BODY_BYTES + 1, {"takes_large": True}),
        (LARGE_BODY_BYTES + 1, {"alive": False}),
    ],
    ids=["one that is not large", "in that process itself", "in a process that ends"],
)
def test_call_is_answered_where_it_came_in(
    worker: Worker, length: int, changed: dict[str, bool]
) -> None:
    """Nobody waits at a door behind which nobody may be."""
    client = worker.connect()
    assert worker.waits_with(b"")
    for name, value in changed.items():
        setattr(worker, name, value)
    client.sendall(hook_call(length))
    assert b" 200 OK" in worker.answer(client)


def test_large_call_is_answered_where_it_came_in_when_too_many_wait(worker: Worker) -> None:
    """The door takes no more; nothing is lost."""
    here, there = socket.socketpair()
    with here, there:
        while worker.door.give(there, b""):
            pass
    client = worker.connect(hook_call(LARGE_BODY_BYTES + 1))
    assert b" 200 OK" in worker.answer(client)


def test_large_call_whose_client_is_gone_meanwhile_takes_no_place(room: Room, ticks: Ticks) -> None:
    """It hung up before the process for large calls had time for it."""
    del ticks
    with at_work(room) as worker, at_work(room, worker.door, takes_large=True) as other:
        gone = worker.connect(hook_call(LARGE_BODY_BYTES + 1))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        before = worker.connect()
        assert worker.waits_with(b"")
        gone.close()
        assert not other.until(lambda: bool(other.nr_conns), seconds=0.05)
        before.sendall(hook_call(LARGE_BODY_BYTES + 1))
        assert other.until(lambda: bool(_turned(worker).nr_conns == 0 and other.nr_conns))
        assert b" 200 OK" in other.answer(before)


# No room, and the end


class _NoRoom:
    """A listening socket of a machine that gives no connection."""

    def __init__(self, number: int) -> None:
        self.number = number

    def accept(self) -> tuple[socket.socket, object]:
        """Give none."""
        raise OSError(self.number, "none")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_machine_without_room_is_asked_again_and_it_is_said_once_a_minute(
    worker: Worker, ticks: Ticks, number: int
) -> None:
    """Clients wait meanwhile; the log is not filled by it."""
    client = worker.connect(PAGE)
    with capture_logs() as logs:
        for seconds in (0, 59.9, 60):
            ticks.seconds = 1000 + seconds
            worker.accept(cast("socket.socket", _NoRoom(number)))
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("no connection can be taken", "error")
    ] * 2
    worker.set_accept_enabled(enabled=True)
    assert not worker._accepting
    ticks.seconds += 0.1
    worker.set_accept_enabled(enabled=True)
    assert worker.answer(client).endswith(b"page ")


def test_connection_that_another_process_has_is_no_fault(worker: Worker) -> None:
    """Of two processes that were woken one comes too late."""
    with capture_logs() as logs:
        worker.accept(cast("socket.socket", _NoRoom(errno.EAGAIN)))
    assert not logs
    assert worker._accepting


def test_no_more_connections_are_taken_than_there_are_places(worker: Worker) -> None:
    """The others wait at the door of the machine, where another process may take them."""
    worker.worker_connections = 1
    first, second = worker.connect(PAGE), worker.connect(PAGE)
    assert worker.answer(first).endswith(b"page ")
    assert worker.nr_conns == 1
    first.close()
    assert worker.answer(second).endswith(b"page ")


def test_process_that_ends_serves_who_is_waiting_and_takes_nobody_else(worker: Worker) -> None:
    """A client that has connected is answered; the next one goes to another process."""
    client = worker.connect(PAGE)
    worker.alive = False
    worker.set_accept_enabled(enabled=False)
    with pytest.raises(ConnectionRefusedError):
        worker.connect()
    assert worker.answer(client).endswith(b"page ")


def test_process_for_large_calls_that_ends_serves_who_is_waiting(room: Room, ticks: Ticks) -> None:
    """All that were handed over before, and nobody after."""
    del ticks
    with at_work(room) as worker, at_work(room, worker.door, takes_large=True) as other:
        clients = [worker.connect(hook_call(LARGE_BODY_BYTES + 1)) for _ in range(2)]
        worker.connect()
        assert worker.waits_with(b"")  # the others have been handed over
        other.alive = False
        other.set_accept_enabled(enabled=False)
        for client in clients:
            assert b" 200 OK" in other.answer(client)


def test_machine_without_room_for_a_thread_leaves_the_call_to_those_there(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where there is none at all it is a fault."""

    def none(_: object) -> None:
        raise RuntimeError("can't start new thread")

    client = worker.connect(PAGE)
    assert worker.answer(client).endswith(b"page ")
    monkeypatch.setattr("threading.Thread.start", none)
    others = [worker.connect(PAGE) for _ in range(3)]
    assert all(worker.answer(other).endswith(b"page ") for other in others)
    with pytest.raises(RuntimeError):
        worker.get_thread_pool().submit(len, "")
