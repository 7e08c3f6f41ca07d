# ruff: noqa: INP001 - a script that make runs, not a package
"""Compare every pinned package with the public list of known faults; fail if one was not compared.

pip-audit says "no known vulnerabilities" even when it could look nothing up.  Here the answer is
"no" only if every pin that this Python would install was looked up.  Meant for a scheduled job, as
it needs the network and its answer changes without a change of the code.

Exit codes: 0 all compared, none known; 1 a fault is known; 2 not everything was compared.

    python tools/audit.py requirements-dev.txt requirements-build.txt
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_NOTHING_KNOWN, _FAULT_KNOWN, _INCOMPLETE = 0, 1, 2
_MOST_NAMED = 5


def pinned(requirements: str) -> set[str]:
    """Return the names of the packages that this Python would install from a hashed file."""
    lines = re.findall(r"^([A-Za-z0-9][^\\\n]*)", requirements, re.MULTILINE)
    found = [Requirement(line.strip()) for line in lines]
    return {canonicalize_name(r.name) for r in found if r.marker is None or r.marker.evaluate()}


def verdict(reports: Iterable[str], wanted: set[str]) -> tuple[int, list[str]]:
    """Return the exit code and what to say, given the reports of pip-audit as JSON."""
    entries = [entry for report in reports for entry in _dependencies(report)]
    compared = {
        canonicalize_name(entry["name"])
        for entry in entries
        if isinstance(entry.get("vulns"), list)
    }
    faults = sorted(
        {
            f"{entry['name']} {entry.get('version')}: {fault.get('id')}, fixed in "
            f"{', '.join(fault.get('fix_versions') or ['no version yet'])}"
            for entry in entries
            for fault in entry.get("vulns") or ()
        }
    )
    missing = sorted(wanted - compared)
    said = [f"Known fault: {fault}" for fault in faults]
    if missing or not wanted:
        return _INCOMPLETE, [*said, _not_compared(missing, len(wanted))]
    if faults:
        return _FAULT_KNOWN, [*said, "Raise these pins in requirements*.in: make requirements."]
    return _NOTHING_KNOWN, [f"All {len(wanted)} packages were compared; no fault is known."]


def _dependencies(report: str) -> list[dict[str, object]]:
    """Return the entries of one report; none if it cannot be read."""
    try:
        found = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return []
    return [entry for entry in found if isinstance(entry, dict) and "name" in entry]


def _not_compared(missing: list[str], of: int) -> str:
    named = ", ".join(missing[:_MOST_NAMED])
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    return (
        f"{len(missing)} of {of} packages could not be compared with the list of known faults "
        f"({named}{more}), so nothing is known about them. Run this where the advisory service of "
        "the Python package index can be reached; behind a mirror of packages it often cannot."
    )


def _reports(paths: Iterable[Path]) -> Iterator[str]:
    for path in paths:
        print(f"Comparing {path.name} ...", file=sys.stderr, flush=True)  # noqa: T201
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
        command += ["--progress-spinner", "off", "--format", "json", "--requirement", str(path)]
        done = subprocess.run(  # noqa: S603 - a pinned package of ours
            command, capture_output=True, text=True, check=False
        )
        yield done.stdout


def main(arguments: list[str]) -> int:
    """Compare the pins of the files named in *arguments*; return the exit code."""
    paths = [Path(argument) for argument in arguments]
    wanted = {name for path in paths for name in pinned(path.read_text(encoding="utf-8"))}
    code, said = verdict(_reports(paths), wanted)
    print("\n".join(said), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
