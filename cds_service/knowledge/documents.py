"""How is one file of ``cards/`` read, and what is said when it is wrong?

Strict YAML (no repeated keys, no silent dates or truth words) and the JSON Schemas of
``cards/schemas``.  What the files mean is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator, FormatChecker, ValidationError

from cds_service.errors import KnowledgeError

_TRUTH_WORDS = frozenset({"on", "off", "yes", "no", "y", "n", "true", "false", "null", "~"})
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's safe loader, by libyaml where PyYAML was built with it."""


class _StrictLoader(FastLoader):  # type: ignore[misc]  # a class only libyaml has
    """PyYAML's safe loader without its silent conversions."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  # PyYAML's own class table

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # signature of PyYAML
        """Return the mapping of *node*, refusing keys that repeat or are not plain words."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            is_word = key_node.tag == "tag:yaml.org,2002:str" and key.lower() not in _TRUTH_WORDS
            if not is_word:
                raise _FaultyKeyError(
                    key_node, f"the key '{key}' is not a plain word. Use a word as key"
                )
            if key in seen:
                raise _FaultyKeyError(
                    key_node, f"the key '{key}' is written twice. Keep one of the two"
                )
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


class _FaultyKeyError(yaml.YAMLError):
    def __init__(self, node: yaml.Node, fault: str) -> None:
        super().__init__(fault)
        self.line = int(node.start_mark.line) + 1
        self.fault = fault


def _resolve(tag: str, pattern: str, first: Iterable[str]) -> None:
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first)
    )


_resolve("null", "null|~|", ["n", "~", ""])
_resolve("bool", "true|false", "tf")
_resolve("int", "-?(?:0|[1-9][0-9]*)", "-0123456789")
_resolve("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+", "-0123456789")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file: ``name`` as messages show it, ``key`` its path inside the folder, its content."""

    name: str
    key: str
    text: bytes
    content: dict[str, Any]

    @property
    def stem(self) -> str:
        """Return the file name without its ending."""
        return Path(self.key).stem


def read_document(path: Path, root: Path) -> Document:
    """Read the YAML file *path* of the folder *root*.

    Raises:
        KnowledgeError: The file cannot be read, is not strict YAML, or not a mapping.
    """
    key = path.relative_to(root).as_posix()
    name = f"{root.name}/{key}"
    try:
        text = path.read_bytes()
    except OSError as fault:
        raise KnowledgeError(
            f"{name}: this file cannot be read ({fault.strerror}). Let the service's user read it, "
            "or correct the link."
        ) from fault
    try:
        # _StrictLoader is the safe loader, made stricter.
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # nosec B506
    except _FaultyKeyError as fault:
        raise KnowledgeError(f"{name}, line {fault.line}: {fault.fault}.") from fault
    except (yaml.reader.ReaderError, UnicodeDecodeError) as fault:
        raise KnowledgeError(
            f"{name}: this file holds signs that are not text in UTF-8. Save it again as UTF-8."
        ) from fault
    except yaml.YAMLError as fault:
        raise KnowledgeError(
            f"{name}, line {_line_of(fault)}: this is not YAML. "
            "Look at the indentation (blanks, no tabs), the quotes and the brackets of this line "
            "and the one before."
        ) from fault
    if not isinstance(content, dict):
        raise KnowledgeError(f"{name}: the file holds no 'key: value' lines. Add them.")
    return Document(name=name, key=key, text=text, content=content)


def _line_of(fault: Exception) -> int:
    mark = getattr(fault, "problem_mark", None)
    return int(mark.line) + 1 if mark is not None else 1


@cache
def _validator(schema_path: Path) -> Draft7Validator:
    schema = json.loads(schema_path.read_text(encoding="utf-8"))
    return Draft7Validator(schema, format_checker=FormatChecker(("date",)))


def schema_problems(document: Document, schema_path: Path) -> list[str]:
    """Return what the schema objects to, each with file, line, place and what to do."""
    errors = sorted(
        _validator(schema_path).iter_errors(document.content),
        key=lambda error: [str(part) for part in error.absolute_path],
    )
    return list(dict.fromkeys(_problem(document, error) for error in errors))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What a schema objects to: the rule broken, what it wants, what the file says instead."""

    rule: str
    wanted: Any
    found: Any
    schema: Mapping[str, Any]


def _problem(document: Document, error: ValidationError) -> str:
    place = "".join(
        f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    where = f"{document.name}, line {_line_in(document, error)}"
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    fault = _Fault(
        rule=str(error.validator), wanted=error.validator_value, found=error.instance, schema=schema
    )
    say = _SAYINGS.get(fault.rule, _say_otherwise)
    if "then" in error.absolute_schema_path:
        say = _say_signature
    return f"{where}: {f'{place}: ' if place else ''}{say(fault)}"


def _line_in(document: Document, error: ValidationError) -> int:
    """Return the line of the faulty place; the file is composed again, as it is wrong anyway."""
    node: Any = yaml.compose(document.text, Loader=_StrictLoader)
    for part in error.absolute_path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        else:
            node = next(value for key, value in node.value if key.value == part)
    return int(node.start_mark.line) + 1


def _say_missing(fault: _Fault) -> str:
    missing = [key for key in fault.wanted if key not in fault.found]
    if len(missing) == 1:
        return f"the key '{missing[0]}' is missing. Add it."
    return f"the keys {', '.join(missing)} are missing. Add them."


def _say_unknown_key(fault: _Fault) -> str:
    known = sorted(fault.schema.get("properties", {}))
    unknown = sorted(set(fault.found) - set(known))
    return (
        f"the key '{unknown[0]}' is not known here. Correct its spelling or remove it; "
        f"known keys are {', '.join(known)}."
    )


def _say_choice(fault: _Fault) -> str:
    choices = ", ".join(str(choice) for choice in fault.wanted)
    return f"'{fault.found}' is not one of {choices}. Use one of these."


def _say_kind(fault: _Fault) -> str:
    if fault.wanted == "string" and isinstance(fault.found, int | float):
        return f"{fault.found} is read as a number. Write it in quotes."
    if fault.wanted in {"number", "integer"} and isinstance(fault.found, str):
        return (
            f"'{fault.found}' is not read as a number. Write digits without quotes and without "
            "zeros before them; a point, not a comma, stands before decimals."
        )
    kinds = fault.wanted if isinstance(fault.wanted, list) else [fault.wanted]
    shown = " or ".join(_KINDS[kind] for kind in kinds)
    return f"this must be {shown}.{_meaning(fault)}"


def _say_otherwise(fault: _Fault) -> str:
    return f"'{fault.found}' does not fit ({fault.rule}: {fault.wanted}).{_meaning(fault)}"


def _say_signature(_fault: _Fault) -> str:
    return (
        "status 'reviewed' and 'active' need 'reviewed: {by, date, again_by}'. "
        "Name who signed, or set the status back to draft."
    )


def _meaning(fault: _Fault) -> str:
    description = fault.schema.get("description")
    return f" Its meaning: {description}" if description else " Correct it."


_KINDS = {
    "string": "text",
    "object": "a group of keys",
    "array": "a list",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
_SAYINGS: Mapping[str, Callable[[_Fault], str]] = {
    "required": _say_missing,
    "additionalProperties": _say_unknown_key,
    "enum": _say_choice,
    "type": _say_kind,
}
