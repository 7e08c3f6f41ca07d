"""What is fuzzed: each target reads odd input and may only refuse it in the way it says."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from flask.testing import FlaskClient
from structlog.testing import capture_logs

from cds_service.app import create_app
from cds_service.demo.personas import load_personas
from cds_service.errors import RequestError, UnauthorizedError
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.request import AS_OF_EXTENSION, parse_request
from cds_service.hooks.strict_json import parse_json
from cds_service.settings import Settings
from cds_service.trust.addresses import AddressRefusedError, normalise_base
from cds_service.trust.token import read_token
from tests.chart_keys import KINDS
from tests.fuzz.mutations import garbled, mutated

DAY = date(2026, 3, 1)
SERVICE = f"/cds-services/{SERVICE_ID}"
MOST_TIMES = 6
FEEDBACK = {
    "feedback": [
        {
            "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
            "outcome": outcome,
            "acceptedSuggestions": [{"id": "e56e1945-20b3-4393-8503-a1a20fd73152"}],
            "overrideReason": {"reason": {"code": "a", "system": "b"}, "userComment": "c"},
            "outcomeTimestamp": "2026-03-01T09:30:00Z",
        }
        for outcome in ("accepted", "overridden")
    ]
}


@cache
def client() -> FlaskClient:
    """Return a client of the whole service, with real rooms and real content."""
    state = Path(tempfile.mkdtemp(prefix="fuzz-"))
    app = create_app(Settings(is_dev=True, state_dir=state, deadline_ms=30_000))
    app.testing = False
    return app.test_client()


@cache
def _calls() -> tuple[dict[str, Any], ...]:
    """Return a good call for every synthetic patient."""
    return tuple(
        {
            "hook": "patient-view",
            "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
            "context": {"userId": "Practitioner/1", "patientId": persona.patient_id},
            "prefetch": {
                "patient": persona.resources[0],
                "findings": None,
                **{
                    key: {
                        "resourceType": "Bundle",
                        "type": "searchset",
                        "entry": [
                            {"resource": each}
                            for each in persona.resources
                            if each["resourceType"] == kind
                        ],
                    }
                    for key, kind in KINDS.items()
                },
            },
            "extension": {AS_OF_EXTENSION: DAY.isoformat()},
        }
        for persona in load_personas(DAY)
    )


def _json(tree: object) -> bytes:
    return json.dumps(tree).encode()


def read_json(random: Random) -> None:
    """Bytes that are not strict JSON are refused, with none of them in the text."""
    raw = garbled(_json({"a": [1, "b", {"c": None}]}), random, times=random.randrange(MOST_TIMES))
    with suppress(RequestError):
        parse_json(raw)


def read_request(random: Random) -> None:
    """A broken hook call is a ``RequestError``."""
    call = {**random.choice(_calls())}
    if random.random() < 0.7:
        call.pop("prefetch")
    body = _json(mutated(call, random, times=random.randrange(MOST_TIMES)))
    if random.random() < 0.5:
        body = garbled(body, random, times=random.randrange(MOST_TIMES))
    with suppress(RequestError):
        parse_request(body, service_id=SERVICE_ID, allows_as_of=random.random() < 0.5)


def read_feedback(random: Random) -> None:
    """Broken feedback is refused, item by item or as a whole."""
    body = _json(mutated(FEEDBACK, random, times=random.randrange(1, MOST_TIMES)))
    with suppress(RequestError):
        parse_feedback(body)


def read_authorization(random: Random) -> None:
    """A header that is not one token is an ``UnauthorizedError``."""
    parts = [
        base64.urlsafe_b64encode(garbled(part, random, times=random.randrange(4))).decode()
        for part in (b'{"alg":"ES384","typ":"JWT","kid":"a"}', b'{"iss":"a","exp":1}', b"signature")
    ]
    header = garbled(f"Bearer {'.'.join(parts)}".encode(), random, times=random.randrange(3))
    with suppress(UnauthorizedError):
        read_token(header.decode("latin-1"))


def read_base_url(random: Random) -> None:
    """A base URL is refused, or has one normal form."""
    raw = garbled(b"https://ehr.example.org:8443/fhir/r4", random, times=random.randrange(1, 5))
    with suppress(AddressRefusedError):
        normal = normalise_base(raw.decode("latin-1"))
        assert normalise_base(normal) == normal


def answer_chart(random: Random) -> None:
    """An odd chart is answered with cards or refused; no rule stumbles over it."""
    call = random.choice(_calls())
    body = {**call, "prefetch": mutated(call["prefetch"], random, times=random.randrange(1, 12))}
    with capture_logs() as logs:
        answer = client().post(SERVICE, data=_json(body), content_type="application/json")
    assert answer.status_code in {200, 400, 412}, logs
    assert not [entry for entry in logs if entry.get("faulty_rules")], logs
    told = json.loads(answer.data)
    assert "cards" in told or told["resourceType"] == "OperationOutcome"


PATHS = (
    *("/", "/cds-services", SERVICE, f"{SERVICE}/feedback", "/health/live", "/health/ready"),
    *(
        "/guidance/",
        "/guidance/IMG-MRI-NR",
        "/icon.png",
        "/fhir/ValueSet/opioid",
        "/static/page.css",
    ),
    "/fhir/CodeSystem/finding",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW")
MEDIA_TYPES = ("application/json", "application/fhir+json", "text/html", "a/b", "", ";", "\xff")


def answer_any_address(random: Random) -> None:
    """Any method, path, type and body gets an answer below 500, and errors are FHIR."""
    path = random.choice(PATHS)
    if random.random() < 0.5:
        path = "/" + garbled(path.encode(), random, times=2).decode("latin-1").lstrip("/")
    path = path.replace("\r", "").replace("\n", "")
    method = random.choice(METHODS)
    body = garbled(_json(random.choice((FEEDBACK, {}, {"hook": 1}))), random, times=2)
    with capture_logs() as logs:
        answer = client().open(
            path,
            method=method,
            buffered=True,
            data=body,
            headers={
                "Content-Type": random.choice(MEDIA_TYPES),
                "Origin": random.choice(("", "null", "https://a.example")),
                "Accept": random.choice(("*/*", "text/html", "image/png;q=x")),
            },
        )
    told = (method, path, answer.status, logs)
    assert answer.status_code < 500, told
    assert answer.headers.get("X-Content-Type-Options") == "nosniff", told
    if answer.status_code >= 400 and answer.data:
        assert json.loads(answer.data)["resourceType"] == "OperationOutcome", told


TARGETS: tuple[Callable[[Random], None], ...] = (
    read_json,
    read_request,
    read_feedback,
    read_authorization,
    read_base_url,
    answer_chart,
    answer_any_address,
)
