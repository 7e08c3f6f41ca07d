"""Every answer of this suite, read by somebody strict."""

from __future__ import annotations

from tests.contract.checker import faults_of, order_faults_in
from tests.contract.ehrs import Answered


def test_every_answer_is_correct_for_the_version_of_its_client(answers: list[Answered]) -> None:
    """No persona and no vignette gets an answer that breaks a rule of its client's version."""
    wrong = {
        f"{each.name} ({each.version.named})": faults
        for each in answers
        if (faults := faults_of(each.body, each.version.behaviors))
    }
    assert wrong == {}
    assert {each.status for each in answers} == {200}


def test_every_order_names_the_context_and_only_entries_that_were_sent(
    answers: list[Answered],
) -> None:
    """An order is for the patient opened, by the clinician who opened it, and invents nothing."""
    wrong = {
        each.name: faults
        for each in answers
        if (faults := order_faults_in(each.body, each.request))
    }
    assert wrong == {}
