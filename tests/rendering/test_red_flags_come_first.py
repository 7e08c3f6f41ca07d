"""A red-flag card says what to do before anything else."""

from __future__ import annotations

import pytest

from cds_service.evaluation.assess import assess
from cds_service.evaluation.rules.catalog import RED_FLAGS
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.rendering.forms import text_of
from cds_service.rendering.wording import Wording
from cds_service.vignettes.charts import PATIENT_ID
from cds_service.vignettes.running import AS_OF, chart_of
from tests.vignettes.cases import all_vignettes

FIRST = 600
"""What a clinician sees before opening the details, in characters."""


@pytest.fixture(scope="module")
def flags(knowledge: Knowledge, options: CardOptions) -> list[tuple[str, str, str]]:
    """Return card id, action and detail of every red-flag card of the vignettes."""
    context = CardContext(patient_id=PATIENT_ID, user_id="Practitioner/1", encounter_id="e1")
    wording = Wording(knowledge, AS_OF)
    found = []
    for vignette in all_vignettes():
        chart = chart_of(vignette.facts, knowledge, seed=vignette.seed)
        assessment = assess(chart, knowledge, AS_OF)
        cards = render_cards(assessment, knowledge, options, context)
        for finding, card in zip(assessment.shown, cards, strict=False):
            if finding.card in RED_FLAGS:
                template = text_of(knowledge.cards[finding.card], "action", finding.variant) or ""
                action = wording.markdown(template, finding.words)
                found.append((finding.card, action, str(card["detail"])))
    return found


def test_every_red_flag_has_an_example(flags: list[tuple[str, str, str]]) -> None:
    """No red flag is left out of the check below."""
    assert {card for card, _, _ in flags} == set(RED_FLAGS)


def test_action_stands_in_the_first_600_characters(flags: list[tuple[str, str, str]]) -> None:
    """The whole action comes first and is short enough to be read at a glance."""
    for card, action, detail in flags:
        assert detail.startswith(action), card
        assert 0 < len(action) <= FIRST, (card, len(action))
