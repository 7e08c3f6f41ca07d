"""Measure the service against its goals: one table of ratios, and ``docs/benchmarks.md``.

``--quick`` takes less than a minute; a whole run about six.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import sub
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import bodies  # noqa: E402 - the line above lets this file run by its path
from benchmarks.charts import CHART_SIZES, SIZES_QUICK, chart_rows  # noqa: E402
from benchmarks.http_calls import Connection, Load, measured, post  # noqa: E402
from benchmarks.in_process import measured_apart  # noqa: E402
from benchmarks.peer import SIZE as PEER_SIZE  # noqa: E402
from benchmarks.peer import peer_rows  # noqa: E402
from benchmarks.processes import Watched, free_port, running  # noqa: E402
from benchmarks.report import Row, markdown, page  # noqa: E402
from benchmarks.service_under_test import (  # noqa: E402
    DELAYS,
    Client,
    fhir_base,
    written_config,
)
from benchmarks.tail import TailBench  # noqa: E402
from cds_service.reference_routes import NULL, ORJSON  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
SIZES = {"2 KB": 2_000, "60 KB": 60_000, "1 MB": 1_000_000}
_LARGE_BYTES = 14_000_000
_SLICE_SECONDS = 0.6
_MOST_CALLS = 400
_CALLERS = 2
_STARTS = 5
_MANY_CALLERS = 32
_MANY_ROUNDS = 3
_HEALTH = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_BAD_TOKEN = "x.y.z"  # noqa: S105 - a token that is none
_OK = frozenset({200})
_REFUSED = frozenset({401})
_NOT_ANSWERED = frozenset({412, 503})
_FULL_OVER_NULL = {"2 KB": 0.30, "60 KB": 0.30, "1 MB": None}
_FULL_OVER_ORJSON = {"2 KB": None, "60 KB": 0.55, "1 MB": 1.0}
_PULL_GOAL = {20: 1.45, 100: 1.10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A running service, its client and the size of this run."""

    client: Client
    port: int
    fhir_port: int
    server: Watched
    started: float
    """The moment of its start, by ``time.perf_counter``."""
    today: date
    folder: Path
    rounds: int
    is_quick: bool

    def calls(self, count: int, body: bytes, path: str = bodies.SERVICE) -> list[bytes]:
        """Return *count* signed requests."""
        return [post(path, body, self.client.token()) for _ in range(count)]

    def load(
        self, requests: Sequence[bytes], expected: frozenset[int] = _OK, callers: int = 1
    ) -> Load:
        """Send *requests*; every answer must have one of the *expected* statuses."""
        load = measured(self.port, self.server, requests, callers=callers)
        if load.statuses - expected:
            raise SystemExit(f"Unexpected answers: {sorted(load.statuses)}. No figure would count.")
        return load


