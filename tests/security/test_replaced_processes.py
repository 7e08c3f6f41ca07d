"""Worker processes come and go while the service runs, whatever the configuration file says."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
import requests

from cds_service.hooks.request import AS_OF_EXTENSION
from cds_service.web.large_calls import LARGE_BODY_BYTES
from tests.patience import PATIENT_SECONDS, until
from tests.ports import free_port
from tests.security.lab import Ehr, Service, hook_body, running_service

EVERY_PROCESS = 3
"""The main process, the one worker process of the configuration, and the one for large calls."""
BEGINNING_SECONDS = 3.0
SLOW_PROGRAM = f"""
import time
from cds_service import cli, serving
load = serving._Server.load
serving._Server.load = lambda server: time.sleep({BEGINNING_SECONDS}) or load(server)
cli.main()
"""
SCARCE_PROGRAM = """
from pathlib import Path
from cds_service import cli, serving
load = serving._Server.load
serving._Server.load = lambda server: 1 / 0 if Path({!r}).exists() else load(server)
cli.main()
"""
CROWDED_PROGRAM = """
import threading
from cds_service import cli
start = threading.Thread.start
def in_pool(thread):
    return thread.name.startswith("ThreadPoolExecutor")
def start_if_there_is_room(thread):
    if in_pool(thread) and sum(map(in_pool, threading.enumerate())) >= 2:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = start_if_there_is_room
cli.main()
"""


FILES_PROGRAM = """
import resource
from cds_service import cli
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {most}))
cli.main()
"""


@dataclass(frozen=True)
class Site:
    """A service in production, the EHR it knows, and its configuration file."""

    service: Service
    ehr: Ehr
    file: Path
    config: str

    def call(self, **changed: object) -> int:
        """Return the status of a call of the EHR."""
        return self.service.post(self.ehr.token(), hook_body(**changed)).status_code

    def write(self, config: str, *, expect: str) -> None:
        """Write the file, and wait until every process has looked at it and logged *expect*."""
        before = self.told(expect)
        new = self.file.with_suffix(".new")
        new.write_text(config, encoding="utf-8")
        new.replace(self.file)  # at once: nobody reads the half of it
        assert until(lambda: self.told(expect) == before + EVERY_PROCESS)

    def told(self, line: str) -> int:
        """Return how often the log says *line*."""
        return self.service.log.read_text().count(line)

    def replace(self) -> None:
        """Kill each worker process, and wait until others are there in their place."""
        before = self.service.workers()
        for process in before:
            os.kill(process, signal.SIGKILL)
        assert until(
            lambda: (
                not set(before) & set(self.service.workers())
                and len(self.service.workers()) == len(before)
                and requests.get(f"{self.service.url}/health/live", timeout=5).ok
            )
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run the service as a site would."""
    with _running(tmp_path, ("-m", "cds_service")) as site:
        yield site


@pytest.fixture
def slow_site(tmp_path: Path) -> Iterator[Site]:
    """Run a service whose processes need long to begin."""
    with _running(tmp_path, ("-c", SLOW_PROGRAM)) as site:
        yield site


@contextmanager
def _running(folder: Path, program: tuple[str, ...]) -> Iterator[Site]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ehr = Ehr(url)
    config = "\n".join(
        [
            f'[service]\npublic_base_url = "{url}"\nidentity_key = "{"5a" * 32}"',
            'state_dir = "state"\naccept_unreviewed_content = true\nworkers = 1',
            ehr.profile("hospital", "rate_per_second = 10000\nburst = 10000"),
        ]
    )
    with running_service(folder, config, port=port, program=program) as service:
        site = Site(service=service, ehr=ehr, file=folder / "cds.toml", config=config)
        large = "x" * LARGE_BODY_BYTES  # the other process has begun when it answers
        assert site.call(more=large) == HTTPStatus.OK
        yield site


