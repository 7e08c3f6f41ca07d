"""Which operation starts the clock, and on which day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cds_service.chart.facts import ProcedureFact
from cds_service.evaluation.episode import Episode, find_episode
from cds_service.evaluation.limits import Limits
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.running import AS_OF, chart_of
from tests.changing import replace


def _episode(knowledge: Knowledge, **facts: Any) -> Episode:  # noqa: ANN401 - a vignette's facts
    named = {name.replace("_", " "): value for name, value in facts.items()}
    return find_episode(chart_of(named, knowledge), Limits(knowledge, AS_OF))


def test_episode_without_an_operation_is_empty(knowledge: Knowledge) -> None:
    """A record without a lumbar operation has no episode, and no unknown date either."""
    episode = _episode(knowledge, day=100)
    assert episode.operations == ()
    assert not episode.is_date_unknown


@pytest.mark.parametrize(("gap", "count"), [(14, 1), (15, 2)])
def test_episode_merges_stages_and_counts_from_the_last(
    knowledge: Knowledge, gap: int, count: int
) -> None:
    """A stage up to the merging gap earlier is the same operation; the clock runs from the last."""
    earlier = {"day": -gap, "operation": "fusion"}
    operation = _episode(
        knowledge, day=100, operation="discectomy", other_operations=[earlier]
    ).operations[0]
    assert operation.dss(AS_OF) == 100
    assert operation.surgery_count == count
    assert ("fusion" in operation.types) is (count == 1)


def test_episode_chain_of_stages_is_one_operation(knowledge: Knowledge) -> None:
    """Each stage is measured from the one before, so a chain may be longer than one gap."""
    stages = [{"day": day, "operation": "decompression"} for day in (-28, -14)]
    operation = _episode(
        knowledge, day=50, operation="discectomy", other_operations=stages
    ).operations[0]
    assert operation.surgery_count == 1
    assert operation.day - operation.first_day == timedelta(days=28)


def test_episode_dated_to_a_month_has_both_ends(knowledge: Knowledge) -> None:
    """An operation known to its month is evaluated for the month's last and first day."""
    last, first = _episode(
        knowledge, day=120, operation="discectomy", operation_date="month"
    ).operations
    assert (last.day.day, first.day.day) == (28, 1)
    assert last.day.month == first.day.month == 2


@pytest.mark.parametrize("known", ["month", "year"])
def test_episode_overlapping_another_operation_has_no_day(knowledge: Knowledge, known: str) -> None:
    """If a roughly dated operation may be before or after another, nobody knows the last."""
    other = [{"day": -2, "operation": "decompression"}]
    episode = _episode(
        knowledge, day=100, operation="discectomy", operation_date=known, other_operations=other
    )
    assert episode.is_date_unknown


def test_episode_without_any_date_is_certain_but_unknown(knowledge: Knowledge) -> None:
    """An undated operation is certain; its day is not."""
    episode = _episode(knowledge, day=100, operation="discectomy", operation_date="unknown")
    assert episode.is_date_unknown
    assert episode.operations == ()


def test_episode_leaves_undated_operations_aside_when_one_is_dated(knowledge: Knowledge) -> None:
    """A dated operation starts the clock; what was left aside is remembered."""
    other = [{"day": 0, "operation": "fusion", "date": "unknown"}]
    episode = _episode(knowledge, day=100, operation="discectomy", other_operations=other)
    assert episode.operations[0].types == {"discectomy"}
    [undated] = episode.operations[0].undated
    assert undated not in episode.operations[0].references


def test_episode_does_not_count_from_a_stimulator_paddle(knowledge: Knowledge) -> None:
    """A laminectomy that only made room for a paddle, coded as both, starts no new clock."""
    chart = chart_of({"day": 100, "operation": "discectomy"}, knowledge)
    paddle = ProcedureFact(
        reference="Procedure/paddle",
        concepts=frozenset({"decompression", "scs-procedure", "not-an-index-operation"}),
        performed=FhirDate.on(AS_OF - timedelta(days=20)),
    )
    chart = replace(chart, procedures=(*chart.procedures, paddle))
    operation = find_episode(chart, Limits(knowledge, AS_OF)).operations[0]
    assert operation.dss(AS_OF) == 100
    assert operation.surgery_count == 1


@pytest.mark.parametrize(("gap", "count"), [(0, 3), (1, None)])
def test_episode_counts_levels_that_stand_in_an_entry_of_their_own(
    knowledge: Knowledge, gap: int, count: int | None
) -> None:
    """The NHS writes "three or more levels" as a code beside the operation, on the same day."""
    chart = chart_of({"day": 100, "operation": "decompression"}, knowledge)
    levels = ProcedureFact(
        reference="Procedure/levels",
        concepts=frozenset({"three-or-more-levels"}),
        performed=FhirDate.on(AS_OF - timedelta(days=100 + gap)),
    )
    chart = replace(chart, procedures=(*chart.procedures, levels))
    operation = find_episode(chart, Limits(knowledge, AS_OF)).operations[0]
    assert operation.level_count == count
