"""A failing server gets a pause, then one probe."""

from __future__ import annotations

import pytest

from cds_service.fhir.breaker import OPEN_SECONDS, Breaker
from cds_service.fhir.deadline import Deadline


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


def test_fifth_failure_in_ten_seconds_starts_a_pause(clock: Clock) -> None:
    """Four failures change nothing, the fifth does."""
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.failed()
    assert breaker.lets_through()
    breaker.failed()
    assert not breaker.lets_through()


def test_failures_spread_over_more_than_ten_seconds_start_none(clock: Clock) -> None:
    """Rare failures are no outage."""
    breaker = Breaker(clock)
    for _ in range(8):
        breaker.failed()
        clock.now += 2.6
    assert breaker.lets_through()


def test_one_probe_decides_after_the_pause(clock: Clock) -> None:
    """One request goes through; its success opens the way, its failure starts a new pause."""
    breaker = Breaker(clock)
    for _ in range(5):
        breaker.failed()
    clock.now += OPEN_SECONDS
    assert [breaker.lets_through(), breaker.lets_through()] == [True, False]
    breaker.failed()
    assert not breaker.lets_through()
    clock.now += OPEN_SECONDS
    assert breaker.lets_through()
    breaker.succeeded()
    assert [breaker.lets_through(), breaker.lets_through()] == [True, True]


def test_server_that_asks_for_time_gets_it_up_to_a_minute(clock: Clock) -> None:
    """Retry-After is honoured, an hour is not."""
    breaker = Breaker(clock)
    breaker.pause(3600)
    clock.now += 59.9
    assert not breaker.lets_through()
    clock.now += 0.1
    assert breaker.lets_through()


def test_few_failures_among_many_answers_start_none(clock: Clock) -> None:
    """A busy server that fails now and then is no outage."""
    breaker = Breaker(clock)
    for number in range(50):
        breaker.failed() if number % 5 == 0 else breaker.succeeded()
    assert breaker.lets_through()


def test_answer_to_an_older_request_does_not_end_a_pause(clock: Clock) -> None:
    """Only the probe opens the way again."""
    breaker = Breaker(clock)
    breaker.pause(5)
    breaker.succeeded()
    assert not breaker.lets_through()


def test_call_under_way_when_the_pause_begins_is_let_finish(clock: Clock) -> None:
    """One busy search does not take the others of its chart along; the next call waits."""
    breaker = Breaker(clock)
    under_way = Deadline.after(1, clock)
    clock.now += 0.1
    breaker.pause(OPEN_SECONDS)
    assert breaker.lets_through(under_way)
    clock.now += 0.1
    assert not breaker.lets_through(Deadline.after(1, clock))


def test_probe_is_one_whole_call(clock: Clock) -> None:
    """After the pause all searches of the first call go out, and none of a second."""
    breaker = Breaker(clock)
    breaker.pause(OPEN_SECONDS)
    clock.now += OPEN_SECONDS
    first, second = Deadline.after(1, clock), Deadline.after(1, clock)
    assert breaker.lets_through(first)
    assert breaker.lets_through(first)
    assert not breaker.lets_through(second)
    breaker.succeeded()
    assert breaker.lets_through(second)
