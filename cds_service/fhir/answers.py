"""What one prefetch key brought: how complete it is, and each resource as its own JSON bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from cds_service.chart.supply import State, Supply
from cds_service.fhir.wire import Head

NO_URLS: Mapping[str, str] = MappingProxyType({})
RawResource = bytes | msgspec.Raw
"""One resource as JSON bytes, not yet read."""


class Unshown(msgspec.Struct, frozen=True):
    """Holds parts of a chart and shows none of them, wherever it may be printed."""

    def __repr__(self) -> str:  # type: ignore[explicit-override]
        return f"<{type(self).__name__}>"


class Headed(Unshown, frozen=True, gc=False):
    """One resource whose head has been read; None if it could not be."""

    raw: RawResource
    head: Head | None
    is_beside: bool = False
    """It came along with what was asked for, and answers nothing itself."""


def raw_of(resource: RawResource | Headed) -> RawResource:
    """Return the JSON bytes of *resource*."""
    return resource.raw if isinstance(resource, Headed) else resource


class KeyAnswer(Unshown, frozen=True, kw_only=True):
    """The answer to one key.

    ``full_urls`` maps a Bundle entry's ``fullUrl`` to the entry's "Type/id", so that ``urn:uuid``
    references of the same request can be followed.
    """

    supply: Supply
    resources: tuple[RawResource | Headed, ...] = ()
    full_urls: Mapping[str, str] = NO_URLS
    left: tuple[RawResource, ...] = ()
    """Resources that are not looked at, because there are too many."""

    @staticmethod
    def not_supplied(reason: str) -> KeyAnswer:
        """Return the answer of a key that could not be had."""
        return KeyAnswer(supply=Supply(state=State.NOT_SUPPLIED, reason=reason))

    @staticmethod
    def known_empty() -> KeyAnswer:
        """Return the answer of a key that holds nothing, for certain."""
        return KeyAnswer(supply=Supply(state=State.EMPTY))


def joined_full_urls(several: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return where each ``fullUrl`` leads; one that leads to two places leads nowhere ("")."""
    joined: dict[str, str] = {}
    for full_urls in several:
        for url, target in full_urls.items():
            joined[url] = target if joined.get(url, target) == target else ""
    return joined
