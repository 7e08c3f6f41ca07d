"""A real service process in development mode with its usual deadline, and its log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.integration.conftest import wait_until_answering
from tests.patience import PATIENT_SECONDS
from tests.ports import free_port


@dataclass(frozen=True, slots=True)
class StrictService:
    """A running service process, and the file with everything it wrote."""

    base: str
    log: Path

    def post(self, body: dict[str, Any]) -> requests.Response:
        """Fire a hook."""
        url = f"{self.base}/cds-services/post-laminectomy-evaluation"
        return requests.post(url, json=body, timeout=30)


@contextmanager
def strict_service(folder: Path) -> Iterator[StrictService]:
    """Run the service with its state in *folder*."""
    port = free_port()
    log = folder / "service.log"
    command = [
        *(sys.executable, "-m", "cds_service", "serve", "--dev", "--port", str(port)),
        *("--state-dir", str(folder)),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603 - our own service
        try:
            base = f"http://127.0.0.1:{port}"
            wait_until_answering(f"{base}/health/ready", process)
            yield StrictService(base, log)
        finally:
            process.terminate()
            process.wait(timeout=PATIENT_SECONDS)
