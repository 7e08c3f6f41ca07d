"""Run the vignettes on the clinical core and print their names: ``python -m tests.vignettes``."""

from __future__ import annotations

import sys
from itertools import groupby

from cds_service.errors import VignetteError
from cds_service.knowledge.loading import load_knowledge
from tests.vignettes.cases import all_vignettes
from tests.vignettes.running import run_core


def main() -> int:
    """Print every vignette with its result; return 1 if one fails."""
    try:
        vignettes = all_vignettes()
    except VignetteError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    knowledge = load_knowledge()
    failed = 0
    for theme, group in groupby(vignettes, key=lambda vignette: vignette.theme):
        sys.stdout.write(f"\n{theme[0].upper()}{theme[1:]}\n")
        for vignette in group:
            wrong = run_core(vignette, knowledge)
            failed += bool(wrong)
            mark = "FAILS" if wrong else "ok   "
            name = "... the other patient" if vignette.is_other_half else vignette.name
            sys.stdout.write(f"  {mark} {name}\n")
            sys.stdout.writelines(f"          {sentence}\n" for sentence in wrong)
    sys.stdout.write(f"\n{len(vignettes)} patients, {failed} answered differently\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
