"""Run every fuzz target again and again for a bounded time: ``python -m tests.fuzz SECONDS``."""

from __future__ import annotations

import secrets
import sys
import time
from collections import Counter
from random import Random
from traceback import print_exc

from tests.fuzz.targets import TARGETS

ROUND = 20
TELL_SECONDS = 5


def run(seconds: float) -> int:
    """Fuzz for *seconds*; return the exit code."""
    started = time.monotonic()
    ends_at, told_at = started + seconds, started
    tried: Counter[str] = Counter()
    while time.monotonic() < ends_at:
        for target in TARGETS:
            for _ in range(ROUND):
                seed = secrets.randbits(63)
                tried[target.__name__] += 1
                try:
                    target(Random(seed))  # noqa: S311 - a seed that can be told, not a secret
                except Exception:  # noqa: BLE001 - whatever it is, it is the find
                    print_exc()
                    sys.stderr.write(
                        f"Found by the target {target.__name__}. See it again with:\n"
                        "  .venv/bin/python -c 'from random import Random; from tests.fuzz import "
                        f"targets; targets.{target.__name__}(Random({seed}))'\n"
                    )
                    return 1
        if time.monotonic() - told_at > TELL_SECONDS:
            told_at = time.monotonic()
            sys.stderr.write(
                f"{told_at - started:.0f} of {seconds:.0f} s, {sum(tried.values())} inputs\n"
            )
    for name, count in tried.items():
        sys.stdout.write(f"{name:20} {count:8} inputs, nothing found\n")
    return 0


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]) if len(sys.argv) > 1 else 60))
