"""Which findings become cards?  An emergency stands alone, and a gap is never left unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from cds_service.evaluation.assessment import Assessment, Finding, Verdict
from cds_service.evaluation.rules.catalog import DATA_READ, RED_FLAGS
from cds_service.evaluation.rules.undated import DISPUTED

ALONE = "an emergency stands alone"
HOSPICE = "hospice care: only red flags are shown"
SWITCHED_OFF = "this site has switched the card off"
OVERRIDDEN = "a user has set the card aside; it comes back later"
ACCEPTED = "a user has accepted a suggestion; the card waits for its order, or comes back later"
SHOWN_LATELY = "a reminder that was shown on an earlier day; it comes again later"
INPATIENT = "a reminder for visits; this is a stay in hospital"
WITHHELD = "this site does not show the card to users of this role"
SILENT = "this site evaluates the card without showing it"
_SAID = "something could not be read and no other card says so"
_OF_USERS = frozenset({OVERRIDDEN, ACCEPTED, WITHHELD})
"""Why a card is held because of what a user answered to it, or of who the user is."""


def is_red_flag(finding: Finding) -> bool:
    """Return whether *finding* is a red flag, or asks for the day on which one hangs."""
    return finding.card in RED_FLAGS or finding.variant == DISPUTED


def select(
    findings: Iterable[Finding],
    *,
    is_in_hospice: bool,
    has_gaps: bool,
    held: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """Return *findings* marked whether each is part of the answer.

    A card in *held* (card id to why, in our words) neither appears nor keeps others from appearing.
    The card on unread parts appears when nothing else does although something could not be read or
    evaluated.
    """
    rows = tuple(findings)
    is_alone = any(f.stands_alone and f.is_met and f.card not in held for f in rows)
    restricted = ALONE if is_alone else HOSPICE if is_in_hospice else None
    marked = [
        _marked(row, held, restricted) if row.is_met else row
        for row in rows
        if row.card != DATA_READ
    ]
    is_silent = not any(row.is_shown for row in marked)
    needed = is_silent and (has_gaps or any(row.is_faulty for row in marked))
    return (*marked, *(_gap_card(row, is_needed=needed) for row in rows if row.card == DATA_READ))


def without(assessment: Assessment, held: Mapping[str, str]) -> Assessment:
    """Return *assessment* without the cards in *held*: card id to why, in our words.

    The card on unread parts is never held: a gap is never left unsaid.
    """
    findings = select(
        assessment.findings,
        is_in_hospice=assessment.is_in_hospice,
        has_gaps=bool(assessment.unread),
        held={card: why for card, why in held.items() if card != DATA_READ},
    )
    return replace(assessment, findings=findings)


def _marked(finding: Finding, held: Mapping[str, str], restricted: str | None) -> Finding:
    """Return a finding that is met, marked whether it is shown or why not.

    The question for a day on which a red flag hangs is that red flag's only voice: no answer of a
    user to it holds it back, nor does hospice care.
    """
    held_by = held.get(finding.card)
    is_voice = finding.variant == DISPUTED
    if is_voice and held_by in _OF_USERS:
        held_by = None
    if held_by is None and finding.card not in RED_FLAGS:
        held_by = None if is_voice and restricted == HOSPICE else restricted
    return replace(finding, is_shown=held_by is None, held_by=held_by)


def _gap_card(finding: Finding, *, is_needed: bool) -> Finding:
    return replace(
        finding,
        verdict=Verdict.MET if is_needed else Verdict.NOT_MET,
        is_shown=is_needed,
        reasons=() if is_needed else (_SAID,),
    )
