"""Drugs without a known code: by name where the site wants it, and by the Medication they name."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key, State
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.prefetch import joined_answer, read_page
from cds_service.knowledge.model import Knowledge
from cds_service.offline import BundleFile
from tests.fhir.chart_parts import (
    PATIENT,
    RXNORM,
    SNOMED,
    Resource,
    chart_read,
    concept,
    drug_order,
)

COMBINED = "buprenorphine-with-naloxone"


def drug(**medication: object) -> Resource:
    """Return an active order of a drug, written seven weeks ago."""
    return drug_order(**{"authoredOn": "2026-10-01", **medication})


def chart_of(
    answers: Mapping[str, KeyAnswer], knowledge: Knowledge, *, by_name: bool = False
) -> Chart:
    """Return the chart of the patient."""
    return chart_read(answers, knowledge, matches_drug_names=by_name)


def answers_with(request: Resource) -> Mapping[str, KeyAnswer]:
    """Return answers that hold the patient and one drug."""
    sent = {Key.PATIENT: PATIENT, Key.PROCEDURES: {"resourceType": "Bundle"}}
    sent[Key.MEDICATION_REQUESTS] = {"resourceType": "Bundle", "entry": [{"resource": request}]}
    return {
        key: joined_answer((read_page(key, json.dumps(body).encode()),))
        for key, body in sent.items()
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Oxycodone 5 mg tablet", {"opioid"}),
        ("oxyCODONE-acetaminophen 5-325", {"opioid", "acetaminophen"}),
        ("Dihydrocodeine SR", {"opioid"}),
        ("DULoxetine 60 mg", {"snri"}),
        ("buprenorphine/naloxone film", {"opioid", "buprenorphine", COMBINED}),
        ("Paracetamol 500mg tablets", {"acetaminophen"}),
        ("Co-codamol 30mg/500mg", {"opioid", "acetaminophen"}),
        ("Pethidine 50mg", {"opioid"}),
        ("Indometacin 25mg capsules", {"nsaid"}),
        ("Benzocodeinex", set()),
        ("Metformin 500 mg", set()),
    ],
)
def test_drug_without_a_known_code_is_known_by_its_name_where_the_site_wants_it(
    knowledge: Knowledge, words: str, expected: set[str]
) -> None:
    """Names count only behind the switch of the profile, and only as whole words."""
    sent = answers_with(drug(medicationCodeableConcept={"text": words}))
    assert chart_of(sent, knowledge).drugs == ()
    found = [set(fact.concepts) for fact in chart_of(sent, knowledge, by_name=True).drugs]
    assert found == ([expected] if expected else [])


def test_known_code_wins_over_the_name(knowledge: Knowledge) -> None:
    """A code we know says what the drug is, whatever the text says."""
    coded = drug(medicationCodeableConcept=concept(RXNORM, "7804", "gabapentin"))
    chart = chart_of(answers_with(coded), knowledge, by_name=True)
    assert [fact.concepts for fact in chart.drugs] == [frozenset({"opioid"})]


def test_naloxone_beside_coded_buprenorphine_is_known_by_its_name(knowledge: Knowledge) -> None:
    """The code of the ingredient does not tell treatment of use disorder from pain; words do."""
    plain = drug(medicationCodeableConcept=concept(RXNORM, "1819", "buprenorphine patch"))
    film = drug(medicationCodeableConcept=concept(RXNORM, "1819", "Buprenorphine-Naloxone film"))
    found = [chart_of(answers_with(one), knowledge).drugs[0].concepts for one in (plain, film)]
    assert found == [{"opioid", "buprenorphine"}, {"opioid", "buprenorphine", COMBINED}]


def test_medication_of_a_patient_file_tells_what_an_order_refers_to(knowledge: Knowledge) -> None:
    """A file with Medication entries of its own is read like an answer with _include."""
    medication = {"resourceType": "Medication", "id": "d", "code": concept(RXNORM, "7804")}
    refers = drug(medicationReference={"reference": "Medication/d"})
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": found} for found in (PATIENT, refers, medication)],
    }
    answers = BundleFile(json.dumps(bundle).encode()).answers(is_partial=False)
    chart = chart_of(answers, knowledge)
    assert [fact.concepts for fact in chart.drugs] == [frozenset({"opioid"})]
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.SUPPLIED
    assert chart.set_aside == ()


NDC, ATC = "http://hl7.org/fhir/sid/ndc", "http://www.whocc.no/atc"


@pytest.mark.parametrize(
    ("medication", "plainly", "by_name"),
    [
        ({"text": "Warfarin 5 mg daily"}, 1, 0),
        ({"text": "Metformin 500 mg"}, 1, 1),
        (concept(NDC, "0056-0172-70", "Coumadin 5 mg tablet"), 1, 1),
        (concept(ATC, "B01AA03"), 1, 1),
        (concept(SNOMED, "48603004"), 1, 1),
        (concept(RXNORM, ""), 1, 1),
        (concept(RXNORM, "6809", "metformin"), 0, 0),
        (concept(RXNORM, "11289", "warfarin"), 0, 0),
    ],
)
def test_prescription_that_nothing_identifies_is_counted(
    knowledge: Knowledge, medication: Resource, plainly: int, by_name: int
) -> None:
    """A drug with an RxNorm code is known, ours or not; without one and without a hit it is not."""
    sent = answers_with(drug(medicationCodeableConcept=medication))
    assert chart_of(sent, knowledge).unidentified_drugs == plainly
    assert chart_of(sent, knowledge, by_name=True).unidentified_drugs == by_name


@pytest.mark.parametrize(
    "change",
    [
        {"status": "stopped"},
        {"status": "draft"},
        {"status": "entered-in-error"},
        {"intent": "plan"},
        {"authoredOn": "2026-11-21"},
        {"subject": {"reference": "Patient/bertha"}},
    ],
)
def test_prescription_that_is_not_taken_now_is_not_counted(
    knowledge: Knowledge, change: Resource
) -> None:
    """Only what is taken now could be an anticoagulant that matters today."""
    words = {"text": "Warfarin 5 mg daily"}
    sent = answers_with({**drug(medicationCodeableConcept=words), **change})
    assert chart_of(sent, knowledge).unidentified_drugs == 0


@pytest.mark.parametrize(
    ("status", "count"),
    [("active", 1), ("completed", 1), ("stopped", 1), ("on-hold", 1), ("cancelled", 0)],
)
def test_course_of_a_drug_that_nothing_identifies_is_kept(
    knowledge: Knowledge, status: str, count: int
) -> None:
    """It may be a trial that a card calls missing; by its name it is known."""
    gabapentin = concept("https://dmd.nhs.uk", "42108111000001104", "Gabapentin 300mg capsules")
    sent = answers_with({**drug(medicationCodeableConcept=gabapentin), "status": status})
    assert len(chart_of(sent, knowledge).unidentified_courses) == count
    assert chart_of(sent, knowledge, by_name=True).unidentified_courses == ()
