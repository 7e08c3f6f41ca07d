r"""Half a character is read as U+FFFD, and nothing else in a text is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.hooks.strict_json import parse_json
from cds_service.hooks.whole_characters import with_whole_characters

CUT = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb'"late \ud83d"', f"late {CUT}"),
        (rb'"late \uD83D"', f"late {CUT}"),
        (rb'"\uDE00 late"', f"{CUT} late"),
        (rb'"\ud83d\ud83d\ude00"', f"{CUT}\U0001f600"),
        (rb'"\ud83d\ude00\ude00"', f"\U0001f600{CUT}"),
        (rb'"\ude00\ud83d"', CUT + CUT),
        (rb'"\ud83d\n\ude00"', f"{CUT}\n{CUT}"),
        (rb'"\ud83d\u0041"', f"{CUT}A"),
        (rb'"\\\ud83d"', f"\\{CUT}"),
        (rb'"\ud83d\\ude00"', f"{CUT}\\ude00"),
        (rb'"\\ud83d\ude00"', f"\\ud83d{CUT}"),
    ],
)
def test_half_an_emoji_is_one_unknown_character(sent: bytes, read: str) -> None:
    """A text that an EHR cut inside an emoji is still the rest of that text."""
    assert parse_json(with_whole_characters(sent)) == read
    assert len(with_whole_characters(sent)) == len(sent)


@pytest.mark.parametrize(
    "sent",
    [
        rb'"\ud83d\ude00"',
        rb'"\uD83D\uDE00 \\\ud83d\ude00"',
        rb'"a folder C:\\ud83d"',
        rb'"\\\\ude00"',
        rb'"\ud55c"',  # a Korean syllable
        rb'"\ud83 \ud"',
        "\U0001f600".encode(),
    ],
)
def test_whole_characters_and_escaped_backslashes_stay_as_they_are(sent: bytes) -> None:
    """Whatever is no half character comes through byte by byte."""
    assert with_whole_characters(sent) == sent


@given(
    st.lists(
        st.sampled_from(["\ud83d", "\ude00", "\U0001f600", "\\", "ud83d", "ude00", "u", '"', "\n"])
    ),
    st.booleans(),
)
def test_any_text_is_read_as_a_browser_reads_it(pieces: list[str], is_ascii: bool) -> None:  # noqa: FBT001 - drawn
    """Pairs that only meet in the text are whole characters; every half alone is replaced."""
    text = "".join(pieces)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    sent = json.dumps(text) if is_ascii else json.dumps(whole, ensure_ascii=False)
    assert parse_json(with_whole_characters(sent.encode())) == whole
