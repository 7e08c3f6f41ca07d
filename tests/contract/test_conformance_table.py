"""The table of statements itself: complete, in words, and proved by tests that exist."""

from __future__ import annotations

from dataclasses import replace

from tests.contract.conformance import faults, requirements, summary, written_tests

ROWS = requirements()
KNOWN = written_tests(ROWS)


def test_every_statement_that_binds_the_service_is_proved() -> None:
    """All 140 statements are judged, and each that binds names tests that exist."""
    assert list(faults(ROWS, KNOWN)) == []
    assert "NO TEST" not in summary(ROWS)


def test_unproved_statement_is_found() -> None:
    """A row without a test, with a test nobody wrote, or without a reason is named."""
    first = next(row for row in ROWS if row.needs_a_test)
    for wrong in (
        replace(first, tests=()),
        replace(first, tests=("tests/contract/test_answers.py::test_nobody_wrote",)),
        replace(first, applies="maybe"),
        replace(first, text=" "),
        replace(first, binds="nobody"),
    ):
        rows = [wrong if row is first else row for row in ROWS]
        [fault] = faults(rows, KNOWN)
        assert fault.startswith(f"{first.id}: ")
    assert list(faults(ROWS[1:], KNOWN))
    assert "NO TEST" in summary([replace(first, tests=())])
