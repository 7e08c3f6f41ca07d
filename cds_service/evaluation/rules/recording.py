"""Row 34: pain was not measured when it should have been."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.evaluation.answers import Answer, any_of, of
from cds_service.evaluation.assessment import Finding
from cds_service.evaluation.case import Case
from cds_service.evaluation.pain import Course, Driver
from cds_service.evaluation.rules.weighing import Earlier, weigh


def _is_asked_now(case: Case) -> Answer:
    """Return whether today lies in a window in which a score is expected."""
    return any_of(
        (
            case.at("data-window-early-first") & case.at("data-window-early-last"),
            case.at("data-window-late-first") & case.at("data-window-late-last"),
            case.has_pain_diagnosis
            & case.at("data-window-early-first")
            & case.at("data-window-diagnosis-last"),
        )
    )


def _were_all_low(case: Case) -> bool:
    """Return whether scores exist and the last one of every scored site was low."""
    scored = [
        site
        for driver, site in case.pain.sites.items()
        if driver is not Driver.ODI and site.is_scored
    ]
    return bool(scored) and all(
        case.limits.met("pain-low", site.series[-1].value) for site in scored
    )


def missing_score(case: Case, earlier: Earlier) -> Finding:
    """DATA-PAIN: no score that allows a judgement, in a window where one is expected.

    Missing data:
        Scores not completely supplied: cannot tell; a score that could not be read is no missing
        score.
    """
    del earlier
    requires = [
        ("no scores that show a course", case.pain.is_course(Course.INSUFFICIENT)),
        (f"{case.dss} days since surgery is in a window for measuring", _is_asked_now(case)),
    ]
    finding = weigh(
        "DATA-PAIN", case, requires, lambda: [("the last scores were low", of(_were_all_low(case)))]
    )
    if not finding.is_met:
        return finding
    is_recent = any(site.current is not None for site in case.pain.sites.values())
    return replace(
        finding, variant="incomplete" if is_recent else "default", words={"dss": case.dss}
    )
