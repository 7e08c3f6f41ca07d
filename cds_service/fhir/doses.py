"""The daily morphine equivalent of a plainly written opioid dose.

Anything that is not plain - tablets of an unknown strength, free text, a dose without a frequency -
gives None, which the core reads as "not known".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from cds_service.fhir import wire
from cds_service.fhir.coding import rxnorm_codes
from cds_service.fhir.reader import plain_word
from cds_service.knowledge.model import RXNORM, Knowledge

_LARGEST = Decimal(1_000_000)
_SMALLEST = Decimal("0.0001")
_HOURS = {
    "min": Decimal(1) / 60,
    "h": Decimal(1),
    "d": Decimal(24),
    "wk": Decimal(168),
    "mo": Decimal(720),
}
_IN_HOURS = {
    **_HOURS,
    **dict.fromkeys(("hour", "hours"), _HOURS["h"]),
    **dict.fromkeys(("day", "days"), _HOURS["d"]),
    **dict.fromkeys(("week", "weeks"), _HOURS["wk"]),
    **dict.fromkeys(("month", "months"), _HOURS["mo"]),
}
"""How many hours a unit of time has, by its code or in words."""
_TIMES_A_DAY = {
    "QOD": Decimal("0.5"),
    "EVERY OTHER DAY": Decimal("0.5"),
    **dict.fromkeys(("QD", "DAILY", "AM", "PM", "BED", "ONCE DAILY", "EVERY DAY"), Decimal(1)),
    **dict.fromkeys(("NIGHTLY", "EVERY MORNING", "EVERY EVENING", "AT BEDTIME"), Decimal(1)),
    **dict.fromkeys(("OD", "OM", "ON", "MANE", "NOCTE"), Decimal(1)),
    **dict.fromkeys(("BD", "BID", "TWICE DAILY", "TWICE A DAY"), Decimal(2)),
    **dict.fromkeys(("TDS", "TID", "THREE TIMES DAILY", "THREE TIMES A DAY"), Decimal(3)),
    **dict.fromkeys(("QDS", "QID", "FOUR TIMES DAILY", "FOUR TIMES A DAY"), Decimal(4)),
}
_SO_MANY_TIMES = re.compile(r"([1-9]) ?(?:TIMES|X) ?(?:DAILY|A DAY|PER DAY|/ ?DAY)", re.ASCII)
_EVERY_HOURS = re.compile(
    r"(?:Q|EVERY ) ?([1-9][0-9]?)( ?(?:-|TO) ?[1-9][0-9]?)? ?(?:H|HRS?|HOURS?)", re.ASCII
)
"""How often in hours, as codes ("Q6H") and people ("q6hr", "every 4-6 hours") write it."""
_IF_NEEDED = re.compile(r"[ ,(]+(?:PRN|AS NEEDED)\)?\Z", re.ASCII)
_LONGEST_WORDS = 60
"""Characters of a schedule in words; anything longer says more than how often."""
_AT_MEALS = frozenset({"C", "AC", "PC"})
_UCUM = "http://unitsofmeasure.org"
_MILLIGRAMS = frozenset({"mg", "milligram", "milligrams"})
_PATCH_UNITS = frozenset(
    {
        *("ug/h", "mcg/h", "ug/hr", "mcg/hr", "microgram/h", "micrograms/h"),
        *("microgram/hour", "micrograms/hour", "microgram per hour", "micrograms per hour"),
    }
)
_TABLETS = frozenset(
    {
        *("{tbl}", "{tablet}", "{tablets}", "{tab}", "tablet", "tablets", "tablet(s)", "tab"),
        *("tabs", "tab(s)", "{capsule}", "{capsules}", "{cap}", "capsule", "capsules"),
        *("capsule(s)", "cap", "caps", "cap(s)"),
    }
)
"""Units of a dose that is counted in pieces, in small letters."""
_PATCH_INGREDIENT = "4337"
"""Fentanyl in RxNorm: its factor is for micrograms an hour through the skin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What one milligram (or microgram an hour) of an ingredient counts.

    Units:
        ``tablet`` is milligrams of it in one tablet or capsule, None if that is not known.
        ``takes_milligrams``: a dose in milligrams can only mean this ingredient.
    """

    value: Decimal
    is_per_hour: bool
    takes_milligrams: bool = True
    tablet: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyDose:
    """Morphine milligram equivalents a day; ``is_maximum`` for ranges and as-needed doses."""

    per_day: Decimal
    is_maximum: bool


def factor(concepts: Iterable[wire.CodeableConcept], knowledge: Knowledge) -> Factor | None:
    """Return the factor of the one opioid ingredient that *concepts* name; None for several.

    None for an injection too: the factors are for what is swallowed, and for the patch.
    """
    codes = rxnorm_codes(concepts)
    drugs = [knowledge.clinical_drugs[code] for code in codes if code in knowledge.clinical_drugs]
    ingredients = {code for code in codes if (RXNORM, code) in knowledge.by_code}
    ingredients -= knowledge.clinical_drugs.keys()
    ingredients.update(*(drug.ingredients for drug in drugs))
    known = ingredients & knowledge.mme_factors.keys()
    if len(known) != 1 or any(drug.is_injected for drug in drugs):
        return None
    (opioid,) = known
    strengths = {drug.strength for drug in drugs}
    return Factor(
        value=knowledge.mme_factors[opioid],
        is_per_hour=opioid == _PATCH_INGREDIENT,
        takes_milligrams=len(ingredients) == 1 and all(drug.is_one for drug in drugs),
        tablet=strengths.pop() if len(strengths) == 1 else None,
    )


def morphine_equivalent(
    found: Factor | None, instructions: tuple[wire.Dosage, ...]
) -> DailyDose | None:
    """Return the daily equivalent of all *instructions*; None if one of them is not plain.

    Instructions of one sequence number are taken together, those of different numbers one after
    the other: then the highest counts.  A million milligrams a day are a slip of the pen: None.
    """
    if found is None or not instructions:
        return None
    by_sequence: dict[Decimal | None, Decimal] = {}
    is_maximum = False
    for instruction in instructions:
        dose = _instruction(found, instruction)
        sequence = instruction.sequence
        if dose is None or (sequence is not None and not sequence.is_finite()):
            return None
        before = by_sequence.get(sequence, Decimal(0))
        by_sequence[sequence] = before + dose.per_day
        is_maximum = is_maximum or dose.is_maximum
    per_day = max(by_sequence.values())
    if not _is_usable(per_day):
        return None
    return DailyDose(per_day=per_day, is_maximum=is_maximum or len(by_sequence) > 1)


def _instruction(found: Factor, instruction: wire.Dosage) -> DailyDose | None:
    """Return what one instruction says, or the most it allows a day where that is less."""
    if instruction.modifier_extension:
        return None
    written = _written(found, instruction)
    most = None if found.is_per_hour else _most_a_day(found, instruction.max_dose_per_period)
    if most is None:
        return written
    allowed = DailyDose(per_day=most * found.value, is_maximum=True)
    return written if written is not None and written.per_day <= allowed.per_day else allowed


def _most_a_day(found: Factor, ratio: wire.Ratio | None) -> Decimal | None:
    if ratio is None or ratio.denominator is None:
        return None
    most = _milligrams(found, ratio.numerator)
    hours = hours_of(ratio.denominator)
    return None if most is None or hours is None else most * 24 / hours


def hours_of(duration: wire.Quantity | None) -> Decimal | None:
    """Return how many hours *duration* has; None for one that nobody means."""
    if duration is None or duration.value is None or not _is_usable(duration.value):
        return None
    hours = _IN_HOURS.get(plain_word(duration.code or duration.unit))
    return None if hours is None else duration.value * hours


def _written(found: Factor, instruction: wire.Dosage) -> DailyDose | None:
    """Return the dose; one said in several ways (ordered, calculated) counts once, the highest."""
    said = [_amount(found, instruction, amount) for amount in instruction.dose_and_rate]
    known = [dose for dose in said if dose is not None]
    if not known:
        return None
    highest = max(known, key=lambda dose: dose.per_day)
    is_one = all(dose.per_day == highest.per_day for dose in known)
    return highest if is_one else replace(highest, is_maximum=True)


def _amount(found: Factor, instruction: wire.Dosage, amount: wire.DoseAndRate) -> DailyDose | None:
    quantity, is_range = amount.dose_quantity, False
    if quantity is None and amount.dose_range is not None:
        quantity, is_range = amount.dose_range.high, True
    if found.is_per_hour:
        quantity = amount.rate_quantity or quantity
        per_day = _number(quantity, _PATCH_UNITS)
    else:
        per_day = _milligrams_a_day(found, quantity, instruction.timing)
    if per_day is None:
        return None
    is_as_needed = (
        instruction.as_needed_boolean is True
        or instruction.as_needed is True
        or instruction.as_needed_codeable_concept is not None
        or bool(instruction.as_needed_for)
        or any(map(_IF_NEEDED.search, _said(instruction.timing)))
    )
    is_varying = _has_frequency_range(instruction.timing)
    return DailyDose(
        per_day=per_day * found.value, is_maximum=is_range or is_as_needed or is_varying
    )


def _milligrams_a_day(
    found: Factor, quantity: wire.Amount | None, timing: wire.Timing | None
) -> Decimal | None:
    milligrams = _milligrams(found, quantity)
    times = _times_a_day(timing)
    return None if milligrams is None or times is None else milligrams * times


def _milligrams(found: Factor, quantity: wire.Amount | None) -> Decimal | None:
    """Return the milligrams of the opioid in a dose of milligrams, tablets or capsules."""
    tablets = _number(quantity, _TABLETS)
    if tablets is not None:
        return None if found.tablet is None else tablets * found.tablet
    return _number(quantity, _MILLIGRAMS) if found.takes_milligrams else None


def _number(quantity: wire.Amount | None, accepted: frozenset[str]) -> Decimal | None:
    if quantity is None or _unit(quantity) not in accepted:
        return None
    return quantity.value if _is_usable(quantity.value) else None


def _unit(quantity: wire.Amount) -> str:
    """Return the unit: its UCUM code, or its words where the code is of another list."""
    is_ucum = plain_word(quantity.system) in {"", _UCUM}
    return (plain_word(quantity.code) if is_ucum else "") or plain_word(quantity.unit)


def _is_usable(value: Decimal | None) -> bool:
    return value is not None and value.is_finite() and _SMALLEST < value < _LARGEST


def _times_a_day(timing: wire.Timing | None) -> Decimal | None:
    """Return how often a day; a code or words for that say it whole, whatever stands beside them.

    Some records write "once a day" beside every schedule: with words nobody can read it is none.
    """
    if timing is None:
        return None
    words = _schedule(timing)
    worded = max(filter(None, map(_worded_times, words)), default=None)
    if worded is not None:
        return worded
    times = _structured_times(timing.repeat)
    return None if words and times == 1 else times


def _structured_times(repeat: wire.Repeat | None) -> Decimal | None:
    if repeat is None:
        return None
    if repeat.period is not None or repeat.frequency is not None:
        return _repeated(repeat)
    return _moments(repeat)


def _moments(repeat: wire.Repeat) -> Decimal | None:
    """Return how many moments of the day are named, by their name or by the clock.

    "At meals" is one name for as many moments as there are meals: nobody knows how many.
    """
    if not _AT_MEALS.isdisjoint(repeat.when):
        return None
    return Decimal(len(repeat.when or repeat.time_of_day)) or None


def _schedule(timing: wire.Timing) -> frozenset[str]:
    """Return what code and words of a timing say, without "as needed"."""
    return frozenset(_IF_NEEDED.sub("", word) for word in _said(timing))


def _said(timing: wire.Timing | None) -> list[str]:
    """Return code and words of a timing, in capitals."""
    if timing is None or timing.code is None:
        return []
    said = (*(coding.code for coding in timing.code.coding), timing.code.text)
    plain = [" ".join(word.upper().split()) for word in said if word]
    return [word for word in plain if 0 < len(word) <= _LONGEST_WORDS]


def _worded_times(word: str) -> Decimal | None:
    every, times = _EVERY_HOURS.fullmatch(word), _SO_MANY_TIMES.fullmatch(word)
    if every:
        return Decimal(24) / Decimal(every[1])
    return Decimal(times[1]) if times else _TIMES_A_DAY.get(word)


def _repeated(repeat: wire.Repeat) -> Decimal | None:
    """Return times a day of "so often every so long"; without a stated period it is not plain."""
    times = repeat.frequency if repeat.frequency_max is None else repeat.frequency_max
    if times is None:
        times = _moments(repeat) if repeat.when or repeat.time_of_day else Decimal(1)
    hours = _HOURS.get((repeat.period_unit or "").strip())
    if times is None or hours is None or repeat.period is None:
        return None
    if not _is_usable(times) or not _is_usable(repeat.period):
        return None
    return times * 24 / (repeat.period * hours)


def _has_frequency_range(timing: wire.Timing | None) -> bool:
    if timing is None:
        return False
    hours = map(_EVERY_HOURS.fullmatch, _schedule(timing))
    if any(every is not None and every[2] for every in hours):
        return True
    repeat = timing.repeat or wire.Repeat()
    return repeat.frequency_max is not None or repeat.period_max is not None
