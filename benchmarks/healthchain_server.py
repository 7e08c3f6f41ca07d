"""A CDS Hooks service of one rule on HealthChain, to compare with; run by HealthChain's own Python.

Its rule looks whether there is a procedure at all, so what is measured is the framework's work.
"""

from __future__ import annotations

import argparse

import uvicorn  # type: ignore[import-not-found]
from healthchain.gateway import (  # type: ignore[import-not-found]
    CDSHooksService,
    HealthChainAPI,
)
from healthchain.models import Card, CDSRequest, CDSResponse  # type: ignore[import-not-found]

service = CDSHooksService()


@service.hook("patient-view", id="one-rule", title="One rule", description="Is there a procedure?")  # type: ignore[untyped-decorator]
def one_rule(request: CDSRequest) -> CDSResponse:
    """Return one card if the chart has a procedure."""
    procedures = (request.prefetch or {}).get("procedures") or {}
    entries = procedures.get("entry") if isinstance(procedures, dict) else procedures.entry
    card = Card(summary="Review", indicator="info", source={"label": "Benchmark"}, detail="")
    return CDSResponse(cards=[card] if entries else [])


def main() -> None:
    """Serve until a signal ends the process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    app = HealthChainAPI()
    app.register_service(service, path="/cds")
    uvicorn.run(app, host="127.0.0.1", port=options.parse_args().port, log_level="error")


if __name__ == "__main__":
    main()
