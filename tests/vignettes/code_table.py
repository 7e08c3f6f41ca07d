"""What each code must mean, from ``codes.yaml``; no code of ``cards/`` may lose its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from cds_service.knowledge.model import SYSTEM_URIS, Knowledge
from tests.vignettes.cases import FOLDER


@dataclass(frozen=True, slots=True)
class Expected:
    """A code and the value set it must mean, with what must stand beside it."""

    system: str
    code: str
    means: str
    beside: str


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    table: dict[str, list[dict[str, Any]]] = yaml.safe_load(
        (FOLDER / "codes.yaml").read_text(encoding="utf-8")
    )
    return table


@cache
def expected_codes() -> tuple[Expected, ...]:
    """Return every code of the table with its meaning."""
    return tuple(
        Expected(system, str(code), entry["means"], entry.get("beside", "nothing"))
        for entry in _table()["concepts"]
        for system in SYSTEM_URIS
        for code in entry.get(system, ())
    )


def meaningless_codes() -> tuple[tuple[str, str, str], ...]:
    """Return system, code and reason of codes that must mean nothing."""
    return tuple(
        (system, str(code), entry["because"])
        for entry in _table()["meaningless"]
        for system in SYSTEM_URIS
        for code in entry.get(system, ())
    )


def lost_codes(knowledge: Knowledge) -> Iterator[str]:
    """Yield, in words, each code that *knowledge* does not read as the table expects."""
    for expected in expected_codes():
        if not is_understood(expected, knowledge):
            yield f"{expected.system} {expected.code} is not read as {expected.means}"


def is_understood(expected: Expected, knowledge: Knowledge) -> bool:
    """Return whether *knowledge* reads one code as expected."""
    meanings = knowledge.meanings(SYSTEM_URIS[expected.system], expected.code)
    return (expected.means, expected.beside) in {(means, needs.value) for means, needs in meanings}
