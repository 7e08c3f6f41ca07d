"""Hook calls over HTTP: the good one, and every way a request can be wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask.testing import FlaskClient
from gunicorn.http.errors import ChunkMissingTerminator

from cds_service.errors import DataNotAvailableError
from cds_service.hooks.request import AS_OF_EXTENSION
from cds_service.settings import Settings
from tests.web.small_rooms import HOOK_INSTANCE, SERVICE, SmallRooms, Ticks, issue_of

CANARY = "CanaryShaw"


def test_good_call_is_answered_with_cards(
    client: FlaskClient, body: dict[str, Any], rooms: SmallRooms
) -> None:
    """A good request passes every room and comes back as cards that no one may store."""
    answer = client.post(SERVICE, json=body)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert [card["summary"] for card in answer.get_json()["cards"]] == ["A card"]
    assert rooms.requests[0].patient_id == "zqcanid-12"
    assert rooms.options[0].client_id == "dev"
    assert rooms.options[0].is_unreviewed


def test_good_call_is_answered_when_it_is_sent_as_fhir_json(
    client: FlaskClient, body: dict[str, Any]
) -> None:
    """Some EHRs send the media type of FHIR, and some name the charset."""
    for kind in (
        "application/fhir+json",
        "application/json; charset=UTF-8",
        "application/json; charset=utf8",
    ):
        answer = client.post(SERVICE, data=json.dumps(body), content_type=kind)
        assert answer.status_code == 200


def test_answer_is_for_the_day_of_the_clock(
    client: FlaskClient, body: dict[str, Any], rooms: SmallRooms
) -> None:
    """Without the extension the injected clock says which day it is."""
    client.post(SERVICE, json=body)
    assert rooms.days == [date(2026, 3, 1)]


def test_answer_is_for_the_day_asked_for_in_development(
    client: FlaskClient, body: dict[str, Any], rooms: SmallRooms
) -> None:
    """In development a request may ask for another day."""
    client.post(SERVICE, json={**body, "extension": {AS_OF_EXTENSION: "2024-02-29"}})
    assert rooms.days == [date(2024, 2, 29)]


def test_deadline_starts_when_the_call_arrives(
    service: Callable[..., FlaskClient], body: dict[str, Any], rooms: SmallRooms, ticks: Ticks
) -> None:
    """The gateway gets the whole configured time, counted from the arrival."""
    ticks.seconds = 100.0
    service(deadline_ms=300).post(SERVICE, json=body)
    assert rooms.deadlines[0].ends_at == pytest.approx(100.3)


def _good() -> dict[str, Any]:
    return {
        "hook": "patient-view",
        "hookInstance": HOOK_INSTANCE,
        "context": {"userId": "Practitioner/1", "patientId": CANARY},
    }


_WHOLE = json.dumps(_good()).encode()
_DEEP = b'{"prefetch":' + b"[" * 201 + b"]" * 201 + b"}"

BAD_BODIES: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "cut": (_WHOLE[:-9], None),
    "twice": (_WHOLE + _WHOLE, None),
    "NaN": (b'{"hook": NaN, "a": "CanaryShaw"}', None),
    "repeated key": (b'{"hook": "CanaryShaw", "hook": "patient-view"}', None),
    "byte order mark": (b"\xef\xbb\xbf" + _WHOLE, None),
    "not UTF-8": (b'{"hook": "\xff"}', None),
    "nested too deeply": (_DEEP, None),
    "a form": (b"hook=patient-view&patientId=CanaryShaw", None),
    "XML": (b"<Patient><id value='CanaryShaw'/></Patient>", None),
    "a list": (b'["CanaryShaw"]', None),
    "another hook": (json.dumps({**_good(), "hook": CANARY}).encode(), "hook"),
    "no context": (
        json.dumps({key: value for key, value in _good().items() if key != "context"}).encode(),
        "context",
    ),
    "mistyped patient": (
        json.dumps({**_good(), "context": {"userId": "P/1", "patientId": [CANARY]}}).encode(),
        "context.patientId",
    ),
    "mistyped prefetch": (json.dumps({**_good(), "prefetch": CANARY}).encode(), "prefetch"),
}


@pytest.mark.parametrize(("sent", "expression"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_body_is_a_bad_request_without_echo(
    client: FlaskClient, rooms: SmallRooms, sent: bytes, expression: str | None
) -> None:
    """A wrong body gets 400 with the place of its fault, repeats nothing and reaches no room."""
    answer = client.post(SERVICE, data=sent, content_type="application/json")
    assert answer.status_code == 400
    issue = issue_of(answer)
    assert issue["code"] == "invalid"
    assert issue.get("expression") == ([expression] if expression else None)
    assert CANARY.encode() not in answer.data
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert rooms.requests == []


BAD_HEADERS: dict[str, dict[str, str]] = {
    "no type": {},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "several parts": {"Content-Type": "multipart/form-data; boundary=x"},
    "text": {"Content-Type": "text/plain"},
    "XML": {"Content-Type": "application/fhir+xml"},
    "another charset": {"Content-Type": "application/json; charset=utf-16"},
    "compressed": {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    "said to be uncompressed": {"Content-Type": "application/json", "Content-Encoding": "identity"},
}


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_body_is_refused_unread_when_it_is_not_plain_json(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    """What the headers do not call plain JSON is 415, however good the body is."""
    answer = client.post(SERVICE, data=_WHOLE, headers=headers)
    assert answer.status_code == 415
    assert issue_of(answer)["code"] == "not-supported"


class _Unreadable(io.RawIOBase):
    """A body that must not be touched."""

    def readinto(self, buffer: object) -> int:
        """Fail the test."""
        del buffer
        pytest.fail("the body was read")


def test_body_is_refused_unread_when_it_is_too_long(client: FlaskClient) -> None:
    """A stated length over the limit is 413 before a byte is read."""
    answer = client.post(
        SERVICE,
        content_type="application/json",
        environ_overrides={
            "wsgi.input": _Unreadable(),
            "CONTENT_LENGTH": str(16 * 1024 * 1024 + 1),
        },
    )
    assert answer.status_code == 413
    assert issue_of(answer)["code"] == "too-long"


@pytest.mark.parametrize(
    ("fault", "header"),
    [
        (OSError("CanaryShaw is gone"), {"CONTENT_LENGTH": "9"}),
        (ChunkMissingTerminator(b"CanaryShaw"), {"HTTP_TRANSFER_ENCODING": "chunked"}),
    ],
    ids=["cut off", "broken chunks"],
)
def test_body_that_cannot_be_read_to_its_end_is_a_bad_request(
    client: FlaskClient, fault: Exception, header: dict[str, str]
) -> None:
    """It is the sender's to mend: 400 says how, and echoes nothing."""

    class Broken(io.RawIOBase):
        """A body whose next piece is none."""

        def readinto(self, buffer: object) -> int:
            """Fail as gunicorn does."""
            del buffer
            raise fault

    answer = client.post(
        SERVICE,
        content_type="application/json",
        environ_overrides={
            "wsgi.input": Broken(),
            "wsgi.input_terminated": True,
            **header,
        },
    )
    assert answer.status_code == 400
    issue = issue_of(answer)
    text = issue["details"]["text"]
    assert ("cut off" in text, "chunks" in text, "Content-Length" in text) == (True, True, True)
    assert CANARY.encode() not in answer.data


