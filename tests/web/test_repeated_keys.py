"""A body that writes a key twice is refused wherever the key could change the answer."""

from __future__ import annotations

import json
import time
import tracemalloc
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from benchmarks import bodies
from cds_service.app import create_app
from cds_service.fhir import prefetch, reader
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.reading import read_chart
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import parse_request
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from cds_service.trust.profile import dev_profile

TODAY = date(2026, 3, 1)
GLUCOSE = b'"code":"2345-7"'
"""The code of an Observation that no rule reads."""
CRP = b'"code":"1988-5"'
TEMPERATURE = b'"code":"8310-5"'
"""Codes of the first and the eleventh one; rules read them."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Return a client of the whole service in development mode."""
    settings = Settings(is_dev=True, state_dir=tmp_path_factory.mktemp("state"), deadline_ms=20_000)
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return create_app(settings, clock=lambda: now, knowledge=load_knowledge()).test_client()


@pytest.fixture(scope="module")
def body() -> bytes:
    """Return a request with read and unread Observations; entries have an address."""
    findings = list(bodies.observations(20, TODAY))
    return bodies.body(bodies.chart(TODAY), findings)


def _posted(client: FlaskClient, body: bytes) -> tuple[int, bytes]:
    answer = client.post(bodies.SERVICE, data=body, content_type="application/json")
    return answer.status_code, answer.get_data()


def _with_twice(body: bytes, at: bytes, member: bytes) -> bytes:
    """Return *body* with *member* written before *at*, which must be there."""
    assert at in body
    return body.replace(at, member + b"," + at, 1)


PLACES: dict[str, tuple[bytes, bytes]] = {
    "the request": (b'"hookInstance":', b'"hookInstance":"x"'),
    "the context": (b'"patientId":', b'"patientId":"other"'),
    "the prefetch": (b'"procedures":', b'"procedures":null'),
    "the patient": (b'"birthDate":', b'"birthDate":"1900-01-01"'),
    "a Bundle": (b'"entry":', b'"entry":[]'),
    "an entry": (b'"resource":', b'"resource":{"resourceType":"Condition"}'),
    "a procedure": (b'"performedDateTime":', b'"performedDateTime":"1999-01-01"'),
    "a code of a procedure": (b'"code":"50172003"', b'"code":"1"'),
    "a score": (b'"value":7', b'"value":1'),
    "a laboratory value": (CRP, b'"code":"1"'),
    "a condition": (b'"code":"F17.210"', b'"code":"1"'),
}


@pytest.mark.parametrize(("at", "member"), PLACES.values(), ids=PLACES.keys())
def test_call_is_refused_when_a_key_that_counts_is_written_twice(
    client: FlaskClient, body: bytes, at: bytes, member: bytes
) -> None:
    """Nobody can tell which of the two was meant, so there is no answer."""
    status, text = _posted(client, _with_twice(body, at, member))
    assert status == 400
    assert b"twice" in text


def test_key_of_a_prefetch_value_that_nobody_asked_for_is_looked_at_too(
    client: FlaskClient, body: bytes
) -> None:
    """What is not a part of the chart is small, so it is simply read as a whole."""
    status, _ = _posted(client, _with_twice(body, b'"procedures":', b'"more":{"a":1,"a":2}'))
    assert status == 400


def test_answer_is_the_same_when_only_an_unread_observation_writes_a_key_twice(
    client: FlaskClient, body: bytes
) -> None:
    """A glucose value is used by no rule, so nothing in it can change the answer."""
    changed = _with_twice(body, GLUCOSE, b'"code":"2345-7"')
    assert _posted(client, changed) == _posted(client, body)
    assert _posted(client, body)[0] == 200


BROKEN: dict[str, bytes] = {
    "NaN": b'"a":NaN',
    "bytes that are no UTF-8": b'"a":"\xff"',
    "a control character": b'"a":"\x01"',
    "a comma too many": b'"a":[1,]',
    "a million levels": b'"a":' + b"[" * 1_000_000 + b"]" * 1_000_000,
}


@pytest.mark.parametrize("member", BROKEN.values(), ids=BROKEN.keys())
def test_unread_observation_must_still_be_json(
    client: FlaskClient, body: bytes, member: bytes
) -> None:
    """What no rule reads is passed over, but a body with it must be JSON in UTF-8."""
    status, _ = _posted(client, _with_twice(body, GLUCOSE, member))
    assert status == 400


def test_foreign_observation_is_looked_at_as_a_whole(client: FlaskClient, body: bytes) -> None:
    """An entry of another patient is counted by its subject, so its keys count."""
    own = b'"subject":{"reference":"Patient/bench","display":"Example, Patient"}'
    before, read, unread, rest = body.split(own, 3)
    foreign = own + b',"subject":{"reference":"Patient/other"}'
    assert _posted(client, before + own + read + foreign + unread + own + rest)[0] == 400


def test_spaces_and_line_ends_between_the_parts_change_nothing(
    client: FlaskClient, body: bytes
) -> None:
    """A body printed for people is read like a compact one."""
    printed = json.dumps(json.loads(body), indent=2).encode()
    assert _posted(client, printed) == _posted(client, body)
    assert (
        _posted(client, _with_twice(printed, b'"birthDate"', b'"birthDate":"1900-01-01"'))[0] == 400
    )


def test_entry_beyond_the_most_of_a_key_is_not_looked_at_either(
    client: FlaskClient, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the entries that are taken are checked."""
    monkeypatch.setattr(prefetch, "MOST_RESOURCES", 10)
    early = _with_twice(body, CRP, b'"code":"1"')
    late = _with_twice(body, TEMPERATURE, b'"code":"1"')
    assert _posted(client, early)[0] == 400
    assert _posted(client, late) == _posted(client, body)
    assert _posted(client, late)[0] == 200


def test_check_of_an_enormous_chart_takes_no_more_memory_than_the_chart(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries there is no time for are passed over by the check as well."""
    findings = list(bodies.observations(3_000, TODAY, read_every=1))
    body = bodies.body(bodies.chart(TODAY), findings)
    request = parse_request(body, service_id=SERVICE_ID, allows_as_of=False)
    monkeypatch.setattr(reader, "ALWAYS_READ", 10)
    tracemalloc.start()
    read_chart(
        Gateway(knowledge, time.monotonic).answers(
            request, dev_profile(), Deadline.after(60, time.monotonic)
        ),
        patient_id=request.patient_id,
        as_of=TODAY,
        zone=ZoneInfo("UTC"),
        knowledge=knowledge,
        bases=frozenset(),
        fhir_server=None,
        sent=request.prefetch,
        has_time=lambda: False,
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body)
