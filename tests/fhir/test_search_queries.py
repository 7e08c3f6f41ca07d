"""The searches keep to what every EHR knows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from cds_service.catalogue.codes import CodeMap
from cds_service.chart.supply import Key
from cds_service.fhir.paging import safe_next_url
from cds_service.fhir.queries import observation_codes, templates
from cds_service.knowledge.model import Knowledge
from cds_service.trust.dialect import search_form
from tests.fhir.chart_parts import SNOMED, searches


def test_templates_use_only_the_patient_id(knowledge: Knowledge) -> None:
    """No other token, no date and no modifier appears in a template."""
    found = templates(knowledge)
    assert tuple(found) == Key.DEFAULT
    assert found[Key.PATIENT] == "Patient/{{context.patientId}}"
    for key, template in found.items():
        assert set(re.findall(r"{{(.*?)}}", template)) == {"context.patientId"}
        names = set(parse_qs(urlsplit(template).query))
        assert names <= {"patient", "code", "_count"}, key


def test_observation_searches_name_the_codes_that_matter(knowledge: Knowledge) -> None:
    """Pain, ODI, CRP and the local motor grade are asked for; nothing is asked twice."""
    scores = observation_codes(knowledge, Key.SCORES)
    findings = observation_codes(knowledge, Key.FINDINGS)
    assert {"http://loinc.org|72514-3", "http://loinc.org|97908-8"} <= set(scores)
    local = "http://post-laminectomy-cds.example/fhir/CodeSystem/finding|mrc-grade"
    assert {"http://loinc.org|1988-5", local} <= set(findings)
    assert not set(scores) & set(findings)


@pytest.mark.parametrize(
    "code",
    [
        "192970008",  # cauda equina syndrome
        "2304001",  # discitis
        "58126003",  # infected wound
        "239160006",  # haematoma
        "188462001",  # tumour of the spine
        "94222008",  # metastasis
        "426646004",  # fracture
        "303081002",  # claudication
        "202487003",  # sacroiliac pain
    ],
)
def test_finding_that_is_read_as_an_observation_is_asked_for(
    knowledge: Knowledge, code: str
) -> None:
    """A chart that is fetched tells as much as the same chart sent along."""
    assert f"{SNOMED}|{code}" in observation_codes(knowledge, Key.FINDINGS)


def test_local_code_of_a_red_flag_is_asked_for(knowledge: Knowledge) -> None:
    """A hospital maps its own row of the nurses' sheet to cauda equina syndrome."""
    own = CodeMap(concepts={("urn:oid:2.999.1", "77"): ("cauda-equina",)})
    assert "urn:oid:2.999.1|77" in observation_codes(knowledge, Key.FINDINGS, own)


def test_optional_keys_are_asked_for_only_when_wanted(knowledge: Knowledge) -> None:
    """A site's optional key adds its template."""
    assert Key.ENCOUNTERS not in templates(knowledge)
    assert templates(knowledge, [Key.ENCOUNTERS])[Key.ENCOUNTERS].startswith("Encounter?")


@pytest.mark.parametrize("longest", [200, 400, 1900])
def test_long_code_lists_are_split_without_loss(knowledge: Knowledge, longest: int) -> None:
    """All parts together name every code once, and no part is too long."""
    urls = searches(knowledge, "anna", longest_url=longest)[Key.FINDINGS]
    assert all(len(url) <= longest for url in urls)
    named = [code for url in urls for code in parse_qs(urlsplit(url).query)["code"][0].split(",")]
    assert tuple(sorted(named)) == observation_codes(knowledge, Key.FINDINGS)


def test_millennium_is_not_sent_parameters_it_refuses(knowledge: Knowledge) -> None:
    """Oracle Health gets neither a page size on procedures nor an include."""
    urls = searches(knowledge, "anna", form=search_form("oracle-health"))
    assert urls[Key.PROCEDURES] == ("Procedure?patient=anna",)
    assert "_include" not in urls[Key.MEDICATION_REQUESTS][0]
    assert "_include" not in searches(knowledge, "anna")[Key.MEDICATION_REQUESTS][0]
    epic = searches(knowledge, "anna", form=search_form("epic"))
    assert "_include" in epic[Key.MEDICATION_REQUESTS][0]
    sandbox = searches(knowledge, "anna", form=search_form("cds-hooks-sandbox"))
    assert "_include" in sandbox[Key.MEDICATION_REQUESTS][0]


