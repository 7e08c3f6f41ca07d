"""FHIR JSON to the structs of ``cds_service.fhir.wire``, whatever shape it comes in.

A well-shaped resource is decoded in one step.  A resource with a field of the wrong type takes the
repair path: numbers written as strings, a single object where a list belongs, and the like are
coerced, and what cannot be coerced is dropped, so that one odd field never hides the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, DecimalException
from functools import cache
from threading import Lock
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw, Struct, inspect

from cds_service.fhir import wire
from cds_service.fhir.answers import RawResource
from cds_service.fhir.wire import CodeableConcept, Coding, Reference

Wire = TypeVar("Wire", bound=Struct)

_DROPPED = object()
"""Marks a value that fits no reading."""
_tolerant = msgspec.json.Decoder(float_hook=Decimal)


_building = Lock()
"""Held while a decoder is built: msgspec crashes the process when two threads build their first
decoders at the same time."""


@cache
def _decoder(kind: type[Wire]) -> msgspec.json.Decoder[Wire]:
    with _building:
        return msgspec.json.Decoder(kind)


def prepare(*kinds: type[Struct]) -> None:
    """Build the decoders of *kinds* now, so that no request has to wait for them."""
    for kind in kinds:
        _decoder(kind)


prepare(
    *(kind for kind in vars(wire).values() if isinstance(kind, type) and issubclass(kind, Struct))
)


def read_plain(raw: RawResource, kind: type[Wire]) -> Wire | None:
    """Return *raw* as *kind* if it has just this shape, else None."""
    try:
        found: Wire = _decoder(kind).decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return found


def read_resource(raw: RawResource, kind: type[Wire]) -> Wire | None:
    """Return *raw* as *kind*, repaired where needed; None when it is no JSON object at all."""
    try:
        found: Wire = _decoder(kind).decode(raw)
    except msgspec.ValidationError:
        return _repaired(raw, kind)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return found


def read_all(raws: Sequence[RawResource], kind: type[Wire]) -> list[Wire | None]:
    """Return what ``read_resource`` makes of each of *raws*, quickly where none needs a repair."""
    decode = _decoder(kind).decode
    try:
        return [decode(raw) for raw in raws]
    except (msgspec.DecodeError, RecursionError, ValueError):
        return [read_resource(raw, kind) for raw in raws]


def content_of(raw: RawResource) -> object:
    """Return what *raw* says, whatever is written about it: without its version and narrative."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    if not isinstance(value, dict):
        return value
    return {name: part for name, part in value.items() if name not in {"meta", "text"}}


def read_part(raw: RawResource, kind: type[Wire]) -> Wire | None:
    """Return *raw*, a field of a resource, as *kind*, repaired where needed.

    None when the field was not written, or nothing of this kind can be made of it.
    """
    if not raw:
        return None
    found = read_plain(raw, kind)
    if found is not None:
        return found
    try:
        coerced = _object(_tolerant.decode(raw), kind)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        return None
    return coerced if isinstance(coerced, kind) else None


def _repaired(raw: RawResource, kind: type[Wire]) -> Wire | None:
    try:
        value = _tolerant.decode(raw)
        if not isinstance(value, dict):
            return None
        return _struct(value, kind)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        return None


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, str, inspect.Type], ...]:
    described = cast("inspect.StructType", inspect.type_info(kind))
    return tuple((field.name, field.encode_name, field.type) for field in described.fields)


def _struct(value: dict[str, Any], kind: type[Wire]) -> Wire:
    coerced = {
        name: _coerced(value[encoded], wanted)
        for name, encoded, wanted in _fields(kind)
        if encoded in value
    }
    return kind(**{name: item for name, item in coerced.items() if item is not _DROPPED})


def _coerced(value: object, wanted: inspect.Type) -> object:
    match wanted:
        case inspect.UnionType():
            inner = next(kind for kind in wanted.types if not isinstance(kind, inspect.NoneType))
            return None if value is None else _coerced(value, inner)
        case inspect.VarTupleType():
            return _list(value, wanted.item_type)
        case inspect.StructType():
            return _object(value, wanted.cls)
        case inspect.RawType():
            return Raw(msgspec.json.encode(value))
        case _:
            return _scalar(value, wanted)


def _list(value: object, item: inspect.Type) -> tuple[object, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    coerced = (_coerced(one, item) for one in items if one is not None)
    return tuple(one for one in coerced if one is not _DROPPED)


def _object(value: object, kind: type[Struct]) -> object:
    if isinstance(value, dict):
        return _struct(value, kind)
    if isinstance(value, list):
        return _one_of(value, kind)
    if isinstance(value, str):
        key = {CodeableConcept: "text", Coding: "code", Reference: "reference"}.get(kind)
        return _DROPPED if key is None else _struct({key: value}, kind)
    return _DROPPED


def _one_of(values: list[object], kind: type[Struct]) -> object:
    """Return the one object a list holds; several concepts become one with all codings."""
    found = [item for item in (_object(one, kind) for one in values) if item is not _DROPPED]
    if kind is CodeableConcept and len(found) > 1:
        concepts = cast("list[CodeableConcept]", found)
        texts = [concept.text for concept in concepts if concept.text]
        return CodeableConcept(
            coding=tuple(coding for concept in concepts for coding in concept.coding),
            text="; ".join(texts) or None,
            extension=tuple(one for concept in concepts for one in concept.extension),
        )
    return found[0] if len(found) == 1 else _DROPPED


def _scalar(value: object, wanted: inspect.Type) -> object:
    match wanted:
        case inspect.StrType():
            return _string(value)
        case inspect.BoolType():
            if isinstance(value, str):
                return {"true": True, "false": False}.get(value.strip().lower(), _DROPPED)
            return value if isinstance(value, bool) else _DROPPED
        case inspect.DecimalType():
            return _decimal(value)
        case _:
            return _DROPPED


def _string(value: object) -> object:
    if isinstance(value, str):
        return value
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return str(value) if is_number else _DROPPED


def _decimal(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return _DROPPED
    try:
        return Decimal(value.strip() if isinstance(value, str) else value)
    except DecimalException:
        return _DROPPED
