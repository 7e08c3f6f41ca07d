"""One strict reading of JSON for everything a client sends.

RFC 8259 leaves room that attackers and bugs use: repeated keys, other encodings, very deep nesting.
Here such a body is simply not JSON, so that no two parts of the service can read it differently.

Parts that nobody reads can be left out of the reading with ``without``; see docs/adr/0013.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import jiter
import msgspec

from cds_service.errors import RequestError

MAX_DEPTH = 200
"""How many objects and lists may be open at once; the parser counts them and refuses more."""

MAX_CONTAINERS = 1_000_000
"""How many objects and lists there may be; a real chart of the greatest size has half of that."""

MAX_STRING_BYTES = 4 * 1024 * 1024
"""How long one string may be; shorter bodies cannot hold a longer one and are not searched."""

_STRING_OR_LONG_NUMBER = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"?|(?<![0-9.eE+-])(-?[0-9]{4000})[0-9]+', re.DOTALL
)
"""The parser reads whole numbers of up to 4,300 digits."""
_POSITION = re.compile(r"line \d{1,9} column \d{1,9}$")
_SHORTEST_CONTAINER = len(b"{}")
_OBJECT_START = b'{"'
_FIRST_BYTES = 64


def parse_json(body: bytes) -> object:
    """Return the value of *body*.

    Raises:
        RequestError: The body is not JSON in the strict sense, or is nested too deeply.  The text
            holds nothing of the body but the place of the fault.
    """
    check_limits(body)
    return parse_within_limits(body)


def check_limits(body: bytes) -> None:
    """Refuse a body that is too much to read, whatever it says.

    Raises:
        RequestError: There are too many objects and lists, or a string is too long.
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


def parse_within_limits(text: bytes) -> object:
    """Return the value of *text*, a body or a part of one that ``check_limits`` let through.

    Raises:
        RequestError: As for ``parse_json``.
    """
    try:
        return strictly_parsed(text)
    except ValueError as error:
        raise _refusal(str(error)) from None


def strictly_parsed(text: bytes) -> Any:  # noqa: ANN401 - whatever it says
    """Return the value of *text*; of a whole number that is longer than Python reads, the head.

    No rule reads such a number, but it is JSON.

    Raises:
        ValueError: It is not JSON in the strict sense; the error may quote it.
    """
    try:
        return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        if not str(error).startswith("number out of range"):
            raise
    shortened = _STRING_OR_LONG_NUMBER.sub(lambda found: found[1] or found[0], text)
    return jiter.from_json(shortened, allow_inf_nan=False, catch_duplicate_keys=True)


def check_part(key: str, text: bytes, unread: Iterable[bytes | msgspec.Raw]) -> None:
    """Check the prefetch value *text* of *key*, but for its parts that are *unread*.

    Raises:
        RequestError: As for ``parse_json``.
    """
    try:
        parse_within_limits(without(text, unread))
    except RequestError as error:
        path = f"$.prefetch.{key}"
        raise RequestError(f"{path}: {error.message}", path=path) from None


def without(text: bytes, parts: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Return *text* with the objects *parts*, in their order, replaced by null.

    Raw text that begins with a brace and a quote is never inside a string, so whatever is cut is a
    whole value that reads like the part, and everything else is still there.  A part that is not
    found stays, and so do all after it: looking for each of thousands in vain takes seconds.
    """
    kept, end, gap = [], 0, 0
    for part in map(bytes, parts):
        if not part.startswith(_OBJECT_START):
            continue
        start = _place(text, part, end, gap)
        if start < 0:
            break
        kept.append(text[end:start])
        gap = start - end
        end = start + len(part)
    return b"null".join((*kept, text[end:]))


def _place(text: bytes, part: bytes, end: int, gap: int) -> int:
    """Return where *part* is in *text* at or after *end*, or -1; *gap* bytes on, most likely.

    Else its first bytes are looked for, because preparing to look for a long text takes long.
    """
    if text.startswith(part, end + gap):
        return end + gap
    first = part[:_FIRST_BYTES]
    found = text.find(first, end)
    while found >= 0 and not text.startswith(part, found):
        found = text.find(first, found + 1)
    return found


def _has_too_many_containers(body: bytes) -> bool:
    if len(body) <= MAX_CONTAINERS * _SHORTEST_CONTAINER:
        return False
    return body.count(b"{") + body.count(b"[") > MAX_CONTAINERS


def _has_too_long_string(body: bytes) -> bool:
    """Whether more than the limit lies between two quotes; steps from quote to far quote."""
    start = 0
    while len(body) - start > MAX_STRING_BYTES:
        quote = body.rfind(b'"', start, start + MAX_STRING_BYTES + 1)
        if quote < 0:
            return True
        if body.endswith(b"\\", start, quote):  # it may be inside a string: look at every quote
            pieces = body[start:].replace(b'\\"', b"__").split(b'"')
            return max(map(len, pieces)) > MAX_STRING_BYTES
        start = quote + 1
    return False


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
