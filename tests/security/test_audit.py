"""``make audit`` fails closed: a package that was not looked up is not called safe."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "audit.py"
FAULT = {"id": "PYSEC-2026-1", "fix_versions": ["2.0"]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(*dependencies: dict[str, object]) -> str:
    """Return what pip-audit prints."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


CLEAN: dict[str, object] = {"name": "Clean", "version": "1.0", "vulns": []}
SKIPPED: dict[str, object] = {"name": "skipped", "skip_reason": "Dependency not found on PyPI"}
FAULTY: dict[str, object] = {"name": "faulty", "version": "1.0", "vulns": [FAULT]}


def test_all_compared_and_nothing_known_is_said_with_the_number(audit: ModuleType) -> None:
    """Only a complete comparison is a good answer."""
    code, said = audit.verdict([report(CLEAN)], {"clean"})
    assert code == 0
    assert said == ["All 1 packages were compared; no fault is known."]


def test_a_known_fault_fails_and_names_package_fault_and_cure(audit: ModuleType) -> None:
    """Whoever reads the job's output knows what to raise."""
    code, said = audit.verdict([report(CLEAN, FAULTY)], {"clean", "faulty"})
    assert code == 1
    assert said[0] == "Known fault: faulty 1.0: PYSEC-2026-1, fixed in 2.0"
    assert "make requirements" in said[1]


@pytest.mark.parametrize(
    "reports",
    [
        [report(CLEAN, SKIPPED)],
        [report(CLEAN)],
        [report(CLEAN), ""],
        [report(CLEAN), "not json"],
        [report(CLEAN), "[]"],
        [report(CLEAN, {"name": "skipped", "vulns": None})],
    ],
    ids=["skipped", "left out", "no report", "no JSON", "another shape", "no answer"],
)
def test_a_package_that_was_not_compared_fails_the_audit(
    audit: ModuleType, reports: list[str]
) -> None:
    """Skipped, left out or lost: each is said by name and is no success."""
    code, said = audit.verdict(reports, {"clean", "skipped"})
    assert code == 2
    assert "1 of 2 packages could not be compared" in said[-1]
    assert "skipped" in said[-1]


def test_an_audit_of_nothing_fails(audit: ModuleType) -> None:
    """An empty requirements file means the wrong file."""
    assert audit.verdict([], set())[0] == 2


def test_every_pin_of_this_python_is_wanted(audit: ModuleType) -> None:
    """Pins for other systems are left out, extras and hashes are understood."""
    text = (
        'one[extra]==1.0 \\\n    --hash=sha256:aa\ntwo==2 ; python_version < "3" \\\n'
        "    --hash=sha256:bb\n    # via one\nThree_3==3 \\\n    --hash=sha256:cc\n"
    )
    assert audit.pinned(text) == {"one", "three-3"}
    real = audit.pinned((ROOT / "requirements-dev.txt").read_text(encoding="utf-8"))
    assert {"flask", "pytest", "pip-audit"} <= real
    assert len(real) > 100


def test_audit_without_the_network_fails_and_says_what_to_do() -> None:
    """The real script with no way out ends with 2 and no claim that anything is safe."""
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "HTTPS_PROXY": nowhere, "https_proxy": nowhere, "NO_PROXY": ""}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(SCRIPT), str(ROOT / "requirements-build.txt")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "could not be compared" in done.stderr
    assert "no fault is known" not in done.stdout + done.stderr
