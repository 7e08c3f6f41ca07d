"""Vignette files: read, checked against their schema, pairs taken apart."""

from __future__ import annotations

import json
import zlib
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from cds_service.errors import VignetteError
from cds_service.knowledge.documents import FastLoader
from cds_service.knowledge.loading import cards_folder

_SCHEMA_FILE = "vignette.schema.json"
_MARKS_OF_VIGNETTES = frozenset({"theme", "cases"})
_ABOUT_THE_CASE = frozenset({"name", "expect", "but", "becomes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vignette:
    """One patient on one day and what the service must answer.

    ``is_other_half``: the patient who differs from the one before by what follows ``but``.
    """

    theme: str
    name: str
    facts: Mapping[str, Any]
    expect: Mapping[str, Any]
    is_other_half: bool = False

    @property
    def title(self) -> str:
        """Return theme and sentence."""
        half = " [the other patient]" if self.is_other_half else ""
        return f"{self.theme}: {self.name}{half}"

    @property
    def seed(self) -> int:
        """Return the number that chooses this patient's codes and shapes, stable over edits."""
        return zlib.crc32(self.title.encode())


class _StrictLoader(FastLoader):  # type: ignore[misc]  # a class only libyaml has
    """PyYAML's safe loader that refuses repeated keys; days may be keys, dates stay text."""

    # typing has no "override" before Python 3.12.
    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: ARG002, FBT001, FBT002 - signature of PyYAML
    ) -> dict[Hashable, Any]:
        """Return the mapping of *node* with every key as text."""
        seen: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise VignetteError(f"line {line}: '{key}' is written twice. Keep one of the two.")
            seen[key] = self.construct_object(value_node, deep=True)
        return seen


def read(path: Path) -> list[Vignette]:
    """Return the vignettes of one file.

    Raises:
        VignetteError: The file does not fit its schema.
    """
    return _vignettes(path, _content(path))


def read_folder(folder: Path) -> tuple[Vignette, ...]:
    """Return the vignettes of all files in *folder*, theme by theme.

    A file with neither a theme nor cases holds something else and is left out.

    Raises:
        VignetteError: A file does not fit its schema.
    """
    contents = [(path, _content(path)) for path in sorted(folder.glob("*.yaml"))]
    return tuple(
        vignette
        for path, content in contents
        if isinstance(content, dict) and _MARKS_OF_VIGNETTES & set(content)
        for vignette in _vignettes(path, content)
    )


def _content(path: Path) -> Any:  # noqa: ANN401 - whatever stands in the file
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a safe loader, made stricter  # nosec B506
    except (OSError, UnicodeDecodeError, yaml.YAMLError, VignetteError) as fault:
        raise VignetteError(f"{path.name}: {fault}") from fault


def _vignettes(path: Path, content: Any) -> list[Vignette]:  # noqa: ANN401 - as read
    faults = sorted(_validator().iter_errors(content), key=lambda fault: list(fault.path))
    if faults:
        raise VignetteError("\n".join(_sentence(path, content, fault) for fault in faults))
    return [half for case in content["cases"] for half in _halves(content["theme"], case)]


@cache
def _validator() -> Draft7Validator:
    schema = cards_folder() / "schemas" / _SCHEMA_FILE
    return Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))


def _sentence(path: Path, content: Any, fault: Any) -> str:  # noqa: ANN401 - as jsonschema has it
    place = [str(part) for part in fault.absolute_path]
    name = ""
    if len(place) > 1 and place[0] == "cases":
        name = f" '{content['cases'][int(place[1])].get('name', place[1])}'"
    where = ".".join(place[2:]) or "the case"
    return (
        f"{path.name}{name}: {where}: {fault.message}. See {_SCHEMA_FILE} for what may stand here."
    )


def _halves(theme: str, case: Mapping[str, Any]) -> Iterator[Vignette]:
    facts = {key: value for key, value in case.items() if key not in _ABOUT_THE_CASE}
    yield Vignette(theme=theme, name=case["name"], facts=facts, expect=case["expect"])
    if "but" in case:
        other = {**facts, **case["but"]}
        yield Vignette(
            theme=theme,
            name=case["name"],
            facts={key: value for key, value in other.items() if value is not None},
            expect=case["becomes"],
            is_other_half=True,
        )
