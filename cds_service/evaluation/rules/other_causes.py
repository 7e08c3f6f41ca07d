"""Rows 28, 29, 32 and 33: a second diagnosis, permanent symptoms, distress, smoking."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import any_of, found, of
from cds_service.evaluation.assessment import Finding, Term, Word
from cds_service.evaluation.case import MRI, Case
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.rules.electrodiagnosis import unserved_deficits
from cds_service.evaluation.rules.referrals import is_psychology_involved, propose_referrals
from cds_service.evaluation.rules.weighing import Earlier, is_met, since_surgery, weigh
from cds_service.evaluation.rules.wording import (
    dated_evidence,
    deficit_evidence,
    deficit_words,
    denial_notes,
    measure_evidence,
    pain_references,
    sign_evidence,
    sign_term,
)
from cds_service.evaluation.signs import Sign

SCALES = ("phq9", "gad7", "pcs")


def second_diagnosis(case: Case, earlier: Earlier) -> Finding:
    """DX-RECHECK: no relief or worse pain, and a competing diagnosis on record."""
    del earlier
    competing = case.signs.conditions("competing-diagnosis")
    unread = case.workup.unread((Key.CONDITIONS,))
    requires = [
        since_surgery(case, "workup-day"),
        ("no relief or worse, significant pain", case.has_failed & case.pain.significant),
        ("a competing diagnosis on record", found(bool(competing), unread)),
    ]
    finding = weigh("DX-RECHECK", case, requires)
    if not finding.is_met:
        return finding
    names = list(dict.fromkeys([sign.display for sign in competing if sign.display]))
    return replace(
        finding,
        variant="default" if names else "unnamed",
        words={
            "dss": case.dss,
            "condition": _first_of(names, case) if names else sign_term(competing[0]),
        },
        evidence=tuple(
            replace(entry, label=sign.display or entry.label)
            for sign, entry in zip(competing, sign_evidence(competing), strict=True)
        ),
    )


def _first_of(names: list[str], case: Case) -> str:
    """Return the first of *names*, and how many more there are."""
    first, *others = names
    if not others:
        return first
    return case.limits.knowledge.said("and-more", shown=first, count=len(others))


def _lasting_numbness(case: Case) -> list[Sign]:
    """Return the records of numbness that began early and is still there, oldest first.

    Still there: on the problem list, or found late and not denied since.
    """
    standing = case.signs.standing("sensory-deficit")
    early = {s.side for s in standing if _began_early(case, s)}
    late = {s.side for s in standing if _is_there_late(case, s)}
    return [
        sign
        for sign in standing
        if (_began_early(case, sign) and sign.may_be_on(late))
        or (_is_there_late(case, sign) and sign.may_be_on(early))
    ]


def _began_early(case: Case, sign: Sign) -> bool:
    return case.limits.met("neuro-onset-last", sign.day)


def _is_there_late(case: Case, sign: Sign) -> bool:
    return sign.is_condition or case.limits.met("neuro-permanent-day", sign.day)


def _old_weakness(case: Case) -> list[Deficit]:
    """Return current deficits from soon after the operation, graded again late."""
    return [
        deficit
        for deficit in case.motor.current
        if deficit.onset is not None
        and case.limits.met("neuro-onset-last", deficit.onset)
        and deficit.seen_day is not None
        and case.limits.met("neuro-permanent-day", deficit.seen_day)
    ]


def _is_worked_up(case: Case, earlier: Earlier, deficit: Deficit) -> bool:
    """Return whether a card above already asks for a test because of this very deficit."""
    asks_for_scan = is_met(earlier, "IMG-MRI-DEF") or is_met(earlier, "IMG-ALT")
    if asks_for_scan and not case.workup.is_done(MRI, from_day=deficit.onset).is_yes:
        return True
    waits = any(unserved.deficit == deficit for unserved in unserved_deficits(case))
    return waits and is_met(earlier, "EMG-MOTOR")


def permanent_symptoms(case: Case, earlier: Earlier) -> Finding:
    """NEURO-PERM: numbness or weakness that has lasted more than a year."""
    sensory = _lasting_numbness(case)
    weakness = [d for d in _old_weakness(case) if not _is_worked_up(case, earlier, d)]
    unread = case.signs.unread | case.motor.unread
    requires = [
        since_surgery(case, "neuro-permanent-day"),
        ("an early deficit that is still there", found(bool(sensory or weakness), unread)),
    ]
    finding = weigh("NEURO-PERM", case, requires)
    if not finding.is_met:
        return finding
    confirmed = [sign for sign in sensory if _is_confirmed(case, sign)]
    words: dict[str, Word] = {"dss": case.dss}
    if weakness and not confirmed:
        variant = "weakness"
        words |= deficit_words(case, weakness[0])
    else:
        variant = "default" if confirmed else "problem-list"
        words["finding"] = sign_term((confirmed or sensory)[0])
    return replace(
        finding,
        variant=variant,
        words=words,
        notes=denial_notes(case, sensory) if variant == "problem-list" else (),
        evidence=(*sign_evidence(sensory), *deficit_evidence(case, weakness)),
    )


def _is_confirmed(case: Case, sign: Sign) -> bool:
    """Return whether *sign* was recorded or found late, and not denied since."""
    day = sign.day if not sign.is_condition else sign.recorded_day
    is_late = day is not None and case.limits.met("neuro-permanent-day", day)
    return is_late and case.signs.denied_on(sign) is None


def distress(case: Case, earlier: Earlier) -> Finding:
    """PSYCH: significant pain and a questionnaire that shows distress."""
    del earlier
    answers = {n: case.measures.latest_meets(n, n, "screen-fresh") for n in SCALES}
    requires = [
        since_surgery(case, "workup-day"),
        ("significant pain", case.pain.significant),
        ("a questionnaire shows distress", any_of(answers.values())),
    ]
    finding = weigh(
        "PSYCH",
        case,
        requires,
        lambda: [("psychology already involved", is_psychology_involved(case))],
    )
    if not finding.is_met:
        return finding
    positive = {n: case.measures.latest(n) for n in SCALES if answers[n].is_yes}
    name, latest = next(iter(positive.items()))
    evidence = tuple(e for n, measure in positive.items() for e in measure_evidence(measure, n))
    finding = replace(
        finding,
        words={
            "dss": case.dss,
            "scale": Term(kind="phrase", id=f"scale-{name}"),
            "score": latest.value if latest is not None else 0,
        },
        evidence=evidence,
        reason_references=pain_references(case),
        reason_code="post-laminectomy-syndrome",
    )
    return propose_referrals(finding, case, "psychology-referral")


def smoking(case: Case, earlier: Earlier) -> Finding:
    """SMOKE: a current smoker with persistent pain or a healing fusion."""
    del earlier
    healing = of(case.operation.is_fusion) & case.at("smoking-fusion-day")
    requires = [
        ("current smoker", case.care.is_smoker),
        (
            "persistent significant pain, or a fusion in its first year",
            any_of((case.pain.persists & case.pain.significant, healing)),
        ),
    ]
    finding = weigh(
        "SMOKE",
        case,
        requires,
        lambda: [
            (
                "help to stop smoking already ordered",
                case.workup.is_referred("smoking-cessation-order", newest="order-lookback-year"),
            )
        ],
    )
    if not finding.is_met:
        return finding
    signs = case.signs.of("smoker")
    observed = [
        dated_evidence(o.reference, "smoking status", o.effective)
        for o in case.chart.observed.get("smoking-status", ())
        if "smoker" in o.choice and o.effective is not None
    ]
    finding = replace(
        finding,
        words={"dss": case.dss},
        evidence=(*observed, *sign_evidence(s for s in signs if s.is_condition)),
        reason_references=tuple(s.reference for s in signs if s.is_condition)[:1],
        reason_code="smoker",
    )
    return propose_referrals(finding, case, "smoking-cessation")