def test_body_without_a_stated_length_is_read(client: FlaskClient, body: dict[str, Any]) -> None:
    """An EHR that sends in chunks is answered as any other."""
    answer = client.post(
        SERVICE,
        content_type="application/json",
        environ_overrides={
            "wsgi.input": io.BytesIO(json.dumps(body).encode()),
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
    )
    assert answer.status_code == 200


def test_body_is_refused_when_it_grows_too_long_without_a_stated_length(
    client: FlaskClient,
) -> None:
    """A body in chunks is 413 as soon as it passes the limit."""
    answer = client.post(
        SERVICE,
        content_type="application/json",
        environ_overrides={
            "wsgi.input": io.BytesIO(b" " * (16 * 1024 * 1024 + 1)),
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
    )
    assert answer.status_code == 413
    assert issue_of(answer)["code"] == "too-long"


WRONG_ADDRESSES = [
    ("GET", SERVICE, 405),
    ("PUT", SERVICE, 405),
    ("DELETE", SERVICE, 405),
    ("GET", f"{SERVICE}/feedback", 405),
    ("POST", "/cds-services", 405),
    ("POST", "/health/live", 405),
    ("POST", "/cds-services/other", 404),
    ("POST", "/cds-services/other/feedback", 404),
    ("POST", "/cds-services//post-laminectomy-evaluation", 404),
    ("GET", "/CanaryShaw", 404),
    ("GET", "/guidance/CanaryShaw", 404),
    ("GET", "/fhir/ValueSet/CanaryShaw", 404),
    ("GET", "/fhir/CodeSystem/CanaryShaw", 404),
    ("GET", "/static/../app.py", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), WRONG_ADDRESSES)
def test_wrong_address_or_method_is_an_operation_outcome(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    """Whatever is asked of the wrong place, the answer is FHIR and names no input."""
    answer = client.open(path, method=method, json={})
    assert answer.status_code == status
    assert issue_of(answer)["code"] == {404: "not-found", 405: "not-supported"}[status]
    assert CANARY.encode() not in answer.data
    assert (status == 405) == ("Allow" in answer.headers)


def test_required_data_that_cannot_be_had_is_412_naming_the_key(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any]
) -> None:
    """A missing required key is named, so that the EHR's team knows what to send."""
    rooms.fault = DataNotAvailableError("The key procedures is missing.", keys=("procedures",))
    answer = client.post(SERVICE, json=body)
    assert answer.status_code == 412
    issue = issue_of(answer)
    assert issue["code"] == "processing"
    assert issue["diagnostics"] == "procedures"
    assert issue["expression"] == ["prefetch.procedures"]


def test_log_says_why_required_data_could_not_be_had(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any], log: io.StringIO
) -> None:
    """EHRs show no body of a 412; who looks for the call in the log reads the cause there."""
    why = "the FHIR server refused access (403)"
    rooms.fault = DataNotAvailableError("It is missing.", keys=("procedures",), reason=why)
    assert client.post(SERVICE, json=body).status_code == 412
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["path"], line["reason"]) == (
        "refused",
        "$.prefetch.procedures",
        why,
    )
    assert (line["client"], line["hookInstance"]) == ("dev", HOOK_INSTANCE)


