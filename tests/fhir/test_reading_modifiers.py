"""A modifier extension may turn an entry into its opposite: what is not understood is not read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from tests.fhir.chart_parts import (
    KEYS,
    LOCAL,
    LOINC,
    RXNORM,
    SNOMED,
    ReadChart,
    Resource,
    concept,
    condition,
    drug_order,
    observation,
    procedure,
)
from tests.fhir.test_reading_subjects import FACTS, every_kind

NEGATED: dict[str, Any] = {
    "modifierExtension": [{"url": "http://ehr.example/is-negated", "valueBoolean": True}]
}
FRACTURE_OF_THE_ARM = condition("263102004")


@pytest.mark.parametrize(
    "known", every_kind(), ids=[entry["resourceType"] for entry in every_kind()]
)
def test_entry_with_an_unknown_modifier_is_no_fact_and_leaves_a_gap(
    read: ReadChart, known: Resource
) -> None:
    """It may say that there is none, that it is of a relative, or that nothing is to be done."""
    chart = read({**known, **NEGATED})
    assert not [name for name in FACTS if getattr(chart, name)]
    assert [item.reason for item in chart.set_aside] == [reasons.MODIFIED]
    assert chart.supply[KEYS[known["resourceType"]]].state is State.PARTIAL


@pytest.mark.parametrize("nothing", [[], None])
def test_entry_without_a_modifier_is_read(read: ReadChart, nothing: object) -> None:
    """An empty list of modifiers changes nothing."""
    chart = read(procedure(modifierExtension=nothing))
    assert [fact.reference for fact in chart.procedures] == ["Procedure/p1"]


@pytest.mark.parametrize(
    "entry",
    [
        FRACTURE_OF_THE_ARM,
        procedure("73761001"),
        observation("72514-3", valueInteger=7, status="entered-in-error"),
    ],
    ids=["a condition nobody asks for", "a colonoscopy", "an observation in error"],
)
def test_modifier_of_an_entry_no_rule_would_read_leaves_no_gap(
    read: ReadChart, entry: Resource
) -> None:
    """Only what might have counted is missed."""
    chart = read({**entry, **NEGATED})
    assert chart.supply[KEYS[entry["resourceType"]]].state is State.SUPPLIED


def test_older_copy_of_an_entry_with_a_modifier_does_not_stand_in_for_it(read: ReadChart) -> None:
    """The newest copy counts, and that one cannot be read."""
    older = condition("27151001", meta={"lastUpdated": "2026-01-01T00:00:00Z"})
    newer = condition("27151001", meta={"lastUpdated": "2026-02-01T00:00:00Z"}, **NEGATED)
    assert read(older, newer).conditions == ()


def test_condition_that_came_along_with_operations_is_missing_from_the_problem_list(
    read: ReadChart,
) -> None:
    """The server sends the reason of an operation with it (``_include``)."""
    reason = json.dumps(condition("27151001", **NEGATED)).encode()
    chart = read(procedure(), raw={Key.PROCEDURES: (reason,), Key.CONDITIONS: (reason,)})
    assert chart.failed_keys == {Key.CONDITIONS}


def test_observation_with_a_modified_part_is_not_read(read: ReadChart) -> None:
    """The part says which muscle it was, or was not."""
    muscle = {
        "code": concept(LOCAL, "muscle"),
        "valueCodeableConcept": concept(LOCAL, "ehl"),
        **NEGATED,
    }
    chart = read(observation("mrc-grade", LOCAL, valueInteger=2, component=[muscle]))
    assert chart.observations == ()
    assert chart.supply[Key.FINDINGS].state is State.PARTIAL


def test_dose_with_a_modifier_is_not_known(read: ReadChart) -> None:
    """The opioid counts, its dose does not."""
    dose = {
        "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": 30, "code": "mg"}}],
    }
    drug = {"medicationCodeableConcept": concept(RXNORM, "7804")}
    (plain,) = read(drug_order(**drug, dosageInstruction=[dose])).drugs
    (modified,) = read(drug_order(**drug, dosageInstruction=[{**dose, **NEGATED}])).drugs
    assert plain.mme_per_day == 90
    assert modified.mme_per_day is None


def test_modified_pregnancy_status_is_neither_yes_nor_no(read: ReadChart) -> None:
    """A pregnancy of the patient's daughter is not the patient's."""
    status = observation("82810-3", LOINC, valueCodeableConcept=concept(SNOMED, "77386006"))
    assert read({**status, **NEGATED}).observations == ()
