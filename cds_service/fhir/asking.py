"""An HTTP request that only reads, as the bytes that are sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FORM = "application/x-www-form-urlencoded"
FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request that only reads; with a body it is a POST (``_search`` or a batch)."""

    url: str
    body: bytes | None = field(default=None, repr=False)
    content_type: str | None = None

    def as_sent(self, headers: Iterable[str], token: str | None) -> bytes:
        """Return the request with *headers*, lines of their own, and with the access *token*.

        Raises:
            ValueError: The address or the token has a sign that ends it for the server.
        """
        parts = urlsplit(self.url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        lines = [f"{'GET' if self.body is None else 'POST'} {target} HTTP/1.1", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        if self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
        if " " in target or not all(map(str.isprintable, lines)):
            raise ValueError("a request that would end before its end")
        return "\r\n".join((*lines, "", "")).encode("ascii") + (self.body or b"")
