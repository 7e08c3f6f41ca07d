"""Rows 12-15, 17 and 18: which scan, or why none."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import NO, YES, Answer, any_of, found, of
from cds_service.evaluation.assessment import (
    Evidence,
    Finding,
    Indicator,
    Note,
    Proposal,
    Term,
    Word,
)
from cds_service.evaluation.case import CT_SCANS, MRI, Case
from cds_service.evaluation.pain import PERSISTENT, Course, Driver
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.infection import BLOODS
from cds_service.evaluation.rules.scans import (
    MYELOGRAM,
    SCAN_KEYS,
    ScanWish,
    implant_note,
    notes_on_waiting,
    propose_mri,
)
from cds_service.evaluation.rules.weighing import (
    Earlier,
    Named,
    answer_above,
    is_met,
    since_surgery,
    weigh,
)
from cds_service.evaluation.rules.wording import (
    deficit_evidence,
    deficit_notes,
    deficit_references,
    deficit_words,
    drug_notes,
    pain_notes,
    pain_reason,
    pain_references,
    score_evidence,
    sign_evidence,
    weakness_notes,
)
from cds_service.evaluation.workup import DONE_KEYS, ORDER_KEYS, Dated

_TEST_KEYS = frozenset((*DONE_KEYS, *ORDER_KEYS))
XRAY_KEYS = (Key.SERVICE_REQUESTS, Key.DIAGNOSTIC_REPORTS, Key.PROCEDURES)
_CARDIAC = frozenset({"implant-pacemaker", "implant-defibrillator"})


# What each row asks for, apart from what holds it back


@once
def deficit_day(case: Case) -> int:
    """Return the day from which an MRI answers the stable deficits."""
    onset = case.motor.latest_stable_onset
    return onset if onset is not None else case.limits.first_day("order-first-day")


@once
def is_deficit_imaged(case: Case) -> Answer:
    """Return whether there is a stable new deficit, one that row 12 would image."""
    stable = case.motor.any(case.motor.stable)
    if case.motor.stable and all(deficit.onset is None for deficit in case.motor.stable):
        stable = stable & case.at("order-first-day")
    return stable


@once
def needs_deficit_mri(case: Case) -> Answer:
    """Return whether a stable new deficit has no MRI since its latest onset."""
    return is_deficit_imaged(case) & ~case.workup.is_done(MRI, from_day=deficit_day(case))


@once
def is_return_imaged(case: Case) -> Answer:
    """Return whether the course is a return of pain that row 13 would image."""
    if case.pain.course is None:
        return case.has_returned
    by_driver = of(case.pain.driver is Driver.LEG)
    if case.pain.driver in {Driver.BACK, Driver.ANY}:
        value = case.pain.current(case.pain.driver)
        by_driver = of(value is not None and case.limits.met("pain-severe", value))
    early = ~case.at("workup-day")
    return (
        case.has_returned & case.pain.significant & of(case.is_true_return) & (~early | by_driver)
    )


def is_failure_imaged(case: Case) -> Answer:
    """Return whether unrelieved or worse pain is one that row 14 would image."""
    return case.is_judgeable & case.has_failed & case.pain.significant & ~case.is_target_relieved


def deficit_imaging(case: Case, earlier: Earlier) -> Finding:
    """IMG-MRI-DEF: a stable new deficit without an MRI since its onset.

    Missing data:
        Examination findings not supplied: cannot tell.  Orders, reports, procedures or devices not
        supplied: the card appears without its order.
    """
    del earlier
    from_day = deficit_day(case)
    requires = [("a new stable weakness", is_deficit_imaged(case))]
    finding = weigh(
        "IMG-MRI-DEF",
        case,
        requires,
        lambda: _if_told(
            is_deficit_imaged(case),
            [
                ("MRI done since the weakness", case.workup.is_done(MRI, from_day=from_day)),
                *_holds(case, from_day),
            ],
        ),
    )
    if not finding.is_met:
        return finding
    deficits = sorted(case.motor.stable, key=lambda deficit: deficit.sort_key)
    dated = [deficit for deficit in deficits if deficit.onset is not None]
    latest = dated[-1] if dated else deficits[0]
    finding = replace(
        finding,
        indicator=Indicator.WARNING,
        variant=_deficit_variant(case, is_dated=bool(dated)),
        words={"dss": case.dss, **deficit_words(case, latest)},
        notes=(
            *deficit_notes(case, latest),
            *weakness_notes(case, told=latest),
            *_reading_caveat(case),
        ),
        evidence=deficit_evidence(case, deficits),
        reason_references=deficit_references(deficits),
        reason_code="motor-weakness",
    )
    waiting = _waiting_orders(case, from_day)
    if waiting:
        return replace(finding, notes=(*finding.notes, *_waiting_notes(case, waiting)))
    return propose_mri(finding, case, ScanWish(priority="urgent", offers_both=True))


def _waiting_orders(case: Case, before_day: int) -> list[Dated]:
    """Return the orders of an MRI from before *before_day* that no scan has answered yet.

    Many systems leave an order open after its scan.
    """
    last_scan = max([scan.day for scan in case.workup.done(MRI)], default=None)
    return [
        order
        for order in case.workup.orders(MRI)
        if order.day < before_day
        and case.limits.met("order-lookback", order.age)
        and (last_scan is None or order.day > last_scan)
    ]


def _waiting_notes(case: Case, waiting: Sequence[Dated]) -> tuple[Note, ...]:
    """Return what to do about the last order without a scan, an urgent and signed one first."""
    held = notes_on_waiting(case)
    urgent = {order.reference for order in case.chart.orders if order.is_urgent}
    order = max(waiting, key=lambda o: (o.reference not in held, o.reference in urgent, o.day))
    keys = ["mri-urgent" if order.reference in urgent else "mri-upgrade"]
    if order.reference in held:
        keys.append(held[order.reference])
    return tuple([Note(key=key, words={"date": order.written}) for key in keys])


def _deficit_variant(case: Case, *, is_dated: bool) -> str:
    """Return the words for a weakness with or without a day, and an MRI that may be unread."""
    if case.workup.is_done(MRI, from_day=deficit_day(case)).is_unknown:
        return "unread" if is_dated else "undated-unread"
    return "default" if is_dated else "undated"


def _if_told(question: Answer, unless: list[Named]) -> list[Named]:
    """Return what holds a card back; nothing does while the question itself cannot be told.

    A test counts only from the day of the event in question, and that day is not known then.
    """
    return [] if question.is_unknown else unless


def _holds(case: Case, from_day: int | None) -> list[Named]:
    """Return what holds an MRI card back: an open order, or an implant (then row 15)."""
    ordered = case.workup.is_ordered(MRI, newest="order-lookback", from_day=from_day)
    return [
        ("MRI already ordered", ordered),
        ("an implant holds back the MRI", case.cautions.is_mri_unsafe),
    ]


def _reading_caveat(case: Case) -> tuple[Note, ...]:
    if not case.limits.met("early-reading-caveat", case.dss):
        return ()
    return (Note(key="early-reading"),)


def return_imaging(case: Case, earlier: Earlier) -> Finding:
    """IMG-MRI-RTR: pain came back after relief and was not imaged since."""
    onset = case.onset if case.onset is not None else 0
    requires = [
        ("no weakness asks for the MRI", of(not _asks_for_weakness(case, earlier))),
        ("pain came back after relief, late or severe enough to image", is_return_imaged(case)),
    ]
    finding = weigh(
        "IMG-MRI-RTR",
        case,
        requires,
        lambda: _if_told(
            case.has_returned,
            [
                ("MRI done since the return", case.workup.is_done(MRI, from_day=onset)),
                *_holds(case, onset),
            ],
        ),
    )
    if not finding.is_met:
        return finding
    words: dict[str, Word] = {**_score_words(case), "onset": onset}
    leading = case.pain.leading
    if leading is not None and leading.last_low is not None:
        words["low"] = leading.last_low
        words["interval"] = onset - leading.last_low
    is_urgent = case.leg_fires("pain-severe").is_yes
    finding = replace(finding, words=words, reason_code=pain_reason(case, case.pain.driver))
    return _with_mri(finding, case, "urgent" if is_urgent else "routine")


def _asks_for_weakness(case: Case, earlier: Earlier) -> bool:
    """Return whether row 12 asks for the MRI, also where it could not see whether one was done."""
    return needs_deficit_mri(case).is_yes or is_met(earlier, "IMG-MRI-DEF")


def failure_imaging(case: Case, earlier: Earlier) -> Finding:
    """IMG-MRI-NR: no relief or worse pain, late enough to judge, without an adequate MRI."""
    requires = [
        (
            "no weakness or returned pain asks for the MRI",
            of(not _asks_for_weakness(case, earlier) and not is_met(earlier, "IMG-MRI-RTR")),
        ),
        (
            f"no relief or worse pain, {since_surgery(case, case.judged_from)[0]}, significant",
            is_failure_imaged(case),
        ),
    ]
    adequate = case.has_recent_enough_mri
    if adequate.is_yes and not case.has_failed.is_unknown:
        requires.append(("claudication since the last MRI", case.is_claudication_new))
        adequate = _is_claudication_imaged(case)
    finding = weigh(
        "IMG-MRI-NR",
        case,
        requires,
        lambda: _if_told(
            case.has_failed, [("an adequate MRI is done", adequate), *_holds(case, None)]
        ),
    )
    if not finding.is_met:
        return finding
    leading = case.pain.leading
    has_baseline = leading is not None and leading.baseline is not None
    variant = "no-baseline"
    if has_baseline:
        variant = "worsening" if case.pain.course is Course.WORSENING else "default"
    older = case.workup.done(MRI)
    notes = [Note(key="mri-not-adequate", words={"date": older[-1].written})] if older else []
    finding = replace(
        finding,
        variant=variant,
        words=_score_words(case),
        notes=tuple(notes),
        reason_code="post-laminectomy-syndrome",
    )
    finding = _with_mri(finding, case, "routine")
    return replace(finding, evidence=(*finding.evidence, *sign_evidence(case.new_claudication)))


def _is_claudication_imaged(case: Case) -> Answer:
    """Return whether an MRI was done since claudication was last coded."""
    days = [sign.day for sign in case.new_claudication]
    return case.workup.is_done(MRI, from_day=max(days)) if days else NO


def _score_words(case: Case) -> dict[str, Word]:
    """Return the score that drives, and the kind of score, as words."""
    words: dict[str, Word] = {"dss": case.dss}
    leading = case.pain.leading
    if leading is not None and leading.current is not None:
        words["site"] = Term(kind="phrase", id=f"site-{leading.driver.value}")
        words["score"] = leading.current.value
    return words


def _pain_evidence(case: Case) -> tuple[Evidence, ...]:
    """Return the scores that drive, with the last one from before surgery."""
    leading = case.pain.leading
    if leading is None:
        return ()
    return score_evidence((*leading.before[-1:], *leading.series), leading.driver.value)


def _with_mri(finding: Finding, case: Case, priority: str) -> Finding:
    """Add scores, caveat, MRI choices and, where infection is likely, blood tests."""
    finding = replace(
        finding,
        indicator=Indicator.WARNING,
        notes=(*finding.notes, *_reading_caveat(case)),
        evidence=_pain_evidence(case),
        reason_references=pain_references(case),
    )
    finding = propose_mri(finding, case, ScanWish(priority=priority, offers_both=True))
    if not finding.proposals or not wants_bloods(case).is_yes:
        return finding
    bloods = Proposal(orders=BLOODS, priority="routine")
    return replace(
        finding,
        proposals=(*finding.proposals, bloods),
        is_either_or=False,
        variant=f"{finding.variant}-bloods",
    )


@once
def wants_bloods(case: Case) -> Answer:
    """Return whether an infection is likely enough to add blood tests to the MRI."""
    driver = case.pain.driver
    series = case.pain.sites[Driver.BACK].series
    rises = False
    if len(series) > 1:
        *_, previous, last = series
        rises = case.limits.met("pain-change", last.value - previous.value)
    return (
        case.at("discitis-day")
        & case.measures.none_since("crp", "crp-fresh")
        & of(driver in {Driver.BACK, Driver.ANY} or rises)
    )


# Row 15


@once
def is_mri_wanted(case: Case) -> tuple[Answer, Answer, Answer]:
    """Return, for rows 12, 13 and 14, whether an MRI would be asked for but for an implant.

    As in row 13, the MRI that a weakness asks for comes before one for returned pain.
    """
    onset = case.onset if case.onset is not None else 0
    lookback = "order-lookback"
    by_deficit = needs_deficit_mri(case) & ~case.workup.is_ordered(
        MRI, newest=lookback, from_day=deficit_day(case)
    )
    by_return = (
        of(not needs_deficit_mri(case).is_yes)
        & is_return_imaged(case)
        & ~case.workup.is_done(MRI, from_day=onset)
        & ~case.workup.is_ordered(MRI, newest=lookback, from_day=onset)
    )
    by_failure = (
        is_failure_imaged(case)
        & ~case.has_adequate_mri
        & ~case.workup.is_ordered(MRI, newest=lookback)
    )
    return by_deficit, by_return, by_failure


def asks_for_mri(case: Case) -> Answer:
    """Return whether row 12, 13 or 14 would appear but for an implant.

    Missing data:
        Orders, reports or procedures not completely supplied: it would appear without its order.
    """
    questions = (is_deficit_imaged(case), is_return_imaged(case), is_failure_imaged(case))
    return any_of(
        YES if question.is_yes and wanted.is_unknown and wanted.unread <= _TEST_KEYS else wanted
        for question, wanted in zip(questions, is_mri_wanted(case), strict=True)
    )


def alternative_imaging(case: Case, earlier: Earlier) -> Finding:
    """IMG-ALT: an MRI is wanted but an implant is unsafe or of unknown status."""
    del earlier
    question = any_of((is_deficit_imaged(case), is_return_imaged(case), is_failure_imaged(case)))
    requires = [
        ("a question that an MRI would answer", question),
        ("an implant is unsafe in the scanner or of unknown status", case.cautions.is_mri_unsafe),
    ]
    finding = weigh("IMG-ALT", case, requires, lambda: _if_told(question, _ct_holds(case)))
    if not finding.is_met:
        return finding
    is_unsafe = case.cautions.is_documented_unsafe
    by_deficit, by_return, _ = is_mri_wanted(case)
    is_urgent = by_deficit.is_yes or (case.leg_fires("pain-severe").is_yes and by_return.is_yes)
    finding = replace(
        finding,
        indicator=Indicator.WARNING,
        variant="default" if is_unsafe else "unknown",
        words=_score_words(case),
        notes=(
            *(weakness_notes(case) if by_deficit.is_yes else pain_notes(case)),
            implant_note(case),
            *_protocol_note(case),
            *_reading_caveat(case),
        ),
        evidence=_asking_for_a_scan(case),
        reason_references=(
            deficit_references(case.motor.stable) if by_deficit.is_yes else pain_references(case)
        ),
        reason_code=(
            "motor-weakness" if by_deficit.is_yes else pain_reason(case, case.pain.driver)
        ),
    )
    if not is_unsafe:
        return finding
    risk = case.cautions.is_bleeding_risk
    if risk.is_yes:
        notes = (*finding.notes, Note(key="bleeding-plain-ct"))
        return replace(finding, variant="bleeding", notes=notes)
    asked = drug_notes(case)
    if asked:
        notes = (*finding.notes, *asked, Note(key="no-myelogram-yet"))
        finding = replace(finding, variant="asked", notes=notes, is_order_withheld=True)
    unread = case.workup.unread(SCAN_KEYS) | risk.unread
    if unread:
        return replace(finding, unread=finding.unread | unread, is_order_withheld=True)
    if asked:
        return finding
    priority = "urgent" if is_urgent else "routine"
    myelogram = Proposal(orders=(MYELOGRAM,), priority=priority, is_recommended=True)
    return replace(finding, proposals=(myelogram,))


def _protocol_note(case: Case) -> tuple[Note, ...]:
    """Return that cardiac devices can often be scanned, if only such ones hold back the MRI."""
    kinds = {implant.kind for implant in case.cautions.implants}
    return (Note(key="cardiac-protocol"),) if kinds <= _CARDIAC else ()


def _asking_for_a_scan(case: Case) -> tuple[Evidence, ...]:
    """Return the weakness, the scores and the claudication that each ask for a scan."""
    is_failure = is_failure_imaged(case)
    is_about_pain = any_of((is_return_imaged(case), is_failure)).is_yes
    weak = case.motor.stable if is_deficit_imaged(case).is_yes else ()
    pain = _pain_evidence(case) if is_about_pain else ()
    walk = case.new_claudication if is_failure.is_yes else ()
    return (*deficit_evidence(case, weak), *pain, *sign_evidence(walk))


def _ct_holds(case: Case) -> list[Named]:
    by_deficit, by_return, by_failure = is_mri_wanted(case)
    is_deficit = is_deficit_imaged(case).is_yes and not by_deficit.is_no
    is_return = is_return_imaged(case).is_yes and not by_return.is_no
    if is_deficit:
        from_day, newest = deficit_day(case), None
    elif is_return:
        from_day, newest = case.onset if case.onset is not None else 0, None
    else:
        from_day = case.limits.first_day("mri-readable-day")
        newest = "imaging-fresh" if case.pain.course is Course.WORSENING else None
    ordered_from = from_day if is_deficit or is_return else None
    return [
        ("an MRI is done or ordered", ~any_of((by_deficit, by_return, by_failure))),
        ("pregnant, and so a question for the surgeon", of(case.cautions.is_pregnant)),
        (
            "CT already ordered",
            case.workup.is_ordered(*CT_SCANS, newest="order-lookback", from_day=ordered_from),
        ),
        ("CT already done", case.workup.is_done(*CT_SCANS, from_day=from_day, newest=newest)),
    ]


# Rows 17 and 18


@once
def _back_persists(case: Case) -> Answer:
    return case.back_fires("pain-hot") & case.pain.site_is(Driver.BACK, PERSISTENT)


def _is_imaged(case: Case, concepts: tuple[str, ...], first_day: str) -> Answer:
    """Return whether a scan is done that still answers the course of back pain."""
    site = case.pain.sites[Driver.BACK]
    if site.course is Course.RETURNED and site.onset is not None:
        from_day = max(site.onset, case.limits.first_day(first_day))
        return case.workup.is_done(*concepts, from_day=from_day)
    from_day = case.limits.first_day(first_day)
    newest = "imaging-fresh" if site.course is Course.WORSENING else None
    return case.workup.is_done(*concepts, from_day=from_day, newest=newest)


def fusion_ct(case: Case, earlier: Earlier) -> Finding:
    """CT-FUSION: back pain long after a fusion that no CT has judged."""
    requires = [
        ("the operation was a fusion", of(case.operation.is_fusion)),
        since_surgery(case, "fusion-ct-day"),
        ("back pain persists", _back_persists(case)),
    ]
    finding = weigh(
        "CT-FUSION",
        case,
        requires,
        lambda: _if_told(_back_persists(case), _fusion_ct_holds(case, earlier)),
    )
    return _back_card(finding, case, "ct-lumbar-without-contrast", SCAN_KEYS)


def _fusion_ct_holds(case: Case, earlier: Earlier) -> list[Named]:
    return [
        ("pregnant", of(case.cautions.is_pregnant)),
        ("CT already ordered", case.workup.is_ordered(*CT_SCANS, newest="order-lookback")),
        ("CT already done", _is_imaged(case, CT_SCANS, "fusion-ct-day")),
        ("the card on other imaging takes its place", of(is_met(earlier, "IMG-ALT"))),
        ("non-union is already coded since the operation", _is_non_union_coded(case)),
    ]


def _is_non_union_coded(case: Case) -> Answer:
    """Return whether this fusion is known not to have united; an older one may be its reason."""
    coded = "pseudarthrosis" in case.conclusions
    return found(coded, case.workup.unread((Key.CONDITIONS,)))


def _back_card(finding: Finding, case: Case, order: str, keys: tuple[str, ...]) -> Finding:
    if not finding.is_met:
        return finding
    site = case.pain.sites[Driver.BACK]
    finding = replace(
        finding,
        indicator=Indicator.WARNING if finding.card == "CT-FUSION" else Indicator.INFO,
        words={"dss": case.dss, "score": site.current.value if site.current else 0},
        evidence=score_evidence((*site.before[-1:], *site.series), "back pain"),
        reason_references=pain_references(case),
        reason_code="post-laminectomy-syndrome",
    )
    unread = case.workup.unread(keys)
    if unread:
        return replace(finding, unread=finding.unread | unread, is_order_withheld=True)
    proposal = Proposal(orders=(order,), priority="routine", is_recommended=True)
    return replace(finding, proposals=(proposal,))


def _is_unstable(case: Case) -> Answer:
    """Return whether the operation or a code makes instability a question."""
    operation = case.operation
    leads = Answer(None, case.pain.unread) if case.pain.unread else of(case.is_back_dominant)
    return any_of(
        (
            of(operation.is_fusion),
            of("decompression" in operation.types) & leads,
            of(case.limits.met("surgeries-several", operation.surgery_count)),
            of(case.limits.met("levels-several", operation.level_count or 1)),
            case.signs.has("spinal-instability"),
        )
    )


def _xray_holds(case: Case, earlier: Earlier) -> list[Named]:
    return [
        ("another cause is on record", answer_above(earlier, "RF-OTHER")),
        ("pregnant", of(case.cautions.is_pregnant)),
        ("x-ray already ordered", case.workup.is_ordered("xray-lumbar", newest="order-lookback")),
        ("x-ray already done", _is_imaged(case, ("xray-lumbar",), "xray-day")),
    ]


def dynamic_xray(case: Case, earlier: Earlier) -> Finding:
    """XR-DYN: persistent back pain where motion or alignment is the question."""
    requires = [
        since_surgery(case, "xray-day"),
        ("back pain persists", _back_persists(case)),
        (
            "fusion, several operations or levels, instability, or back pain leads",
            _is_unstable(case),
        ),
    ]
    finding = weigh(
        "XR-DYN",
        case,
        requires,
        lambda: _if_told(_back_persists(case), _xray_holds(case, earlier)),
    )
    is_young_fusion = case.operation.is_fusion and case.at("xray-flexion-fusion-day").is_no
    order = "xray-lumbar-standing" if is_young_fusion else "xray-lumbar-flexion-extension"
    finding = _back_card(finding, case, order, XRAY_KEYS)
    if not finding.is_met:
        return finding
    has_returned = case.pain.sites[Driver.BACK].course is Course.RETURNED
    course = Term(kind="phrase", id=f"back-pain-{'returned' if has_returned else 'persistent'}")
    words = {**finding.words, "course": course, "type": operation_term(case)}
    return replace(finding, words=words, variant="standing" if is_young_fusion else "default")


def operation_term(case: Case) -> Term:
    """Return the words for the kind of operation."""
    for name in ("fusion", "discectomy", "decompression"):
        if name in case.operation.types:
            return Term(kind="phrase", id=f"operation-{name}")
    return Term(kind="phrase", id="operation-unspecified")
