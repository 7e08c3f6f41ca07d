"""FHIR dates and times to local calendar days.

Takes what real charts hold: years and months, times without a zone, ``24:00:00``, a leap second,
a lower-case ``t``, nanoseconds.  What is no date at all is None, never an error.
"""

from __future__ import annotations

import re
from calendar import monthrange
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from cds_service.fhir.wire import Period
from cds_service.values import FhirDate

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?:[Tt ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d+))?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d{2}:?\d{2})?)?)?)?",
    re.ASCII,
)
_PLAIN_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}|\.\d{6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
"""A moment that the standard library reads as we do, or refuses (24:00:00, a leap second)."""
_MIDNIGHT_AT_THE_END = 24
_LAST_SECOND = 59


def read_date(text: str | None, zone: ZoneInfo) -> FhirDate | None:
    """Return the local day *text* states, or None when it states none.

    Time:
        A moment with an offset is moved to *zone*; one without is taken as local.
    """
    if text is None:
        return None
    if _PLAIN_MOMENT.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return _local(datetime.fromisoformat(text), zone)
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    try:
        if found["hour"] is not None:
            return _from_moment(found, zone)
        return _from_calendar(found)
    except (ValueError, OverflowError):
        return None


def _from_calendar(found: re.Match[str]) -> FhirDate:
    year = int(found["year"])
    if found["month"] is None:
        return FhirDate(earliest=date(year, 1, 1), latest=date(year, 12, 31))
    month = int(found["month"])
    if found["day"] is None:
        last = monthrange(year, month)[1] if 1 <= month <= 12 else 0  # noqa: PLR2004 - months
        return FhirDate(earliest=date(year, month, 1), latest=date(year, month, last))
    return FhirDate.on(date(year, month, int(found["day"])))


def _from_moment(found: re.Match[str], zone: ZoneInfo) -> FhirDate:
    hour = int(found["hour"])
    extra_days = 1 if hour == _MIDNIGHT_AT_THE_END else 0
    moment = datetime(
        int(found["year"]),
        int(found["month"]),
        int(found["day"]),
        0 if extra_days else hour,
        int(found["minute"]),
        min(int(found["second"] or 0), _LAST_SECOND),
        int((found["part"] or "0")[:6].ljust(6, "0")),
        tzinfo=_offset(found["zone"]) or zone,
    ) + timedelta(days=extra_days)
    return _local(moment, zone)


def _local(moment: datetime, zone: ZoneInfo) -> FhirDate:
    local = moment.astimezone(zone)
    day = local.date()
    return FhirDate(earliest=day, latest=day, instant=local)


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text in "Zz":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def period_day(period: Period | None, zone: ZoneInfo, as_of: date) -> FhirDate | None:
    """Return the day of a finished period: its end, else its start.

    Time:
        An end after *as_of* with a start up to *as_of* is a day between the two; so is an end on
        a day before the start, because nobody knows which of them is wrong.
    """
    if period is None:
        return None
    end, start = read_date(period.end, zone), read_date(period.start, zone)
    if end is None or start is None:
        return end or start
    if end.latest < start.earliest:
        return FhirDate(earliest=end.earliest, latest=start.latest)
    if end.earliest <= as_of or start.earliest > as_of:
        return end
    return FhirDate(earliest=start.earliest, latest=as_of)


def at_age(birth: FhirDate, years: int) -> FhirDate:
    """Return the time in which someone born on *birth* was *years* old."""
    after = _birthday(birth.latest, years + 1)
    return FhirDate(earliest=_birthday(birth.earliest, years), latest=after - timedelta(days=1))


def _birthday(birth: date, years: int) -> date:
    """Return the birthday; of 29 February 1 March in a common year."""
    with suppress(ValueError):
        return birth.replace(year=birth.year + years)
    return date(birth.year + years, 3, 1)


def first_read(zone: ZoneInfo, *texts: str | None) -> FhirDate | None:
    """Return the first of *texts* that is a date."""
    for text in texts:
        found = read_date(text, zone)
        if found is not None:
            return found
    return None


def clipped(day: FhirDate, as_of: date) -> FhirDate:
    """Return *day* without the part after *as_of*; it must begin by then."""
    if day.latest <= as_of:
        return day
    return FhirDate(earliest=day.earliest, latest=as_of, instant=day.instant)
