"""Which findings become cards?  An emergency stands alone, and a gap is never left unsaid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cds_service.evaluation.assessment import Assessment, Finding, Verdict
from cds_service.evaluation.rules.catalog import DATA_READ, RED_FLAGS

ALONE = "an emergency stands alone"
HOSPICE = "hospice care: only red flags are shown"
SWITCHED_OFF = "this site has switched the card off"
_SAID = "something could not be read and no other card says so"


def select(
    findings: Iterable[Finding],
    *,
    is_in_hospice: bool,
    has_gaps: bool,
    switched_off: frozenset[str] = frozenset(),
) -> tuple[Finding, ...]:
    """Return *findings* marked whether each is part of the answer.

    A card that is switched off neither appears nor keeps others from appearing.  The card on unread
    parts appears when nothing else does although something could not be read or evaluated.
    """
    rows = tuple(findings)
    candidates = {f.card for f in rows if f.verdict is Verdict.MET} - switched_off - {DATA_READ}
    is_alone = any(f.stands_alone and f.card in candidates for f in rows)
    restricted = ALONE if is_alone else HOSPICE if is_in_hospice else None
    marked = [
        _marked(row, restricted, is_switched_off=row.card in switched_off)
        for row in rows
        if row.card != DATA_READ
    ]
    is_silent = not any(row.is_shown for row in marked)
    needed = is_silent and (has_gaps or any(row.is_faulty for row in marked))
    return (*marked, *(_gap_card(row, is_needed=needed) for row in rows if row.card == DATA_READ))


def without(assessment: Assessment, switched_off: frozenset[str]) -> Assessment:
    """Return *assessment* as it is for a site that has switched some cards off."""
    findings = select(
        assessment.findings,
        is_in_hospice=assessment.is_in_hospice,
        has_gaps=bool(assessment.unread),
        switched_off=switched_off - {DATA_READ},
    )
    return replace(assessment, findings=findings)


def _marked(finding: Finding, restricted: str | None, *, is_switched_off: bool) -> Finding:
    if finding.verdict is not Verdict.MET:
        return finding
    if is_switched_off:
        return replace(finding, is_shown=False, held_by=SWITCHED_OFF)
    if restricted and finding.card not in RED_FLAGS:
        return replace(finding, is_shown=False, held_by=restricted)
    return replace(finding, is_shown=True, held_by=None)


def _gap_card(finding: Finding, *, is_needed: bool) -> Finding:
    return replace(
        finding,
        verdict=Verdict.MET if is_needed else Verdict.NOT_MET,
        is_shown=is_needed,
        reasons=() if is_needed else (_SAID,),
    )
