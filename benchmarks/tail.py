"""The slowest calls: at half load, beside unpleasant neighbours, and at four times the capacity.

Calls are sent at a fixed pace, whether or not earlier ones have been answered, from as many
connections as are needed for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from statistics import median

from benchmarks import bodies
from benchmarks.http_calls import Connection, post
from benchmarks.pace import Called, paced
from benchmarks.proxied import SLOW_CLIENTS, nginx_before, slow_clients
from benchmarks.report import Row
from benchmarks.service_under_test import SLOW_DELAYS, Client, fhir_base

BAD_TOKENS_PER_SECOND = 200
ANSWER_SECONDS = 0.5
REFUSAL_SECONDS = 0.05
_SLOW_CALLERS = 8
_CALLERS = 32
_OVERLOAD = 4
_OVERLOAD_CALLERS = 128
_SETTLING_SECONDS = 3
_BAD_TOKEN = "x.y.z"  # noqa: S105 - a token that is none


def in_time(call: Called) -> bool:
    """Whether *call* was answered in time, or refused for want of room at once."""
    return (call.status == HTTPStatus.OK and call.seconds <= ANSWER_SECONDS) or (
        call.status == HTTPStatus.SERVICE_UNAVAILABLE and call.seconds <= REFUSAL_SECONDS
    )


def quantile(calls: Sequence[Called], share: float) -> float:
    """Return the time that *share* of the *calls* did not exceed."""
    seconds = sorted(call.seconds for call in calls)
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailBench:
    """A running service, its client and how long each measurement lasts."""

    client: Client
    port: int
    fhir_port: int
    body: bytes
    large_body: bytes
    folder: Path
    capacity: float
    """Calls a second that the service answers when they come one after the other."""
    seconds: float
    rounds: int

    def rows(self) -> Iterator[Row]:
        """Yield every figure of this module; ratios are the median of several rounds."""
        halves = [self._paced(self.capacity / 2) for _ in range(self.rounds)]
        value = median(quantile(half, 0.99) / quantile(half, 0.5) for half in halves)
        yield Row(area="Tail", what="half load: p99 / median", value=value, goal=4)
        for what, neighbour in self._neighbours():
            value = self._beside(partial(running, neighbour))
            yield Row(area="Tail", what=f"p99 beside {what} / alone", value=value, goal=2)
        yield from self._behind_nginx()
        floods = [
            self._paced(self.capacity * _OVERLOAD, _OVERLOAD_CALLERS) for _ in range(self.rounds)
        ]
        yield Row(
            area="Tail",
            what=f"{_OVERLOAD} times the capacity: answered in 500 ms or refused in 50 ms",
            value=median(sum(map(in_time, flood)) / len(flood) for flood in floods),
            goal=0.99,
            is_at_least=True,
        )

    def _behind_nginx(self) -> Iterator[Row]:
        with nginx_before(self.port, self.folder) as port:
            if port is None:
                return
            value = self._beside(partial(_settled_slow_clients, port), port)
        what = f"p99 behind nginx beside {SLOW_CLIENTS} slow clients / alone"
        yield Row(area="Tail", what=what, value=value, goal=2)

    def _beside(
        self, neighbour: Callable[[], AbstractContextManager[None]], port: int | None = None
    ) -> float:
        """Return the p99 beside *neighbour* over that without it, in turn, at a quarter load."""
        ratios = []
        for _ in range(self.rounds):
            alone = self._paced(self.capacity / 4, port=port)
            with neighbour():
                beside = self._paced(self.capacity / 4, port=port)
            ratios.append(quantile(beside, 0.99) / quantile(alone, 0.99))
        return median(ratios)

    def _paced(
        self, per_second: float, callers: int = _CALLERS, port: int | None = None
    ) -> list[Called]:
        count = max(callers, int(per_second * self.seconds))
        requests = [post(bodies.SERVICE, self.body, self.client.token()) for _ in range(count)]
        return paced(port or self.port, requests, per_second, callers)

    def _neighbours(self) -> Iterator[tuple[str, Callable[[threading.Event], None]]]:
        wrong = post(bodies.SERVICE, self.body, _BAD_TOKEN)
        yield (
            f"{BAD_TOKENS_PER_SECOND} bad tokens a second",
            lambda end: self._repeat(end, lambda: wrong, 1 / BAD_TOKENS_PER_SECOND),
        )
        large = self.large_body
        yield "bodies of 14 MB", lambda end: self._repeat(end, lambda: self._signed(large), 0)
        for milliseconds in SLOW_DELAYS:
            slow = bodies.body_to_pull(fhir_base(self.fhir_port, milliseconds))
            what = f"{_SLOW_CALLERS} callers whose FHIR server needs {milliseconds} ms"
            yield what, partial(self._many, body=slow)

    def _signed(self, body: bytes) -> bytes:
        return post(bodies.SERVICE, body, self.client.token())

    def _many(self, end: threading.Event, body: bytes) -> None:
        threads = [
            threading.Thread(target=self._repeat, args=(end, lambda: self._signed(body), 0))
            for _ in range(_SLOW_CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _repeat(
        self, end: threading.Event, request: Callable[[], bytes], pause_seconds: float
    ) -> None:
        connection = Connection(self.port)
        while not end.is_set():
            connection.call(request())
            time.sleep(pause_seconds)
        connection.close()


@contextmanager
def _settled_slow_clients(port: int) -> Iterator[None]:
    with slow_clients(port):
        time.sleep(_SETTLING_SECONDS)
        yield


@contextmanager
def running(neighbour: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let *neighbour* call the service until the block ends."""
    end = threading.Event()
    thread = threading.Thread(target=neighbour, args=(end,))
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
