"""How the test EHR shows the Markdown of cards."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.demo.markdown import inline, markdown_blocks

ALLOWED_TAGS = {"p", "br", "h4", "ul", "ol", "li", "strong", "em", "code", "a"}


class Tags(HTMLParser):
    """Collects every tag and attribute a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Remember text."""
        self.text += data


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain", "plain"),
        ("**now**", "<strong>now</strong>"),
        ("*soon*", "<em>soon</em>"),
        ("**a *b* c**", "<strong>a <em>b</em> c</strong>"),
        ("`M96.1`", "<code>M96.1</code>"),
        (r"4\*5 \[x\]", "4*5 [x]"),
        ("a &lt;b&gt; &#58;", "a &lt;b&gt; :"),
        ("5 < 6 & 7 > 6", "5 &lt; 6 &amp; 7 &gt; 6"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("[NICE](javascript:alert(1))", "NICE"),
        ("[NICE](http://nice.org.uk)", "NICE"),
        (
            "[NICE](https://nice.org.uk/a_(b))",
            (
                '<a href="https://nice.org.uk/a_(b)" target="_blank" '
                'rel="noopener noreferrer">NICE</a>'
            ),
        ),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (
            '[a](https://b.c/"onload=x)',
            '<a href="https://b.c/&quot;onload=x" target="_blank" rel="noopener noreferrer">a</a>',
        ),
    ],
)
def test_inline_shows_marks_and_escapes_the_rest(written: str, shown: str) -> None:
    """Bold, emphasis, code and safe links are shown; everything else is text."""
    assert inline(written) == shown


def test_blocks_are_headings_paragraphs_and_lists() -> None:
    """A card detail becomes one block per heading, paragraph and list."""
    text = "**Do this.**\nNow.\n\n### Why now\n- first\n- second\n\n1. one\n2. two"
    assert markdown_blocks(text) == [
        "<p><strong>Do this.</strong><br>Now.</p>",
        "<h4>Why now</h4>",
        "<ul><li>first</li><li>second</li></ul>",
        "<ol><li>one</li><li>two</li></ol>",
    ]


@given(st.text(alphabet="ab<>&\"'`*_[]()#-\\ \n:/;!1.=", max_size=80))
def test_no_text_of_a_card_becomes_a_foreign_tag(text: str) -> None:
    """Whatever a card says, a browser sees only our tags, and links only to https."""
    tags = Tags()
    tags.feed("".join(markdown_blocks(text)))
    for tag, attributes in tags.seen:
        assert tag in ALLOWED_TAGS
        assert set(attributes) <= {"href", "target", "rel"}
        assert (attributes.get("href") or "https://").startswith(("https://", "http://127.0.0.1"))
