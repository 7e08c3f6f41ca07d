"""What a client's profile decides about its cards, and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cds_service.catalogue.orders import NO_CATALOGUE, OrderCatalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """The dialect and the wishes of one client; made once for each, not once for each call.

    ``selection_behavior`` is ``spec`` (``at-most-one`` for alternatives, ``any`` otherwise),
    ``any`` or ``at-most-one``.  ``indicator_ceiling`` maps a card id to the most urgent indicator
    the site wants for it.  ``identity_key`` keys the patient hash inside card ids.
    ``splits_orders``: one action per suggestion, for EHRs that read only the first.
    ``info_cards`` is ``all``, ``with-orders`` or ``none``.  ``links`` is ``sources`` (those to
    ``allowed_link_hosts``, or all where that is empty), ``listed`` (only those) or ``none``.
    The other fields are explained with the keys of the same names in ``docs/client-profiles.md``.
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
    info_cards: str = "all"
    order_catalogue: OrderCatalogue = NO_CATALOGUE
    requires_local_codes: bool = False
    keeps_standard_codes: bool = True
    order_category: str = "clinical"
    uses_absolute_references: bool = False
    is_plain_text: bool = False
    detail_type_extension: str = ""
    has_topic: bool = True
    links: str = "sources"
    allowed_link_hosts: tuple[str, ...] = ()

    def may_link(self, url: str) -> bool:
        """Return whether a card may link to the source at *url*."""
        if self.links == "none" or (self.links == "listed" and not self.allowed_link_hosts):
            return False
        return may_link(url, self.allowed_link_hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardContext:
    """The context of one hook call; ids as the EHR sent them, without a base URL.

    ``user_id`` is a relative reference ("Practitioner/1"); ``fhir_server`` the base URL of the
    call, if it names one.  ``held`` are the cards this call does not show, by card id, with why in
    our words.
    """

    patient_id: str
    user_id: str | None = None
    encounter_id: str | None = None
    fhir_server: str | None = None
    held: Mapping[str, str] = field(default_factory=dict)


def may_link(url: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Return whether a card or a page may link to the source at *url*; no host means all hosts."""
    if not url.startswith("https://"):
        return False
    return not allowed_hosts or urlsplit(url).hostname in allowed_hosts
