"""Which of several results counts, and when a result from before the operation does not."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from cds_service.chart.facts import Chart, ObservationFact, PatientFact
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.measures import Measures
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.charts import Facts
from cds_service.vignettes.running import AS_OF, chart_of

DAY = AS_OF - timedelta(days=3)


def result(
    concept: str, value: int, when: FhirDate | None = None, original: str | None = None
) -> ObservationFact:
    """Return one laboratory result or vital sign."""
    return ObservationFact(
        reference=f"Observation/{concept}-{value}",
        concepts=frozenset({concept}),
        effective=when or FhirDate.on(DAY),
        value=Decimal(value),
        converted_from=original,
    )


def measures(knowledge: Knowledge, *results: ObservationFact) -> Measures:
    """Return the results of one patient."""
    patient = PatientFact(reference="Patient/1", birth=None, gender=None, is_deceased=False)
    return Measures(Chart(patient=patient, observations=results), Limits(knowledge, AS_OF))


def rows(facts: Facts, knowledge: Knowledge) -> dict[str, Finding]:
    """Return the rows of the decision table for one patient, by card."""
    return {row.card: row for row in assess(chart_of(facts, knowledge), knowledge, AS_OF).findings}


@pytest.mark.parametrize(
    ("concept", "worst"), [("egfr", 25), ("crp", 60), ("temperature", 60), ("pvr", 60)]
)
def test_worst_of_a_day_is_the_lowest_kidney_value_and_else_the_highest(
    knowledge: Knowledge, concept: str, worst: int
) -> None:
    """Two kidney values on one day, 60 and 25: contrast is judged by the 25."""
    two = measures(knowledge, result(concept, 60), result(concept, 25))
    assert [measure.value for measure in two.series(concept)] == [worst]


def test_result_of_a_month_is_no_result_of_a_day(knowledge: Knowledge) -> None:
    """A result known to the month only is neither the latest nor recent."""
    month = FhirDate(earliest=date(AS_OF.year, AS_OF.month, 1), latest=AS_OF)
    assert measures(knowledge, result("crp", 60, month)).series("crp") == ()


def test_original_of_a_converted_result_is_kept(knowledge: Knowledge) -> None:
    """A CRP sent in mg/dL is shown with what was sent."""
    latest = measures(knowledge, result("crp", 12, original="1.2 mg/dL")).latest("crp")
    assert latest is not None
    assert latest.converted_from == "1.2 mg/dL"


def test_residual_urine_from_before_surgery_is_no_sign(knowledge: Knowledge) -> None:
    """A bladder that was full five days before the operation says nothing about it."""
    facts = {"day": 5, "operation": "discectomy"}
    after = rows({**facts, "residual urine": {3: 350}}, knowledge)
    before = rows({**facts, "residual urine": {-5: 350}}, knowledge)
    assert after["RF-CES"].verdict is Verdict.MET
    assert before["RF-CES"].verdict is Verdict.NOT_MET
    assert before["RF-POUR"].verdict is Verdict.NOT_MET


def test_crp_that_rises_from_nought_is_a_rise(knowledge: Knowledge) -> None:
    """A CRP of 0 and later 25 is a second rise, and no fault of the rule."""
    facts = {"day": 12, "operation": "discectomy", "CRP": {5: 0, 11: 25}}
    row = rows(facts, knowledge)["RF-INF-W"]
    assert not row.is_faulty
    assert row.verdict is Verdict.MET
