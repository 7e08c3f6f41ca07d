"""The operation was done elsewhere; the chart holds only what is left of it."""

from __future__ import annotations

import pytest

from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import Resource
from cds_service.vignettes.concepts import ICD, SNOMED
from cds_service.vignettes.running import AS_OF
from tests.evaluation.whole_charts import answered_with, coded

PAIN = {"day": 0, "leg": {0: 7}}
CAUDA_EQUINA = {
    "resourceType": "Condition",
    "code": coded(SNOMED, "192970008"),
    "onsetDateTime": AS_OF.isoformat(),
}


def syndrome(system: str, code: str, text: str) -> Resource:
    """Return the pain syndrome after a laminectomy on the problem list."""
    return {
        "resourceType": "Condition",
        "code": coded(system, code) | {"text": text},
        "onsetDateTime": "2021-03-01",
    }


LUMBAR = [
    syndrome(SNOMED, "202725007", "PLS"),
    syndrome(SNOMED, "27151001", "Post-laminectomy syndrome of lumbar region"),
    syndrome(ICD, "M96.1", "Postlaminectomy syndrome, lumbar region"),
]


@pytest.mark.parametrize("known", LUMBAR)
def test_lumbar_syndrome_without_its_operation_asks_for_the_day(
    knowledge: Knowledge, known: Resource
) -> None:
    """The syndrome has a day of its own, which is not that of the operation."""
    assert list(answered_with(knowledge, PAIN, known).shown) == ["DATA-DATE"]


HISTORY = coded(SNOMED, "429164009")


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (LUMBAR[0], "post-laminectomy syndrome (2021-03-01)"),
        (
            {"resourceType": "Condition", "code": HISTORY, "onsetDateTime": "2020-05"},
            "history of lumbar surgery (2020-05)",
        ),
        (
            {"resourceType": "Condition", "code": HISTORY},
            "history of lumbar surgery (date not recorded)",
        ),
        (
            {
                "resourceType": "Procedure",
                "status": "completed",
                "code": HISTORY,
                "performedDateTime": "2020-05-04",
            },
            "history of lumbar surgery (2020-05-04)",
        ),
    ],
)
def test_card_that_asks_for_the_day_names_the_entry_and_its_own_day(
    knowledge: Knowledge, known: Resource, told: str
) -> None:
    """The clinician read "Operation (date not recorded)" of an entry that has a day."""
    detail = answered_with(knowledge, PAIN, known).card("DATA-DATE")["detail"]
    assert f"- {told.capitalize()}\n" in detail
    assert "- Operation" not in detail


@pytest.mark.parametrize("known", LUMBAR)
def test_emergency_after_an_operation_elsewhere_is_shown(
    knowledge: Knowledge, known: Resource
) -> None:
    """Cauda equina syndrome coded today opened no card."""
    assert list(answered_with(knowledge, PAIN, known, CAUDA_EQUINA).shown) == ["RF-CES"]


@pytest.mark.parametrize("text", ["Postlaminectomy syndrome", "Cervical postlaminectomy syndrome"])
def test_syndrome_of_another_or_an_unknown_part_of_the_spine_is_no_lumbar_operation(
    knowledge: Knowledge, text: str
) -> None:
    """The code alone stands for the neck, too."""
    known = syndrome(ICD, "M96.1", text)
    assert not answered_with(knowledge, PAIN, known, CAUDA_EQUINA).shown
