"""How do the tables of the configuration file become settings and client profiles?

Works on a document that already fits the schema, and makes the checks a schema cannot make.
Reads the files the configuration names; changes nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast
from zoneinfo import ZoneInfo

from cds_service.trust.addresses import AddressRefusedError, is_loopback_url, normalise_base
from cds_service.trust.config_place import Place, Table, flag_of, text_of, texts_of, whole_of
from cds_service.trust.config_secrets import jwks_url_of, refuse_published_keys, static_keys
from cds_service.trust.profile import (
    DEFAULT_ALGORITHMS,
    CardPreferences,
    ClientProfile,
    Dialect,
)


def read_client(place: Place, table: Table) -> ClientProfile:
    """Return the profile that one ``[[clients]]`` *table* describes.

    Raises:
        SettingsError: A value breaks a rule the schema cannot state.
    """
    bases = _fhir_bases(place, table, "fhir_bases")
    private = _fhir_bases(place, table, "private_fhir_bases")
    if not set(private) <= set(bases):
        raise place.fault(
            "private_fhir_bases", "a base here is not in fhir_bases.", "Add it there as well."
        )
    client = ClientProfile(
        id=text_of(table, "id"),
        issuers=texts_of(table, "issuers"),
        audience_base_urls=tuple(
            own_base_url(place, "audience_base_urls", url)
            for url in texts_of(table, "audience_base_urls")
        ),
        algorithms=texts_of(table, "algorithms") or DEFAULT_ALGORITHMS,
        jwks=static_keys(place, table),
        jwks_url=jwks_url_of(place, table),
        jku_urls=texts_of(table, "jku_urls"),
        tenants=texts_of(table, "tenants"),
        subjects=texts_of(table, "subjects"),
        clock_skew_seconds=whole_of(table, "clock_skew_seconds", 60),
        max_lifetime_seconds=whole_of(table, "max_lifetime_seconds", 900),
        allows_missing_typ=flag_of(table, "allows_missing_typ"),
        allows_foreign_audience=flag_of(table, "allows_foreign_audience"),
        fhir_bases=bases,
        private_fhir_bases=private,
        allows_open_fhir=flag_of(table, "allows_open_fhir"),
        allows_loopback_fhir=flag_of(table, "allows_loopback_fhir"),
        time_zone=_time_zone(place, table),
        dialect=Dialect(text_of(table, "dialect", "generic")),
        searches_by_post=flag_of(table, "searches_by_post"),
        searches_in_batch=flag_of(table, "searches_in_batch"),
        max_fhir_requests=whole_of(table, "max_fhir_requests", 64),
        optional_keys=texts_of(table, "optional_keys"),
        matches_drug_names=flag_of(table, "matches_drug_names"),
        cards=_card_preferences(table),
        discovery_version=_discovery_version(table),
        outbound_proxy=_proxy(place, table),
        ca_file=_ca_file(place, table),
        rate_per_second=float(cast("float", table.get("rate_per_second", 50.0))),
        burst=whole_of(table, "burst", 100),
    )
    refuse_published_keys(place, client)
    return client


def own_base_url(place: Place, key: str, url: str) -> str:
    """Return one of our own base URLs without a slash at the end; it stays as it is written.

    Raises:
        SettingsError: It is no base URL, or plain http elsewhere than on this machine.
    """
    base = _checked_base(place, key, url)
    if base.startswith("http://") and not is_loopback_url(base):
        raise place.fault(
            key,
            "plain http sends tokens and patient data in the clear.",
            "Write the https URL of the reverse proxy.",
        )
    return url.removesuffix("/")


def _checked_base(place: Place, key: str, url: str) -> str:
    try:
        return normalise_base(url)
    except AddressRefusedError as error:
        raise place.fault(
            key, f"a URL is refused: {error}.", "Write it as https://host/path."
        ) from error


def _fhir_bases(place: Place, table: Table, key: str) -> tuple[str, ...]:
    bases = tuple(_checked_base(place, key, url) for url in texts_of(table, key))
    if flag_of(table, "allows_loopback_fhir") and not place.is_demo:
        raise place.fault(
            "allows_loopback_fhir", 'it is only for mode = "demo".', "Remove the key."
        )
    for base in bases:
        is_permitted = flag_of(table, "allows_loopback_fhir") and is_loopback_url(base)
        if base.startswith("http://") and not is_permitted:
            raise place.fault(
                key,
                "plain http sends the patient's access token in the clear.",
                "Write the https URL of the FHIR server.",
            )
    return bases


def _time_zone(place: Place, table: Table) -> ZoneInfo:
    try:
        return ZoneInfo(text_of(table, "time_zone", "UTC"))
    except (OSError, ValueError, KeyError) as error:
        raise place.fault(
            "time_zone",
            "the tz database has no such time zone.",
            "Write one such as America/Chicago or Europe/Berlin.",
        ) from error


def _ca_file(place: Place, table: Table) -> Path | None:
    if "ca_file" not in table:
        return None
    path = place.path(text_of(table, "ca_file"))
    place.files.append(path)
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError) as error:
        raise place.fault(
            "ca_file", "it holds no certificate we can read.", "Give a PEM file."
        ) from error
    return path


def _proxy(place: Place, table: Table) -> str | None:
    if "outbound_proxy" not in table:
        return None
    return _checked_base(place, "outbound_proxy", text_of(table, "outbound_proxy"))


def _card_preferences(table: Table) -> CardPreferences:
    cards = cast("Table", table.get("cards", {}))
    natural = "any" if table.get("dialect") == Dialect.EPIC else "spec"
    ceilings = cast("Mapping[str, str]", cards.get("indicator_ceilings", {}))
    return CardPreferences(
        max_cards=whole_of(cards, "max_cards", 5),
        disabled_cards=frozenset(texts_of(cards, "disabled_cards")),
        indicator_ceilings=MappingProxyType(dict(ceilings)),
        intent=text_of(cards, "intent", "order"),
        selection_behavior=text_of(cards, "selection_behavior", natural),
        spine_referral=text_of(cards, "spine_referral", "neurosurgeon"),
        country=text_of(cards, "country", "US"),
    )


def _discovery_version(table: Table) -> str | None:
    return text_of(table, "discovery_version") if "discovery_version" in table else None
