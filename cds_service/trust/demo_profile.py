"""The configuration the demonstration runs with: real authentication, a key made at each start.

The private key is handed to the demonstration's EHR in memory and is never written to a file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEMO_ISSUER = "https://demo-ehr.example"
DEMO_ISSUERS = {
    "generic": DEMO_ISSUER,
    "epic": f"{DEMO_ISSUER}/epic",
    "cds-hooks-sandbox": f"{DEMO_ISSUER}/sandbox",
}
"""Dialect to the ``iss`` the demonstration's EHR signs with when it plays that kind of EHR."""
_FIRST_ORDER_NUMBER = 41001
DEMO_KEY_ID = "demo-ehr-key"
DEMO_ALGORITHM = "ES384"


DEMO_ORDER_LIST = "demo-orders.csv"
_WITH_ORDER_LIST = (
    f"order_catalogue = {json.dumps(DEMO_ORDER_LIST)}",
    "",
    "[clients.cards]",
    "keeps_standard_codes = true  # so that the test EHR knows its order again",
)
_ORDER_SYSTEM = "urn:com.epic.cdshooks.action.code.system.preference-list-item"


def _write_order_list(state_dir: Path, orders: Mapping[str, str]) -> None:
    """Write the made-up order list of an Epic hospital."""
    with (state_dir / DEMO_ORDER_LIST).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["concept", "system", "code", "display", "instructions"])
        for number, (concept, title) in enumerate(orders.items(), _FIRST_ORDER_NUMBER):
            writer.writerow([concept, _ORDER_SYSTEM, str(number), f"{title} (made-up order)", ""])


def generate_demo_config(
    state_dir: Path,
    fhir_base: str,
    service_url: str,
    orders: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Path, str]:
    """Write the demonstration's configuration; return its path and the EHR's private key (PEM).

    The EHR signs with :data:`DEMO_ALGORITHM`, ``kid`` :data:`DEMO_KEY_ID` and one ``iss`` of
    :data:`DEMO_ISSUERS`, to the endpoint under *service_url*.  *orders* is concept to title: the
    client that plays Epic gets a made-up code for each, as it shows no order without one.
    """
    private_key = ec.generate_private_key(ec.SECP384R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private_key.public_key()))
    lines = [
        "# Written at each start of the demonstration; changes are lost.",
        "[service]",
        'mode = "demo"',
        f"public_base_url = {_quoted(service_url)}",
        f"state_dir = {_quoted(str(state_dir.resolve()))}",
        "",
    ]
    for dialect, issuer in DEMO_ISSUERS.items():
        more = _WITH_ORDER_LIST if orders and dialect == "epic" else ()
        lines += _client(dialect, (f"issuers = [{_quoted(issuer)}]", *more), fhir_base, public)
    state_dir.mkdir(parents=True, exist_ok=True)
    _write_order_list(state_dir, orders)
    path = state_dir / "demo-config.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return path, pem.decode("ascii")


def _client(
    dialect: str, lines: Sequence[str], fhir_base: str, public: Mapping[str, str]
) -> list[str]:
    """Return the lines of the client that the EHR is in one dialect; *lines* are its own."""
    return [
        "[[clients]]",
        f"id = {_quoted(f'demo-{dialect}')}",
        f"dialect = {_quoted(dialect)}",
        f"fhir_bases = [{_quoted(fhir_base)}]",
        f"private_fhir_bases = [{_quoted(fhir_base)}]",
        "allows_loopback_fhir = true",
        *lines,
        "",
        "[[clients.jwks.keys]]",
        f"kid = {_quoted(DEMO_KEY_ID)}",
        f"alg = {_quoted(DEMO_ALGORITHM)}",
        *(f"{name} = {_quoted(public[name])}" for name in ("kty", "crv", "x", "y")),
        "",
    ]


def _quoted(text: str) -> str:
    """Return *text* as a TOML basic string; TOML and JSON agree on the escapes json writes."""
    return json.dumps(text)