def main() -> None:
    """Run every measurement, print the table and write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer rounds and smaller charts")
    options.add_argument("--output", type=Path, default=PAGE, help="where to write the page")
    chosen = options.parse_args()
    _say("Reading charts in one process ...")
    found = measured_apart(SIZES_QUICK if chosen.quick else CHART_SIZES)
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_told(_rows(Path(folder), is_quick=chosen.quick)), *chart_rows(found)]
    print(markdown(rows))  # noqa: T201 - this is a command
    chosen.output.write_text(
        page(
            rows,
            cards=found["cards"],
            python=platform.python_version(),
            cores=os.cpu_count() or 1,
            mode="quick run" if chosen.quick else "whole run",
        ),
        encoding="utf-8",
    )


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - progress of a long command


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    """Say what has just been measured, as a run takes minutes."""
    for row in rows:
        _say(f"{row.area}: {row.what}")
        yield row


def _rows(folder: Path, *, is_quick: bool) -> Iterator[Row]:
    """Start what is needed and measure, one area after the other."""
    today = datetime.now(UTC).date()  # noqa: TID251 - a benchmark runs today
    port, fhir_port = free_port(), free_port()
    client = Client(f"http://127.0.0.1:{port}")
    config = written_config(folder, client, fhir_port)
    log = folder / "log"
    arguments = ("--today", today.isoformat())

    @contextmanager
    def service() -> Iterator[Bench]:
        started = time.perf_counter()
        command = ("bench-server", "--config", str(config))
        with running("cds_service", *command, port=port, log=log) as server:
            yield Bench(
                client=client,
                port=port,
                fhir_port=fhir_port,
                server=server,
                started=started,
                today=today,
                folder=folder,
                rounds=3 if is_quick else 5,
                is_quick=is_quick,
            )

    with running("benchmarks.delay_server", *arguments, port=fhir_port, log=log):
        yield from _starts(service)
        with service() as bench:
            yield from _prefetch(bench)
            yield from _refusing(bench)
            yield from _pull(bench)
            yield from _tail(bench).rows()
            body = bodies.sized_body(PEER_SIZE, today)
            yield from peer_rows(lambda count: bench.load(bench.calls(count, body)), body, log)
            yield from _memory(bench)


def _starts(service: Callable[[], AbstractContextManager[Bench]]) -> Iterator[Row]:
    """Yield how long the first good answer took, and the first request against the usual one.

    The server listens before its worker is ready, so the worker's health is asked for first.
    """
    lasted, ratios = [], []
    for _ in range(_STARTS):
        with service() as bench:
            connection = Connection(bench.port)
            connection.call(_HEALTH)
            connection.close()
            body = bodies.sized_body(SIZES["60 KB"], bench.today)
            first = bench.load(bench.calls(1, body)).median
            lasted.append(time.perf_counter() - bench.started)
            ratios.append(first / bench.load(bench.calls(50, body)).median)
    area, value = "Start-up", statistics.median(lasted)
    yield Row(area=area, what="to the first good answer", value=value, goal=2, unit="s")
    value = statistics.median(ratios)
    yield Row(area=area, what="first request / usual one", value=value, goal=3)


def _prefetch(bench: Bench) -> Iterator[Row]:
    """Yield the whole road against the reference routes, for each size of body."""
    for name, size in SIZES.items():
        body = bodies.sized_body(size, bench.today)
        loads = _in_turn(bench, body, (bodies.SERVICE, NULL, ORJSON))
        for reference, goals in ((NULL, _FULL_OVER_NULL), (ORJSON, _FULL_OVER_ORJSON)):
            pairs = list(zip(loads[bodies.SERVICE], loads[reference], strict=True))
            calls = statistics.median(full.per_second / other.per_second for full, other in pairs)
            cpu = statistics.median(other.cpu / full.cpu for full, other in pairs)
            what = f"{name}: service / {reference.rpartition('/')[2]}"
            goal = goals[name]
            yield Row(
                area="Prefetch", what=f"{what}, calls", value=calls, goal=goal, is_at_least=True
            )
            yield Row(area="Prefetch", what=f"{what}, speed by CPU", value=cpu)


def _in_turn(bench: Bench, body: bytes, paths: Sequence[str]) -> Mapping[str, list[Load]]:
    """Return the loads of each round, the routes taken in turn."""
    counts = {path: _calls_per_slice(bench, body, path) for path in paths}
    loads: dict[str, list[Load]] = {path: [] for path in paths}
    for _ in range(bench.rounds):
        for path in paths:
            requests = bench.calls(counts[path], body, path)
            loads[path].append(bench.load(requests, callers=_CALLERS))
    return loads


def _calls_per_slice(bench: Bench, body: bytes, path: str) -> int:
    seconds = bench.load(bench.calls(10, body, path)).median
    return max(10, min(_MOST_CALLS, int(_SLICE_SECONDS / seconds)))


def _refusing(bench: Bench) -> Iterator[Row]:
    """Yield what a bad token costs, with a small and with a large body."""
    small = bodies.sized_body(SIZES["2 KB"], bench.today)
    large = bodies.sized_body(SIZES["1 MB"], bench.today)
    full, refused, refused_large = [], [], []
    for _ in range(bench.rounds):
        full.append(bench.load(bench.calls(100, small)).cpu)
        wrong = post(bodies.SERVICE, small, _BAD_TOKEN)
        refused.append(bench.load([wrong] * 300, _REFUSED).cpu)
        wrong = post(bodies.SERVICE, large, _BAD_TOKEN)
        refused_large.append(bench.load([wrong] * 100, _REFUSED).cpu)
    area = "Refusing"
    cost = _median_ratio(refused, full)
    yield Row(area=area, what="bad token / good 2 KB call, CPU", value=cost, goal=0.8)
    cost = _median_ratio(refused_large, refused)
    yield Row(area=area, what="bad token with 1 MB / with 2 KB, CPU", value=cost)
    cost = _median_ratio(refused_large, full)
    yield Row(area=area, what="bad token with 1 MB / good 2 KB call, CPU", value=cost, goal=0.8)


def _pull(bench: Bench) -> Iterator[Row]:
    """Yield calls answered from a slow FHIR server against its slowest single search."""
    hooks = 5 if bench.is_quick else 10
    for delay in DELAYS:
        body = bodies.body_to_pull(fhir_base(bench.fhir_port, delay))
        bench.load(bench.calls(4, body))
        single, pulled = [], []
        for _ in range(bench.rounds):
            single.append(_single_search(bench, delay, hooks))
            pulled.append(bench.load(bench.calls(hooks, body)).median)
        ratio = _median_ratio(pulled, single)
        what = f"{delay} ms, 1 caller"
        yield Row(
            area="Pull", what=f"{what}: call / one search", value=ratio, goal=_PULL_GOAL[delay]
        )
        added = statistics.median(map(sub, pulled, single)) * 1000
        yield Row(area="Pull", what=f"{what}: added", value=added, goal=10, unit="ms")
    yield from _pull_of_many(bench, DELAYS[-1])


def _pull_of_many(bench: Bench, delay: int) -> Iterator[Row]:
    """Yield what many callers at once get from a FHIR server that takes *delay* milliseconds."""
    body = bodies.body_to_pull(fhir_base(bench.fhir_port, delay))

    def load(calls_each: int) -> Load:
        requests = bench.calls(_MANY_CALLERS * calls_each, body)
        return bench.load(requests, _OK | _NOT_ANSWERED, callers=_MANY_CALLERS)

    first, *many = load(1), *(load(3 if bench.is_quick else 8) for _ in range(_MANY_ROUNDS))
    limit = _MANY_CALLERS / (delay / 1000)
    share = statistics.median(each.complete * each.per_second / limit for each in many)
    what = f"{delay} ms, {_MANY_CALLERS} callers"
    yield Row(
        area="Pull", what=f"{what}: share of the limit", value=share, goal=0.40, is_at_least=True
    )
    complete = min(each.complete for each in many)
    yield Row(
        area="Pull", what=f"{what}: complete answers", value=complete, goal=1, is_at_least=True
    )
    tail = statistics.median(each.quantile(0.99) for each in many) / (delay / 1000)
    yield Row(area="Pull", what=f"{what}: p99 / delay", value=tail, goal=4)
    opening = max(first.seconds) / (delay / 1000)
    yield Row(area="Pull", what=f"{what}, their first calls: slowest / delay", value=opening)


def _single_search(bench: Bench, delay: int, count: int) -> float:
    """Return the median time of one search, asked without the service."""
    path = f"/{delay}/fhir/Procedure?patient={bodies.PATIENT_ID}"
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    connection = Connection(bench.fhir_port)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.call(request)
        times.append(time.perf_counter() - started)
    connection.close()
    return statistics.median(times)


def _tail(bench: Bench) -> TailBench:
    """Return the tail measurement, with the capacity as it is found now."""
    body = bodies.sized_body(SIZES["60 KB"], bench.today)
    closed = bench.load(bench.calls(200, body), callers=_CALLERS)
    return TailBench(
        client=bench.client,
        port=bench.port,
        fhir_port=bench.fhir_port,
        body=body,
        large_body=bodies.sized_body(_LARGE_BYTES, bench.today),
        folder=bench.folder,
        capacity=closed.per_second,
        seconds=2 if bench.is_quick else 5,
        rounds=1 if bench.is_quick else 3,
    )


def _memory(bench: Bench) -> Iterator[Row]:
    """Yield how much memory grows over many calls of every kind."""
    count = 400 if bench.is_quick else 20_000
    small, usual = (bodies.sized_body(SIZES[name], bench.today) for name in ("2 KB", "60 KB"))
    kinds = (small, usual, usual, small[:-1])
    expected = _OK | _REFUSED | {400}

    def mixed(calls: int) -> list[bytes]:
        wrong = post(bodies.SERVICE, small, _BAD_TOKEN)
        good = [post(bodies.SERVICE, kinds[n % 4], bench.client.token()) for n in range(calls)]
        return [request for pair in good for request in (pair, wrong)]

    bench.load(mixed(200), expected)
    before = bench.server.resident_bytes()
    for _ in range(count // 400):
        bench.load(mixed(200), expected)
    grown = (bench.server.resident_bytes() / before - 1) * 100
    yield Row(area="Memory", what=f"growth over {count} mixed calls", value=grown, goal=3, unit="%")


def _median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


if __name__ == "__main__":
    main()
