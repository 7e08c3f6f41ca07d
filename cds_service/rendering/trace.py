"""Why did each row of the decision table answer as it did?  For people and for programs.

Never part of a hook answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.evaluation.answers import PassedOver
from cds_service.evaluation.assessment import Assessment, Evidence, Explanation, Finding, Verdict
from cds_service.evaluation.case import Case
from cds_service.evaluation.pain import SiteCourse
from cds_service.evaluation.rules.catalog import RED_FLAGS
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.story import Story
from cds_service.rendering.wording import wording_on


def render_text(assessment: Assessment, knowledge: Knowledge) -> str:
    """Return the whole reasoning as plain text for a terminal."""
    story = Story(assessment, wording_on(assessment.as_of, knowledge))
    red_flags = [f for f in assessment.findings if f.card in RED_FLAGS]
    sections = [
        ("Outcome", [f"{assessment.outcome.value}, as of {assessment.as_of.isoformat()}"]),
        ("Operation and course", story.chart),
        ("Course at each site", _courses(assessment.case, knowledge)),
        ("Red flags found", _rows(red_flags, Verdict.MET)),
        ("Red flags looked for and not recorded", _rows(red_flags, Verdict.NOT_MET)),
        ("Red flags that cannot be told", _rows(red_flags, Verdict.CANNOT_TELL)),
        ("Cautions", story.cautions()),
        ("Looked at", story.looked_at()),
        ("Likely explanations, with points", _explanations(story, assessment.explanations)),
        ("Decision table", [_row(finding) for finding in assessment.findings]),
        ("Found on the way and not counted", _passed_over(story, assessment)),
    ]
    return "\n".join(line for title, lines in sections for line in _section(title, lines))


def trace_json(assessment: Assessment) -> dict[str, object]:
    """Return the whole reasoning as JSON values: ids, verdicts, reasons and references."""
    case = assessment.case
    return {
        "outcome": assessment.outcome.value,
        "asOf": assessment.as_of.isoformat(),
        "daysSinceSurgery": None if case is None or case.is_date_unknown else case.dss,
        "undatedOperations": [] if case is None else list(case.operation.undated),
        "unread": dict(assessment.unread),
        "courses": _courses_json(assessment.case),
        "explanations": [
            {
                "phenotype": explanation.phenotype,
                "points": explanation.points,
                "reasons": list(explanation.reasons),
                "onlyByExclusion": explanation.is_only_by_exclusion,
            }
            for explanation in assessment.explanations
        ],
        "rows": [_row_json(finding) for finding in assessment.findings],
    }


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [title, *(f"  {_unescaped(line)}" for line in lines), ""]


def _unescaped(line: str) -> str:
    """Return a line for a terminal: our Markdown escapes and emphasis are for cards only."""
    plain = line.replace("\\", "").replace("**", "")
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _scored(case: Case | None) -> list[SiteCourse]:
    """Return the series with a score since the operation; none where nobody knows its day."""
    if case is None or case.is_date_unknown:
        return []
    return [site for site in case.pain.sites.values() if site.is_scored]


def _courses(case: Case | None, knowledge: Knowledge) -> list[str]:
    """Return what the scores of each site show, and which site decides."""
    lines = []
    for site in _scored(case):
        name = site.course.value.lower().replace("_", "-") if site.course else None
        told = knowledge.phrases[f"course-{name}"] if name else "not known"
        decides = "; decides" if case is not None and site.driver is case.pain.driver else ""
        lines.append(f"{knowledge.phrases[f'site-{site.driver.value}']}: {told}{decides}")
    return lines


def _courses_json(case: Case | None) -> dict[str, object]:
    return {
        site.driver.value: {
            "course": site.course.value if site.course else None,
            "lastLow": site.last_low,
            "onset": site.onset,
            "decides": case is not None and site.driver is case.pain.driver,
        }
        for site in _scored(case)
    }


def _rows(findings: Sequence[Finding], verdict: Verdict) -> list[str]:
    return [_row(finding) for finding in findings if finding.verdict is verdict]


def _row(finding: Finding) -> str:
    shown = ", shown" if finding.is_shown else ""
    held = [f"held by: {finding.held_by}"] if finding.held_by else []
    unread = [f"not read: {', '.join(sorted(finding.unread))}"] if finding.unread else []
    why = "; ".join([*finding.reasons, *held, *unread])
    return f"{finding.row:>2} {finding.card:<12} {finding.verdict.value}{shown}: {why or '-'}"


def _passed_over(story: Story, assessment: Assessment) -> list[str]:
    return [
        f"{finding.row:>2} {finding.card:<12} {line}"
        for finding in assessment.shown
        for line in story.passed_over(finding.passed_over)
    ]


def _explanations(story: Story, explanations: Sequence[Explanation]) -> list[str]:
    lines = story.explained(explanations)
    return [
        f"{explanation.points:>3} {line}"
        for explanation, line in zip(explanations, lines, strict=True)
    ]


def _row_json(finding: Finding) -> dict[str, object]:
    return {
        "row": finding.row,
        "card": finding.card,
        "verdict": finding.verdict.value,
        "isShown": finding.is_shown,
        "indicator": finding.indicator.value,
        "variant": finding.variant,
        "reasons": list(finding.reasons),
        "heldBy": finding.held_by,
        "unread": sorted(finding.unread),
        "isOrderWithheld": finding.is_order_withheld,
        "passedOver": [_passed_json(entry) for entry in finding.passed_over],
        "evidence": [_evidence_json(entry) for entry in finding.evidence],
    }


def _passed_json(entry: PassedOver) -> dict[str, object]:
    return {"reference": entry.reference, "day": entry.written, "why": entry.why}


def _evidence_json(entry: Evidence) -> dict[str, object]:
    return {
        "reference": entry.reference,
        "label": entry.label,
        "day": entry.day.isoformat() if entry.day else entry.written,
    }
