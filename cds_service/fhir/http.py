"""One FHIR server over HTTP, with ``urllib3`` made safe for access tokens.

No trust in the environment (proxy, ``.netrc``), no cookies, no redirects, a body read in pieces
under one deadline and one size limit.  Nothing of a request or an answer is ever logged, and
failures carry only fixed phrases.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    DecodeError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)
from urllib3.exceptions import TimeoutError as TooSlowError
from urllib3.util.ssl_match_hostname import CertificateError

from cds_service.fhir import reasons
from cds_service.fhir.arriving import Answer, Arriving
from cds_service.fhir.asking import Question
from cds_service.fhir.breaker import LONGEST_OPEN_SECONDS, OPEN_SECONDS, Breaker
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.idle import IdleConnections
from cds_service.fhir.paging import Allowance
from cds_service.fhir.side_by_side import Steps
from cds_service.fhir.slots import Slot, Slots
from cds_service.hooks.whole_characters import with_whole_characters
from cds_service.trust.connections import PeerRefusedError

_JSON_TYPES = frozenset(
    {"application/fhir+json", "application/json", "application/json+fhir", "text/json"}
)
_SHORTEST_SECONDS = 0.001
_LONGEST_OPENING_SECONDS = 2.0
"""A connection may stand too late for the call that wanted it, and serve the next one."""
_HEADERS = (
    "Accept: application/fhir+json",
    "Accept-Encoding: gzip",
    "User-Agent: post-laminectomy-cds",
)
_FRESH = "Cache-Control: no-cache"


@dataclass(slots=True, kw_only=True)
class Terms:
    """On what terms one search is sent: with which token, until when, how much, how often again.

    ``about`` names what is asked for, the same for all patients.
    """

    about: str
    token: str | None = field(repr=False)
    deadline: Deadline
    allowance: Allowance
    retries: int = 1


class FetchFailedError(Exception):
    """A request brought nothing; ``reason`` is a fixed phrase."""

    def __init__(self, reason: str, *, can_retry: bool = False, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.can_retry = can_retry
        self.wait_seconds = wait_seconds


class BusyError(FetchFailedError):
    """The server is busy: with all requests, or with those for one thing, as far as one can see."""

    def __init__(self, reason: str, stated_wait: float | None, *, is_with_all: bool) -> None:
        super().__init__(reason, can_retry=stated_wait is not None, wait_seconds=stated_wait or 0.0)
        self.pause_seconds = OPEN_SECONDS if stated_wait is None else stated_wait
        self.is_with_all = is_with_all


class FhirServer:
    """Reads from one FHIR base for one client; safe for several threads."""

    def __init__(
        self,
        connector: Callable[[], HTTPConnection],
        clock: Callable[[], float],
        *,
        base: str,
        most_requests: int,
        wants_fresh: bool = False,
    ) -> None:
        """Use connections of *connector* to *base*, as the list of the client has it.

        *wants_fresh* asks for nothing from store.
        """
        self._connector = connector
        self._idle = IdleConnections(clock)
        self._headers = (
            f"Host: {urlsplit(base).netloc}",
            *_HEADERS,
            *((_FRESH,) if wants_fresh else ()),
        )
        self._clock = clock
        self._breaker = Breaker(clock)
        self._rests: dict[str, float] = {}
        """What the server is busy with, and until when it is not asked for that."""
        self._slots = Slots(most_requests)
        self._openers = ThreadPoolExecutor(most_requests, thread_name_prefix="fhir")
        self._round_trips: deque[float] = deque(maxlen=32)

    @property
    def is_paused(self) -> bool:
        """Whether the server is left alone at the moment."""
        return self._breaker.is_open

    def fetch(self, question: Question, terms: Terms) -> Steps[bytes]:
        """Return the JSON body that answers *question*, in steps that wait.

        A connection that was lost, or that the server gave up for idle (408), and a busy server
        that says when to return are tried once more in a search, if the wait and a usual round
        trip fit in the deadline.

        Raises:
            FetchFailedError: It could not be had; the reason is a fixed phrase.
        """
        while True:
            slot = yield from self._slots.taken()
            try:
                return (yield from self._guarded(question, terms, slot))
            except FetchFailedError as failure:
                if not self._is_worth_retrying(failure, terms):
                    if isinstance(failure, BusyError):
                        self._leave_alone(failure, terms.about)
                    raise
                terms.retries -= 1
                if failure.wait_seconds:
                    yield terms.deadline.clock() + failure.wait_seconds
            finally:
                slot.give_back()

    def close(self) -> None:
        """Give up threads and idle connections."""
        self._openers.shutdown(wait=False, cancel_futures=True)
        self._idle.close_all()

    def _is_worth_retrying(self, failure: FetchFailedError, terms: Terms) -> bool:
        needed = failure.wait_seconds + self._usual_seconds
        is_time_left = needed < terms.deadline.remaining_seconds()
        return failure.can_retry and terms.retries > 0 and is_time_left

    def _leave_alone(self, failure: BusyError, about: str) -> None:
        """Ask nothing for a while; or only nothing *about* what one part of the server refuses.

        Where all parts refuse, each counts as a failure, and those pause the server.
        """
        if failure.is_with_all:
            if failure.pause_seconds:
                self._breaker.pause(failure.pause_seconds)
            return
        seconds = min(failure.pause_seconds, LONGEST_OPEN_SECONDS)
        self._rests[about] = self._clock() + seconds
        self._breaker.failed()

    @property
    def _usual_seconds(self) -> float:
        """Return how long the server lately took; 0 if it has answered nothing yet."""
        return statistics.median(tuple(self._round_trips) or (0.0,))

    def _guarded(self, question: Question, terms: Terms, slot: Slot) -> Steps[bytes]:
        deadline = terms.deadline
        if deadline.has_passed:
            raise FetchFailedError(reasons.SERVER_TOO_SLOW)
        rests = self._clock() < self._rests.get(terms.about, 0.0)
        if rests or not self._breaker.lets_through(deadline):
            raise FetchFailedError(reasons.SERVER_PAUSED)
        started = self._clock()
        try:
            body = yield from self._once(question, terms, slot)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            self._breaker.failed()
            if deadline.has_passed:
                raise FetchFailedError(reasons.SERVER_TOO_SLOW) from None
            raise _connection_failure(error) from None
        except GeneratorExit:  # the deadline fell
            if self._clock() - started >= self._usual_seconds:
                self._breaker.failed()
            raise
        finally:
            self._breaker.abandoned()  # a probe is never kept, whatever happened
        self._round_trips.append(self._clock() - started)
        return body

    def _once(self, question: Question, terms: Terms, slot: Slot) -> Steps[bytes]:
        connection = yield from self._connection()
        if terms.deadline.has_passed:  # our turn came late; nobody waits for an answer
            self._idle.put(connection)
            raise FetchFailedError(reasons.SERVER_TOO_SLOW)
        try:
            self._send(question, terms, connection.sock)
            arriving = Arriving(
                connection.sock,
                most_bytes=terms.allowance.bytes_left,
                deadline=terms.deadline,
                on_whole=slot.give_back,
            )
            with contextlib.closing(arriving):
                yield arriving
                answer = arriving.answer()
            self._judge(answer)
            body = self._body(answer, terms)
        except BaseException as error:
            connection.close()
            if isinstance(error, GeneratorExit):  # the deadline fell
                self._open_for_next()
            raise
        if arriving.is_clean:
            self._idle.put(connection)
        else:
            connection.close()
        self._breaker.succeeded()
        if not _is_json(answer.headers.get("content-type"), body):
            raise FetchFailedError(reasons.SERVER_NOT_FHIR_JSON)
        return body

    def _connection(self) -> Steps[HTTPConnection]:
        """Return a connection that stood idle, or a new one that a thread has opened."""
        if (idle := self._idle.take()) is not None:
            return idle
        connection, opened = self._opening()
        try:
            yield opened
        except BaseException:  # the deadline fell, or it cannot be waited for
            if not opened.cancel():  # whoever asks next is glad of it
                opened.add_done_callback(partial(self._keep_opened, connection))
            raise
        opened.result()
        return connection

    def _open_for_next(self) -> None:
        """Open a connection that the next call need not wait for."""
        with contextlib.suppress(HTTPError, OSError):
            connection, opened = self._opening()
            opened.add_done_callback(partial(self._keep_opened, connection))

    def _opening(self) -> tuple[HTTPConnection, Future[None]]:
        """Return a new connection, and what ends when a thread has opened it."""
        connection = self._connector()
        connection.timeout = _LONGEST_OPENING_SECONDS
        try:
            return connection, self._openers.submit(connection.connect)
        except RuntimeError:  # no thread can be had: none is left, or the process ends
            raise NewConnectionError(connection, "no thread") from None

    def _keep_opened(self, connection: HTTPConnection, opened: Future[None]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            self._idle.put(connection)
        else:
            connection.close()

    def _send(self, question: Question, terms: Terms, connection: socket.socket) -> None:
        """Send *question*; from then on *connection* waits for nothing."""
        connection.settimeout(max(terms.deadline.remaining_seconds(), _SHORTEST_SECONDS))
        connection.sendall(question.as_sent(self._headers, terms.token))
        connection.settimeout(0)

    def _judge(self, answer: Answer) -> None:
        """Raise for any answer but a plain success, and tell the breaker.

        A server that does not do something (501) says so of itself and has not failed.
        """
        status = answer.status
        problem = reasons.of_status(status)
        if problem is None:
            return
        if status in reasons.BUSY_STATUSES:
            raise self._busy(answer, problem)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED:
            self._breaker.failed()
        else:
            self._breaker.succeeded()
        raise FetchFailedError(problem, can_retry=status == HTTPStatus.REQUEST_TIMEOUT)

    def _busy(self, answer: Answer, reason: str) -> FetchFailedError:
        self._breaker.abandoned()
        is_limit = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        return BusyError(reason, _stated_wait(answer), is_with_all=is_limit)

    def _body(self, answer: Answer, terms: Terms) -> bytes:
        """Return the decoded body, in pieces as long as there is time; the first is always read.

        Half characters are replaced, as in what the EHR sends.  A byte order mark, which some
        servers put before it, is left out (RFC 8259, section 8.1).
        """
        pieces: list[bytes] = []
        for piece in answer.pieces():
            if answer.is_too_long or not terms.allowance.takes_bytes(len(piece)):
                self._breaker.succeeded()
                raise FetchFailedError(reasons.TOO_MUCH)
            if pieces and not terms.deadline.leaves_time_to_read():
                raise FetchFailedError(reasons.SERVER_TOO_SLOW)
            pieces.append(piece)
        if not answer.is_whole:
            raise ProtocolError("the server hung up")
        return with_whole_characters(b"".join(pieces).removeprefix(BOM_UTF8))


def _stated_wait(answer: Answer) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, or None.

    Time:
        A moment is compared with the server's own ``Date``, so no clock of ours has a say.
    """
    stated = answer.headers.get("retry-after", "").strip()
    if stated.isdecimal() and stated.isascii():
        return float(stated[:6])
    until, now = (parsedate_tz(text) for text in (stated, answer.headers.get("date", "")))
    if until is None or now is None:
        return None
    try:
        return max(0.0, float(mktime_tz(until) - mktime_tz(now)))
    except (ValueError, OverflowError):
        return None


