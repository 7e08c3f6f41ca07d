"""Everything that can arrive under a prefetch key has one of four states."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.paging import MOST_RESOURCES
from cds_service.fhir.prefetch import joined_answer, merged_answer, read_page
from tests.fhir.chart_parts import PATIENT, condition


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


def bare(kind: str, **fields: object) -> dict[str, Any]:
    """Return a resource that says little."""
    return {"resourceType": kind, **fields}


ONE = condition("27151001")
OTHER = condition("27151001", id="c2")
NEWER = {**ONE, "meta": {"versionId": "2"}}
NAMELESS = {name: value for name, value in ONE.items() if name != "id"}
REPORTED = reasons.REPORTED_PROBLEM
NEXT = [{"relation": "next", "url": "https://ehr.example/fhir/Condition?page=2"}]
NO_TOTALS = ("many", "", "+3", -1, 2.5, True, [3])
NO_LINKS = (
    "next",
    ["next"],
    {"next": "u"},
    [{"rel": "next", "href": "u"}],
    [{"relation": ["next"], "url": "u"}],
    [{"relation": "self", "url": "u"}, {"relation": {"code": "next"}, "url": "u"}],
)
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
        (bundle(outcome("warning"), total=0), State.EMPTY, None, 0),
        (bundle(issues=outcome("warning")), State.EMPTY, None, 0),
        (bundle(issues=outcome("error")), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (bundle(ONE, issues=outcome("error")), State.PARTIAL, reasons.REPORTED_PROBLEM, 1),
        (bundle(ONE, issues=outcome("error"), link={}), State.PARTIAL, reasons.REPORTED_PROBLEM, 1),
        (bundle(bare("OperationOutcome")), State.NOT_SUPPLIED, reasons.REPORTED_PROBLEM, 0),
        (bundle(bare("OperationOutcome", issue=[])), State.NOT_SUPPLIED, REPORTED, 0),
        (bundle(bare("OperationOutcome", issue="access denied")), State.NOT_SUPPLIED, REPORTED, 0),
        (bundle(bare("OperationOutcome", issue=["no"])), State.NOT_SUPPLIED, REPORTED, 0),
        (bundle(ONE, bare("OperationOutcome")), State.PARTIAL, REPORTED, 1),
        (bundle(ONE, total=2), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 1),
        (bundle(ONE, ONE, total=2), State.SUPPLIED, None, 2),
        (bundle(ONE, ONE, total=3), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 2),
        (bundle(ONE, NEWER, total=2), State.SUPPLIED, None, 2),
        (bundle(ONE, NEWER, total=1), State.SUPPLIED, None, 2),
        (bundle(ONE, OTHER, total=2), State.SUPPLIED, None, 2),
        (bundle(ONE, ONE), State.SUPPLIED, None, 2),
        (bundle(NAMELESS, {**NAMELESS, "id": ""}, ONE, total=3), State.SUPPLIED, None, 3),
        (bundle(NAMELESS, NAMELESS, total=2), State.SUPPLIED, None, 2),
        (bundle(total=3), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(total=3.0), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(total="3.0 "), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(ONE, total=1.0), State.SUPPLIED, None, 1),
        (bundle(total=10_000_000_000), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(total=None), State.EMPTY, None, 0),
        *((bundle(total=odd), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 0) for odd in NO_TOTALS),
        (bundle(ONE, total="many"), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 1),
        *((bundle(link=odd), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 0) for odd in NO_LINKS),
        (bundle(ONE, link="next"), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 1),
        (bundle(link=None), State.EMPTY, None, 0),
        (bundle(link={"relation": "self", "url": 5}), State.EMPTY, None, 0),
        (bundle(bundle(total=7)), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
        (bundle(bundle(ONE, ONE, total=2)), State.SUPPLIED, None, 2),
        (bundle(bundle(ONE, ONE, total=3)), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 2),
        (bundle(OTHER, bundle(ONE, total=2)), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 2),
        (bundle(bundle(ONE, total=1), bundle(ONE, total=1)), State.SUPPLIED, None, 2),
        (bundle(bundle(ONE, link=NEXT)), State.PARTIAL, reasons.MORE_PAGES, 1),
        (bundle(bundle(total="many")), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 0),
        (bundle(bundle(link="next")), State.PARTIAL, reasons.UNCLEAR_WHETHER_ALL, 0),
        (bundle(bundle(bundle(total=7))), State.PARTIAL, reasons.FEWER_THAN_TOTAL, 0),
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


def test_harmless_issue_before_a_grave_one_hides_nothing() -> None:
    """A warning, then "not authorised", in one OperationOutcome: the list is in part."""
    both = outcome("warning")
    both["issue"] += outcome("warning", detail="4118")["issue"]
    page = bundle(ONE, both)
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(page).encode()),))
    assert (answer.supply.state, answer.supply.reason) == (
        State.PARTIAL,
        reasons.REPORTED_NOT_AUTHORISED,
    )


def test_problem_of_a_later_page_is_a_problem_of_the_answer() -> None:
    """The first page is whole; the second says that something failed."""
    pages = [bundle(ONE), bundle(OTHER, outcome("error"))]
    answer = joined_answer([read_page(Key.CONDITIONS, json.dumps(page).encode()) for page in pages])
    assert (answer.supply.state, answer.supply.reason) == (State.PARTIAL, REPORTED)
    assert len(answer.resources) == len(pages)


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


@pytest.mark.parametrize("mode", ["include", "outcome", " Include"])
def test_what_only_comes_along_leaves_an_empty_list_empty(mode: str) -> None:
    """No diagnosis, but the Patient and a hint of the server: there is none, for certain."""
    page = bundle(outcome("warning"), total=0)
    page["entry"].append({"resource": PATIENT, "search": {"mode": mode}})
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(page).encode()),))
    assert (answer.supply.state, len(answer.resources)) == (State.EMPTY, 1)


def test_resource_that_comes_along_twice_hides_nothing() -> None:
    """The server counts matches; the drug that two orders share is no match."""
    drug = {"resource": bare("Medication", id="5"), "search": {"mode": "include"}}
    page = bundle(ONE, OTHER, total=2)
    page["entry"] += [drug, drug]
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(page).encode()),))
    assert answer.supply.state is State.SUPPLIED


def test_pages_that_overlap_do_not_make_up_for_an_entry_that_never_came() -> None:
    """Of four diagnoses three came, one of them twice."""
    found = [condition("27151001", id=f"c{number}") for number in range(4)]
    pages = [bundle(*found[:2], total=4), bundle(*found[1:3], total=4)]
    read = [read_page(Key.CONDITIONS, json.dumps(page).encode()) for page in pages]
    answer = joined_answer(read)
    assert (answer.supply.state, answer.supply.reason) == (
        State.PARTIAL,
        reasons.FEWER_THAN_TOTAL,
    )
    last = read_page(Key.CONDITIONS, json.dumps(bundle(found[3], total=4)).encode())
    assert joined_answer([*read, last]).supply.state is State.SUPPLIED


def test_total_of_a_later_page_counts_too() -> None:
    """A server that has not counted yet when it sends the first page says it with the second."""
    pages = [bundle(ONE), bundle(OTHER, total=3)]
    answer = joined_answer([read_page(Key.CONDITIONS, json.dumps(page).encode()) for page in pages])
    assert (answer.supply.state, answer.supply.reason) == (
        State.PARTIAL,
        reasons.FEWER_THAN_TOTAL,
    )


def answered(response: object, resource: object = None) -> dict[str, Any]:
    """Return the answer to a batch of one search."""
    entry = {"response": response, **({"resource": resource} if resource else {})}
    return {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}


FINE = {"status": "200 OK"}


@pytest.mark.parametrize(
    ("value", "state", "reason"),
    [
        (answered(FINE, bundle(ONE)), State.SUPPLIED, None),
        (answered({"status": "201"}, ONE), State.SUPPLIED, None),
        (answered(FINE, bundle(total=0)), State.EMPTY, None),
        (answered({**FINE, "outcome": None}, bundle(total=0)), State.EMPTY, None),
        (answered({**FINE, "outcome": outcome("warning")}, bundle()), State.EMPTY, None),
        (answered(FINE, bundle(total=7)), State.PARTIAL, reasons.FEWER_THAN_TOTAL),
        (answered(FINE, bundle(link=NEXT)), State.PARTIAL, reasons.MORE_PAGES),
        (
            answered({"status": "403 Forbidden"}, bundle(total=0)),
            State.NOT_SUPPLIED,
            "the FHIR server refused access (403)",
        ),
        (answered({"status": "401"}), State.NOT_SUPPLIED, "the FHIR server refused access (401)"),
        (answered({"status": 500}, bundle()), State.NOT_SUPPLIED, "the FHIR server failed (500)"),
        (
            answered({"status": "206 Partial Content"}, bundle()),
            State.NOT_SUPPLIED,
            "the FHIR server failed (206)",
        ),
        (answered(None, bundle(ONE)), State.SUPPLIED, None),
        (answered({}, bundle(ONE)), State.PARTIAL, reasons.UNREADABLE_ENTRY),
        (answered("403 Forbidden", bundle()), State.PARTIAL, reasons.UNREADABLE_ENTRY),
        (answered({**FINE, "outcome": outcome("error")}, bundle()), State.NOT_SUPPLIED, REPORTED),
        (answered({**FINE, "outcome": outcome("error")}, bundle(ONE)), State.PARTIAL, REPORTED),
        (answered({**FINE, "outcome": "denied"}, bundle()), State.NOT_SUPPLIED, REPORTED),
        (
            answered({**FINE, "outcome": outcome("warning", detail="4119")}, bundle(ONE)),
            State.PARTIAL,
            reasons.REPORTED_MORE,
        ),
        (
            answered({**FINE, "outcome": outcome("warning", code="incomplete")}, bundle()),
            State.PARTIAL,
            REPORTED,
        ),
    ],
)
def test_what_the_answer_to_a_batch_says_of_its_part_counts(
    value: object, state: State, reason: str | None
) -> None:
    """An EHR that sends the answer to its own batch has said there whether it is whole."""
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(value).encode()),))
    assert (answer.supply.state, answer.supply.reason) == (state, reason)


def test_refused_part_leaves_the_other_part() -> None:
    """One search of the batch was refused; what the other brought is read."""
    value = answered(FINE, bundle(ONE))
    value["entry"] += answered({"status": "403"}, bundle(OTHER))["entry"]
    answer = joined_answer((read_page(Key.CONDITIONS, json.dumps(value).encode()),))
    assert (answer.supply.state, len(answer.resources)) == (State.PARTIAL, 1)
    assert answer.supply.reason == "the FHIR server refused access (403)"


@pytest.mark.parametrize("relation", ["next", " Next", "NEXT"])
def test_next_page_is_found_in_whatever_letters_it_is_named(relation: str) -> None:
    """A server that writes "Next" has another page all the same."""
    value = bundle(ONE, link=[{"relation": "self", "url": "u"}, {**NEXT[0], "relation": relation}])
    assert read_page(Key.CONDITIONS, json.dumps(value).encode()).next_url == NEXT[0]["url"]


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
    """Of a million empty entries no more are looked at than a key may have."""
    body = b'{"resourceType":"Bundle","entry":[' + b",".join([entry] * 1_000_000) + b"]}"
    page = read_page(Key.CONDITIONS, body)
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
