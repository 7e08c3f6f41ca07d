"""What a card on opioids says of naloxone, and when it may not say that there is none."""

from __future__ import annotations

import pytest

from cds_service.evaluation.assess import assess
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace

OPIOID: Facts = {"drug": "opioid", "from": 60}
TAKER: Facts = {"day": 120, "operation": "discectomy", "leg": {-14: 8, 119: 2}, "drugs": [OPIOID]}
NONE = "No naloxone on record - offer it."
EARLIER = "Naloxone stands among earlier prescriptions. Ask whether it is at hand and in date."
NOW = "Naloxone is on record."


@pytest.mark.parametrize(
    ("kits", "said"),
    [
        ([], NONE),
        ([("active", 60)], NOW),
        ([("completed", 60)], EARLIER),
        ([("stopped", 60)], EARLIER),
        ([("on-hold", 60)], EARLIER),
        ([("cancelled", 60)], NONE),
        ([("completed", 60), ("active", 100)], NOW),
    ],
)
def test_naloxone_that_was_dispensed_is_asked_about(
    knowledge: Knowledge, kits: list[tuple[str, int]], said: str
) -> None:
    """A kit is dispensed once, and its prescription is completed: it may be at hand or expired."""
    drugs = [{"drug": "naloxone", "from": day, "status": status} for status, day in kits]
    chart = chart_of({**TAKER, "drugs": [OPIOID, *drugs]}, knowledge)
    for unidentified in (0, 1) if said != NONE else (0,):
        read = replace(chart, unidentified_drugs=unidentified)
        detail = str(Answered(assess(read, knowledge, AS_OF), knowledge).card("OPIOID")["detail"])
        assert [each for each in (NONE, EARLIER, NOW) if each in detail] == [said]
        assert "could not all be read" not in detail
