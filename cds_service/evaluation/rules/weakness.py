"""Row 2: a new severe or progressing weakness."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.evaluation.answers import of
from cds_service.evaluation.assessment import Finding, Indicator, Note
from cds_service.evaluation.case import Case
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.rules.bladder import is_bilateral
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import Earlier, is_met, weigh
from cds_service.evaluation.rules.wording import (
    deficit_evidence,
    deficit_notes,
    deficit_references,
    deficit_words,
)


def motor_emergency(case: Case, earlier: Earlier) -> Finding:
    """RF-MOTOR: a new severe or progressing weakness.

    Missing data:
        Conditions or examination findings not completely supplied: cannot tell, unless a weakness
        that was read establishes it.
    """
    critical = sorted(case.motor.critical, key=lambda d: (d.grade, d.sort_key))
    requires = [("a new severe or progressing weakness", case.motor.any(critical))]
    finding = weigh(
        "RF-MOTOR",
        case,
        requires,
        lambda: [
            (
                "weakness of both legs is already in the cauda equina card",
                of(is_met(earlier, "RF-CES") and is_bilateral(case)),
            )
        ],
    )
    if not finding.is_met:
        return finding
    worst = critical[0]
    since = max(day for d in critical for day in (d.onset, d.progressed) if day is not None)
    finding = replace(
        finding,
        indicator=Indicator.CRITICAL,
        stands_alone=True,
        words={**deficit_words(case, worst), "dss": case.dss},
        notes=(*_progress(case, worst), *deficit_notes(case, worst)),
        evidence=deficit_evidence(case, critical),
        reason_references=deficit_references([worst]),
        reason_code="motor-paresis",
    )
    return propose_mri(finding, case, ScanWish(priority="stat", since_day=since))


def _progress(case: Case, deficit: Deficit) -> tuple[Note, ...]:
    if deficit.progressed is None:
        return ()
    return (Note(key="progressed", words={"date": case.day(deficit.progressed)}),)
