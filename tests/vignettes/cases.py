"""The vignettes of this folder: read, checked against their schema, pairs taken apart."""

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

FOLDER = Path(__file__).parent
SCHEMA = FOLDER.parents[1] / "cards" / "schemas" / "vignette.schema.json"
NOT_CASES = frozenset({"codes.yaml", "survivors.yaml"})
_ABOUT_THE_CASE = frozenset({"name", "expect", "but", "becomes"})


class VignetteError(Exception):
    """A vignette file is wrong; the text says where, what and what to do."""


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


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses repeated keys; days may be keys, dates stay text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ARG002, FBT001, FBT002 - signature of PyYAML
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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a safe loader, made stricter
    except (yaml.YAMLError, VignetteError) as fault:
        raise VignetteError(f"{path.name}: {fault}") from fault
    faults = sorted(_validator().iter_errors(content), key=lambda fault: list(fault.path))
    if faults:
        raise VignetteError("\n".join(_sentence(path, content, fault) for fault in faults))
    return [half for case in content["cases"] for half in _halves(content["theme"], case)]


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _sentence(path: Path, content: Any, fault: Any) -> str:  # noqa: ANN401 - as jsonschema has it
    place = [str(part) for part in fault.absolute_path]
    name = ""
    if len(place) > 1 and place[0] == "cases":
        name = f" '{content['cases'][int(place[1])].get('name', place[1])}'"
    where = ".".join(place[2:]) or "the case"
    return (
        f"{path.name}{name}: {where}: {fault.message}. See {SCHEMA.name} for what may stand here."
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


@cache
def all_vignettes() -> tuple[Vignette, ...]:
    """Return every vignette of this folder, theme by theme."""
    files = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in NOT_CASES)
    return tuple(vignette for path in files for vignette in read(path))
