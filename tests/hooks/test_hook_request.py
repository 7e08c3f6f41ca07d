"""The shape of a hook request: what is taken, what is refused, and in which words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from cds_service.errors import RequestError, UnknownServiceError
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.request import AS_OF_EXTENSION, HookRequest, parse_request

Body = dict[str, Any]
CANARY = "CanaryShaw"

WHOLE: Body = {
    "hook": "patient-view",
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "fhirServer": "https://ehr.example.org/fhir",
    "fhirAuthorization": {
        "access_token": "zqcan-secret-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "patient/*.read",
        "subject": "post-laminectomy",
        "patient": "zqcanid-12",
    },
    "context": {"userId": "Practitioner/1", "patientId": "zqcanid-12", "encounterId": "456"},
    "prefetch": {"patient": {"resourceType": "Patient", "id": "zqcanid-12"}, "devices": None},
}


def _parse(body: Body, *, allows_as_of: bool = False) -> HookRequest:
    return parse_request(
        json.dumps(body).encode(), service_id=SERVICE_ID, allows_as_of=allows_as_of
    )


def _changed(change: Callable[[Body], object]) -> Body:
    body = copy.deepcopy(WHOLE)
    change(body)
    return body


def test_whole_request_is_read_field_by_field() -> None:
    """Every field of the specification reaches its place."""
    request = _parse(WHOLE)
    assert request.hook == "patient-view"
    assert request.hook_instance == "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
    assert request.patient_id == "zqcanid-12"
    assert request.user_id == "Practitioner/1"
    assert request.encounter_id == "456"
    assert request.fhir_server == "https://ehr.example.org/fhir"
    assert request.access_token == "zqcan-secret-token"
    assert request.scope == "patient/*.read"
    assert request.as_of is None


@pytest.mark.parametrize("seconds", [0, -1, -300.0])
def test_token_whose_time_is_over_is_not_used(seconds: float) -> None:
    """A late token opens nothing, so it is not sent anywhere; the call itself is good."""
    body = _changed(lambda b: b["fhirAuthorization"].update(expires_in=seconds))
    request = _parse(body)
    assert request.access_token is None
    assert request.is_token_expired
    last_second = _changed(lambda b: b["fhirAuthorization"].update(expires_in=1))
    assert not _parse(last_second).is_token_expired


def test_prefetch_values_stay_as_they_were_sent() -> None:
    """A value keeps its bytes, JSON null becomes None, a key not sent is not there."""
    prefetch = _parse(WHOLE).prefetch
    assert json.loads(prefetch["patient"] or b"") == {
        "resourceType": "Patient",
        "id": "zqcanid-12",
    }
    assert prefetch["devices"] is None
    assert "procedures" not in prefetch


def test_access_token_is_never_shown() -> None:
    """Neither the token nor the chart is in the text form of a request."""
    text = repr(_parse(WHOLE))
    assert "zqcan-secret-token" not in text
    assert "resourceType" not in text


ACCEPTED: dict[str, Callable[[Body], object]] = {
    "prefixed ids": lambda body: body["context"].update(
        patientId="Patient/zqcanid-12", encounterId="Encounter/456"
    ),
    "no encounter": lambda body: body["context"].pop("encounterId"),
    "encounter null": lambda body: body["context"].update(encounterId=None),
    "no prefetch": lambda body: body.pop("prefetch"),
    "prefetch null": lambda body: body.update(prefetch=None),
    "prefetch with any value": lambda body: body["prefetch"].update(
        patient="<html>", devices=[1], scores=3
    ),
    "no FHIR server and no token": lambda body: (
        body.pop("fhirServer"),
        body.pop("fhirAuthorization"),
    ),
    "authorization null": lambda body: body.update(fhirAuthorization=None),
    "token type in small letters": lambda body: body["fhirAuthorization"].update(
        token_type="bearer"
    ),
    "token without patient": lambda body: body["fhirAuthorization"].pop("patient"),
    "token patient with prefix": lambda body: body["fhirAuthorization"].update(
        patient="Patient/zqcanid-12"
    ),
    "scope of Epic": lambda body: body["fhirAuthorization"].update(
        scope="Observation.Read (Labs) (R4) EPIC.FHIR.R4.SERVICES.SERVICEREQUEST.CREATE"
    ),
    "extensions everywhere": lambda body: (
        body.update(extension={"com.epic.cdshooks.request.bpa-trigger-action": "60"}),
        body["context"].update(extension={"a.b": {"c": [1]}}),
        body["fhirAuthorization"].update(extension={}),
    ),
    "unknown fields everywhere": lambda body: (
        body.update(user="Practitioner/1", oauth={}),
        body["context"].update(medications=[]),
        body["fhirAuthorization"].update(need_patient_banner=True),
    ),
    "hook instance in capitals": lambda body: body.update(
        hookInstance="D1577C69-DFBE-44AD-BA6D-3E05E953B2EA"
    ),
    "FHIR server on plain http": lambda body: body.update(fhirServer="http://localhost:9/fhir"),
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_request_is_accepted_when_the_specification_leaves_room(
    change: Callable[[Body], object],
) -> None:
    """Optional fields, unknown fields and extensions never refuse a call."""
    request = _parse(_changed(change))
    assert request.patient_id == "zqcanid-12"
    assert request.encounter_id in {None, "456"}


def test_patient_id_may_have_an_underscore() -> None:
    """Some EHRs send ids with an underscore, which FHIR does not know."""
    assert (
        _parse(
            _changed(
                lambda b: (b["context"].update(patientId="a_1.b-2"), b.pop("fhirAuthorization"))
            )
        ).patient_id
        == "a_1.b-2"
    )


REFUSED: dict[str, tuple[Callable[[Body], object], str]] = {
    "another hook": (lambda b: b.update(hook=CANARY), "$.hook"),
    "hook missing": (lambda b: b.pop("hook"), "$.hook"),
    "hook null": (lambda b: b.update(hook=None), "$.hook"),
    "hook instance missing": (lambda b: b.pop("hookInstance"), "$.hookInstance"),
    "hook instance no UUID": (lambda b: b.update(hookInstance=CANARY), "$.hookInstance"),
    "hook instance with a line end": (
        lambda b: b.update(hookInstance=b["hookInstance"] + "\n"),
        "$.hookInstance",
    ),
    "context missing": (lambda b: b.pop("context"), "$.context"),
    "context a list": (lambda b: b.update(context=[CANARY]), "$.context"),
    "patient missing": (lambda b: b["context"].pop("patientId"), "$.context.patientId"),
    "patient a number": (lambda b: b["context"].update(patientId=7), "$.context.patientId"),
    "patient empty": (lambda b: b["context"].update(patientId=""), "$.context.patientId"),
    "patient too long": (
        lambda b: b["context"].update(patientId="7" * 65),
        "$.context.patientId",
    ),
    "patient with a slash": (
        lambda b: b["context"].update(patientId=f"Patient/{CANARY}/x"),
        "$.context.patientId",
    ),
    "patient a URL": (
        lambda b: b["context"].update(patientId=f"https://{CANARY}/Patient/1"),
        "$.context.patientId",
    ),
    "patient of another kind": (
        lambda b: b["context"].update(patientId=f"Group/{CANARY}"),
        "$.context.patientId",
    ),
    "patient with a line end": (
        lambda b: b["context"].update(patientId="zqcanid-12\n"),
        "$.context.patientId",
    ),
    "patient with an umlaut": (
        lambda b: b["context"].update(patientId="ä"),
        "$.context.patientId",
    ),
    "user missing": (lambda b: b["context"].pop("userId"), "$.context.userId"),
    "user without kind": (lambda b: b["context"].update(userId=CANARY), "$.context.userId"),
    "user an object": (lambda b: b["context"].update(userId={}), "$.context.userId"),
    "encounter a number": (lambda b: b["context"].update(encounterId=4), "$.context.encounterId"),
    "encounter of another kind": (
        lambda b: b["context"].update(encounterId="Patient/4"),
        "$.context.encounterId",
    ),
    "prefetch a list": (lambda b: b.update(prefetch=[CANARY]), "$.prefetch"),
    "prefetch with a thousand keys and one": (
        lambda b: b.update(prefetch={str(number): None for number in range(1001)}),
        "$.prefetch",
    ),
    "prefetch a string": (lambda b: b.update(prefetch=CANARY), "$.prefetch"),
    "FHIR server missing with a token": (lambda b: b.pop("fhirServer"), "$.fhirServer"),
    "FHIR server null with a token": (lambda b: b.update(fhirServer=None), "$.fhirServer"),
    "FHIR server of another scheme": (
        lambda b: b.update(fhirServer=f"file:///{CANARY}"),
        "$.fhirServer",
    ),
    "FHIR server with a blank": (
        lambda b: b.update(fhirServer=f"https://a b/{CANARY}"),
        "$.fhirServer",
    ),
    "authorization a string": (
        lambda b: b.update(fhirAuthorization=CANARY),
        "$.fhirAuthorization",
    ),
    "token missing": (
        lambda b: b["fhirAuthorization"].pop("access_token"),
        "$.fhirAuthorization.access_token",
    ),
    "token empty": (
        lambda b: b["fhirAuthorization"].update(access_token=""),
        "$.fhirAuthorization.access_token",
    ),
    "token with a line end": (
        lambda b: b["fhirAuthorization"].update(access_token=f"{CANARY}\r\nX-Evil: 1"),
        "$.fhirAuthorization.access_token",
    ),
    "token of another type": (
        lambda b: b["fhirAuthorization"].update(token_type=CANARY),
        "$.fhirAuthorization.token_type",
    ),
    "lifetime a string": (
        lambda b: b["fhirAuthorization"].update(expires_in="300"),
        "$.fhirAuthorization.expires_in",
    ),
    "lifetime a truth value": (
        lambda b: b["fhirAuthorization"].update(expires_in=True),
        "$.fhirAuthorization.expires_in",
    ),
    "scope missing": (lambda b: b["fhirAuthorization"].pop("scope"), "$.fhirAuthorization.scope"),
    "subject missing": (
        lambda b: b["fhirAuthorization"].pop("subject"),
        "$.fhirAuthorization.subject",
    ),
    "token for another patient": (
        lambda b: b["fhirAuthorization"].update(patient=CANARY),
        "$.fhirAuthorization.patient",
    ),
    "extension a list": (lambda b: b.update(extension=[CANARY]), "$.extension"),
    "extension of the context a list": (
        lambda b: b["context"].update(extension=[CANARY]),
        "$.context.extension",
    ),
    "another day outside dev and demo": (
        lambda b: b.update(extension={AS_OF_EXTENSION: "2026-01-31"}),
        f"$.extension['{AS_OF_EXTENSION}']",
    ),
}


@pytest.mark.parametrize(("change", "path"), REFUSED.values(), ids=REFUSED.keys())
def test_request_is_refused_with_the_place_of_its_fault(
    change: Callable[[Body], object], path: str
) -> None:
    """A broken rule is named by its JSON path, never by the value that broke it."""
    with pytest.raises(RequestError) as refusal:
        _parse(_changed(change))
    assert refusal.value.path == path
    assert refusal.value.message.startswith(f"{path}: ")
    assert refusal.value.message.endswith(".")
    assert CANARY not in refusal.value.message


@pytest.mark.parametrize("body", [b"[]", b'"CanaryShaw"', b"7", b"null"])
def test_request_is_refused_when_it_is_no_object(body: bytes) -> None:
    """JSON that is not an object is no request."""
    with pytest.raises(RequestError) as refusal:
        parse_request(body, service_id=SERVICE_ID, allows_as_of=False)
    assert refusal.value.path == "$"
    assert CANARY not in refusal.value.message


def test_request_is_unknown_when_the_service_id_is_another() -> None:
    """A wrong id in the URL is not found, whatever the body."""
    with pytest.raises(UnknownServiceError, match="GET /cds-services"):
        parse_request(b"", service_id="other", allows_as_of=False)


def test_day_is_taken_from_the_extension_in_dev_and_demo() -> None:
    """Where it is allowed, a request may ask for the answer of another day."""
    body = _changed(lambda b: b.update(extension={AS_OF_EXTENSION: "2024-02-29"}))
    assert _parse(body, allows_as_of=True).as_of == date(2024, 2, 29)


@pytest.mark.parametrize("sent", ["2023-02-29", "2024-2-9", "20240229", "", 20240229, None])
def test_day_is_refused_when_it_is_no_day(sent: object) -> None:
    """A day that the calendar does not have is refused, not guessed."""
    body = _changed(lambda b: b.update(extension={AS_OF_EXTENSION: sent}))
    with pytest.raises(RequestError) as refusal:
        _parse(body, allows_as_of=True)
    assert refusal.value.path == f"$.extension['{AS_OF_EXTENSION}']"
