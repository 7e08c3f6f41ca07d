"""Names for cards and suggestions that stay the same while the facts stay the same.

They tell nothing about the patient without the configured key.
"""

from __future__ import annotations

import hmac
import json
from uuid import UUID, uuid5

from cds_service.evaluation.assessment import Finding, Proposal

_NAMESPACE = UUID("8d1c1f0e-4f0b-5c61-9a53-8a5b4f6d2c11")


def card_uuid(finding: Finding, *, patient_id: str, client_id: str, key: bytes) -> UUID:
    """Return the id of the card: patient (hashed with *key*), client, rule and evidence.

    Days since surgery, notes and wording do not enter it, so tomorrow's card about the same facts
    has the same id.
    """
    patient = hmac.digest(key, patient_id.encode(), "sha256").hex()
    evidence = sorted({(e.reference, e.day.isoformat() if e.day else "") for e in finding.evidence})
    return uuid5(_NAMESPACE, json.dumps([patient, client_id, finding.card, evidence]))


def suggestion_uuid(card: UUID, proposal: Proposal, local_code: str = "") -> UUID:
    """Return the id of a suggestion within *card*: its orders and side.

    *local_code* tells apart entries of a site's order list that stand for the same order; the
    first of them has none.
    """
    side = proposal.side.value if proposal.side else ""
    named = [list(proposal.orders), side, *([local_code] if local_code else [])]
    return uuid5(card, json.dumps(named))
