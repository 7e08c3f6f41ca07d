"""FHIR ConceptMaps become order lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.catalogue.concept_map import read_concept_map
from cds_service.catalogue.orders import catalogue_csv, read_order_catalogue
from cds_service.errors import SettingsError
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


def concept_map(source: str, *elements: dict[str, Any], target: str = "urn:oid:2.999.1") -> bytes:
    """Return a ConceptMap with one group."""
    group = {"source": source, "target": target, "element": list(elements)}
    return json.dumps({"resourceType": "ConceptMap", "status": "active", "group": [group]}).encode()


def element(code: str, target: str, **more: str) -> dict[str, Any]:
    """Return one mapping."""
    found = {"code": target, "display": "LOCAL NAME", "equivalence": "equivalent", **more}
    return {"code": code, "target": [found]}


def test_standard_codes_find_our_orders(knowledge: Knowledge) -> None:
    """A map from LOINC, as terminology tools write it, gives the order list."""
    found = read_concept_map(
        concept_map(
            "http://loinc.org|2.77",
            element("24967-2", "41001", comment="Screening form first."),
            element("1988-5", "52001"),
            element("8302-2", "1"),
        ),
        knowledge,
    )
    assert found.skipped == ("http://loinc.org|8302-2",)
    assert [(e.concept, e.code, e.instructions) for e in found.entries] == [
        ("mri-lumbar-without-and-with-contrast", "41001", "Screening form first."),
        ("crp", "52001", ""),
    ]
    again = read_order_catalogue("o", catalogue_csv(found.entries).encode())
    assert [e.code for e in again.entries] == ["41001", "52001"]


def test_first_entry_for_an_order_stays_the_recommended_one(knowledge: Knowledge) -> None:
    """A hospital that maps LOINC and CPT names its main scanner twice; the clinician gets it."""
    places = [{"code": code, "display": code, "equivalence": "equal"} for code in ("MAIN", "NORTH")]
    system = "urn:oid:2.999.1"
    groups = [
        {"source": source, "target": system, "element": [{"code": code, "target": found}]}
        for source, code, found in (
            ("http://loinc.org", "24967-2", places),
            ("http://www.ama-assn.org/go/cpt", "72158", places[:1]),
        )
    ]
    content = json.dumps({"resourceType": "ConceptMap", "group": groups}).encode()
    found = read_concept_map(content, knowledge)
    assert [entry.code for entry in found.entries] == ["MAIN", "NORTH"]


def test_our_own_ids_work_with_any_source_system(knowledge: Knowledge) -> None:
    """A hospital may map from our order ids, in R4 or R5 words."""
    mapping = element("emg-lower-limb", "41030", relationship="equivalent")
    found = read_concept_map(concept_map("https://site.example/ours", mapping), knowledge)
    assert [e.concept for e in found.entries] == ["emg-lower-limb"]


def test_comment_of_several_lines_becomes_one_line(knowledge: Knowledge) -> None:
    """A cell of the order list is one line; a comment written over several still arrives whole."""
    mapping = element("crp", "52001", comment="Fasting.\n  Tube: green.")
    found = read_concept_map(concept_map("x:y", mapping), knowledge)
    [entry] = read_order_catalogue("o", catalogue_csv(found.entries).encode()).entries
    assert entry.instructions == "Fasting. Tube: green."


def test_target_without_code_that_is_said_not_to_match_is_left_out(knowledge: Knowledge) -> None:
    """FHIR says "we have nothing for it" by a target without a code."""
    nothing = {"code": "crp", "target": [{"equivalence": "unmatched"}]}
    found = read_concept_map(concept_map("x:y", nothing, element("esr", "2")), knowledge)
    assert [e.concept for e in found.entries] == ["esr"]


@pytest.mark.parametrize(
    "change", [{"equivalence": "unmatched"}, {"equivalence": "", "relationship": "not-related-to"}]
)
def test_target_that_is_said_not_to_match_is_left_out(
    change: dict[str, str], knowledge: Knowledge
) -> None:
    """What the map itself calls different never becomes an order."""
    mappings = (element("crp", "1", **change), element("esr", "2"))
    found = read_concept_map(concept_map("x:y", *mappings), knowledge)
    assert [e.concept for e in found.entries] == ["esr"]


@pytest.mark.parametrize(
    "odd",
    [
        {"code": "7", "display": "X", "equivalence": ["equal"]},
        {"code": "7", "display": "X", "comment": {"b": 2}},
    ],
)
def test_value_of_the_wrong_type_never_becomes_an_order(
    odd: dict[str, Any], knowledge: Knowledge
) -> None:
    """A list or an object where text belongs is not written into the order list."""
    content = concept_map("x:y", {"code": "crp", "target": [odd]}, element("esr", "2"))
    entries = read_concept_map(content, knowledge).entries
    assert entries[-1].concept == "esr"
    assert not any("{" in entry.code or "{" in entry.instructions for entry in entries)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "not a FHIR ConceptMap"),
        (b"[" * 100_000, "not a FHIR ConceptMap"),
        (b'{"resourceType": "ValueSet"}', "not a FHIR ConceptMap"),
        (concept_map("x:y", element("8302-2", "1")), "maps none of our orders"),
        (concept_map("x:y", element("crp", "1"), target=""), "group[0].target: the code system"),
        (concept_map("x:y", element("crp", "1", display="")), "element[0].target: a target has no"),
        (
            concept_map("x:y", {"code": "crp", "target": [{"code": "7", "display": ["X"]}]}),
            "element[0].target: a target has no display",
        ),
        (
            concept_map("x:y", {"code": "crp", "target": [{"code": 7, "display": "X"}]}),
            "element[0].target: a target has no code",
        ),
        (concept_map("x:y", element("esr", "2"), element("crp", "")), "element[1].target: a tar"),
        (b'{"resourceType": "ConceptMap", "group": [7, {"target": "x:y", "element": 3}]}', "none"),
    ],
)
def test_wrong_map_is_refused_with_its_place(
    content: bytes, expected: str, knowledge: Knowledge
) -> None:
    """The text says what is missing and where."""
    with pytest.raises(SettingsError) as caught:
        read_concept_map(content, knowledge)
    assert expected in str(caught.value)
