"""Starting and stopping the demo."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cds_service.demo.command import require_free, running_demo
from cds_service.errors import SettingsError
from tests.ports import HOST, free_port

PROGRAM = """
import sys
import time
from pathlib import Path
from cds_service.demo.command import run_demo
run_demo(port=int(sys.argv[1]), ehr_port=int(sys.argv[2]), state_dir=Path(sys.argv[3]))
"""
ROOT = Path(__file__).parents[2]
START_SECONDS = 60


def test_demo_says_where_to_look_and_stops_everything_it_started(tmp_path: Path) -> None:
    """The command prints addresses and the first cards; after a stop nothing of it is left."""
    port, ehr_port = free_port(), free_port()
    command = [sys.executable, "-u", "-c", PROGRAM, str(port), str(ehr_port), str(tmp_path)]
    with _started(command) as (demo, begun):
        assert demo.stdout is not None
        assert requests.get(f"http://{HOST}:{ehr_port}/", timeout=20).status_code == 200
        demo.send_signal(signal.SIGTERM)
        said = begun + demo.stdout.read().decode()
        assert demo.wait(START_SECONDS) == 0
    assert "Too early to judge the operation (day 60" in said
    assert f"http://{HOST}:{ehr_port}" in said
    assert f"http://{HOST}:{port}" in said
    assert "not yet clinically reviewed" in said
    assert said.rstrip().endswith("The demo has stopped.")
    require_free(HOST, port, "--port")
    require_free(HOST, ehr_port, "--ehr-port")


def test_a_killed_demo_leaves_no_service_running(tmp_path: Path) -> None:
    """Even SIGKILL of the demo, which no program can answer, ends the service it started."""
    port, ehr_port = free_port(), free_port()
    command = [sys.executable, "-u", "-c", PROGRAM, str(port), str(ehr_port), str(tmp_path)]
    with _started(command) as (demo, _):
        demo.kill()
    ends_at = time.monotonic() + START_SECONDS
    while _is_open(port) and time.monotonic() < ends_at:
        time.sleep(0.1)
    require_free(HOST, port, "--port")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_a_taken_port_is_said_with_the_option_that_changes_it() -> None:
    """Somebody else's port stops the demo before anything is started."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {taken} .*choose another one with --port"):
            require_free(HOST, taken, "--port")


def test_demo_wants_two_ports(tmp_path: Path) -> None:
    """One port for both is refused before anything is started."""
    port = free_port()
    with (
        pytest.raises(SettingsError, match=r"--ehr-port: .* is the port of the service"),
        running_demo(HOST, port=port, ehr_port=port, state_dir=tmp_path),
    ):
        pass


def test_demo_refuses_an_address_others_could_reach(tmp_path: Path) -> None:
    """The demo's key is known to everybody who reads the demo, so it stays on this machine."""
    with (
        pytest.raises(SettingsError, match="only runs on this machine"),
        running_demo("0.0.0.0", port=1, ehr_port=2, state_dir=tmp_path),
    ):
        pytest.fail("the demo must not start")


def test_a_service_that_does_not_start_is_said_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the service ends at once, the message points to its log, and nothing stays running."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        pytest.raises(SettingsError, match=r"did not get ready.*service\.log"),
        running_demo(HOST, port=free_port(), ehr_port=free_port(), state_dir=tmp_path),
    ):
        pytest.fail("the demo must not start")


def test_two_demos_started_in_one_folder_do_not_take_each_others_keys(tmp_path: Path) -> None:
    """The newcomer who starts a second demo at other ports still gets cards from the first."""
    with _demo_in(tmp_path) as first, _demo_in(tmp_path):
        patient = {"patient": "plcds-no-relief", "asOf": "2026-03-01"}
        opened = requests.post(f"{first}/api/open", json=patient, timeout=20).json()
    assert opened["exchange"]["status"] == 200, opened


@contextmanager
def _demo_in(folder: Path) -> Iterator[str]:
    """Run the command in *folder* while the block runs; yield the address of its test EHR."""
    ports = ["--port", str(free_port()), "--ehr-port", str(free_port())]
    command = [sys.executable, "-u", "-m", "cds_service", "demo", *ports]
    with _started(command, folder) as (demo, _):
        yield f"http://{HOST}:{ports[-1]}"
        demo.terminate()
        demo.communicate(timeout=START_SECONDS)


@contextmanager
def _started(
    command: Sequence[str], folder: Path = ROOT
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a demo in *folder* while the block runs; yield it with what it said until it was up."""
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=folder, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as demo:
        try:
            assert demo.stdout is not None
            said = ""
            while "Ctrl-C" not in said:
                line = demo.stdout.readline().decode()
                assert line, said
                said += line
            yield demo, said
        finally:
            demo.terminate()  # else a failure in the block would wait for a demo that goes on
