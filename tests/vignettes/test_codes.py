"""Codes mean what clinicians expect; looking right is not enough."""

from __future__ import annotations

import pytest

from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import SYSTEM_URIS, Knowledge
from tests.vignettes.code_table import Expected, expected_codes, is_understood, meaningless_codes


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.mark.parametrize(
    "expected",
    expected_codes(),
    ids=lambda expected: f"{expected.means}: {expected.system} {expected.code}",
)
def test_code_is_read_as_what_it_means(expected: Expected, knowledge: Knowledge) -> None:
    """This code of a chart is read as the concept a clinician expects."""
    assert is_understood(expected, knowledge)


@pytest.mark.parametrize(("system", "code", "reason"), meaningless_codes())
def test_code_that_only_looks_right_means_nothing(
    system: str, code: str, reason: str, knowledge: Knowledge
) -> None:
    """A code nobody verified, or that public lists have wrong, never starts a card."""
    assert knowledge.meanings(SYSTEM_URIS[system], code) == (), reason


def test_code_of_an_unknown_system_means_nothing(knowledge: Knowledge) -> None:
    """The same number in another code system is another code."""
    assert knowledge.meanings("https://hospital.example/codes", "27151001") == ()
