"""Print which test proves which statement; fail if one that binds is unproved."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from tests.contract.conformance import faults, requirements, summary


class _Collected:
    """Keeps the names of the collected tests, without parameters."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the names."""
        self.names |= {item.nodeid.partition("[")[0] for item in items}


def main() -> int:
    """Print coverage and faults; return 1 if there is a fault."""
    rows = requirements()
    collected = _Collected()
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", "tests"], plugins=[collected])
    found = list(faults(rows, collected.names))
    sys.stdout.write(f"{summary(rows)}\n\n")
    sys.stdout.write("\n".join(found) + "\n" if found else "Every row that binds is proved.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
