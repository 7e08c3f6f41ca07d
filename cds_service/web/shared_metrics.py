"""The counts of all worker processes of a host as one: each writes a file, one adds them up.

A file holds what its process counted until a moment ago.  Counts of processes that have ended are
kept, what they stood at (waiting calls, lost stores) is not.  A process that is killed loses what
it counted in the last second; the ledger does not.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

METRICS_FOLDER = "metrics"
"""Below the state folder."""
_WRITE_EVERY_SECONDS = 1.0
_ENDED = "ended.counts"
_ALIVE = ".alive"
_LOCK = "lock"
_LOG = structlog.get_logger("cds_service.web.shared_metrics")

_Family = dict[str, Any]
"""A metric as it stands in a file: name, kind, words, and samples of (name, labels, value)."""


class SharedMetrics:
    """The metrics of this process and of its sisters, below one folder.

    Time:
        The file is written every second by a thread; what is asked for is read at once.
    """

    def __init__(self, own: CollectorRegistry, folder: Path) -> None:
        self._own = own
        self._folder = folder
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._alive: IO[bytes] | None = None
        self._is_alone = False
        self._written = ""
        self._turn = threading.Lock()

    def keep_writing(self) -> None:
        """Share what this process counts, to its end; without a folder to write it stays alone."""
        self._take_part()
        atexit.register(self.keep_up)
        threading.Thread(target=self._write_for_ever, name="metrics", daemon=True).start()

    def write(self) -> None:
        """Write what this process has counted until now."""
        target = self._folder / f"{self._name}.counts"
        draft = target.with_suffix(".draft")
        draft.write_text(json.dumps(_families(self._own)), encoding="utf-8")
        draft.replace(target)

    def numbers(self) -> Iterator[Metric]:
        """Return the sum of this process, its living sisters and those that have ended."""
        yield from _summed([_families(self._own), *self._of_others()])

    def keep_up(self) -> None:
        """Write what is new, if it can be written now."""
        with self._turn:  # the thread must not write older counts over those of the end
            if not self._take_part():
                return
            state = json.dumps(_families(self._own))
            if state != self._written:
                with suppress(OSError):  # the ledger's alarms tell of a full disk
                    self.write()
                    self._written = state

    def _write_for_ever(self) -> None:
        rest = threading.Event()
        while not rest.wait(_WRITE_EVERY_SECONDS):
            self.keep_up()

    def _take_part(self) -> bool:
        """Be among those in the folder, also after it was away; return whether that worked."""
        path = self._folder / f"{self._name}{_ALIVE}"
        try:
            if self._alive is None or not path.exists():
                self._begin(path)
        except OSError as error:
            if not self._is_alone:
                _LOG.error("metrics are not shared", exception=type(error).__name__)
            self._is_alone = True
            return False
        if self._is_alone:
            _LOG.info("metrics are shared again")
        self._is_alone = False
        return True

    def _begin(self, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            alive = path.open("wb")
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._alive is not None:
            self._alive.close()  # of a folder that is gone
        self._alive, self._written = alive, ""

    def _of_others(self) -> list[list[_Family]]:
        if self._alive is None:
            return []
        try:
            with self._locked():
                with suppress(OSError):  # on a full disk they stay one by one
                    self._gather_ended()
                paths = sorted(self._folder.glob("*.counts"))
                return [_read_other(path) for path in paths if path.stem != self._name]
        except OSError:
            return []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process change which files are there."""
        with (self._folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _gather_ended(self) -> None:
        """Add the counts of processes that have ended to one file, and remove theirs."""
        for alive in self._folder.glob(f"*{_ALIVE}"):
            path = alive.with_suffix(".counts")
            if alive.name.removesuffix(_ALIVE) == self._name or _is_held(alive):
                continue
            ended = self._folder / _ENDED
            total = [_family(metric) for metric in _summed([_read(ended), _read_other(path)])]
            draft = ended.with_suffix(".draft")
            draft.write_text(json.dumps(total), encoding="utf-8")
            draft.replace(ended)
            path.unlink(missing_ok=True)
            alive.unlink(missing_ok=True)


def forget_ended_processes(folder: Path) -> None:
    """Remove what an earlier run of the service counted, unless one of its processes lives.

    Where the disk is read-only it stays; nothing is shared there, so it is not counted either.
    """
    if any(_is_held(alive) for alive in folder.glob(f"*{_ALIVE}")):
        return
    try:
        for path in folder.glob("*"):
            path.unlink(missing_ok=True)
    except OSError as error:
        _LOG.error("old metrics cannot be removed", exception=type(error).__name__)


def _is_held(path: Path) -> bool:
    """Whether the process that made *path* lives: it holds a lock on it until it ends."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _read(path: Path) -> list[_Family]:
    try:
        families: list[_Family] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # not yet written, or cut by a full disk: that process is missing for a moment
    return families


def _read_other(path: Path) -> list[_Family]:
    """Return what another process counted; what it stood at only while it lives."""
    is_alive = _is_held(path.with_suffix(_ALIVE))
    return [family for family in _read(path) if is_alive or family["type"] != "gauge"]


def _families(registry: CollectorRegistry) -> list[_Family]:
    return [_family(metric) for metric in registry.collect()]


def _family(metric: Metric) -> _Family:
    return {
        "name": metric.name,
        "type": metric.type,
        "words": metric.documentation,
        "samples": [
            [sample.name, dict(sample.labels), sample.value]
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ],
    }


def _summed(states: Iterable[list[_Family]]) -> Iterator[Metric]:
    """Yield each metric once, its samples added up over *states*."""
    metrics: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for families in states for family in families):
        name = family["name"]
        metrics.setdefault(name, Metric(name, family["words"], family["type"]))
        samples = sums.setdefault(name, {})
        for sample, labels, value in family["samples"]:
            place = (sample, tuple(labels.items()))
            samples[place] = samples.get(place, 0.0) + value
    for name, metric in metrics.items():
        for (sample, labels), value in sums[name].items():
            metric.add_sample(sample, dict(labels), value)
        yield metric
