"""What does this Authorization header carry, before any of it is believed?

Reads the shape of a signed token strictly: one Bearer token, three parts, JSON objects without
repeated names.  It checks no signature and believes no claim.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cds_service.errors import UnauthorizedError

_LONGEST_HEADER = 8192
_BEARER = re.compile(
    r"(?:[Bb][Ee][Aa][Rr][Ee][Rr]) +([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\Z"
)
_REFUSED_HEADER_MEMBERS = ("crit", "b64", "zip", "cty", "enc", "jwk", "x5c", "x5u")
"""Members that change how a token is read, or that bring their own key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """A token as it came; nothing in it may be trusted yet."""

    header: Mapping[str, object] = field(repr=False)
    claims: Mapping[str, object] = field(repr=False)
    signed: bytes = field(repr=False)
    """The first two parts as they came: what the signature is of."""
    signature: bytes = field(repr=False)


def read_token(authorization_header: str | None) -> UnverifiedToken:
    """Return the token of an Authorization header.

    Raises:
        UnauthorizedError: There is no token, or it does not have the form of one.
    """
    if authorization_header is None:
        raise UnauthorizedError("no Authorization header")
    if len(authorization_header) > _LONGEST_HEADER:
        raise UnauthorizedError("the Authorization header is longer than 8 KB")
    found = _BEARER.match(authorization_header)
    if found is None:
        raise UnauthorizedError("the Authorization header is not one Bearer token of three parts")
    header_part, payload_part, signature_part = found.groups()
    header = _json_object(_decoded(header_part), "header")
    for name in _REFUSED_HEADER_MEMBERS:
        if name in header:
            raise UnauthorizedError(f"the token's header has the member '{name}'")
    return UnverifiedToken(
        header=header,
        claims=_json_object(_decoded(payload_part), "payload"),
        signed=f"{header_part}.{payload_part}".encode("ascii"),
        signature=_decoded(signature_part),
    )


def _decoded(part: str) -> bytes:
    """Return the bytes of one part; the same bytes written in another way are refused."""
    padded = part + "=" * (-len(part) % 4)
    try:
        decoded = base64.urlsafe_b64decode(padded)
    except ValueError:
        raise UnauthorizedError("a part of the token is not base64url") from None
    if base64.urlsafe_b64encode(decoded) != padded.encode("ascii"):
        raise UnauthorizedError("a part of the token is not base64url")
    return decoded


def _json_object(raw: bytes, name: str) -> Mapping[str, object]:
    try:
        read: object = _JSON.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UnauthorizedError(
            f"the token's {name} is not JSON, or repeats a name, or is nested too deeply"
        ) from None
    if not isinstance(read, dict):
        raise UnauthorizedError(f"the token's {name} is not a JSON object")
    return read


def _without_repeats(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name is repeated")
    return found


def _refuse(_constant: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_refuse)
