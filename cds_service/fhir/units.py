"""Which numbers are possible for a measurement, and how its units become the one the core uses.

Only the conversions the clinical pages list are made, exactly, in decimals; another unit is not
guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from msgspec import Struct

from cds_service.fhir import reasons
from cds_service.fhir.wire import Quantity


class Measured(Struct, frozen=True, kw_only=True):
    """A number in the unit of the core; ``converted_from`` is the original if it was converted."""

    value: Decimal
    converted_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The possible values of one concept, and its units.

    ``conversions`` maps a unit, as :func:`_plain` spells it, to the words for the original and the
    change to make.
    """

    low: Decimal
    high: Decimal
    units: frozenset[str]
    conversions: Mapping[str, tuple[str, Callable[[Decimal], Decimal]]]
    accepts_no_unit: bool


_LARGEST = Decimal(1_000_000_000)
_MOST_DECIMALS = 30
"""Places behind the point; written out, ``1e-2000000000`` would fill the memory."""
_BOUNDS: Mapping[str, Decimal] = {"<": Decimal("-0.001"), ">": Decimal("0.001")}
"""What a value sent as a limit adds: less than 30 is below 30; cards print two decimals."""
_ML_PER_MINUTE = "ml/min"
_CELSIUS, _IN_FAHRENHEIT = "celsius", "fahrenheit"
"""Whatever the degrees before the name are called: degrees, Grad, grados, gradi."""
_SCORE_UNITS = frozenset(
    {
        *("{score}", "score", "1", "{points}", "points", "{#}", "{number}"),
        *("point", "pts", "pt", "unitless", "nounits", "punkt", "punkte", "punti", "puntos"),
        *("pontos", "puan", "poin", "\u70b9", "\u9ede", "\uc810", "\u5206"),
        *("\u0431\u0430\u043b\u043b", "\u0431\u0430\u043b\u043b\u043e\u0432"),
    }
)
"""Points, also as charts of other languages count them: puan, poin, and the signs for it."""
_PAIN_UNITS = _SCORE_UNITS | {
    *("/10", "{0-10}", "{0-10}/10", "{nrs}", "{rating}", "{scale}", "cm"),
    *("outof10", "of10", "0-10", "nrs", "painscore", "{painscore}"),
}


def _score(low: int, high: int, *units: str) -> Scale:
    return Scale(
        low=Decimal(low),
        high=Decimal(high),
        units=_SCORE_UNITS | frozenset(units) | {f"/{high}"},
        conversions={},
        accepts_no_unit=True,
    )


def _celsius(fahrenheit: Decimal) -> Decimal:
    """Return degrees Celsius; cut, not rounded, so that no value is lifted over a boundary."""
    return ((fahrenheit - 32) * 5 / 9).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)


def _tenth(value: Decimal) -> Decimal:
    return value / 10


def _tenfold(value: Decimal) -> Decimal:
    return value * 10


def _lab(
    low: int,
    high: int,
    units: frozenset[str],
    conversions: Mapping[str, tuple[str, Callable[[Decimal], Decimal]]] | None = None,
    *,
    accepts_no_unit: bool = False,
) -> Scale:
    return Scale(
        low=Decimal(low),
        high=Decimal(high),
        units=units,
        conversions=conversions or {},
        accepts_no_unit=accepts_no_unit,
    )


_FAHRENHEIT = ("\N{DEGREE SIGN}F", _celsius)
_PAIN = Scale(
    low=Decimal(0), high=Decimal(10), units=_PAIN_UNITS, conversions={}, accepts_no_unit=True
)
SCALES: Mapping[str, Scale] = {
    "pain-score": _PAIN,
    "pain-vas": _PAIN,
    "odi": _score(0, 100, "%", "{percent}", "percent"),
    "phq9": _score(0, 27),
    "phq9-item9": _score(0, 3),
    "gad7": _score(0, 21),
    "dn4": _score(0, 10),
    "paindetect": _score(-1, 38),
    "lanss": _score(0, 24),
    "pcs": _score(0, 52),
    "mrc-grade": _score(0, 5, "{mrc}"),
    "sij-tests": _score(0, 5),
    "crp": _lab(0, 1000, frozenset({"mg/l", "ug/ml", "mcg/ml"}), {"mg/dl": ("mg/dL", _tenfold)}),
    "esr": _lab(0, 300, frozenset({"mm/h", "mm/hr", "mm/hour", "mm/1h", "mm/(1.h)"})),
    "wbc": _lab(
        0,
        1000,
        frozenset(
            {
                "10*9/l",
                "10*3/ul",
                "10*3/mm3",
                "10*3/mm*3",
                "k/ul",
                "thou/ul",
                "thousand/ul",
                "x10*3/ul",
                "x10*9/l",
                "x10e3/ul",
                "x10e9/l",
                "10e3/ul",
                "10e9/l",
                "k/mm3",
                "/nl",
                "g/l",  # giga, not grams
                "giga/l",
                "gpt/l",
                "tsd/ul",
                "tsd./ul",
                "thou/mm3",
                "thousand/mm3",
            }
        ),
    ),
    "temperature": _lab(
        20,
        46,
        frozenset(
            {
                "cel",
                "c",
                "degc",
                "\N{DEGREE SIGN}c",
                "degreec",
                "degreesc",
                "gradc",
                "grc",
                "oc",
                "c\N{DEGREE SIGN}",
                "\N{DEGREE SIGN}",  # a person has no temperature of 20 to 46 degrees Fahrenheit
                "\u5ea6",
                "\ub3c4",
                _CELSIUS,
            }
        ),
        dict.fromkeys(
            (
                "[degf]",
                "degf",
                "f",
                "\N{DEGREE SIGN}f",
                "degreef",
                "degreesf",
                _IN_FAHRENHEIT,
            ),
            _FAHRENHEIT,
        ),
    ),
    "egfr": _lab(
        0,
        300,
        frozenset({_ML_PER_MINUTE}),
        accepts_no_unit=True,  # it has no other unit, and its codes say it
    ),
    "pvr": Scale(
        low=Decimal(0),
        high=Decimal(10_000),
        units=frozenset({"ml", "cc", "cm3", "cm*3"}),
        conversions={},
        accepts_no_unit=True,  # the code itself says millilitres
    ),
}
"""The scale of each numeric concept; concepts not listed here carry no number."""

