"""How much a client, a moment and a feedback call may ask."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cds_service.errors import OverloadedError, TooManyRequestsError
from cds_service.web.limits import TokenBuckets
from cds_service.web.problems import register_problems
from tests.web.small_rooms import SERVICE, SmallRooms, Ticks, issue_of


def test_client_may_burst_and_then_gets_its_rate() -> None:
    """A burst passes whole; after it one request passes for each interval of the rate."""
    ticks = Ticks()
    buckets = TokenBuckets(ticks)
    for _ in range(3):
        buckets.take("ehr", rate_per_second=2.0, burst=3)
    with pytest.raises(TooManyRequestsError) as refusal:
        buckets.take("ehr", rate_per_second=2.0, burst=3)
    assert refusal.value.retry_after_seconds == 1
    ticks.seconds = 0.5
    buckets.take("ehr", rate_per_second=2.0, burst=3)
    with pytest.raises(TooManyRequestsError):
        buckets.take("ehr", rate_per_second=2.0, burst=3)


def test_client_that_was_silent_for_long_gets_its_burst_and_no_more() -> None:
    """A quiet night saves up no flood for the morning."""
    ticks = Ticks()
    buckets = TokenBuckets(ticks)
    buckets.take("ehr", rate_per_second=2.0, burst=3)
    ticks.seconds = 36_000
    for _ in range(3):
        buckets.take("ehr", rate_per_second=2.0, burst=3)
    with pytest.raises(TooManyRequestsError):
        buckets.take("ehr", rate_per_second=2.0, burst=3)


def test_client_does_not_use_up_the_rate_of_another() -> None:
    """One EHR's flood leaves the next EHR alone."""
    buckets = TokenBuckets(Ticks())
    buckets.take("first", rate_per_second=1.0, burst=1)
    buckets.take("second", rate_per_second=1.0, burst=1)


def test_slow_client_is_told_how_long_to_wait() -> None:
    """Retry-After grows with the interval of the rate, and counts what has passed of it."""
    ticks = Ticks()
    buckets = TokenBuckets(ticks)
    buckets.take("ehr", rate_per_second=0.1, burst=1)
    with pytest.raises(TooManyRequestsError) as refusal:
        buckets.take("ehr", rate_per_second=0.1, burst=1)
    assert refusal.value.retry_after_seconds == 10
    ticks.seconds = 7.5
    with pytest.raises(TooManyRequestsError) as refusal:
        buckets.take("ehr", rate_per_second=0.1, burst=1)
    assert refusal.value.retry_after_seconds == 3


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(TooManyRequestsError(7), 429, "throttled"), (OverloadedError(7, "why"), 503, "transient")],
)
def test_refusal_for_load_says_when_to_come_back(error: Exception, status: int, code: str) -> None:
    """429 and 503 carry Retry-After and an OperationOutcome."""
    app = Flask(__name__)
    register_problems(app)

    @app.get("/")
    def refuse() -> str:
        raise error

    answer = app.test_client().get("/")
    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "7"
    assert issue_of(answer)["code"] == code


def test_development_mode_has_no_rate(
    client: FlaskClient, body: dict[str, Any], rooms: SmallRooms
) -> None:
    """On a developer's machine nobody is slowed down."""
    for _ in range(150):
        assert client.post(SERVICE, json=body).status_code == 200
    assert len(rooms.requests) == 150


ACCEPTED = {
    "card": "c",
    "outcome": "accepted",
    "acceptedSuggestions": [{"id": "s"}],
    "outcomeTimestamp": "2026-01-31T09:30:00Z",
}
REFUSED = {"card": "CanaryShaw", "outcome": "ignored"}


def _feedback(client: FlaskClient, *items: object) -> Any:  # noqa: ANN401 - TestResponse
    return client.post(f"{SERVICE}/feedback", json={"feedback": list(items)})


def test_feedback_is_answered_with_an_empty_object_when_all_is_kept(
    client: FlaskClient, log: io.StringIO
) -> None:
    """Kept feedback is counted in the log, without a word of it."""
    answer = _feedback(client, ACCEPTED)
    assert answer.status_code == 200
    assert answer.get_json() == {}
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    del line["timestamp"]
    assert line == {
        "event": "feedback",
        "level": "info",
        "client": "dev",
        "accepted": 1,
        "overridden": 0,
        "repeated": 0,
        "unknown_cards": 1,
    }


def test_feedback_names_refused_items_when_others_are_kept(client: FlaskClient) -> None:
    """Some good, some bad: 200 with the places of the bad ones."""
    answer = _feedback(client, ACCEPTED, REFUSED, 7)
    assert answer.status_code == 200
    issues = answer.get_json()["issue"]
    assert [issue["expression"] for issue in issues] == [["feedback[1]"], ["feedback[2]"]]
    assert b"CanaryShaw" not in answer.data


def test_feedback_is_a_bad_request_when_nothing_can_be_kept(client: FlaskClient) -> None:
    """All bad: 400."""
    answer = _feedback(client, REFUSED)
    assert answer.status_code == 400
    assert issue_of(answer)["expression"] == ["feedback[0]"]
