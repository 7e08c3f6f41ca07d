"""A JSON schema as a type that is checked in one quick step.

What fits the type fulfils the schema.  What does not fit may still fulfil it (a whole number
written as 300.0): ``cds_service.hooks.validation`` asks the schema then, and words the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

Schema = Mapping[str, Any]

_SILENT = frozenset({"$schema", "title", "description"})
"""Keywords that ask for nothing."""


def type_of(schema: Schema) -> Any:  # noqa: ANN401 - a type made at run time
    """Return the type of values that fulfil *schema*.

    Raises:
        NotImplementedError: The schema uses a keyword that is not known here.
    """
    asked = {word: value for word, value in schema.items() if word not in _SILENT}
    found = Literal[asked.pop("const")] if "const" in asked else _of_kind(asked)
    if asked:
        raise NotImplementedError(f"The schema keywords {sorted(asked)} are not known here.")
    return found


def fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type made at run time
    """Whether *value*, parsed JSON, is of the type *kind*."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _of_kind(asked: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made at run time
    """Return the type of the keywords *asked*; those that are understood are taken out of it."""
    kinds = asked.pop("type")
    several = kinds if isinstance(kinds, list) else [kinds]
    found = [None if kind == "null" else _KINDS[kind](asked) for kind in several]
    return Union[tuple(found)]  # noqa: UP007 - made at run time


def _string(asked: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made at run time
    limits = Meta(
        pattern=asked.pop("pattern", None),
        min_length=asked.pop("minLength", None),
        max_length=asked.pop("maxLength", None),
    )
    return Annotated[str, limits]


def _object(asked: dict[str, Any]) -> Any:  # noqa: ANN401 - a type made at run time
    if "properties" not in asked:
        return Annotated[dict[str, Any], Meta(max_length=asked.pop("maxProperties", None))]
    required = asked.pop("required", ())
    fields = [
        (f"field_{number}", type_of(inner), field(name=name))
        if name in required
        else (f"field_{number}", type_of(inner) | UnsetType, field(name=name, default=UNSET))
        for number, (name, inner) in enumerate(asked.pop("properties").items())
    ]
    return msgspec.defstruct("Fitting", fields, kw_only=True)


_KINDS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "integer": lambda _: int,
    "object": _object,
    "string": _string,
}
