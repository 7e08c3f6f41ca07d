"""Two routes to compare the service with: one that only reads the body, one that parses it too.

For ``cds-service bench-server`` and ``make bench``; never part of the service itself.
"""

from __future__ import annotations

from flask import Flask, Response, request

from cds_service.errors import SettingsError

NULL = "/bench/null"
ORJSON = "/bench/orjson"
_NO_CARDS = b'{"cards":[]}'


def add_reference_routes(app: Flask) -> None:
    """Add both routes to *app*; they ask for no token.

    Raises:
        SettingsError: ``orjson`` is not installed; the service itself does not need it.
    """
    try:
        from orjson import loads  # noqa: PLC0415 - a tool for measuring, not of the service
    except ImportError:
        raise SettingsError(
            "bench-server compares with the parser orjson, which is not installed. "
            "Install it (pip install orjson) and start again."
        ) from None

    @app.post(NULL)
    def null() -> Response:
        request.get_data(cache=False)
        return Response(_NO_CARDS, mimetype="application/json")

    @app.post(ORJSON)
    def parse_only() -> Response:
        loads(request.get_data(cache=False))
        return Response(_NO_CARDS, mimetype="application/json")
