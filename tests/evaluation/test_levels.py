"""CK-LEVEL compares the levels of an operation only where the chart names all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import CPT
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
