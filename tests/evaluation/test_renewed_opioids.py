"""What a card says of the dose when one opioid was prescribed again and again."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace as changed

from cds_service.evaluation.assess import assess
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate
from cds_service.vignettes.running import AS_OF, Answered, chart_of
from tests.changing import replace

ONE = {
    "day": 120,
    "operation": "discectomy",
    "leg": {-14: 8, 115: 7},
    "drugs": [{"drug": "opioid", "from": 110, "MME a day": 30}],
}
"""An opioid for ten days."""


@pytest.mark.parametrize(
    ("is_repeated", "card", "dose"), [(True, "OPIOID", None), (False, "OPIOID-W", "60 MME/day")]
)
def test_prescription_renewed_since_says_how_long_and_not_how_much(
    knowledge: Knowledge,
    is_repeated: bool,  # noqa: FBT001 - a case
    card: str,
    dose: str | None,
) -> None:
    """Thirty and a renewal of thirty are thirty; thirty beside thirty are sixty."""
    chart = chart_of(ONE, knowledge)
    (latest,) = chart.drugs
    earlier = changed(
        latest,
        reference="MedicationRequest/earlier",
        started=FhirDate.on(AS_OF - timedelta(days=60)),
        mme_per_day=Decimal(30),
        is_daily_maximum=True,
        is_repeated=is_repeated,
    )
    chart = replace(chart, drugs=(changed(latest, mme_per_day=Decimal(30)), earlier))
    answered = Answered(assess(chart, knowledge, AS_OF), knowledge)
    assert card in answered.shown
    text = str(answered.card(card)["detail"])
    assert ("the daily maximum was used" in text) is not is_repeated
    if dose is not None:
        assert dose in str(answered.card(card)["summary"])
