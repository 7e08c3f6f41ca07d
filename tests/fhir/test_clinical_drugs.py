"""Prescriptions that carry the code of a drug: what is in it, and how much of an opioid a day."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.chart.facts import DrugFact
from cds_service.knowledge.model import Knowledge
from tests.fhir.chart_parts import RXNORM, SNOMED, Resource, concept
from tests.fhir.test_drug_names import answers_with, chart_of, drug

COMBINED = "buprenorphine-with-naloxone"
PERCOCET_5 = "1049221"
UCUM = "http://unitsofmeasure.org"


def of_code(*codes: str, **more: object) -> Resource:
    """Return an order of the drug with these RxNorm codes and no words."""
    codings = [{"system": RXNORM, "code": code} for code in codes]
    return drug(medicationCodeableConcept={"coding": codings}, **more)


def known(knowledge: Knowledge, request: Resource) -> DrugFact | None:
    """Return what is read of *request*, or None."""
    drugs = chart_of(answers_with(request), knowledge).drugs
    return drugs[0] if drugs else None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1049611", {"opioid"}),  # oxycodone 15 mg tablet
        ("1049221", {"opioid", "acetaminophen"}),  # acetaminophen 325 / oxycodone 5, Percocet
        ("856987", {"opioid", "acetaminophen"}),  # acetaminophen 300 / hydrocodone 5
        ("835603", {"opioid"}),  # tramadol 50 mg tablet
        ("993781", {"opioid", "acetaminophen"}),  # acetaminophen 300 / codeine 30
        ("245134", {"opioid"}),  # fentanyl patch 25
        ("864706", {"opioid", "methadone"}),  # methadone 10 mg tablet
        ("1010600", {"opioid", "buprenorphine", COMBINED}),  # buprenorphine 2 / naloxone 0.5 strip
        ("310431", {"gabapentinoid"}),  # gabapentin 300 mg capsule
        ("483440", {"gabapentinoid"}),  # pregabalin 150 mg capsule
        ("596930", {"snri"}),  # duloxetine 30 mg capsule
        ("856834", {"tca"}),  # amitriptyline 25 mg tablet
        ("1099288", {"tca"}),  # desipramine 10 mg tablet
        ("1000048", {"tca"}),  # doxepin 10 mg capsule
        ("966787", set()),  # doxepin 3 mg tablet, for sleep only
        ("197806", {"nsaid"}),  # ibuprofen 600 mg tablet
        ("198014", {"nsaid"}),  # naproxen 500 mg tablet
        ("834022", {"nsaid"}),  # ketorolac 10 mg tablet
        ("311892", {"nsaid"}),  # nabumetone 500 mg tablet
        ("197817", {"nsaid"}),  # indomethacin 25 mg capsule
        ("198440", {"acetaminophen"}),  # acetaminophen 500 mg tablet
        ("855332", {"anticoagulant"}),  # warfarin 5 mg tablet
        ("1364445", {"anticoagulant"}),  # apixaban 5 mg tablet
        ("1232082", {"anticoagulant"}),  # rivaroxaban 15 mg tablet
        ("1804735", {"anticoagulant"}),  # argatroban, infusion
        ("309362", {"antiplatelet"}),  # clopidogrel 75 mg tablet
        ("242461", {"antiplatelet"}),  # cilostazol 100 mg tablet
        ("259081", {"antiplatelet"}),  # aspirin 25 / dipyridamole 200
        ("197590", {"benzodiazepine"}),  # diazepam 2 mg tablet
        ("197901", {"benzodiazepine"}),  # lorazepam 1 mg tablet
        ("308047", {"benzodiazepine"}),  # alprazolam 0.25 mg tablet
        ("312134", {"benzodiazepine"}),  # oxazepam 15 mg capsule
        ("905369", {"benzodiazepine"}),  # chlordiazepoxide 10 mg capsule
        ("889614", {"benzodiazepine"}),  # chlordiazepoxide 5 / clidinium 2.5
        ("856769", {"benzodiazepine", "tca"}),  # amitriptyline 12.5 / chlordiazepoxide 5
        ("199450", {"benzodiazepine"}),  # clobazam 10 mg tablet
        ("197465", {"benzodiazepine"}),  # clorazepate 3.75 mg tablet
        ("197654", {"benzodiazepine"}),  # estazolam 2 mg tablet
        ("1298088", {"benzodiazepine"}),  # flurazepam 15 mg capsule
        ("2173500", {"benzodiazepine"}),  # midazolam nasal spray, Nayzilam
        ("198183", {"benzodiazepine"}),  # quazepam 15 mg tablet
        ("197446", set()),  # erythromycin
        ("861007", set()),  # metformin 500 mg tablet
    ],
)
def test_a_drug_is_known_by_its_own_code(
    knowledge: Knowledge, code: str, expected: set[str]
) -> None:
    """Nothing but the code of the clinical or branded drug is needed, no word of the chart."""
    found = known(knowledge, of_code(code))
    assert (set(found.concepts) if found else set()) == expected


def test_naloxone_in_a_tablet_with_an_opioid_is_not_naloxone_at_hand(knowledge: Knowledge) -> None:
    """It is there against misuse; only naloxone by itself can be given in an overdose."""
    by_name = {drug.ingredients for drug in knowledge.clinical_drugs.values()}
    assert ("7242",) in by_name
    with_opioid = [
        code for code, drug in knowledge.clinical_drugs.items() if "7242" in drug.ingredients[1:]
    ]
    assert with_opioid
    for code in with_opioid:
        assert "naloxone" not in dict(knowledge.meanings(RXNORM, code))


def test_every_drug_means_what_its_ingredients_mean(knowledge: Knowledge) -> None:
    """No line of the table is dead, and none names an ingredient that no value set has."""
    listed = {
        code.code
        for value_set in knowledge.value_sets.values()
        for code in value_set.codes
        if code.system == "RxNorm"
    }
    for code, found in knowledge.clinical_drugs.items():
        assert listed.issuperset(found.ingredients), code
        assert code not in listed


def test_only_what_a_factor_exists_for_has_a_strength(knowledge: Knowledge) -> None:
    """Tablets of one opioid that is converted; never the patch or buprenorphine."""
    for code, found in knowledge.clinical_drugs.items():
        if found.strength is not None:
            converted = set(found.ingredients) & (knowledge.mme_factors.keys() - {"4337"})
            assert len(converted) == 1, code
            assert 0 < found.strength <= 400, code


def taken(amount: float, unit: str, **more: object) -> Resource:
    """Return the instruction to take so much three times a day."""
    return {
        "timing": {"repeat": {"frequency": 3, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": amount, "unit": unit}}],
        **more,
    }


@pytest.mark.parametrize(
    ("code", "instruction", "expected"),
    [
        ("1049621", taken(2, "tablet"), "45.0"),  # oxycodone 5 mg
        ("1049621", taken(2, "{tbl}"), "45.0"),
        ("1049621", taken(2, "TAB"), "45.0"),
        ("1049621", taken(0.5, "tab(s)"), "11.25"),
        ("1049621", taken(5, "mg"), "22.5"),
        ("1049221", taken(1, "tablet"), "22.5"),  # acetaminophen 325 / oxycodone 5
        ("1049221", taken(325, "mg"), None),
        ("856987", taken(2, "tablets"), "30"),  # acetaminophen 300 / hydrocodone 5
        ("856987", taken(600, "mg"), None),
        ("848768", taken(1, "tablet"), "21.780"),  # aspirin 325 / oxycodone 4.84
        ("848768", taken(325, "mg"), None),
        ("835603", taken(1, "capsule"), "30.0"),  # tramadol 50 mg
        ("245134", taken(1, "patch"), None),  # fentanyl 25
        ("1053651", taken(1, "tablet"), None),  # fentanyl under the tongue: the factor is a patch's
        ("1010600", taken(1, "{film}"), None),  # buprenorphine is never converted
        ("1049621", taken(2, "unit"), None),
        ("7804", taken(2, "tablet"), None),  # an ingredient has no strength
        ("7804", taken(10, "mg"), "45.0"),
    ],
)
def test_tablets_count_by_the_strength_of_the_drug(
    knowledge: Knowledge, code: str, instruction: Resource, expected: str | None
) -> None:
    """Milligrams count only where they can mean nothing but the opioid."""
    found = known(knowledge, of_code(code, dosageInstruction=[instruction]))
    assert found is not None
    assert found.mme_per_day == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({"unit": "tablet", "system": SNOMED, "code": "428673006"}, "45.0"),
        ({"unit": "tablet", "system": "urn:oid:1.2.840.114350.1.13.0.1.7.4", "code": "5"}, "45.0"),
        ({"unit": "mg", "system": "https://ehr.example/units", "code": "12"}, "9.0"),
        ({"unit": "TAB", "system": "http://ehr.example/forms", "code": "TAB"}, "45.0"),
        ({"unit": "tablet", "system": UCUM, "code": "{patch}"}, None),
        ({"unit": "mg", "system": UCUM, "code": "mg/kg"}, None),
        ({"unit": "mL", "system": SNOMED, "code": "258773002"}, None),
    ],
)
def test_dose_whose_unit_has_a_code_of_another_list_counts_by_its_words(
    knowledge: Knowledge, unit: dict[str, str], expected: str | None
) -> None:
    """Many EHRs code the tablet in SNOMED CT or a list of their own; a UCUM code is the unit."""
    instruction = {**taken(2, "tablet"), "doseAndRate": [{"doseQuantity": {"value": 2, **unit}}]}
    found = known(knowledge, of_code("1049621", dosageInstruction=[instruction]))
    assert found is not None
    assert found.mme_per_day == (None if expected is None else Decimal(expected))


def test_a_most_of_tablets_a_day_counts_by_strength(knowledge: Knowledge) -> None:
    """Six tablets of 5 mg oxycodone at most, as needed."""
    instruction = {
        "text": "as needed",
        "maxDosePerPeriod": {
            "numerator": {"value": 6, "unit": "tablet"},
            "denominator": {"value": 1, "code": "d"},
        },
    }
    found = known(knowledge, of_code("1049621", dosageInstruction=[instruction]))
    assert found is not None
    assert found.mme_per_day == Decimal(45)
    assert found.is_daily_maximum


def test_codes_of_two_strengths_leave_tablets_open(knowledge: Knowledge) -> None:
    """Of an entry that names tablets of 5 mg and of 15 mg only milligrams count."""
    both = ("1049621", "1049611")
    tablets = known(knowledge, of_code(*both, dosageInstruction=[taken(1, "tablet")]))
    milligrams = known(knowledge, of_code(*both, dosageInstruction=[taken(5, "mg")]))
    assert tablets is not None
    assert tablets.mme_per_day is None
    assert milligrams is not None
    assert milligrams.mme_per_day == Decimal("22.5")


def test_milligrams_of_two_coded_ingredients_are_open(knowledge: Knowledge) -> None:
    """650 mg of a drug coded as acetaminophen and oxycodone are not 650 mg of oxycodone."""
    found = known(knowledge, of_code("161", "7804", dosageInstruction=[taken(650, "mg")]))
    assert found is not None
    assert found.mme_per_day is None


@pytest.mark.parametrize(
    ("code", "dosed"),
    [
        ("897745", {"doseQuantity": {"value": 2, "unit": "mg"}}),  # hydromorphone, to inject
        ("897756", {"doseQuantity": {"value": 1, "unit": "mg"}}),  # the same in a syringe
        ("198402", {"rateQuantity": {"value": 25, "unit": "ug/h"}}),  # fentanyl, to inject
    ],
)
def test_milligrams_of_an_injection_are_open(
    knowledge: Knowledge, code: str, dosed: dict[str, object]
) -> None:
    """The factors are for what is swallowed; by a needle the same milligrams are far more."""
    instruction = {**taken(0, "mg"), "doseAndRate": [dosed]}
    found = known(knowledge, of_code(code, dosageInstruction=[instruction]))
    assert found is not None
    assert found.mme_per_day is None


def test_the_code_of_the_drug_with_those_of_its_ingredients_counts_once(
    knowledge: Knowledge,
) -> None:
    """Some EHRs send all of them."""
    codes = (PERCOCET_5, "161", "7804")
    found = known(knowledge, of_code(*codes, dosageInstruction=[taken(1, "tablet")]))
    assert found is not None
    assert set(found.concepts) == {"opioid", "acetaminophen"}
    assert found.mme_per_day == Decimal("22.5")


def test_words_do_not_change_what_a_code_says(knowledge: Knowledge) -> None:
    """The display of the chart is never read where the code is known."""
    odd = drug(medicationCodeableConcept=concept(RXNORM, "310431", "Oxycodone 10 MG Oral Tablet"))
    found = known(knowledge, odd)
    assert found is not None
    assert set(found.concepts) == {"gabapentinoid"}
