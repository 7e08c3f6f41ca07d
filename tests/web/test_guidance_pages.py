"""The pages for clinicians: complete, small, and never at odds with ``cards/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Review
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
    assert not re.search(r"\[(?:on|count|months|before|after)\]", words)


@pytest.mark.parametrize("card", CARDS)
def test_pages_are_small_and_public(
    client: FlaskClient, pages: Mapping[str, str], card: str
) -> None:
    """A page is below 100 kB, needs no token and runs no script."""
    assert len(pages[card].encode()) < MOST_BYTES
    assert "<script" not in pages[card]
    assert client.get(f"/guidance/{card}").status_code == 200
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


@pytest.mark.parametrize("address", ["/guidance", "/guidance/RF-CES/", "/guidance/rf-ces/"])
@pytest.mark.parametrize("prefix", ["", "/cds/spine"])
def test_links_of_a_page_are_right_whatever_slash_was_typed(
    client: FlaskClient, address: str, prefix: str
) -> None:
    """Links are relative; a slash too many or too few made every one of them lead nowhere."""
    at = f"https://hospital.example{prefix}{address}"
    answer = client.get(address)
    if answer.status_code == 302:
        at = urljoin(at, answer.headers["Location"])
        answer = client.get(urlsplit(at).path.removeprefix(prefix))
    assert answer.status_code == 200
    links = [urljoin(at, link) for link in re.findall(r'(?:href|src)="([^"#]+)"', answer.text)]
    own = {urlsplit(link).path for link in links if "hospital.example" in link}
    assert f"{prefix}/static/page.css" in own
    for path in own:
        assert path.startswith(f"{prefix}/"), path
        with client.get(path.removeprefix(prefix)) as found:
            assert found.status_code == 200, path


def test_an_unknown_card_with_a_slash_is_not_found(client: FlaskClient) -> None:
    """What somebody typed is sent nowhere."""
    answer = client.get("/guidance/NO-SUCH-CARD/")
    assert answer.status_code == 404
    assert "NO-SUCH-CARD" not in answer.get_data(as_text=True)


def test_an_unknown_card_is_not_found(client: FlaskClient) -> None:
    """A wrong address answers 404 and echoes nothing."""
    answer = client.get("/guidance/NO-SUCH-CARD")
    assert answer.status_code == 404
    assert "NO-SUCH-CARD" not in answer.get_data(as_text=True)


def _signed_pages(again_by: date) -> FlaskClient:
    """Return a client of a service whose MRI card a clinician has signed."""
    review = Review(by="A. Reviewer, MD", on=date(2026, 2, 1), again_by=again_by)
    card = replace(KNOWLEDGE.cards["IMG-MRI-NR"], status="active", review=review)
    knowledge = replace(KNOWLEDGE, cards={**KNOWLEDGE.cards, card.id: card})
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return create_app(Settings(is_dev=True), clock=lambda: noon, knowledge=knowledge).test_client()


def test_a_signed_card_says_who_reviewed_it_and_when() -> None:
    """The name, the day and the day of the next review stand on the page; no warning does."""
    page = _words(_signed_pages(date(2027, 2, 1)).get("/guidance/IMG-MRI-NR").text)
    assert "Reviewed by A. Reviewer, MD on 2026-02-01; to be reviewed again by 2027-02-01." in page
    assert "No clinician has signed" not in page
    assert "Not yet clinically reviewed" not in page


def test_a_review_that_has_run_out_is_said() -> None:
    """After its last day the page no longer looks freshly signed."""
    page = _words(_signed_pages(date(2026, 2, 28)).get("/guidance/IMG-MRI-NR").text)
    assert "review overdue since 2026-02-28" in page


@pytest.mark.parametrize("card", CARDS)
def test_a_card_nobody_signed_says_so(pages: Mapping[str, str], card: str) -> None:
    """A draft carries the warning at the top and at the bottom of its page."""
    assert KNOWLEDGE.cards[card].review is None
    words = _words(pages[card])
    assert "Not yet clinically reviewed. This content was written" in words
    assert "Not yet clinically reviewed; date of review: none." in words


def test_the_list_of_cards_says_when_each_was_reviewed() -> None:
    """One look tells which cards a clinician has signed."""
    page = _words(_signed_pages(date(2027, 2, 1)).get("/guidance/").text)
    assert "IMG-MRI-NR reviewed 2026-02-01" in page
    assert "RF-CES not yet reviewed" in page


def test_another_card_is_named_by_its_title_and_linked(pages: Mapping[str, str]) -> None:
    """A surgeon need not know our ids: "IMG-ALT" reads as what it is, one click away."""
    page = pages["IMG-MRI-RTR"]
    assert '<a href="IMG-ALT">“MRI blocked by an implant”</a>' in page
    assert "then IMG-ALT" not in page
    assert "comes first ( “MRI for new weakness” )" in _words(page)


@pytest.mark.parametrize("card", CARDS)
def test_numbers_read_well_in_their_sentences(pages: Mapping[str, str], card: str) -> None:
    """A boundary in words fits what stands around it: no word twice, no sentence said twice."""
    words = _words(pages[card])
    assert not re.search(r"\b([A-Za-z]+) \1\b", words)
    assert "onset ago" not in words
    assert "(ODI))" not in words
    says = re.findall(r"<li>(.*?)</li>", pages[card].partition('class="says"')[2].split("</ul>")[0])
    assert len(says) == len(set(says)) > 0


def test_what_stands_at_the_end_of_a_card_is_no_alternative(pages: Mapping[str, str]) -> None:
    """When to come the same day is on every such card; the page said "Or, depending"."""
    for card in ("EARLY-WATCH", "EARLY-INFLAM"):
        words = _words(pages[card])
        assert "The card ends with: Same day if:" in words
        assert "Or, depending on the chart: Same day if:" not in words


@pytest.mark.parametrize("card", CARDS)
def test_numbers_of_the_chart_are_named_in_english(pages: Mapping[str, str], card: str) -> None:
    """It is "day [number]" and "[number of] days after"; one point is no "1 points"."""
    words = _words(pages[card])
    assert not re.search(r"(?i)\bday \[number of\]", words)
    assert not re.search(r"\b1 (?:day|point|test|step|operation|level)s\b", words)


def test_page_of_a_half_dated_operation_does_not_call_every_card_a_red_flag(
    pages: Mapping[str, str],
) -> None:
    """What depends on the day may be physiotherapy."""
    assert "these cards would appear: [cards]" in _words(pages["DATA-DATE"])


def test_page_of_unread_parts_does_not_say_the_opposite_of_its_card(
    pages: Mapping[str, str],
) -> None:
    """DATA-READ appears because something was not read, in hospice care too, and for a fault."""
    words = _words(pages["DATA-READ"])
    assert "not in hospice care" not in words
    assert "leaves out its order or does not appear" not in words
    assert "or one of its rules stopped with an error" in words
    asked = words.index("This service asked for it and did not get it")
    assert asked < words.index("One of its rules stopped with an error")


def test_pages_of_red_flags_say_that_an_unknown_age_does_not_silence_them(
    pages: Mapping[str, str],
) -> None:
    """The other cards need a known age."""
    assert "Adults, and patients whose age is not recorded." in _words(pages["RF-CES"])
    assert "Adults only. Not beside a critical red flag" in _words(pages["IMG-MRI-NR"])
