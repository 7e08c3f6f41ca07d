"""A text that the EHR cut inside an emoji voids nothing but its last character."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from flask.testing import FlaskClient

from benchmarks import bodies
from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.settings import Settings

TODAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Return a client of the whole service in development mode."""
    settings = Settings(is_dev=True, state_dir=tmp_path_factory.mktemp("state"), deadline_ms=20_000)
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return create_app(settings, clock=lambda: now, knowledge=load_knowledge()).test_client()


def _cards(client: FlaskClient, body: bytes) -> list[dict[str, object]]:
    answer = client.post(bodies.SERVICE, data=body, content_type="application/json")
    assert answer.status_code == 200, answer.get_data()
    found: list[dict[str, object]] = answer.get_json()["cards"]
    return found


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00"])
def test_chart_with_half_an_emoji_is_answered_like_one_without(
    client: FlaskClient, half: bytes
) -> None:
    """One text of one entry ends inside an emoji; every card of the chart appears."""
    body = bodies.body(bodies.chart(TODAY), list(bodies.observations(3, TODAY)))
    at = b'"display":"'
    assert at in body
    cut = body.replace(at, at + half)
    summaries = [card["summary"] for card in _cards(client, body)]
    assert summaries
    assert [card["summary"] for card in _cards(client, cut)] == summaries


def test_half_an_emoji_in_one_comment_leaves_the_other_items_kept(client: FlaskClient) -> None:
    """A clinician's comment was cut; neither it nor the batch is refused."""
    item = {
        "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-02-28T10:00:00Z",
    }
    items = [item, {**item, "overrideReason": {"userComment": "not now \ud83d"}}]
    sent = json.dumps({"feedback": items}).encode()
    address = f"{bodies.SERVICE}/feedback"
    answer = client.post(address, data=sent, content_type="application/json")
    assert (answer.status_code, answer.get_json()) == (200, {})
