"""Charts of any size through the rooms of the service, without HTTP; prints one JSON object.

Run in a process of its own, so that the peak of its memory is that of the chart.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import msgspec
import orjson

from benchmarks import bodies
from benchmarks.many_of_a_kind import steepest
from benchmarks.processes import ROOT, peak_bytes, reset_peak
from cds_service.evaluation import assess as assessing
from cds_service.evaluation.assessment import Finding
from cds_service.evaluation.case import Case
from cds_service.evaluation.rules.catalog import RED_FLAGS, WORK_UP, Rule
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.reading import read_chart
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import HookRequest, parse_request
from cds_service.knowledge.loading import load_knowledge
from cds_service.rendering.cards import render_cards
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.trust.profile import dev_profile

_COLLECTOR_THRESHOLD = (100_000, 20, 100)
_ROUNDS = 3
TODAY = date(2026, 3, 1)
_MOST_CHECKED = 10_000
"""Observations of the largest chart that fits into one request body."""


class Rooms:
    """The rooms that a chart passes."""

    def __init__(self) -> None:
        self.knowledge = load_knowledge()
        self._gateway = Gateway(self.knowledge, time.monotonic)
        self._client = dev_profile()
        self._options = CardOptions(
            client_id="bench", public_base_url="http://localhost", identity_key=bytes(32)
        )

    def request(self, body: bytes) -> HookRequest:
        """Return *body* as a checked request."""
        return parse_request(body, service_id=SERVICE_ID, allows_as_of=False)

    def cards(self, request: HookRequest) -> bytes:
        """Decode, read, evaluate and word the chart of *request*."""
        deadline = Deadline.after(60, time.monotonic)
        chart = read_chart(
            self._gateway.answers(request, self._client, deadline),
            patient_id=request.patient_id,
            as_of=TODAY,
            zone=ZoneInfo("UTC"),
            knowledge=self.knowledge,
            bases=frozenset(),
            fhir_server=None,
            sent=request.prefetch,
        )
        assessment = assessing.assess(chart, self.knowledge, TODAY)
        context = CardContext(patient_id=request.patient_id)
        cards = render_cards(assessment, self.knowledge, self._options, context)
        return msgspec.json.encode({"cards": cards})


def main() -> None:
    """Measure the sizes named on the command line."""
    rooms = Rooms()
    collect_as_served()
    sizes = [int(size) for size in sys.argv[1:]]
    found = {
        "cards": len(fired(rooms)),
        "charts": [_chart(rooms, size) for size in sizes],
        "rules": _rules(rooms),
        "steepest": steepest(
            bodies.sized_body(2_000, TODAY),
            rooms.knowledge,
            TODAY,
            lambda body: rooms.cards(rooms.request(body)),
        ),
    }
    print(json.dumps(found))  # noqa: T201 - read by benchmarks/run.py


def collect_as_served() -> None:
    """Let Python's collector leave alone what is there now, as a worker process does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLD)


def measured_apart(sizes: Sequence[int]) -> Mapping[str, Any]:
    """Return what this module measures for charts of these *sizes*, in a process of its own."""
    printed = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.in_process", *map(str, sizes)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    found: Mapping[str, Any] = json.loads(printed)
    return found


def fired(rooms: Rooms) -> list[dict[str, Any]]:
    """Return the cards that the smallest request of the benchmark gets."""
    answer = rooms.cards(rooms.request(bodies.sized_body(2_000, TODAY)))
    return list(json.loads(answer)["cards"])


def _chart(rooms: Rooms, count: int) -> Mapping[str, float]:
    """Return what a chart of *count* Observations costs, in CPU seconds and bytes."""
    observed = list(bodies.observations(count, TODAY))
    body = bodies.body(bodies.chart(TODAY), observed)
    del observed
    request = _request(body)
    before = reset_peak()
    rooms.cards(request)
    grown = peak_bytes() - before
    steps: dict[str, Callable[[], object]] = {
        "orjson": lambda: orjson.loads(body),
        "cards": lambda: rooms.cards(request),
    }
    if count <= _MOST_CHECKED:
        steps["check"] = lambda: rooms.request(body)
    return {"count": count, "bytes": len(body), "grown": grown, **_seconds(steps)}


def _rules(rooms: Rooms) -> Mapping[str, float]:
    """Return what a 60 KB request costs with every rule once and ten times."""
    body = bodies.sized_body(60_000, TODAY)

    def whole_road() -> object:
        return rooms.cards(rooms.request(body))

    def ten_times() -> object:
        with _rules_repeated(10):
            return whole_road()

    return _seconds({"once": whole_road, "ten_times": ten_times}, rounds=31)


@contextmanager
def _rules_repeated(times: int) -> Iterator[None]:
    """Let every rule be evaluated *times* times."""

    def repeated(rule: Rule) -> Rule:
        def run(case: Case, findings: Mapping[str, Finding]) -> Finding:
            for _ in range(times - 1):
                rule(case, findings)
            return rule(case, findings)

        return run

    def table(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
        return {card: repeated(rule) for card, rule in rules.items()}

    with (
        patch.object(assessing, "RED_FLAGS", table(RED_FLAGS)),
        patch.object(assessing, "WORK_UP", table(WORK_UP)),
    ):
        yield


def _seconds(steps: Mapping[str, Callable[[], object]], rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the median CPU time of each of *steps*, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            started = time.process_time()
            step()
            taken[name].append(time.process_time() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def _request(body: bytes) -> HookRequest:
    """Return *body* as a request without the strict check, which refuses the largest charts."""
    sent = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    prefetch = msgspec.json.decode(sent["prefetch"], type=dict[str, msgspec.Raw])
    return HookRequest(
        hook="patient-view",
        hook_instance="bench",
        patient_id=bodies.PATIENT_ID,
        user_id="Practitioner/bench",
        prefetch={key: bytes(value) for key, value in prefetch.items()},
    )


if __name__ == "__main__":
    main()
