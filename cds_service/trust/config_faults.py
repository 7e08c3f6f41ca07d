"""What is wrong in the configuration file, said so that it can be put right?

Speaks of keys, never of values: a value may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from jsonschema.exceptions import ValidationError

from cds_service.errors import SettingsError

_TYPE_WORDS = {
    "string": "a text in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list in square brackets",
    "object": "a table",
}


def fault(file: Path, key_path: str, what: str, todo: str) -> SettingsError:
    """Return the error for one key of *file*: where, what and why, what to do."""
    return SettingsError(f"{file}, {key_path}: {what} {todo}")


def schema_fault(
    file: Path, error: ValidationError, whole: Mapping[str, Any] = MappingProxyType({})
) -> SettingsError:
    """Return the error for a broken schema rule, without the value that broke it.

    *whole* is the schema of the file: a key that stands in the wrong table is told the right one.
    """
    what, todo = _words(error, whole)
    described = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    why = f" The key means: {described}" if described and error.validator not in _KEY_RULES else ""
    return fault(file, key_path(error.absolute_path), what, todo + why)


def key_path(path: Iterable[str | int]) -> str:
    """Return a path such as ``clients[0].algorithms[1]``; a list counts from 0."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "top level"


_KEY_RULES = frozenset({"additionalProperties", "required", "propertyNames"})
_PLAIN_WORDS = {
    "uniqueItems": ("a value is written twice.", "Keep one of them."),
    "minLength": ("the value is empty.", "Write a value, or leave the key out."),
    "minItems": ("the list is empty.", "Write a value, or leave the key out."),
}


def _words(error: ValidationError, whole: Mapping[str, Any]) -> tuple[str, str]:
    rule = cast("Any", error.validator_value)
    schema = cast("Mapping[str, Any]", error.schema)
    match error.validator:
        case "additionalProperties":
            return _unknown_keys(error, schema, whole)
        case "required":
            missing = next((key for key in rule if key not in cast("Any", error.instance)), "")
            return f"the key '{missing}' is missing.", "Add it."
        case "type":
            return "the value has the wrong type.", f"Write {_TYPE_WORDS[str(rule)]}."
        case "enum":
            choices = ", ".join(str(choice) for choice in rule)
            return "the value is not one of the choices.", f"Write one of: {choices}."
        case "minimum" | "maximum":
            low, high = schema.get("minimum"), schema.get("maximum")
            return "the number is out of range.", f"Write a number from {low} to {high}."
        case other:
            fallback = ("the value is too long or has the wrong form.", "Correct it.")
            return _PLAIN_WORDS.get(str(other), fallback)


def _unknown_keys(
    error: ValidationError, schema: Mapping[str, Any], whole: Mapping[str, Any]
) -> tuple[str, str]:
    known: Sequence[str] = list(schema.get("properties", {}))
    unknown = next((key for key in cast("Any", error.instance) if key not in known), "")
    near = difflib.get_close_matches(unknown, known, n=1)
    todo = f"Did you mean '{near[0]}'?" if near else f"The keys are: {', '.join(known)}."
    tables = [table for key, table in _keys_by_table(whole) if key == unknown]
    if tables:
        todo = f"It belongs under {' or '.join(tables)}."
    return f"the key '{unknown[:64]}' is not known here.", todo


def _keys_by_table(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key of the file with its table, as TOML writes it: [service], [[clients]]."""
    for name, inner in schema.get("properties", {}).items():
        table = inner.get("items", inner)
        here = f"{path}.{name}".lstrip(".")
        written = f"[[{here}]]" if inner.get("type") == "array" else f"[{here}]"
        yield from ((key, written) for key in table.get("properties", {}))
        yield from _keys_by_table(table, here)
