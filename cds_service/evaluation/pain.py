"""How did pain run since the operation?  One course per site, and the one that counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.facts import Chart, ObservationFact, Site
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import NO, YES, Answer, of
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.limits import Limits
from cds_service.values import lazy

PAIN_DIAGNOSES = frozenset(
    {
        "post-laminectomy-syndrome",
        "radiculopathy",
        "low-back-pain",
        "spinal-stenosis",
        "disc-herniation",
    }
)
PAIN_SCALES = frozenset({"pain-score", "pain-vas"})


class Course(Enum):
    """What a series of scores shows, worst first."""

    RETURNED = "RELIEF_THEN_RECURRENCE"
    WORSENING = "WORSENING"
    NO_RELIEF = "NO_RELIEF"
    IMPROVING = "IMPROVING"
    UNCHANGED_LOW = "UNCHANGED_LOW"
    RESOLVED = "RESOLVED"
    INSUFFICIENT = "INSUFFICIENT"


WORST_FIRST = tuple(Course)
PERSISTENT = frozenset({Course.RETURNED, Course.WORSENING, Course.NO_RELIEF})


class Driver(StrEnum):
    """The series that decides, in the order that breaks ties."""

    LEG = "leg"
    BACK = "back"
    ANY = "any"
    ODI = "odi"


_TIES = tuple(Driver)
_SITE_OF: Mapping[Site, Driver] = {
    Site.LEG: Driver.LEG,
    Site.BACK: Driver.BACK,
    Site.ANY: Driver.ANY,
}


class Score(Struct, frozen=True, kw_only=True):
    """The highest value of one day; ``day`` in days since surgery, ``others`` were also given."""

    on: date
    day: int
    value: Decimal
    references: tuple[str, ...]
    others: tuple[Decimal, ...] = ()


class Scale(Struct, frozen=True, kw_only=True):
    """The thresholds of one kind of score."""

    low: str
    hot: str
    change: str
    relief_day: str | None


_LEG_SCALE = Scale(
    low="pain-low", hot="pain-hot", change="pain-change", relief_day="relief-day-leg"
)
_PAIN_SCALE = Scale(low="pain-low", hot="pain-hot", change="pain-change", relief_day="relief-day")
_ODI_SCALE = Scale(low="odi-low", hot="odi-hot", change="odi-change", relief_day=None)


class SiteCourse(Struct, frozen=True, kw_only=True):
    """One series and what it shows.

    Time:
        ``series`` holds the days from ``series-first-day`` after surgery on; ``before`` all values
        inside the baseline window; ``onset`` and ``last_low`` are days since surgery.
    ``course`` is None when it could not be told because of ``unread``.
    """

    driver: Driver
    scale: Scale
    before: tuple[Score, ...] = ()
    day_zero: tuple[Score, ...] = ()
    series: tuple[Score, ...] = ()
    baseline: Score | None = None
    current: Score | None = None
    course: Course | None = Course.INSUFFICIENT
    onset: int | None = None
    last_low: int | None = None
    unread: frozenset[str] = frozenset()
    is_hot: bool = False

    @property
    def is_scored(self) -> bool:
        """Whether there is a post-operative value at all."""
        return bool(self.series)


class Pain(Struct, frozen=True, kw_only=True, dict=True):
    """All series, the overall course and what drives it."""

    sites: Mapping[Driver, SiteCourse]
    course: Course | None
    driver: Driver | None
    significant: Answer
    unread: frozenset[str] = frozenset()

    def is_course(self, *courses: Course) -> Answer:
        """Return whether the overall course is one of *courses*."""
        if self.course is None:
            return Answer(None, self.unread)
        return of(self.course in courses)

    def site_is(self, driver: Driver, courses: Iterable[Course]) -> Answer:
        """Return whether the course of one site is one of *courses*."""
        site = self.sites[driver]
        if site.course is None:
            return Answer(None, site.unread)
        return of(site.course in courses)

    @lazy
    def persists(self) -> Answer:
        """Return whether the overall course is a persistent or recurrent one."""
        return self.is_course(*PERSISTENT)

    def current(self, driver: Driver) -> Decimal | None:
        """Return the valid current value of a site, if there is one."""
        score = self.sites[driver].current
        return score.value if score else None

    def fires(self, driver: Driver, threshold: str, limits: Limits) -> Answer:
        """Return whether a valid current value at *driver* fires *threshold*."""
        site = self.sites[driver]
        if site.unread and site.course is None and not site.series:
            return Answer(None, site.unread)
        return of(site.current is not None and limits.met(threshold, site.current.value))

    @lazy
    def leading(self) -> SiteCourse | None:
        """Return the series that drives the overall course."""
        return self.sites[self.driver] if self.driver else None

    @lazy
    def onset(self) -> int | None:
        """Return the recurrence onset of the driver, in days since surgery."""
        return self.leading.onset if self.leading else None


def read_pain(chart: Chart, operation: Operation, limits: Limits) -> Pain:
    """Classify every series and choose the one that counts.

    Missing data:
        Scores not completely supplied: nothing can be told.  A series whose class counts only with
        a recent spine diagnosis cannot be told when conditions were not supplied; the overall
        course can, if it is the same with and without such a diagnosis.
    """
    if chart.supply_of(Key.SCORES).has_failed:
        return _unreadable(frozenset({Key.SCORES}))
    observed = _by_driver(chart)

    def seen_with(recent: Answer) -> Pain:
        sites = {
            driver: _course_of(driver, observed.get(driver, ()), operation, limits, recent)
            for driver in _TIES
        }
        return _overall(sites)

    pain = seen_with(_recent_diagnosis(chart, limits))
    return pain if pain.course is not None else _told_anyway(pain, seen_with(YES), seen_with(NO))


def _told_anyway(pain: Pain, diagnosed: Pain, undiagnosed: Pain) -> Pain:
    """Return *pain* with its overall course if a diagnosis on the problem list changes nothing."""
    if (diagnosed.course, diagnosed.driver) != (undiagnosed.course, undiagnosed.driver):
        return pain
    told = undiagnosed
    return replace(pain, course=told.course, driver=told.driver, unread=told.unread)


def _unreadable(unread: frozenset[str]) -> Pain:
    sites = {
        driver: SiteCourse(driver=driver, scale=_PAIN_SCALE, course=None, unread=unread)
        for driver in Driver
    }
    return Pain(
        sites=sites, course=None, driver=None, significant=Answer(None, unread), unread=unread
    )


def _recent_diagnosis(chart: Chart, limits: Limits) -> Answer:
    """Return whether an active spine pain diagnosis was recorded recently enough."""
    for condition in chart.conditions:
        if condition.is_active and condition.concepts & PAIN_DIAGNOSES:
            recorded = condition.recorded or condition.onset or condition.when
            age = (limits.as_of - recorded.earliest).days if recorded else 0
            if limits.met("pain-diagnosis-recent", age):
                return of(flag=True)
    if chart.supply_of(Key.CONDITIONS).has_failed:
        return Answer(None, frozenset({Key.CONDITIONS}))
    return NO


def pain_scores(chart: Chart) -> list[ObservationFact]:
    """Return the observations on a pain scale."""
    return [o for o in chart.observations if not o.concepts.isdisjoint(PAIN_SCALES)]


def _by_driver(chart: Chart) -> Mapping[Driver, Sequence[ObservationFact]]:
    """Return the scores of each series."""
    by_driver: dict[Driver, list[ObservationFact]] = {}
    for observation in pain_scores(chart):
        if observation.site is not None:
            by_driver.setdefault(_SITE_OF[observation.site], []).append(observation)
    return {**by_driver, Driver.ODI: chart.observed.get("odi", ())}


def _scores(observed: Sequence[ObservationFact], operation: Operation) -> tuple[Score, ...]:
    """Return one score per day, the highest, in order of days."""
    days: dict[date, list[tuple[Decimal, str]]] = {}
    for observation in observed:
        value, effective = observation.value, observation.effective
        if value is not None and effective is not None and effective.is_exact:
            days.setdefault(effective.latest, []).append((value, observation.reference))
    return tuple([_highest(on, operation.dss(on), days[on]) for on in sorted(days)])


def _highest(on: date, day: int, given: Sequence[tuple[Decimal, str]]) -> Score:
    if len(given) == 1:
        [(value, reference)] = given
        return Score(on=on, day=day, value=value, references=(reference,))
    highest, *others = sorted({value for value, _ in given}, reverse=True)
    references = tuple(sorted({reference for _, reference in given}))
    return Score(on=on, day=day, value=highest, references=references, others=tuple(others))


def _scale(driver: Driver) -> Scale:
    match driver:
        case Driver.LEG:
            return _LEG_SCALE
        case Driver.ODI:
            return _ODI_SCALE
        case Driver.BACK | Driver.ANY:
            return _PAIN_SCALE


def _course_of(
    driver: Driver,
    observed: Sequence[ObservationFact],
    operation: Operation,
    limits: Limits,
    recent: Answer,
) -> SiteCourse:
    scores = _scores(observed, operation) if observed else ()
    if not scores:
        return SiteCourse(driver=driver, scale=_scale(driver))
    today = operation.dss(limits.as_of)
    before = tuple([s for s in scores if s.day < 0 and limits.met("baseline-window", -s.day)])
    series = tuple([s for s in scores if limits.met("series-first-day", s.day)])
    latest = series[-1] if series else None
    is_valid = latest is not None and limits.met("score-fresh", today - latest.day)
    scale = _scale(driver)
    current = latest if is_valid else None
    site = SiteCourse(
        driver=driver,
        scale=scale,
        before=before,
        day_zero=tuple([s for s in scores if s.day == 0]),
        series=series,
        baseline=before[-1] if before else None,
        current=current,
        is_hot=current is not None and limits.met(scale.hot, current.value),
    )
    return _demote(_classify(site, limits), today, limits, recent)


def _demote(site: SiteCourse, today: int, limits: Limits, recent: Answer) -> SiteCourse:
    """Apply the rule for siteless and baseline-free series late after surgery."""
    is_weak = site.driver is Driver.ANY or site.baseline is None
    if site.course is Course.INSUFFICIENT or not is_weak or limits.met("no-baseline-day", today):
        return site
    if recent.is_yes:
        return site
    if recent.is_no:
        return replace(site, course=Course.INSUFFICIENT, onset=None, last_low=None)
    return replace(site, course=None, onset=None, last_low=None, unread=recent.unread)


def _classify(site: SiteCourse, limits: Limits) -> SiteCourse:
    """Return *site* with its course; the first row of the table that applies wins."""
    if site.current is None:
        return site
    is_short = not limits.met("no-baseline-values", len(site.series))
    if site.baseline is None and is_short:
        return site
    current = site.current.value
    if limits.met(site.scale.low, current):
        return replace(site, course=Course.RESOLVED)
    onset = _return_onset(site, limits)
    if onset is not None:
        return replace(
            site,
            course=Course.RETURNED,
            onset=onset,
            last_low=_last_low(site, onset, limits),
        )
    if site.baseline is not None:
        return replace(site, course=_against_baseline(site, site.baseline.value, current, limits))
    return replace(site, course=_without_baseline(site, limits))


def _rise(site: SiteCourse, start: Decimal, end: Decimal, limits: Limits) -> bool:
    return limits.met(site.scale.change, end - start) and limits.met(site.scale.hot, end)


def _is_low(site: SiteCourse, score: Score, limits: Limits) -> bool:
    if not limits.met(site.scale.low, score.value):
        return False
    return site.scale.relief_day is None or limits.met(site.scale.relief_day, score.day)


def _return_onset(site: SiteCourse, limits: Limits) -> int | None:
    """Return the first day from which every score is a rise from an earlier low one.

    All are, if the lowest of them is a rise from the lowest low one.
    """
    values = [score.value for score in site.series]
    lowest_left = list(accumulate(reversed(values), min))[::-1]
    low: Decimal | None = None
    for score, lowest in zip(site.series, lowest_left, strict=True):
        if low is not None and _rise(site, low, lowest, limits):
            return score.day
        if _is_low(site, score, limits):
            low = score.value if low is None else min(low, score.value)
    return None


def _last_low(site: SiteCourse, onset: int, limits: Limits) -> int | None:
    lows = [s.day for s in site.series if s.day < onset and _is_low(site, s, limits)]
    return lows[-1] if lows else None


def _against_baseline(
    site: SiteCourse, baseline: Decimal, current: Decimal, limits: Limits
) -> Course:
    scale = site.scale
    if limits.met(scale.low, baseline):
        if _rise(site, baseline, current, limits):
            return Course.WORSENING
        return Course.UNCHANGED_LOW
    if limits.met(scale.change, current - baseline):
        return Course.WORSENING
    drop = baseline - current
    percent = limits.met("change-percent", drop * 100 / baseline) if baseline else False
    if limits.met(scale.change, drop) and percent:
        return Course.IMPROVING
    return Course.IMPROVING if _is_falling(site, limits) else Course.NO_RELIEF


def _without_baseline(site: SiteCourse, limits: Limits) -> Course:
    if _is_falling(site, limits):
        return Course.IMPROVING
    latest = site.series[-1]
    earlier = [s for s in site.series[:-1] if limits.met("worsening-lookback", latest.day - s.day)]
    if earlier and limits.met(site.scale.change, latest.value - earlier[-1].value):
        return Course.WORSENING
    return Course.NO_RELIEF


def _is_falling(site: SiteCourse, limits: Limits) -> bool:
    """Return whether the latest value of some weeks ago was clearly higher than the current one."""
    latest = site.series[-1]
    earlier = [
        s
        for s in site.series[:-1]
        if limits.within("improving-lookback-first", "improving-lookback-last", latest.day - s.day)
    ]
    return bool(earlier) and limits.met(site.scale.change, earlier[-1].value - latest.value)


def _overall(sites: Mapping[Driver, SiteCourse]) -> Pain:
    significant = of(any(site.is_hot for site in sites.values()))
    unread = _missing_for_course(sites)
    if unread is not None:
        return Pain(sites=sites, course=None, driver=None, significant=significant, unread=unread)
    worst = _worst(sites)
    if worst is None:
        return Pain(sites=sites, course=Course.INSUFFICIENT, driver=None, significant=significant)
    return Pain(sites=sites, course=worst.course, driver=worst.driver, significant=significant)


def _missing_for_course(sites: Mapping[Driver, SiteCourse]) -> frozenset[str] | None:
    """Return what could not be read and might change the course; None if nothing might."""
    body = _of_body(sites)
    blurred = [site for site in body if site.course is None]
    classified = _classified(body)
    if blurred and (any(s.is_hot for s in blurred) or not any(s.is_hot for s in classified)):
        return frozenset().union(*(site.unread for site in blurred))
    disability = sites[Driver.ODI]
    return disability.unread if not classified and disability.course is None else None


def _worst(sites: Mapping[Driver, SiteCourse]) -> SiteCourse | None:
    """Return the series that speaks for all; disability only when no pain series can."""
    body = _of_body(sites)
    classified = _classified(body) or _classified([sites[Driver.ODI]])
    hot = [site for site in classified if site.is_hot]
    is_blind = any(site.course is Course.INSUFFICIENT and site.is_hot for site in body)
    if is_blind and not hot:
        return None
    return min(hot or classified, key=_badness, default=None)


def _of_body(sites: Mapping[Driver, SiteCourse]) -> list[SiteCourse]:
    return [site for driver, site in sites.items() if driver is not Driver.ODI]


def _classified(sites: Iterable[SiteCourse]) -> list[SiteCourse]:
    return [site for site in sites if site.course not in {None, Course.INSUFFICIENT}]


def _badness(site: SiteCourse) -> tuple[int, int]:
    course = site.course or Course.INSUFFICIENT
    return WORST_FIRST.index(course), _TIES.index(site.driver)
