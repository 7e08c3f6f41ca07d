"""Compare the pure core with the stored ratios: exit status 1 when it has become slower.

``benchmarks/stored.json`` holds each ratio and how much worse it may be; ``--store`` writes the
ratios of this machine there.  CPU time and instruction counts only: no figure here needs a quiet
machine.  The goals themselves are measured by ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.in_process import measured_apart  # noqa: E402 - the line above is needed first
from benchmarks.instructions import core_over_orjson  # noqa: E402

STORED = ROOT / "benchmarks" / "stored.json"
_SIZES = (100, 1_000)
_TOLERANCE = 0.3
"""Of CPU times, which jump on a shared machine."""
_COUNTED_TOLERANCE = 0.05
"""Of instruction counts, which hardly change."""
INSTRUCTIONS = "60 KB: instructions of the core / orjson.loads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A measured ratio, the smaller the better, and the share by which it may be worse."""

    value: float
    tolerance: float

    def is_worse(self, than: Ratio) -> bool:
        """Whether this ratio is worse than the stored one allows."""
        return self.value > than.value * (1 + than.tolerance)


def main() -> int:
    """Measure, and compare or store; return the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--store", action="store_true", help="store the ratios of this machine")
    chosen = options.parse_args()
    found = measured()
    if chosen.store:
        STORED.write_text(json.dumps(as_json(found), indent=2) + "\n", encoding="utf-8")
        return 0
    lines, is_good = compared(found, stored())
    print("\n".join(lines))  # noqa: T201 - this is a command
    return 0 if is_good else 1


def measured() -> dict[str, Ratio]:
    """Return the ratios of this machine; instruction counts only where valgrind is."""
    apart = measured_apart(_SIZES)
    found = {what: Ratio(value=v, tolerance=_TOLERANCE) for what, v in _times(apart)}
    counted = core_over_orjson()
    if counted is not None:
        found[INSTRUCTIONS] = Ratio(value=counted, tolerance=_COUNTED_TOLERANCE)
    return found


def _times(apart: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for chart in apart["charts"]:
        what = f"{chart['count']:,} Observations"
        yield f"{what}: chart to cards / orjson.loads", chart["cards"] / chart["orjson"]
        yield f"{what}: request / orjson.loads", chart["check"] / chart["orjson"]
    rules = apart["rules"]
    yield "60 KB: every rule ten times / once", rules["ten_times"] / rules["once"]


def compared(found: Mapping[str, Ratio], known: Mapping[str, Ratio]) -> tuple[list[str], bool]:
    """Return a line for each stored ratio, and whether none has become worse."""
    lines, is_good = [], True
    for what, before in known.items():
        now = found.get(what)
        if now is None:
            lines.append(f"skipped  {what}: valgrind is not installed")
            continue
        is_worse = now.is_worse(before)
        is_good = is_good and not is_worse
        allowed = before.value * (1 + before.tolerance)
        verdict = "WORSE   " if is_worse else "ok      "
        lines.append(
            f"{verdict} {what}: {now.value:.2f}, stored {before.value:.2f}, at most {allowed:.2f}"
        )
    return lines, is_good


def as_json(ratios: Mapping[str, Ratio]) -> dict[str, dict[str, float]]:
    """Return *ratios* as they are stored."""
    return {
        what: {"ratio": round(ratio.value, 3), "tolerance": ratio.tolerance}
        for what, ratio in ratios.items()
    }


def stored() -> dict[str, Ratio]:
    """Return the stored ratios."""
    return {
        what: Ratio(value=one["ratio"], tolerance=one["tolerance"])
        for what, one in json.loads(STORED.read_text(encoding="utf-8")).items()
    }


if __name__ == "__main__":
    sys.exit(main())
