"""How old is the patient, as far as the chart says?"""

from __future__ import annotations

from datetime import date

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, of
from cds_service.evaluation.limits import Limits

_UNKNOWN = Answer(None, frozenset({Key.PATIENT}))


def is_aged(chart: Chart, limits: Limits, threshold: str) -> Answer:
    """Return whether the patient's age in completed years fires *threshold*.

    Missing data:
        Without a date of birth, or when a partial one leaves both possible, it cannot be told.
    """
    birth = chart.patient.birth
    if birth is None:
        return _UNKNOWN
    fires = limits.met(threshold, _years(birth.earliest, limits.as_of))
    if not birth.is_exact and fires != limits.met(threshold, _years(birth.latest, limits.as_of)):
        return _UNKNOWN
    return of(fires)


def _years(birth: date, as_of: date) -> int:
    """Return the age in completed years."""
    had_birthday = (as_of.month, as_of.day) >= (birth.month, birth.day)
    return as_of.year - birth.year - (not had_birthday)
