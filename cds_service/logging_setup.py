"""Logs: one JSON object a line on standard error, made of fixed field names only.

Log lines of other packages are reduced to their name, level and the unfilled text, because the
filled one can hold URLs, headers or values of a chart.  Only what gunicorn's main process says of
its workers is filled: it never sees a request.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import TextIO, cast

import structlog

from cds_service.log_output import LogOutput

_SILENT = ("werkzeug", "urllib3", "requests", "gunicorn.access", "asyncio", "sqlalchemy.pool")
"""The last tells as an error of connections a database gave up; the ledger says what is lost."""


_FILLED = ("gunicorn.error", frozenset({"arbiter", "sock"}))
"""Logger and modules of gunicorn's main process."""


def set_up_logging(*, stream: TextIO | None = None) -> None:
    """Send the service's own log and what is left of the others' to *stream* (standard error).

    Standard error never fails from then on, whoever writes to it.
    """
    if stream is None:
        sys.stderr = _unfailing(sys.stderr)
    target = stream if stream is not None else sys.stderr
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_empty_fields,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(target),  # a line and its end in one write
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.addFilter(_log_reduced)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    threading.excepthook = _log_thread_exception
    sys.unraisablehook = _log_unraisable


def _unfailing(stream: TextIO | None) -> TextIO:
    """Return *stream* as one that never fails, or one to nowhere if the process has none."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    try:
        return cast("TextIO", LogOutput(stream.fileno()))
    except OSError:
        return stream  # it is no file


def _without_empty_fields(
    _logger: object, _method: str, fields: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _log_thread_exception(arguments: threading.ExceptHookArgs) -> None:
    """Log that a thread ended by an exception; Python's own way prints its text."""
    _log_exception("thread_exception", arguments.exc_type)


def _log_unraisable(arguments: sys.UnraisableHookArgs) -> None:
    """Log an exception nobody could catch; Python's own way prints its text and an object."""
    _log_exception("unraisable_exception", arguments.exc_type)


def _log_exception(event: str, kind: type[BaseException]) -> None:
    structlog.get_logger().error(event, exception=kind.__name__)


def _log_reduced(record: logging.LogRecord) -> bool:
    """Log where *record* comes from, its unfilled text and the type of its exception.

    Returns False, so that the record itself is not written.
    """
    exception = record.exc_info[0] if record.exc_info else None
    structlog.get_logger().log(
        record.levelno,
        "foreign_log_record",
        logger=record.name,
        text=_safe_text(record),
        exception=exception.__name__ if exception else None,
    )
    return False


def _safe_text(record: logging.LogRecord) -> str | None:
    """Return the text of *record* as far as it can hold nothing of a request."""
    if not isinstance(record.msg, str) or not record.args:
        return None
    name, modules = _FILLED
    if record.name != name or record.module not in modules:
        return record.msg
    filled = record.getMessage()
    return record.msg if "\n" in filled else filled  # lines are a traceback, with its exception
