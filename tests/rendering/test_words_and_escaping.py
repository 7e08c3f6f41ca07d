"""Numbers, dates and ideas as words; nothing foreign becomes markup."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Term
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import SUMMARY_MOST
from cds_service.rendering.wording import (
    Wording,
    escape_markdown,
    number,
    printable,
    strip_markup,
)
from tests.changing import replace

KNOWLEDGE = load_knowledge()
SIGNS = (
    "cauda-equina",
    "faecal-incontinence",
    "saddle-sensation",
    "saddle-numbness",
    "anal-tone",
    "urinary-retention",
    "incomplete-bladder-emptying",
    "pvr",
)
WORDING = Wording(KNOWLEDGE, date(2026, 6, 10))
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "[x](javascript:alert(1))",
            "![x](https://evil.example/a.png)",
            "https://evil.example",
            "www.evil.example",
            "mail@evil.example",
            "# heading",
            "> quote",
            "- item",
            "***",
            "`code`",
            "a | b",
            "&lt;img src=x&gt;",
            "x\n\n# y",
            "\u202egnp.exe",
        ]
    ),
)


def test_numbers_have_no_exponent_and_few_digits() -> None:
    """A card prints 50, 4.5 and 33.33, never 5E+1, 4.50 or a tail of digits."""
    shown = [number(v) for v in (Decimal("5E+1"), Decimal("4.50"), Decimal(100) / 3, 0)]
    assert shown == ["50", "4.5", "33.33", "0"]


def test_lists_take_the_first_and_count_the_rest() -> None:
    """A list that must fit names the first items and how many more there are."""
    assert WORDING.listed(["a"], 2) == "a"
    assert WORDING.listed(["a", "b"], 2) == "a, b"
    assert WORDING.listed(["a", "b", "c"], None) == "a, b, c"
    assert WORDING.listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_threshold_prints_boundary_word_and_value() -> None:
    """Numbers of the knowledge reach the text with their boundary word."""
    text = WORDING.markdown("Caution {threshold:mme-high}.", {})
    assert text == "Caution at least 50 MME/day."


def test_dates_are_iso_and_terms_are_ours() -> None:
    """Dates are written year first; ideas in the words of the knowledge."""
    words = {"when": date(2026, 1, 2), "what": Term(kind="value-set", id="urinary-retention")}
    label = KNOWLEDGE.value_sets["urinary-retention"].label
    text = WORDING.plain("{what} on {when}", words)
    assert text == f"{label[0].upper()}{label[1:]} on 2026-01-02"


def test_one_day_is_singular() -> None:
    """A card says 1 day, 0 days and 21 days."""
    for count, shown in ((1, "1 day after"), (0, "0 days after"), (21, "21 days after")):
        assert WORDING.plain("{dss} days after", {"dss": count}) == shown
        assert WORDING.markdown("{dss} days after", {"dss": count}) == shown


def test_the_day_of_surgery_is_named_as_such() -> None:
    """A chart opened on day 0 reads "on the day of surgery", not "0 days after surgery"."""
    for template, shown in (
        ("Fever {dss} days after surgery: ask", "Fever on the day of surgery: ask"),
        ("Fever {dss} days after lumbar surgery", "Fever on the day of lumbar surgery"),
        ("An MRI, {dss} days after the operation", "An MRI, on the day of the operation"),
    ):
        assert WORDING.plain(template, {"dss": 0}) == shown
        assert WORDING.markdown(template, {"dss": 0}) == shown
        assert "10 days after" in WORDING.plain(template, {"dss": 10})


def test_unknown_placeholder_term_and_threshold_are_refused() -> None:
    """A template that asks for what nobody says fails loudly and says what to do."""
    for template, words in (
        ("{nothing}", {}),
        ("{threshold:no-such}", {}),
        ("{x}", {"x": Term(kind="phrase", id="no-such")}),
    ):
        with pytest.raises(KnowledgeError, match=r"Correct its name|Add them"):
            WORDING.markdown(template, words)


def test_headline_that_cannot_fit_gives_way_to_the_title() -> None:
    """Nothing is cut inside a word: a headline that stays too long becomes the card's title."""
    assert WORDING.summary("x" * SUMMARY_MOST, {}, "Title") == "X" + "x" * (SUMMARY_MOST - 1)
    assert WORDING.summary("x" * (SUMMARY_MOST + 1), {}, "Title") == "Title"


@given(st.lists(st.sampled_from(SIGNS), min_size=1, max_size=30))
def test_summary_with_any_list_of_signs_fits(ids: list[str]) -> None:
    """However many signs are on record, the red-flag summary stays within 139 characters."""
    terms = tuple(Term(kind="value-set", id=name) for name in ids)
    template = KNOWLEDGE.cards["RF-CES"].summaries["default"]
    summary = WORDING.summary(template, {"sign": terms, "dss": "3650 to 3680"}, "")
    assert 0 < len(summary) <= SUMMARY_MOST


@given(HOSTILE)
def test_escaped_text_shows_letter_by_letter(text: str) -> None:
    """Text in a detail is shown as it is: no link, image, tag or heading comes of it."""
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    html = renderer.render(f"Note: {escape_markdown(text)}").strip()
    inner = html.removeprefix("<p>").removesuffix("</p>")
    assert "<" not in inner
    assert ">" not in inner
    shown = (
        inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    )
    assert shown == f"Note: {printable(text)}".strip()


@given(HOSTILE)
def test_escaped_text_has_nothing_to_link(text: str) -> None:
    """No address survives that a reader's program could turn into a link by itself."""
    escaped = escape_markdown(text).lower()
    assert "://" not in escaped
    assert "www." not in escaped
    assert "@" not in escaped
    assert "\n" not in escaped


@given(HOSTILE)
def test_plain_text_has_no_markup(text: str) -> None:
    """Summaries, labels and order notes keep no mark of Markdown or HTML."""
    plain = strip_markup(text)
    assert not set(plain) & set("<>`[]{}|\\*_~&@\n\r\t\u202e")
    assert "://" not in plain


@given(HOSTILE)
def test_hostile_word_never_becomes_markup_in_a_card(text: str) -> None:
    """A string that should never have been there still cannot break a filled template."""
    words = {"sign": text, "dss": 3}
    html = MarkdownIt("gfm-like", {"linkify": False}).render(
        WORDING.markdown(KNOWLEDGE.cards["RF-POUR"].texts["why"], words)
    )
    for tag in ("<a ", "<img", "<script", "<h1", "<h2", "<blockquote", "<table", "<code"):
        assert tag not in html


def test_finding_words_differ_from_the_name_of_the_examination() -> None:
    """An abnormal saddle examination reads as a sign, not as the name of the examination."""
    term = Term(kind="value-set", id="saddle-sensation")
    assert WORDING.term(term) == KNOWLEDGE.phrases["finding-saddle-sensation"]
    bare = replace(
        KNOWLEDGE,
        phrases={k: v for k, v in KNOWLEDGE.phrases.items() if not k.startswith("finding-")},
    )
    label = KNOWLEDGE.value_sets["saddle-sensation"].label
    assert Wording(bare, date(2026, 6, 10)).term(term) == label
