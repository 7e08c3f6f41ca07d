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


@given(TREE)
def test_any_concept_map_is_read_or_refused(group: object) -> None:
    """Wrong types anywhere in a ConceptMap are left out or refused, and what is left is text."""
    for groups in (group, [group], [{"target": "x:y", "element": [group]}]):
        content = json.dumps({"resourceType": "ConceptMap", "group": groups}).encode()
        with contextlib.suppress(SettingsError):
            entries = read_concept_map(content, KNOWLEDGE).entries
            assert all(isinstance(entry.code, str) for entry in entries)
            assert catalogue_csv(entries)
