"""The test EHR shows the charts of a FHIR server whose every text wants to run a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from cds_service.demo.personas import load_personas
from tests.browser.running import Site, running_site
from tests.security.lab import listening

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]

MARK = "zqhostile"
PAYLOAD = (
    f'{MARK}"><img src=x onerror=alert(1)><script>alert(2)</script>'
    f"<a href=\"javascript:alert(3)\">x</a>[x](javascript:alert(4))' onload='alert(5)"
)
TEXTS = {"display", "text", "family", "given", "title", "value", "description", "valueString"}
PATIENT_ID = "plcds-no-relief"
TODAY = datetime.now(UTC).date()  # noqa: TID251 - the demo shows today


def _spoiled(value: Any, name: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Return a chart with the payload in every text a person may have written."""
    if isinstance(value, dict):
        return {key: _spoiled(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_spoiled(member, name) for member in value]
    return f"{value}{PAYLOAD}" if name in TEXTS and isinstance(value, str) else value


def _answer(path: str, _: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Answer a search as a FHIR server with one patient does."""
    parts = urlsplit(path)
    kind = parts.path.rpartition("/")[2]
    wanted = parse_qs(parts.query)
    [persona] = [each for each in load_personas(TODAY) if each.patient_id == PATIENT_ID]
    is_asked = set(wanted.get("_id", []) + wanted.get("patient", [])) <= {PATIENT_ID}
    found = [each for each in persona.resources if each["resourceType"] == kind and is_asked]
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": _spoiled(each)} for each in found],
    }
    return 200, {"Content-Type": "application/fhir+json"}, json.dumps(bundle).encode()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo on the charts of such a server."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    with (
        listening(_answer) as (port, _),
        running_site(folder, "--fhir", f"http://127.0.0.1:{port}/fhir") as site,
    ):
        yield site


@pytest.mark.parametrize("path", ["/", f"/?name={PAYLOAD}", f"/patients/{PATIENT_ID}"])
def test_text_of_a_chart_stays_text(hostile: Site, browser: Browser, path: str) -> None:
    """Nothing of the chart becomes an element, an attribute, a link or a script."""
    faults: list[str] = []
    page = browser.new_page()
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(hostile.ehr + path)
    if "patients" in path:
        expect(page.locator("#cards-status")).to_contain_text("answered in")
        expect(page.locator("#timeline svg")).to_be_visible()
        expect(page.locator("#lists section").first).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        for tab in ("Request", "Answer", "Why, why not"):
            page.get_by_role("tab", name=tab).click()
    assert MARK in page.content()
    assert page.locator("img, main script, [onerror], [onload], a[href^='javascript']").count() == 0
    assert faults == []
    page.close()
