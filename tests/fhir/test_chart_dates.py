"""Dates as charts write them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from cds_service.fhir.dates import read_date

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "earliest", "latest"),
    [
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        (" 2024-02-29 ", "2024-02-29", "2024-02-29"),
        ("2024-06-30T22:30:00Z", "2024-07-01", "2024-07-01"),
        ("2024-06-30T22:30:00z", "2024-07-01", "2024-07-01"),
        ("2024-06-30t21:30:00Z", "2024-06-30", "2024-06-30"),
        ("2024-12-31T23:30:00Z", "2025-01-01", "2025-01-01"),
        ("2024-06-30T23:30:00", "2024-06-30", "2024-06-30"),
        ("2024-06-30T23:30", "2024-06-30", "2024-06-30"),
        ("2024-06-30T24:00:00", "2024-07-01", "2024-07-01"),
        ("2024-06-30T10:00:60.123456789+02:00", "2024-06-30", "2024-06-30"),
        ("2024-06-30T10:00:00+0200", "2024-06-30", "2024-06-30"),
        ("2024-03-31T02:30:00", "2024-03-31", "2024-03-31"),
    ],
)
def test_date_is_read_as_a_local_day(text: str, earliest: str, latest: str) -> None:
    """Each spelling gives the local day or days it can mean."""
    found = read_date(text, BERLIN)
    assert found is not None
    assert (found.earliest.isoformat(), found.latest.isoformat()) == (earliest, latest)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "soon",
        "0000",
        "2024-13",
        "2024-02-30",
        "24-02-03",
        "2024-1-1",
        "2024-01-01T25:00:00Z",
        "2024-01-01T10:00:00+99:00",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "\u0662\u0660\u0662\u0664",
    ],
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    """Impossible days are no date, and no error."""
    assert read_date(text, BERLIN) is None
