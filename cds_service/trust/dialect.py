"""What does each kind of EHR do differently?  ``dialects.toml`` says; nobody else does.

A dialect fills the tables ``cards``, ``reading`` and ``searches`` of a client profile; the profile
may say otherwise, key by key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

GENERIC = "generic"
TABLES = ("cards", "reading", "searches")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingForm:
    """How an EHR says things that different EHRs say differently.

    ``empty_results``: which prefetch values mean "looked for, nothing there"; any other such value
    is taken as not sent.  ``feedback_reasons``: under which names a reason for an override comes.
    ``takes_more_as_notice``: whether "more may exist" stands on every answer and so says nothing.
    """

    empty_results: frozenset[str] = frozenset({"null", "empty-bundle", "outcome"})
    feedback_reasons: frozenset[str] = frozenset({"overrideReason", "overrideReasons"})
    takes_more_as_notice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchForm:
    """What a FHIR server's searches can do."""

    types_without_count: frozenset[str] = frozenset()
    includes_medications: bool = False
    asks_fresh: bool = False


@cache
def dialects() -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """Return every dialect by name: table, key, value; each has every key."""
    text = resources.files("cds_service.trust").joinpath("dialects.toml").read_text("utf-8")
    found: dict[str, dict[str, dict[str, object]]] = tomllib.loads(text)
    plain = found[GENERIC]
    return MappingProxyType(
        {
            name: MappingProxyType(
                {table: {**plain[table], **differences.get(table, {})} for table in TABLES}
            )
            for name, differences in found.items()
        }
    )


def dialect_table(
    dialect: str, table: str, wishes: Mapping[str, object] | None = None
) -> Mapping[str, object]:
    """Return one table of *dialect* with the *wishes* of a profile in place of its keys."""
    return {**dialects()[dialect][table], **(wishes or {})}


def reading_form(dialect: str, wishes: Mapping[str, object] | None = None) -> ReadingForm:
    """Return how an EHR of *dialect* says things."""
    table = dialect_table(dialect, "reading", wishes)
    return ReadingForm(
        empty_results=_texts(table, "empty_results"),
        feedback_reasons=_texts(table, "feedback_reasons"),
        takes_more_as_notice=table["takes_more_as_notice"] is True,
    )


def search_form(dialect: str, wishes: Mapping[str, object] | None = None) -> SearchForm:
    """Return what searches of FHIR servers of *dialect* can do."""
    table = dialect_table(dialect, "searches", wishes)
    return SearchForm(
        types_without_count=_texts(table, "types_without_count"),
        includes_medications=table["includes_medications"] is True,
        asks_fresh=table["asks_fresh"] is True,
    )


def _texts(table: Mapping[str, object], key: str) -> frozenset[str]:
    values = table[key]
    return frozenset(str(value) for value in values) if isinstance(values, list) else frozenset()
