"""Run a vignette on the clinical core or over HTTP, and say in words what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flask.testing import FlaskClient

from cds_service.chart.facts import Chart
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment, Indicator
from cds_service.evaluation.pain import Course
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.charts import BASE, PATIENT_ID, Facts, Resource, expand
from cds_service.vignettes.running import AS_OF, Answered, chart_of, offered

COURSES = {
    Course.RETURNED: "returned",
    Course.WORSENING: "worse",
    Course.NO_RELIEF: "no relief",
    Course.IMPROVING: "improving",
    Course.UNCHANGED_LOW: "unchanged low",
    Course.RESOLVED: "resolved",
    Course.INSUFFICIENT: "not known",
    None: "not known",
}
MOST_CARDS = 5
_SERVICE = "/cds-services/post-laminectomy-evaluation"
_EXTENSION = "org.post-laminectomy-cds.as-of"


def run_core(vignette: Vignette, knowledge: Knowledge, *, seed: int | None = None) -> list[str]:
    """Return what differs when *vignette* runs on the clinical core; nothing if it passes."""
    chosen = vignette.seed if seed is None else seed
    chart = chart_of(vignette.facts, knowledge, seed=chosen)
    return list(differences(vignette.expect, chart, knowledge))


def differences(expect: Mapping[str, Any], chart: Chart, knowledge: Knowledge) -> Iterator[str]:
    """Yield what the answer to *chart* and *expect* disagree about, in words."""
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    faulty = [finding.card for finding in answered.assessment.findings if finding.is_faulty]
    if faulty:
        yield f"the rules of {faulty} have a fault"
    if list(answered.shown) != expect["cards"]:
        yield f"the cards are {list(answered.shown)}, not {expect['cards']}"
        return
    for name, check in _CHECKS.items():
        if name in expect:
            yield from check(answered, expect[name])


def _course(answered: Answered, course: str) -> Iterator[str]:
    case = answered.assessment.case
    found = COURSES[case.pain.course] if case is not None else "not known"
    if found != course:
        yield f"the course of pain is '{found}', not '{course}'"


def _onset(answered: Answered, onset: int) -> Iterator[str]:
    case = answered.assessment.case
    found = case.pain.onset if case is not None else None
    if found != onset:
        yield f"pain is back since day {found}, not since day {onset}"


def _explanations(answered: Answered, expected: Mapping[str, int]) -> Iterator[str]:
    found = {e.phenotype: e.points for e in answered.assessment.explanations[:3]}
    if list(found.items()) != list(expected.items()):
        yield f"the likely explanations are {found}, not {dict(expected)}"


def _orders(answered: Answered, expected: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for card, orders in expected.items():
        found = offered(answered.shown[card])
        if found != sorted(orders):
            yield f"{card} offers {found}, not {sorted(orders)}"


def _indicators(answered: Answered, expected: Mapping[str, str]) -> Iterator[str]:
    for card, indicator in expected.items():
        found = answered.shown[card].indicator.value
        if found != indicator:
            yield f"{card} is {found}, not {indicator}"


def _summaries(answered: Answered, expected: Mapping[str, str]) -> Iterator[str]:
    for card, text in expected.items():
        found = str(answered.card(card)["summary"])
        if text not in found:
            yield f"{card} is headed '{found}', which does not contain '{text}'"


def _never_headed(answered: Answered, expected: Mapping[str, str]) -> Iterator[str]:
    for card, text in expected.items():
        found = str(answered.card(card)["summary"])
        if text in found:
            yield f"{card} is headed '{found}', which contains '{text}'"


def _says(answered: Answered, expected: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for card, texts in expected.items():
        found = str(answered.card(card))
        for text in texts:
            if text.lower() not in found.lower():
                yield f"{card} does not say '{text}'"


def _never_says(answered: Answered, expected: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for card, texts in expected.items():
        found = str(answered.card(card))
        for text in texts:
            if text.lower() in found.lower():
                yield f"{card} says '{text}'"


def _rows(answered: Answered, expected: Mapping[str, str]) -> Iterator[str]:
    for card, verdict in expected.items():
        row = next(row for row in answered.assessment.findings if row.card == card)
        found = "held back" if row.held_by and not row.is_shown else row.verdict.value
        if found != verdict:
            yield f"the row {card} answers '{found}', not '{verdict}'"


def _held_back_by(answered: Answered, expected: Mapping[str, str]) -> Iterator[str]:
    for card, reason in expected.items():
        row = next(row for row in answered.assessment.findings if row.card == card)
        if reason not in (row.held_by or ""):
            yield f"{card} is held back by '{row.held_by}', which does not name '{reason}'"


_CHECKS: Mapping[str, Callable[[Answered, Any], Iterator[str]]] = {
    "course": _course,
    "back since": _onset,
    "explanations": _explanations,
    "orders": _orders,
    "indicators": _indicators,
    "summaries": _summaries,
    "never headed": _never_headed,
    "says": _says,
    "never says": _never_says,
    "rows": _rows,
    "held back by": _held_back_by,
}


def request_body(vignette: Vignette) -> dict[str, Any]:
    """Return the hook request an EHR would send for *vignette*."""
    resources = expand(vignette.facts, AS_OF, vignette.seed)
    return {
        "hook": "patient-view",
        "hookInstance": "7c0d0b53-5fd3-4c62-9c93-3f5a0f1c2d11",
        "context": {"userId": "Practitioner/1", "patientId": PATIENT_ID},
        "extension": {_EXTENSION: AS_OF.isoformat()},
        "prefetch": {
            key: _prefetched(key, entries, vignette.facts)
            for key, entries in resources.items()
            if key not in vignette.facts.get("not supplied", ())
        },
    }


def _prefetched(key: str, entries: Sequence[Resource], facts: Facts) -> Resource:
    if key == "patient":
        return entries[0]
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [
            {"fullUrl": f"{BASE}/{entry['resourceType']}/{entry['id']}", "resource": entry}
            for entry in entries
        ],
    }
    if key in facts.get("supplied in part", ()):
        issue = {"severity": "warning", "code": "incomplete"}
        outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
        bundle["entry"].append({"resource": outcome, "search": {"mode": "outcome"}})
    return bundle


def run_http(vignette: Vignette, client: FlaskClient, knowledge: Knowledge) -> list[str]:
    """Return what differs when *vignette* is posted to the service; nothing if it passes."""
    response = client.post(_SERVICE, json=request_body(vignette))
    if response.status_code != 200:
        return [f"the service answers {response.status_code}: {response.get_data(as_text=True)}"]
    cards = json.loads(response.get_data())["cards"]
    found = [card["source"]["topic"]["code"] for card in cards]
    chart = chart_of(vignette.facts, knowledge, seed=vignette.seed)
    assessment = assess(chart, knowledge, AS_OF)
    expected = [card.replace("-", "") for card in most_urgent(assessment, vignette.expect["cards"])]
    return [] if found == expected else [f"the service shows {found}, not {expected}"]


def most_urgent(assessment: Assessment, cards: Sequence[str]) -> list[str]:
    """Return *cards* without the last information cards when there are too many for one answer."""
    kept = list(cards)
    indicators = {finding.card: finding.indicator for finding in assessment.shown}
    for card in reversed(cards):
        if len(kept) > MOST_CARDS and indicators.get(card) is Indicator.INFO:
            kept.remove(card)
    return kept
