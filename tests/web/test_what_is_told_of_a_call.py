"""What the log and the ledger tell of a call: how it ended, how long it took, what came with it."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.app import LEDGER
from cds_service.chart.facts import SetAside
from cds_service.errors import DataNotAvailableError
from cds_service.evaluation.assessment import Finding, Verdict
from cds_service.fhir import reasons
from cds_service.fhir.reading import AnotherPatientError
from cds_service.ledger.tables import CALL
from cds_service.turns import Turns
from tests.ledger.clinic import rows
from tests.web.small_rooms import HOOK_INSTANCE, NOW, SERVICE, SmallRooms, Ticks

SECONDS = {"gateway": 0.1, "reading": 0.02, "assessment": 0.003, "rendering": 0.0045678}


def _lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def _kept(client: FlaskClient) -> dict[str, Any]:
    """Return the one call that is in the ledger."""
    [call] = rows(client.application.extensions[LEDGER].database.place, CALL)
    return call


@pytest.fixture
def late(
    client: FlaskClient, rooms: SmallRooms, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> FlaskClient:
    """Return a client whose calls have waited for a fifth of a second, and take their time."""
    ticks.seconds = 100.0

    def takes_time(room: str) -> None:
        ticks.seconds += SECONDS[room]

    rooms.takes_time = takes_time
    monkeypatch.setattr("cds_service.turns.time", SimpleNamespace(monotonic=Ticks(100.0)))
    return client


def test_log_and_ledger_tell_how_long_each_step_took(
    late: FlaskClient, body: dict[str, Any], log: io.StringIO
) -> None:
    """In milliseconds, with the time in the line; the call began when it was there."""
    with Turns().turn(99.8):
        assert late.post(SERVICE, json=body).status_code == 200
    steps = {
        "waiting": 200.0,
        "request": 0.0,
        "gateway": 100.0,
        "reading": 20.0,
        "assessment": 3.0,
        "holding": 0.0,
        "rendering": 4.57,
    }
    [line] = _lines(log)
    assert line["milliseconds"] == {**steps, "ledger": 0.0}
    kept = _kept(late)
    assert json.loads(kept["steps_ms"]) == steps
    assert kept["total_ms"] == 327.57
    came_at = NOW - timedelta(seconds=0.2)
    assert kept["received_at"] == round(came_at.timestamp() * 1000)


def test_ledger_tells_how_long_a_call_took_that_had_no_answer(
    late: FlaskClient, rooms: SmallRooms, body: dict[str, Any]
) -> None:
    """Which call, what could not be had and why, up to the step that was not ended."""
    rooms.fault = DataNotAvailableError("It is missing.", keys=("procedures",), reason="why")
    with Turns().turn(99.8):
        assert late.post(SERVICE, json=body).status_code == 412
    kept = _kept(late)
    assert (kept["hook_instance"], kept["http_status"]) == (HOOK_INSTANCE, 412)
    assert json.loads(kept["unread"]) == {"procedures": "why"}
    assert json.loads(kept["steps_ms"]) == {"waiting": 200.0, "request": 0.0}
    assert kept["total_ms"] == 200.0


def test_log_line_tells_what_became_of_the_chart(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any], log: io.StringIO
) -> None:
    """Outcome, cards, what was set aside or not read, and rules that failed; nothing else."""
    rooms.findings = (
        Finding(card="PT-REF", row=30, verdict=Verdict.MET, is_shown=True),
        Finding(card="SIJ", row=31, verdict=Verdict.NOT_MET, is_faulty=True),
    )
    rooms.set_aside = (SetAside(key="scores", reason=reasons.FUTURE),) * 2
    rooms.unread = {"scores": "too late", "devices": "too late"}
    assert client.post(SERVICE, json=body).status_code == 200
    [line] = _lines(log)
    del line["timestamp"], line["milliseconds"]
    assert line == {
        "event": "hook_answered",
        "level": "info",
        "hookInstance": HOOK_INSTANCE,
        "client": "dev",
        "service": "post-laminectomy-evaluation",
        "outcome": "evaluated",
        "cards": ["PT-REF"],
        "cards_sent": 1,
        "set_aside": {reasons.FUTURE: 2},
        "unread": ["devices", "scores"],
        "faulty_rules": ["SIJ"],
    }


def test_entries_of_another_patient_are_a_security_event(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any], log: io.StringIO
) -> None:
    """The operator learns from which keys how many of each kind came, and of whom nothing."""
    foreign = SetAside(key="scores", reason=reasons.ANOTHER_PATIENT, reference="Observation")
    unnamed = SetAside(key="devices", reason=reasons.ANOTHER_PATIENT)
    rooms.set_aside = (foreign, foreign, SetAside(key="x", reason=reasons.FUTURE), unnamed)
    assert client.post(SERVICE, json=body).status_code == 200
    event, _ = _lines(log)
    del event["timestamp"]
    assert event == {
        "event": "security_event",
        "level": "warning",
        "kind": "another_patients_entries",
        "hookInstance": HOOK_INSTANCE,
        "client": "dev",
        "keys": ["devices", "scores"],
        "types": {"Observation": 2, "": 1},
    }


def test_another_patient_in_the_place_of_the_patient_is_a_security_event(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any], log: io.StringIO
) -> None:
    """No chart is read then; the caller gets no answer, the operator the same line."""
    rooms.another_patient = AnotherPatientError("Not this patient.", keys=("patient",))
    assert client.post(SERVICE, json=body).status_code == 412
    event, refused = _lines(log)
    assert (event["event"], event["keys"], event["types"]) == (
        "security_event",
        ["patient"],
        {"Patient": 1},
    )
    assert refused["event"] == "refused"


def test_ordinary_call_is_no_security_event(
    client: FlaskClient, body: dict[str, Any], log: io.StringIO
) -> None:
    """Whoever is woken by such an event has a reason to get up."""
    client.post(SERVICE, json=body)
    assert [line["event"] for line in _lines(log)] == ["hook_answered"]
