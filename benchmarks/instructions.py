"""How many machine instructions the pure core takes for one chart; prints their ratio.

Counted by callgrind (valgrind), so the figures do not depend on what else the machine does.
The core decodes, reads, evaluates and words the chart of the 60 KB request; ``orjson.loads`` of the
same bytes is counted beside it, so that the ratio hardly depends on the build of Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZE = 60_000
_TIMES = 100
"""So many that the start, which differs by a few million from run to run, hardly counts."""
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)


def core_over_orjson() -> float | None:
    """Return the instructions of one chart over those of ``orjson.loads``; None without valgrind.

    What Python and the service take to start is counted apart and subtracted.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    _total(valgrind, "core", 1)  # what Python compiles and writes down once is not counted
    start = _total(valgrind, "orjson", 0)
    core, orjson = (_total(valgrind, work, _TIMES) - start for work in ("core", "orjson"))
    if core <= 0 or orjson <= 0:
        raise SystemExit("The instructions of the start were more than those of all. Run it again.")
    return core / orjson


def _total(valgrind: str, work: str, times: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        subprocess.run(  # noqa: S603 - our own module under a tool of the system
            [
                valgrind,
                "--tool=callgrind",
                f"--callgrind-out-file={out}",
                sys.executable,
                "-m",
                "benchmarks.instructions",
                work,
                str(times),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"},
            check=True,
            capture_output=True,
        )
        found = _TOTAL.search(out.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise SystemExit("callgrind wrote no total. Run it by hand to see why.")
    return int(found[1])


def _run(work: str, times: int) -> None:
    """Do the counted work *times* times."""
    import orjson  # noqa: PLC0415 - only the counted process needs these

    from benchmarks import bodies, in_process  # noqa: PLC0415

    body = bodies.sized_body(SIZE, in_process.TODAY)
    rooms = in_process.Rooms()
    in_process.collect_as_served()
    for _ in range(times):
        if work == "core":
            rooms.cards(rooms.request(body))
        else:
            orjson.loads(body)


def main() -> None:
    """Count, or do the counted work when called with its name."""
    if len(sys.argv) > 1:
        _run(sys.argv[1], int(sys.argv[2]))
    else:
        print(core_over_orjson())  # noqa: T201 - this is a command


if __name__ == "__main__":
    main()
