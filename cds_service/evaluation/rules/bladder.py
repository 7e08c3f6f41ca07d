"""Rows 1 and 5: cauda equina compression, and a bladder sign on its own."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from cds_service.evaluation.answers import found, of
from cds_service.evaluation.assessment import Finding, Indicator, Note, Term, Word
from cds_service.evaluation.case import MRI, Case
from cds_service.evaluation.measures import Measure
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.pain import Course
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import Earlier, is_met, weigh
from cds_service.evaluation.rules.wording import (
    condition_references,
    deficit_evidence,
    measure_evidence,
    sign_evidence,
    sign_term,
)
from cds_service.evaluation.signs import Sign
from cds_service.values import Side

URINARY = ("urinary-retention", "urinary-incontinence")


class Bladder(Struct, frozen=True, kw_only=True):
    """The urinary picture of rows 1 and 5.

    Time:
        Days since surgery; every sign is from the day of surgery on and recent.
    """

    signs: tuple[Sign, ...]
    residual: Measure | None
    residual_day: int
    weak: Sign | None
    is_late: bool
    unread: frozenset[str]

    @property
    def sign(self) -> Sign | None:
        """Return the latest retention or incontinence."""
        return self.signs[-1] if self.signs else None

    @property
    def latest(self) -> tuple[Sign, ...]:
        """Return every retention or incontinence of the latest day."""
        return tuple([sign for sign in self.signs if sign.day == self.signs[-1].day])

    @property
    def has_any(self) -> bool:
        """Whether any urinary sign is there at all."""
        return self.sign is not None or self.residual is not None or self.weak is not None

    @property
    def latest_day(self) -> int:
        """Return the day of the latest retention, incontinence or residual volume."""
        days = [self.sign.day] if self.sign is not None else []
        if self.residual is not None:
            days.append(self.residual_day)
        return max(days, default=0)

    def is_late_residual(self, case: Case) -> bool:
        """Return whether the residual volume was measured late enough to alarm."""
        return self.residual is not None and case.limits.met("urinary-late-day", self.residual_day)


@once
def read_bladder(case: Case) -> Bladder:
    """Read retention, incontinence, residual volume and incomplete emptying."""
    recent = [sign for sign in case.signs.of(*URINARY) if case.is_recent(sign)]
    weak = [s for s in case.signs.of("incomplete-bladder-emptying") if case.is_recent(s)]
    residual = _residual(case)
    residual_day = case.operation.dss(residual.on) if residual is not None else 0
    days = [sign.day for sign in recent]
    if residual is not None:
        days.append(residual_day)
    is_late = any(case.limits.met("urinary-late-day", day) for day in days)
    return Bladder(
        signs=tuple(recent),
        residual=residual,
        residual_day=residual_day,
        weak=weak[-1] if weak else None,
        is_late=is_late,
        unread=case.signs.unread,
    )


def _residual(case: Case) -> Measure | None:
    """Return the latest residual volume if it is large and recent.

    Missing data:
        Of findings not completely supplied the latest large volume that was read; a smaller one
        denies nothing.
    """
    volumes = case.measures.series("pvr")
    if case.measures.unread("pvr"):
        volumes = tuple([v for v in volumes if case.limits.met("pvr-volume", v.value)])
    latest = volumes[-1] if volumes else None
    if latest is None or not case.limits.met("pvr-volume", latest.value):
        return None
    is_recent = case.limits.met("red-flag-recent", latest.age)
    return latest if is_recent and case.operation.dss(latest.on) >= 0 else None


def recent_deficits(case: Case) -> list[Deficit]:
    """Return the new deficits whose onset is recent."""
    return [
        deficit
        for deficit in case.motor.new
        if deficit.onset is not None and case.limits.met("motor-recent", case.dss - deficit.onset)
    ]


def is_bilateral(case: Case) -> bool:
    """Return whether both legs are newly weak and at least one since recently."""
    sides = {deficit.side for deficit in case.motor.new}
    recent = {deficit.side for deficit in recent_deficits(case)}
    return {Side.LEFT, Side.RIGHT} <= sides and bool(recent & {Side.LEFT, Side.RIGHT})


def hard_signs(case: Case) -> tuple[Sign, ...]:
    """Return the recent signs of row 1 that are not urinary."""
    signs = [
        *case.signs.of("cauda-equina", "faecal-incontinence", "saddle-numbness"),
        *case.signs.abnormal("saddle-sensation"),
        *case.signs.abnormal("anal-tone"),
    ]
    return tuple([sign for sign in signs if case.is_recent(sign)])


def past_signs(case: Case) -> tuple[Sign, ...]:
    """Return the signs of row 1 since the operation that are too old for it and never denied."""
    signs = [
        *case.signs.on_record("cauda-equina", "faecal-incontinence", "saddle-numbness", *URINARY),
        *case.signs.abnormal("saddle-sensation"),
        *case.signs.abnormal("anal-tone"),
    ]
    recent = {sign.concept for sign in signs if case.is_recent(sign)}
    return tuple([sign for sign in signs if sign.day >= 0 and sign.concept not in recent])


def past_residual(case: Case) -> Measure | None:
    """Return the latest residual volume if it is large, since the operation, and not recent."""
    latest = case.measures.latest("pvr")
    if latest is None or not case.limits.met("pvr-volume", latest.value):
        return None
    is_recent = case.limits.met("red-flag-recent", latest.age)
    return latest if not is_recent and case.operation.dss(latest.on) >= 0 else None


def _is_isolated(case: Case) -> bool:
    """Return whether a urinary sign certainly stands alone.

    Missing data:
        While findings, conditions or scores are unread nobody knows that nothing else is there.
    """
    if case.signs.unread or case.pain.course is None:
        return False
    sensory = any(sign.day >= 0 for sign in case.signs.of("sensory-deficit"))
    others = hard_signs(case) or case.motor.new or sensory
    return not others and case.pain.course is not Course.WORSENING


def is_downgraded(case: Case, bladder: Bladder) -> bool:
    """Return whether an isolated urinary sign is a warning: late, or scanned since."""
    if case.is_date_unknown or not _is_isolated(case):
        return False
    scanned = case.workup.is_done(MRI, from_day=bladder.latest_day).is_yes
    return case.limits.met("cauda-isolated-day", case.dss) or scanned


class _Compression(Struct, frozen=True, kw_only=True):
    """What speaks for cauda equina compression."""

    signs: tuple[Sign, ...]
    deficits: tuple[Deficit, ...]
    residual: Measure | None
    is_bilateral: bool
    days: tuple[int, ...]
    is_dated: bool

    @property
    def terms(self) -> tuple[Term, ...]:
        terms = [sign_term(sign) for sign in self.signs]
        if self.residual is not None:
            terms.append(Term(kind="value-set", id="pvr"))
        if self.is_bilateral:
            terms.append(Term(kind="phrase", id="weakness-both-legs"))
        elif self.deficits:
            terms.append(Term(kind="phrase", id="new-leg-weakness"))
        return tuple(dict.fromkeys(terms))


def _compression(case: Case) -> _Compression | None:
    """Return the signs of row 1, or None when there is none."""
    bladder = read_bladder(case)
    hard = hard_signs(case)
    bilateral = is_bilateral(case)
    is_urinary = bladder.is_late and not is_downgraded(case, bladder)
    with_weakness = bladder.has_any and bool(recent_deficits(case))
    if not (hard or bilateral or is_urinary or with_weakness):
        return None
    urinary = (*bladder.latest, *((bladder.weak,) if bladder.weak is not None else ()))
    deficits = case.motor.new if bilateral or with_weakness else ()
    onsets = tuple(deficit.onset for deficit in deficits if deficit.onset is not None)
    supporting = (*hard, *_supporting(case, bladder, with_weakness=with_weakness))
    counts = with_weakness or bladder.is_late_residual(case)
    residual = (bladder.residual_day,) if bladder.residual is not None and counts else ()
    return _Compression(
        signs=(*hard, *urinary),
        deficits=deficits,
        residual=bladder.residual,
        is_bilateral=bilateral,
        days=(*(sign.day for sign in supporting), *onsets, *residual),
        is_dated=any(sign.is_dated for sign in supporting) or bool(onsets) or bool(residual),
    )


def _supporting(case: Case, bladder: Bladder, *, with_weakness: bool) -> tuple[Sign, ...]:
    """Return the urinary signs that themselves speak for compression: late, or beside weakness."""
    if with_weakness:
        return (*bladder.signs, *((bladder.weak,) if bladder.weak is not None else ()))
    return tuple(s for s in bladder.signs if case.limits.met("urinary-late-day", s.day))


def cauda_equina(case: Case, earlier: Earlier) -> Finding:
    """RF-CES: signs of cauda equina compression since the operation.

    Missing data:
        Conditions or examination findings not completely supplied: cannot tell, unless a sign that
        was read establishes it.
    """
    del earlier
    compression = _compression(case)
    answer = found(compression is not None, case.signs.unread)
    finding = weigh("RF-CES", case, [("a sign of cauda equina compression", answer)])
    if compression is None:
        return finding
    finding = replace(
        finding,
        indicator=Indicator.CRITICAL if compression.is_dated else Indicator.WARNING,
        stands_alone=compression.is_dated,
        words={"dss": case.dss, "sign": compression.terms},
        notes=() if compression.is_dated else (Note(key="date-not-recorded"),),
        evidence=(
            *sign_evidence(compression.signs),
            *deficit_evidence(case, compression.deficits),
            *measure_evidence(compression.residual, "pvr"),
        ),
        reason_references=condition_references(compression.signs),
        reason_code="cauda-equina",
    )
    return propose_mri(finding, case, ScanWish(priority="stat", since_day=max(compression.days)))


def _is_no_alarm(case: Case, bladder: Bladder) -> bool:
    """Return whether a bladder sign is early, weak or isolated, so that it alone is no alarm."""
    sign = bladder.sign
    is_early = sign is not None and not case.limits.met("urinary-late-day", sign.day)
    is_weak = bladder.weak is not None and sign is None and bladder.residual is None
    return (
        (is_early and case.at("early-retention-until").is_yes)
        or (bladder.residual is not None and not bladder.is_late_residual(case))
        or (bladder.is_late and is_downgraded(case, bladder))
        or is_weak
    )


def bladder_sign(case: Case, earlier: Earlier) -> Finding:
    """RF-POUR: a bladder sign that is early, weak or isolated."""
    bladder = read_bladder(case)
    answer = found(_is_no_alarm(case, bladder), bladder.unread)
    finding = weigh(
        "RF-POUR",
        case,
        [("an early, weak or isolated bladder sign", answer)],
        lambda: [("cauda equina syndrome is already shown", of(is_met(earlier, "RF-CES")))],
    )
    if not finding.is_met:
        return finding
    sign = bladder.sign or (bladder.weak if bladder.residual is None else None)
    named = bladder.latest or ((sign,) if sign else ())
    terms = tuple(dict.fromkeys([sign_term(each) for each in named]))
    pvr = Term(kind="value-set", id="pvr")
    words: dict[str, Word] = {"dss": case.dss, "sign": terms or pvr}
    if bladder.residual is not None:
        words["volume"] = bladder.residual.value
    signs = [s for s in (*bladder.latest, bladder.weak) if s is not None]
    return replace(
        finding,
        indicator=Indicator.WARNING,
        variant="default" if sign else "residual",
        words=words,
        notes=(*_undated_notes(sign), *_scan_notes(case, bladder)),
        evidence=(*sign_evidence(signs), *measure_evidence(bladder.residual, "pvr")),
    )


def _undated_notes(sign: Sign | None) -> tuple[Note, ...]:
    return (Note(key="date-not-recorded"),) if sign and not sign.is_dated else ()


def _scan_notes(case: Case, bladder: Bladder) -> tuple[Note, ...]:
    """Return that the MRI which makes a late sign a warning has to be read: nobody did here."""
    scans = case.workup.done(MRI)
    if not bladder.is_late or not scans or scans[-1].day < bladder.latest_day:
        return ()
    return (Note(key="mri-read-now", words={"date": scans[-1].written}),)
