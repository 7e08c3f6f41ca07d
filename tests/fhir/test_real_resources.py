"""Thousands of real resources, each spoiled in many ways: never an error, never a foreign fact."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from cds_service.evaluation.assess import assess
from cds_service.fhir.prefetch import joined_answer, read_page
from cds_service.knowledge.model import Knowledge
from tests.fhir.chart_parts import KEYS, TODAY, ReadChart, Resource, procedure
from tests.fhir.test_reading_subjects import FACTS, FOREIGN, FULL_URLS, every_kind
from tests.fuzz.mutations import garbled, mutated

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("REAL_CHARTS" not in os.environ, reason="REAL_CHARTS names no folder"),
]
TIMES = 6
"""How often each resource is thrown, spoiled in another way each time."""
MINE = {"reference": "Patient/anna"}
KNOWN = {
    entry["resourceType"]: {
        name: value for name, value in entry.items() if name not in {"subject", "patient"}
    }
    for entry in every_kind()
}


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    """Return every resource of the real charts, contained ones and those of Bundles as well."""
    found: list[Resource] = []
    for file in sorted(Path(os.environ["REAL_CHARTS"]).glob("*/*.json")):
        _collect(json.loads(file.read_text("utf-8")), found)
    kept = [found for found in found if found["resourceType"] != "Patient"]
    assert len(kept) * TIMES > 12_000
    return kept


def _collect(value: object, found: list[Resource]) -> None:
    if isinstance(value, dict):
        if value.get("resourceType", "Bundle") != "Bundle":
            found.append(value)
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)


def spoiled(resources: list[Resource], seed: int) -> Iterator[Resource]:
    """Yield every resource as some kind we read, with one to six odd places.

    Every second one says what an entry we know says, because few real ones are about the spine.
    """
    random = Random(seed)  # noqa: S311 - a seed that can be told, not a secret
    for number, resource in enumerate(resources):
        kind = resource["resourceType"]
        if kind not in KNOWN or random.random() < 0.1:
            kind = random.choice(list(KNOWN))
        told = KNOWN[kind] if random.random() < 0.5 else {}
        odd = mutated({**resource, **told}, random, times=random.randrange(1, 7))
        assert isinstance(odd, dict)
        yield {**odd, "id": f"r{number}", "resourceType": kind}


def several(items: list[Resource], size: int) -> Iterator[list[Resource]]:
    """Yield *items* a few at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@pytest.mark.parametrize("seed", range(TIMES))
def test_spoiled_resource_of_the_patient_is_no_error(
    read: ReadChart, knowledge: Knowledge, resources: list[Resource], seed: int
) -> None:
    """Every odd resource, made the patient's, leaves the operation readable and no rule faulty."""
    read_well = 0
    for group in several(list(spoiled(resources, seed)), 10):
        mine = [{**resource, "subject": MINE, "patient": MINE} for resource in group]
        chart = read(procedure(), *mine)
        assert "Procedure/p1" in {fact.reference for fact in chart.procedures}
        assert not [found for found in assess(chart, knowledge, TODAY).findings if found.is_faulty]
        read_well += sum(len(getattr(chart, name)) for name in FACTS) - 1
    assert read_well > len(resources) / 5


@pytest.mark.parametrize("seed", range(TIMES))
def test_spoiled_resource_of_another_patient_is_never_a_fact(
    read: ReadChart, resources: list[Resource], seed: int
) -> None:
    """Whatever else is odd about it, and however it refers to the other patient."""
    random = Random(seed)  # noqa: S311 - a seed that can be told, not a secret
    for group in several(resources, 50):
        foreign = [
            {**resource, "subject": reference, "patient": reference}
            for resource in group
            for reference in [{"reference": random.choice(FOREIGN)}]
        ]
        chart = read(procedure(), *spoiled(foreign, seed), full_urls=FULL_URLS)
        assert {name: len(getattr(chart, name)) for name in FACTS} == {
            **dict.fromkeys(FACTS, 0),
            "procedures": 1,
        }


def test_page_of_real_resources_with_odd_bytes_is_one_of_the_four_states(
    resources: list[Resource],
) -> None:
    """Bytes lost or changed on the way are no error, whatever page they strike."""
    random = Random(1)  # noqa: S311 - a seed that can be told, not a secret
    for group in several(resources, 5):
        entries = [{"resource": resource} for resource in group]
        body = json.dumps({"resourceType": "Bundle", "entry": entries, "total": 5}).encode()
        for times in (1, 3):
            page = read_page(random.choice(list(KEYS.values())), garbled(body, random, times=times))
            supply = joined_answer((page,)).supply
            assert supply.has_failed is (supply.reason is not None)
