"""Whatever JSON comes, reading never fails and one odd resource never hides another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.prefetch import joined_answer, read_page
from cds_service.knowledge.model import Knowledge
from tests.fhir.chart_parts import (
    KEYS,
    LOINC,
    PATIENT,
    SNOMED,
    ReadChart,
    Resource,
    chart_read,
    concept,
    condition,
    observation,
    procedure,
)
from tests.fhir.test_gateway_faults import page

WORDS = st.sampled_from(
    [
        "resourceType",
        "id",
        "status",
        "subject",
        "patient",
        "reference",
        "code",
        "coding",
        "system",
        "display",
        "text",
        "bodySite",
        "component",
        "valueQuantity",
        "value",
        "unit",
        "performedPeriod",
        "performedDateTime",
        "effectiveDateTime",
        "start",
        "end",
        "meta",
        "lastUpdated",
        "versionId",
        "contained",
        "reasonReference",
        "dosageInstruction",
        "timing",
        "repeat",
        "frequency",
        "period",
        "doseAndRate",
        "medicationReference",
        "entry",
        "resource",
        "link",
        "total",
        "issue",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            *KEYS,
            "Bundle",
            "OperationOutcome",
            "Patient/anna",
            "Patient/bert",
            "#x",
            SNOMED,
            LOINC,
            "50172003",
            "72514-3",
            "final",
            "completed",
            "active",
            "2026",
            "2026-13",
            "2026-02-30",
            "2026-05-04T24:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:60-12:00",
            "NaN",
            "7",
            "next",
        ]
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, TEXTS), inner, max_size=6)
    ),
    max_leaves=25,
)
QUIET = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def encoded(value: object) -> bytes:
    """Return *value* as JSON; lone surrogates become question marks."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


@QUIET
@given(kind=st.sampled_from([k for k in KEYS if k != "Patient"]), body=JSON)
def test_junk_never_stops_the_reading(read: ReadChart, kind: str, body: Any) -> None:  # noqa: ANN401 - any JSON
    """Random JSON under every kind of resource leaves a good operation readable."""
    junk = {**body, "resourceType": kind} if isinstance(body, dict) else body
    mine = {**junk, "subject": {"reference": "Patient/anna"}} if isinstance(junk, dict) else junk
    for item in (junk, mine):
        chart = read(procedure(), raw={KEYS[kind]: (encoded(item),)})
        assert any(fact.reference == "Procedure/p1" for fact in chart.procedures)


@QUIET
@given(data=st.data())
def test_one_field_of_any_shape_never_stops_the_reading(
    read: ReadChart, data: st.DataObject
) -> None:
    """A good resource with one field replaced by anything is still no error."""
    good = data.draw(
        st.sampled_from(
            [
                procedure(),
                condition("27151001"),
                observation("72514-3", valueInteger=7),
                observation("1988-5", valueQuantity={"value": 1, "unit": "mg/L"}),
            ]
        )
    )
    field = data.draw(st.sampled_from(sorted(good.keys() - {"resourceType"})))
    odd = {**good, field: data.draw(JSON)}
    chart = read(raw={KEYS[good["resourceType"]]: (encoded(odd),)})
    assert chart.patient.reference == "Patient/anna"


@QUIET
@given(body=JSON, key=st.sampled_from([Key.PATIENT, Key.SCORES]))
def test_junk_under_a_key_is_always_one_of_the_four_states(body: Any, key: str) -> None:  # noqa: ANN401 - any JSON
    """No prefetch value is an error; each becomes a state with a reason where one is due."""
    answer = joined_answer((read_page(key, encoded(body)),))
    assert answer.supply.has_failed is (answer.supply.reason is not None)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"{}" * 2])
def test_bytes_that_are_no_json_are_set_aside(read: ReadChart, body: bytes) -> None:
    """Broken and bottomless bytes are unreadable, nothing more."""
    chart = read(procedure(), raw={Key.SCORES: (body,)})
    assert len(chart.procedures) == 1
    assert chart.supply_of(Key.SCORES).state is State.PARTIAL


@pytest.mark.parametrize(
    "fields",
    [
        {"id": 7},
        {"status": " completed "},
        {"code": {"coding": {"system": f" {SNOMED} ", "code": 50172003}}},
        {
            "code": {
                "coding": [
                    {"system": "http://other.example", "code": "x"},
                    {"system": SNOMED, "code": "50172003 "},
                    None,
                ]
            }
        },
        {"bodySite": {"text": "lumbar"}},
        {"meta": {"versionId": 3}},
        {"subject": "Patient/anna"},
        {"subject": [{"reference": "Patient/anna"}]},
        {"code": {"concept": concept(SNOMED, "50172003")}},
        {"contained": {"resourceType": "Condition"}},
        {"reasonCode": "pain"},
    ],
)
def test_operation_of_an_odd_shape_is_still_read(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """Numbers as strings, one object for a list and the like are understood."""
    assert read({**procedure(), **fields}).procedures[0].concepts == {"fusion"}


def test_entry_without_a_usable_id_gets_a_stable_name(read: ReadChart) -> None:
    """An id that is missing or no FHIR id never reaches a reference."""
    for bad in (None, "", "a b", "<script>", "x" * 65):
        (fact,) = read({**procedure(), "id": bad}).procedures
        assert fact.reference.startswith("Procedure/no id ")


def test_operation_under_another_key_still_counts(read: ReadChart) -> None:
    """A resource of a known kind is read wherever it stands."""
    body = json.dumps(procedure()).encode()
    assert len(read(raw={Key.DEVICES: (body,)}).procedures) == 1


def test_key_that_holds_only_another_kind_of_entry_is_not_known(read: ReadChart) -> None:
    """Answers under each other's keys are facts, and neither key is taken for complete."""
    operation, problem = (json.dumps(found).encode() for found in (procedure(), condition("1")))
    chart = read(raw={Key.PROCEDURES: (problem,), Key.CONDITIONS: (operation,)})
    assert len(chart.procedures) == 1
    for key in (Key.PROCEDURES, Key.CONDITIONS):
        supply = chart.supply_of(key)
        assert (supply.state, supply.reason) == (State.PARTIAL, reasons.OTHER_KIND)


COVERAGE: Resource = {"resourceType": "Coverage", "id": "v", "status": "active"}
HINT: Resource = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "warning", "code": "informational"}],
}


