"""A real FHIR R4 server and a real service process, both on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.everything_written import ACCESS_TOKEN
from tests.patience import PATIENT_SECONDS
from tests.ports import free_port

TOKEN = ACCESS_TOKEN
PAGE = 7


@dataclass(frozen=True, slots=True)
class FhirServer:
    """The FHIR test server: its base URL, and a session that may write to it."""

    base: str
    session: requests.Session

    def __post_init__(self) -> None:
        """Keep no connection: the server may close it in the moment it is used again."""
        self.session.headers["Connection"] = "close"

    def put_all(self, resources: list[dict[str, Any]]) -> None:
        """Store every resource under its own id."""
        for start in range(0, len(resources), 200):
            entries = [
                {
                    "resource": resource,
                    "request": {
                        "method": "PUT",
                        "url": f"{resource['resourceType']}/{resource['id']}",
                    },
                }
                for resource in resources[start : start + 200]
            ]
            bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
            answer = self.session.post(self.base, json=bundle, timeout=60)
            answer.raise_for_status()
            failed = [
                entry["response"]
                for entry in answer.json()["entry"]
                if not entry["response"]["status"].startswith("2")
            ]
            assert not failed, failed[:3]

    def get(self, query: str) -> Any:  # noqa: ANN401 - any FHIR resource
        """Return the first page of a search, or a read."""
        answer = self.session.get(f"{self.base}/{query}", timeout=30)
        answer.raise_for_status()
        return answer.json()


def wait_until_answering(
    url: str, process: subprocess.Popen[bytes], seconds: float = PATIENT_SECONDS
) -> None:
    """Wait for *url* to answer; fail with what the process did if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"the process for {url} ended with {process.returncode}")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail(f"nothing answered at {url} within {seconds:.0f} s")


@pytest.fixture(scope="session")
def fhir_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """Start the FHIR R4 test server with pages of seven and a required token."""
    folder = os.environ.get("FHIR_TEST_SERVER")
    if not folder or not (Path(folder) / "node_modules").is_dir():
        pytest.skip(
            "FHIR_TEST_SERVER names no prepared folder; needs Node 20 and npm: run "
            "tests/fhir_server/install FOLDER and set FHIR_TEST_SERVER=FOLDER"
        )
    node = shutil.which("node")
    if node is None:
        pytest.skip("the FHIR test server needs Node 20, and no node was found")
    port = free_port()
    log = (tmp_path_factory.mktemp("fhir") / "server.log").open("wb")
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "TOKEN": TOKEN,
        "INDEX": "fast",
        "DEFAULT_COUNT": str(PAGE),
        "MAX_COUNT": str(PAGE),
    }
    command = [node, "--experimental-websocket", "--no-warnings", "server.mjs"]
    process = subprocess.Popen(  # noqa: S603 - our own test server
        command, cwd=folder, env=environment, stdout=log, stderr=log
    )
    try:
        wait_until_answering(f"http://127.0.0.1:{port}/healthcheck", process)
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            yield FhirServer(f"http://127.0.0.1:{port}/fhir/R4", session)
    finally:
        process.terminate()
        process.wait(timeout=PATIENT_SECONDS)
        log.close()


@dataclass(frozen=True, slots=True)
class Service:
    """A running service process."""

    base: str

    def post(self, body: dict[str, Any]) -> requests.Response:
        """Fire a hook."""
        url = f"{self.base}/cds-services/post-laminectomy-evaluation"
        return requests.post(url, json=body, timeout=30)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start the real service in development mode, with time for slow shared machines."""
    port = free_port()
    state = tmp_path_factory.mktemp("state")
    log = (state / "service.log").open("wb")
    command = [
        *(sys.executable, "-m", "cds_service", "serve", "--dev", "--port", str(port)),
        *("--state-dir", str(state), "--deadline-ms", "20000"),
    ]
    process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own service
    base = f"http://127.0.0.1:{port}"
    try:
        wait_until_answering(f"{base}/health/ready", process)
        yield Service(base)
    finally:
        process.terminate()
        process.wait(timeout=PATIENT_SECONDS)
        log.close()


@pytest.fixture(scope="session")
def today() -> Any:  # noqa: ANN401 - a date
    """Return today as the service counts it: the calendar day in UTC."""
    return datetime.now(UTC).date()  # noqa: TID251 - the real service reads the real clock


@pytest.fixture(scope="session")
def real_charts() -> Path:
    """Return the folder with real FHIR resources that nobody here wrote."""
    folder = os.environ.get("REAL_CHARTS")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "REAL_CHARTS names no folder; set it to a folder with synthea/*.json transaction "
            "Bundles and other folders of FHIR R4 JSON files"
        )
    return Path(folder)
