"""Values, units, sites and answers of Observations."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from cds_service.chart.facts import Site
from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.values import Side
from tests.fhir.chart_parts import (
    LOCAL,
    LOINC,
    SNOMED,
    UNREADABLE_CODES,
    ReadChart,
    Resource,
    concept,
    observation,
    procedure,
)


def quantity(value: object, unit: str | None = None) -> dict[str, object]:
    """Return a valueQuantity field."""
    return {"valueQuantity": {"value": value} | ({"unit": unit} if unit else {})}


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        ("72514-3", 7, None, "7"),
        ("72514-3", "7", "{score}", "7"),
        ("72514-3", 0, "{score}", "0"),
        ("72514-3", 10, "/10", "10"),
        ("38214-3", 65, "mm", "6.5"),
        ("38214-3", 6.5, "cm", "6.5"),
        ("38214-3", 65, "{score}", "6.5"),
        ("97908-8", 100, "%", "100"),
        ("1988-5", 12, "mg/L", "12"),
        ("1988-5", 1.2, "mg/dL", "12.0"),
        ("30522-7", 1.2, "mg/dl", "12.0"),
        ("1988-5", 152, "ug/mL", "152"),
        ("1988-5", 152, "\u00b5g/mL", "152"),
        ("1988-5", 152, "mcg/mL", "152"),
        ("8310-5", 38, "Cel", "38"),
        ("8310-5", 100.4, "[degF]", "38.00"),
        ("8310-5", 100.3, "°F", "37.94"),
        ("8310-5", 100.399, "[degF]", "37.99"),
        ("6690-2", 12.1, "10*3/uL", "12.1"),
        ("6690-2", 12.1, "K/µL", "12.1"),
        ("4537-7", 40, "mm/hr", "40"),
        ("98979-8", 29, "mL/min/{1.73_m2}", "29"),
        ("98979-8", 29, "mL/min/1.73 m²", "29"),
        ("48642-3", 29, None, "29"),
    ],
)
def test_value_is_read_in_the_unit_of_the_core(
    read: ReadChart, code: str, value: object, unit: str | None, expected: str
) -> None:
    """A known unit is used as it is or converted exactly."""
    (fact,) = read(observation(code, **quantity(value, unit))).observations
    assert fact.value == Decimal(expected)


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        ("6690-2", 14.2, "x10(3)/mcL", "14.2"),
        ("6690-2", 14.2, "x10(9)/L", "14.2"),
        ("6690-2", 14.2, "\N{MULTIPLICATION SIGN}10⁹/L", "14.2"),
        ("6690-2", 14.2, "10³/µL", "14.2"),
        ("6690-2", 14.2, "10³/mm³", "14.2"),
        ("6690-2", 14.2, "K/cumm", "14.2"),
        ("6690-2", 14.2, "THOU/CMM", "14.2"),
        ("6690-2", 14.2, "Thousand/cu mm", "14.2"),
        ("6690-2", 14.2, "10x3/uL", "14.2"),
        ("98979-8", 29, "mL/min/1.73 m(2)", "29"),
        ("98979-8", 29, "mL/min/1.73 sq. m", "29"),
        ("8310-5", 38.5, "ºC", "38.5"),
        ("8310-5", 38.5, "℃", "38.5"),
        ("8310-5", 100.4, "ºF", "38.00"),
        ("8310-5", 100.4, "℉", "38.00"),
    ],
)
def test_unit_as_laboratories_and_wards_print_it_is_read(
    read: ReadChart, code: str, value: float, unit: str, expected: str
) -> None:
    """Powers in brackets or raised, and the signs typed for a degree, are the same units."""
    (fact,) = read(observation(code, **quantity(value, unit))).observations
    assert fact.value == Decimal(expected)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (concept(LOCAL, "mrc-grade"), "3/5", 3),
        (concept(LOCAL, "mrc-grade"), "4.5 / 5", Decimal("4.5")),
        (concept(LOCAL, "mrc-grade"), "3/10", None),
        (concept(LOINC, "72514-3"), "8/10", 8),
        (concept(LOINC, "72514-3"), "3/5", None),
        (concept(LOINC, "97908-8"), "48/100", 48),
        (concept(LOINC, "44261-6"), "12/27", 12),
        (concept(LOCAL, "dn4-total"), "5/10", 5),
    ],
)
def test_score_written_out_of_its_highest_is_read(
    read: ReadChart, code: Resource, text: str, expected: Decimal | None
) -> None:
    """A strength of "3/5" is a grade 3; out of another number it is another scale."""
    found = read(observation("x", code=code, valueString=text)).observations
    assert [fact.value for fact in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize("start", ["5", "3/5", "4 -"])
def test_number_lost_in_a_long_text_costs_no_time(read: ReadChart, start: str) -> None:
    """A number followed by a hundred thousand blanks is no number, and that is seen at once."""
    text = f"{start}{' ' * 100_000}x"
    began = time.perf_counter()
    chart = read(observation("x", code=concept(LOCAL, "mrc-grade"), valueString=text))
    assert chart.observations == ()
    assert time.perf_counter() - began < 5


def often(system: str, code: str) -> Resource:
    """Return a concept that says one code four thousand times."""
    return {"coding": [{"system": system, "code": code, "display": "as it is"}] * 4_000}


@pytest.mark.parametrize(
    "entry",
    [
        observation("x", code=often(SNOMED, "26544005")),
        procedure(
            code=often("http://www.cms.gov/Medicare/Coding/ICD10", "0QB00ZZ"),
            reasonCode=[concept(SNOMED, "x")] * 4_000,
        ),
        observation(
            "72514-3",
            bodySite=often(SNOMED, "7771000"),
            component=[{"code": concept(LOINC, "72514-3"), **quantity(7)}] * 4_000,
        ),
        observation(
            "x",
            code=often(LOCAL, "mrc-grade"),
            component=[{"code": concept(LOCAL, "mrc-grade"), "valueInteger": 3}] * 4_000,
        ),
        observation(
            "x",
            code=often(LOCAL, "saddle-sensation"),
            component=[{"code": concept(LOCAL, "saddle-sensation"), "valueString": "?"}] * 4_000,
        ),
        {
            **observation("x", resourceType="ImagingStudy", status="available"),
            "procedureCode": [concept(SNOMED, "241577003")] * 4_000,
            "series": [{"bodySite": {"system": SNOMED, "code": "7771000"}}] * 4_000,
        },
    ],
    ids=["codes", "codes and reasons", "pain and sites", "grades and codes", "answers", "series"],
)
def test_entry_with_thousands_of_codes_and_parts_costs_no_time(
    read: ReadChart, entry: Resource
) -> None:
    """Three hundred kilobytes of one entry took half a minute, for this call and all beside it."""
    began = time.perf_counter()
    read(entry)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("code", "value", "unit", "reason"),
    [
        ("72514-3", 11, None, reasons.OUT_OF_RANGE),
        ("72514-3", -1, None, reasons.OUT_OF_RANGE),
        ("72514-3", 5, "kg", reasons.UNIT_NOT_READ),
        ("72514-3", None, None, reasons.NO_VALUE),
        ("72514-3", "NaN", None, reasons.NO_VALUE),
        ("72514-3", "1e1000000", None, reasons.OUT_OF_RANGE),
        ("1988-5", "-1e1000000", "mg/dL", reasons.OUT_OF_RANGE),
        ("1988-5", "1e-9000", "mg/dL", reasons.OUT_OF_RANGE),
        ("38214-3", "1e-9000", "mm", reasons.OUT_OF_RANGE),
        ("8310-5", "1e-9000", "[degF]", reasons.OUT_OF_RANGE),
        ("97908-8", 101, "%", reasons.OUT_OF_RANGE),
        ("1988-5", 12, None, reasons.UNIT_NOT_READ),
        ("1988-5", 12, "nmol/L", reasons.UNIT_NOT_READ),
        ("8310-5", 100.4, "Cel", reasons.OUT_OF_RANGE),
        ("8310-5", 38.5, None, reasons.UNIT_NOT_READ),
        ("6690-2", 12000, "/uL", reasons.UNIT_NOT_READ),
        ("38214-3", 6, "{score}", reasons.UNIT_NOT_READ),
        ("38214-3", 101, "mm", reasons.OUT_OF_RANGE),
    ],
)
def test_value_that_cannot_be_trusted_is_set_aside_and_said(
    read: ReadChart, code: str, value: object, unit: str | None, reason: str
) -> None:
    """A number outside the scale or in an unknown unit is no value."""
    chart = read(observation(code, **quantity(value, unit)))
    assert chart.observations == ()
    assert [item.reason for item in chart.set_aside] == [reason]


@pytest.mark.parametrize(
    "value",
    [
        quantity(0.25, "L"),
        {"valueString": "about 350 ml"},
        {"valueString": "0.35 l"},
        {"valueString": "350 ml, 400 ml"},
        {"valueRange": {"low": {"value": 250}, "high": {"value": 300}}},
        {"interpretation": [{"text": "high"}]},
    ],
)
def test_residual_urine_nobody_can_read_leaves_a_gap(
    read: ReadChart, value: dict[str, object]
) -> None:
    """It may be an emergency, so the service is not silent."""
    chart = read(observation("pvr-ml", LOCAL, **value))
    assert chart.observations == ()
    assert chart.supply[Key.FINDINGS].state is State.PARTIAL


def test_residual_urine_that_was_not_measured_leaves_no_gap(read: ReadChart) -> None:
    """A stated absence of a value is no value that was missed."""
    reason = {"text": "not performed"}
    chart = read(observation("pvr-ml", LOCAL, dataAbsentReason=reason))
    assert chart.failed_keys == frozenset()


def test_enormous_numbers_are_only_out_of_range(read: ReadChart) -> None:
    """A number no decimal can be worked with is set aside, not an error."""
    body = (
        b'{"resourceType":"Observation","id":"x","status":"final","subject":'
        b'{"reference":"Patient/anna"},"code":{"coding":[{"system":"http://loinc.org",'
        b'"code":"8310-5"}]},"valueQuantity":{"value":1e999999,"unit":"[degF]"}}'
    )
    chart = read(raw={"scores": (body,)})
    assert [item.reason for item in chart.set_aside] == [reasons.OUT_OF_RANGE]


def test_converted_value_names_its_original(read: ReadChart) -> None:
    """A conversion is shown with the number and unit it came from."""
    (fact,) = read(observation("1988-5", **quantity(1.2, "mg/dL"))).observations
    assert fact.converted_from == "1.2 mg/dL"


@pytest.mark.parametrize(
    ("code", "sent", "between", "original"),
    [
        ("98979-8", ("<", 30, "mL/min/{1.73_m2}"), (29, 30), "< 30"),
        ("98979-8", (">", 60, "mL/min/{1.73_m2}"), (60, 61), "> 60"),
        ("1988-5", ("<", 1, "mg/dL"), (9, 10), "< 1 mg/dL"),
        ("1988-5", (">", 10, "mg/L"), (10, 11), "> 10"),
        ("44261-6", ("<", 10, "{score}"), (9, 10), "< 10"),
        ("72514-3", ("<", 4, "{score}"), (3, 4), "< 4"),
        ("72514-3", (">", 6, "{score}"), (6, 7), "> 6"),
        ("97908-8", ("<", 23, "%"), (22, 23), "< 23"),
        ("38214-3", ("<", 40, "mm"), (3, 4), "< 40 mm"),
    ],
)
def test_value_sent_as_a_limit_never_reaches_it(
    read: ReadChart, code: str, sent: tuple[str, int, str], between: tuple[int, int], original: str
) -> None:
    """A filtration rate or a score sent as "< 30" is below 30, and the card says what was sent."""
    comparator, number, unit = sent
    value = {"value": number, "comparator": comparator, "unit": unit, "code": unit}
    (fact,) = read(observation(code, valueQuantity=value)).observations
    assert fact.value is not None
    assert between[0] < fact.value < between[1]
    assert fact.converted_from == original


EGFR, CRP, FEVER, VOLUME = "98979-8", "1988-5", "8310-5", "pvr-ml"


@pytest.mark.parametrize(
    ("code", "text", "value", "original"),
    [
        (EGFR, "<15", "14.999", "< 15"),
        (EGFR, " > 60 ", "60.001", "> 60"),
        (EGFR, "<=15", "15", None),
        (EGFR, "\u2264 15", "15", None),
        (EGFR, "< 15 mL/min/1.73m2", "14.999", "< 15"),
        (CRP, "152 mg/L", "152", None),
        (CRP, "15.2 mg/dL", "152", "15.2 mg/dL"),
        (CRP, "<0.5mg/dL", "4.999", "< 0.5 mg/dL"),
        (CRP, "15,2 mg/L", "15.2", None),
        (EGFR, "14,75", "14.75", None),
        (FEVER, "38.9 \u00b0C", "38.9", None),
        (FEVER, "38,9 \u00b0C", "38.9", None),
        (FEVER, "102 F", "38.88", "102 \u00b0F"),
        (VOLUME, "350 ml", "350", None),
        (VOLUME, ">400", "400.001", "> 400"),
    ],
)
def test_measurement_sent_as_text_is_read_with_its_limit_and_unit(
    read: ReadChart, code: str, text: str, value: str, original: str | None
) -> None:
    """A filtration rate of "<15" was passed over, and contrast stayed the first choice.

    In most of Europe decimals come after a comma.
    """
    system = LOCAL if code == VOLUME else LOINC
    (fact,) = read(observation(code, system, valueString=text)).observations
    assert (fact.value, fact.converted_from) == (Decimal(value), original)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (CRP, "152"),
        (CRP, "<5"),
        (CRP, "15,2"),
        (CRP, "1,520 mg/L"),
        (CRP, "15,2,1 mg/L"),
        (CRP, "152 nmol/L"),
        (CRP, "152 mg/L (high)"),
        (EGFR, "15 or 25"),
        (EGFR, "15 - 25 mL/min"),
        (FEVER, "38.9"),
        (FEVER, "38.9 C at 8 and 37.2 C"),
    ],
)
def test_measurement_sent_as_text_without_one_number_and_its_unit_is_set_aside(
    read: ReadChart, code: str, text: str
) -> None:
    """What could be another number, or has no unit or an unknown one, is no value."""
    chart = read(observation(code, valueString=text))
    assert chart.observations == ()
    assert len(chart.set_aside) == 1


@pytest.mark.parametrize("comparator", ["<=", ">=", None])
def test_limit_that_may_be_reached_is_the_number(read: ReadChart, comparator: str | None) -> None:
    """At most 30 may be 30; nothing is added, and nothing is said of it."""
    value = {"value": 30, "comparator": comparator, "code": "mg/L"}
    (fact,) = read(observation("1988-5", valueQuantity=value)).observations
    assert (fact.value, fact.converted_from) == (30, None)


@pytest.mark.parametrize(
    ("fields", "site"),
    [
        ({}, Site.ANY),
        ({"bodySite": concept(SNOMED, "61685007")}, Site.LEG),
        ({"bodySite": concept(SNOMED, "30021000 ")}, Site.LEG),
        ({"bodySite": concept(SNOMED, "77568009")}, Site.BACK),
        ({"bodySite": {"text": "left leg"}}, Site.LEG),
        ({"bodySite": {"text": "Lower back"}}, Site.BACK),
        ({"bodySite": {"text": "back and leg"}}, Site.ANY),
        ({"bodySite": concept(SNOMED, "7771000")}, Site.ANY),
        ({"code": concept(LOINC, "72514-3", "Leg pain NRS")}, Site.LEG),
        ({"code": concept(LOINC, "72514-3", "Low back pain")}, Site.BACK),
        ({"code": concept(LOINC, "72514-3", "Pain score")}, Site.ANY),
    ],
)
def test_pain_score_belongs_to_the_site_the_chart_names(
    read: ReadChart, fields: dict[str, object], site: Site
) -> None:
    """Code first, words second, and no site is any."""
    (fact,) = read(observation("72514-3", valueInteger=6, **fields)).observations
    assert fact.site is site


@pytest.mark.parametrize(
    "fields",
    [
        {"bodySite": concept(SNOMED, "16982005", "Shoulder")},
        {"bodySite": {"text": "right shoulder"}},
        {"bodySite": {"coding": [{"system": SNOMED, "code": "16982005"}]}},
        {"bodySite": concept(SNOMED, "46862004")},
        {"code": concept(LOINC, "72514-3", "Shoulder pain")},
    ],
)
def test_pain_elsewhere_is_not_pain_of_this_operation(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """A score of another part of the body is set aside."""
    chart = read(observation("72514-3", valueInteger=6, **fields))
    assert chart.observations == ()
    assert chart.set_aside[0].reason == reasons.OTHER_SITE


UPPER_BACK = [
    *("Upper back", "upper-back pain", "Mid-back", "Middle-back"),
    *("Back, upper", "Back/upper", "Back (mid)", "Back - middle"),
]


@pytest.mark.parametrize("words", UPPER_BACK)
def test_pain_of_the_upper_back_is_not_of_this_operation(read: ReadChart, words: str) -> None:
    """No lumbar operation is about it, whether the body site or the name of the score says so."""
    for place in ({"bodySite": {"text": words}}, {"code": concept(LOINC, "72514-3", words)}):
        chart = read(observation("72514-3", valueInteger=6, **place))
        assert chart.observations == ()
        assert chart.set_aside[0].reason == reasons.OTHER_SITE


@pytest.mark.parametrize(
    ("text", "display", "site"),
    [
        ("linker Unterschenkel", "Structure of left lower leg", Site.LEG),
        ("Kreuz", "Lower back structure", Site.BACK),
        ("right leg", "Lower back structure", Site.LEG),
        ("shoulder", "Lower limb structure", None),
        ("Schulter", "Shoulder region structure", None),
        ("Schulter", "Region", None),
    ],
)
def test_site_the_text_does_not_name_is_read_from_the_display(
    read: ReadChart, text: str, display: str, site: Site | None
) -> None:
    """The text is of the ward's language, the display of SNOMED CT is English."""
    coding = {"system": SNOMED, "code": "0", "display": display}
    body_site = {"text": text, "coding": [coding]}
    found = read(observation("72514-3", valueInteger=6, bodySite=body_site)).observations
    assert [fact.site for fact in found] == ([] if site is None else [site])


