"""Every answer that is not a success: a status and a FHIR OperationOutcome.

This is the only place that turns errors into HTTP.  The texts are ours; an unexpected exception
answers one fixed sentence and leaves its type and place in the log, never its text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from traceback import extract_tb

import msgspec
import structlog
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from cds_service.errors import (
    BodyTooLargeError,
    CdsError,
    DataNotAvailableError,
    MediaTypeError,
    OverloadedError,
    RequestError,
    TooManyRequestsError,
    UnauthorizedError,
    UnknownCallError,
    UnknownServiceError,
)
from cds_service.web.limits import body_too_large

_log = structlog.get_logger()

UNEXPECTED = (
    "The service could not answer because of a fault of its own; nothing was evaluated. Try again, "
    "and if it stays so tell the operators of this service the time of the call."
)
_UNAUTHORIZED = "This call is not authorised."
_TEXTS = {
    400: "The request cannot be understood. Send a well-formed HTTP request with a whole body.",
    404: "There is nothing at this address. GET /cds-services lists what this service offers.",
    405: "This address does not take this method; the header Allow lists the methods it takes.",
    429: "Too many requests came from this client. Wait as long as the header Retry-After says.",
    503: "The service cannot take this now. Send it again after the time Retry-After says.",
}
_ISSUE_CODES = {
    400: "invalid",
    401: "login",
    404: "not-found",
    405: "not-supported",
    412: "processing",
    413: "too-long",
    415: "not-supported",
    429: "throttled",
    500: "exception",
    503: "transient",
}


def operation_outcome(issues: Iterable[dict[str, object]]) -> bytes:
    """Return an OperationOutcome with *issues* as JSON."""
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": list(issues)})


def issue(
    code: str, text: str, *, expression: str | None = None, diagnostics: str | None = None
) -> dict[str, object]:
    """Return one issue; *expression* is the place in the request (``context.patientId``)."""
    return {
        "severity": "error",
        "code": code,
        "details": {"text": text},
        **({"diagnostics": diagnostics} if diagnostics else {}),
        **({"expression": [expression]} if expression else {}),
    }


def register_problems(app: Flask) -> None:
    """Let every error of *app* leave as an OperationOutcome."""
    app.register_error_handler(CdsError, _expected)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _expected(error: CdsError) -> Response:
    """Answer an error that was raised on purpose."""
    status = status_of(error)
    _log.info(
        "refused",
        status=status,
        path=getattr(error, "path", None),
        reason=getattr(error, "reason", None),
        claims=getattr(error, "claims", None),
        client=g.get("client_id"),
        hookInstance=g.get("hook_instance"),
    )
    match error:
        case UnauthorizedError():
            return _problem(status, _UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
        case TooManyRequestsError() | OverloadedError():
            wait = {"Retry-After": str(error.retry_after_seconds)}
            return _problem(status, _TEXTS[status], headers=wait)
        case DataNotAvailableError():
            keys = ", ".join(error.keys)
            return _problem(status, error.message, path=error.path, diagnostics=keys)
        case RequestError():
            return _problem(status, error.message, path=error.path)
        case _:
            return _unexpected(error)


def status_of(error: Exception) -> int:
    """Return the HTTP status of *error*."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500


_STATUSES: tuple[tuple[type[CdsError], int], ...] = (
    (UnknownServiceError, 404),
    (UnknownCallError, 404),
    (BodyTooLargeError, 413),
    (MediaTypeError, 415),
    (DataNotAvailableError, 412),
    (RequestError, 400),
    (UnauthorizedError, 401),
    (TooManyRequestsError, 429),
    (OverloadedError, 503),
)


def _http(error: HTTPException) -> Response:
    """Answer what Flask itself refuses: unknown addresses, wrong methods, cut bodies."""
    if isinstance(error, RequestEntityTooLarge):
        return _expected(body_too_large())
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return _problem(status, _TEXTS.get(status, _TEXTS[400]), headers=headers)


def _unexpected(error: Exception) -> Response:
    """Answer a fault of ours; the log names its type and the line of our code, no more."""
    _log.error(
        "unexpected_exception",
        exception=type(error).__name__,
        location=_location(error),
        client=g.get("client_id"),
        hookInstance=g.get("hook_instance"),
    )
    return _problem(500, UNEXPECTED)


def _location(error: Exception) -> str:
    """Return the deepest line of this package that *error* passed."""
    package = Path(__file__).resolve().parent.parent
    frames = extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(package)]
    if not ours:
        return "outside this package"
    place = Path(ours[-1].filename).relative_to(package.parent)
    return f"{place}:{ours[-1].lineno} in {ours[-1].name}"


def _problem(
    status: int,
    text: str,
    *,
    path: str | None = None,
    diagnostics: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    expression = path.removeprefix("$").removeprefix(".") if path else None
    code = _ISSUE_CODES.get(status, "processing")
    body = operation_outcome([issue(code, text, expression=expression, diagnostics=diagnostics)])
    response = Response(body, status=status, mimetype="application/json")
    response.headers.update({"Cache-Control": "no-store", **(headers or {})})
    return response
