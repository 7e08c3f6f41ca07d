"""Start what the browser looks at: the command ``cds-service demo`` and Debian's Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.demo.calm_demo import DEADLINE
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Site:
    """Where the running demo answers."""

    ehr: str
    service: str


@contextmanager
def running_site(folder: Path, *more: str) -> Iterator[Site]:
    """Run ``cds-service demo`` in *folder* as a user does, while the block runs."""
    port, ehr_port = free_port(), free_port()
    command = [sys.executable, "-u", "-m", "cds_service", "demo"]
    command += ["--port", str(port), "--ehr-port", str(ehr_port), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", **DEADLINE}
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as demo:
        assert demo.stdout is not None
        said = b""
        try:
            while b"Ctrl-C" not in said:
                line = demo.stdout.readline()
                assert line, said.decode()
                said += line
            yield Site(ehr=f"http://{HOST}:{ehr_port}", service=f"http://{HOST}:{port}")
        finally:
            demo.send_signal(signal.SIGINT)
            last_words, _ = demo.communicate(timeout=STOP_SECONDS)
            assert demo.returncode == 0, f"{demo.returncode}: {last_words.decode()}"
            assert b"The demo has stopped." in last_words


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Chromium without a window while the block runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
