"""Charts with very many entries of one kind, for each idea the rules know, through the core.

Four times the entries should cost four times as much.  A rule that compares each with each costs
sixteen times as much, and a chart of a megabyte would hold up a whole process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import islice
from typing import Any

from cds_service.knowledge.model import SYSTEM_URIS, Code, Knowledge, Match

_FEW, _MANY = 250, 1_000
TIMES = _MANY // _FEW
_DAYS = 400
_LUMBAR = {"coding": [{"system": SYSTEM_URIS["SNOMED-CT"], "code": "122496007"}]}
_YES = {"coding": [{"system": SYSTEM_URIS["SNOMED-CT"], "code": "373066001"}]}
_KEYS = {
    "Observation": "findings",
    "Condition": "conditions",
    "Procedure": "procedures",
    "ServiceRequest": "serviceRequests",
    "Device": "devices",
    "MedicationRequest": "medicationRequests",
}
_KINDS = {
    "LOINC": ("Observation",),
    "LOCAL": ("Observation",),
    "RxNorm": ("MedicationRequest",),
    "CPT": ("Procedure", "ServiceRequest"),
    "HCPCS": ("Procedure",),
    "OPCS-4": ("Procedure",),
    "ICD-10-PCS": ("Procedure",),
    "ICD-10-CM": ("Condition",),
    "HL7-YES-NO": ("Observation",),
    "SNOMED-CT": ("Condition", "Observation", "Procedure", "ServiceRequest", "Device"),
}
"""Where codes of each system stand in charts."""


def steepest(
    body: bytes, knowledge: Knowledge, today: date, answer: Callable[[bytes], object]
) -> tuple[str, float]:
    """Return which kind of entry costs most when there are four times as many, and how much."""
    found = {}
    for name, code, kind in _ideas(knowledge):
        few, many = (_with_many(body, code, kind, number, today) for number in (_FEW, _MANY))
        found[f"{kind} of {name}"] = _seconds(answer, many) / _seconds(answer, few)
    worst = max(found, key=lambda what: found[what])
    return worst, found[worst]


def _ideas(knowledge: Knowledge) -> Iterator[tuple[str, Code, str]]:
    """Yield each value set with one of its codes, once for each kind of entry it may stand in.

    An ingredient is also tried as a drug that holds it, as most prescriptions name it.
    """
    for value_set in knowledge.value_sets.values():
        codes = (c for c in value_set.codes if c.is_enabled and c.match is Match.EXACT)
        for code in {code.system: code for code in codes}.values():
            for kind in _KINDS[code.system]:
                yield value_set.id, code, kind
            drugs = (
                name
                for name, drug in knowledge.clinical_drugs.items()
                if code.system == "RxNorm" and code.code in drug.ingredients
            )
            for drug in islice(drugs, 1):
                yield f"{value_set.id} by drug", replace(code, code=drug), "MedicationRequest"


def _with_many(body: bytes, code: Code, kind: str, number: int, today: date) -> bytes:
    request = json.loads(body)
    subject = {"reference": f"Patient/{request['context']['patientId']}"}
    key = _KEYS[kind]
    bundle = request["prefetch"].get(key) or {"resourceType": "Bundle", "type": "searchset"}
    others = bundle.get("entry", [])
    entries = [_entry(code, kind, each, subject, today) for each in range(number)]
    request["prefetch"][key] = {**bundle, "entry": [*others, *entries]}
    return json.dumps(request).encode()


def _entry(
    code: Code, kind: str, number: int, subject: dict[str, str], today: date
) -> dict[str, Any]:
    day = (today - timedelta(days=1 + number * 7 % _DAYS)).isoformat()
    coded = {"coding": [{"system": SYSTEM_URIS[code.system], "code": code.code}]}
    of_kind: dict[str, dict[str, Any]] = {
        "Observation": {"status": "final", "code": coded, "effectiveDateTime": day},
        "Condition": {"code": coded, "onsetDateTime": day},
        "Procedure": {"status": "completed", "code": coded, "performedDateTime": day},
        "ServiceRequest": {"status": "active", "intent": "order", "code": coded, "authoredOn": day},
        "Device": {"status": "active", "type": coded, "patient": subject},
        "MedicationRequest": {
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": coded,
            "authoredOn": day,
            "basedOn": [{"reference": f"MedicationRequest/many-{number - number % 2}"}],
        },
    }
    resource = {"resourceType": kind, "id": f"many-{number}", **of_kind[kind]}
    if kind != "Device":
        resource["subject"] = subject
    if kind == "Procedure":
        resource["bodySite"] = [_LUMBAR]
    if kind == "Observation":
        is_answer = number % 3 == 0
        value = {"valueCodeableConcept": _YES} if is_answer else {"valueQuantity": {"value": 3}}
        resource |= value
    return {"resource": resource}


def _seconds(answer: Callable[[bytes], object], body: bytes) -> float:
    """Return the shorter of two CPU times."""
    taken = []
    for _ in range(2):
        started = time.process_time()
        answer(body)
        taken.append(time.process_time() - started)
    return min(taken)
