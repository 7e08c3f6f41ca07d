"""Names for cards and suggestions that stay the same while the facts stay the same.

They tell nothing about the patient without the configured key.
"""

from __future__ import annotations

import hmac
import json
from functools import lru_cache
from hashlib import sha1
from json.encoder import encode_basestring_ascii as _quoted
from uuid import UUID

from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.values import Side

_REMEMBERED_NAMES = 1024
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_NAMESPACE = UUID("8d1c1f0e-4f0b-5c61-9a53-8a5b4f6d2c11").bytes


class CardNames:
    """The uuids of one patient's cards at one client."""

    def __init__(self, *, patient_id: str, client_id: str, key: bytes) -> None:
        patient = hmac.digest(key, patient_id.encode(), "sha256").hex()
        self._owner = f'"{patient}", {_quoted(client_id)}'

    def __call__(self, finding: Finding) -> str:
        """Return the uuid of the card of *finding*: patient, client, rule and evidence.

        Days since surgery, notes and wording do not enter it, so tomorrow's card about the same
        facts has the same uuid.
        """
        # JSON, written by hand because the encoder takes longer than all the rest of this method
        days = {(e.reference, e.day.isoformat() if e.day else "") for e in finding.evidence}
        pairs = ", ".join([f"[{_quoted(entry)}, {_quoted(day)}]" for entry, day in sorted(days)])
        return _uuid5(_NAMESPACE, f'[{self._owner}, "{finding.card}", [{pairs}]]')


def suggestion_uuid(card: str, proposal: Proposal, local_code: str = "") -> str:
    """Return the uuid of a suggestion within *card*: its orders and side.

    *local_code* tells apart entries of a site's order list that stand for the same order; the
    first of them has none.
    """
    namespace = bytes.fromhex(card.replace("-", ""))
    return _uuid5(namespace, _suggestion_name(proposal.orders, proposal.side, local_code))


@lru_cache(maxsize=_REMEMBERED_NAMES)
def _suggestion_name(orders: tuple[str, ...], side: Side | None, local_code: str) -> str:
    named = [orders, side.value if side else "", *([local_code] if local_code else [])]
    return json.dumps(named)


def _uuid5(namespace: bytes, name: str) -> str:
    """Return what ``uuid.uuid5`` does, in a third of its time."""
    text = sha1(namespace + name.encode(), usedforsecurity=False).hexdigest()
    third, fourth = f"5{text[13:16]}", f"{_VARIANTS[text[16]]}{text[17:20]}"
    return f"{text[:8]}-{text[8:12]}-{third}-{fourth}-{text[20:32]}"
