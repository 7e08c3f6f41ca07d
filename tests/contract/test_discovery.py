"""What an EHR learns before its first call, whatever version it speaks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract.checker import empty_values
from tests.contract.ehrs import DISCOVERY, VERSIONS, Ehr
from tests.contract.requests import vignette_requests

INTEGRATION = Path(__file__).parents[2] / "docs" / "integration.md"
OPERATIONS = INTEGRATION.with_name("operations.md")
READ = re.compile(r"[A-Z][A-Za-z]+/\{\{context\.patientId\}\}|\{\{context\.userId\}\}")
SEARCH = re.compile(r"[A-Z][A-Za-z]+\?(?P<parameters>.+)")
PARAMETERS = {
    "patient": re.compile(r"\{\{context\.patientId\}\}"),
    "code": re.compile(r"https?://[^|,\s]+\|[^|,\s]+(,https?://[^|,\s]+\|[^|,\s]+)*"),
    "_count": re.compile(r"[1-9][0-9]*"),
}


@pytest.mark.parametrize("address", [DISCOVERY, f"{DISCOVERY}/"])
def test_discovery_stands_at_its_one_address(ehrs: dict[str, Ehr], address: str) -> None:
    """GET answers 200 with an object that lists the services, as JSON of RFC 8259."""
    ehr = ehrs["2.0.1"]
    answer = ehr.http.get(address, headers={**ehr.bearer(DISCOVERY), "Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    document = json.loads(answer.data)
    assert isinstance(document["services"], list)
    assert document["services"]
    assert list(empty_values(document, "$")) == []


def test_service_says_what_it_is_and_is_found_under_its_id(ehrs: dict[str, Ehr]) -> None:
    """Hook, id, description, title and preconditions are texts; the id ends the service's URL."""
    ehr = ehrs["2.0.1"]
    service = ehr.discover()
    for name in ("hook", "id", "description", "title", "usageRequirements"):
        assert isinstance(service[name], str)
        assert service[name].strip()
    _, request = next(vignette_requests())
    path = f"{DISCOVERY}/{service['id']}"
    answer = ehr.http.post(path, json=request, headers=ehr.bearer(path))
    assert answer.status_code == 200


@pytest.mark.parametrize("version", VERSIONS)
def test_each_client_reads_the_version_it_understands(ehrs: dict[str, Ehr], version: str) -> None:
    """Drafts of 3.0 disagree how the version is named and 1.0 knows no such field."""
    service = ehrs[version].discover()
    named = VERSIONS[version].named
    assert service.get("version") == (None if named == "none" else named)
    assert service["hookVersion"] == "1.0"


def test_one_hook_is_listed_once(ehrs: dict[str, Ehr]) -> None:
    """EHRs that key services by their id would lose one of two; the hook is a standard one."""
    assert ehrs["3.0"].discover()["hook"] == "patient-view"


def test_prefetch_templates_keep_to_what_every_ehr_can_resolve(ehrs: dict[str, Ehr]) -> None:
    """Reads, patient, code and _count: no dates, modifiers, sorting, includes or FHIRPath."""
    for ehr in ehrs.values():
        for key, template in ehr.discover()["prefetch"].items():
            assert re.fullmatch(r"[A-Za-z]+", key)
            if READ.fullmatch(template):
                continue
            search = SEARCH.fullmatch(template)
            assert search, template
            for parameter in search["parameters"].split("&"):
                name, _, value = parameter.partition("=")
                assert PARAMETERS[name].fullmatch(value), parameter


def test_people_can_read_what_the_service_needs(ehrs: dict[str, Ehr]) -> None:
    """Every prefetch key and every address stands in the documentation for integrators."""
    page = INTEGRATION.read_text(encoding="utf-8")
    service: dict[str, Any] = ehrs["3.0"].discover()
    assert [key for key in service["prefetch"] if f"`{key}`" not in page] == []
    assert f"`{DISCOVERY}/{service['id']}/feedback`" in page


def test_documented_proxy_takes_no_old_encryption() -> None:
    """TLS ends at the proxy, and the one we document refuses everything below 1.2."""
    page = OPERATIONS.read_text(encoding="utf-8")
    assert re.findall(r"ssl_protocols +(.*);", page) == ["TLSv1.2 TLSv1.3"]
