"""Rows 10 and 11: check the records, and when should the surgeon see the patient?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from cds_service.evaluation.answers import NO, Answer, all_of, any_of, of
from cds_service.evaluation.assessment import (
    Evidence,
    Finding,
    Indicator,
    Note,
    Term,
    Word,
)
from cds_service.evaluation.case import Case
from cds_service.evaluation.levels import LevelCheck
from cds_service.evaluation.pain import Course, Driver
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.imaging import asks_for_mri, is_mri_wanted
from cds_service.evaluation.rules.referrals import propose_referrals
from cds_service.evaluation.rules.weighing import Earlier, is_met, passed_over, weigh
from cds_service.evaluation.rules.wording import (
    dated_evidence,
    deficit_evidence,
    operation_words,
    pain_notes,
    pain_reason,
    pain_references,
    score_evidence,
    sign_evidence,
    weakness_notes,
)
from cds_service.values import FhirDate, Side

_WITH_CAUSE = frozenset({"weakness", "hardware", "structural"})
"""Reasons that rest on an entry of their own, whatever the pain."""
REFERRAL = ("spine-surgery-referral", "spine-surgery-visit")


def level_check(case: Case, earlier: Earlier) -> Finding:
    """CK-LEVEL: the recorded level or side of the operation and of its indication differ."""
    del earlier
    check = case.level_check
    requires = [
        ("recorded level or side of operation and indication differ", check.differs),
        ("no relief or worse pain", case.has_failed),
    ]
    finding = weigh("CK-LEVEL", case, requires)
    if check.indication is None or not finding.is_met:
        return finding
    performed = case.operation.stages[-1].performed
    return replace(
        finding,
        indicator=Indicator.WARNING,
        words={
            "dss": case.dss,
            "operation": _differing(check, case.operation.levels, case.operation.sides),
            "indication": _differing(check, check.indication.levels, check.indication.sides),
        },
        evidence=(
            *_level_evidence("operation", case.operation.references, performed),
            *_level_evidence("indication", check.indication.references, check.indication.when),
        ),
    )


def _level_evidence(
    of_what: str, references: Iterable[str], when: FhirDate | None
) -> tuple[Evidence, ...]:
    label = f"level and side of the {of_what}"
    return tuple(dated_evidence(reference, label, when) for reference in references)


def _differing(
    check: LevelCheck, levels: frozenset[str], sides: frozenset[Side]
) -> tuple[Term, ...]:
    """Return what differs of one record in words: its levels, its sides, or both."""
    return (
        *(_levels(levels) if check.is_by_level else ()),
        *(_sides(sides) if check.is_by_side else ()),
    )


def _levels(levels: frozenset[str]) -> tuple[Term, ...]:
    return tuple(Term(kind="phrase", id=f"level-{level.lower()}") for level in sorted(levels))


def _sides(sides: frozenset[Side]) -> tuple[Term, ...]:
    names = sorted(side.value for side in sides)
    return tuple(Term(kind="phrase", id=f"side-{name}") for name in names)


class Reason(Struct, frozen=True, kw_only=True):
    """One reason to see the surgeon, and what would already have answered it."""

    id: str
    holds: Answer
    lookback: str
    from_day: int | None = None
    is_dated: bool = False
    """Whether only a referral from the day of the event on answers it."""

    def remains(self, case: Case) -> Answer:
        """Return whether the reason holds and no referral or visit has answered it.

        Missing data:
            While the event itself cannot be told, no referral is known to have answered it.
        """
        if self.holds.is_unknown and self.is_dated:
            return self.holds
        served = case.workup.is_referred(*REFERRAL, newest=self.lookback, from_day=self.from_day)
        return self.holds & ~served


@once
def severe_early(case: Case) -> tuple[Answer, int | None]:
    """Return reason (h): severe leg pain too early to judge, and the day a referral counts from."""
    early = ~case.at("workup-day") & case.leg_fires("pain-severe")
    if early.is_no:
        return NO, None
    leg = case.pain.sites[Driver.LEG]
    if leg.course is None:
        return early & Answer(None, leg.unread), None
    if leg.course is Course.WORSENING:
        severe = [s.day for s in leg.series if case.limits.met("pain-severe", s.value)]
        return early, min(severe, default=None)
    if leg.course is not Course.RETURNED or leg.onset is None:
        return NO, None
    is_inflammation = case.limits.within(
        "inflammation-onset-first", "inflammation-onset-last", leg.onset
    )
    lasts = any(
        case.limits.met("pain-severe", score.value)
        and case.limits.met("recurrence-recheck", score.day - leg.onset)
        for score in leg.series
    )
    return early & of(is_inflammation and lasts), leg.onset


def _reasons(case: Case, earlier: Earlier) -> list[Reason]:
    """Return the reasons that hold, and those that cannot be told."""
    lookback = "order-lookback"
    severe, severe_from = severe_early(case)
    reasons = (
        Reason(id="severe", holds=severe, lookback=lookback, from_day=severe_from, is_dated=True),
        Reason(
            id="weakness",
            holds=case.motor.any(case.motor.stable),
            lookback=lookback,
            from_day=case.motor.latest_stable_onset,
            is_dated=True,
        ),
        Reason(
            id="return",
            holds=_return(case),
            lookback=lookback,
            from_day=case.onset,
            is_dated=True,
        ),
        Reason(id="hardware", holds=case.signs.has("hardware-failure"), lookback=lookback),
        Reason(id="structural", holds=case.has_structural_target, lookback=lookback),
        Reason(id="level", holds=of(is_met(earlier, "CK-LEVEL")), lookback=lookback),
        Reason(id="no-scan", holds=_no_scan(case), lookback=lookback),
        Reason(id="unrelieved", holds=_unrelieved(case), lookback="order-lookback-year"),
    )
    return [reason for reason in reasons if not reason.holds.is_no]


def _unrelieved(case: Case) -> Answer:
    if case.has_failed.is_no:
        return NO
    return all_of(
        (
            case.is_judgeable,
            case.has_failed,
            case.pain.significant,
            case.has_mri,
            case.care.is_therapy_tried,
            ~case.is_target_relieved,
        )
    )


def _return(case: Case) -> Answer:
    if case.has_returned.is_no:
        return NO
    is_true = of(case.is_true_return) if case.pain.course is not None else case.has_returned
    return all_of(
        (
            case.has_returned,
            case.pain.significant,
            is_true,
            case.leg_fires("pain-severe") | case.has_mri,
        )
    )


def _no_scan(case: Case) -> Answer:
    if not case.cautions.is_pregnant:
        return NO
    return asks_for_mri(case) & case.cautions.is_mri_unsafe


def _unread_scans(case: Case, reasons: Iterable[Reason]) -> frozenset[str]:
    """Return the parts that may hold the MRI which one of *reasons* misses."""
    if all(reason.id != "no-scan" for reason in reasons):
        return frozenset()
    return any_of(is_mri_wanted(case)).unread


def surgeon_review(case: Case, earlier: Earlier) -> Finding:
    """SURG-REV: a reason for the surgeon that no referral or visit has answered.

    Missing data:
        Orders or visits not completely supplied: the card appears without its referral.  Reports
        not supplied: an MRI that neither implant nor pregnancy allows counts as still needed.
    """
    reasons = _reasons(case, earlier)
    certain = [reason for reason in reasons if reason.holds.is_yes]
    open_ones = [reason for reason in certain if not reason.remains(case).is_no]
    if not open_ones:
        return _without_open_reason(case, reasons)
    finding = weigh("SURG-REV", case, [("a reason to see the surgeon", of(flag=True))])
    is_severe_leg = case.leg_fires("pain-severe").is_yes
    is_info = [reason.id for reason in open_ones] == ["unrelieved"] and not is_severe_leg
    finding = replace(
        finding,
        indicator=Indicator.INFO if is_info else Indicator.WARNING,
        variant=_variant(case, open_ones[0].id),
        words=_words(case, open_ones),
        notes=(
            *(weakness_notes(case) if _is_for_weakness(open_ones) else ()),
            *(pain_notes(case) if _is_for_pain(open_ones) else ()),
            *_level_notes(earlier, open_ones),
            *_notes(case),
        ),
        evidence=_evidence(case, open_ones),
        unread=_unread_scans(case, open_ones),
        passed_over=passed_over(reason.remains(case) for reason in open_ones),
        reason_references=_reason_references(case, open_ones),
        reason_code=_reason_code(case, open_ones),
    )
    priority = "urgent" if is_severe_leg or case.motor.stable else "routine"
    return propose_referrals(finding, case, "spine-surgery-referral", priority=priority)


def _without_open_reason(case: Case, reasons: Iterable[Reason]) -> Finding:
    """Return why the card is not shown: no reason, an answered one, or one that cannot be told."""
    answered = [reason for reason in reasons if reason.holds.is_yes]
    doubtful = any_of(reason.remains(case) for reason in reasons if reason not in answered)
    if doubtful.is_unknown:
        return weigh("SURG-REV", case, [("a reason to see the surgeon", doubtful)])
    held = of(bool(answered))
    return weigh(
        "SURG-REV",
        case,
        [("a reason to see the surgeon", held)],
        lambda: [("already referred to or seen by the surgeon", held)],
    )


def _variant(case: Case, first: str) -> str:
    if first != "severe":
        return "default"
    leg = case.pain.sites[Driver.LEG]
    if leg.course is not Course.WORSENING:
        return "severe-return"
    return "severe" if leg.baseline is not None else "severe-rising"


def _words(case: Case, reasons: list[Reason]) -> dict[str, Word]:
    words: dict[str, Word] = {
        "dss": case.dss,
        "reason": tuple(_reason_term(case, reason) for reason in reasons),
        "surgeries": case.operation.surgery_count,
        **operation_words(case.operation),
    }
    leg = case.pain.sites[Driver.LEG]
    if case.leg is not None:
        words["score"] = case.leg
        words["on"] = leg.series[-1].day
    onset = leg.onset
    if onset is not None:
        words["onset"] = onset
    return words


def _reason_term(case: Case, reason: Reason) -> Term:
    """Return a reason in words that are true of this patient's weakness, pain or disability."""
    name = reason.id
    if name == "weakness" and all(deficit.onset is None for deficit in case.motor.stable):
        name = "weakness-undated"
    if name == "unrelieved" and case.pain.course is Course.WORSENING:
        name = "worse"
    if name in {"unrelieved", "worse", "return"} and case.pain.driver is Driver.ODI:
        name = f"{name}-odi"
    return Term(kind="phrase", id=f"surgery-reason-{name}")


