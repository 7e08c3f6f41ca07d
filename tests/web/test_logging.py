"""The log is JSON made of our own fields; other packages' records lose what was filled in."""

from __future__ import annotations

import io
import json
import logging

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
    texts = [line["text"] for line in _lines(log)]
    assert texts == ["Worker (pid:7) exited with code 3.", "Reason: Worker failed to boot."]


def test_what_gunicorn_says_of_requests_and_exceptions_stays_unfilled(log: io.StringIO) -> None:
    """A worker's line holds an address somebody sent, a traceback the text of an exception."""
    _of_gunicorn("base", "Error handling request %s", f"/Patient?name={CANARY}")
    _of_gunicorn("arbiter", "Exception during worker exit:\n%s", f"ValueError: {CANARY}")
    assert CANARY not in log.getvalue()
    assert _lines(log)[0]["text"] == "Error handling request %s"


def test_chatty_packages_are_silent(log: io.StringIO) -> None:
    """HTTP libraries log addresses with search parameters; they are not heard at all."""
    for name in ("urllib3.connection", "werkzeug", "requests", "gunicorn.access"):
        logging.getLogger(name).error("GET /Patient?name=%s", CANARY)
    assert log.getvalue() == ""
