"""Is something unusual going on?  Each client and card against its own past, in words.

Pure: counts by hour go in, alarms come out.  A rule that stops or floods, a part of the chart that
is no longer read, codes that became unknown, errors, slowness and a client that fell silent are
looked for.  What has been wrong for as long as the past that is looked at goes unnoticed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

HOURS_PER_DAY = 24
WINDOWS_DAYS = (1, 7)
"""Lengths of the latest past that are compared; the long one notices rare cards."""
BASELINE_DAYS = 28
"""The past before the window that it is compared with."""
LEAST_BASELINE_DAYS = 3
"""Days with calls in the baseline before anything is compared."""
LARGEST_CHANCE = 1e-6
"""How probable by chance a change may be and still alarm; a hundred counts looked at once a day
then make a false alarm about once in 27 years."""
LEAST_RATIO = 2.0
"""How many times more, or less, before a change matters."""
LEAST_SHARE = 0.01
"""Calls in one call (one in a hundred) before errors and missing parts matter."""
LEAST_CALLS_A_DAY = 20
"""Calls on every earlier day before a day without any is unusual."""
_DAYS_PER_WEEK = 7
_LARGEST_SPREAD = 10.0
_LEAST_SPREAD = 2.0
"""Less than this is what few days show by chance."""
_NORMAL_FROM = 1_000.0
"""Expected counts from which the normal distribution is near enough."""


class Watched(Enum):
    """What is counted, for each client."""

    CALLS = "calls"
    OPENS = "chart opens"
    CARD = "card"
    UNREAD = "part not read"
    UNMAPPED = "unknown codes"
    NOT_APPLICABLE = "not applicable"
    ERROR = "errors"
    FAULTY = "rule failed"
    SLOW = "slow answers"


class Direction(Enum):
    """How the count is unusual."""

    ZERO = "stopped"
    LOW = "fell"
    HIGH = "rose"


Place = tuple[str, Watched, str]
"""Client, what is counted, and of what (a card, a key; empty for the rest)."""
Hours = Mapping[int, Counter[Place]]
"""Hour since 1970 to what was counted in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One unusual count.

    Units:
        ``seen`` counts in ``calls`` calls of ``days`` days; ``expected`` is the same by the past.
    """

    client: str
    watched: Watched
    subject: str
    direction: Direction
    seen: int
    expected: float
    calls: int
    days: int
    until_hour: int

    @property
    def sentence(self) -> str:
        """Return what is unusual, in words."""
        counted = f"{self.seen:,} in {self.calls:,} {_OF_WHAT.get(self.watched, 'chart opens')}"
        if self.watched is Watched.CALLS:
            counted = f"{self.seen:,}"
        what = _SUBJECTS[self.watched].format(subject=self.subject)
        return (
            f"{self.client}: {what} {self.direction.value}. {self._when}: {counted}; "
            f"by the past {_rounded(self.expected)} were to be expected."
        )

    @property
    def _when(self) -> str:
        until = datetime.fromtimestamp(self.until_hour * 3600, UTC)
        if until.hour == 0:
            last = until - timedelta(days=1)
            if self.days == 1:
                return f"On {last:%Y-%m-%d}"
            return f"From {until - timedelta(days=self.days):%Y-%m-%d} to {last:%Y-%m-%d}"
        length = "24 hours" if self.days == 1 else f"{self.days} days"
        return f"In the {length} to {until:%Y-%m-%d %H:%M} UTC"

    @property
    def check(self) -> str:
        """Return what to look at first."""
        return _CHECKS.get((self.watched, self.direction), _CHECKS_OTHERWISE[self.watched])

    @property
    def identity(self) -> tuple[str, Watched, str, Direction]:
        """Return what stays the same while the alarm lasts."""
        return self.client, self.watched, self.subject, self.direction


_SUBJECTS: Mapping[Watched, str] = {
    Watched.CALLS: "the number of calls",
    Watched.OPENS: "the number of chart opens",
    Watched.CARD: "the card {subject}",
    Watched.UNREAD: "the share of charts whose part '{subject}' could not be read",
    Watched.UNMAPPED: "the share of charts with codes nobody mapped",
    Watched.NOT_APPLICABLE: "the share of charts the service has no say in",
    Watched.ERROR: "the share of calls that end in an error",
    Watched.FAULTY: "the share of charts in which the rule {subject} failed",
    Watched.SLOW: "the share of calls that take longer than half a second",
}
_OF_WHAT: Mapping[Watched, str] = {Watched.ERROR: "calls", Watched.SLOW: "calls"}
_CHECKS_OTHERWISE: Mapping[Watched, str] = {
    Watched.CALLS: "Ask the EHR team whether the service is still called where it should be.",
    Watched.OPENS: "Ask the EHR team whether the service is still called where it should be.",
    Watched.CARD: "Compare the clinical content with that of before (cds-service knowledge diff), "
    "and see whether a code or a unit it rests on changed in the EHR; then explain one call "
    "(cds-service explain).",
    Watched.UNREAD: "Ask the EHR team whether this search or prefetch still works and is still "
    "permitted; the reasons are in the table of parts that could not be read.",
    Watched.UNMAPPED: "Look at the table of unknown codes: a code system or an order catalogue of "
    "the EHR may have changed. Map the new codes in the site's value sets.",
    Watched.NOT_APPLICABLE: "See whether operations still arrive with the codes they had: explain "
    "one call (cds-service explain) of a patient who surely had an operation.",
    Watched.ERROR: "Look at the table of errors and in the log for the same client.",
    Watched.FAULTY: "A rule of this service fails; its card is lost. Report it, with the log.",
    Watched.SLOW: "Look at the table of milliseconds: a slow gateway means the EHR's FHIR server.",
}
_CHECKS: Mapping[tuple[Watched, Direction], str] = {
    (Watched.CARD, Direction.HIGH): "See whether a code or a unit changed its meaning in the EHR, "
    "and whether the clinical content was changed (cds-service knowledge diff); then read a few "
    "of these calls (cds-service explain).",
}
_WATCHED_FOR_MORE = (
    Watched.UNREAD,
    Watched.UNMAPPED,
    Watched.ERROR,
    Watched.FAULTY,
    Watched.SLOW,
)
"""What is unusual only when it rises; the rest also when it falls."""
_COUNTED_IN_CALLS = frozenset({Watched.ERROR, Watched.SLOW})


def alarms(hours: Hours, until_hour: int) -> tuple[Alarm, ...]:
    """Return what is unusual in the windows that end where *until_hour* begins.

    An alarm of both windows is returned once, for the short one.
    """
    found: dict[tuple[str, Watched, str, Direction], Alarm] = {}
    for days in WINDOWS_DAYS:
        for alarm in _of_window(hours, until_hour, days):
            found.setdefault(alarm.identity, alarm)
    stopped = {key[:3] for key in found if key[3] is Direction.ZERO}
    return tuple(
        alarm
        for key, alarm in sorted(found.items(), key=lambda item: _order(item[1]))
        if alarm.direction is not Direction.LOW or key[:3] not in stopped
    )


def compared_clients(hours: Hours, until_days: Iterable[int]) -> frozenset[str]:
    """Return whose calls have enough past to be compared at the end of any of these days.

    Time:
        ``until_days`` are days since 1970; the window is the day before each of them.
    """
    days: defaultdict[str, set[int]] = defaultdict(set)
    for hour, counts in hours.items():
        for client, watched, _ in counts:
            if watched is Watched.CALLS:
                days[client].add(hour // HOURS_PER_DAY)
    pasts = [set(range(until - 1 - BASELINE_DAYS, until - 1)) for until in until_days]
    return frozenset(
        client
        for client, lived in days.items()
        if any(len(lived & past) >= LEAST_BASELINE_DAYS for past in pasts)
    )


def _order(alarm: Alarm) -> tuple[str, str, str]:
    return alarm.client, alarm.watched.value, alarm.subject


@dataclass(frozen=True, slots=True)
class _Window:
    """What was counted in the window, and on each day of the baseline that had calls."""

    seen: Counter[Place]
    past: Sequence[Counter[Place]]
    days: int
    until_hour: int

    def places(self, client: str) -> Iterable[Place]:
        """Return everything ever counted for *client*."""
        found = {place for counts in (self.seen, *self.past) for place in counts}
        return sorted(
            (place for place in found if place[0] == client),
            key=lambda place: (place[1].value, place[2]),
        )

    def alarm(self, place: Place, direction: Direction, expected: float, calls: int) -> Alarm:
        """Return an alarm of this window."""
        client, watched, subject = place
        return Alarm(
            client=client,
            watched=watched,
            subject=subject,
            direction=direction,
            seen=self.seen[place],
            expected=expected,
            calls=calls,
            days=self.days,
            until_hour=self.until_hour,
        )


def _of_window(hours: Hours, until_hour: int, days: int) -> Iterator[Alarm]:
    begins = until_hour - days * HOURS_PER_DAY
    seen = _sum(hours, begins, until_hour)
    past = [
        _sum(hours, begins - (number + 1) * HOURS_PER_DAY, begins - number * HOURS_PER_DAY)
        for number in range(BASELINE_DAYS)
    ]
    clients = {place[0] for counts in (seen, *past) for place in counts}
    for client in sorted(clients):
        calls = (client, Watched.CALLS, "")
        lived = [counts for counts in past if counts[calls]]
        if len(lived) >= LEAST_BASELINE_DAYS:
            window = _Window(seen, lived, days, until_hour)
            yield from _volume(window, past, calls)
            for place in window.places(client):
                yield from _rate(window, place)


def _sum(hours: Hours, begins: int, ends: int) -> Counter[Place]:
    total: Counter[Place] = Counter()
    for hour in range(begins, ends):
        if hour in hours:
            total.update(hours[hour])
    return total


def _volume(window: _Window, past: Sequence[Counter[Place]], place: Place) -> Iterator[Alarm]:
    """A client that fell silent, or calls far more than on any such day before.

    Weekends are quiet: with two weeks of past, a day is compared with the same weekday; with less,
    only a day without any call counts, and only if no earlier day was quiet.
    """
    if window.days > 1:
        return
    same_weekday = [
        past[number - 1][place] for number in range(_DAYS_PER_WEEK, len(past) + 1, _DAYS_PER_WEEK)
    ]
    same_weekday = [count for count in same_weekday if count]
    days = same_weekday if len(same_weekday) > 1 else [counts[place] for counts in window.past]
    expected = sorted(days)[len(days) // 2]
    seen = window.seen[place]
    if seen == 0 and min(days) >= LEAST_CALLS_A_DAY:
        yield window.alarm(place, Direction.ZERO, expected, 0)
    elif len(same_weekday) > 1 and expected >= LEAST_CALLS_A_DAY:
        if seen * 4 < min(days):
            yield window.alarm(place, Direction.LOW, expected, seen)
        elif seen > 4 * max(days):
            yield window.alarm(place, Direction.HIGH, expected, seen)


def _rate(window: _Window, place: Place) -> Iterator[Alarm]:
    """A share of the chart opens (or calls) that is not what it was."""
    client, watched, _ = place
    if watched in {Watched.CALLS, Watched.OPENS}:
        return
    whole = (client, Watched.CALLS if watched in _COUNTED_IN_CALLS else Watched.OPENS, "")
    calls, seen = window.seen[whole], window.seen[place]
    past = [(counts[place], counts[whole]) for counts in window.past if counts[whole]]
    if not calls or len(past) < LEAST_BASELINE_DAYS:
        return
    direction, expected = unusual(seen, calls, past)
    if direction is None or not _matters(watched, direction, seen, calls):
        return
    yield window.alarm(place, direction, expected, calls)


def _matters(watched: Watched, direction: Direction, seen: int, calls: int) -> bool:
    if watched not in _WATCHED_FOR_MORE:
        return True
    return direction is Direction.HIGH and seen >= LEAST_SHARE * calls


def unusual(
    seen: int, calls: int, past: Sequence[tuple[int, int]]
) -> tuple[Direction | None, float]:
    """Return how *seen* in *calls* differs from *past* (count and calls of each day), if it does.

    The second value is the expected count.  Days that vary more than chance alone would make
    them widen what is usual.
    """
    past_seen, past_calls = sum(day[0] for day in past), sum(day[1] for day in past)
    rate = (past_seen + 0.5) / (past_calls + 1)  # never nought: a first time is no miracle
    expected = rate * calls
    spread = _spread(past, rate)
    if seen < expected:
        is_less = seen * LEAST_RATIO <= expected
        chance = poisson_at_most(math.floor(seen / spread), expected / spread)
        direction = Direction.ZERO if seen == 0 else Direction.LOW
        return (direction if is_less and chance < LARGEST_CHANCE else None), expected
    is_more = seen >= expected * LEAST_RATIO
    chance = poisson_at_least(math.ceil(seen / spread), expected / spread)
    return (Direction.HIGH if is_more and chance < LARGEST_CHANCE else None), expected


def _spread(past: Sequence[tuple[int, int]], rate: float) -> float:
    """Return how many times more the days vary than chance alone: 1, or two to ten."""
    squares = sum((seen - rate * calls) ** 2 / (rate * calls) for seen, calls in past)
    spread = min(_LARGEST_SPREAD, squares / max(1, len(past) - 1))
    return spread if spread >= _LEAST_SPREAD else 1.0


def poisson_at_most(count: int, mean: float) -> float:
    """Return the chance of *count* events or fewer where *mean* are expected."""
    if mean > _NORMAL_FROM:
        return _normal_below((count + 0.5 - mean) / math.sqrt(mean))
    return min(1.0, math.fsum(_poisson(each, mean) for each in range(count + 1)))


def poisson_at_least(count: int, mean: float) -> float:
    """Return the chance of *count* events or more where *mean* are expected."""
    if mean > _NORMAL_FROM:
        return _normal_below((mean - count + 0.5) / math.sqrt(mean))
    if count <= mean:
        return 1.0
    terms = (_poisson(each, mean) for each in range(count, count + 200))
    return min(1.0, math.fsum(terms))


def _poisson(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def _normal_below(deviation: float) -> float:
    return 0.5 * math.erfc(-deviation / math.sqrt(2))


def _rounded(expected: float) -> str:
    return f"about {expected:,.0f}" if expected >= 10 else f"about {expected:.1f}"  # noqa: PLR2004
