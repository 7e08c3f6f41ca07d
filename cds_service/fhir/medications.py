"""The drugs that prescriptions only refer to, where they did not come along.

A prefetch template cannot ask for them, and not every server knows ``_include``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cds_service.fhir import wire
from cds_service.fhir.answers import Headed, KeyAnswer, raw_of
from cds_service.fhir.decoding import prepare, read_resource
from cds_service.fhir.subjects import normalised_base, split_reference

_REFERRING = frozenset({"MedicationRequest", "MedicationStatement"})
_MEDICATION = "Medication"
_MOST_LOOKED_AT = 2_000
"""Prescriptions looked at for what they refer to; a chart with more is no patient's."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class _Referring(wire.Base, frozen=True, kw_only=True):
    """What a prescription says of its drug; in R5 it stands under ``medication``."""

    status: str | None = None
    medication_reference: wire.Reference | None = None
    medication: wire.CodeableReference | None = None


prepare(_Referring)


def missing_medications(answers: Iterable[KeyAnswer], base: str) -> tuple[str, ...]:
    """Return the ids of Medications below *base* that prescriptions refer to and that did not come.

    Those of active prescriptions come first.
    """
    present: set[str | None] = set()
    wanted: dict[str, bool] = {}
    looked_at = 0
    for headed in _headed(answers):
        kind = headed.head.resource_type if headed.head is not None else None
        if kind == _MEDICATION and headed.head is not None:
            present.add(headed.head.id)
        elif kind in _REFERRING and b"Medication/" in bytes(headed.raw):
            looked_at += 1
            if looked_at > _MOST_LOOKED_AT:
                continue
            name, is_active = _referred(headed, base)
            if name is not None:
                wanted[name] = wanted.get(name, False) or is_active
    missing = [name for name in wanted if name not in present]
    return tuple(sorted(missing, key=lambda name: (not wanted[name], name)))


def medications_among(answers: Iterable[KeyAnswer], wanted: Iterable[str]) -> tuple[Headed, ...]:
    """Return the Medications of *answers* with an id of *wanted*, as what only came along."""
    names = frozenset(wanted)
    return tuple(
        Headed(headed.raw, headed.head, is_beside=True)
        for headed in _headed(answers)
        if headed.head is not None
        and headed.head.resource_type == _MEDICATION
        and headed.head.id in names
    )


def _headed(answers: Iterable[KeyAnswer]) -> Iterable[Headed]:
    for answer in answers:
        yield from (one for one in answer.resources if isinstance(one, Headed))


def _referred(headed: Headed, base: str) -> tuple[str | None, bool]:
    """Return the id that a prescription refers to, if it is below *base*, and if it is active."""
    found = read_resource(raw_of(headed), _Referring) or _Referring()
    link = found.medication_reference
    if link is None and found.medication is not None:
        link = found.medication.reference
    there, kind, name = split_reference((link.reference or "").strip() if link else "")
    is_here = there is None or normalised_base(there) == normalised_base(base)
    is_usable = kind == _MEDICATION and is_here and _ID.fullmatch(name or "") is not None
    is_active = (found.status or "").strip().lower() == "active"
    return name if is_usable else None, is_active
