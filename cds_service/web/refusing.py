"""The answer to a call that found the line too long, made without a thread or a look at its token.

The token is not used up, so the EHR may send the same call again.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from flask import Flask, request

from cds_service.errors import OverloadedError

_NO_ROOM = "cds_service.no_room"
_RETRY_SECONDS = 1
_HOOK_CALL = b"POST /cds-services/"


def register_refusal(app: Flask) -> None:
    """Let *app* refuse the calls that :func:`refusal` hands to it, before anything else."""

    def refuse() -> None:
        if _NO_ROOM in request.environ:
            raise OverloadedError(_RETRY_SECONDS, "it would have waited too long in the line")

    app.before_request(refuse)


def is_hook_call(head: bytes) -> bool:
    """Whether *head* begins a call or its feedback, which may wait in the line."""
    return head.startswith(_HOOK_CALL)


def refusal(app: Flask, head: bytes) -> bytes:
    """Return what *app* answers to a call with this *head* for want of room, as HTTP."""
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    origins = [line[7:].strip() for line in lines if line[:7].lower() == "origin:"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": first.split(" ")[1].partition("?")[0],
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        _NO_ROOM: True,
    }
    if len(origins) == 1:
        environ["HTTP_ORIGIN"] = origins[0]
    written: list[str] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> Callable[[bytes], object]:
        written.append(f"HTTP/1.1 {status}")
        written.extend(f"{name}: {value}" for name, value in headers)
        return _unused

    body = b"".join(app.wsgi_app(environ, start_response))
    return "\r\n".join([*written, "Connection: close", "", ""]).encode("latin-1") + body


def _unused(_: bytes) -> None:
    """Stand for the old way of writing an answer, which Flask does not use."""
