"""What care was given so far: physiotherapy, drug trials, opioids, smoking, screens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct

from cds_service.chart.facts import Chart, DrugFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import NO, YES, Answer, PassedOver, any_of, found, of
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.measures import Measures
from cds_service.evaluation.signs import Signs
from cds_service.evaluation.workup import VISIT_KEYS, Dated, Workup
from cds_service.values import FhirDate, lazy

DRUG_KEYS = (Key.MEDICATION_REQUESTS, Key.MEDICATION_STATEMENTS)
TRIAL_CLASSES = (
    "nsaid",
    "acetaminophen",
    "gabapentinoid",
    "snri",
    "tca",
    "topical-analgesic",
)
NEUROPATHIC_CLASSES = ("gabapentinoid", "snri", "tca")
_TRIED = frozenset({"active", "completed", "stopped", "on-hold"})
_SUBSTITUTES = frozenset({"buprenorphine", "methadone"})
"""Opioids that may treat a use disorder."""
_ONE_DAY = timedelta(days=1)
_ALLOWED = frozenset({"answer-present"})
_REFUSED = frozenset({"answer-no", "answer-absent"})


class Clearance(Struct, frozen=True, kw_only=True):
    """The surgeon's answer to whether physiotherapy may begin; of one day's answers no counts."""

    when: FhirDate
    is_given: bool
    reference: str


class Care(Struct, frozen=True, dict=True):
    """Conservative care seen from one operation."""

    chart: Chart
    limits: Limits
    operation: Operation
    workup: Workup
    signs: Signs
    measures: Measures

    # Physiotherapy

    @lazy
    def _all_contacts(self) -> tuple[tuple[Dated, PassedOver | None], ...]:
        """Return every therapy contact, with the reason if it does not count."""
        visits = self.workup.visits("physiotherapy-contact")
        if not visits:
            return ()
        inpatient = {p.reference for p in self.chart.procedures if p.is_inpatient}
        inpatient |= {e.reference for e in self.chart.encounters if e.is_inpatient}
        first = self.operation.day + timedelta(days=self.limits.first_day("pt-count-day"))
        contacts: list[tuple[Dated, PassedOver | None]] = []
        for contact in visits:
            why = None
            if contact.day < 0:
                why = contact.passed_over("before-surgery")
            elif not self.limits.met("pt-count-day", contact.day):
                why = contact.passed_over("too-early", first=first)
            elif contact.reference in inpatient:
                why = contact.passed_over("in-hospital")
            contacts.append((contact, why))
        return tuple(contacts)

    @lazy
    def contacts(self) -> tuple[Dated, ...]:
        """Return the therapy contacts that count: late enough and not known to be in hospital."""
        return tuple(contact for contact, why in self._all_contacts if why is None)

    @lazy
    def is_therapy_done(self) -> Answer:
        """Return whether there was any therapy contact that counts."""
        return found(bool(self.contacts), self.workup.unread(VISIT_KEYS))

    @lazy
    def is_therapy_recent(self) -> Answer:
        """Return whether the last contact is recent."""
        return self._has_contact("pt-recent", "too-old")

    @lazy
    def is_therapy_only_early(self) -> bool:
        """Whether there is recent therapy since the operation, and none of it counts."""
        since = [(contact, why) for contact, why in self._all_contacts if contact.day >= 0]
        recent = [why for contact, why in since if self.limits.met("pt-recent", contact.age)]
        return bool(recent) and None not in recent

    @lazy
    def is_therapy_tried(self) -> Answer:
        """Return whether the first contact is long enough ago to call it a trial."""
        return self._has_contact("pt-trial-age", "too-recent")

    def _has_contact(self, limit: str, why_not: str) -> Answer:
        passed = [why for _, why in self._all_contacts if why is not None]
        for contact in self.contacts:
            if self.limits.met(limit, contact.age):
                return YES
            passed.append(contact.passed_over(why_not, limit=limit))
        return found(flag=False, unread=self.workup.unread(VISIT_KEYS), passed_over=tuple(passed))

    @lazy
    def clearance(self) -> Clearance | None:
        """Return the surgeon's latest answer since the operation on physiotherapy.

        Missing data:
            None also when findings are not completely supplied, or when the latest answer is
            neither yes nor no: what was said last cannot be told.
        """
        if self.workup.unread((Key.FINDINGS,)):
            return None
        since = [
            (o.effective, o)
            for o in self.chart.observed.get("surgeon-clearance", ())
            if o.choice and o.effective and self.operation.dss(o.effective.latest) >= 0
        ]
        if not since:
            return None
        when, latest = max(
            since, key=lambda said: (said[0].latest, _caution(said[1].choice), said[1].reference)
        )
        if latest.choice.isdisjoint(_ALLOWED | _REFUSED):
            return None
        is_given = latest.choice.isdisjoint(_REFUSED)
        return Clearance(when=when, is_given=is_given, reference=latest.reference)

    @lazy
    def is_therapy_cleared(self) -> Answer:
        """Return whether the surgeon's latest answer allows physiotherapy."""
        is_given = self.clearance is not None and self.clearance.is_given
        return found(is_given, self.workup.unread((Key.FINDINGS,)))

    # Drugs

    @lazy
    def unread_drugs(self) -> frozenset[str]:
        """Return the drug parts of the chart that could not be read completely."""
        return self.workup.unread(DRUG_KEYS)

    @lazy
    def _drugs(self) -> Mapping[str, Sequence[DrugFact]]:
        """Return the drugs of each concept, in the order of the chart."""
        by_concept: dict[str, list[DrugFact]] = {}
        for drug in self.chart.drugs:
            for concept in drug.concepts:
                by_concept.setdefault(concept, []).append(drug)
        return by_concept

    def taken(self, concept: str) -> tuple[DrugFact, ...]:
        """Return the active drugs of *concept*."""
        return tuple([d for d in self._drugs.get(concept, ()) if d.status == "active"])

    def is_taken(self, concept: str) -> Answer:
        """Return whether a drug of *concept* is active."""
        return found(bool(self.taken(concept)), self.unread_drugs)

    def is_on_record(self, concept: str) -> bool:
        """Whether a drug of *concept* was prescribed, whatever became of it."""
        return concept in self._drugs

    def tried(self, classes: Iterable[str]) -> tuple[str, ...]:
        """Return which drug *classes* were really tried after the operation."""
        return tuple([name for name in classes if name in self._drugs and self._is_tried(name)])

    def has_tried(self, classes: tuple[str, ...], threshold: str) -> Answer:
        """Return whether enough distinct *classes* were tried."""
        enough = self.limits.met(threshold, len(self.tried(classes)))
        return found(enough, self.unread_drugs)

    @lazy
    def has_tried_neuropathic(self) -> Answer:
        """Return whether a drug class for nerve pain was among the trials."""
        return found(bool(self.tried(NEUROPATHIC_CLASSES)), self.unread_drugs)

    @lazy
    def may_have_tried_more(self) -> bool:
        """Return whether a drug of this time that nothing identifies may have been one more."""
        return any(map(self._runs_late, self.chart.unidentified_courses))

    def _is_tried(self, concept: str) -> bool:
        """Return whether a drug of *concept* ran long enough late enough after the operation.

        Time:
            Days to come do not count.  Without a stated end a course may have run until today;
            without a first day nobody knows, and it counts.
        """
        courses = [
            drug
            for drug in self._drugs.get(concept, ())
            if drug.status in _TRIED and self._runs_late(drug)
        ]
        if not courses:
            return False
        today = self.limits.as_of
        known = [
            (drug.started.latest, min(drug.ended.latest, today))
            if drug.ended is not None
            else (drug.started.earliest, today)
            for drug in courses
            if drug.started is not None
        ]
        return len(known) < len(courses) or self.limits.met("drug-days", _covered(known))

    def _runs_late(self, drug: DrugFact) -> bool:
        """Return whether a drug was written or still running late enough after the operation."""
        days = [date_ for date_ in (drug.started, drug.ended) if date_ is not None]
        if drug.status == "active" and (drug.ended is None):
            return self.limits.met("drug-day", self.operation.dss(self.limits.as_of))
        return any(self.limits.met("drug-day", self.operation.dss(d.latest)) for d in days)

    # Opioids

    @lazy
    def opioids(self) -> tuple[DrugFact, ...]:
        """Return the active opioids; what treats a use disorder only if there is no other."""
        taken = self.taken("opioid")
        return tuple([drug for drug in taken if not self._is_substitute(drug)]) or taken

    @lazy
    def has_substitute_beside(self) -> bool:
        """Return whether a use disorder is treated with an opioid beside those that count."""
        return len(self.opioids) < len(self.taken("opioid"))

    @lazy
    def _has_use_disorder(self) -> Answer:
        """Return whether a use disorder is coded.

        It may be in remission: what is taken for it keeps it so.
        """
        concept = "substance-use-disorder"
        is_coded = any(concept in condition.concepts for condition in self.chart.conditions)
        return self.signs.has(concept) | of(is_coded)

    def _is_substitute(self, drug: DrugFact) -> bool:
        """Return whether an opioid is certainly taken for a use disorder."""
        if "buprenorphine-with-naloxone" in drug.concepts:
            return True
        return bool(drug.concepts & _SUBSTITUTES) and self._has_use_disorder.is_yes

    @lazy
    def opioid_since(self) -> FhirDate | None:
        """Return the first day of the unbroken opioid series, if it is dated."""
        starts = [d.started for d in self.opioids if d.started is not None]
        if not starts:
            return None
        since = min(starts, key=_last_day)
        earlier = [
            (drug.started, drug.ended.latest)
            for drug in self._drugs.get("opioid", ())
            if drug.started is not None and drug.ended is not None and not self._is_substitute(drug)
        ]
        earlier.sort(key=lambda course: (course[0].latest, course[1]), reverse=True)
        for started, ended in earlier:
            if started.latest < since.latest <= ended + _ONE_DAY:
                since = started
        return since

    @lazy
    def has_opioid(self) -> Answer:
        """Return the opioid fact: active long enough, and not treatment of something else.

        Missing data:
            Drugs not completely supplied: cannot tell, unless one that was read establishes it.
        """
        since = self.opioid_since
        is_long = since is not None and self.limits.met(
            "opioid-days", (self.limits.as_of - since.latest).days
        )
        return found(is_long, self.unread_drugs)

    @lazy
    def is_opioid_for_other_reason(self) -> Answer:
        """Return whether the opioid treats use disorder, cancer or sickle-cell disease."""
        taken = bool(self.opioids)
        certain = of(taken and all(self._is_substitute(drug) for drug in self.opioids))
        possible = of(taken and all(drug.concepts & _SUBSTITUTES for drug in self.opioids))
        return any_of(
            (
                certain,
                possible & self._has_use_disorder,
                self.signs.has("cancer-treatment", "sickle-cell"),
            )
        )

    @lazy
    def mme(self) -> Decimal | None:
        """Return the daily morphine milligram equivalents, or the least they are.

        Missing data:
            With a dose that cannot be computed (``uncounted_doses``) the sum of the others is the
            least; None unless that is high already.
        """
        known = [dose for dose in self._doses if dose is not None]
        total = sum(known, Decimal(0))
        if self.uncounted_doses and not self.limits.met("mme-high", total):
            return None
        return total if known else None

    @lazy
    def uncounted_doses(self) -> int:
        """Return how many active opioids have a dose that cannot be computed."""
        return self._doses.count(None)

    @lazy
    def _doses(self) -> list[Decimal | None]:
        """Return the daily dose of every active opioid that has morphine equivalents, each once."""
        return [
            drug.mme_per_day
            for drug in self.opioids
            if not drug.is_repeated and "buprenorphine" not in drug.concepts
        ]

    # Person

    @lazy
    def is_smoker(self) -> Answer:
        """Return whether the latest status, of one day the yes, else a code says current smoker.

        A status that says "unknown" is none.
        """
        statuses = [
            (o.effective.latest, "smoker" in o.choice)
            for o in self.chart.observed.get("smoking-status", ())
            if o.effective is not None and o.choice and "smoking-unknown" not in o.choice
        ]
        coded = self.signs.conditions("smoker")
        if self.chart.supply_of(Key.SCORES).has_failed:
            return found(bool(coded), frozenset({Key.SCORES}))
        if statuses:
            return of(max(statuses)[1])
        if coded:
            return YES
        return (
            Answer(None, frozenset({Key.CONDITIONS}))
            if (self.chart.supply_of(Key.CONDITIONS).has_failed)
            else NO
        )

    @lazy
    def is_neuropathic(self) -> Answer:
        """Return whether a screen or a code says neuropathic pain."""
        return any_of(
            (
                *(
                    self.measures.latest_meets(name, name, "screen-fresh")
                    for name in ("dn4", "paindetect", "lanss")
                ),
                self.signs.has("neuropathic-pain"),
            )
        )


def _caution(answer: frozenset[str]) -> int:
    """Put a no before an answer nobody can read, and that before a yes."""
    if not answer.isdisjoint(_REFUSED):
        return 2
    return 1 if answer.isdisjoint(_ALLOWED) else 0


def _last_day(when: FhirDate) -> date:
    return when.latest


def _covered(courses: Iterable[tuple[date, date]]) -> int:
    """Return how many days *courses* cover together; days of several count once."""
    total, last = 0, date.min
    for started, ended in sorted(courses):
        total += max((ended - max(started, last)).days, 0)
        last = max(last, ended)
    return total
