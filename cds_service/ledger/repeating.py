"""Which cards are held back because they were shown lately, or because of where the patient is?

A reminder that comes at every visit is no longer read.  It belongs to a visit, not to a stay in
hospital.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta

from cds_service.chart.facts import Chart
from cds_service.evaluation.assessment import Assessment
from cds_service.evaluation.limits import Limits, limits_on
from cds_service.evaluation.rules.catalog import DATA_PAIN
from cds_service.evaluation.selection import INPATIENT, SHOWN_LATELY
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.identity import CardNames

WasShown = Callable[[str, datetime, datetime], bool]
"""Whether the card of this uuid was shown from a moment on and before another one."""
_REMINDERS: Mapping[str, str] = {DATA_PAIN: "data-again"}
"""Cards that only remind, and the threshold from which each may come again."""


def held_reminders(  # noqa: PLR0913 - what is known of one call
    assessment: Assessment,
    chart: Chart,
    names: CardNames,
    was_shown: WasShown,
    *,
    knowledge: Knowledge,
    encounter_id: str | None,
    now: datetime,
) -> dict[str, str]:
    """Return the reminders that are held back at the local moment *now*, with why in our words.

    Time:
        A reminder may come again on the same calendar day: who opens the chart twice reads it
        twice.  After that day it comes back when its threshold is met, in days from day to day.

    Missing data:
        A stay in hospital counts only where the encounter of the call is in the chart and says so.
    """
    held: dict[str, str] = {}
    for finding in assessment.findings:
        if not finding.is_met or finding.card not in _REMINDERS:
            continue
        if _is_inpatient(chart, encounter_id):
            held[finding.card] = INPATIENT
            continue
        today = datetime.combine(now.date(), time(), now.tzinfo)
        days = _held_days(limits_on(assessment.as_of, knowledge), _REMINDERS[finding.card])
        if was_shown(names(finding), today - timedelta(days=days), today):
            held[finding.card] = SHOWN_LATELY
    return held


def _held_days(limits: Limits, threshold: str) -> int:
    """Return the last number of days after which a reminder does not come again yet."""
    return limits.first_day(threshold) - 1


def _is_inpatient(chart: Chart, encounter_id: str | None) -> bool:
    reference = f"Encounter/{encounter_id}"
    return any(fact.reference == reference and fact.is_inpatient for fact in chart.encounters)
