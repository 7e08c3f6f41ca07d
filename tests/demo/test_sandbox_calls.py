"""The calls of the public CDS Hooks Sandbox, as a browser sent them on 2026-11-21, sent again.

The Sandbox (its state of March 2026) was driven in Chromium against this service and a FHIR R4
server with the synthetic patients: cards, a suggestion, a dismissal with and without a reason, with
the Sandbox's token verified and in development mode.  These tests repeat what it sent: addresses,
headers, token form and bodies; the key is one of the tests, as anybody can sign with the Sandbox's.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.demo.fhir_server import AccessTokens
from cds_service.demo.personas import load_personas
from cds_service.demo.prefetch import RequestWriter
from cds_service.demo.store import ChartStore
from cds_service.settings import Settings
from tests.security.lab import FEEDBACK, SERVICE, Ehr

URL = "http://127.0.0.1:8080"
FHIR = "http://127.0.0.1:8103/fhir/R4"
TODAY = datetime.now(UTC).date()  # noqa: TID251 - the Sandbox sends no other day
ORIGIN = "http://127.0.0.1:8090"
BROWSER = {
    "Origin": ORIGIN,
    "Referer": f"{ORIGIN}/",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0.0.0 Safari",
    "Sec-Fetch-Mode": "cors",
}
REASON_SYSTEM = "http://post-laminectomy-cds.example/fhir/CodeSystem/override-reason"
Access = Literal["verified", "development"]


@dataclass(frozen=True)
class Sandbox:
    """A browser with the Sandbox open."""

    client: FlaskClient
    ehr: Ehr

    def headers(self, path: str, **more: str) -> dict[str, str]:
        """Return what the browser sends to *path*: the token is for exactly that address."""
        token = self.ehr.token(
            {"jku": "https://sandbox.cds-hooks.org/.well-known/jwks.json"}, aud=URL + path
        )
        return {**BROWSER, "Authorization": f"Bearer {token}", **more}

    def services(self) -> list[dict[str, Any]]:
        """Ask for the services, after the browser's own question."""
        self.preflight("/cds-services", "authorization")
        answer = self.client.get(
            "/cds-services", headers=self.headers("/cds-services", Accept="application/json")
        )
        assert answer.status_code == 200
        services: list[dict[str, Any]] = answer.get_json()["services"]
        return services

    def preflight(self, path: str, headers: str) -> None:
        """Ask whether a page from elsewhere may call *path*; no token is sent with that."""
        asked = {
            **BROWSER,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
        }
        answer = self.client.options(path, headers=asked)
        assert answer.status_code < 300
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        assert all(name in allowed for name in headers.split(","))

    def post(self, path: str, body: object, accept: str) -> Any:  # noqa: ANN401 - any answer
        """Post JSON as the Sandbox writes it, and read the answer as a page from elsewhere may."""
        self.preflight(path, "authorization,content-type")
        sent = self.headers(path, Accept=accept, **{"Content-Type": "application/json"})
        answer = self.client.post(path, data=json.dumps(body), headers=sent)
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", ORIGIN}
        return answer

    def open_chart(self, persona: str) -> list[dict[str, Any]]:
        """Open the patient view; return the cards."""
        [service] = self.services()
        body = {
            "hookInstance": str(uuid.uuid4()),  # noqa: TID251 - the Sandbox makes one each time
            "hook": "patient-view",
            "fhirServer": FHIR,
            "context": {
                "patientId": f"plcds-{persona}",
                "userId": "Practitioner/COREPRACTITIONER1",
            },
            "prefetch": _resolved(service["prefetch"], persona),
        }
        answer = self.post(SERVICE, body, "application/json")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        cards: list[dict[str, Any]] = answer.get_json()["cards"]
        return cards

    def tell(self, **item: object) -> Any:  # noqa: ANN401 - any answer
        """Send feedback about one card."""
        item["outcomeTimestamp"] = f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:-6]}Z"  # noqa: TID251
        return self.post(FEEDBACK, {"feedback": [item]}, "application/json, text/plain, */*")


def _resolved(templates: dict[str, str], persona: str) -> dict[str, object]:
    """Return what the Sandbox read from the FHIR server for each template of discovery."""
    resources = (each for one in load_personas(TODAY) for each in one.resources)
    store = ChartStore(resources, lambda: datetime.now(UTC))  # noqa: TID251 - stamps of the server
    server = RequestWriter(store=store, tokens=AccessTokens(), fhir_base=FHIR)
    return {
        key: server.resolve(template.replace("{{context.patientId}}", f"plcds-{persona}"))
        for key, template in templates.items()
    }


