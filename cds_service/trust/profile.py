"""What do we know about one EHR: whom to trust, where to read, how to answer?

A client profile is data.  Site differences live here and never become an ``if`` on a vendor's
name elsewhere.  :mod:`cds_service.trust.config` reads profiles from the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.catalogue.orders import NO_CATALOGUE, OrderCatalogue
from cds_service.trust.addresses import normalise_base
from cds_service.trust.dialect import GENERIC, ReadingForm, SearchForm
from cds_service.trust.keys import KeySet

DEFAULT_ALGORITHMS = ("ES384", "RS384")
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A kind of user who does not get some cards; ``codes`` are ``system|code``."""

    name: str
    codes: frozenset[str]
    hidden_cards: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPreferences:
    """How this site wants its cards; the values of ``generic`` unless told otherwise.

    ``docs/client-profiles.md`` explains every key.  ``indicator_ceilings`` maps a card id to the
    strongest indicator it may have here.  ``info_cards`` is ``all``, ``with-orders`` or ``none``.
    ``silent_percent`` of the patients and ``silent_cards`` are evaluated and recorded, not shown.
    """

    max_cards: int = 5
    disabled_cards: frozenset[str] = frozenset()
    silent_cards: frozenset[str] = frozenset()
    silent_percent: int = 0
    indicator_ceilings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    info_cards: str = "all"
    spine_referral: str = "neurosurgeon"
    country: str = "US"
    link_hosts: tuple[str, ...] = ()
    selection_behavior: str = "spec"
    orders_per_suggestion: str = "all"
    intent: str = "order"
    order_category: str = "clinical"
    requires_local_codes: bool = False
    keeps_standard_codes: bool = True
    references: str = "relative"
    detail: str = "markdown"
    detail_type_extension: str = ""
    topic: str = "letters-and-digits"
    links: str = "sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProfile:
    """One EHR we answer.

    URLs in ``fhir_bases`` and ``private_fhir_bases`` are normalised, so they compare as text.
    ``reading``, ``searches`` and parts of ``cards`` begin as those of ``dialect``.
    ``jwks`` or ``jwks_url`` is set, never both; without either no token of this client is good.

    Units:
        ``clock_skew_seconds`` and ``max_lifetime_seconds`` in seconds, ``rate_per_second`` in
        requests per second, ``burst`` in requests.
    """

    id: str
    issuers: tuple[str, ...] = ()
    audience_base_urls: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    jwks: KeySet | None = None
    jwks_url: str | None = None
    jku_urls: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    clock_skew_seconds: int = 60
    max_lifetime_seconds: int = 900
    allows_missing_typ: bool = False
    allows_foreign_audience: bool = False
    fhir_bases: tuple[str, ...] = ()
    private_fhir_bases: tuple[str, ...] = ()
    allows_open_fhir: bool = False
    allows_loopback_fhir: bool = False
    allows_unlisted_loopback_fhir: bool = False
    time_zone: ZoneInfo = UTC
    dialect: str = GENERIC
    reading: ReadingForm = field(default_factory=ReadingForm)
    searches: SearchForm = field(default_factory=SearchForm)
    order_catalogue: OrderCatalogue = NO_CATALOGUE
    code_map: CodeMap = NO_CODES
    roles: tuple[Role, ...] = ()
    searches_by_post: bool = False
    searches_in_batch: bool = False
    max_fhir_requests: int = 256
    optional_keys: tuple[str, ...] = ()
    matches_drug_names: bool = False
    cards: CardPreferences = field(default_factory=CardPreferences)
    discovery_version: str | None = None
    """None: that of the service."""
    outbound_proxy: str | None = None
    ca_file: Path | None = None
    rate_per_second: float = 50.0
    burst: int = 100


def dev_profile(*, time_zone: ZoneInfo = UTC, fhir_bases: tuple[str, ...] = ()) -> ClientProfile:
    """Return the profile of ``serve --dev``: no tokens, any FHIR server on this machine.

    A FHIR server elsewhere is called only if it is in *fhir_bases*.

    Raises:
        cds_service.trust.addresses.AddressRefusedError: One of *fhir_bases* is no base URL.
    """
    bases = tuple(normalise_base(base) for base in fhir_bases)
    return ClientProfile(
        id="dev",
        fhir_bases=bases,
        private_fhir_bases=bases,
        allows_open_fhir=True,
        allows_loopback_fhir=True,
        allows_unlisted_loopback_fhir=True,
        time_zone=time_zone,
    )
