"""A score outside its scale is a slip of the pen, not a finding."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.fhir import reasons
from cds_service.fhir.units import Measured, measured
from cds_service.fhir.wire import Quantity


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [
        ("pain-score", 0, 10),
        ("odi", 0, 100),
        ("phq9", 0, 27),
        ("phq9-item9", 0, 3),
        ("gad7", 0, 21),
        ("dn4", 0, 10),
        ("paindetect", -1, 38),
        ("lanss", 0, 24),
        ("pcs", 0, 52),
        ("mrc-grade", 0, 5),
        ("sij-tests", 0, 5),
    ],
)
def test_score_is_read_up_to_the_end_of_its_scale(scale: str, low: int, high: int) -> None:
    """Both ends are scores; one step beyond either is none."""
    for value in (low, high):
        assert measured(scale, Quantity(value=Decimal(value))) == Measured(value=Decimal(value))
    for value in (low - 1, high + 1):
        assert measured(scale, Quantity(value=Decimal(value))) == reasons.OUT_OF_RANGE
