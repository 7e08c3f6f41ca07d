"""Which tests and referrals are done or ordered, and do they count for the present question?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from msgspec import Struct

from cds_service.chart.facts import Chart, EncounterFact, OrderFact, ProcedureFact, ReportFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import YES, Answer, PassedOver, found
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.values import FhirDate, lazy

DONE_KEYS = (Key.PROCEDURES, Key.DIAGNOSTIC_REPORTS, Key.IMAGING_STUDIES)
VISIT_KEYS = (Key.PROCEDURES, Key.ENCOUNTERS)
ORDER_KEYS = (Key.SERVICE_REQUESTS, Key.DIAGNOSTIC_REPORTS)
_TREATMENTS = frozenset({"physiotherapy-order", "scs-referral", "scs-procedure"})
"""Orders of which no diagnostic report tells, not even a preliminary one."""
REFERRAL_KEYS = (Key.SERVICE_REQUESTS, *VISIT_KEYS)

_Visit = ProcedureFact | EncounterFact
_Entry = _Visit | ReportFact | OrderFact


class Dated(Struct, frozen=True, kw_only=True):
    """A test, visit or order with its day since surgery and how many days ago that was.

    Time:
        Half a date (a month or a year) counts on its last possible day; cards say what is
        ``written``.
    """

    day: int
    age: int
    when: FhirDate
    reference: str
    concept: str
    is_order: bool = False

    @property
    def on(self) -> date:
        """The day it counts on."""
        return self.when.latest

    @property
    def written(self) -> str:
        """Its date as the chart gives it."""
        return self.when.written

    def passed_over(
        self, why: str, *, first: date | None = None, limit: str | None = None
    ) -> PassedOver:
        """Return this entry as one that does not count, with the reason."""
        return PassedOver(
            on=self.on,
            concept=self.concept,
            reference=self.reference,
            is_order=self.is_order,
            why=why,
            written=self.written,
            first=first,
            limit=limit,
        )


class Workup(Struct, frozen=True, dict=True):
    """Everything done and ordered, seen from one operation."""

    chart: Chart
    limits: Limits
    operation: Operation

    @lazy
    def recorded(self) -> frozenset[str]:
        """Return every concept of a test, visit or order on record; most questions ask for none."""
        chart = self.chart
        groups = (chart.procedures, chart.reports, chart.encounters, chart.orders)
        return frozenset(name for facts in groups for fact in facts for name in fact.concepts)

    def unread(self, keys: Iterable[str]) -> frozenset[str]:
        """Return which of *keys* could not be read completely."""
        failed = self.chart.failed_keys
        return failed.intersection(keys) if failed else failed

    def done(self, *concepts: str) -> tuple[Dated, ...]:
        """Return the finished tests of *concepts*, oldest first.

        Time:
            A test dated only to a month or year counts on its last possible day.
        """
        if self.recorded.isdisjoint(concepts):
            return ()
        wanted = frozenset(concepts)
        events = [
            self._dated(procedure.performed, procedure, wanted)
            for procedure in self.chart.procedures
            if procedure.concepts & wanted and procedure.performed is not None
        ]
        events += [
            self._dated(report.effective, report, wanted)
            for report in self.chart.reports
            if report.concepts & wanted and report.is_final and report.effective is not None
        ]
        return tuple(sorted(events, key=_order))

    def is_done(
        self, *concepts: str, from_day: int | None = None, newest: str | None = None
    ) -> Answer:
        """Return whether a test is done on or after *from_day* and no older than *newest* says."""
        if self.recorded.isdisjoint(concepts):
            return self._nothing(DONE_KEYS)
        return self.among(self.done(*concepts), DONE_KEYS, from_day=from_day, newest=newest)

    def visits(self, *concepts: str) -> tuple[Dated, ...]:
        """Return the contacts of *concepts* (encounters and procedures), oldest first.

        Time:
            A course of therapy that is one entry is a contact on its first and on its last day.
        """
        if self.recorded.isdisjoint(concepts):
            return ()
        wanted = frozenset(concepts)
        events = list(self.done(*concepts))
        events += [
            self._dated(encounter.started, encounter, wanted)
            for encounter in self.chart.encounters
            if encounter.concepts & wanted and encounter.started is not None
        ]
        known = {(event.reference, event.on) for event in events}
        entries: tuple[_Visit, ...] = (*self.chart.procedures, *self.chart.encounters)
        events += [
            self._dated(entry.other_day, entry, wanted)
            for entry in entries
            if entry.concepts & wanted
            and entry.other_day is not None
            and (entry.reference, entry.other_day.latest) not in known
        ]
        return tuple(sorted(events, key=_order))

    def orders(self, *concepts: str) -> tuple[Dated, ...]:
        """Return the open orders of *concepts* that may count, oldest first.

        Time:
            From ``order-first-day`` after surgery up to today; drafts no older than ``draft-age``
            unless the EHR named them in the hook context.  An examination whose report is not yet
            final counts as ordered on its day.
        """
        if self.recorded.isdisjoint(concepts):
            return ()
        wanted = frozenset(concepts)
        events = [
            self._dated(order.authored, order, wanted, is_order=True)
            for order in self.chart.orders
            if order.concepts & wanted and order.authored is not None and self._is_open(order)
        ]
        events += [
            self._dated(report.effective, report, wanted, is_order=True)
            for report in self.chart.reports
            if report.concepts & wanted and not report.is_final and report.effective is not None
        ]
        counted = [event for event in events if self.limits.met("order-first-day", event.day)]
        return tuple(sorted(counted, key=_order))

    def is_ordered(self, *concepts: str, newest: str, from_day: int | None = None) -> Answer:
        """Return whether an order is open, no older than *newest* says, from *from_day* on."""
        keys = (Key.SERVICE_REQUESTS,) if _TREATMENTS.issuperset(concepts) else ORDER_KEYS
        if self.recorded.isdisjoint(concepts):
            return self._nothing(keys)
        return self.among(self.orders(*concepts), keys, from_day=from_day, newest=newest)

    def is_referred(self, *concepts: str, newest: str, from_day: int | None = None) -> Answer:
        """Return whether a referral is open or a visit took place; *concepts* name both."""
        if self.recorded.isdisjoint(concepts):
            return self._nothing(REFERRAL_KEYS)
        visits = self.visits(*concepts)
        later = [visit for visit in visits if self.limits.met("order-first-day", visit.day)]
        events = (*self.orders(*concepts), *later)
        return self.among(events, REFERRAL_KEYS, from_day=from_day, newest=newest)

    @lazy
    def undated(self) -> frozenset[tuple[str, bool]]:
        """Return what is on record without any date, and whether as an order; it never counts."""
        chart = self.chart
        done = [entry.concepts for entry in chart.procedures if entry.performed is None]
        done += [entry.concepts for entry in chart.encounters if entry.started is None]
        ordered = [entry.concepts for entry in chart.orders if entry.authored is None]
        for report in chart.reports:
            if report.effective is None:
                (done if report.is_final else ordered).append(report.concepts)
        return frozenset(
            (concept, is_order)
            for is_order, entries in ((False, done), (True, ordered))
            for concepts in entries
            for concept in concepts
        )

    def _nothing(self, keys: Iterable[str]) -> Answer:
        """Return the answer when nothing is on record: no, unless *keys* may hold something."""
        return found(flag=False, unread=self.unread(keys))

    def among(
        self,
        events: Iterable[Dated],
        keys: Iterable[str],
        *,
        from_day: int | None = None,
        newest: str | None = None,
    ) -> Answer:
        """Return whether one of *events* is from *from_day* on and no older than *newest* says.

        Missing data:
            *keys* are the chart parts that may hold more of them.
        """
        passed = []
        for event in events:
            why = self._why_not(event, from_day, newest)
            if why is None:
                return YES
            passed.append(why)
        return found(flag=False, unread=self.unread(keys), passed_over=tuple(passed))

    def _why_not(self, event: Dated, from_day: int | None, newest: str | None) -> PassedOver | None:
        """Return why *event* does not count; None if it does."""
        if from_day is not None and event.day < from_day:
            if event.day < 0:
                return event.passed_over("before-surgery")
            first = self.operation.day + timedelta(days=from_day)
            return event.passed_over("too-early", first=first)
        if newest is not None and not self.limits.met(newest, event.age):
            return event.passed_over("too-old", limit=newest)
        return None

    def _is_open(self, order: OrderFact) -> bool:
        if order.status != "draft":
            return True
        if order.authored is None:
            return False
        return self.limits.met("draft-age", (self.limits.as_of - order.authored.latest).days)

    def _dated(
        self, when: FhirDate, entry: _Entry, wanted: frozenset[str], *, is_order: bool = False
    ) -> Dated:
        on = when.latest
        return Dated(
            day=self.operation.dss(on),
            age=(self.limits.as_of - on).days,
            when=when,
            reference=entry.reference,
            concept=min(entry.concepts & wanted),
            is_order=is_order,
        )


def _order(event: Dated) -> tuple[int, str]:
    return event.day, event.reference