def test_new_process_begins_with_the_last_right_configuration(site: Site) -> None:
    """A file that is wrong is refused by every process, also by one that begins now."""
    site.write(f"burts = 1\n{site.config}", expect="configuration refused")
    site.replace()
    assert site.call() == 200
    assert site.service.process.poll() is None


def test_new_process_begins_with_what_changed_before_the_file_was_spoiled(site: Site) -> None:
    """What was changed while the service ran stays changed."""
    moved = site.config.replace(site.ehr.issuer, "https://another.example")
    site.write(moved, expect="configuration read again")
    site.write(f"burts = 1\n{moved}", expect="configuration refused")
    site.replace()
    assert site.call() == 401


def test_process_without_calls_has_the_last_right_configuration_too(site: Site) -> None:
    """A hospital was taken out at night, and the file spoiled before its next call."""
    moved = site.config.replace(site.ehr.issuer, "https://another.example")
    site.write(moved, expect="configuration read again")
    site.write(f"burts = 1\n{moved}", expect="configuration refused")
    assert [site.call(), site.call(more="x" * LARGE_BODY_BYTES)] == [401, 401]


def test_new_process_does_not_change_the_mode(site: Site) -> None:
    """A demonstration answers for other days; a service in production never becomes one."""
    demo = site.config.replace("[service]", '[service]\nmode = "demo"')
    site.write(demo, expect="configuration refused")
    site.replace()
    assert site.call() == 200
    assert site.call(extension={AS_OF_EXTENSION: "2026-01-01"}) == 400


def test_signal_to_replace_all_processes_while_the_file_is_wrong(site: Site) -> None:
    """SIGHUP replaces the processes; the configuration before stays."""
    site.write(f"burts = 1\n{site.config}", expect="configuration refused")
    before = set(site.service.workers())
    site.service.process.send_signal(signal.SIGHUP)
    assert until(lambda: not before & set(site.service.workers()))
    assert site.call() == 200


def test_nobody_waits_for_new_processes_to_begin(slow_site: Site) -> None:
    """SIGHUP replaces the processes: the old ones answer until the new ones can."""
    before = set(slow_site.service.workers())
    slow_site.service.process.send_signal(signal.SIGHUP)
    waited = []
    while before & set(slow_site.service.workers()):
        began = time.monotonic()
        assert slow_site.call() == 200
        waited.append(time.monotonic() - began)
    assert max(waited) < 0.8 * BEGINNING_SECONDS
    assert slow_site.call() == 200


def test_service_stops_while_new_processes_begin(slow_site: Site) -> None:
    """SIGTERM is not put off until the processes of a SIGHUP have begun."""
    before = slow_site.service.workers()
    slow_site.service.process.send_signal(signal.SIGHUP)
    assert until(lambda: len(slow_site.service.workers()) > len(before))
    slow_site.service.process.terminate()
    assert slow_site.service.process.wait(timeout=PATIENT_SECONDS) == 0


def test_process_that_cannot_be_replaced_now_is_replaced_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is gone, or no room for one more process, does not end the service."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with _running(tmp_path, ("-m", "cds_service")) as site:
        before = site.service.workers()
        temporary.rmdir()
        os.kill(before[0], signal.SIGKILL)
        assert until(lambda: "no worker process can be started" in site.service.log.read_text())
        assert site.service.workers() == before[1:]
        temporary.mkdir()
        assert until(lambda: len(site.service.workers()) == len(before))
        assert site.call() == 200


def test_processes_that_cannot_begin_do_not_end_those_that_work(tmp_path: Path) -> None:
    """The machine is short of something for a moment; the old processes answer meanwhile."""
    shortage = tmp_path / "shortage"
    with _running(tmp_path, ("-c", SCARCE_PROGRAM.format(str(shortage)))) as site:
        before = site.service.workers()
        shortage.touch()
        site.service.process.send_signal(signal.SIGHUP)
        assert until(lambda: "exited with code 3" in site.service.log.read_text())
        assert site.call() == 200
        assert until(lambda: _has_one_for_each_size(site.service))
        shortage.unlink()
        site.replace()
        assert until(lambda: _has_one_for_each_size(site.service))
        before = site.service.workers()
        site.service.process.send_signal(signal.SIGHUP)
        assert until(lambda: not set(before) & set(site.service.workers()))
        assert site.call() == 200


