"""CK-LEVEL compares the levels of an operation only where the chart names all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import CPT, LEVELS, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

AT_ANOTHER_LEVEL = {
    "day": 120,
    "operation": "discectomy",
    "operated": {"level": "L4-L5"},
    "indication": {"level": "L5-S1"},
    "leg": {-14: 8, 115: 7},
}


def _one_level_more(**site: object) -> Resource:
    """Return the add-on code of the same day for one level more."""
    day = AS_OF - timedelta(days=120)
    return {
        "resourceType": "Procedure",
        "status": "completed",
        "code": coded(CPT, "63048"),
        "performedDateTime": day.isoformat(),
        **site,
    }


@pytest.mark.parametrize(
    ("site", "differs"),
    [
        ({}, False),
        ({"bodySite": [{"text": "L5-S1"}]}, False),
        ({"bodySite": [{"text": "L3-4"}]}, True),
    ],
)
def test_operation_on_two_levels_may_be_at_the_indicated_one_too(
    knowledge: Knowledge, site: dict[str, object], *, differs: bool
) -> None:
    """The second level may be L5-S1 if nobody wrote it down, is so if its own entry says it."""
    answered = answered_with(knowledge, AT_ANOTHER_LEVEL, _one_level_more(**site))
    assert ("CK-LEVEL" in answered.shown) == differs


@pytest.mark.parametrize(
    ("operated", "indicated", "differs"),
    [
        ({"side": "left"}, {"side": "right"}, True),
        ({"side": "left"}, {"side": "both"}, False),
        ({"side": "both"}, {"side": "right"}, False),
        ({"level": "L4-L5", "side": "left"}, {"level": "L4-L5", "side": "right"}, True),
        ({"level": "L4-L5", "side": "left"}, {"side": "left"}, False),
        ({"side": "left"}, {"level": "L4-L5", "side": "left"}, False),
    ],
)
def test_only_what_both_records_name_can_differ(
    knowledge: Knowledge, operated: dict[str, str], indicated: dict[str, str], *, differs: bool
) -> None:
    """Both sides are either side, and a level in one record is no contradiction."""
    facts = {**AT_ANOTHER_LEVEL, "operated": operated, "indication": indicated}
    assert ("CK-LEVEL" in answered_with(knowledge, facts).shown) == differs


def test_problem_without_any_date_is_no_indication(knowledge: Knowledge) -> None:
    """Nobody knows whether the herniation of another level was there before the operation."""
    herniation = {
        "resourceType": "Condition",
        "code": coded(SNOMED, "202708005"),
        "bodySite": [coded(SNOMED, LEVELS["L5-S1"])],
    }
    facts = {name: fact for name, fact in AT_ANOTHER_LEVEL.items() if name != "indication"}
    dated = {**herniation, "recordedDate": (AS_OF - timedelta(days=150)).isoformat()}
    assert "CK-LEVEL" in answered_with(knowledge, facts, dated).shown
    assert "CK-LEVEL" not in answered_with(knowledge, facts, herniation).shown
