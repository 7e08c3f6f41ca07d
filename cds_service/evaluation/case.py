"""One patient, one operation, one day: every derived fact that the rules ask for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Struct

from cds_service.chart.facts import Chart, ConditionFact
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import NO, YES, Answer, found, of
from cds_service.evaluation.care import Care
from cds_service.evaluation.cautions import Cautions
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.levels import LevelCheck, check_levels
from cds_service.evaluation.limits import Limits, limits_on
from cds_service.evaluation.measures import Measures
from cds_service.evaluation.motor import Motor, read_motor
from cds_service.evaluation.pain import PAIN_DIAGNOSES, Course, Driver, Pain, SiteCourse, read_pain
from cds_service.evaluation.signs import Sign, Signs
from cds_service.evaluation.workup import Workup
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate, lazy

MRI = "mri-lumbar"
CT_SCANS = ("ct-lumbar", "ct-myelogram")
STRUCTURAL_TARGETS = ("disc-herniation", "spinal-stenosis", "pseudarthrosis", "spinal-instability")
_TARGETS = frozenset(STRUCTURAL_TARGETS)


class Lesion(Struct, frozen=True, kw_only=True):
    """A structural target, and the condition or report that codes it."""

    concept: str
    reference: str
    when: FhirDate | None

    @property
    def sort_key(self) -> tuple[int, str]:
        """Order lesions as the targets are listed."""
        return STRUCTURAL_TARGETS.index(self.concept), self.reference


class Case(Struct, frozen=True, kw_only=True, dict=True):
    """Everything derived from one chart for one index operation.

    Time:
        ``dss`` is the number of whole calendar days from the operation to the evaluation; every
        ``day`` in here is counted the same way.
    """

    chart: Chart
    limits: Limits
    operation: Operation
    pain: Pain
    motor: Motor
    signs: Signs
    measures: Measures
    workup: Workup
    care: Care
    cautions: Cautions
    level_check: LevelCheck
    other_dss: int | None = None
    """The days since surgery at the other end when the operation's date is an interval."""
    is_date_unknown: bool = False
    """Whether the day of the operation is a stand-in, because the chart does not state it."""

    @lazy
    def readings(self) -> dict[object, Any]:
        """What rules have read so far; see ``cds_service.evaluation.readings``."""
        return {}

    @lazy
    def as_of(self) -> date:
        """Return the day of the evaluation."""
        return self.limits.as_of

    @lazy
    def dss(self) -> int:
        """Return the days since surgery."""
        return self.operation.dss(self.as_of)

    def day(self, day: int) -> date:
        """Return the calendar day of *day* days since surgery."""
        return date.fromordinal(self.operation.day.toordinal() + day)

    @lazy
    def first_possible_day(self) -> date:
        """Return the first day the operation can have been on; its day where that is known."""
        return self.day(0 if self.other_dss is None else self.dss - self.other_dss)

    def at(self, threshold: str) -> Answer:
        """Return whether the days since surgery fire *threshold*."""
        return YES if self.limits.met(threshold, self.dss) else NO

    @lazy
    def is_in_hospice(self) -> bool:
        """Whether the chart records hospice care.

        Time:
            A stay or admission from before the day of the operation is over; one without a date
            counts.
        """
        concepts = [fact.concepts for fact in self.chart.conditions if fact.is_active]
        dated = [(fact.concepts, fact.performed) for fact in self.chart.procedures]
        dated += [(fact.concepts, fact.started) for fact in self.chart.encounters]
        first = self.first_possible_day
        concepts += [found for found, when in dated if when is None or when.latest >= first]
        return any("hospice" in found for found in concepts)

    # Pain

    @lazy
    def leg(self) -> Decimal | None:
        """Return the valid current leg pain."""
        return self.pain.current(Driver.LEG)

    @lazy
    def back(self) -> Decimal | None:
        """Return the valid current back pain."""
        return self.pain.current(Driver.BACK)

    def leg_fires(self, threshold: str) -> Answer:
        """Return whether current leg pain fires *threshold*; no score means no."""
        return self.pain.fires(Driver.LEG, threshold, self.limits)

    def back_fires(self, threshold: str) -> Answer:
        """Return whether current back pain fires *threshold*; no score means no."""
        return self.pain.fires(Driver.BACK, threshold, self.limits)

    @lazy
    def is_leg_dominant(self) -> bool:
        """Whether leg pain is known and clearly above back pain, or back pain is unknown."""
        return self._dominates(self.leg, self.back)

    @lazy
    def is_back_dominant(self) -> bool:
        """Whether back pain is known and clearly above leg pain, or leg pain is unknown."""
        return self._dominates(self.back, self.leg)

    def _dominates(self, one: Decimal | None, other: Decimal | None) -> bool:
        if one is None:
            return False
        return other is None or self.limits.met("dominance-margin", one - other)

    @lazy
    def has_failed(self) -> Answer:
        """Return whether the course is no relief or worsening."""
        return self.pain.is_course(Course.NO_RELIEF, Course.WORSENING)

    @lazy
    def has_returned(self) -> Answer:
        """Return whether pain came back after relief."""
        return self.pain.is_course(Course.RETURNED)

    @lazy
    def onset(self) -> int | None:
        """Return the day since surgery on which pain came back, for a returned course."""
        return self.pain.onset if self.pain.course is Course.RETURNED else None

    @lazy
    def is_early_return(self) -> bool:
        """Whether pain came back in the days when inflammation mimics a recurrence."""
        return self.onset is not None and self.limits.within(
            "inflammation-onset-first", "inflammation-onset-last", self.onset
        )

    @lazy
    def is_true_return(self) -> bool:
        """Whether the return is late enough, or has lasted long enough, to be imaged."""
        if self.onset is None:
            return False
        if self.limits.met("recurrence-first-onset", self.onset):
            return True
        return self.is_early_return and self.limits.met("mri-readable-day", self.dss)

    @lazy
    def is_target_relieved(self) -> Answer:
        """Return whether the operated leg is better and only unchanged back pain is left."""
        if self.operation.is_fusion or self.pain.driver is not Driver.BACK:
            return of(flag=False)
        leg_better = self.pain.site_is(Driver.LEG, {Course.RESOLVED, Course.IMPROVING})
        return self.pain.is_course(Course.NO_RELIEF) & leg_better

    @property
    def judged_from(self) -> str:
        """The threshold from whose day on pain alone judges the operation."""
        is_late = self.operation.is_fusion and self.pain.driver is Driver.BACK
        return "fusion-back-day" if is_late else "workup-day"

    @lazy
    def is_judgeable(self) -> Answer:
        """Return whether it is late enough to judge the operation on pain alone."""
        return self.at(self.judged_from)

    @lazy
    def worst(self) -> SiteCourse | None:
        """Return the series with the highest valid current pain, or ODI where it says more.

        It does where no pain is scored, and where only the disability is significant.
        """
        disability = self.pain.sites[Driver.ODI]
        scored = [
            site
            for driver, site in self.pain.sites.items()
            if driver is not Driver.ODI and site.current is not None
        ]
        worst = max(scored, key=_current_value, default=None)
        if worst is None or (disability.is_hot and not worst.is_hot):
            return disability if disability.current is not None else None
        return worst

    # Imaging

    @lazy
    def has_mri(self) -> Answer:
        """Return whether an MRI was done that can explain the present course."""
        readable = self.limits.first_day("mri-readable-day")
        from_day = self.onset if self.onset is not None else readable
        if self.pain.course is None and not self.workup.done(MRI):
            return self.workup.is_done(MRI)
        return self.workup.is_done(MRI, from_day=from_day)

    @lazy
    def has_recent_enough_mri(self) -> Answer:
        """Return whether an MRI that can explain the course is also recent enough for it."""
        if self.pain.course is Course.WORSENING:
            return self._mri_since_readable("imaging-fresh")
        is_late = self.limits.met("mri-late-day", self.dss)
        if self.pain.course is Course.NO_RELIEF and is_late:
            return self._mri_since_readable("mri-late-age")
        return self.has_mri

    @lazy
    def new_claudication(self) -> tuple[Sign, ...]:
        """Return the claudication coded after the last MRI; none where no MRI was done."""
        scans = self.workup.done(MRI)
        if not scans:
            return ()
        signs = self.signs.of("neurogenic-claudication")
        return tuple([sign for sign in signs if sign.day > scans[-1].day])

    @lazy
    def is_claudication_new(self) -> Answer:
        """Return whether claudication was coded after the last MRI."""
        return found(bool(self.new_claudication), self.signs.unread)

    @lazy
    def has_adequate_mri(self) -> Answer:
        """Return whether that MRI still answers the question: no claudication since."""
        return self.has_recent_enough_mri & ~self.is_claudication_new

    def _mri_since_readable(self, newest: str) -> Answer:
        from_day = self.limits.first_day("mri-readable-day")
        return self.workup.is_done(MRI, from_day=from_day, newest=newest)

    def has_ct(self, from_day: int) -> Answer:
        """Return whether a CT or CT myelogram was done on or after *from_day*."""
        return self.workup.is_done(*CT_SCANS, from_day=from_day)

    # Findings

    def is_recent(self, sign: Sign) -> bool:
        """Return whether a finding is from after the operation and recent."""
        return sign.day >= 0 and self.limits.met("red-flag-recent", sign.age)

    @lazy
    def lesions(self) -> tuple[Lesion, ...]:
        """Return the structural targets coded after the operation."""
        coded = [
            Lesion(concept=concept, reference=condition.reference, when=condition.when)
            for condition in self.chart.conditions
            if condition.is_active
            for concept in condition.concepts & _TARGETS
            if _is_after_operation(self, condition, concept)
        ]
        coded += [
            Lesion(concept=concept, reference=report.reference, when=report.effective)
            for report in self.chart.reports
            if report.is_final and report.effective is not None
            for concept in report.conclusions & _TARGETS
            if self.limits.met("order-first-day", self.operation.dss(report.effective.latest))
        ]
        return tuple(sorted(coded, key=lambda lesion: lesion.sort_key))

    @lazy
    def conclusions(self) -> tuple[str, ...]:
        """Return the structural targets coded after the operation, as value set ids."""
        return tuple(dict.fromkeys([lesion.concept for lesion in self.lesions]))

    @lazy
    def has_structural_target(self) -> Answer:
        """Return whether a structural, surgically treatable lesion is coded."""
        unread = self.workup.unread((Key.CONDITIONS, Key.DIAGNOSTIC_REPORTS))
        return found(bool(self.conclusions), unread)

    @lazy
    def has_pain_diagnosis(self) -> Answer:
        """Return whether an active spine pain diagnosis is on record."""
        return self.signs.has(*PAIN_DIAGNOSES)


