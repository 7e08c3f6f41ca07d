"""The log is JSON made of our own fields; other packages' records lose what was filled in."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import structlog

from cds_service.logging_setup import _unfailing

CANARY = "CanaryShaw"


def _lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_record_of_another_package_keeps_its_unfilled_text_only(log: io.StringIO) -> None:
    """A library's warning is known by its place, without the values it carried."""
    try:
        int(CANARY)
    except ValueError:
        logging.getLogger("some.library").exception("cannot read %s", CANARY)
    [line] = _lines(log)
    assert line["logger"] == "some.library"
    assert line["text"] == "cannot read %s"
    assert line["exception"] == "ValueError"
    assert CANARY not in log.getvalue()


def test_text_that_was_filled_by_the_library_itself_is_left_out(log: io.StringIO) -> None:
    """A text without separate values may already hold them, so it is not written."""
    logging.getLogger("some.library").warning(f"cannot read {CANARY}")  # noqa: G004
    [line] = _lines(log)
    assert "text" not in line
    assert CANARY not in log.getvalue()


def _of_gunicorn(module: str, text: str, *values: object) -> None:
    path = f"/gunicorn/{module}.py"
    record = logging.LogRecord("gunicorn.error", logging.ERROR, path, 1, text, values, None)
    logging.getLogger("gunicorn.error").handle(record)


def test_main_process_says_why_it_ends(log: io.StringIO) -> None:
    """The operator reads which worker ended and why; the main process sees no request."""
    _of_gunicorn("arbiter", "Worker (pid:%s) exited with code %s.", 7, 3)
    _of_gunicorn("arbiter", "Reason: %s", "Worker failed to boot.")
    _of_gunicorn("sock", "connection to %s failed", "port 8080")
    texts = [line["text"] for line in _lines(log)]
    assert texts == [
        "Worker (pid:7) exited with code 3.",
        "Reason: Worker failed to boot.",
        "connection to port 8080 failed",
    ]


def test_what_gunicorn_says_of_requests_and_exceptions_stays_unfilled(log: io.StringIO) -> None:
    """A worker's line holds an address somebody sent, a traceback the text of an exception."""
    _of_gunicorn("base", "Error handling request %s", f"/Patient?name={CANARY}")
    _of_gunicorn("arbiter", "Exception during worker exit:\n%s", f"ValueError: {CANARY}")
    assert CANARY not in log.getvalue()
    assert _lines(log)[0]["text"] == "Error handling request %s"


def test_chatty_packages_are_silent(log: io.StringIO) -> None:
    """HTTP libraries log addresses with search parameters; they are not heard at all."""
    for name in (
        *("urllib3.connection", "werkzeug", "requests", "gunicorn.access"),
        *("asyncio", "sqlalchemy.pool.impl"),
    ):
        logging.getLogger(name).error("GET /Patient?name=%s", CANARY)
    logging.getLogger("some.library").info("connected to %s", "a server")
    assert log.getvalue() == ""


def test_line_says_when_and_how_grave_and_leaves_out_what_is_not_known(log: io.StringIO) -> None:
    """In UTC, as the lines of every other machine can be put beside it."""
    structlog.get_logger().info("refused", client=None, status=401)
    structlog.get_logger().debug("unheard")
    [line] = _lines(log)
    told_at = datetime.fromisoformat(str(line.pop("timestamp")))
    assert told_at.utcoffset() == timedelta(0)
    assert line == {"event": "refused", "level": "info", "status": 401}


def test_exception_that_nobody_caught_is_logged_by_its_type(log: io.StringIO) -> None:
    """Python itself would print the text of it, which may be a patient's."""
    fault = ValueError(CANARY)
    threading.excepthook(threading.ExceptHookArgs([ValueError, fault, None, None]))
    sys.unraisablehook(cast("Any", SimpleNamespace(exc_type=ValueError, exc_value=fault)))
    told = [(line["event"], line["exception"], line["level"]) for line in _lines(log)]
    assert told == [
        ("thread_exception", "ValueError", "error"),
        ("unraisable_exception", "ValueError", "error"),
    ]
    assert CANARY not in log.getvalue()


def test_warning_of_python_is_logged_without_its_text(log: io.StringIO) -> None:
    """It is known by its place in the log and not printed beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, stacklevel=1)
    [line] = _lines(log)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert CANARY not in log.getvalue()


def test_text_that_is_no_text_is_left_out(log: io.StringIO) -> None:
    """A library may log any object, also one that holds a chart."""
    logging.getLogger("some.library").error({"name": CANARY})
    [line] = _lines(log)
    assert "text" not in line
    assert CANARY not in log.getvalue()


def test_process_without_standard_error_logs_to_nowhere() -> None:
    """Whoever closed it, no line and no traceback costs an answer."""
    with _unfailing(None) as nowhere:
        assert nowhere.write("a line\n") == len("a line\n")
    assert isinstance(_unfailing(io.StringIO()), io.StringIO)
