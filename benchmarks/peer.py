"""CPU of a call beside that of HealthChain, with the same body in the same run.

HealthChain lives in an environment of its own, because it pins other packages than the service:
``python -m venv FOLDER && FOLDER/bin/pip install healthchain==0.16.1``, then
``HEALTHCHAIN_PYTHON=FOLDER/bin/python make bench``.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.http_calls import Load, measured, post
from benchmarks.processes import free_port, running
from benchmarks.report import Row

SIZE = 52_000
_PATH = "/cds/cds-services/one-rule"
_CALLS = 60
_ROUNDS = 3


def peer_rows(own: Callable[[int], Load], body: bytes, log: Path) -> Iterator[Row]:
    """Yield our CPU of a call over HealthChain's; nothing, with a reason, when it is absent.

    *own* makes so many calls of the service with *body*.
    """
    python = os.environ.get("HEALTHCHAIN_PYTHON")
    if not python:
        print("HealthChain: skipped, HEALTHCHAIN_PYTHON names no Python with it", file=sys.stderr)  # noqa: T201
        return
    port = free_port()
    with running("benchmarks.healthchain_server", port=port, log=log, python=python) as server:
        calls = [post(_PATH, body)] * _CALLS
        measured(port, server, calls[:5])
        pairs = [(own(_CALLS), measured(port, server, calls)) for _ in range(_ROUNDS)]
    if any(theirs.statuses != {200} for _, theirs in pairs):
        raise SystemExit("HealthChain did not answer with 200. No figure would count.")
    ratios = [ours.cpu / theirs.cpu for ours, theirs in pairs]
    value = statistics.median(ratios)
    yield Row(area="Peer", what="52 KB: CPU of the service / HealthChain", value=value, goal=1)
