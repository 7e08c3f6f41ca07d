# ruff: noqa: INP001 - a script that make runs, not a package
"""Does a vignette notice when a number, a boundary, a weight or a code in ``cards/`` is wrong?

Makes one small mistake at a time and runs the vignettes on the clinical core until one fails.  A
mistake that nobody notices must be listed, with its reason, in ``tests/vignettes/survivors.yaml``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cds_service.chart.facts import Chart  # noqa: E402 - the root of the checkout goes first
from cds_service.knowledge.loading import load_knowledge  # noqa: E402 - as above
from cds_service.knowledge.model import (  # noqa: E402 - as above
    Code,
    Fires,
    Knowledge,
    Match,
    Phenotype,
    Threshold,
)
from cds_service.vignettes.cases import Vignette  # noqa: E402 - as above
from cds_service.vignettes.running import chart_of  # noqa: E402 - as above
from tests.vignettes.cases import FOLDER, all_vignettes  # noqa: E402 - as above
from tests.vignettes.code_table import lost_codes  # noqa: E402 - as above
from tests.vignettes.running import differences  # noqa: E402 - as above

SURVIVORS = FOLDER / "survivors.yaml"
_FLIPPED = {
    Fires.ABOVE: Fires.AT_OR_ABOVE,
    Fires.AT_OR_ABOVE: Fires.ABOVE,
    Fires.BELOW: Fires.AT_OR_BELOW,
    Fires.AT_OR_BELOW: Fires.BELOW,
}
_PROGRESS_EVERY = 100


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: what it is in words, and what it makes of the knowledge."""

    name: str
    change: Callable[[Knowledge], Knowledge]
    is_code: bool = False


def threshold_mutants(threshold: Threshold) -> Iterator[Mutant]:
    """Yield the value one step up, one step down, and the boundary flipped."""
    places = int(threshold.values[-1].value.as_tuple().exponent)
    step = Decimal(1).scaleb(min(0, places))
    for word, change in (("up", step), ("down", -step)):
        moved = tuple(replace(each, value=each.value + change) for each in threshold.values)
        yield _with_threshold(f"threshold {threshold.id}: {word}", replace(threshold, values=moved))
    flipped = _FLIPPED.get(threshold.fires)
    if flipped is not None:
        name = f"threshold {threshold.id}: boundary"
        yield _with_threshold(name, replace(threshold, fires=flipped))


def _with_threshold(name: str, threshold: Threshold) -> Mutant:
    def change(knowledge: Knowledge) -> Knowledge:
        thresholds = {**knowledge.thresholds, threshold.id: threshold}
        return replace(knowledge, thresholds=MappingProxyType(thresholds))

    return Mutant(name, change)


def point_mutants(phenotype: Phenotype) -> Iterator[Mutant]:
    """Yield every weight of a likely explanation one point higher."""
    for point in phenotype.points.values():
        heavier = replace(point, points=point.points + 1)
        changed = replace(phenotype, points={**phenotype.points, point.id: heavier})
        yield _with_phenotype(f"points {phenotype.id} {point.id}: up", changed)


def _with_phenotype(name: str, phenotype: Phenotype) -> Mutant:
    def change(knowledge: Knowledge) -> Knowledge:
        phenotypes = {**knowledge.phenotypes, phenotype.id: phenotype}
        return replace(knowledge, phenotypes=MappingProxyType(phenotypes))

    return Mutant(name, change)


def code_mutants(value_set_id: str, codes: tuple[Code, ...]) -> Iterator[Mutant]:
    """Yield the value set without each of its enabled codes."""
    for code in codes:
        if code.is_enabled:
            name = f"code {value_set_id} {code.system} {code.code}: dropped"
            yield Mutant(name, _without_code(value_set_id, code), is_code=True)


def _without_code(value_set_id: str, code: Code) -> Callable[[Knowledge], Knowledge]:
    def change(knowledge: Knowledge) -> Knowledge:
        if code.match is Match.PREFIX:
            prefixes = knowledge.by_prefix[code.system]
            kept = tuple(each for each in prefixes if each[:2] != (code.code, value_set_id))
            return replace(knowledge, by_prefix={**knowledge.by_prefix, code.system: kept})
        key = (code.system, code.code)
        meanings = tuple(each for each in knowledge.by_code[key] if each[0] != value_set_id)
        return replace(knowledge, by_code={**knowledge.by_code, key: meanings})

    return change


