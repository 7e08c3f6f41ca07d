"""Processes that are measured from outside, through ``/proc``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Watched:
    """A process and all its children."""

    root: int

    @property
    def processes(self) -> list[Path]:
        """Return the ``/proc`` folders of the process and its descendants."""
        found, todo = [], [self.root]
        while todo:
            folder = Path(f"/proc/{todo.pop()}")
            found.append(folder)
            children = (folder / "task" / folder.name / "children").read_text()
            todo += [int(each) for each in children.split()]
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, in user and system mode."""
        ticks = 0
        for process in self.processes:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """Return the memory in use."""
        return sum(_status_bytes(process, "VmRSS") for process in self.processes)


def reset_peak() -> int:
    """Forget this process's highest memory use; return the present one, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_bytes(Path("/proc/self"), "VmRSS")


def peak_bytes() -> int:
    """Return this process's highest memory use since ``reset_peak``."""
    return _status_bytes(Path("/proc/self"), "VmHWM")


@contextmanager
def running(
    module: str, *arguments: str, port: int, log: Path, python: str = sys.executable
) -> Iterator[Watched]:
    """Run ``python -m module`` until the block ends; it must listen at *port* soon."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [python, "-m", module, *arguments, "--port", str(port)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_listening(process, port, log)
        yield Watched(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"{log}: the process did not start to listen. Read this file to see why.")


def _status_bytes(process: Path, name: str) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
