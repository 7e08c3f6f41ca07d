"""What does the chart say about this patient, in short lines?

Dates, numbers and our own words only; cards and the trace share these lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cds_service.chart.facts import OrderFact
from cds_service.chart.supply import Key, State
from cds_service.evaluation.answers import PassedOver
from cds_service.evaluation.assessment import Assessment, Explanation, Term, Verdict, Word
from cds_service.evaluation.case import MRI, Case
from cds_service.evaluation.cautions import Implant
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.pain import Course, Score, SiteCourse
from cds_service.evaluation.rules.bladder import past_residual, past_signs
from cds_service.evaluation.rules.scans import CONTRAST, PLAIN
from cds_service.evaluation.rules.wording import (
    implant_term,
    operation_words,
    sign_date,
    sign_term,
)
from cds_service.evaluation.workup import Dated, Workup
from cds_service.rendering.plain import plain_text
from cds_service.rendering.wording import Wording, listed, number
from cds_service.values import FhirDate, Side, lazy

_TESTS = (
    MRI,
    "ct-lumbar",
    "ct-myelogram",
    "xray-lumbar",
    "emg",
    "scs-procedure",
    "si-joint-injection",
    "si-joint-fusion",
)
_READ = (MRI, "ct-lumbar", "ct-myelogram", "xray-lumbar", "emg")
"""Tests whose report a person has to read."""
_VISITS = ("physiotherapy-contact", "spine-surgery-visit", "pain-clinic-contact")
_ORDERS = (
    MRI,
    "ct-lumbar",
    "ct-myelogram",
    "xray-lumbar",
    "emg",
    "physiotherapy-order",
    "spine-surgery-referral",
    "pain-clinic-referral",
    "psychology-referral",
    "scs-referral",
    "smoking-cessation-order",
)
_TOLD = frozenset({*_TESTS, *_VISITS, *_ORDERS})
_MRI_ORDERS = (CONTRAST, PLAIN)
_SCANS = ("mri-", "ct-", "xray-")
_NEEDLES = frozenset({"emg-lower-limb", "ct-myelogram-lumbar", "scs-evaluation-referral"})
_READ_STATES = frozenset({State.SUPPLIED, State.EMPTY})
_CODED = {
    "fact-deficit": "fact-deficit-coded",
    "fact-deficit-outdated": "fact-deficit-outdated-coded",
}
"""A weakness in words, and one that a diagnosis code stands for: nobody graded it."""
_SHOWN_SCORES = 6
_SHOWN_DATES = 3


@dataclass(frozen=True)
class Story:
    """Tells one assessment in lines of Markdown; what several cards say is worked out once."""

    assessment: Assessment
    wording: Wording

    def line(self, phrase: str, **words: Word) -> str:
        """Return a phrase of ``cards/phrases.yaml``, filled."""
        return self.wording.markdown(self.wording.knowledge.phrases[phrase], words)

    @lazy
    def chart(self) -> list[str]:
        """Return the operation, the scores and their course, and new weakness."""
        case = self.assessment.case
        if case is None:
            return []
        lines = [] if case.is_date_unknown else [self._operation(case), *self._past_signs(case)]
        if case.other_dss is not None:
            several = "operations-unclear" if case.is_date_unknown else "operation-interval"
            lines.append(self.line(f"fact-{several}"))
        if case.operation.undated:
            lines.append(self.line("fact-operations-undated", count=len(case.operation.undated)))
        scored = [site for site in case.pain.sites.values() if site.is_scored]
        lines += [self._series(case, site) for site in scored]
        leading = None if case.is_date_unknown else case.pain.leading
        if leading is not None and leading.course is not None:
            lines.append(self._course(case, leading))
            if leading.baseline is None:
                name = Term(kind="phrase", id=f"series-{leading.driver.value}")
                lines.append(self.line("no-baseline", series=name))
        return lines + self._deficits(case)

    @lazy
    def told(self) -> frozenset[str]:
        """Return the entries whose values ``chart`` already shows: scores and weakness."""
        case = self.assessment.case
        if case is None:
            return frozenset()
        scores = [
            score
            for site in case.pain.sites.values()
            if site.is_scored
            for score in (*site.before, *site.day_zero, *site.series)
        ]
        entries = [score.references for score in scores]
        entries += [deficit.references for deficit in case.motor.current]
        return frozenset(reference for references in entries for reference in references)

    def looked_at(self, said: frozenset[str] = frozenset()) -> list[str]:
        """Return tests and orders found, cards held back, parts unread and entries not used.

        *said* are unread parts that the card has already named.
        """
        lines = [*self._workup, *self._held]
        unread = self.assessment.unread.keys() - said
        if unread:
            lines.append(self.line("unread-also", keys=self.keys(unread)))
        return lines + self._set_aside

    def passed_over(self, entries: Iterable[PassedOver]) -> list[str]:
        """Return what was found and would have held the card back, with why it does not count.

        What ``looked_at`` already names with its reason is left out; of many sessions the last are
        named.
        """
        days: dict[tuple[str, str], set[str]] = {}
        for entry in entries:
            if entry.reference not in self._explained:
                days.setdefault(self._passed(entry), set()).add(entry.written)
        shown = [
            f"{name} {self._latest(written)} ({reason})" for (name, reason), written in days.items()
        ]
        return [self.line("fact-passed-over", tests="; ".join(shown))] if shown else []

    def _latest(self, days: Iterable[str]) -> str:
        return self.wording.listed(sorted(days, reverse=True), _SHOWN_DATES)

    def _passed(self, entry: PassedOver) -> tuple[str, str]:
        """Return what was found, and why it does not count."""
        test = self._phrase(f"test-{entry.concept}")
        name = self.line("passed-order", test=test) if entry.is_order else test
        words: dict[str, Word] = {}
        if entry.first is not None:
            words["date"] = entry.first
        if entry.limit is not None:
            words["limit"] = self.wording.threshold(entry.limit)
        return name, self.line(f"why-not-{entry.why}", **words)

    def cautions(self, orders: frozenset[str] = frozenset()) -> list[str]:
        """Return what speaks against a scan, contrast, x-rays or a needle in this patient.

        *orders* are those the card proposes; what matters for them alone is said too.
        """
        case = self.assessment.case
        if case is None or not orders:
            return self._known_cautions
        return self._known_cautions + [self.line(each) for each in self._before(case, orders)]

    @lazy
    def _known_cautions(self) -> list[str]:
        case = self.assessment.case
        if case is None:
            return []
        cautions = case.cautions
        lines = self._implants(cautions.implants_on_record)
        egfr = case.measures.latest("egfr")
        if egfr is not None and cautions.has_low_egfr:
            lines.append(
                self.line("caution-egfr", value=egfr.converted_from or egfr.value, date=egfr.on)
            )
        flags = {
            "caution-dialysis": cautions.is_on_dialysis,
            "caution-gadolinium-allergy": cautions.has_gadolinium_allergy,
            "caution-pregnancy": cautions.is_pregnant,
            "caution-anticoagulant": cautions.is_anticoagulated.is_yes,
            "caution-coagulopathy": cautions.has_coagulopathy.is_yes,
        }
        return lines + [self.line(phrase) for phrase, holds in flags.items() if holds]

    def _implants(self, implants: Iterable[Implant]) -> list[str]:
        """Return each kind of implant once, with its operation if nothing else tells of it."""
        alike: dict[tuple[str, str], list[FhirDate | None]] = {}
        for implant in implants:
            alike.setdefault((implant.kind, implant.mr_status.value), []).append(implant.performed)
        lines = []
        for (kind, status), days in alike.items():
            known = [day for day in days if day is not None]
            phrase = f"caution-implant-{status}"
            words: dict[str, Word] = {"implant": implant_term(kind)}
            if len(known) == len(days):
                words["date"] = max(known, key=lambda day: day.latest).written
                phrase = "caution-implant-operation"
            lines.append(self.line(phrase, **words))
        return lines

    def _before(self, case: Case, orders: frozenset[str]) -> Iterator[str]:
        """Yield what should be told or asked before one of *orders*, by phrase."""
        if not orders.isdisjoint(_MRI_ORDERS):
            yield from self._before_mri(case)
        if CONTRAST in orders:
            if case.measures.latest("egfr") is None or case.measures.unread("egfr"):
                yield "caution-egfr-missing"
            if case.chart.supply_of(Key.ALLERGIES).state not in _READ_STATES:
                yield "caution-allergy-missing"
        is_scanned = any(order.startswith(_SCANS) for order in orders)
        if is_scanned and case.cautions.is_pregnancy_unknown:
            yield "caution-pregnancy-missing"
        if not orders.isdisjoint(_NEEDLES) and case.cautions.is_bleeding_risk.unread:
            yield "caution-bleeding-missing"

    def _before_mri(self, case: Case) -> Iterator[str]:
        yield from self._for_the_scanner(case)
        if Key.CONDITIONS in case.chart.failed_keys:
            yield "caution-problems-missing"

    def _for_the_scanner(self, case: Case) -> Iterator[str]:
        for diagnosis in ("claustrophobia", "magnetic-metal"):
            if case.signs.conditions(diagnosis):
                yield f"caution-{diagnosis}"

    def scanner_note(self, orders: frozenset[str]) -> list[str]:
        """Return, in plain text, what whoever carries out an MRI among *orders* must know.

        Pregnancy and contrast have notes of their own.
        """
        case = self.assessment.case
        if case is None or orders.isdisjoint(_MRI_ORDERS):
            return []
        lines = self._implants(case.cautions.implants_on_record)
        lines += [self.line(each) for each in self._for_the_scanner(case)]
        return [plain_text(line) for line in lines]

    def explained(self, explanations: Iterable[Explanation]) -> list[str]:
        """Return *explanations* with their reasons."""
        lines = []
        for explanation in explanations:
            phenotype = self.wording.knowledge.phenotypes[explanation.phenotype]
            reasons = [
                self.wording.with_numbers(phenotype.points[reason].words)
                for reason in explanation.reasons
            ]
            if explanation.is_only_by_exclusion:
                reasons.append(self.wording.knowledge.phrases["only-by-exclusion"])
            words = {"title": phenotype.title, "reasons": "; ".join(reasons)}
            lines.append(self.line("fact-explanation", **words))
        return lines

    def keys(self, unread: Iterable[str]) -> str:
        """Return chart parts in words, with why they could not be read: each reason once."""
        names: dict[str | None, list[str]] = {}
        for key in sorted(unread):
            name = self.wording.knowledge.phrases.get(f"key-{key.lower()}", key)
            names.setdefault(self.assessment.unread.get(key), []).append(name)
        return "; ".join(self._unread(parts, reason) for reason, parts in names.items())

    def _unread(self, parts: Sequence[str], reason: str | None) -> str:
        if reason is None:
            return listed(parts)
        phrase = "unread-part" if len(parts) == 1 else "unread-parts"
        return self._said(phrase, parts=listed(parts), reason=reason)

    def _operation(self, case: Case) -> str:
        operation = case.operation
        found = operation.sides
        sides = [self._phrase(f"side-{s.value}") for s in Side if s in found] if found else []
        known = [*sorted(operation.levels), *sides]
        days: Word = case.dss
        if case.other_dss is not None:
            days = self._said("days-from-to", first=case.dss, last=case.other_dss)
        return self.line(
            "fact-operation",
            dss=days,
            place=f", {listed(known)}" if known else "",
            surgeries=operation.surgery_count,
            **operation_words(operation),
        )

    def _past_signs(self, case: Case) -> list[str]:
        """Return the signs of cauda equina compression that nobody has said to have cleared."""
        told = {
            (self.wording.term(sign_term(sign)), sign_date(sign)): None for sign in past_signs(case)
        }
        residual = past_residual(case)
        if residual is not None:
            name, unit = (
                self.wording.term(Term(kind="value-set", id="pvr")),
                self._phrase("unit-pvr"),
            )
            told[f"{name} {number(residual.value)} {unit}", residual.on.isoformat()] = None
        if not told:
            return []
        signs = listed([f"{name} ({date})" for name, date in told])
        return [self.line("fact-past-signs", signs=signs)]

    def _phrase(self, phrase: str) -> str:
        return self.wording.knowledge.phrases[phrase]

    def _said(self, phrase: str, **words: object) -> str:
        return self.wording.knowledge.said(phrase, **words)

    def _series(self, case: Case, site: SiteCourse) -> str:
        scores = [*([site.baseline] if site.baseline else []), *site.series[-_SHOWN_SCORES:]]
        shown = [self._score(case, score) for score in scores]
        if site.baseline and site.current:
            change = site.current.value - site.baseline.value
            sign = "+" if change > 0 else ""
            shown.append(self._said("fact-change", change=f"{sign}{number(change)}"))
        name = Term(kind="phrase", id=f"series-{site.driver.value}")
        return self.line("fact-series", series=name, scores=listed(shown))

    def _score(self, case: Case, score: Score) -> str:
        value = number(score.value)
        others = sorted({number(other) for other in score.others} - {value})
        phrase = "fact-score-of-several" if others else "fact-score"
        return self._said(phrase, score=value, day=case.day(score.day), others=listed(others))

    def _course(self, case: Case, site: SiteCourse) -> str:
        course = site.course or Course.INSUFFICIENT
        if course is Course.RETURNED and site.onset is not None and site.last_low is not None:
            if case.other_dss is not None:
                low, onset = case.day(site.last_low), case.day(site.onset)
                return self.line("fact-return-dates", low=low, onset=onset)
            return self.line("fact-return", low=site.last_low, onset=site.onset)
        name = course.value.lower().replace("_", "-")
        return self.line(
            "fact-course",
            course=Term(kind="phrase", id=f"course-{name}"),
            series=Term(kind="phrase", id=f"site-{site.driver.value}"),
        )

    def _deficits(self, case: Case) -> list[str]:
        lines = [self._deficit(case, deficit, "fact-deficit") for deficit in case.motor.current]
        lines += [
            self._deficit(case, deficit, "fact-deficit-outdated") for deficit in case.motor.outdated
        ]
        return lines

    def _deficit(self, case: Case, deficit: Deficit, phrase: str) -> str:
        words: dict[str, Word] = {
            "muscle": Term(kind="phrase", id=f"muscle-{deficit.muscle}"),
            "side": Term(kind="phrase", id=f"side-{deficit.side.value}"),
            "grade": deficit.grade,
            "reference": deficit.reference,
        }
        if deficit.seen_day is None:
            return self.line("fact-deficit-undated", **words)
        seen = deficit.written or case.day(deficit.seen_day)
        if deficit.onset is None and phrase == "fact-deficit":
            return self.line("fact-deficit-half-dated", date=seen, **words)
        onset = {} if deficit.onset is None else {"date": case.day(deficit.onset)}
        if deficit.is_coded:
            phrase = _CODED[phrase]
        return self.line(phrase, seen=seen, **onset, **words)

    @lazy
    def _workup(self) -> list[str]:
        case = self.assessment.case
        if case is None or case.workup.recorded.isdisjoint(_TOLD):
            return []
        workup = case.workup
        done = [self._dates(test, events) for test in _TESTS if (events := workup.done(test))]
        done += [
            self._dates(visit, events) for visit in _VISITS if (events := workup.visits(visit))
        ]
        ordered = [self._dates(test, events) for test in _ORDERS if (events := workup.orders(test))]
        lines = []
        if done:
            lines.append(self.line("fact-done", tests="; ".join(done)))
        if ordered:
            lines.append(self.line("fact-ordered", tests="; ".join(ordered)))
        lines += self._not_counted(case)
        lines += self._undated(workup)
        reports = {event.written for test in _READ for event in workup.done(test)}
        if reports:
            lines.append(self.line("report-not-read", dates=self._latest(reports)))
        return lines

    def _dates(self, test: str, events: Sequence[Dated]) -> str:
        """Return "lumbar MRI 2026-01-20 (before surgery)", latest first."""
        dates = [
            f"{event.written} ({self._earlier(event.day)})" if event.day < 0 else event.written
            for event in reversed(events)
        ]
        return f"{self._phrase(f'test-{test}')} {self.wording.listed(dates, _SHOWN_DATES)}"

    @lazy
    def _explained(self) -> frozenset[str]:
        """Return the tests and visits that ``looked_at`` lists as older than the operation."""
        case = self.assessment.case
        if case is None:
            return frozenset()
        return frozenset(
            event.reference
            for events in (*map(case.workup.done, _TESTS), *map(case.workup.visits, _VISITS))
            for event in events[-_SHOWN_DATES:]
            if event.day < 0
        )

    def _not_counted(self, case: Case) -> list[str]:
        """Return open orders that do not count: from before the operation, or stale drafts."""
        if not case.chart.orders:
            return []
        shown = []
        for test in _ORDERS:
            counted = {event.reference for event in case.workup.orders(test)}
            dates = sorted(
                (
                    f"{order.authored.written} ({self._why_no_order(case, order)})"
                    for order in case.chart.orders
                    if test in order.concepts
                    and order.authored is not None
                    and order.reference not in counted
                ),
                reverse=True,
            )
            if dates:
                shown.append(
                    f"{self._phrase(f'test-{test}')} {self.wording.listed(dates, _SHOWN_DATES)}"
                )
        return [self.line("fact-not-counted", tests="; ".join(shown))] if shown else []

    def _undated(self, workup: Workup) -> list[str]:
        """Return the tests, visits and orders on record that have no date."""
        if not workup.undated:
            return []
        done = [self._phrase(f"test-{t}") for t in _TESTS + _VISITS if (t, False) in workup.undated]
        ordered = [
            self._phrase("passed-order").replace("{test}", self._phrase(f"test-{test}"))
            for test in _ORDERS
            if (test, True) in workup.undated
        ]
        tests = "; ".join(done + ordered)
        return [self.line("fact-undated", tests=tests)] if tests else []

    def _why_no_order(self, case: Case, order: OrderFact) -> str:
        day = case.operation.dss(order.authored.latest) if order.authored is not None else 0
        if case.limits.met("order-first-day", day):
            return self._phrase("why-not-draft")
        return self._earlier(day) if day < 0 else self._phrase("why-not-day-of-surgery")

    def _earlier(self, day: int) -> str:
        """Return that *day*, negative, is before surgery, or may be if that is a month or year."""
        case = self.assessment.case
        other = case.other_dss if case is not None else None
        perhaps = case is not None and other is not None and day + other - case.dss >= 0
        return self._phrase(f"why-not-{'perhaps-' if perhaps else ''}before-surgery")

    @lazy
    def _held(self) -> list[str]:
        cards = self.wording.knowledge.cards
        return [
            self.line("fact-held", card=cards[finding.card].title, reason=finding.held_by)
            for finding in self.assessment.findings
            if finding.held_by and finding.verdict is Verdict.NOT_MET
        ]

    @lazy
    def _set_aside(self) -> list[str]:
        case = self.assessment.case
        reasons = Counter(entry.reason for entry in case.chart.set_aside) if case else Counter()
        return [
            self.line(
                "fact-set-aside" if count > 1 else "fact-set-aside-one", count=count, reason=reason
            )
            for reason, count in sorted(reasons.items())
        ]
