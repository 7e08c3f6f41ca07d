"""A log that cannot be written costs no answer: nobody reads it, or the disk is full."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cds_service.log_output import LogOutput
from tests.ports import free_port

START_SECONDS = 60
SMALLEST_PIPE_BYTES = 4_096
CALLS = 150
"""What they log is more than such a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe's end to read from, and the one to write to."""
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue


def test_line_is_written_as_it_is(pipe: tuple[int, int]) -> None:
    """Also half a character, which no encoding of text has."""
    output = LogOutput(pipe[1])
    output.write("one \ud83d\n")
    assert os.read(pipe[0], 100) == b"one \\ud83d\n"


def test_output_stands_for_its_descriptor(pipe: tuple[int, int]) -> None:
    """Who asks whether somebody sits before it learns that, and nothing is kept back."""
    output = LogOutput(pipe[1])
    assert output.fileno() == pipe[1]
    assert not output.isatty()
    output.write("one\n")
    output.flush()
    assert os.read(pipe[0], 100) == b"one\n"
    leader, terminal = os.openpty()
    assert LogOutput(terminal).isatty()
    for end in (leader, terminal):
        os.close(end)


def test_socket_lets_nobody_wait_either() -> None:
    """Some machines collect the log by one, and its reader may stand still too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        output = LogOutput(ours.fileno())
        assert not os.get_blocking(ours.fileno())
        for _ in range(3):
            output.write("x" * 1_000_000)
        assert theirs.recv(1) == b"x"


def test_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    """The program that collected the log has ended."""
    output = LogOutput(pipe[1])
    os.close(pipe[0])
    assert output.write("lost\n") == len("lost\n")


def test_full_disk_is_no_error() -> None:
    """The log is a file, and nothing more fits."""
    with Path("/dev/full").open("wb") as full:
        LogOutput(full.fileno()).write("lost\n")


def test_reader_that_stands_still_lets_nobody_wait_and_is_told_what_was_lost(
    pipe: tuple[int, int],
) -> None:
    """Whoever reads again learns how many lines are missing, and every line is whole."""
    output = LogOutput(pipe[1])
    line = json.dumps({"event": "x" * 5_000}) + "\n"
    began = time.monotonic()
    for _ in range(100):
        output.write(line)
    assert time.monotonic() - began < 8
    read = os.read(pipe[0], 1_000_000).decode()
    output.write('{"event": "again"}\n')
    read += os.read(pipe[0], 1_000_000).decode()
    whole = read.count(line)
    *_, notice, last = read.splitlines()
    assert json.loads(notice) == {
        "lines": 100 - whole,
        "event": "log_lines_lost",
        "level": "error",
    }
    assert last == '{"event": "again"}'
    output.write("once\n")
    assert os.read(pipe[0], 100) == b"once\n"


@pytest.mark.parametrize("fate", ["gone", "stands still"])
def test_service_answers_without_a_reader_of_its_log(
    tmp_path: Path, pipe: tuple[int, int], fate: str
) -> None:
    """Every call is answered, and a worker process that ends is replaced."""
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
    port = free_port()
    command = [sys.executable, "-m", "cds_service", "serve", "--dev", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--state-dir", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    try:
        assert b"Listening" in _until_listening(reading)
        if fate == "gone":
            os.close(reading)
        for _ in range(CALLS):
            answer = requests.post(
                f"http://127.0.0.1:{port}/cds-services/post-laminectomy-evaluation",
                data=b"{",
                headers={"Content-Type": "application/json"},
                timeout=20,
            )
            assert answer.status_code == 400
        for worker in _workers(process.pid):
            os.kill(worker, 9)
        ends_at = time.monotonic() + START_SECONDS
        while not _is_live(port):
            assert process.poll() is None
            assert time.monotonic() < ends_at
            time.sleep(0.1)
    finally:
        process.terminate()
        assert process.wait(timeout=START_SECONDS) == 0


def _until_listening(reading: int) -> bytes:
    read = b""
    while b"Listening" not in read:
        read += os.read(reading, 1000)
    return read


def _workers(main: int) -> list[int]:
    children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii")
    return [int(each) for each in children.split()]


def _is_live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=2).ok
    except requests.RequestException:
        return False
