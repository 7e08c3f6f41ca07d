"""Planted names, dates, ids, tokens, cookies and URLs: none is ever written by the service.

The service runs as a process of its own, as talkative as Python can make it, and is called well and
badly.  Then everything it wrote is searched: its output, its state, its answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests

from cds_service.demo.personas import load_personas
from cds_service.hooks.request import AS_OF_EXTENSION
from tests.patience import until
from tests.ports import free_port
from tests.security.lab import FEEDBACK, SERVICE, Ehr, Service, listening, running_service

TEXT = "zqcantxt"
"""In every text; never to be seen again anywhere."""
ID = "zqcanid"
"""In every id of a patient, user or encounter; cards must repeat some, nothing else may."""
ENTRY = "zqentry"
"""In the id of every other entry of a chart; the ledger keeps these as evidence, no log does."""
BIRTH = "1961-07-23"
DAY = date(2026, 3, 1)
ADMITTED = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"

MOST_VERBOSE = """
import logging
logging.Logger.isEnabledFor = lambda self, level: True
import structlog
from cds_service import cli
quiet = cli.set_up_logging
def verbose(**options):
    quiet(**options)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    logging.getLogger().setLevel(0)
cli.set_up_logging = verbose
cli.main()
"""


@dataclass
class Lab:
    """The service, its EHR and its FHIR server, and every answer that holds no cards."""

    service: Service
    ehr: Ehr
    fhir: str
    fhir_paths: list[str]
    other_paths: list[str]
    config: Path
    answers: list[bytes] = field(default_factory=list)
    cards: list[bytes] = field(default_factory=list)

    def call(self, patient: str, **changed: object) -> requests.Response:
        """Call for a patient whose chart is on the FHIR server."""
        body: dict[str, object] = {
            "hook": "patient-view",
            "hookInstance": ADMITTED,
            "fhirServer": self.fhir,
            "fhirAuthorization": {
                "access_token": f"{TEXT}-access-token",
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": f"{TEXT}/scope",
                "subject": f"{TEXT}-subject",
            },
            "context": {
                "userId": f"Practitioner/{ID}-user",
                "patientId": patient,
                "encounterId": f"{ID}-encounter",
            },
            "extension": {AS_OF_EXTENSION: DAY.isoformat(), f"{TEXT}.key": TEXT},
            **changed,
        }
        return self.send(json.dumps(body).encode())

    def send(self, body: bytes, path: str = SERVICE, **headers: str) -> requests.Response:
        """Post *body* with a good token and canaries in every other header."""
        token = self.ehr.token(jti=f"{TEXT}-{time.monotonic_ns()}", sub=TEXT)
        sent = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": TEXT,
            "Referer": f"https://{TEXT}.example/?name={TEXT}",
            "Origin": f"https://{TEXT}.example",
            "Cookie": f"session={TEXT}",
            "X-Request-Id": TEXT,
            "X-Forwarded-For": TEXT,
            **headers,
        }
        return self.keep(
            requests.post(f"{self.service.url}{path}", data=body, headers=sent, timeout=20)
        )

    def keep(self, answer: requests.Response) -> requests.Response:
        """Remember what was answered."""
        whole = str(answer.headers).encode() + answer.content
        (self.cards if b'"cards"' in answer.content else self.answers).append(whole)
        return answer


def _planted(value: object, name: str = "") -> object:
    """Return a chart with canaries in every text a person may have written."""
    if isinstance(value, dict):
        return {key: _planted(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_planted(member, name) for member in value]
    if name in {"display", "text", "family", "given", "div", "title", "description"}:
        return f"{value} {TEXT} <b>{TEXT}</b> [x](https://{TEXT}.example)"
    return BIRTH if name == "birthDate" else value


def _chart(patient: str) -> list[dict[str, Any]]:
    persona = next(each for each in load_personas(DAY) if each.id == "no-relief")
    text = json.dumps([*persona.resources]).replace(persona.patient_id, patient)
    planted: Any = _planted(json.loads(text))
    resources: list[dict[str, Any]] = planted
    for number, resource in enumerate(resources):
        if resource["resourceType"] != "Patient":
            resource["id"] = f"{ENTRY}-{number}"
        resource["note"] = [{"text": TEXT}]
        resource["identifier"] = [{"system": f"https://{TEXT}.example", "value": TEXT}]
        resource["text"] = {"status": "generated", "div": f"<div>{TEXT}</div>"}
    return resources


HEADERS = {
    "Content-Type": "application/fhir+json",
    "Set-Cookie": f"session={TEXT}",
    "ETag": TEXT,
    "X-Request-Id": TEXT,
    "Server": TEXT,
}


def _fhir_answer(path: str, redirect_to: str) -> tuple[int, dict[str, str], bytes]:
    """Answer as the FHIR server; the patient's id says how well."""
    if f"{ID}-html" in path:
        return 500, {**HEADERS, "Content-Type": "text/html"}, f"<h1>{TEXT}</h1>".encode()
    if f"{ID}-redirect" in path:
        return 302, {**HEADERS, "Location": redirect_to}, TEXT.encode()
    is_required = "Patient/" in path or "Procedure" in path
    if f"{ID}-broken" in path and not is_required:
        return 200, HEADERS, f'{{"resourceType": "Bundle", "entry": [{{"{TEXT}": '.encode()
    if f"{ID}-refused" in path and not is_required:
        outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": TEXT}]}
        return 403, HEADERS, json.dumps(outcome).encode()
    owner = f"{ID}-somebody-else" if f"{ID}-foreign" in path else _patient_in(path)
    if "/Patient/" in path:
        [patient] = [
            each for each in _chart(_patient_in(path)) if each["resourceType"] == "Patient"
        ]
        return 200, HEADERS, json.dumps(patient).encode()
    kind = path.partition("?")[0].rpartition("/")[2]
    entries = [{"resource": each} for each in _chart(owner) if each["resourceType"] == kind]
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": entries,
        "link": [{"relation": "self", "url": f"https://{TEXT}.example/fhir?name={TEXT}"}],
    }
    return 200, HEADERS, json.dumps(bundle).encode()


