"""Names for cards and suggestions that stay the same while the facts stay the same.

They tell nothing about the patient without the configured key.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha1

from cds_service.evaluation.assessment import Finding, Proposal

_NAMESPACE = "8d1c1f0e-4f0b-5c61-9a53-8a5b4f6d2c11"


class CardNames:
    """The uuids of one patient's cards at one client."""

    def __init__(self, *, patient_id: str, client_id: str, key: bytes) -> None:
        self._patient = hmac.digest(key, patient_id.encode(), "sha256").hex()
        self._client_id = client_id

    def __call__(self, finding: Finding) -> str:
        """Return the uuid of the card of *finding*: patient, client, rule and evidence.

        Days since surgery, notes and wording do not enter it, so tomorrow's card about the same
        facts has the same uuid.
        """
        days = {(e.reference, e.day.isoformat() if e.day else "") for e in finding.evidence}
        named = [self._patient, self._client_id, finding.card, sorted(days)]
        return _uuid5(_NAMESPACE, json.dumps(named))


def suggestion_uuid(card: str, proposal: Proposal, local_code: str = "") -> str:
    """Return the uuid of a suggestion within *card*: its orders and side.

    *local_code* tells apart entries of a site's order list that stand for the same order; the
    first of them has none.
    """
    side = proposal.side.value if proposal.side else ""
    named = [list(proposal.orders), side, *([local_code] if local_code else [])]
    return _uuid5(card, json.dumps(named))


def _uuid5(namespace: str, name: str) -> str:
    """Return what ``uuid.uuid5`` does, in a third of its time."""
    space = bytes.fromhex(namespace.replace("-", ""))
    digest = bytearray(sha1(space + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
