"""The whole requests in ``fhir_fixtures/requests`` get back what their index promises."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cds_service.demo.command import RunningDemo
from cds_service.demo.personas import fixtures_folder

FOLDER = fixtures_folder() / "requests"
INDEX: list[dict[str, Any]] = yaml.safe_load((FOLDER / "index.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", INDEX, ids=[entry["id"] for entry in INDEX])
def test_request_gets_what_its_index_promises(demo: RunningDemo, entry: dict[str, Any]) -> None:
    """Status, cards and named JSON path are those written down in the index."""
    client = demo.ehr.client
    body = (FOLDER / f"{entry['id']}.json").read_bytes()
    exchange = client.send_hook(body, client.token(client.hook_url))
    assert exchange.status == entry["status"], exchange.body
    if "cards" in entry:
        topics = [card["source"]["topic"]["code"] for card in exchange.answer["cards"]]
        assert topics == [card.replace("-", "") for card in entry["cards"]]
    else:
        assert exchange.answer["resourceType"] == "OperationOutcome"
    assert entry.get("path", "") in exchange.body


def test_every_request_in_the_folder_is_in_the_index() -> None:
    """No request lies in the folder unseen."""
    assert {path.stem for path in FOLDER.glob("*.json")} == {entry["id"] for entry in INDEX}
