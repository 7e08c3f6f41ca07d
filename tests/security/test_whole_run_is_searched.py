"""The search of everything written (``tests.everything_written``) does find what it looks for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.everything_written import ACCESS_TOKEN, BIRTH_DATE, FAMILY_NAME, PATIENT_ID, leaks_in

ROOT = Path(__file__).parents[2]
CONFTEST = "from tests.everything_written import everything_written\n"
LEAKING = {
    "a line of the log": f"structlog.get_logger().info('read', patient='{PATIENT_ID}')",
    "a log a test listens to": (
        f"with structlog.testing.capture_logs():\n"
        f"        structlog.get_logger().info('read', name='{FAMILY_NAME}')"
    ),
    "the log of a service process": f"(tmp_path / 'service.log').write_text('{ACCESS_TOKEN}')",
    "the state of a service": f"(tmp_path / 'ledger.sqlite3').write_bytes(b'x {BIRTH_DATE} x')",
    "a refusal": (
        "app.errorhandler(404)(lambda _: ('no Patient/p', 404))\n"
        "    app.test_client().get('/cds-services/x')"
    ),
    "metrics": (
        f"app.get('/metrics')(lambda: 'calls 1 # {FAMILY_NAME}')\n"
        f"    app.test_client().get('/metrics')"
    ),
}
CLEAN = (
    "structlog.get_logger().info('hook_answered', cards=2, hookInstance='d1577c69')\n"
    "    (tmp_path / 'chart.json').write_text('Patient/p born 1961-07-23')\n"
    "    app.get('/cds-services/x')(lambda: 'a card about Patient/p')\n"
    "    app.test_client().get('/cds-services/x')"
)


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Return a folder that the search of this run does not look into."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run one small test in a pytest of its own, in a worker process, and return how it went."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_small.py").write_text(
        f"import flask\nimport structlog\n\ndef test_small(tmp_path):\n"
        f"    app = flask.Flask('small')\n    {body}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(folder / "temporary"), "--rootdir", str(folder), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(  # noqa: S603 - our own program
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("body", LEAKING.values(), ids=LEAKING.keys())
def test_run_fails_when_a_service_wrote_of_a_patient(elsewhere: Path, body: str) -> None:
    """The test itself passes; the run does not."""
    done = run(elsewhere, body)
    assert done.returncode == 1, done.stdout
    assert "1 passed, 1 error" in done.stdout
    assert "A service wrote of a patient or a token" in done.stdout


def test_run_passes_when_nothing_was_written_of_a_patient(elsewhere: Path) -> None:
    """What tests write themselves, and cards for those who may read them, are no leaks."""
    done = run(elsewhere, CLEAN)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "subject: Patient/abc",
        "id plcds-no-relief",
        "Authorization: Bearer eyJhbGciOiJFUzM4NCJ9.e30.x",
        "birthDate 1954-02-28",
        "CanaryShaw",
    ],
)
def test_whatever_looks_like_a_patient_or_a_token_is_a_leak(text: str) -> None:
    """Not only the planted words are looked for."""
    assert leaks_in(text)


@pytest.mark.parametrize("text", ["Patient/{{context.patientId}}", "2026-03-01T09:30:00Z", ""])
def test_what_every_log_holds_is_no_leak(text: str) -> None:
    """Templates and moments of our own time are no patients."""
    assert leaks_in(text) == []
