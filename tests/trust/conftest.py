"""An EHR for tests: its keys, its tokens, and a service that knows it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cds_service.trust.config import Config, ServiceSettings
from cds_service.trust.keys import KeySet, parse_key_set
from cds_service.trust.profile import ClientProfile
from cds_service.trust.verification import Verifier

BASE = "https://cds.hospital.example"
PATH = "/cds-services/post-laminectomy-evaluation"
ENDPOINT = BASE + PATH
ISSUER = "https://ehr.hospital.example/fhir"
NOW = 1_770_000_000
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def base64url(raw: bytes) -> str:
    """Return *raw* as a part of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public_jwk(key: PrivateKey, kid: str, **members: object) -> dict[str, object]:
    """Return the public half of *key* as a JSON Web Key."""
    public = key.public_key()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        found = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public))
    elif isinstance(key, rsa.RSAPrivateKey):
        found = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
    else:
        found = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(public))
    found.pop("key_ops", None)
    return {**found, "kid": kid, **members}


def key_set(*keys: Mapping[str, object]) -> KeySet:
    """Return the parsed set of *keys*."""
    return parse_key_set({"keys": list(keys)})


@dataclass
class Ehr:
    """Signs tokens; every part can be replaced."""

    key: PrivateKey
    kid: str = "key+1/a="
    algorithm: str = "ES384"
    issued: int = 0

    def header(self) -> dict[str, object]:
        """Return a good JOSE header."""
        return {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}

    def claims(self) -> dict[str, object]:
        """Return good claims; each call has its own jti."""
        self.issued += 1
        return {
            "iss": ISSUER,
            "aud": ENDPOINT,
            "iat": NOW,
            "exp": NOW + 300,
            "jti": f"token-{self.issued}",
        }

    def sign(
        self,
        header: Mapping[str, object] | str | None = None,
        claims: Mapping[str, object] | str | None = None,
        **changed: object,
    ) -> str:
        """Return an Authorization header; texts go in as they are, *changed* are claims."""
        head = self.header() if header is None else header
        body = self.claims() if claims is None else claims
        if not isinstance(body, str):
            body = {key: value for key, value in {**body, **changed}.items() if value is not None}
        texts = [part if isinstance(part, str) else json.dumps(part) for part in (head, body)]
        signing_input = ".".join(base64url(text.encode()) for text in texts)
        algorithm = jwt.algorithms.get_default_algorithms()[self.algorithm]
        signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(self.key))
        return f"Bearer {signing_input}.{base64url(signature)}"


@pytest.fixture(scope="session")
def ec_key() -> ec.EllipticCurvePrivateKey:
    """Return the EHR's usual key."""
    return ec.generate_private_key(ec.SECP384R1())


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    """Return an RSA key of the least length accepted."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def ehr(ec_key: ec.EllipticCurvePrivateKey) -> Ehr:
    """Return the EHR the service knows."""
    return Ehr(ec_key)


@pytest.fixture
def client(ehr: Ehr) -> ClientProfile:
    """Return the profile of that EHR."""
    return ClientProfile(
        id="hospital", issuers=(ISSUER,), jwks=key_set(public_jwk(ehr.key, ehr.kid))
    )


@dataclass
class Service:
    """A verifier whose clock and clients a test may change."""

    state_dir: Path
    client: ClientProfile
    now: float = NOW + 10

    def verifier(self, *more: ClientProfile, **service: object) -> Verifier:
        """Return a verifier that knows the client and *more*."""
        settings = ServiceSettings(public_base_url=BASE, **service)
        config = Config(service=settings, clients=(self.client, *more))
        return Verifier(config, self.state_dir, lambda: datetime.fromtimestamp(self.now, UTC))

    def knows(self, **changed: object) -> Service:
        """Change the client's profile."""
        self.client = replace(self.client, **changed)
        return self

    def accepts(self, header: str | None, audiences: tuple[str, ...] = (PATH,)) -> ClientProfile:
        """Authenticate with a verifier of its own."""
        return self.verifier().authenticate(header, audiences)


@pytest.fixture
def service(tmp_path: Path, client: ClientProfile) -> Service:
    """Return a service that knows the EHR."""
    return Service(tmp_path, client)


@pytest.fixture
def make_rsa_ehr(rsa_key: rsa.RSAPrivateKey) -> Callable[[], Ehr]:
    """Return a maker of EHRs that sign with RS384."""
    return lambda: Ehr(rsa_key, kid="rsa", algorithm="RS384")