@pytest.fixture(params=["verified", "development"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Sandbox:
    """Return the Sandbox before a service that verifies its token, and before one that does not."""
    ehr = Ehr(
        URL,
        issuer="https://sandbox.cds-hooks.org",
        kid="44823f3d-0b01-4a6c-a80e-b9d3e8a7226f",
    )
    access: Access = request.param
    if access == "development":
        app = create_app(Settings(is_dev=True, state_dir=tmp_path))
        return Sandbox(app.test_client(), ehr)
    config = tmp_path / "cds.toml"
    service = ["[service]", 'mode = "demo"', "discovery_requires_token = true"]
    service += [f'public_base_url = "{URL}"', 'state_dir = "state"']
    profile = ehr.profile(
        "sandbox",
        'dialect = "cds-hooks-sandbox"',
        'jku_urls = ["https://sandbox.cds-hooks.org/.well-known/jwks.json"]',
        f'fhir_bases = ["{FHIR}"]',
        f'private_fhir_bases = ["{FHIR}"]',
        "allows_loopback_fhir = true",
        "allows_open_fhir = true",
    )
    config.write_text("\n".join([*service, "", profile]), encoding="utf-8")
    app = create_app(Settings(config_path=config, state_dir=tmp_path / "state"))
    return Sandbox(app.test_client(), ehr)


def _topics(cards: list[dict[str, Any]]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


@pytest.mark.parametrize(
    ("persona", "topics"),
    [
        ("no-relief", ["IMGMRINR", "PAINREF"]),
        ("cauda-equina", ["RFCES"]),
        ("recurrent-herniation", ["SURGREV", "IMGMRIRTR"]),
    ],
)
def test_a_chart_opened_in_the_sandbox_gets_the_cards_it_got_in_the_browser(
    sandbox: Sandbox, persona: str, topics: list[str]
) -> None:
    """Discovery, preflights and the call go through, with and without a look at the token."""
    assert _topics(sandbox.open_chart(persona)) == topics


def test_cards_hold_what_the_sandbox_needs_for_its_buttons(sandbox: Sandbox) -> None:
    """Buttons to accept and dismiss appear only with both uuids and listed reasons; one icon."""
    for card in sandbox.open_chart("no-relief"):
        assert card["uuid"]
        assert all(each["uuid"] and each["label"] for each in card["suggestions"])
        assert all(each["display"] and each["code"] for each in card["overrideReasons"])
        assert card["source"]["icon"] == f"{URL}/icon.png"
    assert sandbox.client.get("/icon.png", headers={"Referer": f"{ORIGIN}/"}).status_code == 200


def test_a_suggestion_taken_in_the_sandbox_is_heard(sandbox: Sandbox) -> None:
    """The address of the feedback is the audience of its token."""
    card, *_ = sandbox.open_chart("no-relief")
    accepted = [{"id": card["suggestions"][0]["uuid"]}]
    answer = sandbox.tell(card=card["uuid"], outcome="accepted", acceptedSuggestions=accepted)
    assert (answer.status_code, answer.get_json()) == (200, {})


def test_a_card_dismissed_in_the_sandbox_with_a_reason_is_heard(sandbox: Sandbox) -> None:
    """The Sandbox sends code and system of the reason, without display or comment."""
    *_, card = sandbox.open_chart("recurrent-herniation")
    declined = {"code": "patient-declined", "system": REASON_SYSTEM}
    assert declined in [
        {"code": reason["code"], "system": reason["system"]} for reason in card["overrideReasons"]
    ]
    answer = sandbox.tell(
        card=card["uuid"], outcome="overridden", overrideReason={"reason": declined}
    )
    assert (answer.status_code, answer.get_json()) == (200, {})


def test_a_card_dismissed_in_the_sandbox_without_a_reason_is_heard(sandbox: Sandbox) -> None:
    """The plain button sends neither reason nor comment; after an acceptance it may still come."""
    card, *_ = sandbox.open_chart("recurrent-herniation")
    accepted = [{"id": card["suggestions"][0]["uuid"]}]
    sandbox.tell(card=card["uuid"], outcome="accepted", acceptedSuggestions=accepted)
    answer = sandbox.tell(card=card["uuid"], outcome="overridden")
    assert (answer.status_code, answer.get_json()) == (200, {})
