"""The pages for clinicians: complete, small, and never at odds with ``cards/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import unescape

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.settings import Settings

KNOWLEDGE = load_knowledge()
CARDS = sorted(KNOWLEDGE.cards)
MOST_BYTES = 100_000
HEADINGS = (
    "What the card says",
    "What to do",
    "What it means",
    "When it appears",
    "When it does not",
    "What would change it",
    "What it rests on, and how strong that is",
    "Limits",
    "Version and review",
)
TODAY = datetime.now(UTC).date()  # noqa: TID251 - the service shows the numbers of today


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    """Return a client of the service as it is shipped."""
    return create_app(Settings(is_dev=True)).test_client()


@pytest.fixture(scope="module")
def pages(client: FlaskClient) -> Mapping[str, str]:
    """Return the page of every card."""
    return {card: client.get(f"/guidance/{card}").get_data(as_text=True) for card in CARDS}


def _words(page: str) -> str:
    """Return the text of a page as a reader sees it, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.parametrize("card", CARDS)
def test_every_card_has_every_section(pages: Mapping[str, str], card: str) -> None:
    """No page leaves out what the card says, when it appears, when not, or how strong it is."""
    template = KNOWLEDGE.cards[card]
    for heading in HEADINGS:
        assert f">{heading}</h2>" in pages[card]
    for block in ("appears", "withheld"):
        assert template.texts[block].strip()
    assert _words(template.not_for) in _words(pages[card])
    assert ("What the source articles say" in pages[card]) == bool(template.claims)
    for claim in template.claims:
        assert KNOWLEDGE.claims[claim] in _words(pages[card])


@pytest.mark.parametrize("card", CARDS)
def test_every_number_stands_with_boundary_and_source(pages: Mapping[str, str], card: str) -> None:
    """Each threshold shows its boundary word and its source, with a link if there is one."""
    words = _words(pages[card])
    for name in KNOWLEDGE.cards[card].thresholds:
        threshold = KNOWLEDGE.thresholds[name]
        dated = threshold.value_on(TODAY)
        source = KNOWLEDGE.sources[dated.source]
        assert f"{threshold.title} {threshold.words_on(TODAY)} {source.title}" in words
        assert _words(dated.locator) in words
        assert not source.url or f'href="{source.url}"' in pages[card]


@pytest.mark.parametrize("card", CARDS)
def test_every_number_in_a_sentence_is_in_the_table(pages: Mapping[str, str], card: str) -> None:
    """A threshold named in the text can be looked up below it."""
    texts = " ".join(KNOWLEDGE.cards[card].texts.values())
    for name in re.findall(r"\{threshold:([a-z0-9-]+)\}", texts):
        assert f'scope="row">{KNOWLEDGE.thresholds[name].title}' in unescape(pages[card])


@pytest.mark.parametrize("card", CARDS)
def test_no_page_shows_a_bare_placeholder_or_markup(pages: Mapping[str, str], card: str) -> None:
    """What the card takes from the chart is named in words in square brackets."""
    words = _words(pages[card])
    assert not re.search(r"[{}]|\*\*|\[[a-z]+[-_][a-z_-]+\]|\[dss\]|\[mme\]", words)


@pytest.mark.parametrize("card", CARDS)
def test_pages_are_small_public_and_say_that_nobody_has_reviewed_them(
    client: FlaskClient, pages: Mapping[str, str], card: str
) -> None:
    """A page is below 100 kB, needs no token, runs no script and hides no missing review."""
    assert len(pages[card].encode()) < MOST_BYTES
    assert "<script" not in pages[card]
    assert client.get(f"/guidance/{card}").status_code == 200
    if KNOWLEDGE.cards[card].status == "draft":
        assert "Not yet clinically reviewed." in pages[card]
        assert "Date of review: none yet." in pages[card]
    assert KNOWLEDGE.version in pages[card]
    assert KNOWLEDGE.digest[:12] in pages[card]


def test_the_index_lists_every_card_in_the_order_of_the_table(client: FlaskClient) -> None:
    """From the list one reaches each card; the most urgent stand first."""
    page = client.get("/guidance/").get_data(as_text=True)
    listed = re.findall(r'<a href="([A-Z0-9-]+)">', page)
    assert listed == [c.id.upper() for c in sorted(KNOWLEDGE.cards.values(), key=lambda c: c.row)]
    assert len(page.encode()) < MOST_BYTES


def test_sentences_that_begin_with_a_number_in_words_begin_with_a_capital(
    pages: Mapping[str, str],
) -> None:
    """A sentence such as "From day 90, leg pain ..." reads as one."""
    section = pages["EMG-RAD"].split('id="appears">When it appears</h2>')[1]
    assert section.lstrip().startswith("<p>From day 90")


def test_an_unknown_card_is_not_found(client: FlaskClient) -> None:
    """A wrong address answers 404 and echoes nothing."""
    answer = client.get("/guidance/NO-SUCH-CARD")
    assert answer.status_code == 404
    assert "NO-SUCH-CARD" not in answer.get_data(as_text=True)