def test_machine_without_room_for_more_threads_costs_no_call(tmp_path: Path) -> None:
    """Two threads of a process are there when the machine has no more; they answer all calls."""
    with _running(tmp_path, ("-c", CROWDED_PROGRAM)) as site:
        before = site.service.workers()
        with ThreadPoolExecutor(16) as callers:
            for _ in range(3):
                assert set(callers.map(lambda _: site.call(), range(16))) <= {200, 503}
        assert site.service.workers() == before


def test_process_without_room_for_more_connections_says_so(tmp_path: Path) -> None:
    """Where too few open files are allowed clients wait; the log says why, and not each time."""
    program = ("-c", FILES_PROGRAM.format(most=64))
    with _running(tmp_path, program) as site, ExitStack() as clients:
        for _ in range(100):
            clients.enter_context(socket.create_connection(("127.0.0.1", site.service.port)))
        assert until(lambda: "no connection can be taken" in site.service.log.read_text())
        before = _processor_seconds(site.service)
        time.sleep(2)
        assert _processor_seconds(site.service) - before < 0.2  # nobody tries without a pause
        clients.close()
        assert site.call() == HTTPStatus.OK
        log = site.service.log.read_text()
    assert log.count('"why": "too many open files", "event": "no connection can be taken"') == 1


def test_process_takes_as_many_open_files_as_the_operator_allows(tmp_path: Path) -> None:
    """Most systems begin with few and allow many; a program has to ask for them."""
    program = ("-c", FILES_PROGRAM.format(most=1_024))
    with _running(tmp_path, program) as site, ExitStack() as clients:
        for _ in range(100):
            clients.enter_context(socket.create_connection(("127.0.0.1", site.service.port)))
        assert site.call() == HTTPStatus.OK
        assert "too many open files" not in site.service.log.read_text()


@pytest.mark.parametrize("number", [0, 1])
def test_one_process_takes_large_calls_though_a_new_one_dies(slow_site: Site, number: int) -> None:
    """Whichever of the new processes is lost, one takes large calls and the others small ones."""
    before = slow_site.service.workers()
    slow_site.service.process.send_signal(signal.SIGHUP)
    assert until(lambda: len(slow_site.service.workers()) == 2 * len(before))
    os.kill(slow_site.service.workers()[len(before) + number], signal.SIGKILL)
    assert until(lambda: _has_one_for_each_size(slow_site.service))
    assert set(before) != set(slow_site.service.workers())
    assert slow_site.call() == 200


def test_log_says_which_process_was_killed(site: Site) -> None:
    """What ended, and by what, is said in full."""
    killed = site.service.workers()[0]
    site.replace()
    assert f"Worker (pid:{killed}) was sent SIGKILL!" in site.service.log.read_text()


def test_service_that_stops_refuses_new_connections_at_once(site: Site) -> None:
    """Nobody new waits while the service gives a slow client its last seconds."""
    with socket.create_connection(("127.0.0.1", site.service.port)) as silent:
        silent.sendall(b"GET ")
        time.sleep(0.5)
        site.service.process.terminate()
        assert until(site.service.refuses, seconds=4)
        assert site.service.process.poll() is None


def _has_one_for_each_size(service: Service) -> bool:
    """Whether there is one process for small calls, and one for large calls, whose turn is last."""
    niceness = [os.getpriority(os.PRIO_PROCESS, each) for each in service.workers()]
    return sorted(niceness) == [0, 10]


def _processor_seconds(service: Service) -> float:
    """Return how long the worker processes have computed."""
    times = [
        Path(f"/proc/{each}/stat").read_text().rpartition(")")[2] for each in service.workers()
    ]
    ticks = sum(int(number) for line in times for number in line.split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")
