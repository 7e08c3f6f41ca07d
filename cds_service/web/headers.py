"""Headers every answer carries: who may read it (CORS), and what a browser may do with it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, abort, request

from cds_service.hooks.discovery import SERVICE_ID
from cds_service.web.limits import is_odd_address

_HOOK_PATH = "/cds-services"
_ALLOWED_ORIGINS = "allowed_origins"
_CORS_MAX_AGE_SECONDS = 600

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'"


def register_headers(app: Flask, allowed_origins: Callable[[], tuple[str, ...]]) -> None:
    """Add the headers to every answer of *app*, errors included; answer preflights.

    An address that is written in an odd way is not found.

    *allowed_origins* returns the web origins that may read the hook addresses now; "*" means all.
    """

    def answer_early() -> Response | None:
        if is_odd_address(request):
            abort(404)
        if request.method == "OPTIONS" and _is_hook_address(request.path):
            return Response(status=204)
        return None

    def complete(response: Response) -> Response:
        if _is_hook_address(request.path):
            _allow(response, allowed_origins())
        _protect(response)
        return response

    app.extensions[_ALLOWED_ORIGINS] = allowed_origins
    app.before_request(answer_early)
    app.after_request(complete)


def cors_of_unreadable(app: Flask) -> str:
    """Return the CORS line for an answer to what *app* cannot read: its address is not known.

    The answer is always the same and tells nothing, so every page may read it, unless the site
    lists the pages that may.
    """
    return "Access-Control-Allow-Origin: *\r\n" if "*" in app.extensions[_ALLOWED_ORIGINS]() else ""


def _is_hook_address(path: str) -> bool:
    return path == _HOOK_PATH or path.startswith(f"{_HOOK_PATH}/")


def _allow(response: Response, origins: tuple[str, ...]) -> None:
    if "*" in origins:
        response.headers["Access-Control-Allow-Origin"] = "*"
    else:
        response.headers["Vary"] = "Origin"
        if request.headers.get("Origin") not in origins:
            return
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    # Without this a page sees 429 or 503 and not how long to wait.
    response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Max-Age"] = str(_CORS_MAX_AGE_SECONDS)


def _protect(response: Response) -> None:
    is_page = response.mimetype == "text/html"
    response.headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _ANSWER_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.path.startswith(f"{_HOOK_PATH}/{SERVICE_ID}"):
        response.headers["Cache-Control"] = "no-store"
