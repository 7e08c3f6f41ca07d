"""Row 3: an epidural haematoma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.facts import Site
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import NO, YES, Answer, any_of, found, of
from cds_service.evaluation.assessment import Evidence, Finding, Indicator, Note, Term, Word
from cds_service.evaluation.case import Case
from cds_service.evaluation.pain import Driver, Score, pain_scores
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.bladder import read_bladder
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import Earlier, is_met, weigh
from cds_service.evaluation.rules.wording import (
    condition_references,
    deficit_evidence,
    drug_notes,
    measure_evidence,
    score_evidence,
    sign_evidence,
    sign_term,
)
from cds_service.evaluation.signs import Sign


def haematoma(case: Case, earlier: Earlier) -> Finding:
    """RF-EDH: severe early pain with a second sign, or a coded haematoma.

    Missing data:
        Scores not completely supplied: the pain part cannot be told; a coded haematoma still
        counts.
    """
    coded = _coded_haematoma(case, "haematoma-spinal")
    wound = _coded_haematoma(case, "haematoma-other")
    by_pain = _early_pain(case)
    by_code = found(bool(coded or wound), case.workup.unread((Key.CONDITIONS,)))
    grounds = _pain_grounds(case, coded) if by_pain.is_yes else _coded_grounds(coded, wound)
    unknown = [part for part in (by_pain, by_code) if part.is_unknown]
    is_emergency = any_of((grounds.emergency if grounds is not None else NO, *unknown))
    finding = weigh(
        "RF-EDH",
        case,
        [("signs of an epidural haematoma", by_pain | by_code)],
        lambda: [
            (
                "a card on cauda equina syndrome or weakness is already shown",
                _is_told_above(earlier, is_emergency),
            )
        ],
    )
    if grounds is None or not finding.is_met:
        return finding
    undated = () if grounds.is_dated else (Note(key="date-not-recorded"),)
    finding = replace(
        finding,
        indicator=Indicator.CRITICAL if grounds.emergency.is_yes else Indicator.WARNING,
        stands_alone=grounds.emergency.is_yes,
        variant=grounds.variant,
        words={"dss": case.dss, **grounds.words},
        notes=(*grounds.notes, *drug_notes(case), *undated),
        evidence=(*sign_evidence((*coded, *wound)), *grounds.evidence),
        reason_references=condition_references((*coded, *wound)),
        reason_code="haematoma-spinal",
    )
    return propose_mri(finding, case, ScanWish(priority="stat", since_day=grounds.since))


class _Grounds(Struct, frozen=True, kw_only=True):
    """On what a haematoma is suspected, beside what is coded, and since which day."""

    variant: str
    since: int
    is_dated: bool
    emergency: Answer
    words: Mapping[str, Word] = {}
    notes: tuple[Note, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def _is_told_above(earlier: Earlier, is_emergency: Answer) -> Answer:
    """Return whether a row above is shown; one that only warns does not hide an emergency."""
    above = [earlier[card] for card in ("RF-CES", "RF-MOTOR") if is_met(earlier, card)]
    if any(row.indicator is Indicator.CRITICAL for row in above):
        return YES
    return of(bool(above)) & ~is_emergency


def _pain_grounds(case: Case, coded: Sequence[Sign]) -> _Grounds:
    scores = _latest_scores(case)
    is_dated = _is_second_sign_dated(case) | of(any(sign.is_dated for sign in coded))
    return _Grounds(
        variant="default",
        since=max(scores[0].day, *_second_sign_days(case), *(sign.day for sign in coded)),
        is_dated=is_dated.is_yes,
        emergency=is_dated,
        words={"score": scores[0].value, "on": scores[0].day, "signs": _second_signs(case)},
        notes=_rise_notes(case),
        evidence=(*score_evidence(scores, "pain score"), *_second_sign_evidence(case)),
    )


def _coded_grounds(coded: Sequence[Sign], wound: Sequence[Sign]) -> _Grounds | None:
    signs = coded or wound
    if not signs:
        return None
    is_dated = any(sign.is_dated for sign in signs)
    return _Grounds(
        variant="coded" if coded else "wound",
        since=signs[-1].day,
        is_dated=is_dated,
        emergency=of(bool(coded) and is_dated),
    )


def _coded_haematoma(case: Case, concept: str) -> tuple[Sign, ...]:
    return tuple(
        [
            sign
            for sign in case.signs.on_record(concept)
            if sign.day >= 0 and case.limits.met("haematoma-coded-age", sign.age)
        ]
    )


@once
def _latest_scores(case: Case) -> tuple[Score, ...]:
    """Return the scores of the latest day from the day of surgery on, highest first."""
    scores = [
        score
        for driver, site in case.pain.sites.items()
        if driver is not Driver.ODI
        for score in (*site.day_zero, *site.series)
    ]
    latest = max((score.day for score in scores), default=None)
    return tuple(sorted((s for s in scores if s.day == latest), key=_by_value))


def _by_value(score: Score) -> tuple[Decimal, tuple[str, ...]]:
    return -score.value, score.references


def _early_pain(case: Case) -> Answer:
    """Return whether pain is severe in the first days, with a second sign beside it."""
    if case.at("haematoma-day").is_no:
        return NO
    return _severe_pain(case) & _second_haematoma_sign(case)


def _severe_pain(case: Case) -> Answer:
    if case.chart.supply_of(Key.SCORES).has_failed:
        return Answer(None, frozenset({Key.SCORES}))
    latest = _latest_scores(case)
    return of(bool(latest) and case.limits.met("haematoma-pain", latest[0].value))


def _second_haematoma_sign(case: Case) -> Answer:
    bladder = read_bladder(case)
    has_residual = bladder.residual is not None
    unread = case.workup.unread((Key.SCORES,))
    rise = found(bool(_sudden_rises(case)), unread) & case.cautions.is_bleeding_risk
    return any_of(
        (
            case.motor.any(case.motor.new),
            found(bladder.sign is not None or has_residual, bladder.unread),
            rise,
        )
    )


def _second_signs(case: Case) -> tuple[Term, ...]:
    """Return what holds beside severe pain, in words, each kind once."""
    bladder = read_bladder(case)
    signs = [sign_term(sign) for sign in bladder.signs]
    if case.motor.new:
        signs.insert(0, Term(kind="phrase", id="new-leg-weakness"))
    if bladder.residual is not None:
        signs.append(Term(kind="value-set", id="pvr"))
    if _sudden_rises(case):
        risks = {
            "rise-anticoagulant": case.cautions.is_anticoagulated,
            "rise-coagulopathy": case.cautions.has_coagulopathy,
        }
        signs += [Term(kind="phrase", id=name) for name, risk in risks.items() if risk.is_yes]
    return tuple(dict.fromkeys(signs))


def _second_sign_evidence(case: Case) -> tuple[Evidence, ...]:
    """Return what stands beside severe pain: weakness, bladder signs, a clotting disorder."""
    bladder = read_bladder(case)
    disorders = case.signs.conditions("coagulopathy", "thrombocytopenia", "anticoagulant-flag")
    return (
        *deficit_evidence(case, case.motor.new),
        *sign_evidence((*bladder.signs, *disorders)),
        *measure_evidence(bladder.residual, "pvr"),
    )


def _is_second_sign_dated(case: Case) -> Answer:
    """Return whether a sign beside severe pain has a date of its own."""
    bladder = read_bladder(case)
    is_dated = (
        any(deficit.onset is not None for deficit in case.motor.new)
        or any(sign.is_dated for sign in bladder.signs)
        or bladder.residual is not None
    )
    return of(is_dated) | (of(bool(_sudden_rises(case))) & case.cautions.is_bleeding_risk)


def _second_sign_days(case: Case) -> tuple[int, ...]:
    """Return the days of weakness and bladder signs: an MRI before one has not seen its cause."""
    bladder = read_bladder(case)
    onsets = [deficit.onset for deficit in case.motor.new if deficit.onset is not None]
    return (*onsets, bladder.latest_day)


def _rise_notes(case: Case) -> tuple[Note, ...]:
    """Return from which score to which pain rose, and where, if that is a second sign."""
    if not case.cautions.is_bleeding_risk.is_yes:
        return ()
    return tuple(
        Note(
            key="rise",
            words={
                "before": before,
                "after": after,
                "site": Term(kind="phrase", id=f"site-{site.value}"),
            },
        )
        for site, (before, after) in _sudden_rises(case).items()
    )


@once
def _sudden_rises(case: Case) -> Mapping[Site, tuple[Decimal, Decimal]]:
    """Return the sites where pain rose suddenly and stayed, with the two scores of the rise.

    They are two day values of the site, or two scores of one day.
    """
    rises = {}
    for site in Site:
        course = case.pain.sites[Driver(site.value)]
        days = [score.value for score in (*course.day_zero, *course.series)]
        rise = _rise_within(case, days) or _rise_of_one_day(case, site)
        if rise is not None:
            rises[site] = rise
    return rises


def _rise_within(
    case: Case, values: Sequence[Decimal], lowest: Decimal | None = None
) -> tuple[Decimal, Decimal] | None:
    """Return two neighbouring *values* between which pain rose suddenly, the latest such pair.

    A later score that still is such a rise keeps the alarm: the same score again is no relief.
    *lowest* is the lowest score after all *values*.
    """
    for before, after in reversed(list(pairwise(values))):
        lowest = after if lowest is None else min(lowest, after)
        if case.limits.met("haematoma-rise", lowest - before):
            return before, after
    return None


def _rise_of_one_day(case: Case, site: Site) -> tuple[Decimal, Decimal] | None:
    """Return two scores of one day between which pain rose suddenly and stayed, the latest pair.

    Time:
        Scores without a time have no place among those of their day; they count for earlier days.
    """
    days: dict[int, list[tuple[datetime | None, Decimal]]] = {}
    for observation in pain_scores(case.chart):
        when, value = observation.effective, observation.value
        if observation.site is not site or when is None or value is None:
            continue
        day = case.operation.dss(when.latest)
        if day >= 0:
            days.setdefault(day, []).append((when.instant, value))
    lowest: Decimal | None = None
    for _, scores in sorted(days.items(), reverse=True):
        timed = sorted((instant, value) for instant, value in scores if instant is not None)
        rise = _rise_within(case, [value for _, value in timed], lowest)
        if rise is not None:
            return rise
        lowest = min(value for value in (lowest, *(v for _, v in scores)) if value is not None)
    return None
