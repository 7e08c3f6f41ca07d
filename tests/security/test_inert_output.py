"""Whatever a chart or a request says, cards, pages and errors show only our own words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.app import create_app
from cds_service.demo.personas import load_personas
from cds_service.hooks.request import AS_OF_EXTENSION
from cds_service.knowledge.loading import load_knowledge
from cds_service.settings import Settings
from tests.chart_keys import KINDS
from tests.security.lab import SERVICE

DAY = date(2026, 3, 1)
MARK = "zqmark"
FREE_TEXTS = frozenset(
    {"display", "text", "family", "given", "div", "title", "description", "name"}
)
PAYLOADS = (
    f"<img src=x onerror={MARK}>",
    f"<script>{MARK}</script>",
    f"[{MARK}](javascript:alert(1))",
    f"![{MARK}](https://evil.example/p.png)",
    f"https://evil.example/{MARK}",
    f"www.evil.example/{MARK} {MARK}@evil.example",
    f"\n\n# {MARK}\n\n> {MARK}\n- {MARK}\n```\n{MARK}",
    f"| {MARK} | b |\n|---|---|\n",
    f"&lt;b&gt;{MARK}&#x3c;",
    f"{{{{ 7*7 }}}} {{threshold:pt-day}} %s {{}} {MARK}",
    f"\u202e{MARK}\u2066\u200b\ufeff",
    f"{MARK}\x00\x1b[31m\r\nSet-Cookie: {MARK}=1",
    f"]({MARK}) ** __ ~~ \\",
    f"<!--{MARK}",
    f"<style>@import '//{MARK}'</style>",
    MARK * 5_000,
)
HOSTILE = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(max_size=200).map(lambda text: f"{MARK}{text}{MARK}"),
)
OUR_TAGS = frozenset({"p", "strong", "em", "ul", "li", "a", "br"})
QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Return a client of the whole service, real rooms and real content, in this process."""
    return _make_client(tmp_path_factory.mktemp("state"))


def _make_client(state: Path) -> FlaskClient:
    app = create_app(
        Settings(is_dev=True, state_dir=state, deadline_ms=30_000), knowledge=load_knowledge()
    )
    app.testing = False
    return app.test_client()


@cache
def _personas() -> list[tuple[str, str, str]]:
    """Return id, patient and chart (JSON) of every synthetic patient."""
    return [
        (each.id, each.patient_id, json.dumps([*each.resources])) for each in load_personas(DAY)
    ]


def _replaced(value: object, hostile: Callable[[], str], name: str = "") -> object:
    if isinstance(value, dict):
        return {key: _replaced(member, hostile, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_replaced(member, hostile, name) for member in value]
    return hostile() if name in FREE_TEXTS and isinstance(value, str) else value


def _body(patient: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    prefetch: dict[str, Any] = {"patient": resources[0], "findings": None}
    for key, kind in KINDS.items():
        entries = [{"resource": each} for each in resources if each["resourceType"] == kind]
        prefetch[key] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/1", "patientId": patient},
        "prefetch": prefetch,
        "extension": {AS_OF_EXTENSION: DAY.isoformat()},
    }


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member)
    elif isinstance(value, str):
        yield value


def _assert_inert(card: dict[str, Any]) -> None:
    hosts = {urlsplit(source.url).hostname for source in load_sources()} - {None}
    for text in _strings(card):
        assert MARK not in text.lower()
        assert "evil.example" not in text
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(card["detail"])
    assert set(re.findall(r"<([a-zA-Z!][a-zA-Z0-9-]*)", html)) <= OUR_TAGS
    for address in re.findall(r'(?:href|src)="([^"]*)"', html):
        assert urlsplit(address).hostname in hosts
    for link in card.get("links", []):
        assert urlsplit(link["url"]).hostname in hosts
    assert not set(card["summary"]) & set("<>`[]|\\*\n")


@cache
def load_sources() -> tuple[Any, ...]:
    """Return the sources cards may link to."""
    return tuple(load_knowledge().sources.values())


