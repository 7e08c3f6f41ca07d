"""Which next page may be asked for, and when enough has been read.

The access token goes along with every page, so a link is followed only if it stays on the FHIR
server: same scheme, host and port, and below the same base path.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from cds_service.fhir.subjects import normalised_base

MOST_PAGES = 50
MOST_RESOURCES = 20_000
MOST_BYTES = 20_000_000


@dataclass(slots=True)
class Allowance:
    """What one key may still read: pages, resources and decoded bytes."""

    pages: int = MOST_PAGES
    resources: int = MOST_RESOURCES
    bytes: int = MOST_BYTES

    def spend(self, *, resources: int, size: int) -> None:
        """Take one page with *resources* in *size* bytes off the allowance."""
        self.pages -= 1
        self.resources -= resources
        self.bytes -= size

    @property
    def is_spent(self) -> bool:
        """Whether no further page may be read."""
        return self.pages <= 0 or self.resources <= 0 or self.bytes <= 0


def safe_next_url(base: str, current_url: str, link: str) -> str | None:
    """Return the absolute URL of *link* if it stays below *base*, else None."""
    if any(sign in link for sign in "\\\r\n\t ") or not link.isprintable():
        return None
    try:
        joined = urljoin(current_url, link)
        parts = urlsplit(joined)
        origin = normalised_base(f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        return None
    whole = normalised_base(base)
    if origin is None or whole is None or parts.fragment:
        return None
    if any(segment in {".", ".."} for segment in _decoded(parts.path).split("/")):
        return None
    target = f"{origin}{parts.path}"
    is_below = target.rstrip("/") == whole or target.startswith(f"{whole}/")
    return joined if is_below else None


def _decoded(path: str) -> str:
    """Return *path* without percent signs, however often they were encoded."""
    for _ in range(3):
        path = unquote(path)
    return path.replace("\\", "/")