def test_unexpected_fault_is_one_fixed_sentence_and_a_log_line_without_content(
    client: FlaskClient, rooms: SmallRooms, body: dict[str, Any], log: io.StringIO
) -> None:
    """A fault of ours shows neither its text nor the chart, outside or in the log."""
    rooms.fault = ValueError(f"{CANARY} broke it")
    answer = client.post(SERVICE, json=body)
    assert answer.status_code == 500
    assert issue_of(answer)["code"] == "exception"
    assert CANARY.encode() not in answer.data
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["event"] == "unexpected_exception"
    assert line["exception"] == "ValueError"
    assert "evaluation.py" in line["location"]
    assert (line["client"], line["hookInstance"]) == ("dev", HOOK_INSTANCE)
    assert CANARY not in log.getvalue()


def test_log_line_of_a_call_holds_counts_and_durations_only(
    client: FlaskClient, body: dict[str, Any], log: io.StringIO
) -> None:
    """The one line of a call names the call, the client and what was done, no patient."""
    client.post(SERVICE, json={**body, "prefetch": {"patient": {"id": CANARY}}})
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["event"] == "hook_answered"
    assert line["hookInstance"] == HOOK_INSTANCE
    assert line["client"] == "dev"
    assert line["cards_sent"] == 1
    assert set(line["milliseconds"]) == {
        "waiting",
        "request",
        "gateway",
        "reading",
        "assessment",
        "holding",
        "rendering",
        "ledger",
    }
    assert "zqcanid-12" not in log.getvalue()
    assert CANARY not in log.getvalue()


def test_nobody_is_answered_without_clients_and_without_development_mode(
    service: Callable[..., FlaskClient], body: dict[str, Any], rooms: SmallRooms, log: io.StringIO
) -> None:
    """A service that knows no client refuses calls and does not say why."""
    closed = service(is_dev=False)
    for path in (SERVICE, f"{SERVICE}/feedback"):
        answer = closed.post(path, json=body, headers={"Authorization": f"Bearer {CANARY}"})
        assert answer.status_code == 401
        issue = issue_of(answer)
        assert issue["code"] == "login"
        assert issue["details"]["text"] == "This call is not authorised."
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert rooms.requests == []
    assert CANARY not in log.getvalue()
    for path in ("/cds-services", "/health/live", "/health/ready", "/guidance/", "/"):
        assert closed.get(path).status_code == 200


def test_length_and_type_are_judged_before_the_token(
    service: Callable[..., FlaskClient], body: dict[str, Any]
) -> None:
    """A body nobody would read is refused as such even to strangers."""
    closed = service(is_dev=False)
    answer = closed.post(SERVICE, data=json.dumps(body), content_type="text/plain")
    assert answer.status_code == 415


def test_settings_of_a_process_are_made_for_this_machine_by_default() -> None:
    """Nothing is reachable from elsewhere unless somebody asked for it."""
    assert Settings().address == "http://127.0.0.1:8080"
