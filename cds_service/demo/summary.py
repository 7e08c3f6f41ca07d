"""What does the chart page list: problems, operations, orders, drugs and results, newest first?

An EHR shows its own chart, so the words here are the chart's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cds_service.demo.personas import Resource
from cds_service.demo.store import ChartStore

MOST_ENTRIES = 12
_EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One list of the chart page: its title, what it holds, and where the date stands."""

    title: str
    kinds: tuple[str, ...]
    dates: tuple[str, ...]


SECTIONS = (
    Section(
        title="Problems",
        kinds=("Condition",),
        dates=("onsetDateTime", "onsetPeriod", "recordedDate"),
    ),
    Section(
        title="Procedures and reports",
        kinds=("Procedure", "DiagnosticReport"),
        dates=("performedDateTime", "performedPeriod", *_EFFECTIVE),
    ),
    Section(title="Orders", kinds=("ServiceRequest",), dates=("authoredOn",)),
    Section(title="Medicines", kinds=("MedicationRequest",), dates=("authoredOn",)),
    Section(title="Results and scores", kinds=("Observation",), dates=_EFFECTIVE),
    Section(title="Implants", kinds=("Device",), dates=()),
)


def summary(store: ChartStore, patient_id: str) -> list[Resource]:
    """Return the sections of one chart that hold anything."""
    return [
        {"title": section.title, "entries": entries, "more": max(0, count - MOST_ENTRIES)}
        for section in SECTIONS
        for entries, count in [_entries(store, section, patient_id)]
        if entries
    ]


def _entries(store: ChartStore, section: Section, patient_id: str) -> tuple[list[Resource], int]:
    found = [r for kind in section.kinds for r in store.search(kind, [("patient", patient_id)])]
    entries = [
        {
            "date": _date(resource, section.dates),
            "text": _words(resource),
            "value": _value(resource),
            "status": _status(resource),
            "isNew": str(resource["id"]).startswith("plcds-new-"),
        }
        for resource in found
    ]
    newest_first = sorted(entries, key=lambda entry: str(entry["date"]), reverse=True)
    return newest_first[:MOST_ENTRIES], len(entries)


def _date(resource: Resource, fields: Sequence[str]) -> str:
    for field in fields:
        value = resource.get(field)
        text = value.get("end") or value.get("start") if isinstance(value, dict) else value
        if isinstance(text, str):
            return text[:10]
    return ""


def _words(resource: Resource) -> str:
    concept = (
        resource.get("code")
        or resource.get("medicationCodeableConcept")
        or resource.get("type")
        or {}
    )
    words = _text(concept)
    site = resource.get("bodySite")
    sites = site if isinstance(site, list) else [site] if site else []
    places = [_text(place) for place in sites]
    return f"{words} ({', '.join(places)})" if places else words


def _text(concept: Mapping[str, object]) -> str:
    first = _first_coding(concept)
    return str(concept.get("text") or first.get("display") or first.get("code") or "no name")


def _first_coding(concept: Mapping[str, object]) -> Mapping[str, object]:
    codings = concept.get("coding")
    return codings[0] if isinstance(codings, list) and codings else {}


def _value(resource: Resource) -> str:
    """Return a value in words; the two numbers of a blood pressure as "134 / 82 mmHg"."""
    parts = [part["valueQuantity"] for part in resource.get("component", []) if _is_number(part)]
    if len(parts) > 1:
        return f"{' / '.join(str(part['value']) for part in parts)} {parts[0].get('unit', '')}"
    quantity = resource.get("valueQuantity")
    if quantity:
        unit = quantity.get("unit", "")
        return f"{quantity.get('value')} {'' if unit.startswith('{') else unit}".strip()
    if "valueInteger" in resource:
        return str(resource["valueInteger"])
    return _text(resource["valueCodeableConcept"]) if "valueCodeableConcept" in resource else ""


def _is_number(part: Resource) -> bool:
    return "valueQuantity" in part


def _status(resource: Resource) -> str:
    clinical = resource.get("clinicalStatus") or {"text": resource.get("status")}
    status = _first_coding(clinical).get("code") or clinical.get("text") or ""
    return "" if status in {"active", "final", "completed"} else str(status)