@pytest.mark.parametrize(
    "words",
    [
        "DOULEUR EVALUEE PAR LE PATIENT",
        "DOULEUR PENDANT LE REPOS",
        "INTENSITE DE LA DOULEUR LE MATIN",
        "DOLORE DURANTE LE CURE",
        "Smerte etter at pasienten ble operert",
    ],
)
def test_pain_score_with_words_of_another_language_is_none_of_the_leg(
    read: ReadChart, words: str
) -> None:
    """An article of French and Italian and a Norwegian verb look like LE and BLE: no site."""
    code = concept(LOINC, "72514-3", words)
    (fact,) = read(observation("72514-3", valueInteger=6, code=code)).observations
    assert fact.site is Site.ANY


@pytest.mark.parametrize(
    ("words", "site"),
    [
        ("LLE", Site.LEG),
        ("LE pain", Site.LEG),
        ("PAIN, LE", Site.LEG),
        ("LE PAIN WITH WALKING", Site.LEG),
        ("RLE pain", Site.LEG),
        ("LBP", Site.BACK),
        ("Lower back midline", Site.BACK),
        ("Low back, middle", Site.BACK),
        ("Back (midline)", Site.BACK),
        ("Mid to low back", Site.BACK),
        ("Upper and lower back", Site.BACK),
        ("Upper back, left leg", Site.LEG),
    ],
)
def test_site_is_read_as_clinicians_write_it(read: ReadChart, words: str, site: Site) -> None:
    """Usual abbreviations count; a part that is named along with the low back hides nothing."""
    (fact,) = read(observation("72514-3", valueInteger=6, bodySite={"text": words})).observations
    assert fact.site is site


