"""How do the tables of the configuration file become settings and client profiles?

Works on a document that already fits the schema, and makes the checks a schema cannot make.
Reads the files the configuration names; changes nothing.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast
from zoneinfo import ZoneInfo

from cds_service.catalogue.codes import NO_CODES, CodeMap, read_code_map
from cds_service.catalogue.orders import NO_CATALOGUE, OrderCatalogue, read_order_catalogue
from cds_service.catalogue.tables import LARGEST_FILE
from cds_service.trust.addresses import AddressRefusedError, is_loopback_url, normalise_base
from cds_service.trust.config_place import (
    Place,
    Table,
    flag_of,
    table_of,
    text_of,
    texts_of,
    whole_of,
)
from cds_service.trust.config_secrets import jwks_url_of, refuse_published_keys, static_keys
from cds_service.trust.dialect import GENERIC, dialect_table, reading_form, search_form
from cds_service.trust.profile import (
    DEFAULT_ALGORITHMS,
    CardPreferences,
    ClientProfile,
    Role,
)

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_USUAL_PORT = re.compile(r"https://.*:443|http://.*:80")


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
    dialect = text_of(table, "dialect", GENERIC)
    cards = dialect_table(dialect, "cards", table_of(table, "cards"))
    catalogue = _order_catalogue(place, table, texts_of(cards, "order_systems"))
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
        dialect=dialect,
        reading=reading_form(dialect, table_of(table, "reading")),
        searches=search_form(dialect, table_of(table, "searches")),
        order_catalogue=catalogue,
        code_map=replace(_code_map(place, table), orders=catalogue),
        roles=_roles(table),
        searches_by_post=flag_of(table, "searches_by_post"),
        searches_in_batch=flag_of(table, "searches_in_batch"),
        max_fhir_requests=whole_of(table, "max_fhir_requests", 256),
        optional_keys=texts_of(table, "optional_keys"),
        matches_drug_names=flag_of(table, "matches_drug_names"),
        cards=_card_preferences(cards),
        discovery_version=_discovery_version(table),
        outbound_proxy=_proxy(place, table),
        ca_file=ca_file_of(place, table),
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
    if base.endswith("/cds-services"):  # a gateway may have the same word earlier in its path
        raise place.fault(
            key,
            "the service adds /cds-services itself, so no token could be for such an address.",
            "Write what stands before /cds-services in the address that the EHR calls.",
        )
    if base.startswith("http://") and not is_loopback_url(base):
        raise place.fault(
            key,
            "plain http sends tokens and patient data in the clear.",
            "Write the https URL of the reverse proxy.",
        )
    return url.removesuffix("/")


def web_origins(place: Place, key: str, origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return *origins* if each is as a browser names the origin of a page, or is "*".

    Raises:
        SettingsError: One of them can never be what a browser sends.
    """
    for origin in origins:
        is_origin = _ORIGIN.fullmatch(origin) and not _USUAL_PORT.fullmatch(origin)
        if origin not in {"*", "null"} and not is_origin:
            raise place.fault(
                key,
                "one of the origins can never match: a browser names the origin of a page by "
                "scheme and host in small letters and the port if it is not the usual one.",
                'Write it as https://ehr.example or https://ehr.example:8443, or "*" for all.',
            )
    return origins


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


def ca_file_of(place: Place, table: Table) -> Path | None:
    """Return the file of certificate authorities under ``ca_file``.

    Raises:
        SettingsError: It is not there, or holds no certificate.
    """
    if "ca_file" not in table:
        return None
    path = place.path(text_of(table, "ca_file"))
    place.note(path)
    if not path.is_file():
        raise place.fault("ca_file", "there is no such file.", "Check its name.")
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
    try:
        return normalise_base(text_of(table, "outbound_proxy"))
    except AddressRefusedError as error:
        raise place.fault(
            "outbound_proxy",
            "the URL of the proxy is refused: it is no plain http or https URL of host and port.",
            "Write it as http://host:port.",
        ) from error


def _card_preferences(cards: Table) -> CardPreferences:
    """Return the wishes in *cards*, which has every key of a dialect."""
    ceilings = cast("Mapping[str, str]", cards.get("indicator_ceilings", {}))
    return CardPreferences(
        max_cards=whole_of(cards, "max_cards", 5),
        disabled_cards=frozenset(texts_of(cards, "disabled_cards")),
        silent_cards=frozenset(texts_of(cards, "silent_cards")),
        silent_percent=whole_of(cards, "silent_percent", 0),
        indicator_ceilings=MappingProxyType(dict(ceilings)),
        info_cards=text_of(cards, "info_cards", "all"),
        spine_referral=text_of(cards, "spine_referral", "neurosurgeon"),
        country=text_of(cards, "country", "US"),
        link_hosts=texts_of(cards, "link_hosts"),
        selection_behavior=text_of(cards, "selection_behavior"),
        orders_per_suggestion=text_of(cards, "orders_per_suggestion"),
        intent=text_of(cards, "intent"),
        order_category=text_of(cards, "order_category"),
        requires_local_codes=flag_of(cards, "requires_local_codes"),
        keeps_standard_codes=flag_of(cards, "keeps_standard_codes"),
        references=text_of(cards, "references"),
        detail=text_of(cards, "detail"),
        detail_type_extension=text_of(cards, "detail_type_extension"),
        topic=text_of(cards, "topic"),
        links=text_of(cards, "links"),
    )


def _order_catalogue(place: Place, table: Table, systems: tuple[str, ...]) -> OrderCatalogue:
    if "order_catalogue" not in table:
        return NO_CATALOGUE
    name = text_of(table, "order_catalogue")
    content = place.bytes_of("order_catalogue", name, largest=LARGEST_FILE)
    return read_order_catalogue(str(place.path(name)), content, systems)


def _code_map(place: Place, table: Table) -> CodeMap:
    if "code_map" not in table:
        return NO_CODES
    name = text_of(table, "code_map")
    content = place.bytes_of("code_map", name, largest=LARGEST_FILE)
    return read_code_map(str(place.path(name)), content)


def _roles(table: Table) -> tuple[Role, ...]:
    return tuple(
        Role(
            name=text_of(role, "name"),
            codes=frozenset(texts_of(role, "codes")),
            hidden_cards=frozenset(texts_of(role, "hidden_cards")),
        )
        for role in cast("list[Table]", table.get("roles", []))
    )


def _discovery_version(table: Table) -> str | None:
    return text_of(table, "discovery_version") if "discovery_version" in table else None
