"""The hunt for mistakes that nobody would notice finds what it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Fires, Knowledge
from tests.vignettes.cases import all_vignettes
from tests.vignettes.code_table import lost_codes
from tests.vignettes.running import run_core
from tools.mutate import all_mutants, listed_survivors, threshold_mutants


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


def test_mutants_are_told_apart_and_survivors_exist(knowledge: Knowledge) -> None:
    """Each mistake has its own name, and only mistakes that are tried may be listed."""
    names = [mutant.name for mutant in all_mutants(knowledge)]
    assert len(names) == len(set(names))
    assert listed_survivors().keys() <= set(names)
    assert all(listed_survivors().values())


def test_mutants_of_a_threshold_move_it_by_one_step(knowledge: Knowledge) -> None:
    """The first day of the work-up moves by one day, and its boundary word flips."""
    threshold = knowledge.thresholds["workup-day"]
    mutants = {m.name: m for m in threshold_mutants(threshold)}
    now = threshold.values[-1].value
    changed = {
        name.rpartition(": ")[2]: mutant.change(knowledge).thresholds["workup-day"]
        for name, mutant in mutants.items()
    }
    assert changed["up"].values[-1].value == now + 1
    assert changed["down"].values[-1].value == now - 1
    assert changed["boundary"].fires is Fires.ABOVE


def test_mutant_of_the_first_day_of_the_work_up_is_noticed(knowledge: Knowledge) -> None:
    """Starting the work-up a day late fails the vignette of day 90."""
    late = threshold_mutants(knowledge.thresholds["workup-day"])
    mutated = next(late).change(knowledge)
    day_90 = next(v for v in all_vignettes() if v.name.startswith("The same man a day later"))
    assert run_core(day_90, knowledge) == []
    assert run_core(day_90, mutated) != []


def test_code_dropped_from_cards_is_noticed(knowledge: Knowledge) -> None:
    """A code that loses its meaning is named."""
    without = replace(knowledge, by_code={**knowledge.by_code, ("ICD-10-CM", "G83.4"): ()})
    assert list(lost_codes(knowledge)) == []
    assert list(lost_codes(without)) == ["ICD-10-CM G83.4 is not read as cauda-equina"]
