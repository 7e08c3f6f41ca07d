"""Which keys does the configuration file give: a client's public keys, our own identity key?

No text made here repeats a key or a part of one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from urllib.parse import urlsplit

from cds_service.trust.config_place import Place, Table, text_of
from cds_service.trust.keys import KeySet, parse_key_set
from cds_service.trust.profile import ClientProfile

_SHORTEST_IDENTITY_KEY = 32
PUBLISHED_KEY_IDS = frozenset({"44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"})
"""Keys whose private half is public: the CDS Hooks Sandbox's."""
PUBLISHED_KEY_ISSUERS = frozenset({"https://sandbox.cds-hooks.org"})


def read_identity_key(place: Place, table: Table) -> bytes | None:
    """Return the identity key of the ``[service]`` *table*, if one is given.

    Raises:
        SettingsError: It is given twice, cannot be read or is too short.
    """
    if "identity_key" in table and "identity_key_file" in table:
        raise place.fault("identity_key", "the key is given twice.", "Keep identity_key_file.")
    if "identity_key_file" in table:
        key = "identity_key_file"
        text = place.bytes_of(key, text_of(table, key)).decode("ascii", "replace").strip()
    elif "identity_key" in table:
        key, text = "identity_key", text_of(table, "identity_key")
    else:
        return None
    todo = "Make one with: openssl rand -hex 32"
    try:
        secret = _decoded(text)
    except (ValueError, binascii.Error):
        # The decoder's own text could repeat parts of the secret.
        raise place.fault(key, "it is neither hexadecimal nor base64.", todo) from None
    if len(secret) < _SHORTEST_IDENTITY_KEY:
        raise place.fault(key, "it has less than 32 bytes, which can be guessed.", todo)
    return secret


def static_keys(place: Place, table: Table) -> KeySet | None:
    """Return the client's public keys if they are given here and not by a URL.

    Raises:
        SettingsError: They are given in no way or in two, or one of them cannot be used.
    """
    given = [key for key in ("jwks", "jwks_file", "jwks_url") if key in table]
    if len(given) != 1:
        raise place.fault(
            "jwks_url",
            "the client's public keys must be given in one way.",
            "Give exactly one of jwks, jwks_file and jwks_url.",
        )
    key = given[0]
    if key == "jwks_url":
        return None
    try:
        document: object = table["jwks"] if key == "jwks" else None
        if key == "jwks_file":
            document = json.loads(place.bytes_of(key, text_of(table, key)))
        key_set = parse_key_set(document)
    except RecursionError:
        raise place.fault(key, "it is nested too deeply.", "Check the file.") from None
    except ValueError as error:
        reason = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise place.fault(key, f"{reason}.", "Paste the client's key set.") from None
    if key_set.faults:
        raise place.fault(key, f"{key_set.faults[0]}.", "Correct or remove this key.")
    if not key_set.keys:
        raise place.fault(key, "it holds no key.", "Paste the client's key set.")
    return key_set


def jwks_url_of(place: Place, table: Table) -> str | None:
    """Return the URL of the client's key set, if it is given by one.

    Raises:
        SettingsError: It is not a plain https URL.
    """
    if "jwks_url" not in table:
        return None
    url = text_of(table, "jwks_url")
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname or "@" in url:
        raise place.fault("jwks_url", "it is not a plain https URL.", "Write the https URL.")
    return url


def refuse_published_keys(place: Place, client: ClientProfile) -> None:
    """Refuse a client whose private key everybody can read, except in the demonstration.

    Raises:
        SettingsError: The client is the CDS Hooks Sandbox, or uses its key.
    """
    if place.is_demo:
        return
    kids = frozenset(client.jwks.keys) if client.jwks is not None else frozenset()
    if kids & PUBLISHED_KEY_IDS or set(client.issuers) & PUBLISHED_KEY_ISSUERS:
        raise place.fault(
            "issuers",
            "the private key of the CDS Hooks Sandbox is public, so anyone can make its tokens.",
            'Remove this client, or use it only with mode = "demo".',
        )


def _decoded(text: str) -> bytes:
    if re.fullmatch(r"([0-9A-Fa-f]{2})+", text):
        return bytes.fromhex(text)
    return base64.b64decode(text, validate=True)
