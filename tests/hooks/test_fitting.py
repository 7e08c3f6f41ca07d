"""The quick check of a request lets nothing through that the schema refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cds_service.hooks.fitting import fits, type_of
from cds_service.hooks.request import AS_OF_EXTENSION, SCHEMA_FILE
from cds_service.hooks.validation import packaged_schema, packaged_validator
from tests.hooks.test_hook_request import WHOLE

SCHEMA = packaged_schema(SCHEMA_FILE)
QUICK = type_of(SCHEMA)
FULL = WHOLE | {"extension": {AS_OF_EXTENSION: "2026-03-01"}}
FIELDS = (
    *((name,) for name in SCHEMA["properties"]),
    *(
        (name, inner)
        for name in ("context", "fhirAuthorization", "extension")
        for inner in SCHEMA["properties"][name]["properties"]
    ),
)
EDGES: tuple[object, ...] = (
    *("", "a" * 64, "a" * 65, "a" * 201, "x\n", "Patient/1", "Patient/1\n", "patient-view"),
    *("Bearer", "bearer\n", "https://ehr.example.org", "https://a b", "Practitioner/1"),
    *("Practitioner/" + "a" * 187, "P/" + "a" * 128, "a" * 64 + "/" + "a" * 136),
    *("https://e/" + "x" * 2038, "https://e/" + "x" * 2039, "~" * 16384, "~" * 16385),
    *("2026-03-01", "2026-03-01\n", "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", 300.0, 10**30),
    *({str(n): None for n in range(count)} for count in (0, 1000, 1001)),
    *(None, True, 0, 1.5, [], [None]),
)
"""Values at and beyond the limits of the schema, and of each type."""
MISSING = object()
ODD = (
    st.floats(allow_nan=False)
    | st.text(max_size=70)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)
)
ANY = ODD | st.sampled_from((*EDGES, MISSING))


def changed(*changes: tuple[tuple[str, ...], object]) -> dict[str, Any]:
    """Return a whole request in which each path has another value, or is missing."""
    body: dict[str, Any] = copy.deepcopy(FULL)
    for path, value in changes:
        holder = body if len(path) == 1 else body.get(path[0])
        if not isinstance(holder, dict):
            continue
        if value is MISSING:
            holder.pop(path[-1], None)
        else:
            holder[path[-1]] = value
    return body


def is_safe(body: dict[str, Any]) -> bool:
    """Return whether the schema accepts *body* or the quick check does not."""
    return packaged_validator(SCHEMA_FILE).is_valid(body) or not fits(body, QUICK)


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_value_at_the_limits_is_never_one_the_schema_refuses(path: tuple[str, ...]) -> None:
    """Too long, too many, of another type or left out: nothing is taken that is refused."""
    for value in (*EDGES, MISSING):
        assert is_safe(changed((path, value))), str(value)[:30]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), ANY), max_size=4))
def test_request_that_fits_is_never_one_the_schema_refuses(
    changes: list[tuple[tuple[str, ...], object]],
) -> None:
    """Whatever a client changes in a request: only what the schema accepts is taken unseen."""
    assert is_safe(changed(*changes))


@pytest.mark.parametrize("value", [None, [], "text", 1, {}])
def test_what_is_no_request_does_not_fit(value: object) -> None:
    """Anything else than an object with the required fields is left to the schema."""
    assert not fits(value, QUICK)


def test_good_request_needs_no_second_look() -> None:
    """The requests of every day pass the quick check alone."""
    assert fits(FULL, QUICK)
    assert fits(FULL | {"fhirAuthorization": None, "prefetch": None, "anything": 1}, QUICK)


def test_schema_with_a_keyword_that_is_not_known_stops_the_start() -> None:
    """A rule added to the schema can not be passed over in silence."""
    with pytest.raises(NotImplementedError, match="minProperties"):
        type_of({"type": "object", "minProperties": 1})
