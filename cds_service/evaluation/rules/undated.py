"""The rows that may fire when an operation is certain but its day is not, or not quite."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import found, of
from cds_service.evaluation.assessment import (
    Evidence,
    Finding,
    Indicator,
    Note,
    Term,
    Verdict,
)
from cds_service.evaluation.case import Case
from cds_service.evaluation.episode import Episode
from cds_service.evaluation.rules.bladder import cauda_equina
from cds_service.evaluation.rules.infection import INFECTION_BLOODS
from cds_service.evaluation.rules.other_flags import self_harm
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import is_met, weigh
from cds_service.evaluation.rules.wording import condition_references, dated_evidence, sign_evidence

VARIANT = "date-unknown"
DISPUTED = "disputed"
"""The words of DATA-DATE where a red flag hangs on the day of the operation."""


def undated_findings(case: Case, episode: Episode) -> dict[str, Finding]:
    """Return the rows of an operation without a known day, by card id.

    Time:
        Every sign must be recent; nothing is counted from the operation.

    Missing data:
        Procedures not completely supplied: the day may be among those not read.
    """
    cauda = _without_day(cauda_equina(case, {}))
    infection = _infection(case)
    harm = self_harm(case, {})
    emergencies = {"RF-CES": cauda, "RF-INF": infection}
    unread = case.workup.unread((Key.PROCEDURES,))
    date_missing = weigh(
        "DATA-DATE",
        case,
        [("a lumbar operation without a usable date", ~found(flag=False, unread=unread))],
        lambda: [("an emergency is shown", of(cauda.is_met or infection.is_met))],
    )
    date_missing = replace(date_missing, evidence=_operations(case, episode))
    return {**emergencies, "PSY-SI": harm, "DATA-DATE": date_missing}


def _operations(case: Case, episode: Episode) -> tuple[Evidence, ...]:
    """Return the entries of operations, with their days as far as the chart states them.

    The day of an entry that only tells of an operation in the past is not that of the operation.
    """
    dated = episode.operations[0].references if episode.operations else ()
    told = {p.reference: (_entry_label(p.concepts), p.performed) for p in case.chart.procedures}
    told |= {c.reference: (_entry_label(c.concepts), c.when) for c in case.chart.conditions}
    return tuple(
        dated_evidence(reference, *told[reference])
        for reference in episode.history_references or dated
    )


def _entry_label(concepts: frozenset[str]) -> str:
    """Return what an entry says of the operation: that it was done, or that it was in the past."""
    for sequel in ("post-laminectomy-syndrome", "lumbar-surgery-history"):
        if sequel in concepts:
            return sequel
    return "operation"


def disputed_findings(case: Case, episode: Episode, disputed: Sequence[str]) -> dict[str, Finding]:
    """Return what is said of red flags that only some possible days of the operation give.

    What is an emergency whatever the day is shown; else the day is asked for, and why it matters.
    """
    undated = undated_findings(case, episode)
    certain = {card: undated[card] for card in disputed if is_met(undated, card)}
    if certain:
        return certain
    asked = _asked(case, episode, disputed)
    return {asked.card: replace(asked, indicator=Indicator.WARNING, variant=DISPUTED)}


def date_asked(case: Case, episode: Episode, disputed: Sequence[str]) -> Finding:
    """Return that the day is missing where it decides whether any of *disputed* appears."""
    return replace(_asked(case, episode, disputed), variant="half-dated")


def _asked(case: Case, episode: Episode, disputed: Sequence[str]) -> Finding:
    cards = case.limits.knowledge.cards
    titles = [cards[card].title for card in disputed]
    return Finding(
        card="DATA-DATE",
        row=cards["DATA-DATE"].row,
        verdict=Verdict.MET,
        reasons=("the operation is dated only to a month or year, and its days disagree",),
        words={"flag": titles[0], "flags": ", ".join(titles)},
        evidence=_operations(case, episode),
    )


def _without_day(finding: Finding) -> Finding:
    words = {name: word for name, word in finding.words.items() if name != "dss"}
    return replace(finding, words=words, variant=VARIANT if words else finding.variant)


def _infection(case: Case) -> Finding:
    """Return RF-INF for a recently coded spinal infection."""
    signs = [
        sign
        for sign in case.signs.on_record("infection-spinal", "infection-spinal-if-text-or-early")
        if case.limits.met("red-flag-recent", sign.age)
        and (sign.concept == "infection-spinal" or sign.names_spine)
        and sign.is_dated
    ]
    answer = found(bool(signs), case.workup.unread((Key.CONDITIONS,)))
    finding = weigh("RF-INF", case, [("a recently coded spinal infection", answer)])
    if not signs:
        return finding
    finding = replace(
        finding,
        indicator=Indicator.CRITICAL,
        stands_alone=True,
        variant=VARIANT,
        words={"sign": tuple(dict.fromkeys(Term(kind="value-set", id=s.concept) for s in signs))},
        notes=(Note(key="cultures-before-antibiotics"),),
        evidence=sign_evidence(signs),
        reason_references=condition_references(signs),
        reason_code="infection-spinal",
        proposals=(INFECTION_BLOODS,),
    )
    wish = ScanWish(priority="stat", keeps_contrast=True, since_day=max(s.day for s in signs))
    return propose_mri(finding, case, wish)