@QUICK
@given(data=st.data())
def test_chart_full_of_markup_changes_no_word_of_a_card(
    client: FlaskClient, data: st.DataObject
) -> None:
    """Every text a person could have written in a chart is replaced; none of it is shown."""
    _, patient, chart = data.draw(st.sampled_from(_personas()))
    texts = data.draw(st.lists(HOSTILE, min_size=1, max_size=8))
    turn = iter(range(10**9))
    replaced: Any = _replaced(json.loads(chart), lambda: texts[next(turn) % len(texts)])
    answer = client.post(SERVICE, json=_body(patient, replaced))
    assert answer.status_code == 200
    cards = answer.get_json()["cards"]
    for card in cards:
        _assert_inert(card)


def test_every_persona_with_hostile_texts_still_gets_cards(client: FlaskClient) -> None:
    """The test above looks at real cards, and texts of people decide almost nothing."""
    count = 0
    for _, patient, chart in _personas():
        replaced: Any = _replaced(json.loads(chart), lambda: PAYLOADS[0])
        answer = client.post(SERVICE, json=_body(patient, replaced)).get_json()
        count += len(answer["cards"])
        for card in answer["cards"]:
            _assert_inert(card)
    assert count > 20


ADDRESSES = (
    "/",
    "/guidance/",
    "/guidance/{}",
    "/fhir/ValueSet/{}",
    "/fhir/CodeSystem/{}",
    "/cds-services/{}",
    "/static/{}",
    "/health/{}",
    "/icon.png",
    "/{}",
)


@QUICK
@given(
    address=st.sampled_from(ADDRESSES),
    text=HOSTILE,
    method=st.sampled_from(["GET", "POST", "OPTIONS", "PUT"]),
)
def test_no_address_repeats_what_was_asked(
    client: FlaskClient, address: str, text: str, method: str
) -> None:
    """Pages and errors never echo, and every one of them ties the browser's hands."""
    path = address.format(quote(text.encode("utf-8", "surrogatepass"), safe=""))
    answer = client.open(
        path,
        method=method,
        buffered=True,
        query_string={"q": text.encode("utf-8", "replace")},
        headers={"Referer": f"https://evil.example/{MARK}", "X-Mark": MARK},
    )
    assert answer.status_code < 500
    assert MARK.encode() not in answer.data
    assert MARK not in str(answer.headers)
    _assert_protected(answer)


def _assert_protected(answer: Any) -> None:  # noqa: ANN401 - werkzeug's TestResponse
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in answer.headers


def test_every_page_is_protected_and_has_no_script(client: FlaskClient) -> None:
    """No page needs a script, an inline style or anything from elsewhere, so none may run."""
    cards = load_knowledge().cards
    for path in ("/", "/guidance/", *(f"/guidance/{card}" for card in cards)):
        answer = client.get(path)
        assert answer.status_code == 200
        _assert_protected(answer)
        assert not re.search(
            r"<script|<iframe|<object|<embed|<form|<base| style=| on\w+=", answer.text
        )
        for address in re.findall(r'(?:src|action)="([^"]*)"', answer.text):
            assert not urlsplit(address).scheme


def test_links_lead_only_to_the_hosts_a_site_allows(tmp_path: Path) -> None:
    """A site may name the hosts; other sources are then cited as text, on cards and pages."""
    from cds_service.trust.demo_profile import generate_demo_config  # noqa: PLC0415

    config, _ = generate_demo_config(tmp_path, "http://127.0.0.1:9/fhir", "http://127.0.0.1:8080")
    allowed = 'mode = "demo"\nallowed_link_hosts = ["www.nice.org.uk"]'
    config.write_text(config.read_text().replace('mode = "demo"', allowed))
    app = create_app(Settings(config_path=config, state_dir=tmp_path), knowledge=load_knowledge())
    for card in load_knowledge().cards:
        page = app.test_client().get(f"/guidance/{card}").text
        outside = re.findall(r'href="(https://[^"]*)"', page)
        assert {urlsplit(address).hostname for address in outside} <= {"www.nice.org.uk"}