def _current_value(site: SiteCourse) -> Decimal:
    return site.current.value if site.current is not None else Decimal(-1)


def _is_after_operation(case: Case, condition: ConditionFact, concept: str) -> bool:
    """Return whether a coded conclusion is from after the operation.

    Time:
        Onset, else the recorded day.  Without either only non-union counts, because it cannot be
        older than the fusion; any other lesion may be the very reason for the operation.
    """
    when = condition.onset or condition.recorded
    if when is None:
        return concept == "pseudarthrosis"
    return case.limits.met("order-first-day", case.operation.dss(when.earliest))


def build_case(
    chart: Chart, knowledge: Knowledge, as_of: date, operation: Operation, other_dss: int | None
) -> Case:
    """Derive every fact of *chart* for one index operation."""
    limits = limits_on(as_of, knowledge)
    signs = Signs(chart, limits, operation)
    measures = Measures(chart, limits)
    workup = Workup(chart, limits, operation)
    care = Care(chart, limits, operation, workup, signs, measures)
    return Case(
        chart=chart,
        limits=limits,
        operation=operation,
        pain=read_pain(chart, operation, limits),
        motor=read_motor(chart, operation, limits),
        signs=signs,
        measures=measures,
        workup=workup,
        care=care,
        cautions=Cautions(chart, limits, signs, measures, care),
        level_check=check_levels(chart, operation, limits),
        other_dss=other_dss,
    )
