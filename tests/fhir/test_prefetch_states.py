"""Everything that can arrive under a prefetch key has one of four states."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.paging import MOST_RESOURCES
from cds_service.fhir.prefetch import joined_answer, merged_answer, read_page
from tests.fhir.chart_parts import condition


def outcome(
    severity: str, *, code: str = "processing", detail: str | None = None
) -> dict[str, Any]:
    """Return an OperationOutcome with one issue."""
    details = {"details": {"coding": [{"code": detail}]}} if detail else {}
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, **details}],
    }


def bundle(*resources: object, **fields: object) -> dict[str, Any]:
    """Return a searchset with *resources*."""
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **fields}


ONE = condition("27151001")
EPIC_EMPTY = {
    "resourceType": "Bundle",
    "total": 0,
    "entry": [
        {
            "search": {"mode": "outcome"},
            "resource": outcome("warning", detail="4101"),
        }
    ],
}


@pytest.mark.parametrize(
    ("value", "state", "reason", "count"),
    [
        (ONE, State.PARTIAL, reasons.SINGLE_RESOURCE, 1),
        (bundle(ONE), State.SUPPLIED, None, 1),
        (bundle(ONE, total=1), State.SUPPLIED, None, 1),
        (bundle(ONE, total="1"), State.SUPPLIED, None, 1),
        (bundle(total=0), State.EMPTY, None, 0),
        ({"resourceType": "Bundle"}, State.EMPTY, None, 0),
        ({"resourceType": "Bundle", "entry": None}, State.EMPTY, None, 0),
        ({"resourceType": "Bundle", "entry": {"resource": ONE}}, State.SUPPLIED, None, 1),
        (EPIC_EMPTY, State.EMPTY, None, 0),
        (outcome("warning", detail="4101"), State.EMPTY, None, 0),
        (outcome("error"), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (outcome("information"), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (bundle(outcome("fatal")), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (bundle(outcome("")), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (bundle(ONE, outcome("error")), State.PARTIAL, reasons.REPORTED_PROBLEM, 1),
        (bundle(ONE, outcome("warning")), State.SUPPLIED, None, 1),
        (bundle(ONE, outcome("warning", detail="4119")), State.PARTIAL, reasons.REPORTED_MORE, 1),
        (
            bundle(ONE, outcome("warning", detail="4118")),
            State.PARTIAL,
            reasons.REPORTED_NOT_AUTHORISED,
            1,
        ),
        (
            bundle(outcome("warning", code="suppressed")),
            State.NOT_SUPPLIED,
            reasons.REPORTED_NOT_AUTHORISED,
            0,
        ),
        (bundle(ONE, total=2), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 1),
        (bundle(total=3), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(bundle(ONE)), State.SUPPLIED, None, 1),
        (bundle(ONE, None), State.PARTIAL, reasons.UNREADABLE_ENTRY, 1),
        (
            {"resourceType": "Bundle", "entry": [None, {"resource": ONE}]},
            State.PARTIAL,
            reasons.UNREADABLE_ENTRY,
            1,
        ),
        ("<html>", State.NOT_SUPPLIED, reasons.NOT_FHIR_JSON, 0),
        (7, State.NOT_SUPPLIED, reasons.NOT_FHIR_JSON, 0),
        ([ONE], State.NOT_SUPPLIED, reasons.NOT_FHIR_JSON, 0),
        ({}, State.NOT_SUPPLIED, reasons.NOT_FHIR_JSON, 0),
    ],
)
def test_value_of_a_key_has_the_right_state(
    value: object, state: State, reason: str | None, count: int
) -> None:
    """State, reason and number of resources for each form."""
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(value).encode()),))
    assert (answer.supply.state, answer.supply.reason) == (state, reason)
    assert len(answer.resources) == count


def test_included_entries_do_not_count_as_matches() -> None:
    """A page with one match and one included resource lacks the second match."""
    page = {
        "resourceType": "Bundle",
        "total": 2,
        "entry": [
            {"resource": ONE, "search": {"mode": "match"}},
            {"resource": ONE, "search": {"mode": "include"}},
        ],
    }
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(page).encode()),))
    assert answer.supply.reason == reasons.FEWER_THAN_TOTAL


def test_full_urls_lead_to_their_entries() -> None:
    """A urn:uuid of the Bundle leads to the type and id of its entry."""
    page = {"resourceType": "Bundle", "entry": [{"fullUrl": "urn:uuid:1", "resource": ONE}]}
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(page).encode()),))
    assert answer.full_urls == {"urn:uuid:1": "Condition/c1"}


def test_bundle_too_deep_in_bundles_is_a_gap() -> None:
    """Bundles in Bundles are opened three deep; what is deeper is not taken for nothing."""
    inner: object = bundle(ONE)
    for depth in range(5):
        answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(inner).encode()),))
        assert answer.supply.state is (State.SUPPLIED if depth < 3 else State.PARTIAL)
        inner = bundle(inner)


@pytest.mark.parametrize("entry", [b"{}", b"null", b'{"resource":{}}'])
def test_entries_without_end_are_cut_and_it_is_said(entry: bytes) -> None:
    """A million empty entries take no longer than the most entries a key may have."""
    body = b'{"resourceType":"Bundle","entry":[' + b",".join([entry] * 1_000_000) + b"]}"
    started = time.process_time()
    page = read_page(Key.CONDITIONS, body)
    assert time.process_time() - started < 1
    assert page.problem == reasons.TOO_MUCH
    assert len(page.resources) <= MOST_RESOURCES


def test_several_searches_of_one_key_are_as_good_as_the_worst() -> None:
    """One failed part makes the whole partial; all failed make it not supplied."""
    good = joined_answer((read_page(Key.CONDITIONS, json.dumps(bundle(ONE)).encode()),))
    empty = KeyAnswer.known_empty()
    failed = KeyAnswer.not_supplied(reasons.SERVER_TOO_SLOW)
    assert merged_answer([good, empty]).supply.state is State.SUPPLIED
    assert merged_answer([empty, empty]).supply.state is State.EMPTY
    assert merged_answer([good, failed]).supply.state is State.PARTIAL
    assert merged_answer([failed, failed]).supply.state is State.NOT_SUPPLIED