ANSWERS = (
    *("LA6111-4", "LA6112-2", "LA6113-0", "LA6114-8", "LA6115-5", "LA10137-0"),
    *("LA10138-8", "LA10139-6", "LA10140-4", "LA10141-2", "LA13942-0"),
)
"""LOINC's answers of a pain scale, from 0 on."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[({"valueCodeableConcept": concept(LOINC, code)}, n) for n, code in enumerate(ANSWERS)],
        ({"valueCodeableConcept": {"text": "7"}}, 7),
        (
            {
                "valueCodeableConcept": {
                    "coding": [{"system": "urn:x", "code": "a", "display": "7"}]
                }
            },
            7,
        ),
        ({"valueCodeableConcept": concept(LOINC, "LA10139-6", "7 - severe")}, 7),
        ({"valueString": "7/10"}, 7),
        ({"valueString": "7 out of 10"}, 7),
        ({"valueString": "7 von 10"}, 7),
        ({"valueString": "7 sur 10 (forte)"}, 7),
        ({"valueString": "7 de 10"}, 7),
        ({"valueString": "7 (severe)"}, 7),
        ({"valueString": "0 = no pain"}, 0),
        ({"valueString": " 7.5 "}, Decimal("7.5")),
    ],
)
def test_pain_score_given_as_an_answer_or_in_words_is_read(
    read: ReadChart, value: dict[str, object], expected: Decimal
) -> None:
    """One number and nothing that could be another one."""
    (fact,) = read(observation("72514-3", **value)).observations
    assert fact.value == expected


@pytest.mark.parametrize(
    "value",
    [
        {"valueString": "7-8"},
        {"valueString": "7 of 10, worst 9"},
        {"valueString": "7 von 100"},
        {"valueString": "7 de 9"},
        {"valueString": "severe"},
        {"valueString": "70 mm"},
        {"valueCodeableConcept": concept(LOINC, "LA10139-6", "6")},
        {"valueCodeableConcept": concept("urn:x", "LA10139-6")},
        {"valueCodeableConcept": concept(LOINC, "LA6568-5")},
    ],
)
def test_pain_score_that_could_be_two_numbers_or_none_is_set_aside(
    read: ReadChart, value: dict[str, object]
) -> None:
    """It is told, and never guessed at."""
    chart = read(observation("72514-3", **value))
    assert chart.observations == ()
    assert chart.set_aside[0].reason == reasons.NO_VALUE


def test_answer_that_is_a_number_answers_no_other_question(read: ReadChart) -> None:
    """Other questionnaires give the same codes other words."""
    chart = read(observation("44260-8", valueCodeableConcept=concept(LOINC, "LA6113-0")))
    assert chart.observations == ()
    retention = {"code": concept(SNOMED, "267064002")}
    chart = read(observation("x", valueCodeableConcept=concept(LOINC, "LA6112-2"), **retention))
    assert chart.set_aside[0].reason == reasons.ANSWER_NOT_READ


def test_site_in_a_component_places_the_score_in_another(read: ReadChart) -> None:
    """Score and place are both parts of one Observation; a side alone is no place."""
    score = {"code": concept(LOINC, "72514-3"), "valueInteger": 7}
    place = {"code": {"text": "Location"}, "valueCodeableConcept": concept(SNOMED, "61685007")}
    side = {"code": {"text": "Side"}, "valueCodeableConcept": concept(SNOMED, "7771000")}
    (fact,) = read(observation("72514-3", component=[score, place, side])).observations
    assert fact.site is Site.LEG
    for placed in ({"component": [score, side]}, {"component": [side], "valueInteger": 7}):
        (fact,) = read(observation("72514-3", **placed)).observations
        assert fact.site is Site.ANY


def test_components_give_one_score_for_each_site(read: ReadChart) -> None:
    """Leg and back in one Observation are two facts."""
    parts = [
        {"code": concept(SNOMED, "61685007"), "valueInteger": 7},
        {"code": {"text": "back"}, "valueQuantity": {"value": 3}},
    ]
    chart = read(observation("72514-3", component=parts))
    assert {(fact.site, fact.value) for fact in chart.observations} == {
        (Site.LEG, 7),
        (Site.BACK, 3),
    }


def test_score_inside_an_unknown_panel_is_found(read: ReadChart) -> None:
    """A known code in a component counts under a panel nobody knows."""
    part = {"code": concept(LOINC, "72514-3"), "valueInteger": 4}
    (fact,) = read(observation("99999-9", component=[part])).observations
    assert (fact.value, fact.concepts) == (4, frozenset({"pain-score"}))


@pytest.mark.parametrize(
    "qualifier",
    [
        {"valueCodeableConcept": concept(SNOMED, "24028007")},
        {"valueCoding": {"system": SNOMED, "code": "24028007"}},
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_side_that_qualifies_a_body_site_is_read(
    read: ReadChart,
    qualifier: Resource,
    as_list: bool,  # noqa: FBT001 - a case
) -> None:
    """R4 has no place for a side; some records write it as an extension of the site."""
    other = {"url": "urn:x", "valueString": "left out"}
    site = {**concept(SNOMED, "61685007"), "extension": [other, {"url": "urn:y", **qualifier}]}
    placed = [site, {"text": "foot"}] if as_list else site
    (fact,) = read(observation("mrc-grade", LOCAL, valueInteger=3, bodySite=placed)).observations
    assert fact.side is Side.RIGHT


def test_motor_grade_keeps_side_and_muscle(read: ReadChart) -> None:
    """A grade of the left ankle extensors says so, halves included."""
    (fact,) = read(
        observation(
            "mrc-grade",
            LOCAL,
            valueQuantity={"value": 3.5, "unit": "{score}"},
            bodySite=concept(SNOMED, "7771000"),
            component=[
                {
                    "code": concept(LOCAL, "muscle"),
                    "valueCodeableConcept": concept(LOCAL, "tibialis-anterior"),
                }
            ],
        )
    ).observations
    assert (fact.value, fact.side, fact.muscle) == (
        Decimal("3.5"),
        Side.LEFT,
        "tibialis-anterior",
    )


@pytest.mark.parametrize("panel", ["mrc-grade", "a-panel-nobody-knows"])
def test_strengths_of_one_examination_keep_their_sides(read: ReadChart, panel: str) -> None:
    """Both legs weak in one Observation are two weak legs, and the weak hand in it is no leg."""
    grade = concept(LOCAL, "mrc-grade")
    parts = [
        {"code": grade | {"text": "Left big toe"}, "valueInteger": 3},
        {"code": grade | {"text": "Right big toe"}, "valueString": "2+/5"},
        {"code": grade | {"text": "Left grip, hand"}, "valueInteger": 1},
    ]
    code = concept(LOCAL, panel, "Motor examination of arms and legs")
    chart = read(observation("x", code=code, component=parts))
    assert {(fact.side, fact.value) for fact in chart.observations} == {
        (Side.LEFT, 3),
        (Side.RIGHT, 2),
    }
    assert [item.reason for item in chart.set_aside] == [reasons.NOT_A_LEG]


def test_components_give_the_strength_of_each_side_or_muscle(read: ReadChart) -> None:
    """The whole is coded as a strength, its parts say whose; a part that says neither is none."""
    parts = [
        {"code": concept(LOCAL, "ehl"), "valueInteger": 4},
        {"code": {"text": "right"}, "valueString": "3/5"},
        {"code": {"text": "Examiner"}, "valueInteger": 1},
    ]
    site = concept(SNOMED, "7771000")
    chart = read(observation("mrc-grade", LOCAL, bodySite=site, component=parts))
    assert {(fact.side, fact.muscle, fact.value) for fact in chart.observations} == {
        (Side.LEFT, "ehl", 4),
        (Side.RIGHT, None, 3),
    }


def test_finding_in_a_component_keeps_its_side(read: ReadChart) -> None:
    """A foot drop that a neurological examination lists among others has the side it names."""
    drop = {"code": concept(SNOMED, "6077001", "Foot drop, left"), "valueBoolean": True}
    (fact,) = read(observation("99999-9", component=[drop])).observations
    assert fact.side is Side.LEFT


@pytest.mark.parametrize(
    ("answer", "value"), [("LA6568-5", 0), ("LA6569-3", 1), ("LA6570-1", 2), ("LA6571-9", 3)]
)
def test_self_harm_item_is_read_from_its_answer(read: ReadChart, answer: str, value: int) -> None:
    """The coded answers of PHQ-9 item 9 count 0 to 3."""
    (fact,) = read(observation("44260-8", valueCodeableConcept=concept(LOINC, answer))).observations
    assert fact.value == value


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ("Not at all", 0),
        ("Several days", 1),
        (" more than half the days ", 2),
        ("Nearly every day", 3),
        ("1 - Several days", 1),
        ("0-->not at all", 0),
        ("3 (nearly every day)", 3),
    ],
)
def test_self_harm_item_answered_in_the_words_of_its_form_is_read(
    read: ReadChart, answer: str, points: int
) -> None:
    """An EHR that sends the words of the form and no LOINC answer means what the form means."""
    for value in (
        {"valueString": answer},
        {"valueCodeableConcept": {"text": answer}},
        {"valueCodeableConcept": {**concept("urn:oid:1.2.3", "77"), "text": answer}},
    ):
        (fact,) = read(observation("44260-8", **value)).observations
        assert fact.value == points


@pytest.mark.parametrize("answer", ["sometimes", "several days or more", "4 - always", "1 or 2"])
def test_self_harm_item_in_other_words_is_set_aside_and_said(read: ReadChart, answer: str) -> None:
    """Nothing is guessed from other words, and no number beyond the form counts."""
    chart = read(observation("44260-8", valueString=answer))
    assert not chart.observations
    assert len(chart.set_aside) == 1


def test_answers_are_named_by_our_value_sets(read: ReadChart) -> None:
    """Known answers by concept, unknown ones as another answer, booleans as present or absent."""
    smoker = observation("72166-2", valueCodeableConcept=concept(SNOMED, "449868002"))
    assert read(smoker).observations[0].choice == {"smoker"}
    pregnant = observation("82810-3", valueCodeableConcept=concept(LOINC, "LA15173-0"))
    assert read(pregnant).observations[0].choice == {"pregnancy"}
    unknown = observation("82810-3", valueCodeableConcept=concept(LOINC, "LA4489-6"))
    assert read(unknown).observations[0].choice == {"answer-other"}
    yes = observation("surgeon-clearance-pt", LOCAL, valueBoolean=True)
    assert read(yes).observations[0].choice == {"answer-present"}


@pytest.mark.parametrize("status", ["preliminary", "registered", "cancelled", "unknown", ""])
def test_result_that_is_not_final_is_no_fact(read: ReadChart, status: str) -> None:
    """Only final, amended and corrected results count."""
    chart = read(observation("1988-5", status=status, **quantity(50, "mg/L")))
    assert chart.observations == ()


@pytest.mark.parametrize(
    ("status", "state", "why"),
    [
        (None, State.PARTIAL, reasons.UNREADABLE),
        ("F", State.PARTIAL, reasons.UNREADABLE),
        ("preliminary", State.SUPPLIED, reasons.NOT_FINAL),
        ("unknown", State.SUPPLIED, reasons.NOT_FINAL),
        ("entered-in-error", State.SUPPLIED, reasons.ENTERED_IN_ERROR),
    ],
)
def test_saddle_numbness_without_a_known_status_is_not_taken_as_none(
    read: ReadChart, status: str | None, state: State, why: str
) -> None:
    """It may be final; a status that says it is not leaves no gap."""
    answer = concept(LOCAL, "absent")
    numb = observation("saddle-sensation", LOCAL, status=status, valueCodeableConcept=answer)
    chart = read(numb)
    assert chart.observations == ()
    assert chart.failed_keys == ({Key.FINDINGS} if state is State.PARTIAL else set())
    assert [found.reason for found in chart.set_aside] == [why]


@pytest.mark.parametrize("status", ["final", "amended", "corrected", " Final "])
def test_final_result_counts_however_it_is_spelt(read: ReadChart, status: str) -> None:
    """Blanks and capitals do not hide a final result."""
    assert len(read(observation("1988-5", status=status, **quantity(5, "mg/L"))).observations) == 1


def test_issued_stands_in_for_a_missing_date(read: ReadChart) -> None:
    """A value with only an issue date is dated by it; one without any stays undated."""
    issued = observation("72514-3", valueInteger=3, issued="2026-10-02T08:00:00Z")
    del issued["effectiveDateTime"]
    (fact,) = read(issued).observations
    assert fact.effective is not None
    assert fact.effective.earliest.isoformat() == "2026-10-02"
    del issued["issued"]
    assert read(issued).observations[0].effective is None


RETENTION = concept(SNOMED, "267064002")
SADDLE = concept(LOCAL, "saddle-sensation")
HL7_YES_NO = "http://terminology.hl7.org/CodeSystem/v2-0532"
HL7_V2_0136 = "http://terminology.hl7.org/CodeSystem/v2-0136"


def displayed(code: str, display: str) -> Resource:
    """Return an answer under a hospital's own code, with what it is called."""
    return {"coding": [{"system": "urn:oid:1.2.3", "code": code, "display": display}]}


