r"""Half a character in a JSON text, as JavaScript writes a text that was cut inside an emoji.

``"\ud83d"`` fits the grammar of RFC 8259 (section 8.2) but is no character, and the parsers refuse
the whole text for it.  It is read as U+FFFD, the replacement character, in the bytes themselves, so
that every parser reads the same.
"""

from __future__ import annotations

import re

_HALF_OR_PAIR = re.compile(
    rb"""
    (?<!\\) ( (?:\\\\)*+ )               # escaped backslashes are no part of the next escape
    \\u[dD] (?:
        ( [89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2} )  # the rest of a whole character
        | [89a-fA-F][0-9a-fA-F]{2}
    )
    """,
    re.VERBOSE,
)
_MAY_BE_HALF = re.compile(rb"\\(?:u[dD])")  # the group lets the search leap to each backslash
_REPLACEMENT = rb"\ufffd"


def with_whole_characters(text: bytes) -> bytes:
    r"""Return the JSON *text* with ``\ufffd`` in place of each escape that is half a character.

    Nothing else is changed, and the length stays; a text without such escapes is returned as it is.
    """
    first = text.find(b"\\")
    if first < 0 or _MAY_BE_HALF.search(text, first) is None:
        return text
    return _HALF_OR_PAIR.sub(_whole, text)


def _whole(found: re.Match[bytes]) -> bytes:
    return found[0] if found[2] is not None else found[1] + _REPLACEMENT
