"""The card's text for EHRs that show no Markdown.

Reads only the Markdown this service writes: bold, emphasis, lists, links, escaped signs.
"""

from __future__ import annotations

import html
import re

_LINK = re.compile(r"(?<!\\)\[((?:[^\]\\]|\\.)*)\]\(([^()\s]+)\)")
_BOLD = re.compile(r"(?<!\\)\*\*")
_EMPHASIS = re.compile(r"(?<![\\\w])\*(?=[^\s*])([^*\n]*[^\s*\\])\*(?!\w)")
_ESCAPED = re.compile(r"\\([\\`*_\[\]{}|~+=#>-])")


def plain_text(markdown: str) -> str:
    """Return *markdown* as plain text; a link becomes its words and its address in brackets."""
    text = _LINK.sub(r"\1 (\2)", markdown)
    text = _EMPHASIS.sub(r"\1", _BOLD.sub("", text))
    return html.unescape(_ESCAPED.sub(r"\1", text))
