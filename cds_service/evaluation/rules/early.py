"""Rows 21 and 22: too early to judge the operation."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.evaluation.answers import Answer, any_of, of
from cds_service.evaluation.assessment import Finding, Note, Word
from cds_service.evaluation.case import Case
from cds_service.evaluation.pain import Driver
from cds_service.evaluation.rules.imaging import is_return_imaged
from cds_service.evaluation.rules.surgery import severe_early
from cds_service.evaluation.rules.weighing import Earlier, weigh
from cds_service.evaluation.rules.wording import score_evidence


def is_inflammation(case: Case) -> Answer:
    """Return whether pain came back in the first days and the grace period still runs."""
    early = of(case.is_early_return) if case.pain.course is not None else case.has_returned
    return case.has_returned & early & case.at("inflammation-grace")


def early_inflammation(case: Case, earlier: Earlier) -> Finding:
    """EARLY-INFLAM: pain came back when inflammation mimics a recurrence."""
    del earlier
    text = f"pain came back in the first days, {case.dss} days since surgery"
    finding = weigh("EARLY-INFLAM", case, [(text, is_inflammation(case))])
    leading = case.pain.leading
    if leading is None or case.onset is None or not finding.is_met:
        return finding
    recheck = case.day(case.onset + case.limits.first_day("recurrence-recheck"))
    words: dict[str, Word] = {"dss": case.dss, "onset": case.onset, "date": recheck}
    if leading.last_low is not None:
        words["low"] = leading.last_low
    return replace(
        finding,
        variant="overdue" if recheck < case.as_of else "default",
        words=words,
        evidence=score_evidence(leading.series, leading.driver.value),
    )


def early_watch(case: Case, earlier: Earlier) -> Finding:
    """EARLY-WATCH: no relief, worse or returned pain before the result can be judged."""
    del earlier
    returned = case.has_returned & ~is_return_imaged(case) & ~is_inflammation(case)
    requires = [
        (
            (
                f"day {case.dss} since surgery (needed: {case.limits.words('early-watch-first')} "
                "and before the work-up day)"
            ),
            case.at("early-watch-first") & ~case.at("workup-day"),
        ),
        ("no relief, worse or returned pain", any_of((case.has_failed, returned))),
    ]
    severe, _ = severe_early(case)
    finding = weigh(
        "EARLY-WATCH",
        case,
        requires,
        lambda: [("severe leg pain: the operating team is asked", severe)],
    )
    leading = case.pain.leading
    if leading is None or not finding.is_met:
        return finding
    wants_bloods = (
        case.has_returned.is_yes
        and case.pain.driver in {Driver.BACK, Driver.ANY}
        and case.measures.none_since("crp", "crp-fresh").is_yes
    )
    words: dict[str, Word] = {"dss": case.dss}
    if leading.current is not None:
        words["score"] = leading.current.value
    words["date"] = case.day(case.limits.first_day("workup-day"))
    return replace(
        finding,
        words=words,
        notes=(Note(key="consider-bloods"),) if wants_bloods else (),
        evidence=score_evidence((*leading.before[-1:], *leading.series), leading.driver.value),
    )