def all_mutants(knowledge: Knowledge) -> list[Mutant]:
    """Return every mistake that is tried."""
    mutants = [m for each in knowledge.thresholds.values() for m in threshold_mutants(each)]
    mutants += [m for each in knowledge.phenotypes.values() for m in point_mutants(each)]
    for value_set in knowledge.value_sets.values():
        mutants += code_mutants(value_set.id, value_set.codes)
    return mutants


def _differs(vignette: Vignette, chart: Chart, knowledge: Knowledge) -> bool:
    try:
        return next(differences(vignette.expect, chart, knowledge), None) is not None
    except (ArithmeticError, LookupError, ValueError):
        return True  # a mistake that breaks the evaluation is noticed as well


class _Judge:
    """Holds the charts, which a changed number does not change, and judges mutants."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        self.mutants = all_mutants(knowledge)
        self.read: list[tuple[Vignette, Chart]] = [
            (vignette, chart_of(vignette.facts, knowledge, seed=vignette.seed))
            for vignette in all_vignettes()
        ]

    def survives(self, position: int) -> str | None:
        """Return the name of the mutant if nothing notices it."""
        mutant = self.mutants[position]
        knowledge = mutant.change(self.knowledge)
        if mutant.is_code:
            return mutant.name if next(lost_codes(knowledge), None) is None else None
        noticed = any(_differs(vignette, chart, knowledge) for vignette, chart in self.read)
        return None if noticed else mutant.name

    def failing(self) -> list[str]:
        """Return the vignettes that fail before anything is changed."""
        return [
            vignette.title
            for vignette, chart in self.read
            if _differs(vignette, chart, self.knowledge)
        ]


_judge: _Judge | None = None


def _survives(position: int) -> str | None:
    """Judge one mutant in a worker, which inherits the charts of its parent."""
    return _judge.survives(position) if _judge is not None else None


def survivors(judge: _Judge) -> set[str]:
    """Return the names of all mutants that nothing notices."""
    global _judge  # noqa: PLW0603 - inherited by the workers; charts are too large to send
    _judge = judge
    alive: set[str] = set()
    total = len(judge.mutants)
    context = multiprocessing.get_context("fork")
    with context.Pool(os.cpu_count() or 1) as pool:
        results = pool.imap_unordered(_survives, range(total), chunksize=4)
        for done, name in enumerate(results, start=1):
            if name is not None:
                alive.add(name)
            if done % _PROGRESS_EVERY == 0 or done == total:
                sys.stderr.write(f"{done} of {total} mistakes tried, {len(alive)} unnoticed\n")
    return alive


def listed_survivors(path: Path = SURVIVORS) -> Mapping[str, str]:
    """Return the mistakes that may go unnoticed, each with its reason."""
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {entry["mutant"]: entry["reason"] for entry in listed["survivors"]}


def main() -> int:
    """Try every mistake; return 1 if one goes unnoticed without a reason or a reason is stale."""
    sys.stderr.write("Reading the vignettes ...\n")
    judge = _Judge(load_knowledge())
    failing = judge.failing()
    if failing:
        sys.stdout.write("Vignettes fail before anything is changed; mend them first:\n")
        sys.stdout.writelines(f"  {title}\n" for title in failing)
        return 1
    alive, listed = survivors(judge), listed_survivors()
    unexpected, stale = sorted(alive - listed.keys()), sorted(listed.keys() - alive)
    sys.stdout.writelines(
        f"UNNOTICED  {name}: no vignette fails. Add one.\n" for name in unexpected
    )
    sys.stdout.writelines(
        f"STALE      {name}: it is noticed, or gone. Take it off {SURVIVORS.name}.\n"
        for name in stale
    )
    count = len(judge.mutants)
    sys.stdout.write(f"{count} mistakes, {count - len(alive)} noticed, {len(listed)} listed\n")
    return 1 if unexpected or stale else 0


if __name__ == "__main__":
    sys.exit(main())
