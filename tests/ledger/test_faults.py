"""A ledger that is killed, full, locked or gone costs no answer, and no acknowledged feedback."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from cds_service.knowledge.model import Knowledge
from cds_service.ledger.tables import CALL, FEEDBACK
from tests.ledger.clinic import make_clinic, rows
from tests.ledger.served import Site, fresh_call, make_site, override
from tests.patience import until

KILLS = 3


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run a service with a SQLite ledger."""
    with make_site(tmp_path).running() as running:
        yield running


def now() -> str:
    """Return this moment as an EHR writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")  # noqa: TID251


@dataclass
class Acknowledged:
    """What a service said it had, before it was killed."""

    calls: set[str] = field(default_factory=set)
    feedback: set[str] = field(default_factory=set)

    def work(self, site: Site) -> None:
        """Open charts and set cards aside until the service is gone."""
        with contextlib.suppress(requests.RequestException):
            while True:
                call = fresh_call()
                if site.post(call, ehr="north").status_code == 200:
                    self.calls.add(call["hookInstance"])
                item = override({"uuid": call["hookInstance"]}, now())
                if site.feedback(item).status_code == 200:
                    self.feedback.add(item["card"])


def test_no_acknowledged_call_or_feedback_is_lost_when_the_service_is_killed(
    tmp_path: Path,
) -> None:
    """Killed without a word in the midst of work, it has everything it answered with 200.

    Where the machine's disk kept the ledger waiting too long, as the log then says, the calls of
    that run waited in memory by design; they are not asked for.
    """
    site = make_site(tmp_path, workers=2)
    calls: set[str] = set()
    feedback: set[str] = set()
    for _ in range(KILLS):
        told, log = _killed_at_work(site)
        feedback |= told.feedback
        if "ledger_lost" not in log:
            calls |= told.calls
    assert calls
    assert calls <= {row["hook_instance"] for row in rows(site.place, CALL)}
    assert feedback <= {row["card_uuid"] for row in rows(site.place, FEEDBACK)}


def _killed_at_work(site: Site) -> tuple[Acknowledged, str]:
    """Return what a service acknowledged before it was killed, and its log."""
    told = Acknowledged()
    with site.running() as running:
        threads = [threading.Thread(target=told.work, args=(site,)) for _ in range(3)]
        _start(threads)
        assert until(lambda: len(told.feedback) > 20)
        site.kill()
        _join(threads)
    assert running.service is not None
    return told, running.service.log.read_text()


def _start(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def test_locked_ledger_costs_no_answer_and_little_time(site: Site) -> None:
    """While another program holds the file calls are answered; then all of them are written."""
    card = site.open().json()["cards"][0]
    holder = sqlite3.connect(site.place.file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    calls = [fresh_call() for _ in range(10)]
    assert [site.post(call, ehr="north").status_code for call in calls] == [200] * 10
    assert time.monotonic() - begun < 15
    assert site.health().startswith("cannot be written")
    refused = site.feedback(override(card, now()))
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    holder.execute("ROLLBACK")
    holder.close()
    assert until(lambda: site.health() == "in order")
    names = {call["hookInstance"] for call in calls}
    assert until(lambda: names <= {row["hook_instance"] for row in rows(site.place, CALL)})
    assert site.feedback(override(card, now())).status_code == 200


def test_vanished_ledger_is_made_again(site: Site) -> None:
    """Somebody deletes the file: the next call is answered and is in the new one."""
    site.open()
    assert site.place.file is not None
    for path in site.place.file.parent.glob("ledger.sqlite3*"):
        path.unlink()
    call = fresh_call()
    assert site.post(call, ehr="north").status_code == 200
    assert until(lambda: site.place.file is not None and site.place.file.exists())
    assert until(
        lambda: [row["hook_instance"] for row in rows(site.place, CALL)] == [call["hookInstance"]]
    )


def test_folder_that_vanishes_and_returns_is_survived(site: Site, tmp_path: Path) -> None:
    """The whole state folder is a file for a while: calls go on, and are written afterwards."""
    site.open()
    state = tmp_path / "state"
    shutil.move(state, tmp_path / "away")
    state.write_text("in the way")
    call = fresh_call()
    assert site.post(call, ehr="north").status_code == 200
    assert site.health().startswith("cannot be written")
    state.unlink()
    shutil.move(tmp_path / "away", state)
    assert until(lambda: site.health() == "in order")
    assert until(
        lambda: call["hookInstance"] in {row["hook_instance"] for row in rows(site.place, CALL)}
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of ten megabytes."""
    disk = tmp_path / "state"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    if not mount or subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603
        pytest.skip("a full disk needs a small one, and this user may not mount any")
    yield disk
    subprocess.run(["umount", str(disk)], check=False)  # noqa: S603, S607 - the mount above


def test_full_disk_costs_no_answer(tmp_path: Path, small_disk: Path) -> None:
    """With no byte left calls are answered, feedback is refused, and it recovers by itself."""
    with make_site(tmp_path).running() as site:
        card = site.open().json()["cards"][0]
        filler = small_disk / "filler"
        _fill(filler)
        calls = [fresh_call() for _ in range(300)]
        assert {site.post(call, ehr="north").status_code for call in calls} == {200}
        assert site.health().startswith("cannot be written")
        statuses = {site.feedback(override(card, now())).status_code for _ in range(3)}
        assert statuses == {503}
        filler.unlink()
        assert until(lambda: site.health() == "in order")
        names = {call["hookInstance"] for call in calls}
        assert until(lambda: names <= {row["hook_instance"] for row in rows(site.place, CALL)})
        assert site.feedback(override(card, now())).status_code == 200


def test_full_disk_is_told_until_it_has_room_though_only_feedback_came(
    knowledge: Knowledge, small_disk: Path
) -> None:
    """A file that can be locked and not written is no ledger that is back: the alarm must last."""
    clinic = make_clinic(knowledge, state_dir=small_disk)
    card = clinic.open()[0]
    filler = small_disk / "filler"
    with contextlib.closing(clinic.ledger) as ledger:
        _fill(filler)
        assert clinic.send(clinic.item(card, "overridden")).status_code == 503
        ledger.calls.look_again()
        assert not ledger.database.is_writable
        filler.unlink()
        ledger.calls.look_again()
        assert ledger.database.is_writable


def _fill(filler: Path) -> None:
    """Leave no byte on the disk of *filler*."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"0" * 512):
            pass


def test_log_says_once_that_the_ledger_is_lost_and_once_that_it_is_back(site: Site) -> None:
    """Operators see the fault by its kind, without any value."""
    site.open()
    assert until(lambda: site.health() == "in order")
    before = len(ledger_events(site))  # a slow disk at the start is no part of this
    holder = sqlite3.connect(site.place.file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for _ in range(5):
        site.open()
    holder.execute("ROLLBACK")
    holder.close()
    assert until(lambda: site.health() == "in order")
    assert ledger_events(site)[before:] == ["ledger_lost", "ledger_back"]


def ledger_events(site: Site) -> list[str]:
    """Return what the log says of the ledger."""
    assert site.service is not None
    lines = [json.loads(line) for line in site.service.log.read_text().splitlines() if "{" in line]
    return [line["event"] for line in lines if line["event"].startswith("ledger")]
