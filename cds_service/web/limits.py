"""How much one client, one body and one moment may ask of the service."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import nullcontext

from flask import Request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from cds_service.errors import (
    BodyTooLargeError,
    MediaTypeError,
    RequestError,
    TooManyRequestsError,
)
from cds_service.hooks.whole_characters import with_whole_characters
from cds_service.turns import resting

MEDIA_TYPES = frozenset({"application/json", "application/fhir+json"})
LONGEST_EARLY_BODY_BYTES = 131_072
"""A body that is no longer is read before a thread has to wait for it."""


def is_odd_address(request: Request) -> bool:
    """Whether the address was not sent letter by letter as we read it.

    Ours need no percent sign, no second slash and no host, so whoever writes one wants a proxy in
    front to see another address than we do.
    """
    sent = request.environ.get("RAW_URI")
    return isinstance(sent, str) and sent.partition("?")[0] != request.path


def check_length_and_type(request: Request, max_body_bytes: int) -> None:
    """Refuse a body by what its headers say, before a byte of it is read.

    Raises:
        BodyTooLargeError: The stated length is over the limit.
        MediaTypeError: The body is not JSON, or is encoded.
    """
    if request.content_length is None:
        request.max_content_length = max_body_bytes
    elif request.content_length > max_body_bytes:
        raise body_too_large()
    if request.mimetype not in MEDIA_TYPES:
        raise MediaTypeError(
            "The header Content-Type does not say JSON. Send the body as application/json."
        )
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8"}:
        raise MediaTypeError("The header Content-Type names a charset. Send the body in UTF-8.")
    if "Content-Encoding" in request.headers:
        raise MediaTypeError(
            "The header Content-Encoding is not accepted. Send the body without compression."
        )


def read_body(request: Request) -> bytes:
    """Return the body of a request that ``check_length_and_type`` let through.

    Half characters are replaced; everything later reads these bytes.

    Raises:
        BodyTooLargeError: The body states no length and does not end below the limit; Werkzeug
            would pass on its beginning.
        RequestError: The body was cut off, or its pieces do not fit together.
    """
    try:
        with resting() if _may_be_slow(request) else nullcontext():
            body = request.get_data(cache=False)
    except (OSError, ParseException):
        raise RequestError(
            "The request body was cut off, or came in chunks that cannot be read. Send all of it, "
            "in one piece, with the header Content-Length.",
            path="$",
        ) from None
    limit = request.max_content_length
    if limit is not None and len(body) >= limit:
        raise body_too_large()
    return with_whole_characters(body)


def _may_be_slow(request: Request) -> bool:
    """Whether the body may still be on its way; short ones are there before the call begins."""
    length = request.content_length
    return length is None or length > LONGEST_EARLY_BODY_BYTES or "Expect" in request.headers


def body_too_large() -> BodyTooLargeError:
    """Return the refusal of a body over the limit."""
    return BodyTooLargeError(
        "The request body is longer than this service accepts. Send less prefetch data and let "
        "the service read the rest from fhirServer."
    )


class TokenBuckets:
    """Requests per second for each client, with room for a burst."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, client_id: str, *, rate_per_second: float, burst: int) -> None:
        """Count one request of *client_id*.

        Raises:
            TooManyRequestsError: The client has used up its burst.
        """
        with self._lock:
            now = self._monotonic()
            level, since = self._levels.get(client_id, (float(burst), now))
            level = min(float(burst), level + (now - since) * rate_per_second)
            self._levels[client_id] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            raise TooManyRequestsError(math.ceil((1 - level) / rate_per_second))
