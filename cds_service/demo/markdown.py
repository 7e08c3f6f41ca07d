"""How does a careful EHR show the Markdown of a card?

Reads the small part of GitHub Markdown that cards use and escapes everything else first: no tag, no
attribute and no script of a card can get through.  It is no general Markdown reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import groupby

_INLINE = re.compile(
    r"\\(?P<literal>[!-/:-@\[-`{-~])"
    r"|(?P<entity>&(?:\#\d{1,7}|\#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,31});)"
    r"|`(?P<code>[^`]+)`"
    r"|\*\*(?P<strong>(?:\\.|[^*\\]|\*(?!\*))+)\*\*"
    r"|\*(?!\s)(?P<emphasis>(?:\\.|[^*\\])+)(?<!\s)\*"
    r"|\[(?P<label>(?:\\.|[^\]\\])+)\]\((?P<url>[^\s()]+(?:\([^\s()]*\)[^\s()]*)*)\)"
)
_HEADING = re.compile(r"#{1,6}\s+(?P<text>.*)")
_BULLET = re.compile(r"(?P<indent> *)[-*+]\s+(?P<text>.*)")
_NUMBERED = re.compile(r" *\d{1,3}[.)]\s+(?P<text>.*)")
_LINK = re.compile(r"https://|http://(?:127\.0\.0\.1|localhost)[:/]")


def markdown_blocks(text: str) -> list[str]:
    """Return safe HTML for each heading, paragraph and list of *text*."""
    html = []
    for is_blank, group in groupby(text.splitlines(), key=lambda line: not line.strip()):
        if not is_blank:
            html += list(_blocks(list(group)))
    return html


def inline(text: str) -> str:
    """Return safe HTML for one line of Markdown."""
    html = []
    position = 0
    for match in _INLINE.finditer(text):
        html += [escape(text[position : match.start()]), _span(match)]
        position = match.end()
    return "".join([*html, escape(text[position:])])


def _blocks(lines: list[str]) -> Iterator[str]:
    for kind, group in groupby(lines, key=_kind):
        part = list(group)
        if kind == "heading":
            yield from (f"<h4>{inline(_text(_HEADING, line))}</h4>" for line in part)
        elif kind == "bullet":
            items = "".join(f"<li>{inline(_text(_BULLET, line))}</li>" for line in part)
            yield f"<ul>{items}</ul>"
        elif kind == "numbered":
            items = "".join(f"<li>{inline(_text(_NUMBERED, line))}</li>" for line in part)
            yield f"<ol>{items}</ol>"
        else:
            yield f"<p>{'<br>'.join(inline(line.strip()) for line in part)}</p>"


def _kind(line: str) -> str:
    for kind, pattern in (("heading", _HEADING), ("bullet", _BULLET), ("numbered", _NUMBERED)):
        if pattern.fullmatch(line):
            return kind
    return "paragraph"


def _text(pattern: re.Pattern[str], line: str) -> str:
    match = pattern.fullmatch(line)
    return match["text"] if match else line


def _span(match: re.Match[str]) -> str:
    text = match[match.lastgroup or 0]
    match match.lastgroup:
        case "entity":
            return escape(unescape(text))
        case "code":
            return f"<code>{escape(text)}</code>"
        case "strong":
            return f"<strong>{inline(text)}</strong>"
        case "emphasis":
            return f"<em>{inline(text)}</em>"
        case "url":
            return _link(inline(match["label"]), unescape(text))
        case _:
            return escape(text)


def _link(label: str, url: str) -> str:
    if not _LINK.match(url):
        return label
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{label}</a>'