_VAS_MILLIMETRES = "mm"
_VAS_TOP_IN_CENTIMETRES = Decimal(10)
_VAS_TOP = Decimal(100)


def measured(concept: str, quantity: Quantity) -> Measured | str:
    """Return *quantity* in the unit of *concept*, or the reason it cannot be read."""
    scale = SCALES[concept]
    value = quantity.value
    if value is None or not value.is_finite():
        return reasons.NO_VALUE
    if not -_LARGEST <= value <= _LARGEST or _decimals(value) > _MOST_DECIMALS:
        return reasons.OUT_OF_RANGE
    if concept == "pain-vas":
        result = _visual_analogue(value, quantity)
    else:
        result = _in_scale_unit(scale, value, quantity)
    if isinstance(result, Measured):
        result = _bounded(result, quantity)
    if isinstance(result, str) or scale.low <= result.value <= scale.high:
        return result
    return reasons.OUT_OF_RANGE


def _bounded(found: Measured, quantity: Quantity) -> Measured:
    """Return the number on the side of a limit that the true one lies on."""
    comparator = (quantity.comparator or "").strip()
    if comparator not in _BOUNDS:
        return found
    original = found.converted_from or f"{quantity.value:f}"
    return Measured(
        value=found.value + _BOUNDS[comparator], converted_from=f"{comparator} {original}"
    )


def _decimals(value: Decimal) -> int:
    return -int(value.as_tuple().exponent)


def _in_scale_unit(scale: Scale, value: Decimal, quantity: Quantity) -> Measured | str:
    is_bare = True
    for unit in _units(quantity):
        if unit in scale.units:
            return Measured(value=value)
        if unit in scale.conversions:
            shown, change = scale.conversions[unit]
            return Measured(value=change(value), converted_from=f"{value:f} {shown}")
        is_bare = False
    return Measured(value=value) if is_bare and scale.accepts_no_unit else reasons.UNIT_NOT_READ


def _visual_analogue(value: Decimal, quantity: Quantity) -> Measured | str:
    """Read a visual analogue scale.

    Units:
        Centimetres and "out of 10" as they are, millimetres and "out of 100" divided by ten.
        Without a unit a value above ten can only be millimetres; a smaller one could be either and
        is not read.
    """
    units = tuple(_units(quantity))
    if any(unit in {_VAS_MILLIMETRES, "/100", "{0-100}", "%"} for unit in units):
        return Measured(value=_tenth(value), converted_from=f"{value:f} mm")
    if any(unit in _PAIN_UNITS - _SCORE_UNITS for unit in units):
        return Measured(value=value)
    if units and not any(unit in _SCORE_UNITS for unit in units):
        return reasons.UNIT_NOT_READ
    if _VAS_TOP_IN_CENTIMETRES < value <= _VAS_TOP:
        return Measured(value=_tenth(value), converted_from=f"{value:f} mm")
    return Measured(value=value) if value == 0 else reasons.UNIT_NOT_READ


def _units(quantity: Quantity) -> Iterator[str]:
    """Yield the unit code and the unit words, plainly spelt, where stated."""
    for text in (quantity.code, quantity.unit):
        unit = _plain(text) if text else ""
        if unit:
            yield unit


_PLAIN_SIGNS = str.maketrans(
    {
        "\N{MICRO SIGN}": "u",
        "\N{GREEK SMALL LETTER MU}": "u",
        "^": "*",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{SUPERSCRIPT TWO}": "*2",
        "\N{SUPERSCRIPT THREE}": "*3",
        "\N{SUPERSCRIPT NINE}": "*9",
        "\N{MASCULINE ORDINAL INDICATOR}": "\N{DEGREE SIGN}",
        "\N{DEGREE CELSIUS}": "\N{DEGREE SIGN}c",
        "\N{DEGREE FAHRENHEIT}": "\N{DEGREE SIGN}f",
    }
)


_SAME_UNITS = {
    "millilitres": "ml",
    "millilitre": "ml",
    "milliliters": "ml",
    "milliliter": "ml",
    "mls": "ml",
    "ml/minper": "ml/min/",
    "mcl": "ul",
    "deg.": "deg",
    "celcius": "celsius",
    "centigrade": "celsius",
    "cumm": "mm3",
    "cmm": "mm3",
    "10(3)": "10*3",
    "10(9)": "10*9",
    "10x3": "10*3",
    "10x9": "10*9",
}
"""Spellings of the same unit, as laboratories print them."""


def _plain(text: str) -> str:
    plain = "".join(text.lower().split()).translate(_PLAIN_SIGNS)
    for printed, written in _SAME_UNITS.items():
        plain = plain.replace(printed, written)
    if plain.startswith(f"{_ML_PER_MINUTE}/"):  # always 1.73 m2 of skin, in countless spellings
        return _ML_PER_MINUTE
    if plain.endswith((_CELSIUS, _IN_FAHRENHEIT)):
        return _CELSIUS if plain.endswith(_CELSIUS) else _IN_FAHRENHEIT
    return plain
