"""A card names the entries of the chart it rests on.

They make its id, and "not clinically indicated" holds a card back while they stay the same.  One
that names none would stay away whatever is found later.
"""

from __future__ import annotations

import pytest

from cds_service.knowledge.loading import load_knowledge
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.running import answered
from tests.vignettes.cases import all_vignettes

KNOWLEDGE = load_knowledge()
ABOUT_WHAT_IS_MISSING = frozenset({"DATA-PAIN", "DATA-READ"})
"""Cards that say what is not in the chart."""


@pytest.mark.parametrize("vignette", all_vignettes(), ids=lambda vignette: vignette.name)
def test_every_card_names_an_entry_of_the_chart(vignette: Vignette) -> None:
    """Whatever is said of a finding can be compared with what is found tomorrow."""
    bare = {
        finding.card
        for finding in answered(vignette, KNOWLEDGE).assessment.findings
        if finding.is_met and not finding.evidence
    }
    assert bare <= ABOUT_WHAT_IS_MISSING
