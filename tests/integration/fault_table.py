"""Run every fault through the real service and write what happened into docs/reliability.md.

``.venv/bin/python -m tests.integration.fault_table`` from the root of the checkout.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cds_service.demo.personas import load_personas
from tests.integration.faults import EVERYTHING, FAULTS, Fault, Observed, bomb, observe
from tests.integration.strict_service import StrictService, strict_service

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- fault table: begin -->", "<!-- fault table: end -->"
PLACES = ("Condition", "Procedure", EVERYTHING)


def table() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| Fault | of the conditions | of the operations | of everything | slowest | elsewhere |"
    yield "|---|---|---|---|---|---|"
    today = datetime.now(UTC).date()  # noqa: TID251 - the real service reads the real clock
    personas = {persona.id: persona for persona in load_personas(today)}
    people = personas["no-relief"], personas["cauda-equina"]
    bomb()
    with tempfile.TemporaryDirectory() as folder, strict_service(Path(folder)) as service:
        observe(service, FAULTS[0], "Device", people)  # the first call is slower
        for fault in FAULTS:
            seen = [_seen(service, fault, place, people) for place in PLACES]
            told = " | ".join("-" if found is None else _words(found) for found in seen)
            slowest = max(found.seconds for found in seen if found is not None)
            elsewhere = sum(found.requests_elsewhere for found in seen if found is not None)
            yield f"| {fault.name} | {told} | {slowest * 1000:.0f} ms | {elsewhere} |"


def _seen(
    service: StrictService, fault: Fault, place: str, people: tuple[object, object]
) -> Observed | None:
    if fault.is_down and place != EVERYTHING:
        return None
    return observe(service, fault, place, people)  # type: ignore[arg-type]


def _words(seen: Observed) -> str:
    if not seen.unread:
        cards = ", ".join(seen.cards)
        return f"{seen.status} {cards}" if seen.cards else str(seen.status)
    unread = "all keys" if len(seen.unread) > 3 else ", ".join(seen.unread)
    return f"{seen.status} {', '.join(seen.cards)}; unread: {unread}"


def main() -> None:
    """Replace the table in the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "\n".join(table())
    PAGE.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}", encoding="utf-8")
    sys.stdout.write(f"{len(FAULTS)} faults written to {PAGE}\n")


if __name__ == "__main__":
    main()
