"""The service with two reference routes beside it, so that ratios compare like with like.

``/bench/null`` reads the body and answers an empty card list; ``/bench/orjson`` parses it too.
Both go through the same server, the same Flask application and the same answer headers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import orjson
from flask import Flask, Response, request

from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.logging_setup import set_up_logging
from cds_service.serving import serve
from cds_service.settings import load_settings

NULL = "/bench/null"
ORJSON = "/bench/orjson"
_NO_CARDS = b'{"cards":[]}'


def main() -> None:
    """Serve until a signal ends the process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--config", type=Path, required=True)
    chosen = options.parse_args()
    settings = load_settings({"config": str(chosen.config), "port": chosen.port}, {})
    set_up_logging()
    knowledge = load_knowledge()

    def make_app() -> Flask:
        app = create_app(settings, knowledge=knowledge)
        add_reference_routes(app)
        return app

    serve(settings, make_app, lambda: None)


def add_reference_routes(app: Flask) -> None:
    """Add the routes that the service is compared with."""

    @app.post(NULL)
    def null() -> Response:
        request.get_data(cache=False)
        return Response(_NO_CARDS, mimetype="application/json")

    @app.post(ORJSON)
    def parse_only() -> Response:
        orjson.loads(request.get_data(cache=False))
        return Response(_NO_CARDS, mimetype="application/json")


if __name__ == "__main__":
    main()
