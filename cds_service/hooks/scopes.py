"""Which searches may an access token answer in part only?  Its ``scope`` may say so.

A scope of SMART App Launch 2 may carry a filter (``patient/Observation.rs?category=laboratory``),
and a server then leaves out the rest without a word.  Nothing else is read from ``scope``: EHRs
write there what they like, and their servers refuse what a token may not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SCOPE = re.compile(r"(?:patient|user|system)/([A-Za-z]+|\*)\.([A-Za-z]+|\*)(\?.*)?", re.ASCII)
_MOST_SCOPES = 1_000
"""Scopes that are looked at; no token has more."""
_SEARCHES = frozenset({"read", "*"})
"""The words of SMART App Launch 1 that allow a search; in version 2 the letter "s" does."""


def finds_only_a_part(scope: str, kind: str) -> bool:
    """Whether a token with *scope* finds only some resources of *kind*."""
    if "?" not in scope:
        return False
    filters = list(_filters(scope, kind))
    return bool(filters) and all(filters)


def _filters(scope: str, kind: str) -> Iterator[str]:
    """Yield the filter of each scope that allows a search for *kind*; empty if it has none."""
    for word in scope.split(maxsplit=_MOST_SCOPES)[:_MOST_SCOPES]:
        found = _SCOPE.fullmatch(word)
        if found is None or found[1] not in {kind, "*"}:
            continue
        access = found[2].lower()
        if access in _SEARCHES or ("s" in access and set(access) <= set("cruds")):
            yield found[3] or ""
