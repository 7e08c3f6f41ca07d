"""The service as it is measured: a configured client with an RS384 key, one worker process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.bodies import SERVICE
from benchmarks.processes import HOST

DELAYS = (20, 100)
"""Milliseconds a FHIR server needs for a search, as those of hospitals do."""
SLOW_DELAYS = (100, 400)
"""Those of the neighbours of other calls: the busiest, and one that is really slow."""
_ISSUER = "https://bench.example"
_KEY_ID = "bench"
_THREADS = 48
_FHIR_REQUESTS = 256
"""The default, in words, so that the numbers stay comparable when it moves."""


@dataclass(slots=True)
class Client:
    """An EHR with a key of its own; every token is good once."""

    url: str
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    )
    signed: int = 0

    def token(self) -> str:
        """Return a token nobody has used."""
        self.signed += 1
        now = datetime.now(UTC)  # noqa: TID251 - a benchmark runs today
        claims = {
            "iss": _ISSUER,
            "aud": f"{self.url}{SERVICE}",
            "iat": now,
            "exp": now + timedelta(minutes=14),
            "jti": str(uuid5(NAMESPACE_URL, str(self.signed))),
        }
        return jwt.encode(claims, self.key, algorithm="RS384", headers={"kid": _KEY_ID})


def written_config(folder: Path, client: Client, fhir_port: int) -> Path:
    """Write the configuration of the service that knows *client*; return its path."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(client.key.public_key()))
    bases = json.dumps([fhir_base(fhir_port, delay) for delay in {*DELAYS, *SLOW_DELAYS}])
    lines = [
        "[service]",
        'mode = "demo"',
        f"public_base_url = {json.dumps(client.url)}",
        f"state_dir = {json.dumps(str(folder / 'state'))}",
        "workers = 1",
        f"threads = {_THREADS}",
        "deadline_ms = 2000",
        "[[clients]]",
        'id = "bench"',
        f"issuers = [{json.dumps(_ISSUER)}]",
        f"fhir_bases = {bases}",
        f"private_fhir_bases = {bases}",
        "allows_loopback_fhir = true",
        f"max_fhir_requests = {_FHIR_REQUESTS}",
        "rate_per_second = 100000",
        "burst = 100000",
        "[[clients.jwks.keys]]",
        f'kid = "{_KEY_ID}"',
        'alg = "RS384"',
        *(f"{name} = {json.dumps(public[name])}" for name in ("kty", "n", "e")),
    ]
    path = folder / "bench.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def fhir_base(port: int, delay: int) -> str:
    """Return the base URL of the FHIR server that answers after *delay* milliseconds."""
    return f"http://{HOST}:{port}/{delay}/fhir"
