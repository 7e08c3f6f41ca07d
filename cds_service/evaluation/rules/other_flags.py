"""Rows 7-9: other causes of pain, a leak of spinal fluid, thoughts of self-harm."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.chart.supply import Key
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.assessment import Finding, Indicator, Note
from cds_service.evaluation.case import Case
from cds_service.evaluation.rules.scans import ScanWish, propose_mri
from cds_service.evaluation.rules.weighing import Earlier, since_surgery, weigh
from cds_service.evaluation.rules.wording import (
    condition_references,
    measure_evidence,
    sign_evidence,
    sign_term,
)
from cds_service.evaluation.signs import Sign

CAUSES = ("tumour-spine", "vertebral-fracture", "hardware-failure", "bone-metastasis")


def other_cause(case: Case, earlier: Earlier) -> Finding:
    """RF-OTHER: an active tumour, vertebral fracture or hardware failure.

    Missing data:
        Conditions not completely supplied: cannot tell, unless one that was read establishes it.
    """
    del earlier
    causes = case.signs.on_record(*CAUSES)
    recent = [sign for sign in causes if _is_recent(case, sign) and not _is_indication(case, sign)]
    unread = case.workup.unread((Key.CONDITIONS,))
    answer = found(bool(recent), unread) | (found(bool(causes), unread) & case.pain.significant)
    text = "an active tumour, fracture or hardware failure, recent or with significant pain"
    finding = weigh("RF-OTHER", case, [(text, answer)])
    if not answer.is_yes:
        return finding
    everything = causes if case.pain.significant.is_yes else recent
    counted = sorted(everything, key=lambda sign: CAUSES.index(sign.concept))
    is_vague = all(s.concept == "bone-metastasis" and not s.names_spine for s in counted)
    is_dated = any(sign.is_dated for sign in counted)
    finding = replace(
        finding,
        indicator=Indicator.INFO if is_vague else Indicator.WARNING,
        words={"dss": case.dss, "condition": tuple(dict.fromkeys(map(sign_term, counted)))},
        notes=() if is_dated else (Note(key="date-not-recorded"),),
        evidence=sign_evidence(counted),
        reason_references=condition_references(counted),
        reason_code=counted[0].concept,
    )
    wish = ScanWish(
        priority="routine", keeps_contrast=True, since_day=max(sign.day for sign in counted)
    )
    return propose_mri(finding, case, wish)


def _is_recent(case: Case, sign: Sign) -> bool:
    days = [sign.day] if sign.recorded_day is None else [sign.day, sign.recorded_day]
    return any(case.limits.met("other-cause-age", case.dss - day) for day in days)


def _is_indication(case: Case, sign: Sign) -> bool:
    """Return whether the operation was done for *sign*, or for the like of it before it began."""
    stages = case.operation.stages
    if any(sign.reference in stage.reason_references for stage in stages):
        return True
    is_later = sign.is_onset and sign.is_dated and sign.day > 0
    return not is_later and any(sign.concept in stage.reason_concepts for stage in stages)


def fluid_leak(case: Case, earlier: Earlier) -> Finding:
    """RF-CSF: a leak of spinal fluid coded since the operation."""
    del earlier
    leaks = [sign for sign in case.signs.on_record("csf-leak") if sign.day >= 0]
    answer = found(bool(leaks), case.workup.unread((Key.CONDITIONS,)))
    requires = [
        ("a leak of spinal fluid coded since the operation", answer),
        since_surgery(case, "csf-leak-day"),
    ]
    finding = weigh("RF-CSF", case, requires)
    if not finding.is_met:
        return finding
    return replace(
        finding,
        indicator=Indicator.WARNING,
        words={"dss": case.dss},
        notes=() if any(s.is_dated for s in leaks) else (Note(key="date-not-recorded"),),
        evidence=sign_evidence(leaks),
    )


def self_harm(case: Case, earlier: Earlier) -> Finding:
    """PSY-SI: a positive PHQ-9 item 9 or recent suicidal ideation."""
    del earlier
    answer, signs = self_harm_answer(case)
    finding = weigh("PSY-SI", case, [("recent thoughts of self-harm on record", answer)])
    if not answer.is_yes:
        return finding
    item = case.measures.latest("phq9-item9")
    is_item = case.measures.latest_meets("phq9-item9", "phq9-item9", "self-harm-age").is_yes
    on = item.on if is_item and item is not None else signs[-1].on
    return replace(
        finding,
        indicator=Indicator.WARNING,
        variant="default" if is_item else "coded",
        words={"date": on},
        evidence=(
            *measure_evidence(item if is_item else None, "phq9-item9"),
            *sign_evidence(signs),
        ),
    )


def self_harm_answer(case: Case) -> tuple[Answer, tuple[Sign, ...]]:
    """Return whether recent thoughts of self-harm are on record, and the coded ones."""
    signs = tuple(
        [
            sign
            for sign in case.signs.of("suicidal-ideation")
            if case.limits.met("self-harm-age", sign.age)
        ]
    )
    item = case.measures.latest_meets("phq9-item9", "phq9-item9", "self-harm-age")
    return item | found(bool(signs), case.workup.unread((Key.CONDITIONS,))), signs
