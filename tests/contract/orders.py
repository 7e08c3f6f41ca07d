"""Is this ServiceRequest one that a hospital could file?  What our orders must hold, in our words.

The model of ``fhir.resources`` checks structure; the rest stands here: bindings and reference types
that model does not check, US Core's ServiceRequest profile (its constraints, from its public
description), and what we promise of every order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import ValidationError

SNOMED = "http://snomed.info/sct"
SIDES = frozenset({"7771000", "24028007", "51440002"})
"""SNOMED CT codes of left, right, and right and left."""
US_CORE_CATEGORIES = frozenset(
    {
        "103693007",
        "108252007",
        "363679005",
        "386053000",
        "387713003",
        "409063005",
        "409073007",
        "410606002",
    }
)
"""SNOMED CT codes of the value set US Core binds a category to (its slice is open)."""
US_CORE_CODE_SYSTEMS = frozenset(
    {
        SNOMED,
        "http://loinc.org",
        "http://www.ama-assn.org/go/cpt",
        "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
        "http://www.cms.gov/Medicare/Coding/ICD10",
    }
)
_ID = r"[A-Za-z0-9\-._]{1,64}"
_RELATIVE = re.compile(rf"[A-Z][A-Za-z]+/{_ID}")
_TARGETS = {
    "subject": ("Patient",),
    "encounter": ("Encounter",),
    "requester": ("Practitioner", "PractitionerRole"),
    "reasonReference": ("Condition", "Observation", "DiagnosticReport", "DocumentReference"),
}
_CHOICES = {
    "status": ("draft", "active"),
    "intent": ("proposal", "plan", "order"),
    "priority": ("routine", "urgent", "asap", "stat"),
}
_PROMISED = ("status", "intent", "priority", "code", "subject", "note")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def order_faults(order: dict[str, Any]) -> list[str]:
    """Return what is wrong with one suggested order; nothing if it can be filed."""
    try:
        ServiceRequest.model_validate(order)
    except ValidationError as fault:
        return [f"not R4: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors()]
    missing = [f"{name} is missing" for name in _PROMISED if name not in order]
    if missing:
        return missing
    return [
        *_choice_faults(order),
        *_reference_faults(order),
        *_coding_faults(order),
        *_us_core_faults(order),
    ]


def _choice_faults(order: dict[str, Any]) -> Iterator[str]:
    for name, allowed in _CHOICES.items():
        if order[name] not in allowed:
            yield f"{name} is {order[name]}"
    if not _DAY.fullmatch(order.get("occurrenceDateTime", "2026-01-01")):
        yield "occurrenceDateTime is no day"
    if not ({"reasonCode", "reasonReference"} & order.keys()):
        yield "the order gives no reason"
    if "authoredOn" in order or "performer" in order:
        yield "nobody has signed this order yet"


def _reference_faults(order: dict[str, Any]) -> Iterator[str]:
    for name, kinds in {**_TARGETS, "supportingInfo": ()}.items():
        found = order.get(name, [])
        references = [each["reference"] for each in (found if isinstance(found, list) else [found])]
        for reference in references:
            if not _RELATIVE.fullmatch(reference):
                yield f"{name} points to nothing a FHIR server could hold: {reference}"
            elif kinds and reference.partition("/")[0] not in kinds:
                yield f"{name} points to a {reference.partition('/')[0]}"
        if len(set(references)) < len(references):
            yield f"{name} names an entry twice"


def _coding_faults(order: dict[str, Any]) -> Iterator[str]:
    """Yield codes without system or words; a side stands only beside a place."""
    concepts = [order["code"], *order.get("category", []), *order.get("bodySite", [])]
    concepts += order.get("reasonCode", [])
    for concept in concepts:
        for coding in concept.get("coding", []):
            if not {"system", "code", "display"} <= coding.keys():
                yield f"a coding without system, code or display: {coding}"
    if "text" not in order["code"]:
        yield "the order has no words"
    places = [{each["code"] for each in site["coding"]} for site in order.get("bodySite", [])]
    if places and places[0] & SIDES:
        yield "a side stands without a place"


def _us_core_faults(order: dict[str, Any]) -> Iterator[str]:
    """Yield breaches of US Core ServiceRequest beyond R4; its category slice and codes are open.

    A hospital's own codes (``urn:``) are its matter.
    """
    systems = {coding["system"] for coding in order["code"].get("coding", [])}
    unknown = {system for system in systems if not system.startswith("urn:")}
    if unknown and not unknown & US_CORE_CODE_SYSTEMS:
        yield f"US Core knows none of the code systems {sorted(unknown)}"
    for category in order.get("category", []):
        for coding in category["coding"]:
            if coding["system"] == SNOMED and coding["code"] not in US_CORE_CATEGORIES:
                yield f"US Core does not know the category {coding['code']}"
    if {"occurrencePeriod", "occurrenceTiming"} & order.keys():
        yield "we write occurrence as a day only"
