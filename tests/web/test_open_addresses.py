"""What everyone may read: discovery, health, code systems, icon, and the pages for people."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from fhir.resources.R4B.codesystem import CodeSystem
from fhir.resources.R4B.valueset import ValueSet
from flask.testing import FlaskClient

from cds_service.knowledge.model import Knowledge
from cds_service.web.icon import icon_png
from cds_service.web.pages import markdown_html

MOST_PAGE_BYTES = 100_000


def test_discovery_lists_the_service_with_its_prefetch(client: FlaskClient) -> None:
    """An EHR finds the service, its hook and a template for each required key."""
    answer = client.get("/cds-services")
    [service] = answer.get_json()["services"]
    assert service["id"] == "post-laminectomy-evaluation"
    assert service["hook"] == "patient-view"
    assert service["version"] == "STU3"
    assert service["prefetch"]["patient"] == "Patient/{{context.patientId}}"
    assert service["prefetch"]["procedures"].startswith("Procedure?patient={{context.patientId}}")


def test_health_tells_what_is_served_and_that_nobody_reviewed_it(
    client: FlaskClient, knowledge: Knowledge
) -> None:
    """Operators see version and digest of the content, and its clinical status."""
    assert client.get("/health/live").get_json() == {"status": "live"}
    ready = client.get("/health/ready")
    assert ready.headers["Cache-Control"] == "no-store"
    assert ready.get_json() == {
        "status": "ready",
        "mode": "development",
        "knowledge": {
            "version": knowledge.version,
            "digest": knowledge.digest,
            "content": "not yet clinically reviewed",
        },
        "replay_store": "in order",
        "ledger": "in order",
    }


def test_preflight_of_a_browser_is_answered_without_a_token(
    service: Callable[..., FlaskClient],
) -> None:
    """A browser may ask before it calls, on every hook address, whoever it is."""
    closed = service(is_dev=False)
    for path in (
        "/cds-services",
        "/cds-services/post-laminectomy-evaluation",
        "/cds-services/post-laminectomy-evaluation/feedback",
    ):
        answer = closed.options(path, headers={"Origin": "https://sandbox.cds-hooks.org"})
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_answer_that_is_no_page_may_load_nothing(client: FlaskClient) -> None:
    """A browser that shows it as a page loads nothing, not even our own style."""
    policy = client.get("/cds-services").headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_preflight_tells_an_ordinary_answer_nothing(client: FlaskClient) -> None:
    """What a browser may send is told when it asks, and only at hook addresses."""
    assert "Access-Control-Allow-Methods" not in client.get("/cds-services").headers
    answer = client.options("/guidance/", headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Headers" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("/cds-services", 200),
        ("/cds-services?a=%2F", 200),
        ("/cds%2Dservices", 404),
        ("http://other.example/cds-services", 404),
    ],
)
def test_address_that_a_proxy_could_read_otherwise_is_not_found(
    client: FlaskClient, sent: str, status: int
) -> None:
    """Ours need no percent sign and no host; what stands after the question mark is nobody's."""
    answer = client.get("/cds-services", environ_overrides={"RAW_URI": sent})
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/guidance/", "/"])
def test_other_addresses_are_not_open_to_other_web_pages(client: FlaskClient, path: str) -> None:
    """Only the hook addresses may be read by scripts of other origins."""
    answer = client.get(path, headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_icon_is_an_opaque_png_of_100_pixels(client: FlaskClient) -> None:
    """The icon has the size and kind the specification recommends."""
    answer = client.get("/icon.png")
    assert answer.mimetype == "image/png"
    assert answer.data == icon_png()
    assert answer.headers["Cache-Control"] == "max-age=86400"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    width, height, depth, colours = struct.unpack(">IIBB", answer.data[16:26])
    assert (width, height, depth) == (100, 100, 8)
    assert colours == 2  # true colour without transparency
    start = answer.data.index(b"IDAT") + 4
    assert len(zlib.decompressobj().decompress(answer.data[start:])) == 100 * (1 + 3 * 100)


@pytest.mark.parametrize("system", ["finding", "card"])
def test_local_code_system_is_valid_fhir(client: FlaskClient, system: str) -> None:
    """Sites can load our own codes."""
    answer = client.get(f"/fhir/CodeSystem/{system}")
    assert answer.mimetype == "application/fhir+json"
    assert CodeSystem.model_validate_json(answer.data).id == system


def test_reasons_of_the_specification_are_mapped_to_ours(client: FlaskClient) -> None:
    """Sites can load which of our reasons stands for which code of CDS Hooks."""
    answer = client.get("/fhir/ConceptMap/override-reason")
    assert answer.mimetype == "application/fhir+json"
    assert answer.get_json()["resourceType"] == "ConceptMap"


def test_every_value_set_is_valid_fhir(client: FlaskClient, knowledge: Knowledge) -> None:
    """Sites can read which codes we look for."""
    for value_set_id in knowledge.value_sets:
        answer = client.get(f"/fhir/ValueSet/{value_set_id}")
        assert ValueSet.model_validate_json(answer.data).id == value_set_id


def test_every_card_has_a_guidance_page(client: FlaskClient, knowledge: Knowledge) -> None:
    """The page a card links to exists, is small, safe, and says what it rests on."""
    for card in knowledge.cards.values():
        page = client.get(f"/guidance/{card.id.upper()}")
        assert page.status_code == 200, card.id
        assert len(page.data) < MOST_PAGE_BYTES
        text = page.get_data(as_text=True)
        assert card.title.replace("&", "&amp;") in text
        assert "not yet clinically reviewed" in text.lower()
        assert all(knowledge.sources[source].url in text for source in card.sources)
        assert "{" not in text, card.id
        assert "**" not in text, card.id


def test_guidance_list_links_every_card_in_the_order_of_the_table(
    client: FlaskClient, knowledge: Knowledge
) -> None:
    """A clinician finds all cards on one page, the most urgent first."""
    text = client.get("/guidance/").get_data(as_text=True)
    ids = [card.id.upper() for card in sorted(knowledge.cards.values(), key=lambda c: c.row)]
    places = [text.index(f'href="{card_id}"') for card_id in ids]
    assert places == sorted(places)


@pytest.mark.parametrize("path", ["/", "/guidance/", "/guidance/RF-CES"])
def test_page_lets_a_browser_load_nothing_but_our_own_style(client: FlaskClient, path: str) -> None:
    """Nothing runs on a page and nothing frames it."""
    page = client.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "style-src 'self'" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert b"<script" not in page.data
    assert b"style=" not in page.data
    with client.get("/static/page.css") as style:
        assert style.mimetype == "text/css"


def test_markdown_of_the_content_becomes_html_and_nothing_else_does() -> None:
    """Emphasis and lists are shown, tags and links are shown as text."""
    html = markdown_html("**Call** *now* <script>\n\n- one\n- [two](javascript:x)")
    assert html == (
        "<p><strong>Call</strong> <em>now</em> &lt;script&gt;</p>\n"
        "<ul><li>one</li><li>[two](javascript:x)</li></ul>"
    )
