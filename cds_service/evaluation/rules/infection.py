"""Rows 4 and 6: infection of the spine or the wound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found, of
from cds_service.evaluation.assessment import (
    Evidence,
    Finding,
    Indicator,
    Note,
    Proposal,
    Term,
    Word,
)
from cds_service.evaluation.case import Case
from cds_service.evaluation.measures import Measure
from cds_service.evaluation.pain import Driver
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import Earlier, is_met, weigh
from cds_service.evaluation.rules.wording import (
    condition_references,
    measure_evidence,
    score_evidence,
    sign_date,
    sign_evidence,
)
from cds_service.evaluation.signs import Sign

BLOODS = ("crp", "esr", "wbc")
INFECTION_BLOODS = Proposal(
    orders=(*BLOODS, "blood-cultures"), priority="stat", is_recommended=True
)
"""What is proposed for signs of spinal infection whether an MRI can be proposed or not."""


class Hint(Struct, frozen=True, kw_only=True):
    """One sign of infection: its id in the phrases, and what it rests on."""

    id: str
    day: int
    is_major: bool
    is_dated: bool = True
    evidence: tuple[Evidence, ...] = ()
    signs: tuple[Sign, ...] = ()


class InfectionPicture(Struct, frozen=True, kw_only=True):
    """All signs of infection of one patient, with the parts that could not be read."""

    coded: tuple[Sign, ...]
    old: tuple[Sign, ...]
    hints: tuple[Hint, ...]
    unread: frozenset[str]

    @property
    def majors(self) -> tuple[Hint, ...]:
        """Return the major signs."""
        return tuple(hint for hint in self.hints if hint.is_major)

    @property
    def is_crp_and_axial_only(self) -> bool:
        """Whether CRP and axial pain are the only signs."""
        return {hint.id for hint in self.hints} == {"raised-crp", "axial-pain"}

    @property
    def is_code_undated(self) -> bool:
        """Whether a spinal infection is coded, and only without a date."""
        return bool(self.coded) and not any(sign.is_dated for sign in self.coded)

    @property
    def has_dated_hint(self) -> bool:
        """Whether a sign has a date."""
        return any(hint.is_dated for hint in self.hints)


@once
def read_infection(case: Case) -> InfectionPicture:
    """Collect every sign of infection."""
    coded = _coded(case)
    fresh = [s for s in coded if case.limits.met("infection-coded-age", s.age)]
    hints = (_fever(case), _crp(case), _wound(case), *_minors(case))
    known = tuple(hint for hint in hints if hint is not None)
    axial = case.workup.unread((Key.SCORES,)) if any(hint.is_major for hint in known) else set()
    return InfectionPicture(
        coded=tuple(fresh),
        old=tuple([s for s in coded if not case.limits.met("infection-coded-age", s.age)]),
        hints=known,
        unread=case.signs.unread | axial,
    )


def _coded(case: Case) -> list[Sign]:
    """Return the spinal infections coded after the operation."""
    certain = case.signs.on_record("infection-spinal")
    conditional = [
        sign
        for sign in case.signs.on_record("infection-spinal-if-text-or-early")
        if sign.names_spine or case.limits.met("infection-sign-day", sign.day)
    ]
    return [sign for sign in (*certain, *conditional) if sign.day >= 0]


def _fever(case: Case) -> Hint | None:
    """Return fever: the latest reading, any reading of the last days, or a code of these days."""
    late = [
        reading
        for reading in case.measures.series("temperature")
        if case.limits.met("fever-day", case.operation.dss(reading.on))
        and case.limits.met("fever-temperature", reading.value)
    ]
    latest = case.measures.latest("temperature")
    is_complete = not case.measures.unread("temperature")
    counted = [
        reading
        for reading in late
        if case.limits.met("fever-any-age", reading.age)
        or (is_complete and reading == latest and case.limits.met("red-flag-recent", reading.age))
    ]
    signs = [
        sign
        for sign in case.signs.of("postoperative-fever")
        if case.limits.met("fever-any-age", sign.age) and case.limits.met("fever-day", sign.day)
    ]
    if not counted and not signs:
        return None
    days = [case.operation.dss(reading.on) for reading in counted] + [s.day for s in signs]
    return Hint(
        id="fever",
        day=min(days),
        is_major=True,
        is_dated=bool(counted) or any(sign.is_dated for sign in signs),
        evidence=(
            *(e for reading in counted for e in measure_evidence(reading, "temperature")),
            *sign_evidence(signs),
        ),
        signs=tuple(signs),
    )


def _crp(case: Case) -> Hint | None:
    """Return a raised CRP: above the limit late, or rising again."""
    if case.measures.unread("crp"):
        return None
    latest = case.measures.latest("crp")
    if latest is None or not case.limits.met("red-flag-recent", latest.age):
        return None
    if not case.limits.met("crp-absolute", latest.value):
        return None
    day = case.operation.dss(latest.on)
    if not case.limits.met("crp-absolute-day", day) and not _crp_rises(case, latest):
        return None
    return Hint(id="raised-crp", day=day, is_major=True, evidence=_crp_evidence(case, latest))


def _crp_evidence(case: Case, crp: Measure) -> tuple[Evidence, ...]:
    """Return *crp* with those since surgery before it: they say whether it rises or falls."""
    earlier = tuple(
        (measure.on, measure.value)
        for measure in case.measures.series("crp")
        if case.operation.day <= measure.on < crp.on
    )
    return tuple(replace(entry, earlier=earlier) for entry in measure_evidence(crp, "crp"))


def _crp_rises(case: Case, latest: Measure) -> bool:
    after = [
        measure
        for measure in case.measures.series("crp")
        if case.limits.met("crp-rise-day", case.operation.dss(measure.on))
    ]
    lowest = min((m.value for m in after if m.on < latest.on), default=None)
    if lowest is None:
        return False
    return not lowest or case.limits.met("crp-rise-factor", latest.value / lowest)


def _wound(case: Case) -> Hint | None:
    """Return a wound problem or a coded infection sign."""
    signs = [
        sign
        for sign in case.signs.of("wound-problem")
        if sign.day >= 0 and case.limits.met("wound-age", sign.age)
    ]
    signs += [
        sign
        for sign in case.signs.of("infection-sign")
        if sign.day >= 0
        and case.limits.met("wound-age", sign.age)
        and (sign.names_spine or case.at("infection-sign-day").is_yes)
    ]
    if not signs:
        return None
    return Hint(
        id=f"wound:{signs[0].concept}",
        day=min(sign.day for sign in signs),
        is_major=True,
        is_dated=any(sign.is_dated for sign in signs),
        evidence=sign_evidence(signs),
        signs=tuple(signs),
    )


def _minors(case: Case) -> Iterable[Hint]:
    """Return the supporting signs: white cells, sedimentation rate, rising axial pain."""
    for name, high, day in (("wbc", "wbc-high", "wbc-day"), ("esr", "esr-high", "esr-day")):
        answer = case.measures.latest_meets(name, high, "red-flag-recent")
        latest = case.measures.latest(name)
        if answer.is_yes and latest is not None:
            measured = case.operation.dss(latest.on)
            if case.limits.met(day, measured):
                evidence = measure_evidence(latest, name)
                yield Hint(id=f"raised-{name}", day=measured, is_major=False, evidence=evidence)
    series = case.pain.sites[Driver.BACK].series
    if len(series) > 1:
        *_, previous, last = series
        is_recent = case.limits.met("red-flag-recent", case.dss - last.day)
        is_rise = case.limits.met("pain-change", last.value - previous.value)
        if is_recent and is_rise and case.limits.met("axial-rise-day", last.day):
            evidence = score_evidence((previous, last), "back pain")
            yield Hint(id="axial-pain", day=last.day, is_major=False, evidence=evidence)


def _pair_only_late(case: Case, picture: InfectionPicture) -> bool:
    return picture.is_crp_and_axial_only and case.limits.met("crp-axial-day", case.dss)


def infection(case: Case, earlier: Earlier) -> Finding:
    """RF-INF: a coded spinal infection, or a major sign with a second one.

    Missing data:
        Conditions or findings not completely supplied: cannot tell, unless the signs that were read
        establish it.
    """
    del earlier
    picture = read_infection(case)
    has_two = case.limits.met("infection-signs", len(picture.hints)) and bool(picture.majors)
    is_open = case.limits.met("infection-day", case.dss)
    by_signs = has_two and is_open and not _pair_only_late(case, picture)
    is_dated = any(s.is_dated for s in picture.coded) or (by_signs and picture.has_dated_hint)
    answer = found((bool(picture.coded) or by_signs) and is_dated, picture.unread)
    finding = weigh("RF-INF", case, [("signs of spinal infection", answer)])
    if not answer.is_yes:
        return finding
    days = [sign.day for sign in picture.coded] + [hint.day for hint in picture.hints]
    signs = (*picture.coded, *(sign for hint in picture.hints for sign in hint.signs))
    finding = replace(
        finding,
        indicator=Indicator.CRITICAL,
        stands_alone=True,
        words={"dss": case.dss, "sign": _terms(picture)},
        evidence=_evidence(picture),
        reason_references=condition_references(signs),
        reason_code="infection-spinal",
        proposals=(INFECTION_BLOODS,),
        notes=(Note(key="cultures-before-antibiotics"),),
    )
    wish = ScanWish(priority="stat", keeps_contrast=True, since_day=max(days))
    return propose_mri(finding, case, wish)


def _terms(picture: InfectionPicture) -> tuple[Term, ...]:
    coded = [Term(kind="value-set", id=sign.concept) for sign in picture.coded]
    return tuple(dict.fromkeys((*coded, *(_hint_term(hint) for hint in picture.hints))))


def _hint_term(hint: Hint) -> Term:
    if hint.id.startswith("wound:"):
        return Term(kind="value-set", id=hint.id.removeprefix("wound:"))
    return Term(kind="phrase", id=hint.id)


def _evidence(picture: InfectionPicture) -> tuple[Evidence, ...]:
    hints = tuple(evidence for hint in picture.hints for evidence in hint.evidence)
    return (*sign_evidence((*picture.coded, *picture.old)), *hints)


def infection_hint(case: Case, earlier: Earlier) -> Finding:
    """RF-INF-W: a single sign of infection, an old coded infection, or only undated signs."""
    picture = read_infection(case)
    is_single = _is_single_sign(case, picture)
    is_current = is_single or picture.is_code_undated
    answer = found(is_current or bool(picture.old), picture.unread)
    finding = weigh(
        "RF-INF-W",
        case,
        [("a single sign of infection", answer)],
        lambda: [("spinal infection is already shown", of(is_met(earlier, "RF-INF")))],
    )
    if not finding.is_met:
        return finding
    hinted = [sign for hint in picture.hints for sign in hint.signs] if is_current else []
    words: dict[str, Word] = {"dss": case.dss, "sign": _terms(picture)}
    if not is_current:
        words["date"] = sign_date(picture.old[0])
    finding = replace(
        finding,
        indicator=Indicator.WARNING,
        variant="default" if is_current else "old",
        words=words,
        notes=tuple(_hint_notes(case, picture, is_single=is_single)),
        evidence=_evidence(picture),
        reason_references=condition_references((*picture.coded, *picture.old, *hinted)),
        reason_code="infection-sign",
    )
    return _with_blood_tests(finding, case)


def _is_single_sign(case: Case, picture: InfectionPicture) -> bool:
    """Return whether a major sign stands alone, or beside signs that do not make it an alarm."""
    if not picture.majors or not case.limits.met("infection-day", case.dss):
        return False
    is_alone = len(picture.hints) == 1 or _pair_only_late(case, picture)
    return is_alone or not picture.has_dated_hint


def _hint_notes(case: Case, picture: InfectionPicture, *, is_single: bool) -> Iterator[Note]:
    if picture.is_code_undated or (is_single and not picture.has_dated_hint):
        yield Note(key="date-not-recorded")
    if is_single and _pair_only_late(case, picture):
        yield Note(key="other-causes-of-crp")


def _with_blood_tests(finding: Finding, case: Case) -> Finding:
    """Return *finding* with the order for blood tests, unless a CRP was just done."""
    fresh = case.measures.none_since("crp", "crp-just-done")
    latest = case.measures.latest("crp")
    if fresh.is_no and latest is not None:
        done = _crp_evidence(case, latest)
        return replace(finding, evidence=tuple(dict.fromkeys((*finding.evidence, *done))))
    if fresh.is_unknown:
        return replace(finding, unread=finding.unread | fresh.unread, is_order_withheld=True)
    return replace(
        finding,
        proposals=(Proposal(orders=BLOODS, priority="urgent", is_recommended=True),),
        notes=(*finding.notes, *_latest_crp(finding, case)),
    )


def _latest_crp(finding: Finding, case: Case) -> tuple[Note, ...]:
    """Return the latest CRP since surgery, if it is not among the signs: it may be normal."""
    crp = case.measures.latest("crp")
    shown = {entry.reference for entry in finding.evidence}
    if crp is None or crp.reference in shown or crp.on < case.operation.day:
        return ()
    return (Note(key="latest-crp", words={"value": crp.value, "date": crp.on}),)


def is_current_hint(earlier: Earlier) -> Answer:
    """Return whether RF-INF-W is met because of a current sign (not an old coded infection)."""
    finding = earlier["RF-INF-W"]
    if finding.unread and not is_met(earlier, "RF-INF-W"):
        return Answer(None, finding.unread)
    return of(is_met(earlier, "RF-INF-W") and finding.variant != "old")
