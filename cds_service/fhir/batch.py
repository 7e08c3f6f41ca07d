"""All searches of a chart as one batch Bundle, for sites that ask for it.

Some servers answer a batch with empty results where single searches would find something, so this
is used only where the profile says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from cds_service.fhir import reasons, wire
from cds_service.fhir.decoding import prepare, read_resource


class _Response(wire.Base, frozen=True, kw_only=True):
    status: str | None = None
    outcome: Raw = Raw()


class _Entry(wire.Base, frozen=True, kw_only=True):
    resource: Raw = Raw()
    response: _Response | None = None


class _Answer(wire.Base, frozen=True, kw_only=True):
    resource_type: str | None = None
    entry: tuple[_Entry, ...] = ()


prepare(_Answer)
_NOTHING = frozenset({b"", b"null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The answer to one search of a batch: its JSON, or why there is none."""

    body: bytes | None = field(default=None, repr=False)
    outcome: bytes | None = field(default=None, repr=False)
    """The OperationOutcome beside the JSON."""
    problem: str = reasons.NOT_FHIR_JSON


def batch_body(paths: Sequence[str]) -> bytes:
    """Return the batch that asks for *paths*, which are relative to the FHIR base."""
    entries = [{"request": {"method": "GET", "url": path}} for path in paths]
    return msgspec.json.encode({"resourceType": "Bundle", "type": "batch", "entry": entries})


def batch_parts(body: bytes, count: int) -> tuple[Part, ...]:
    """Return the *count* parts of a batch answer, in the order of the searches.

    The order is all that tells the parts apart, so an answer with more or fewer entries is not
    used at all.
    """
    answer = read_resource(body, _Answer)
    if answer is not None and answer.resource_type == "OperationOutcome":
        return (Part(problem=reasons.REPORTED_PROBLEM),) * count
    if answer is None or answer.resource_type != "Bundle":
        return (Part(),) * count
    if len(answer.entry) != count:
        return (Part(problem=reasons.BATCH_MIXED_UP),) * count
    return tuple(_part(entry) for entry in answer.entry)


def _part(entry: _Entry) -> Part:
    stated = (entry.response.status or "") if entry.response is not None else ""
    status = stated.strip()[:3]
    if not status.isdecimal():
        return Part()
    problem = reasons.of_status(int(status))
    if problem is not None:
        return Part(problem=problem)
    body = bytes(entry.resource)
    if not body.startswith(b"{"):
        return Part()
    outcome = bytes(entry.response.outcome) if entry.response is not None else b""
    return Part(body=body, outcome=None if outcome in _NOTHING else outcome)