def _notes(case: Case) -> tuple[Note, ...]:
    notes = []
    before = [sign for sign in case.signs.conditions("foraminal-stenosis") if sign.day < 0]
    if before and not case.operation.is_fusion and case.has_failed.is_yes:
        notes.append(Note(key="foraminal-before", is_for_order=True))
    if case.limits.met("surgeries-several", case.operation.surgery_count):
        notes.append(
            Note(key="several-operations", words={"surgeries": case.operation.surgery_count})
        )
    return tuple(notes)


def _level_notes(earlier: Earlier, reasons: list[Reason]) -> tuple[Note, ...]:
    """Return what differs: the referral travels without the card that says it."""
    if all(reason.id != "level" for reason in reasons):
        return ()
    said = earlier["CK-LEVEL"].words
    words = {name: said[name] for name in ("operation", "indication")}
    return (Note(key="level-differs", words=words, is_for_order=True),)


def _evidence(case: Case, reasons: list[Reason]) -> tuple[Evidence, ...]:
    """Return the entries behind the open reasons; pain is behind all but those with a cause."""
    causes = _causes(case, reasons)
    leading = case.pain.leading
    if leading is None or not _is_for_pain(reasons):
        return causes
    return (*causes, *score_evidence(leading.series, leading.driver.value))


