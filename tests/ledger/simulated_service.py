"""The service with a clock that a test sets: the moment stands in a file beside --config.

Run as ``python -m tests.ledger.simulated_service serve --config ...``.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from flask import Flask

from cds_service import cli
from cds_service.app import LEDGER, create_app
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from cds_service.trust.config import ConfigSource


def main() -> None:
    """Serve with the clock of the file."""
    clock = Path(sys.argv[sys.argv.index("--config") + 1]).parent / "clock"

    def now() -> datetime:
        return datetime.fromisoformat(clock.read_text(encoding="ascii"))

    def make(settings: Settings, config: ConfigSource, knowledge: Knowledge) -> Flask:
        app = create_app(settings, config=config, clock=now, knowledge=knowledge)
        app.extensions[LEDGER].keep_house()
        return app

    cli.create_serving_app = make
    cli.main()


if __name__ == "__main__":
    main()
