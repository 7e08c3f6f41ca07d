"""Rows 23-27: physiotherapy, spinal cord stimulation, the pain specialist, the SI joint."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, all_of, any_of, found, of
from cds_service.evaluation.assessment import Evidence, Finding, Indicator, Note, Term, Word
from cds_service.evaluation.care import TRIAL_CLASSES
from cds_service.evaluation.case import MRI, Case
from cds_service.evaluation.pain import Course, Driver
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.imaging import (
    is_failure_imaged,
    is_return_imaged,
    needs_deficit_mri,
)
from cds_service.evaluation.rules.infection import is_current_hint
from cds_service.evaluation.rules.referrals import is_psychology_involved, propose_referrals
from cds_service.evaluation.rules.weighing import (
    Earlier,
    Named,
    answer_above,
    passed_over,
    since_surgery,
    weigh,
)
from cds_service.evaluation.rules.wording import (
    dated_evidence,
    implant_term,
    measure_evidence,
    operation_words,
    pain_reason,
    pain_references,
    score_evidence,
    sign_evidence,
)
from cds_service.values import whole_months

_STIMULATOR = "scs-evaluation-referral"
_PSYCHOLOGY = "psychology-referral"
_STIMULATORS = frozenset({"scs-procedure", "implant-neurostimulator"})


def _score_words(case: Case) -> dict[str, Word]:
    """Return the words for the worst current score."""
    worst = case.worst
    words: dict[str, Word] = {"dss": case.dss}
    if worst is None or worst.current is None:
        return words
    words["site"] = Term(kind="phrase", id=f"site-{worst.driver.value}")
    words["score"] = worst.current.value
    return words


def physiotherapy(case: Case, earlier: Earlier) -> Finding:
    """PT-REF: significant pain and no therapy on record, late enough or with clearance."""
    start = "pt-day-fusion" if case.operation.is_fusion else "pt-day"
    course = case.pain.is_course(
        Course.RETURNED, Course.WORSENING, Course.NO_RELIEF, Course.IMPROVING
    )
    requires = [
        (
            f"day {case.dss} since surgery (needed: {case.limits.words(start)}, or clearance)",
            (case.at(start) | case.care.is_therapy_cleared) & case.at("pt-max-day"),
        ),
        ("significant pain that is not resolved", case.pain.significant & course),
    ]
    finding = weigh(
        "PT-REF",
        case,
        requires,
        lambda: [
            (
                "physiotherapy already ordered",
                case.workup.is_ordered("physiotherapy-order", newest="order-lookback"),
            ),
            ("a recent therapy contact", case.care.is_therapy_recent),
            *_unsafe_for_therapy(case, earlier),
        ],
    )
    if not finding.is_met:
        return finding
    words = _score_words(case)
    worst = case.worst
    finding = replace(
        finding,
        variant=_therapy_variant(case),
        words={**words, **operation_words(case.operation)},
        notes=_therapy_notes(case),
        evidence=(
            *score_evidence(worst.series if worst else (), "pain"),
            *_clearance_evidence(case),
        ),
        reason_references=pain_references(case),
        reason_code=pain_reason(case, worst.driver if worst else None),
    )
    return propose_referrals(finding, case, "physiotherapy-referral")


def _therapy_variant(case: Case) -> str:
    """Return the words for what is known of earlier therapy."""
    if case.care.is_therapy_recent.is_unknown:
        return "unread"
    return "early-therapy" if case.care.is_therapy_only_early else "default"


def _unsafe_for_therapy(case: Case, earlier: Earlier) -> list[Named]:
    """Return what must be settled before physiotherapy is proposed."""
    return [
        ("another cause is on record", answer_above(earlier, "RF-OTHER")),
        ("a sign of infection is open", is_current_hint(earlier)),
        ("a leak of spinal fluid is on record", answer_above(earlier, "RF-CSF")),
        ("a new weakness without an MRI since", needs_deficit_mri(case)),
        ("severe returned leg pain without an MRI since", _is_return_unscanned(case)),
    ]


def _is_return_unscanned(case: Case) -> Answer:
    severe_return = is_return_imaged(case) & case.leg_fires("pain-severe")
    if severe_return.is_no:
        return severe_return
    onset = case.onset if case.onset is not None else 0
    return severe_return & ~case.workup.is_done(MRI, from_day=onset)


def _clearance_evidence(case: Case) -> tuple[Evidence, ...]:
    clearance = case.care.clearance
    if clearance is None:
        return ()
    return (dated_evidence(clearance.reference, "surgeon-clearance", clearance.when),)


def _therapy_notes(case: Case) -> tuple[Note, ...]:
    operation = case.operation
    notes = []
    clearance = case.care.clearance
    if clearance is not None:
        key = "therapy-cleared" if clearance.is_given else "therapy-not-cleared"
        words = {"date": clearance.when.written}
        notes.append(Note(key=key, words=words, is_for_order=True))
    is_complex = (
        operation.is_fusion
        or case.limits.met("levels-several", operation.level_count or 1)
        or case.limits.met("surgeries-several", operation.surgery_count)
    )
    if is_complex:
        notes.append(Note(key="more-intense", is_for_order=True))
    return tuple(notes)


# Spinal cord stimulation


def _leg_run(case: Case) -> Answer:
    """Return whether every leg score of an unbroken run reaching back far enough is high."""
    leg = case.pain.sites[Driver.LEG]
    if leg.unread and not leg.series:
        return Answer(None, leg.unread)
    return of(case.limits.met("scs-run", leg_run_days(case)))


def leg_run_days(case: Case) -> int:
    """Return how many days the unbroken run of high leg scores reaches back."""
    leg = case.pain.sites[Driver.LEG]
    first = case.dss
    for score in reversed((*leg.before, *leg.series)):
        if not case.limits.met("scs-leg-pain", score.value):
            break
        first = score.day
    return case.dss - first


def _is_scanned(case: Case) -> Answer:
    return case.has_mri | case.has_ct(case.limits.first_day("mri-readable-day"))


@once
def prerequisites(case: Case) -> tuple[tuple[str, Answer], ...]:
    """Return what must have been tried before a stimulator is considered, by phrase id."""
    drugs = case.care.has_tried(TRIAL_CLASSES, "scs-drug-classes") & (
        case.care.has_tried_neuropathic
    )
    return (
        ("prerequisite-run", _leg_run(case)),
        ("prerequisite-imaging", _is_scanned(case)),
        ("prerequisite-physiotherapy", case.care.is_therapy_tried),
        ("prerequisite-drugs", drugs),
    )


@once
def _is_candidate(case: Case) -> list[Named]:
    return [
        since_surgery(case, "scs-day"),
        ("persistent or recurrent pain", case.pain.persists),
        (f"leg pain {case.limits.words('scs-leg-pain')}", case.leg_fires("scs-leg-pain")),
        ("neuropathic pain by screen or code", case.care.is_neuropathic),
    ]


def _unresolved_imaging(case: Case) -> Answer:
    """Return whether pain asks for imaging that was not done; a new weakness holds by itself."""
    onset = case.onset if case.onset is not None else 0
    by_return = (
        is_return_imaged(case) & ~case.workup.is_done(MRI, from_day=onset) & ~case.has_ct(onset)
    )
    by_failure = (
        is_failure_imaged(case)
        & ~case.has_adequate_mri
        & ~case.has_ct(case.limits.first_day("mri-readable-day"))
    )
    return by_return | by_failure


def _was_stimulated(case: Case) -> bool:
    """Return whether a stimulator was ever tried or there, also one that was taken out since."""
    chart = case.chart
    return (
        any(procedure.concepts & _STIMULATORS for procedure in chart.procedures)
        or any(device.concepts & _STIMULATORS for device in (*chart.devices, *chart.explants))
        or any("scs-status" in condition.concepts for condition in chart.conditions)
    )


def _has_active_disorder(case: Case) -> Answer:
    """Return whether a use disorder is on record that no code says to be in remission."""
    over = {sign.reference for sign in case.signs.of("opioid-use-remission")}
    return case.signs.has("substance-use-disorder", test=lambda sign: sign.reference not in over)


def _stimulator_holds(case: Case, earlier: Earlier) -> list[Named]:
    ever_unread = case.workup.unread((Key.PROCEDURES, Key.DEVICES, Key.CONDITIONS))
    return [
        (
            "a stimulator was tried or implanted before",
            found(_was_stimulated(case), ever_unread),
        ),
        (
            "already referred for stimulation",
            case.workup.is_ordered("scs-referral", "scs-procedure", newest="order-lookback-year"),
        ),
        ("a new weakness is stable but unexplained", case.motor.any(case.motor.stable)),
        ("recorded levels differ", answer_above(earlier, "CK-LEVEL")),
        ("pregnant", of(case.cautions.is_pregnant)),
        ("coagulopathy", case.cautions.has_coagulopathy),
        ("a sign of infection is open", is_current_hint(earlier)),
        ("active substance use disorder", _has_active_disorder(case)),
        ("psychosis or dementia", case.signs.has("psychosis", "dementia")),
        ("a structural surgical target is coded", case.has_structural_target),
        ("another cause is on record", answer_above(earlier, "RF-OTHER")),
    ]


def stimulator_evaluation(case: Case, earlier: Earlier) -> Finding:
    """SCS-EVAL: nerve pain of the leg despite everything that comes first.

    Missing data:
        A prerequisite that cannot be told makes the row *cannot tell*.
    """
    needed = prerequisites(case)
    requires = [*_is_candidate(case), ("all prerequisites", all_of(a for _, a in needed))]
    finding = weigh(
        "SCS-EVAL",
        case,
        requires,
        lambda: [
            *_stimulator_holds(case, earlier),
            ("an imaging question is open", _unresolved_imaging(case)),
        ],
    )
    if not finding.is_met:
        return finding
    leg = case.pain.sites[Driver.LEG]
    mri = case.workup.done(MRI)
    notes = list(_stimulator_notes(case))
    orders = [_STIMULATOR, _PSYCHOLOGY]
    if is_psychology_involved(case).is_yes:
        orders.remove(_PSYCHOLOGY)
        notes.append(Note(key="psychology-referred"))
    if mri:
        notes.insert(0, Note(key="confirm-mri", words={"date": mri[-1].written}))
    finding = replace(
        finding,
        words={
            "dss": case.dss,
            "score": case.leg or Decimal(0),
            "days": leg_run_days(case),
            "months": whole_months(leg_run_days(case)),
        },
        notes=tuple(notes),
        evidence=score_evidence((*leg.before, *leg.series), "leg pain"),
        reason_references=pain_references(case),
        reason_code="post-laminectomy-syndrome",
    )
    return propose_referrals(finding, case, *orders)


def _stimulator_notes(case: Case) -> tuple[Note, ...]:
    """Return what does not speak against an evaluation but must be known."""
    notes = []
    if case.cautions.is_anticoagulated.is_yes:
        notes.append(Note(key="scs-anticoagulant", is_for_order=True, orders=(_STIMULATOR,)))
    if case.cautions.takes_antiplatelet.is_yes:
        notes.append(Note(key="scs-antiplatelet", is_for_order=True, orders=(_STIMULATOR,)))
    implants = tuple(implant_term(kind) for kind in case.cautions.powered_implants)
    if implants:
        words = {"implant": implants}
        notes.append(Note(key="scs-device", words=words, is_for_order=True, orders=(_STIMULATOR,)))
    distressed = [
        name
        for name in ("pcs", "phq9")
        if case.measures.latest_meets(name, name, "screen-fresh").is_yes
    ]
    return (*notes, *(Note(key=f"scs-{name}", is_for_order=True) for name in distressed))


def _some_missing(case: Case, needed: list[Answer]) -> Answer:
    """Return whether some, but not too many, of the prerequisites are missing."""
    missing = sum(answer.is_no for answer in needed)
    unclear = [answer for answer in needed if answer.is_unknown]
    if missing and not case.limits.met("scs-missing-max", missing):
        return of(flag=False)
    if unclear:
        return Answer(None, frozenset().union(*(answer.unread for answer in unclear)))
    return of(bool(missing))


def _named(case: Case, missing: str) -> str:
    """Return the phrase for what is *missing*; drugs nobody can identify may be what is sought."""
    is_unclear = missing == "prerequisite-drugs" and case.care.may_have_tried_more
    return "prerequisite-drugs-unidentified" if is_unclear else missing


def stimulator_prerequisites(case: Case, earlier: Earlier) -> Finding:
    """SCS-PREREQ: as for the evaluation, but a few prerequisites are missing."""
    needed = prerequisites(case)
    missing = [name for name, answer in needed if answer.is_no]
    few = f"prerequisites are missing, {case.limits.words('scs-missing-max')}"
    requires = [*_is_candidate(case), (few, _some_missing(case, [a for _, a in needed]))]

    def holds() -> list[Named]:
        general = _stimulator_holds(case, earlier)
        if "prerequisite-imaging" in missing:
            return general
        return [*general, ("an imaging question is open", _unresolved_imaging(case))]

    finding = weigh("SCS-PREREQ", case, requires, holds)
    if not finding.is_met:
        return finding
    leg = case.pain.sites[Driver.LEG]
    passed = passed_over(answer for _, answer in needed if answer.is_no)
    return replace(
        finding,
        passed_over=(*passed, *finding.passed_over),
        words={
            "dss": case.dss,
            "score": case.leg or Decimal(0),
            "missing": tuple(Term(kind="phrase", id=_named(case, name)) for name in missing),
        },
        evidence=score_evidence((*leg.before, *leg.series), "leg pain"),
    )


def pain_specialist(case: Case, earlier: Earlier) -> Finding:
    """PAIN-REF: significant pain despite physiotherapy and medication."""
    del earlier
    drugs = case.care.has_tried((*TRIAL_CLASSES, "opioid"), "pain-referral-drug-classes")
    requires = [
        since_surgery(case, "workup-day"),
        ("persistent, significant pain", case.pain.persists & case.pain.significant),
        ("physiotherapy and medication tried", case.care.is_therapy_tried & drugs),
    ]
    finding = weigh(
        "PAIN-REF",
        case,
        requires,
        lambda: [
            (
                "pain specialist referred or seen",
                case.workup.is_referred(
                    "pain-clinic-referral", "pain-clinic-contact", newest="order-lookback-long"
                ),
            ),
        ],
    )
    if not finding.is_met:
        return finding
    words = _score_words(case)
    worst = case.worst
    finding = replace(
        finding,
        words=words,
        evidence=score_evidence(worst.series if worst else (), "pain"),
        reason_references=pain_references(case),
        reason_code="post-laminectomy-syndrome",
    )
    return propose_referrals(finding, case, "pain-clinic-referral")


def sacroiliac_joint(case: Case, earlier: Earlier) -> Finding:
    """SIJ: SI-joint pain on record as a second pain source."""
    del earlier
    tests = case.measures.latest("sij-tests")
    is_positive = tests is not None and case.limits.met("sij-tests", tests.value)
    signs = case.signs.on_record("sacroiliac-pain")
    answer = any_of(
        (
            found(is_positive, case.measures.unread("sij-tests")),
            found(bool(signs), case.workup.unread((Key.CONDITIONS,))),
        )
    )
    requires = [
        since_surgery(case, "workup-day"),
        ("significant pain", case.pain.significant),
        ("SI-joint pain coded or positive SI tests", answer),
    ]
    finding = weigh(
        "SIJ",
        case,
        requires,
        lambda: [
            (
                "SI-joint injection or fusion done",
                case.workup.is_done("si-joint-injection", newest="order-lookback-long")
                | case.workup.is_done("si-joint-fusion"),
            ),
        ],
    )
    if not finding.is_met:
        return finding
    return replace(
        finding,
        indicator=Indicator.INFO,
        words={"dss": case.dss, **({"score": tests.value} if tests is not None else {})},
        variant="default" if signs else "tests",
        evidence=(
            *sign_evidence(signs),
            *(measure_evidence(tests, "sij-tests") if is_positive else ()),
        ),
    )
