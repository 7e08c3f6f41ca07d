"""Which statement of the specification is proved by which test?  Reads ``requirements.csv``."""

from __future__ import annotations

import ast
import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("requirements.csv")
ROOT = TABLE.parents[2]
_BINDS = frozenset({"service", "client", "both"})


@dataclass(frozen=True)
class Requirement:
    """One statement; ``tests`` are pytest's names without parameters."""

    id: str
    binds: str
    text: str
    applies: str
    tests: tuple[str, ...]

    @property
    def needs_a_test(self) -> bool:
        """Whether the service has to do something and a test can see it."""
        return self.binds != "client" and self.applies.startswith("yes")


def requirements(table: Path = TABLE) -> list[Requirement]:
    """Return every row of the table."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [
            Requirement(
                id=row["id"],
                binds=row["binds"],
                text=row["requirement"],
                applies=row["applies"],
                tests=tuple(row["tests"].split()),
            )
            for row in csv.DictReader(lines)
        ]


def written_tests(rows: Iterable[Requirement]) -> frozenset[str]:
    """Return the test functions of every file the rows name."""
    files = {test.partition("::")[0] for row in rows for test in row.tests}
    return frozenset(
        f"{name}::{node.name}"
        for name in files
        if (ROOT / name).is_file()
        for node in ast.parse((ROOT / name).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def faults(rows: Collection[Requirement], known_tests: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the table, one sentence each."""
    if [row.id for row in rows] != [f"CH-{number:02d}" for number in range(1, 141)]:
        yield "The rows are not CH-01 to CH-140, each once and in order."
    for row in rows:
        if row.binds not in _BINDS or not row.text.strip():
            yield f"{row.id}: say in words what it asks, and whom it binds."
        if not row.applies.startswith("yes") and not row.applies.startswith("no: "):
            yield f"{row.id}: write 'yes', or 'no: ' and why it does not apply."
        if row.needs_a_test and not row.tests:
            yield f"{row.id}: it binds this service and no test proves it."
        for test in row.tests:
            if test not in known_tests:
                yield f"{row.id}: there is no test {test}."


def summary(rows: Collection[Requirement]) -> str:
    """Return the coverage in words, then the rows that need no test and why."""
    states = Counter(_state(row) for row in rows)
    counts = [f"{count:4}  {state}" for state, count in sorted(states.items())]
    untested = [f"{row.id}  binds {row.binds}; {row.applies}" for row in rows if not row.tests]
    return "\n".join([*counts, "", "Without a test:", *untested])


def _state(row: Requirement) -> str:
    if row.needs_a_test:
        return "bind the service and have a test" if row.tests else "bind the service, NO TEST"
    kind = "bind clients only" if row.binds == "client" else "do not apply"
    return f"{kind}, {'tested all the same' if row.tests else 'no test needed'}"