@pytest.mark.parametrize(
    ("code", "answer", "choice"),
    [
        (RETENTION, {"valueCodeableConcept": concept(SNOMED, "373066001")}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": concept(LOINC, "LA33-6")}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": concept(SNOMED, "52101004")}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": concept(SNOMED, "2667000")}, "answer-absent"),
        (RETENTION, {"valueCodeableConcept": {"text": " Yes "}}, "answer-present"),
        (RETENTION, {"valueString": "present"}, "answer-present"),
        (RETENTION, {"valueInteger": 1}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": concept(SNOMED, "373067005")}, "answer-no"),
        (RETENTION, {"valueCodeableConcept": concept(LOINC, "LA32-8")}, "answer-no"),
        (RETENTION, {"valueString": "None"}, "answer-no"),
        (RETENTION, {"valueCodeableConcept": concept(HL7_YES_NO, "Y")}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": concept(HL7_V2_0136, "N")}, "answer-no"),
        (RETENTION, {"valueCodeableConcept": displayed("1", "Yes")}, "answer-present"),
        (RETENTION, {"valueCodeableConcept": displayed("2", "No")}, "answer-no"),
        (SADDLE, {"valueCodeableConcept": displayed("7", "Reduced")}, "answer-reduced"),
        (RETENTION, {"valueQuantity": {"value": 0}}, "answer-no"),
        (SADDLE, {"valueString": "absent"}, "answer-absent"),
        (SADDLE, {"valueCodeableConcept": {"text": "Reduced"}}, "answer-reduced"),
        (SADDLE, {"valueCodeableConcept": {"text": "normal"}}, "answer-normal"),
    ],
)
def test_finding_is_there_or_not_however_it_is_answered(
    read: ReadChart, code: Resource, answer: Resource, choice: str
) -> None:
    """Retention answered "yes" in code or word is retention; answered "no" it is none."""
    (fact,) = read(observation("x", code=code, **answer)).observations
    assert fact.choice == {choice}


@pytest.mark.parametrize(
    "answer",
    [
        {"valueCodeableConcept": concept("urn:oid:1.2.3", "Y")},
        {"valueCodeableConcept": concept(HL7_YES_NO, "UNK", "unknown")},
        {"valueCodeableConcept": displayed("3", "Yes") | {"text": "No"}},
        {"valueString": "since yesterday"},
        {"dataAbsentReason": {"text": "not asked"}},
    ],
)
def test_finding_with_an_answer_nobody_reads_is_neither(read: ReadChart, answer: Resource) -> None:
    """A finding nobody asked about, or answered in a hospital's own code, is said to be unread."""
    chart = read(observation("x", code=RETENTION, **answer))
    assert chart.observations == ()
    assert [item.reason for item in chart.set_aside] == [reasons.ANSWER_NOT_READ]


@pytest.mark.parametrize(
    ("code", "answer", "state"),
    [
        (RETENTION, {"valueString": "since yesterday"}, State.PARTIAL),
        (SADDLE, {"valueCodeableConcept": concept("urn:oid:1.2.3", "Y")}, State.PARTIAL),
        (SADDLE, {}, State.PARTIAL),
        (SADDLE, {"interpretation": [concept(SNOMED, "263654008")]}, State.PARTIAL),
        (SADDLE, {"dataAbsentReason": {"text": "not examined"}}, State.SUPPLIED),
        (concept(LOCAL, "anal-tone"), {}, State.PARTIAL),
        (RETENTION, {}, State.SUPPLIED),
        (RETENTION, {"dataAbsentReason": {"text": "not asked"}}, State.SUPPLIED),
        (concept(SNOMED, "44077006"), {"valueString": "left big toe"}, State.SUPPLIED),
        (concept(SNOMED, "6077001"), {"valueString": "slightly"}, State.PARTIAL),
        (concept(SNOMED, "60389000"), {"valueString": "incomplete"}, State.PARTIAL),
        (concept(LOCAL, "mrc-grade"), {"valueString": "weak"}, State.PARTIAL),
        (concept(LOCAL, "mrc-grade"), {"dataAbsentReason": {"text": "tired"}}, State.SUPPLIED),
    ],
)
def test_unread_answer_to_a_sign_of_an_emergency_is_a_gap(
    read: ReadChart, code: Resource, answer: Resource, state: State
) -> None:
    """It may be the emergency, so the service is not silent; others are only set aside."""
    chart = read(observation("x", code=code, **answer))
    assert chart.failed_keys == ({Key.FINDINGS} if state is State.PARTIAL else set())


@pytest.mark.parametrize("keys", [(Key.SCORES,), (Key.FINDINGS,), (Key.SCORES, Key.FINDINGS)])
def test_observation_nobody_can_read_is_missed_where_it_belongs(
    read: ReadChart, keys: tuple[str, ...]
) -> None:
    """A server that passes over ``code=`` answers both searches with all it has."""
    numb = observation("saddle-sensation", LOCAL, valueString="see the note")
    score = observation("72514-3", id="o2", status="F", valueInteger=7)
    for entry, missed in ((numb, Key.FINDINGS), (score, Key.SCORES)):
        chart = read(raw={key: (json.dumps(entry).encode(),) for key in keys})
        assert chart.failed_keys == {missed}


@pytest.mark.parametrize("code", UNREADABLE_CODES)
def test_observation_of_no_kind_may_be_an_emergency(read: ReadChart, code: object) -> None:
    """The search asked for findings by their codes, so it is one of them; nobody was told."""
    numb = observation("saddle-sensation", LOCAL, valueString="reduced")
    assert read({**numb, "code": code}).failed_keys == {Key.SCORES, Key.FINDINGS}
    assert not read({**numb, "code": code, "status": "entered-in-error"}).failed_keys


def test_finding_without_any_answer_is_recorded(read: ReadChart) -> None:
    """Who writes down "retention of urine" and no more has found it."""
    (fact,) = read(observation("x", code=RETENTION)).observations
    assert fact.choice == frozenset()
