"""JSON Schema faults in words a developer at an EHR can act on, without a value of the request.

The texts of ``jsonschema`` quote what was sent, so none of them is used: a fault is the JSON path,
the rule that was broken, and the instruction the schema's own ``description`` gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

from jsonschema import Draft7Validator, ValidationError

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One broken rule: the JSON path (``$.context.patientId``) and a complete sentence about it."""

    path: str
    message: str


@cache
def packaged_validator(file_name: str) -> Draft7Validator:
    """Return the validator of the packaged schema *file_name*; it is built once."""
    schema = packaged_schema(file_name)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def packaged_schema(file_name: str) -> Mapping[str, Any]:
    """Return the packaged schema *file_name*."""
    text = resources.files(__package__).joinpath("schemas", file_name).read_text("utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def first_fault(validator: Draft7Validator, value: object, *, root: str = "$") -> Fault | None:
    """Return the first fault of *value* in the order of paths, or None when there is none.

    *root* is how the path of *value* itself is written.  A list that is too long is a fault of its
    own; its entries are not looked at, nor are more faults than anybody wants to read.
    """
    faults = []
    for error in islice(validator.iter_errors(value), _MOST_FAULTS):
        faults.append(_fault(error, root))
        if error.validator == "maxItems":
            break
    return min(faults, key=lambda fault: fault.path, default=None)


def _fault(error: ValidationError, root: str) -> Fault:
    path = root + "".join(_step(part) for part in error.absolute_path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "required":
        name, instruction = _missing(error, schema)
        path = f"{path}.{name}"
        return Fault(path=path, message=f"{path}: this field is missing. {instruction}")
    broken = _BROKEN[str(error.validator)](error.validator_value)
    return Fault(path=path, message=f"{path}: {broken}. {schema['description']}")


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f"['{part}']" if "." in part else f".{part}"


def _missing(error: ValidationError, schema: Mapping[str, object]) -> tuple[str, object]:
    """Return the name of the first missing field and what the schema says about it."""
    names = error.validator_value if isinstance(error.validator_value, list) else []
    sent = error.instance if isinstance(error.instance, Mapping) else {}
    name = next((name for name in names if name not in sent), "")
    properties = schema.get("properties")
    about = properties.get(name) if isinstance(properties, Mapping) else None
    instruction = about.get("description", "") if isinstance(about, Mapping) else ""
    return name, instruction


def _type_words(kinds: object) -> str:
    names = kinds if isinstance(kinds, list) else [kinds]
    words = [_TYPE_WORDS[name] for name in names if name in _TYPE_WORDS]
    return "must be " + " or ".join(words)


_TYPE_WORDS = {
    "array": "an array",
    "integer": "a whole number",
    "object": "an object",
    "string": "a string",
}

_BROKEN: Mapping[str, Callable[[object], str]] = {
    "const": lambda value: f"must be {json.dumps(value)}",
    "enum": lambda values: f"must be one of {json.dumps(values)}",
    "type": _type_words,
    "pattern": lambda _: "is not written in the form asked for",
    "minLength": lambda _: "must not be empty",
    "maxLength": lambda limit: f"is longer than {limit} characters",
    "maxItems": lambda limit: f"has more than {limit} entries",
    "minItems": lambda _: "must not be empty",
    "maxProperties": lambda limit: f"has more than {limit} members",
    "minProperties": lambda _: "must not be empty",
}
