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


def test_chatty_packages_are_silent(log: io.StringIO) -> None:
    """HTTP libraries log addresses with search parameters; they are not heard at all."""
    for name in ("urllib3.connection", "werkzeug", "requests", "gunicorn.access"):
        logging.getLogger(name).error("GET /Patient?name=%s", CANARY)
    assert log.getvalue() == ""
