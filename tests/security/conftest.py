"""One service for all attacks: two worker processes, a public URL with a path, a proxy in front."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.ports import free_port
from tests.security.lab import Ehr, Service, prefix_proxy, running_service

PREFIX = "/ehr/cds"
IDENTITY_KEY = "5a" * 32


@dataclass(frozen=True)
class Site:
    """A hospital: the service, its public URL at the proxy, and the EHRs it knows."""

    service: Service
    public_url: str
    ehr: Ehr
    narrow: Ehr
    """An EHR that may call twice at once and then once in ten seconds."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run the service as a site would: clients, tokens, production mode, behind a proxy."""
    folder = tmp_path_factory.mktemp("site")
    port, proxy_port = free_port(), free_port()
    public_url = f"http://127.0.0.1:{proxy_port}{PREFIX}"
    ehr = Ehr(public_url)
    narrow = Ehr(
        public_url,
        issuer="https://narrow.example",
        kid="narrow",
        algorithm="RS384",
        key=rsa.generate_private_key(65537, 2048),
    )
    config = "\n".join(
        [
            "[service]",
            f'public_base_url = "{public_url}"',
            f'identity_key = "{IDENTITY_KEY}"',
            'state_dir = "state"',
            "accept_unreviewed_content = true",
            "workers = 2",
            "",
            ehr.profile(
                "hospital",
                'fhir_bases = ["https://ehr.hospital.example/fhir"]',
                'jku_urls = ["https://ehr.hospital.example/jwks.json"]',
                "rate_per_second = 10000",
                "burst = 10000",
            ),
            narrow.profile("narrow", "rate_per_second = 0.1", "burst = 2"),
        ]
    )
    with (
        running_service(folder, config, port=port) as service,
        prefix_proxy(port, PREFIX, proxy_port),
    ):
        yield Site(service=service, public_url=public_url, ehr=ehr, narrow=narrow)
