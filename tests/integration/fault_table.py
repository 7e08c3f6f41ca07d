"""Run every fault through the real service and write what happened into docs/reliability.md.

``.venv/bin/python -m tests.integration.fault_table`` from the root of the checkout.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cds_service.chart.supply import Supply
from cds_service.demo.personas import Persona, load_personas
from cds_service.fhir.deadline import READING_SECONDS
from cds_service.knowledge.loading import load_knowledge
from tests.integration.faults import (
    CANARY,
    DEADLINE_SECONDS,
    EVERYTHING,
    FAULTS,
    HEALTHY,
    TOKEN,
    Observed,
    Trace,
    bomb,
    observe,
    traced,
)
from tests.integration.strict_service import strict_service

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- fault table: begin -->", "<!-- fault table: end -->"
PLACES = {
    "Condition": "Struck at the search for conditions",
    "Procedure": "Struck at the search for operations",
    EVERYTHING: "Struck at all searches at once (the Patient is read)",
}
COLUMNS = (
    "Fault",
    "Status",
    "Cards",
    "Unread, and why",
    "Rows that cannot tell",
    "Answered",
    "Token or body seen elsewhere",
)
MOST_NAMED = 4
"""Longer lists of rows stand below the table."""
People = tuple[Persona, Persona]


def tables() -> Iterator[str]:
    """Yield the lines of one table for each place that is struck."""
    today = datetime.now(UTC).date()  # noqa: TID251 - the real service reads the real clock
    personas = {persona.id: persona for persona in load_personas(today)}
    people = personas["no-relief"], personas["cauda-equina"]
    knowledge = load_knowledge()
    bomb()
    with tempfile.TemporaryDirectory() as folder, strict_service(Path(folder)) as service:
        observe(service, FAULTS[0], "Device", people)  # the first call is slower
        for place, title in PLACES.items():
            yield f"### {title}"
            yield ""
            yield f"| {' | '.join(COLUMNS)} |"
            yield f"|{'---|' * len(COLUMNS)}"
            sets: dict[tuple[str, ...], str] = {}
            for fault in (HEALTHY, *FAULTS):
                if not fault.is_down or place == EVERYTHING:
                    seen = observe(service, fault, place, people)
                    trace = traced(knowledge, fault, place, people)
                    yield _line(fault.name, seen, trace, _untold(trace, sets))
            yield ""
            for rows, name in sets.items():
                yield f"- {name}: {', '.join(rows)}"
            yield ""


def _line(fault: str, seen: Observed, trace: Trace, untold: str) -> str:
    cells = (
        fault,
        str(seen.status),
        ", ".join(seen.cards) or "-",
        _unread(trace.supply),
        untold,
        _answered(seen.seconds),
        _leaks(seen),
    )
    return f"| {' | '.join(cells)} |"


def _unread(supply: Mapping[str, Supply]) -> str:
    """Return the keys that were not wholly read, those with the same reason together."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, one in supply.items():
        if one.has_failed:
            found[f"{one.state.value}: {one.reason}"].append(key)
    names = {len(supply): "everything", len(supply) - 1: "all but the Patient"}
    parts = [f"{names.get(len(keys), ', '.join(keys))} {why}" for why, keys in found.items()]
    return "; ".join(parts) or "-"


def _untold(trace: Trace, sets: dict[tuple[str, ...], str]) -> str:
    """Return the rows that cannot tell; long lists get a name, which is kept in *sets*."""
    if trace.untold is None:
        return "no answer"
    if len(trace.untold) <= MOST_NAMED:
        return ", ".join(trace.untold) or "-"
    return sets.setdefault(trace.untold, f"{len(trace.untold)} rows ({'abcdef'[len(sets)]})")


def _answered(seconds: float) -> str:
    """Return when the answer came, as seen from the deadline; finer would be noise."""
    if seconds < DEADLINE_SECONDS:
        return "before the deadline"
    if seconds < DEADLINE_SECONDS + READING_SECONDS:
        return "at the deadline"
    return f"after the deadline, {seconds:.1f} s"


def _leaks(seen: Observed) -> str:
    is_told = any(
        secret in text for secret in (TOKEN, CANARY) for text in (seen.text, seen.raw_log)
    )
    return "**yes**" if is_told or seen.requests_elsewhere else "no"


def main() -> None:
    """Replace the tables in the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "\n".join(tables())
    PAGE.write_text(f"{before}{BEGIN}\n\n{lines}\n{END}{after}", encoding="utf-8")
    sys.stdout.write(f"{len(FAULTS)} faults written to {PAGE}\n")


if __name__ == "__main__":
    main()