def _patient_in(path: str) -> str:
    for name in ("good", "html", "redirect", "broken", "refused", "foreign"):
        if f"{ID}-{name}" in path:
            return f"{ID}-{name}"
    return f"{ID}-nobody"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run the service against a FHIR server full of canaries, then call it in every way."""
    folder = tmp_path_factory.mktemp("canaries")
    port = free_port()
    with listening() as (elsewhere, other_paths):
        redirect_to = f"http://127.0.0.1:{elsewhere}/{TEXT}"

        def answer(path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
            assert headers.get("Cookie") is None
            return _fhir_answer(path, redirect_to)

        with listening(answer) as (fhir_port, fhir_paths):
            fhir = f"http://127.0.0.1:{fhir_port}/fhir"
            ehr = Ehr(f"http://127.0.0.1:{port}")
            config = "\n".join(
                [
                    '[service]\nmode = "demo"',
                    f'public_base_url = "http://127.0.0.1:{port}"',
                    'state_dir = "state"\nworkers = 2\ndeadline_ms = 5000\n',
                    "[ledger]\nkeep_comments = false\n",
                    ehr.profile(
                        "hospital",
                        f'fhir_bases = ["{fhir}"]',
                        f'private_fhir_bases = ["{fhir}"]',
                        "allows_loopback_fhir = true",
                        "burst = 10000",
                    ),
                ]
            )
            program = ("-c", MOST_VERBOSE)
            with running_service(folder, config, port=port, program=program) as service:
                lab = Lab(service, ehr, fhir, fhir_paths, other_paths, folder / "cds.toml")
                _good_calls(lab)
                _bad_calls(lab)
                _bad_tokens_and_addresses(lab)
                _wrong_configuration(lab)
                yield lab


def _good_calls(lab: Lab) -> None:
    for name in ("good", "redirect", "foreign", "refused", "broken", "html"):
        lab.call(f"{ID}-{name}")
    patient, *_ = chart = _chart(f"{ID}-good")
    prefetch = {
        "patient": patient,
        "procedures": {
            "resourceType": "Bundle",
            "entry": [{"resource": each} for each in chart if each["resourceType"] == "Procedure"],
        },
        TEXT: {"resourceType": TEXT},
    }
    lab.call(f"{ID}-good", prefetch=prefetch, fhirServer=None, fhirAuthorization=None)
    lab.call(f"Patient/{ID}-good", prefetch={**prefetch, "conditions": {"resourceType": TEXT}})


def _bad_calls(lab: Lab) -> None:
    good = f'{{"hook": "patient-view", "hookInstance": "{ADMITTED}", '
    for body in (
        f"{TEXT}",
        f'{good} "context": {{"patientId": "{TEXT} {TEXT}", "userId": "{TEXT}"}}}}',
        f'{good} "context": {{"patientId": ["{TEXT}"], "userId": {{"{TEXT}": 1}}}}}}',
        f'{good} "{TEXT}": "{TEXT}", "{TEXT}": 1}}',
        f'{{"hook": "{TEXT}", "hookInstance": "{TEXT}"}}',
        f'{{"{TEXT}": NaN}}',
        "[" * 300 + f'"{TEXT}"',
        f'"{TEXT}',
        "",
    ):
        lab.send(body.encode())
        lab.send(body.encode(), FEEDBACK)
    lab.call(f"{ID}-good", prefetch=TEXT)
    lab.call(f"{ID}-good", prefetch={"patient": TEXT, "procedures": [TEXT]})
    lab.call(f"{ID}-good", fhirServer=f"https://{TEXT}.example/fhir", prefetch=None)
    lab.call(f"{ID}-good", fhirServer=f"https://{TEXT}@127.0.0.1/fhir", prefetch=None)
    lab.call(f"{ID}-good", extension={AS_OF_EXTENSION: TEXT})
    lab.call(f"{ID}-good", extension=[TEXT])
    lab.call(f"{ID}-other", fhirAuthorization={"access_token": TEXT, "patient": f"{ID}-good"})
    item = {
        "card": "card-of-nobody",  # card, code and system are kept as a known client sent them
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-01T00:00:00Z",
        "overrideReason": {
            "reason": {"code": "own-reason", "system": "urn:own", "display": TEXT},
            "userComment": f"{TEXT} born {BIRTH}",
        },
    }
    for items in ([item], [item, {**item, "outcome": TEXT}], [TEXT], [{TEXT: TEXT}], TEXT):
        lab.send(json.dumps({"feedback": items}).encode(), FEEDBACK)
    lab.send(TEXT.encode(), **{"Content-Type": f"{TEXT}/{TEXT}; charset={TEXT}"})
    lab.send(TEXT.encode(), **{"Content-Encoding": TEXT})


def _bad_tokens_and_addresses(lab: Lab) -> None:
    for token in (
        TEXT,
        lab.ehr.token({"kid": TEXT}),
        lab.ehr.token({"jku": f"https://{TEXT}.example"}),
        lab.ehr.token({"alg": TEXT}),
        lab.ehr.token(iss=TEXT),
        lab.ehr.token(aud=TEXT),
        lab.ehr.token(jti=TEXT, exp=1),
        lab.ehr.token(tenant=TEXT, sub=TEXT),
    ):
        lab.send(b"{}", Authorization=f"Bearer {token}")
    for path in (f"/{TEXT}", f"{SERVICE}/{TEXT}", f"/guidance/{TEXT}", f"/fhir/ValueSet/{TEXT}"):
        for method in ("GET", "POST", "PUT", "OPTIONS", "DELETE"):
            answer = requests.request(
                method, f"{lab.service.url}{path}?name={TEXT}", cookies={TEXT: TEXT}, timeout=20
            )
            lab.keep(answer)
    for raw in (
        f"{TEXT}\r\n\r\n",
        f"GET /{TEXT} HTTP/{TEXT}\r\n\r\n",
        f"GET / HTTP/1.1\r\n{TEXT}\r\n\r\n",
        f"{TEXT} / HTTP/1.1\r\nHost: {TEXT}\r\n\r\n",
        f"POST {SERVICE} HTTP/1.1\r\nTransfer-Encoding: {TEXT}\r\n\r\n",
        f"POST {SERVICE} HTTP/1.1\r\nContent-Length: {TEXT}\r\n\r\n",
        f"GET / HTTP/1.1\r\nX: {TEXT * 3000}\r\n\r\n",
    ):
        lab.answers.append(lab.service.talk(raw.encode(), seconds=0.5))


def _wrong_configuration(lab: Lab) -> None:
    """Write a wrong file with a secret in it, see it refused, and write the right one again."""
    right = lab.config.read_text(encoding="utf-8")
    lab.config.write_text(f'{right}\n[[clients]]\nid = "{TEXT}"\nsecret = "{TEXT}"\n')

    def is_refused() -> bool:
        assert requests.get(f"{lab.service.url}/cds-services", timeout=20).ok
        return "configuration refused, the old one stays" in lab.service.log.read_text()

    assert until(is_refused)
    lab.config.write_text(right)


def test_the_calls_reached_what_they_were_meant_to_reach(lab: Lab) -> None:
    """The search below means something: cards were made, servers asked, faults provoked."""
    assert len(lab.cards) >= 6
    assert len(lab.answers) > 60
    assert any("Procedure" in path for path in lab.fhir_paths)
    log = lab.service.log.read_text(encoding="utf-8")
    events = {json.loads(line).get("event") for line in log.splitlines() if line.startswith("{")}
    assert {"hook_answered", "refused", "feedback", "unreadable_request"} <= events
    assert "configuration refused, the old one stays" in events
    assert "foreign_log_record" in events, "the libraries were not talkative"


def test_redirect_of_the_fhir_server_is_not_followed(lab: Lab) -> None:
    """The token does not travel to where a FHIR server points."""
    assert any(f"{ID}-redirect" in path for path in lab.fhir_paths)
    assert lab.other_paths == []


def test_output_of_the_service_holds_no_canary(lab: Lab) -> None:
    """Neither log nor anything printed names a patient, a user, a date of birth or a token."""
    _assert_clean(lab.service.log.read_bytes(), TEXT, ID, ENTRY, BIRTH, "access-token", "Bearer e")


def test_state_of_the_service_holds_no_canary(lab: Lab) -> None:
    """Used tokens and patients are kept as hashes, comments not at all where a site says so."""
    files = [path for path in lab.service.state.rglob("*") if path.is_file()]
    assert files
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            assert path.suffix == ".draft", path  # it has got its name meanwhile
            continue
        _assert_clean(content, TEXT, ID, BIRTH, lab.ehr.issuer)


def test_answers_without_cards_hold_no_canary(lab: Lab) -> None:
    """Errors, pages and acknowledgements repeat nothing of what was sent."""
    for answer in lab.answers:
        _assert_clean(answer, TEXT, ID, ENTRY, BIRTH)


def test_cards_hold_no_text_of_the_chart(lab: Lab) -> None:
    """Cards speak in our own words; of the chart they carry ids and days, not the day of birth."""
    for answer in lab.cards:
        _assert_clean(answer, TEXT, BIRTH)


def test_every_line_of_the_log_is_json(lab: Lab) -> None:
    """No line is free text, so a reader of the log cannot be fooled by one."""
    lines = lab.service.log.read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if not line.startswith("Listening at http://127.0.0.1")]
    assert told
    for line in told:
        assert {"event", "level", "timestamp"} <= set(json.loads(line))


def _assert_clean(written: bytes, *canaries: str) -> None:
    lowered = written.lower()
    for canary in canaries:
        place = lowered.find(canary.lower().encode())
        assert place < 0, written[max(0, place - 200) : place + 60]
