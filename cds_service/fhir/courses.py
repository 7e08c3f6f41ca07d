"""From which day until which day a prescription holds, as far as it says so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from cds_service.fhir import wire
from cds_service.fhir.doses import hours_of
from cds_service.fhir.reader import Entry, Reader
from cds_service.values import FhirDate

_LONGEST_DAYS = 3660
"""A prescription that is said to last for longer does not say how long it lasts."""


def started(reader: Reader, entry: Entry, found: wire.Drug) -> FhirDate | None:
    """Return the day an order was written, or a stated drug was begun."""
    if entry.kind == "MedicationRequest":
        return reader.date(found.authored_on)
    period = found.effective_period
    return reader.date(found.effective_date_time, period.start if period else None)


def begins(reader: Reader, found: wire.Drug, written: FhirDate | None) -> FhirDate | None:
    """Return the day from which a prescription *written* on a day holds.

    Several are written on one day, each for another month.
    """
    dispense = found.dispense_request
    validity = dispense.validity_period if dispense is not None else None
    stated = reader.date(validity.start if validity else None) or _dosed_from(reader, found)
    return max((day for day in (written, stated) if day is not None), key=_last_day, default=None)


def ended(reader: Reader, found: wire.Drug, written: FhirDate | None) -> FhirDate | None:
    """Return the end of the validity, of the effective period, of the doses or of the supply.

    Time:
        The end may lie in the future.
    """
    dispense = found.dispense_request
    periods = (dispense.validity_period if dispense else None, found.effective_period)
    stated = reader.date(*(period.end for period in periods if period is not None))
    stated = stated or _dosed_until(reader, found, written)
    if stated is not None or dispense is None:
        return stated
    return _after(written, _supply_days(dispense))


def of_today(reader: Reader, dosages: Sequence[wire.Dosage]) -> tuple[wire.Dosage, ...]:
    """Return those of *dosages* that are not over and not to come; all if none is left."""
    return tuple(each for each in dosages if _is_of_today(reader, each)) or tuple(dosages)


def _is_of_today(reader: Reader, dosage: wire.Dosage) -> bool:
    bounds = _repeat(dosage).bounds_period or wire.Period()
    start, end = reader.date(bounds.start), reader.date(bounds.end)
    is_over = end is not None and end.latest < reader.as_of
    return not is_over and (start is None or start.earliest <= reader.as_of)


def _dosed_from(reader: Reader, found: wire.Drug) -> FhirDate | None:
    """Return the first day of the doses; None if one of them does not say when it begins."""
    bounds = (repeat.bounds_period or wire.Period() for _, repeat in _repeats(found))
    days = [reader.date(period.start) for period in bounds]
    known = [day for day in days if day is not None]
    return min(known, key=_last_day, default=None) if len(known) == len(days) else None


def _dosed_until(reader: Reader, found: wire.Drug, written: FhirDate | None) -> FhirDate | None:
    """Return the last day of the doses; None if one of them does not say when it ends.

    Doses of different sequence numbers that say only how long they last follow one another, and
    begin anew with each repeat.
    """
    ends: list[FhirDate | None] = []
    days: dict[Decimal | None, int] = {}
    for sequence, repeat in _repeats(found):
        end = reader.date(repeat.bounds_period.end if repeat.bounds_period else None)
        lasts = _days(repeat.bounds_duration or (repeat.bounds_range or wire.Range()).high)
        if end is not None:
            ends.append(end)
        elif lasts is not None:
            days[sequence] = max(days.get(sequence, 0), lasts)
        else:
            return None
    if days:
        ends.append(_after(written, _with_repeats(sum(days.values()), found.dispense_request)))
    known = [end for end in ends if end is not None]
    return max(known, key=_last_day, default=None) if len(known) == len(ends) else None


def _repeats(found: wire.Drug) -> Iterator[tuple[Decimal | None, wire.Repeat]]:
    """Yield of each dosage its sequence number and how it is repeated."""
    for dosage in (*found.dosage_instruction, *found.dosage):
        number = dosage.sequence
        is_number = number is not None and number.is_finite()
        yield number if is_number else None, _repeat(dosage)


def _repeat(dosage: wire.Dosage) -> wire.Repeat:
    timing = dosage.timing or wire.Timing()
    return timing.repeat or wire.Repeat()


def _supply_days(dispense: wire.DispenseRequest) -> int | None:
    """Return for how long the first filling and its repeats last."""
    return _with_repeats(_days(dispense.expected_supply_duration), dispense)


def _with_repeats(days: int | None, dispense: wire.DispenseRequest | None) -> int | None:
    repeats = (dispense.number_of_repeats_allowed if dispense else None) or Decimal(0)
    if days is None or not repeats.is_finite() or repeats > _LONGEST_DAYS:
        return None
    return days * (1 + int(max(repeats, Decimal(0))))


def _days(duration: wire.Quantity | None) -> int | None:
    hours = hours_of(duration)
    return None if hours is None else math.ceil(hours / 24)


def _after(day: FhirDate | None, days: int | None) -> FhirDate | None:
    if day is None or days is None or days > _LONGEST_DAYS:
        return None
    length = timedelta(days=days)
    return FhirDate(earliest=day.earliest + length, latest=day.latest + length)


def _last_day(day: FhirDate) -> tuple[object, object]:
    return day.latest, day.earliest
