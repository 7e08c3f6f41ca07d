"""EHRs of three versions of CDS Hooks at one hospital, each with its key, and the service between.

The service is the real one with every room; the EHRs speak HTTP to it through Flask's test client.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.app import create_app
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from cds_service.vignettes.running import AS_OF

URL = "https://cds.hospital.example"
DISCOVERY = "/cds-services"
SERVICE = f"{DISCOVERY}/{SERVICE_ID}"
FEEDBACK = f"{SERVICE}/feedback"
NOW = datetime(AS_OF.year, AS_OF.month, AS_OF.day, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    """What an EHR of one version of the specification is configured with."""

    named: str
    behaviors: frozenset[str]
    lines: tuple[str, ...] = ()
    card_lines: tuple[str, ...] = ()


BOTH = frozenset({"any", "at-most-one"})
VERSIONS: Mapping[str, Version] = {
    "1.0": Version("none", frozenset({"at-most-one"}), lines=('dialect = "cds-hooks-1-0"',)),
    "2.0.1": Version("STU2", BOTH),
    "3.0": Version("STU3", BOTH),
    "3.0 build": Version("3.0.0", BOTH),
    "epic": Version(
        "STU2",
        frozenset({"any"}),
        lines=('dialect = "epic"',),
        card_lines=("requires_local_codes = false",),
    ),
}


def card_id(card: Mapping[str, Any]) -> str:
    """Return which of our cards this is, by its guidance page: 1.0 knows no topic."""
    return str(card["source"]["url"]).rpartition("/")[2]


@dataclass(frozen=True)
class Answered:
    """One answer: to whom, to which request, and its bytes."""

    name: str
    version: Version
    request: Mapping[str, Any]
    status: int
    body: bytes

    @property
    def cards(self) -> list[dict[str, Any]]:
        """Return the cards."""
        found: list[dict[str, Any]] = json.loads(self.body)["cards"]
        return found


@dataclass
class Ehr:
    """One EHR: it signs each call for the address it calls."""

    client_id: str
    http: FlaskClient
    key: ec.EllipticCurvePrivateKey
    version: Version
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def issuer(self) -> str:
        """Return what stands in ``iss``."""
        return f"https://{self.client_id}.example"

    def token(self, path: str, **changed: object) -> str:
        """Return a fresh token for one address; *changed* claims replace the good ones."""
        claims = {
            "iss": self.issuer,
            "aud": URL + path,
            "iat": NOW,
            "exp": NOW + timedelta(minutes=5),
            "jti": f"{self.client_id}-{next(self.numbers)}",
        }
        return jwt.encode(
            {**claims, **changed}, self.key, algorithm="ES384", headers={"kid": self.client_id}
        )

    def bearer(self, path: str) -> dict[str, str]:
        """Return the header that opens *path* once."""
        return {"Authorization": f"Bearer {self.token(path)}"}

    def discover(self) -> dict[str, Any]:
        """Return the one service of discovery."""
        answer = self.http.get(DISCOVERY, headers=self.bearer(DISCOVERY))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        [service] = answer.get_json()["services"]
        found: dict[str, Any] = service
        return found

    def call(self, body: Mapping[str, Any]) -> TestResponse:
        """Fire the hook."""
        return self.http.post(SERVICE, json=body, headers=self.bearer(SERVICE))

    def asked(self, name: str, body: Mapping[str, Any]) -> Answered:
        """Fire the hook for the chart called *name* and keep the answer."""
        answer = self.call(body)
        return Answered(name, self.version, body, answer.status_code, answer.data)

    def tell(self, *items: object) -> TestResponse:
        """Send feedback."""
        return self.http.post(
            FEEDBACK, json={"feedback": list(items)}, headers=self.bearer(FEEDBACK)
        )


def hospital(folder: Path, knowledge: Knowledge) -> dict[str, Ehr]:
    """Return one EHR for each of ``VERSIONS``, all served by one service."""
    keys = {name: ec.generate_private_key(ec.SECP384R1()) for name in VERSIONS}
    lines = [
        "[service]",
        f'public_base_url = "{URL}"',
        f'identity_key = "{"5a" * 32}"',
        'state_dir = "state"',
        "accept_unreviewed_content = true",
        "discovery_requires_token = true",
    ]
    for name, version in VERSIONS.items():
        lines += _profile(_client_id(name), version, keys[name])
    path = folder / "cds.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    settings = Settings(config_path=path, state_dir=folder / "state", deadline_ms=20_000)
    app = create_app(settings, clock=lambda: NOW, knowledge=knowledge)
    return {
        name: Ehr(_client_id(name), app.test_client(), keys[name], version)
        for name, version in VERSIONS.items()
    }


def _client_id(name: str) -> str:
    return f"ehr-{name.replace('.', '-').replace(' ', '-')}"


def _profile(client_id: str, version: Version, key: ec.EllipticCurvePrivateKey) -> list[str]:
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    jwk = {"kid": client_id, "alg": "ES384", **{n: public[n] for n in ("kty", "crv", "x", "y")}}
    return [
        "",
        "[[clients]]",
        f'id = "{client_id}"',
        f'issuers = ["https://{client_id}.example"]',
        f'discovery_version = "{version.named}"',
        "rate_per_second = 100000",
        "burst = 1000000",
        *version.lines,
        "[clients.cards]",
        *version.card_lines,
        "[[clients.jwks.keys]]",
        *(f"{name} = {json.dumps(value)}" for name, value in jwk.items()),
    ]
