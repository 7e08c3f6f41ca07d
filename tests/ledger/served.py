"""A served process with two EHRs and a ledger, for tests that kill, fill, lock and take away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from cds_service.ledger.place import FILE_NAME, LedgerPlace
from tests.ledger.clinic import SERVICE, Json, chart_of, hook_call, new_uuid
from tests.ports import free_port
from tests.security.lab import Ehr, Service, running_service

IDENTITY_KEY = "5b" * 32


@dataclass
class Site:
    """A service, its EHRs, and its ledger."""

    folder: Path
    port: int
    ehrs: dict[str, Ehr]
    config: str
    place: LedgerPlace
    service: Service | None = None
    program: tuple[str, ...] = ("-m", "cds_service")

    @contextmanager
    def running(self) -> Iterator[Site]:
        """Run the service while the block runs."""
        with running_service(
            self.folder, self.config, port=self.port, program=self.program
        ) as service:
            self.service = service
            yield self

    def open(
        self, prefetch: Json | None = None, *, ehr: str = "north", call: Json | None = None
    ) -> requests.Response:
        """Open a chart, as an EHR does."""
        body = call or hook_call(prefetch or chart_of("no-relief"))
        return self.post(body, ehr=ehr)

    def feedback(self, *items: Json, ehr: str = "north") -> requests.Response:
        """Send feedback."""
        return self.post({"feedback": list(items)}, ehr=ehr, path=f"{SERVICE}/feedback")

    def post(
        self, body: Json, *, ehr: str, path: str = SERVICE, **claims: object
    ) -> requests.Response:
        """Send one signed call."""
        token = self.ehrs[ehr].token(**claims)
        return requests.post(
            f"http://127.0.0.1:{self.port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
        )

    def health(self) -> str:
        """Return what health says of the ledger."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=20)
        return str(answer.json()["ledger"])

    def kill(self) -> None:
        """End every process of the service at once, without a word."""
        assert self.service is not None
        pid = self.service.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (str(pid), *children):
            os.kill(int(each), signal.SIGKILL)
        self.service.process.wait(timeout=10)


def make_site(
    folder: Path, *, ledger: str = "", workers: int = 1, north: str = "", south: str = ""
) -> Site:
    """Return a site in *folder*; *ledger*, *north* and *south* are lines of the configuration."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ehrs = {
        name: Ehr(url, issuer=f"https://{name}.hospital.example/fhir", kid=name)
        for name in ("north", "south")
    }
    lines = {"north": north, "south": south}
    rate = ("rate_per_second = 100000", "burst = 100000")
    config = "\n".join(
        [
            "[service]",
            f'public_base_url = "{url}"',
            f'identity_key = "{IDENTITY_KEY}"',
            'state_dir = "state"',
            "accept_unreviewed_content = true",
            f"workers = {workers}",
            "[ledger]",
            ledger,
            *(ehr.profile(name, *rate, lines[name]) for name, ehr in ehrs.items()),
        ]
    )
    return Site(
        folder=folder,
        port=port,
        ehrs=ehrs,
        config=config,
        place=LedgerPlace(file=(folder / "state").resolve() / FILE_NAME),
    )


def override(card: Json, at: str, **more: object) -> Json:
    """Return an item of feedback that sets *card* aside."""
    return {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": at, **more}


def fresh_call(patient: str = "p-1") -> Json:
    """Return a call for a patient without an operation: quick, and kept as any other."""
    return hook_call(chart_of("resolved", patient), new_uuid())
