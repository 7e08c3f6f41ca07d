"""What do we know about one EHR: whom to trust, where to read, how to answer?

A client profile is data.  Site differences live here and never become an ``if`` on a vendor's
name elsewhere.  :mod:`cds_service.trust.config` reads profiles from the configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from cds_service.trust.addresses import normalise_base
from cds_service.trust.keys import KeySet

DEFAULT_ALGORITHMS = ("ES384", "RS384")
UTC = ZoneInfo("UTC")


class Dialect(StrEnum):
    """How a kind of EHR reads cards and FHIR searches; the texts are those of the file."""

    GENERIC = "generic"
    EPIC = "epic"
    ORACLE_HEALTH = "oracle-health"
    CDS_HOOKS_SANDBOX = "cds-hooks-sandbox"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPreferences:
    """How this site wants its cards.

    ``indicator_ceilings`` maps a card id to the strongest indicator it may have here.
    ``selection_behavior`` is ``spec`` (what the specification says), ``any`` or ``at-most-one``.
    """

    max_cards: int = 5
    disabled_cards: frozenset[str] = frozenset()
    indicator_ceilings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    intent: str = "order"
    selection_behavior: str = "spec"
    spine_referral: str = "neurosurgeon"
    country: str = "US"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProfile:
    """One EHR we answer.

    URLs in ``fhir_bases`` and ``private_fhir_bases`` are normalised, so they compare as text.
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
    dialect: Dialect = Dialect.GENERIC
    searches_by_post: bool = False
    searches_in_batch: bool = False
    max_fhir_requests: int = 64
    optional_keys: tuple[str, ...] = ()
    matches_drug_names: bool = False
    cards: CardPreferences = field(default_factory=CardPreferences)
    discovery_version: str | None = "STU3"
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
