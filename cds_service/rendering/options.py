"""What a client's profile decides about its cards, and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """The dialect and the wishes of one client.

    ``selection_behavior`` is ``spec`` (``at-most-one`` for alternatives, ``any`` otherwise),
    ``any`` or ``at-most-one``.  ``indicator_ceiling`` maps a card id to the most urgent indicator
    the site wants for it.  ``identity_key`` keys the patient hash inside card ids.
    ``splits_orders``: one action per suggestion, for EHRs that read only the first.
    ``allowed_link_hosts``: where links to sources may lead; empty means every source of ``cards/``.
    """

    client_id: str
    public_base_url: str
    identity_key: bytes = field(repr=False)
    max_cards: int = 5
    intent: str = "order"
    request_status: str = "draft"
    selection_behavior: str = "spec"
    disabled_cards: frozenset[str] = frozenset()
    indicator_ceiling: Mapping[str, str] = field(default_factory=dict)
    is_unreviewed: bool = True
    spine_referral: str = "neurosurgeon"
    country: str = "US"
    splits_orders: bool = False
    allowed_link_hosts: tuple[str, ...] = ()

    def may_link(self, url: str) -> bool:
        """Return whether a card may link to the source at *url*."""
        return may_link(url, self.allowed_link_hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardContext:
    """The context of one hook call; ids as the EHR sent them, without a base URL.

    ``user_id`` is a relative reference ("Practitioner/1").
    """

    patient_id: str
    user_id: str | None = None
    encounter_id: str | None = None


def may_link(url: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Return whether a card or a page may link to the source at *url*; no host means all hosts."""
    if not url.startswith("https://"):
        return False
    return not allowed_hosts or urlsplit(url).hostname in allowed_hosts