READS = frozenset({"patient", "_count"})
CODED = READS | {"code"}
UNDERSTOOD: dict[str, dict[str, frozenset[str]]] = {
    # what the makers' pages say a search takes; Epic passes over anything else with a warning
    "epic": {"Observation": CODED, "MedicationRequest": READS | {"_include"}, "": READS},
    "oracle-health": {
        "Observation": CODED,
        "Procedure": frozenset({"patient"}),
        "Condition": frozenset({"patient"}),
        "Device": frozenset({"patient"}),
        "AllergyIntolerance": frozenset({"patient"}),
        "": READS,
    },
    "generic": {"Observation": CODED, "": READS},
}
MOST_A_PAGE = {"DiagnosticReport": 100}
"""Entries that Oracle Health gives on a page at most, where they are fewer than 200."""


@pytest.mark.parametrize("dialect", UNDERSTOOD)
def test_searches_of_a_dialect_use_only_what_its_servers_take(
    knowledge: Knowledge, dialect: str
) -> None:
    """No date, no status, no modifier; Observations by code, and no page larger than is given."""
    found = searches(knowledge, "anna", form=search_form(dialect))
    assert found.pop(Key.PATIENT) == ("Patient/anna",)
    for url in (url for urls in found.values() for url in urls):
        kind, _, query = url.partition("?")
        values = parse_qs(query, strict_parsing=True)
        takes = UNDERSTOOD[dialect].get(kind, UNDERSTOOD[dialect][""])
        assert values.keys() <= takes, url
        assert values["patient"] == ["anna"]
        most = str(MOST_A_PAGE.get(kind, 200))
        assert values.get("_count", [most]) == [most]
        assert ("code" in values) is (kind == "Observation")
        assert all("|" in code for code in values.get("code", [""])[0].split(",") if code)


def test_patient_id_cannot_break_out_of_its_place(knowledge: Knowledge) -> None:
    """An id with URL signs stays one value."""
    url = searches(knowledge, "a/b?c&d")[Key.PROCEDURES][0]
    assert unquote(url).startswith("Procedure?patient=a/b?c&d")
    assert "a/b" not in url


BASE = "https://ehr.example/fhir"
HERE = f"{BASE}/Observation?patient=anna"


@pytest.mark.parametrize(
    "link",
    [
        f"{BASE}/Observation?page=2",
        f"{BASE}?_getpages=abc",
        f"{BASE}/?_getpages=abc",
        "https://EHR.example:443/fhir/Observation?page=2",
        "Observation?page=2",
        "?page=2",
        "/fhir/Observation?page=2",
    ],
)
def test_next_page_on_the_same_server_is_followed(link: str) -> None:
    """Absolute and relative links below the base are pages of the same server."""
    assert safe_next_url(BASE, HERE, link) is not None


@pytest.mark.parametrize(
    "link",
    [
        "http://ehr.example/fhir/Observation?page=2",
        "https://ehr.example:8443/fhir/Observation",
        "https://ehr.example.evil.com/fhir/Observation",
        "https://ehr.example@evil.com/fhir/Observation",
        "https://user@ehr.example/fhir/Observation",
        "https://ehr.example/fhirx/Observation",
        "https://ehr.example/fhir/../admin",
        "https://ehr.example/fhir/%2e%2e/admin",
        "https://ehr.example/fhir/%252e%252e/admin",
        "https://ehr.example/fhir/..%2fadmin",
        "https://ehr.example/fhir/..;/admin",
        "https://ehr.example/fhir/%2e%2e%3bx=1/admin",
        "https://ehr.example/fhir/Observation?page=2#https://evil.com",
        "https://ehr.example\\@evil.com/fhir/Observation",
        "//evil.com/fhir/Observation",
        "/other",
        "ftp://ehr.example/fhir/x",
        "javascript:alert(1)",
        "https://[bad/fhir",
        "https://ehr.example/fhir/x\r\nHost: evil.com",
    ],
)
def test_next_page_elsewhere_is_never_followed(link: str) -> None:
    """The token travels nowhere but to the FHIR server."""
    assert safe_next_url(BASE, HERE, link) is None


def test_the_integration_page_shows_the_searches_we_ask_for(knowledge: Knowledge) -> None:
    """Integrators type them into EHRs that take none from discovery."""
    page = Path(__file__).parents[2].joinpath("docs", "integration.md").read_text(encoding="utf-8")
    for query in templates(knowledge).values():
        broken = query.replace("&code=", "&code=\n  ").replace(",", ",\n  ")
        assert (broken.replace("&_count", "\n&_count") if "code=" in query else query) in page
