"""Rows 16, 19 and 20: when can an EMG answer a question, and which?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, all_of, found, of
from cds_service.evaluation.assessment import Finding, Indicator, Note, Proposal, Word
from cds_service.evaluation.case import Case
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.pain import Driver
from cds_service.evaluation.rules.weighing import (
    Earlier,
    Named,
    is_met,
    passed_over,
    since_surgery,
    weigh,
)
from cds_service.evaluation.rules.wording import (
    deficit_evidence,
    deficit_notes,
    deficit_references,
    deficit_words,
    denial_notes,
    drug_notes,
    pain_reason,
    pain_references,
    sign_evidence,
    sign_term,
)
from cds_service.evaluation.signs import Sign
from cds_service.values import Side

EMG = "emg"
EMG_KEYS = (Key.SERVICE_REQUESTS, Key.DIAGNOSTIC_REPORTS, Key.PROCEDURES)


class Unserved(Struct, frozen=True, kw_only=True):
    """A deficit that no EMG answers yet, and whether it ``is_served`` cannot be told.

    ``passed_over`` of ``is_served`` are the EMGs that do not answer it.
    """

    deficit: Deficit
    onset: int
    age: int
    is_served: Answer


def earliest_unserved(case: Case) -> Unserved | None:
    """Return the earliest deficit without an EMG that counts."""
    return next(unserved_deficits(case), None)


def unserved_deficits(case: Case) -> Iterator[Unserved]:
    """Yield the stable, dated deficits, not too old, without an EMG that counts, earliest first."""
    for deficit in sorted(case.motor.stable, key=lambda item: item.sort_key):
        if deficit.onset is None:
            continue
        age = case.dss - deficit.onset
        served = _is_served(case, deficit.onset)
        if case.limits.met("emg-age-max", age) and not served.is_yes:
            yield Unserved(deficit=deficit, onset=deficit.onset, age=age, is_served=served)


def _is_ripe_one_served(case: Case) -> bool:
    """Return whether a deficit old enough for an EMG, and not too old, has one that counts."""
    return any(
        case.limits.met("emg-age", case.dss - deficit.onset)
        and case.limits.met("emg-age-max", case.dss - deficit.onset)
        and _is_served(case, deficit.onset).is_yes
        for deficit in case.motor.stable
        if deficit.onset is not None
    )


def _is_served(case: Case, onset: int) -> Answer:
    """Return whether an EMG late enough after *onset* is done, or one was ordered since."""
    useful = onset + case.limits.first_day("emg-age")
    return case.workup.is_done(EMG, from_day=useful) | case.workup.is_ordered(
        EMG, newest="order-lookback", from_day=onset
    )


def motor_emg(case: Case, earlier: Earlier) -> Finding:
    """EMG-MOTOR: a new weakness old enough for an EMG.

    Missing data:
        Examination findings not supplied: cannot tell.  Orders, reports or procedures not supplied:
        the card appears without its order.
    """
    del earlier
    unserved = earliest_unserved(case)
    is_ripe = unserved is not None and case.limits.met("emg-age", unserved.age)
    is_answered = not is_ripe and not case.motor.unread and _is_ripe_one_served(case)
    text = f"a new weakness, {case.limits.words('emg-age')}"
    finding = weigh(
        "EMG-MOTOR",
        case,
        [(text, found(is_ripe or is_answered, case.motor.unread))],
        lambda: [("EMG done or ordered since the weakness", of(is_answered))],
    )
    if not is_ripe or unserved is None:
        return finding
    finding = _about(finding, case, unserved)
    finding = replace(
        finding, indicator=Indicator.WARNING, notes=(*finding.notes, *_cautions(case))
    )
    return _order_emg(finding, case, unserved, unserved.deficit.side)


def _about(finding: Finding, case: Case, unserved: Unserved) -> Finding:
    deficit = unserved.deficit
    useful = case.day(unserved.onset) + timedelta(days=case.limits.first_day("emg-age"))
    words = {
        **deficit_words(case, deficit),
        "dss": case.dss,
        "date": useful,
    }
    return replace(
        finding,
        words=words,
        notes=deficit_notes(case, deficit),
        evidence=deficit_evidence(case, [deficit]),
        passed_over=passed_over([unserved.is_served]),
        reason_references=deficit_references([deficit]),
        reason_code="motor-weakness",
    )


def _order_emg(
    finding: Finding, case: Case, unserved: Unserved | None, side: Side | None
) -> Finding:
    """Add the order: for today if a weakness, which is old enough by now, asks for it."""
    unread = case.workup.unread(EMG_KEYS)
    if unread:
        return replace(finding, unread=finding.unread | unread, is_order_withheld=True)
    proposal = Proposal(
        orders=("emg-lower-limb",),
        priority="urgent" if unserved is not None else "routine",
        is_recommended=True,
        side=side,
        occurrence=case.as_of if unserved is not None else None,
    )
    return replace(finding, proposals=(proposal,))


def _cautions(case: Case) -> tuple[Note, ...]:
    notes = [*drug_notes(case)]
    if case.cautions.is_bleeding_risk.is_yes:
        notes.append(Note(key="emg-bleeding", is_for_order=True))
    if case.cautions.powered_implants:
        notes.append(Note(key="emg-device", is_for_order=True))
    return tuple(notes)


def later_emg(case: Case, earlier: Earlier) -> Finding:
    """EMG-LATER: a new weakness too young for an EMG; says the first useful day."""
    unserved = earliest_unserved(case)
    is_young = unserved is not None and not case.limits.met("emg-age", unserved.age)
    requires = [("a new weakness too young for an EMG", found(is_young, case.motor.unread))]
    finding = weigh(
        "EMG-LATER",
        case,
        requires,
        lambda: [("the EMG card is shown", of(is_met(earlier, "EMG-MOTOR")))],
    )
    if unserved is None or not finding.is_met:
        return finding
    return _about(finding, case, unserved)


def _emg_holds(case: Case) -> list[Named]:
    done_from = case.limits.first_day("emg-age")
    return [
        ("EMG already ordered", case.workup.is_ordered(EMG, newest="order-lookback")),
        ("EMG already done", case.workup.is_done(EMG, from_day=done_from, newest="emg-done-age")),
    ]


def radicular_emg(case: Case, earlier: Earlier) -> Finding:
    """EMG-RAD: leg pain that the MRI does not explain, with sensory loss or a neuropathy."""
    del earlier
    numbness = case.signs.standing("sensory-deficit")
    neuropathy = case.signs.of("competing-neuropathy")
    requires = [
        ("no new weakness", ~case.motor.any(case.motor.stable)),
        since_surgery(case, "workup-day"),
        (
            "persistent leg pain and an MRI that can explain it",
            all_of((case.pain.persists, case.leg_fires("pain-hot"), case.has_mri)),
        ),
        (
            "a sensory deficit or a competing neuropathy",
            found(bool(numbness or neuropathy), case.signs.unread),
        ),
    ]
    finding = weigh("EMG-RAD", case, requires, lambda: _emg_holds(case))
    if not finding.is_met:
        return finding
    signs = (*numbness, *neuropathy)
    finding = replace(
        finding,
        words={"dss": case.dss, "findings": tuple(dict.fromkeys(map(sign_term, signs)))},
        notes=(*_onset_notes(signs[0]), *denial_notes(case, numbness), *_cautions(case)),
        evidence=sign_evidence(signs),
        reason_references=pain_references(case),
        reason_code=pain_reason(case, Driver.LEG),
    )
    sides = {sign.side for sign in numbness}
    return _order_emg(finding, case, None, sides.pop() if len(sides) == 1 else None)


def _onset_notes(sign: Sign) -> tuple[Note, ...]:
    """Return since when *sign* is on record, if the chart says so."""
    if sign.when is None:
        return ()
    words: dict[str, Word] = {"finding": sign_term(sign), "date": sign.when.written}
    return (Note(key="on-record-since", words=words, is_for_order=True),)
