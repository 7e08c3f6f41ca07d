"""What this process counts for Prometheus: calls, cards, answers, FHIR, ledger.

Counts only.  Labels come from the configuration and from our own fixed words (client, card, key,
outcome ...), so their number is bounded and none of them can hold anything of a patient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cds_service.fhir.metrics import LATENCY_BOUNDS_SECONDS, PullTotals
from cds_service.ledger.records import CallRecord, LedgerStatus, NewAnswer

_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 1.0, 2.5)
"""0.45 is the usual deadline of a call."""
_NO_CLIENT = "unknown"
_NO_REASON, _UNKNOWN_REASON = "none", "other"


class Metrics:
    """Everything this process counts, in a registry of its own."""

    def __init__(self, cards: Iterable[str]) -> None:
        """Begin at zero; *cards* are those whose rule could fail."""
        self.registry = CollectorRegistry(auto_describe=False)
        self._calls = self._counter(
            "cds_hook_calls",
            "Hook calls that were recorded, by how they ended.",
            ("client", "outcome", "status"),
        )
        self._seconds = self._histogram(
            "cds_hook_call_seconds",
            "Time of a hook call, without its way through the network.",
            ("client",),
        )
        self._step_seconds = self._histogram(
            "cds_hook_step_seconds", "Time of one step of a hook call.", ("step",)
        )
        self._cards = self._counter(
            "cds_cards",
            "Cards whose rule was met, by what became of them.",
            ("client", "card", "indicator", "state"),
        )
        self._unread = self._counter(
            "cds_unread_parts",
            "Calls in which a part of the chart was not, or not wholly, read.",
            ("client", "key"),
        )
        self._unmapped = self._counter(
            "cds_calls_with_unknown_codes",
            "Calls with codes that mean nothing to the service.",
            ("client",),
        )
        self._faulty = self._counter(
            "cds_rule_failures",
            "Rules that failed by a fault of ours; their card was lost.",
            ("card",),
        )
        for card in cards:
            self._faulty(card)  # a count that begins at one would look like no increase
        self._feedback = self._counter(
            "cds_feedback_items",
            "What users did with cards, as the EHR told us.",
            ("client", "outcome", "reason"),
        )
        self._answers = self._counter(
            "cds_http_answers",
            "Answers to hook addresses by status; 401, 429 and 503 are seen only here.",
            ("client", "address", "status"),
        )

    def _counter(self, name: str, words: str, labels: tuple[str, ...]) -> Callable[..., Counter]:
        """Return what finds the counter of given values of *labels*; each is looked for once."""
        return cache(Counter(name, words, labels, registry=self.registry).labels)

    def _histogram(
        self, name: str, words: str, labels: tuple[str, ...]
    ) -> Callable[..., Histogram]:
        """Return what finds the histogram of given values of *labels*; each is looked for once."""
        found = Histogram(name, words, labels, buckets=_BOUNDS_SECONDS, registry=self.registry)
        return cache(found.labels)

    def observe_call(self, call: CallRecord) -> None:
        """Count one recorded call."""
        client = call.client
        self._calls(client, call.outcome.value, str(call.http_status)).inc()
        self._seconds(client).observe(call.total_ms / 1000)
        for step, milliseconds in call.steps_ms.items():
            self._step_seconds(step).observe(milliseconds / 1000)
        for card in call.showings:
            self._cards(client, card.card, card.indicator, card.state.value).inc()
        for key in call.unread:
            self._unread(client, key).inc()
        if call.unmapped:
            self._unmapped(client).inc()
        for card_id in call.faulty_rules:
            self._faulty(card_id).inc()

    def observe_feedback(self, client: str, answers: Iterable[NewAnswer]) -> None:
        """Count what was kept and not kept before; reasons we do not know count as one."""
        for answer in answers:
            otherwise = _UNKNOWN_REASON if answer.has_reason else _NO_REASON
            self._feedback(client, answer.outcome, answer.reason or otherwise).inc()

    def observe_answer(self, client: str | None, address: str, status: int) -> None:
        """Count one answer to an address of ours (its pattern, not what was sent)."""
        self._answers(client or _NO_CLIENT, address, str(status)).inc()


class Numbers(Collector):
    """Whatever a function returns when the metrics are read."""

    def __init__(self, numbers: Callable[[], Iterable[Metric]]) -> None:
        self._numbers = numbers

    # typing has no "override" before Python 3.12.
    def collect(self) -> Iterable[Metric]:  # type: ignore[explicit-override]
        """Return the numbers of now."""
        return self._numbers()


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What other rooms count or know, asked for when the metrics are read."""

    pulls: Callable[[], Iterable[PullTotals]]
    paused_servers: Callable[[], Iterable[tuple[str, str]]]
    ledger: Callable[[], LedgerStatus]
    is_replay_store_lost: Callable[[], bool]

    def numbers(self) -> Iterator[Metric]:
        """Return the numbers of now."""
        yield from self._of_pulls()
        yield from self._of_ledger()
        paused = GaugeMetricFamily(
            "cds_fhir_paused_processes",
            "Processes that leave a failing FHIR server alone for a while.",
            labels=["client", "base"],
        )
        for client, base in self.paused_servers():
            paused.add_metric([client, base], 1)
        yield paused
        yield GaugeMetricFamily(
            "cds_replay_store_lost_processes",
            "Processes that cannot write the store of used tokens.",
            value=int(self.is_replay_store_lost()),
        )

    def _of_pulls(self) -> Iterator[Metric]:
        names = ["client", "base", "key"]
        endings = CounterMetricFamily(
            "cds_fhir_parts",
            "Parts of charts by how they could be read, and why not.",
            labels=[*names, "outcome", "reason"],
        )
        seconds = HistogramMetricFamily(
            "cds_fhir_part_seconds", "Time to read one part of a chart.", labels=names
        )
        pages = CounterMetricFamily("cds_fhir_pages", "Pages read.", labels=names)
        sizes = CounterMetricFamily("cds_fhir_bytes", "Bytes read.", labels=names)
        sums: dict[tuple[str, str, str], _Cost] = {}
        for total in self.pulls():
            place = (total.client, total.base, total.key)
            endings.add_metric([*place, total.outcome.value, total.reason or ""], total.calls)
            sums[place] = sums.get(place, _Cost()).plus(total)
        for place, cost in sums.items():
            seconds.add_metric(list(place), cost.buckets(), cost.seconds)
            pages.add_metric(list(place), cost.pages)
            sizes.add_metric(list(place), cost.bytes)
        yield from (endings, seconds, pages, sizes)

    def _of_ledger(self) -> Iterator[Metric]:
        status = self.ledger()
        calls = CounterMetricFamily(
            "cds_ledger_calls", "Calls kept in the ledger, or lost.", labels=["result"]
        )
        calls.add_metric(["kept"], status.calls.kept)
        calls.add_metric(["lost"], status.calls.lost)
        yield calls
        items = CounterMetricFamily(
            "cds_ledger_feedback_items",
            "Items of feedback by what became of them.",
            labels=["result"],
        )
        known = status.feedback.kept - status.feedback.unknown_cards
        items.add_metric(["kept"], known)
        items.add_metric(["repeated"], status.feedback.repeated)
        items.add_metric(["unknown card"], status.feedback.unknown_cards)
        items.add_metric(["refused"], status.feedback.refused)
        yield items
        yield CounterMetricFamily(
            "cds_ledger_snoozes_unread",
            "Calls whose cards were shown although it could not be read what holds them back.",
            value=status.calls.snoozes_unread,
        )
        yield GaugeMetricFamily(
            "cds_ledger_lost_processes",
            "Processes that cannot write the ledger.",
            value=int(not status.is_writable),
        )
        yield GaugeMetricFamily(
            "cds_ledger_unread_processes",
            "Processes that cannot read what holds cards back; they show all of them.",
            value=int(not status.is_readable),
        )
        yield GaugeMetricFamily(
            "cds_ledger_waiting_calls",
            "Calls that wait in memory to be written.",
            value=status.waiting,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What one key of one FHIR server cost, over all endings."""

    latencies: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1)
    seconds: float = 0.0
    pages: int = 0
    bytes: int = 0

    def plus(self, total: PullTotals) -> _Cost:
        """Return this cost with *total* added."""
        both = zip(self.latencies, total.latencies, strict=True)
        return _Cost(
            latencies=tuple(mine + more for mine, more in both),
            seconds=self.seconds + total.seconds,
            pages=self.pages + total.pages,
            bytes=self.bytes + total.bytes,
        )

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with how many parts took no longer."""
        bounds = [*map(str, LATENCY_BOUNDS_SECONDS), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.latencies)), strict=True))
