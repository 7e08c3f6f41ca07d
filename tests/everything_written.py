"""Search everything the services of a test run wrote for patients and tokens.

The charts and calls of all tests carry planted words (``PLANTED``), and nothing that a service
writes may look like a token, a date of birth or a reference to a patient.  While the tests run, a
``Recorder`` keeps what is logged and refused inside this process; service processes write logs and
state below the temporary folder.  Cards are not searched here: they go to those who may read them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import structlog
from flask.testing import FlaskClient

from cds_service.vignettes import charts

PLANTED = "zqcan"
"""The start of every planted id, name and access token, whatever test plants it."""
PATIENT_ID, FAMILY_NAME = charts.PATIENT_ID, charts.FAMILY_NAME
BIRTH_DATE = "1961-07-23"
ACCESS_TOKEN = f"{PLANTED}-access-token"

PATTERNS = {
    "a planted word": re.compile(PLANTED, re.IGNORECASE),
    "a planted word of a single test": re.compile(r"canary-?shaw", re.IGNORECASE),
    "a synthetic patient": re.compile(r"plcds-[a-z]|\bDemo-[A-Z]"),
    "a reference to a patient": re.compile(r"\bPatient/[A-Za-z0-9]"),
    "a date of birth": re.compile(r"19\d\d-\d\d-\d\d\b"),
    "a token": re.compile(r"\beyJ[\w-]{8,}|Bearer [\w.-]{8,}"),
    "a token of the tests": re.compile(r"\b(secret|integration-test)[\w-]*token"),
}
_PARTS = {
    "a synthetic patient": ("plcds-", "Demo-"),
    "a reference to a patient": ("Patient/",),
    "a token": ("eyJ", "Bearer "),
    "a token of the tests": ("secret", "integration-test"),
}
"""Where none of these stands a pattern finds nothing; looking for them is far quicker."""
SERVICE_PATHS = ("/cds-services", "/health", "/metrics", "/guidance", "/explain", "/report")
LOG_NAMES = {"log", "service.log"}
STATE_SUFFIXES = {".sqlite3", ".sqlite3-wal", ".counts"}
_AROUND = 60
_LOGGING_METHODS = ("msg", "log", "debug", "info", "warning", "warn", "error", "critical", "fatal")


def leaks_in(text: str) -> list[str]:
    """Return what was found in *text*, each with the words around it; empty if it is clean."""
    return [
        f"{kind}: …{text[max(0, found.start() - _AROUND) : found.end() + _AROUND]}…"
        for kind, pattern in PATTERNS.items()
        if any(part in text for part in _PARTS.get(kind, ("",)))
        if (found := pattern.search(text))
    ]


def leaks_below(folder: Path) -> list[str]:
    """Return what was found in the logs and states that services left below *folder*."""
    return [
        f"{path}: {leak}"
        for path in sorted(folder.rglob("*"))
        if (path.name in LOG_NAMES or path.suffix in STATE_SUFFIXES) and path.is_file()
        for leak in leaks_in(path.read_bytes().decode("utf-8", "replace"))
    ]


class Recorder:
    """Keeps what services inside this process log and refuse, whoever reads it afterwards."""

    def __init__(self) -> None:
        self.written: set[str] = set()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            for logger in (structlog.PrintLogger, structlog.WriteLogger):
                for name in _LOGGING_METHODS:
                    patch.setattr(logger, name, self._heard(getattr(logger, name)))
            capture = structlog.testing.LogCapture
            patch.setattr(capture, "__call__", self._captured(capture.__call__))
            patch.setattr(FlaskClient, "open", self._answered(FlaskClient.open))
            patch.setattr(requests.Session, "send", self._received(requests.Session.send))
            yield

    def leaks(self) -> list[str]:
        """Return what was found in everything recorded."""
        return [leak for text in sorted(self.written) for leak in leaks_in(text)]

    def _heard(self, print_line: Callable[..., None]) -> Callable[..., None]:
        def heard(logger: object, message: str) -> None:
            self.written.add(str(message))
            print_line(logger, message)

        return heard

    def _captured(self, capture: Callable[..., Any]) -> Callable[..., Any]:
        def captured(log: object, logger: object, name: str, event: dict[str, Any]) -> Any:  # noqa: ANN401 - as structlog has it
            self.written.add(repr(event))
            return capture(log, logger, name, event)

        return captured

    def _answered(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def answered(client: FlaskClient, *asked: Any, **options: Any) -> Any:  # noqa: ANN401 - as Flask has it
            answer = ask(client, *asked, **options)
            if _is_searched(answer.request.path, answer.status_code):
                self._keep(answer.headers, answer.get_data())
            return answer

        return answered

    def _received(self, send: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
        def received(
            session: requests.Session,
            request: requests.PreparedRequest,
            **options: Any,  # noqa: ANN401 - as requests has it
        ) -> requests.Response:
            answer = send(session, request, **options)
            path = urlsplit(request.url or "").path
            if not options.get("stream") and _is_searched(str(path), answer.status_code):
                self._keep(answer.headers, answer.content)
            return answer

        return received

    def _keep(self, headers: Any, body: bytes) -> None:  # noqa: ANN401 - headers of either library
        self.written.add(f"{dict(headers)} {body.decode('utf-8', 'replace')}")


def _is_searched(path: str, status: int) -> bool:
    """Whether an answer may hold nothing of a chart: refusals, health, metrics and pages."""
    ours = [place for place in SERVICE_PATHS if place in path]
    return bool(ours) and (status >= requests.codes.bad_request or ours[0] not in _FOR_READERS)


_FOR_READERS = {"/cds-services", "/explain", "/report"}
"""Where a success may carry clinical content to those who asked for it."""


@pytest.fixture(scope="session", autouse=True)
def everything_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run if a service anywhere in it wrote of a patient or a token.

    Each worker process searches what its own tests and service processes wrote, when all of them
    have ended.
    """
    recorder = Recorder()
    with recorder.recording():
        yield
    leaks = recorder.leaks() + leaks_below(tmp_path_factory.getbasetemp())
    if leaks:
        pytest.fail("A service wrote of a patient or a token:\n" + "\n".join(leaks), pytrace=False)