def operations(knowledge: Knowledge, *pages: object) -> Chart:
    """Return the chart of the patient, for whom *pages* came when operations were asked for."""
    found = tuple(read_page(Key.PROCEDURES, json.dumps(one).encode()) for one in pages)
    patient = read_page(Key.PATIENT, json.dumps(PATIENT).encode())
    return chart_read(
        {Key.PATIENT: joined_answer((patient,)), Key.PROCEDURES: joined_answer(found)},
        knowledge,
    )


@pytest.mark.parametrize(
    "others",
    [
        page(PATIENT),
        page({"resourceType": "Patient"}),
        page(COVERAGE),
        page(page(COVERAGE)),
        page(HINT, PATIENT),
        page({**procedure(), "resourceType": "procedure"}),
        page(procedure(subject={"reference": "Patient/bert"}, resourceType="Claim"), COVERAGE),
    ],
    ids=[
        "the patient",
        "nobody",
        "coverage",
        "a Bundle of coverage",
        "a hint too",
        "small",
        "mixed",
    ],
)
def test_other_things_in_place_of_the_operations_are_not_no_operations(
    knowledge: Knowledge, others: object
) -> None:
    """The server answered something else: whether the patient was operated on is not known."""
    supply = operations(knowledge, others).supply_of(Key.PROCEDURES)
    assert (supply.state, supply.reason) == (State.PARTIAL, reasons.OTHER_KIND)
    supply = operations(knowledge, page(procedure()), others).supply_of(Key.PROCEDURES)
    assert supply.state is State.SUPPLIED


@pytest.mark.parametrize("other", [PATIENT, COVERAGE, condition("1")], ids=lambda one: one["id"])
@pytest.mark.parametrize("mode", ["include", "outcome"])
def test_what_came_along_with_no_operation_is_no_answer(
    knowledge: Knowledge, other: Resource, mode: str
) -> None:
    """There is no operation, for certain; the server sent along what it was not asked for."""
    entries = [{"resource": HINT}, {"resource": other, "search": {"mode": mode}}]
    empty = {"resourceType": "Bundle", "total": 0, "entry": entries}
    assert operations(knowledge, empty).supply_of(Key.PROCEDURES).state is State.EMPTY


@pytest.mark.parametrize(("mode", "said"), [("include", []), ("match", [reasons.NOT_READ_HERE])])
def test_cards_are_told_only_of_unread_answers_not_of_what_came_along(
    knowledge: Knowledge, mode: str, said: list[str]
) -> None:
    """The surgeon's own entry, sent along with the operation, takes nothing from the chart."""
    surgeon = {"resourceType": "Practitioner", "id": "s"}
    entries = [{"resource": procedure()}, {"resource": surgeon, "search": {"mode": mode}}]
    chart = operations(knowledge, {"resourceType": "Bundle", "entry": entries})
    assert [item.reason for item in chart.set_aside] == said


def test_what_is_of_another_patient_is_no_answer_of_another_kind(knowledge: Knowledge) -> None:
    """It is set aside, and the rest of the key stays as it is."""
    about_bert = {"subject": {"reference": "Patient/bert"}}
    foreign = page(
        {**PATIENT, "id": "bert"}, {**COVERAGE, **about_bert}, condition("1", **about_bert)
    )
    assert operations(knowledge, foreign).supply_of(Key.PROCEDURES).state is State.SUPPLIED


def _real_resources() -> list[Resource]:
    root = Path(os.environ["REAL_CHARTS"])
    found: list[Resource] = []
    for file in sorted(root.glob("*/*.json")):
        _collect(json.loads(file.read_text("utf-8")), found)
    return found


def _collect(value: object, found: list[Resource]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        if "resourceType" in value and value["resourceType"] != "Bundle":
            found.append(value)
        else:
            for item in value.values():
                _collect(item, found)


@pytest.mark.integration
@pytest.mark.skipif("REAL_CHARTS" not in os.environ, reason="REAL_CHARTS names no folder")
def test_every_real_resource_is_read_without_an_error(read: ReadChart) -> None:
    """Thousands of resources nobody here wrote: as they are, and made the patient's own."""
    resources = _real_resources()
    assert len(resources) > 1000
    read(*(r for r in resources if r["resourceType"] != "Patient"))
    for resource in resources:
        if resource["resourceType"] != "Patient":
            subject = {"reference": "Patient/anna"}
            read({**resource, "subject": subject, "patient": subject})