def _causes(case: Case, reasons: list[Reason]) -> tuple[Evidence, ...]:
    """Return the entries that are a reason by themselves: weakness, implant, structural cause."""
    by_reason: dict[str, Callable[[], tuple[Evidence, ...]]] = {
        "weakness": lambda: deficit_evidence(case, case.motor.stable),
        "hardware": lambda: sign_evidence(case.signs.on_record("hardware-failure")),
        "structural": lambda: tuple(
            dated_evidence(lesion.reference, lesion.concept, lesion.when) for lesion in case.lesions
        ),
    }
    names = {reason.id for reason in reasons}
    return tuple(
        entry for name, entries in by_reason.items() if name in names for entry in entries()
    )


def _conditions(entries: Iterable[Evidence]) -> tuple[str, ...]:
    """Return the conditions among *entries*, each once."""
    references = dict.fromkeys([entry.reference for entry in entries])
    return tuple([reference for reference in references if reference.startswith("Condition/")])


def _is_for_pain(reasons: Iterable[Reason]) -> bool:
    return not _WITH_CAUSE.issuperset(reason.id for reason in reasons)


def _is_for_weakness(reasons: Iterable[Reason]) -> bool:
    return any(reason.id == "weakness" for reason in reasons)


def _reason_references(case: Case, reasons: list[Reason]) -> tuple[str, ...]:
    """Return the conditions that are a reason; weakness that was only examined has none."""
    causes = _conditions(_causes(case, reasons))
    return causes if causes or _is_for_weakness(reasons) else pain_references(case)


def _reason_code(case: Case, reasons: list[Reason]) -> str:
    if _is_for_weakness(reasons):
        return "motor-weakness"
    if any(reason.id == "severe" for reason in reasons):
        return pain_reason(case, Driver.LEG)
    if any(reason.id == "return" for reason in reasons):
        return pain_reason(case, case.pain.driver)
    return pain_reason(case, case.worst.driver if case.worst else None)
