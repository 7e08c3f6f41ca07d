"""One strict reading of JSON for everything a client sends.

RFC 8259 leaves room that attackers and bugs use: repeated keys, other encodings, very deep nesting.
Here such a body is simply not JSON, so that no two parts of the service can read it differently.
"""

from __future__ import annotations

import re

import jiter

from cds_service.errors import RequestError

MAX_DEPTH = 64
"""How many objects and lists may be open at once."""

MAX_CONTAINERS = 1_000_000
"""How many objects and lists there may be; a real chart of the greatest size has half of that."""

_POSITION = re.compile(r"line \d{1,9} column \d{1,9}$")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def parse_json(body: bytes) -> object:
    """Return the value of *body*.

    Raises:
        RequestError: The body is not JSON in the strict sense, or is nested too deeply.  The text
            holds nothing of the body but the place of the fault.
    """
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise RequestError(
            f"The request body has more than {MAX_CONTAINERS} objects and lists, which no chart "
            "needs. Send less prefetch data and let the service read the rest from fhirServer.",
            path="$",
        )
    try:
        value: object = jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise _refusal(str(error)) from None
    if not _is_shallow(body):
        raise RequestError(_TOO_DEEP, path="$")
    return value


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


def _is_shallow(body: bytes) -> bool:
    """Whether the valid JSON text *body* is nested at most ``MAX_DEPTH`` deep.

    Works on whole byte strings, because a loop over characters would cost more than the parse:
    strings are cut out, only brackets are left, and each round removes the innermost pairs.
    """
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    brackets = outside_strings.translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return not brackets
