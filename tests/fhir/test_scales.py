"""A score outside its scale is a slip of the pen, not a finding."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.fhir import reasons
from cds_service.fhir.units import Measured, measured
from cds_service.fhir.wire import Quantity


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        ("pain-score", 0, 10),
        ("odi", 0, 100),
        ("phq9", 0, 27),
        ("phq9-item9", 0, 3),
        ("gad7", 0, 21),
        ("dn4", 0, 10),
        ("paindetect", -1, 38),
        ("lanss", 0, 24),
        ("pcs", 0, 52),
        ("mrc-grade", 0, 5),
        ("sij-tests", 0, 5),
    ],
)
def test_score_is_read_up_to_the_end_of_its_scale(scale: str, low: int, high: int) -> None:
    """Both ends are scores; one step beyond either is none."""
    for value in (low, high):
        assert measured(scale, Quantity(value=Decimal(value))) == Measured(value=Decimal(value))
    for value in (low - 1, high + 1):
        assert measured(scale, Quantity(value=Decimal(value))) == reasons.OUT_OF_RANGE


@pytest.mark.parametrize(
    "unit",
    [
        *("points", "pts", "Punkte", "puntos", "Puan", "\u70b9", "\uc810", "\u5206"),
        *("\u0431\u0430\u043b\u043b\u043e\u0432", "out of 10", "0-10", "NRS", "{pain score}"),
    ],
)
def test_pain_is_read_however_its_points_are_called(unit: str) -> None:
    """A pain of eight points is one in any language; the course of pain was lost."""
    assert measured("pain-score", Quantity(value=Decimal(8), unit=unit)) == Measured(
        value=Decimal(8)
    )


@pytest.mark.parametrize("unit", ["0-100", "{0-100}", "mm", "kg"])
def test_pain_on_another_scale_is_not_read_as_points(unit: str) -> None:
    """Eight of a hundred is no severe pain."""
    found = measured("pain-score", Quantity(value=Decimal(8), unit=unit))
    assert found == reasons.UNIT_NOT_READ


@pytest.mark.parametrize(
    "unit", ["10*9/L", "/nL", "G/L", "Giga/l", "Gpt/l", "Tsd/\u00b5l", "Tsd./ul"]
)
def test_white_cells_are_read_as_laboratories_of_europe_write_them(unit: str) -> None:
    """Eighteen in a nanolitre are eighteen giga in a litre: raised."""
    found = measured("wbc", Quantity(value=Decimal(18), unit=unit))
    assert found == Measured(value=Decimal(18))


@pytest.mark.parametrize(
    "unit",
    [
        *("Cel", "\u00b0C", "degree Celsius", "degrees Celsius", "Grad Celsius", "degree C"),
        *("Grad C", "oC", "deg. C", "Deg.C", "Celsius", "Celcius", "degrees Centigrade"),
        *("C\u00b0", "\u00b0", "gr C", "\u5ea6", "\ub3c4"),
        *("degr\u00e9s Celsius", "grados Celsius", "gradi Celsius", "grader Celsius"),
    ],
)
def test_fever_is_read_however_its_degrees_are_spelt(unit: str) -> None:
    """A fever of 38.6 degrees is one in words, too."""
    found = measured("temperature", Quantity(value=Decimal("38.6"), unit=unit))
    assert found == Measured(value=Decimal("38.6"))


@pytest.mark.parametrize(
    "unit",
    ["degF", "deg. F", "degree F", "degree Fahrenheit", "degrees Fahrenheit", "grados Fahrenheit"],
)
def test_degrees_fahrenheit_in_words_are_converted(unit: str) -> None:
    """A hundred and two degrees Fahrenheit are a fever."""
    found = measured("temperature", Quantity(value=Decimal(102), unit=unit))
    assert isinstance(found, Measured)
    assert found.value == Decimal("38.88")


@pytest.mark.parametrize("unit", ["mL", "mls", "millilitres", "Milliliter", "cc"])
def test_residual_urine_is_read_however_its_millilitres_are_spelt(unit: str) -> None:
    """A residual of 450 is an alarm in every hospital."""
    found = measured("pvr", Quantity(value=Decimal(450), unit=unit))
    assert found == Measured(value=Decimal(450))


@pytest.mark.parametrize(
    "unit", ["mL/min/1.73m2", "ml/min/1,73 m\u00b2", "mls/min/1.73m2", "mL/min per 1.73 m2"]
)
def test_kidney_function_is_read_however_its_unit_is_spelt(unit: str) -> None:
    """A rate of 22 is a caution for contrast in every hospital."""
    found = measured("egfr", Quantity(value=Decimal(22), unit=unit))
    assert found == Measured(value=Decimal(22))
