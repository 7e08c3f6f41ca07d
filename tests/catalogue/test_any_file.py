"""Whatever file an operator names, it is read or refused with a text, never a crash."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from cds_service.catalogue.codes import read_code_map
from cds_service.catalogue.concept_map import read_concept_map
from cds_service.catalogue.orders import catalogue_csv, read_order_catalogue
from cds_service.errors import SettingsError
from cds_service.knowledge.loading import load_knowledge

KNOWLEDGE = load_knowledge()
CELL = st.one_of(
    st.sampled_from(["crp", "urn:oid:2.999", "5", "CRP", '"', "a,b", "", "#", "\x00", "\r", "mL"]),
    st.text(max_size=8),
)
TABLE = st.lists(st.lists(CELL, max_size=6).map(",".join), max_size=5).map("\n".join)
NAMES = ("resourceType", "group", "element", "target", "source", "code", "display", "equivalence")
LEAF = st.one_of(st.none(), st.integers(), st.sampled_from(["crp", "1988-5", "x:y", "ConceptMap"]))
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(TABLE)
def test_any_table_is_read_or_refused(text: str) -> None:
    """Odd cells, quotation marks, control characters and broken lines are told, not thrown."""
    for header in ("concept,system,code,display\n", "system,code,concept,unit\n", ""):
        for read in (read_order_catalogue, read_code_map):
            with contextlib.suppress(SettingsError):
                read("list.csv", (header + text).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """What is no CSV and no JSON is refused with a text."""
    for read in (read_order_catalogue, read_code_map):
        with contextlib.suppress(SettingsError):
            read("list.csv", content)
    with contextlib.suppress(SettingsError):
        read_concept_map(content, KNOWLEDGE)


def _element(*targets: object) -> dict[str, object]:
    return {"code": "crp", "target": [{"code": "5", "display": "CRP"}, *targets]}


@given(TREE)
def test_any_concept_map_is_read_or_refused(odd: object) -> None:
    """Wrong types anywhere in a ConceptMap are left out or refused, and what is left is a list."""
    in_elements = [[odd], [_element(), odd], [_element(odd)]]
    in_groups = [[{"target": "urn:oid:2.999", "element": elements}] for elements in in_elements]
    for groups in (odd, [odd], *in_groups):
        content = json.dumps({"resourceType": "ConceptMap", "group": groups}).encode()
        try:
            entries = read_concept_map(content, KNOWLEDGE).entries
        except SettingsError:
            continue
        again = read_order_catalogue("list.csv", catalogue_csv(entries).encode())
        assert {entry.code for entry in again.entries} == {entry.code for entry in entries}


def test_concept_map_with_one_good_element_among_odd_ones_is_read() -> None:
    """What is left out takes nothing with it, so the test before this one has something to see."""
    groups = [{"target": "x:y", "element": [7, {"code": None}, _element(None, "x")]}]
    content = json.dumps({"resourceType": "ConceptMap", "group": groups}).encode()
    [entry] = read_concept_map(content, KNOWLEDGE).entries
    assert (entry.concept, entry.system, entry.code) == ("crp", "x:y", "5")
