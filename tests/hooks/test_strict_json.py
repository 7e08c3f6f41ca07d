"""What counts as JSON when an EHR sends it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import RequestError
from cds_service.hooks.strict_json import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_STRING_BYTES,
    parse_json,
    without,
)

CANARY = "Canary-Shaw"

NOT_JSON = {
    "an empty body": b"",
    "a body cut in the middle": b'{"name": "Canary-Shaw", "a": [1,',
    "two values": b'{"a": 1} "Canary-Shaw"',
    "NaN": b'{"Canary-Shaw": NaN}',
    "Infinity": b'{"Canary-Shaw": Infinity}',
    "minus Infinity": b'{"Canary-Shaw": -Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"Canary-Shaw": 1}',
    "UTF-16": '{"Canary-Shaw": 1}'.encode("utf-16"),
    "Latin-1": '{"Canary-Shaw": "é"}'.encode("latin-1"),
    "a trailing comma": b'{"Canary-Shaw": 1,}',
    "a comment": b'{"Canary-Shaw": 1} // no',
    "a lone surrogate": b'{"Canary-Shaw": "\\ud800"}',
    "a raw control character": b'{"Canary-Shaw": "\x00"}',
    "a leading zero": b'{"Canary-Shaw": 01}',
    "single quotes": b"{'Canary-Shaw': 1}",
    "a repeated key": b'{"Canary-Shaw": 1, "Canary-Shaw": 2}',
    "a repeated key behind an escape": b'{"Canary-Sh\\u0061w": 1, "Canary-Shaw": 2}',
    "a repeated key deep inside": b'{"a": [{"b": {"Canary-Shaw": 1, "Canary-Shaw": 1}}]}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_body_is_refused_without_echo_when_it_is_not_strict_json(body: bytes) -> None:
    """What is not strict JSON is refused, and the text repeats nothing that was sent."""
    with pytest.raises(RequestError) as refusal:
        parse_json(body)
    assert CANARY not in refusal.value.message
    assert refusal.value.path == "$"


LONG = b"9" * 5_000


@pytest.mark.parametrize(
    "number",
    [LONG, b"-" + LONG, b"0." + LONG, LONG + b".5"],
    ids=["whole", "minus", "less", "more"],
)
def test_number_of_any_length_is_json(number: bytes) -> None:
    """A number nobody reads may have 5,000 digits; texts of digits beside it stay whole."""
    body = b'{"a": ' + number + b', "b": [' + number + b'], "c": "\\"' + LONG + b'", "d": 7}'
    read = parse_json(body)
    assert isinstance(read, dict)
    assert (read["c"], read["d"]) == ('"' + LONG.decode(), 7)


@pytest.mark.parametrize(
    "rest", [b', "a": 2}', b", }", b', "b": NaN}', b', "b: ' + b'\\"' * 50_000]
)
def test_long_number_hides_no_other_fault(rest: bytes) -> None:
    """A repeated key behind it is found, and a text that does not end is refused at once."""
    with pytest.raises(RequestError):
        parse_json(b'{"a": ' + LONG + rest)


def _nested(depth: int) -> bytes:
    """Return objects and lists in turn, *depth* of them open at once."""
    opening = "".join('{"a":' if level % 2 else "[" for level in range(depth))
    closing = "".join("}" if level % 2 else "]" for level in reversed(range(depth)))
    return f"{opening}1{closing}".encode()


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_body_is_read_when_its_depth_is_within_the_limit(depth: int) -> None:
    """Up to the limit nesting is fine."""
    assert parse_json(_nested(depth)) == json.loads(_nested(depth))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 250, 1_000, 1_000_000])
def test_body_is_refused_when_it_is_nested_too_deeply(depth: int) -> None:
    """One level more than the limit is refused, and a million levels do no harm."""
    with pytest.raises(RequestError, match=r"levels deep|objects and lists"):
        parse_json(_nested(depth))


def test_brackets_inside_strings_do_not_hide_depth() -> None:
    """Closing brackets in strings do not balance real ones."""
    body = (b'["]\\"]}",' * (MAX_DEPTH + 1)) + b"1" + b"]" * (MAX_DEPTH + 1)
    with pytest.raises(RequestError, match="levels deep"):
        parse_json(body)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    """A note full of brackets is just a note."""
    text = "[{" * 200 + '\\"'
    assert parse_json(json.dumps({"a": text}).encode()) == {"a": text}


def test_body_is_refused_when_it_is_a_bomb_of_empty_objects() -> None:
    """Millions of tiny objects are refused before they take memory."""
    with pytest.raises(RequestError, match="objects and lists"):
        parse_json(b"[" + b"{}," * MAX_CONTAINERS + b"{}]")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
        max_leaves=30,
    )
)
def test_every_ordinary_value_is_read_as_it_was_written(value: object) -> None:
    """Strictness never changes the meaning of good JSON."""
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_but_a_refusal(body: bytes) -> None:
    """Whatever is sent, the answer is a value or a refusal."""
    with contextlib.suppress(RequestError):
        assert parse_json(body) == json.loads(body)


def test_string_of_the_greatest_length_is_read() -> None:
    """A long string up to the limit is an ordinary value."""
    body = json.dumps({"a": "x" * MAX_STRING_BYTES}).encode()
    assert parse_json(body) == {"a": "x" * MAX_STRING_BYTES}


@pytest.mark.parametrize("text", ["x" * (MAX_STRING_BYTES + 1), '\\"x' * MAX_STRING_BYTES])
def test_body_with_a_longer_string_is_refused(text: str) -> None:
    """An attachment of many megabytes is refused, however many quotes it holds."""
    with pytest.raises(RequestError, match="string of more than"):
        parse_json(json.dumps({"a": text}).encode())


def test_many_short_strings_are_not_one_long_one() -> None:
    """A large chart of ordinary strings is read."""
    value = ["x" * 1000] * 6000
    assert parse_json(json.dumps(value).encode()) == value


def test_parts_are_cut_out_in_their_order() -> None:
    """Whatever lies between them stays, as do parts that are no objects."""
    text = b'[{"a":1}, {"b":2},{"a":1},{"c":3},[4]]'
    cut = without(text, (b'{"a":1}', b"[4]", b'{"c":3}'))
    assert cut == b'[null, {"b":2},{"a":1},null,[4]]'


def test_after_a_part_that_is_not_there_nothing_more_is_looked_for() -> None:
    """A body of a few hundred kilobytes took seconds when each part was looked for in vain."""
    text = b'[{"a":1},{"b":2},{"c":3}]'
    assert without(text, (b'{"a":1}', b'{"x":9}', b'{"c":3}')) == b'[null,{"b":2},{"c":3}]'
