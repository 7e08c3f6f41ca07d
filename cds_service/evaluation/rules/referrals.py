"""A referral as a proposal, unless one exists already or nobody can tell."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.evaluation.answers import Answer
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.evaluation.case import Case
from cds_service.evaluation.workup import REFERRAL_KEYS


def propose_referrals(
    finding: Finding, case: Case, *orders: str, priority: str = "routine"
) -> Finding:
    """Add *orders* to *finding*, the first one recommended.

    Missing data:
        Orders or visits not completely supplied: no referral is proposed.
    """
    unread = case.workup.unread(REFERRAL_KEYS)
    if unread:
        return replace(finding, unread=finding.unread | unread, is_order_withheld=True)
    proposals = tuple(
        [
            Proposal(orders=(order,), priority=priority, is_recommended=order == orders[0])
            for order in orders
        ]
    )
    return replace(finding, proposals=proposals)


def is_psychology_involved(case: Case) -> Answer:
    """Return whether a psychology referral of late is on record."""
    return case.workup.is_referred("psychology-referral", newest="order-lookback-long")
