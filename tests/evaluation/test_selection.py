"""Which findings become cards when a site has switched some of them off."""

from __future__ import annotations

from cds_service.evaluation.assessment import Finding, Indicator, Verdict
from cds_service.evaluation.selection import ALONE, HOSPICE, SWITCHED_OFF, select
from tests.changing import replace

CAUDA = Finding(
    card="RF-CES",
    row=1,
    verdict=Verdict.MET,
    indicator=Indicator.CRITICAL,
    stands_alone=True,
)
SCAN = Finding(card="IMG-MRI-NR", row=14, verdict=Verdict.MET)
GAP = Finding(card="DATA-READ", row=36, verdict=Verdict.MET)


def _shown(
    *findings: Finding,
    is_in_hospice: bool = False,
    has_gaps: bool = False,
    switched_off: frozenset[str] = frozenset(),
) -> list[str]:
    rows = select(
        findings,
        is_in_hospice=is_in_hospice,
        has_gaps=has_gaps,
        held=dict.fromkeys(switched_off, SWITCHED_OFF),
    )
    return [row.card for row in rows if row.is_shown]


def test_emergency_stands_alone_and_says_so_in_the_trace() -> None:
    """Beside a possible cauda equina syndrome no routine card is shown."""
    rows = select([CAUDA, SCAN, GAP], is_in_hospice=False, has_gaps=False)
    assert [row.card for row in rows if row.is_shown] == ["RF-CES"]
    assert rows[1].held_by == ALONE


def test_emergency_that_is_switched_off_silences_nobody() -> None:
    """A site that switched the emergency card off still gets the patient's other cards."""
    assert _shown(CAUDA, SCAN, GAP, switched_off=frozenset({"RF-CES"})) == ["IMG-MRI-NR"]


def test_gap_is_said_when_every_other_card_is_switched_off() -> None:
    """Switching off the only card never hides that part of the chart was not read."""
    off = frozenset({"IMG-MRI-NR"})
    assert _shown(SCAN, GAP, has_gaps=True, switched_off=off) == ["DATA-READ"]
    assert _shown(SCAN, GAP, has_gaps=True) == ["IMG-MRI-NR"]
    assert _shown(SCAN, GAP, switched_off=off) == []


def test_fault_of_a_rule_is_said_when_nothing_else_is_shown() -> None:
    """A rule that stopped with an error is never silence."""
    broken = replace(SCAN, verdict=Verdict.CANNOT_TELL, is_faulty=True)
    assert _shown(broken, GAP) == ["DATA-READ"]


def test_hospice_keeps_red_flags_only() -> None:
    """In hospice care routine cards rest, an emergency does not."""
    assert _shown(SCAN, GAP, is_in_hospice=True) == []
    assert _shown(CAUDA, GAP, is_in_hospice=True) == ["RF-CES"]
    assert select([SCAN], is_in_hospice=True, has_gaps=False)[0].held_by == HOSPICE
