"""Copies of frozen values with some fields changed, whether structs or dataclasses."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import msgspec

Value = TypeVar("Value")


def replace(value: Value, /, **changes: object) -> Value:
    """Return a copy of *value* with *changes*."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]