_WITHOUT_CONNECTION: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((PeerRefusedError,), reasons.SERVER_ADDRESS_REFUSED),
    ((NameResolutionError,), reasons.SERVER_NAME_UNKNOWN),
    ((ssl.SSLCertVerificationError, CertificateError), reasons.SERVER_NOT_TRUSTED),
    ((NewConnectionError, ssl.SSLError), reasons.SERVER_UNREACHABLE),
)
"""Why no connection came about; the first that fits says it."""


def _connection_failure(error: Exception) -> FetchFailedError:
    for kinds, reason in _WITHOUT_CONNECTION:
        if isinstance(error, kinds):
            return FetchFailedError(reason)
    if isinstance(error, TooSlowError | TimeoutError):
        return FetchFailedError(reasons.SERVER_TOO_SLOW)
    if isinstance(error, DecodeError | ValueError):
        return FetchFailedError(reasons.SERVER_NOT_FHIR_JSON)
    return FetchFailedError(reasons.SERVER_UNREACHABLE, can_retry=True)  # it stood, and was lost


def _is_json(content_type: str | None, body: bytes) -> bool:
    """Whether the answer says it is JSON, and looks like an object."""
    named = (content_type or "").split(";", 1)[0].strip().lower()
    return (not named or named in _JSON_TYPES) and body.lstrip()[:1] == b"{"
