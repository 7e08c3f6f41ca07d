"""Which next page may be asked for, and when enough has been read.

The access token goes along with every page, so a link is followed only if it stays on the FHIR
server: same scheme, host and port, and below the same base path.
"""

from __future__ import annotations

from urllib.parse import quote, unquote, urljoin, urlsplit

from cds_service.fhir.subjects import normalised_base

MOST_PAGES = 50
MOST_RESOURCES = 20_000
MOST_BYTES = 20_000_000
_SAFE_SIGNS = "!#$%&'()*+,/:;=?@[]~"
"""Signs of a link that are sent as they are; some servers write others without encoding them."""


class Allowance:
    """What all searches of one key together may still read.

    Units:
        ``bytes`` are counted after decompression.
    """

    def __init__(
        self,
        *,
        pages: int = MOST_PAGES,
        resources: int = MOST_RESOURCES,
        bytes: int = MOST_BYTES,  # noqa: A002 - what it counts
    ) -> None:
        """Allow this much, each limit inclusive."""
        self._pages = pages
        self._resources = resources
        self._bytes = bytes

    @property
    def bytes_left(self) -> int:
        """Return how many bytes may still be read."""
        return max(0, self._bytes)

    def takes_page(self) -> bool:
        """Take one page off; False if no further page may be read."""
        if min(self._pages, self._resources, self._bytes) <= 0:
            return False
        self._pages -= 1
        return True

    def takes_bytes(self, count: int) -> bool:
        """Take *count* bytes off; False if that is more than was left."""
        self._bytes -= count
        return self._bytes >= 0

    def takes_resources(self, count: int) -> int:
        """Take up to *count* resources off; return how many of them may be kept."""
        kept = min(count, self._resources)
        self._resources -= kept
        return kept


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
    segments = (segment.partition(";")[0] for segment in _decoded(parts.path).split("/"))
    if any(segment in {".", ".."} for segment in segments):  # "..;" climbs on some servers
        return None
    target = f"{origin}{parts.path}"
    is_below = target.rstrip("/") == whole or target.startswith(f"{whole}/")
    return quote(joined, safe=_SAFE_SIGNS) if is_below else None


def _decoded(path: str) -> str:
    """Return *path* without percent signs, however often they were encoded."""
    for _ in range(3):
        path = unquote(path)
    return path.replace("\\", "/")
