"""One strict reading of JSON for everything a client sends.

RFC 8259 leaves room that attackers and bugs use: repeated keys, other encodings, very deep nesting.
Here such a body is simply not JSON, so that no two parts of the service can read it differently.
"""

from __future__ import annotations

import re

import jiter

from cds_service.errors import RequestError

MAX_DEPTH = 200
"""How many objects and lists may be open at once; the parser counts them and refuses more."""

MAX_CONTAINERS = 1_000_000
"""How many objects and lists there may be; a real chart of the greatest size has half of that."""

MAX_STRING_BYTES = 4 * 1024 * 1024
"""How long one string may be; shorter bodies cannot hold a longer one and are not searched."""

_POSITION = re.compile(r"line \d{1,9} column \d{1,9}$")
_SHORTEST_CONTAINER = len(b"{}")


def parse_json(body: bytes) -> object:
    """Return the value of *body*.

    Raises:
        RequestError: The body is not JSON in the strict sense, or is nested too deeply.  The text
            holds nothing of the body but the place of the fault.
    """
    if _has_too_many_containers(body):
        raise RequestError(
            f"The request body has more than {MAX_CONTAINERS} objects and lists, which no chart "
            "needs. Send less prefetch data and let the service read the rest from fhirServer.",
            path="$",
        )
    if _has_too_long_string(body):
        raise RequestError(
            f"The request body has a string of more than {MAX_STRING_BYTES} bytes, which this "
            "service never reads. Leave attachments out of prefetch.",
            path="$",
        )
    try:
        return jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise _refusal(str(error)) from None


def _has_too_many_containers(body: bytes) -> bool:
    if len(body) <= MAX_CONTAINERS * _SHORTEST_CONTAINER:
        return False
    return body.count(b"{") + body.count(b"[") > MAX_CONTAINERS


def _has_too_long_string(body: bytes) -> bool:
    if len(body) <= MAX_STRING_BYTES:
        return False
    pieces = body.replace(b'\\"', b"__").split(b'"')
    return max(map(len, pieces)) > MAX_STRING_BYTES


_TOO_DEEP = (
    f"The request body is nested more than {MAX_DEPTH} levels deep, which no CDS Hooks request "
    "needs. Send flatter JSON."
)


def _refusal(parser_text: str) -> RequestError:
    """Say what is wrong; *parser_text* may quote the body, so only its kind and place are used."""
    found = _POSITION.search(parser_text)
    place = f" at {found.group()}" if found else ""
    if parser_text.startswith("recursion limit"):
        return RequestError(_TOO_DEEP, path="$")
    if parser_text.startswith("Detected duplicate key"):
        return RequestError(
            f"The request body writes one key of an object twice{place}, so its meaning is open. "
            "Send each key once.",
            path="$",
        )
    return RequestError(
        f"The request body is not JSON{place}. Send one whole JSON object in UTF-8 without a byte "
        "order mark; NaN and Infinity are not JSON.",
        path="$",
    )
