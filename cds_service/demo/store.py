"""What is in the charts of the demo, and which entries does a FHIR search find?

Holds FHIR resources in memory and answers the searches EHRs' servers answer.  HTTP and tokens are
the matter of ``fhir_server``.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cds_service.demo.personas import Resource

Parameters = Sequence[tuple[str, str]]

NOT_FILTERS = frozenset({"_count", "_format", "_include", "_offset"})
"""These leave nothing out; ``_include`` adds nothing, as no entry here refers to a Medication."""
TYPES = frozenset(
    {
        "AllergyIntolerance",
        "Condition",
        "Device",
        "DiagnosticReport",
        "Encounter",
        "ImagingStudy",
        "Immunization",
        "MedicationRequest",
        "MedicationStatement",
        "Observation",
        "Patient",
        "Practitioner",
        "Procedure",
        "ServiceRequest",
    }
)
_TOKEN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "category": ("category",),
    "clinical-status": ("clinicalStatus",),
    "code": ("code", "medicationCodeableConcept", "vaccineCode"),
    "identifier": ("identifier",),
    "intent": ("intent",),
    "status": ("status",),
    "type": ("type",),
    "verification-status": ("verificationStatus",),
}
_DATE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "authored": ("authoredOn",),
    "authoredon": ("authoredOn",),
    "birthdate": ("birthDate",),
    "date": (
        "effectiveDateTime",
        "effectivePeriod",
        "performedDateTime",
        "performedPeriod",
        "period",
        "occurrenceDateTime",
        "started",
    ),
    "onset-date": ("onsetDateTime",),
    "recorded-date": ("recordedDate",),
}
_PREFIXES: Mapping[str, Callable[[tuple[datetime, datetime], tuple[datetime, datetime]], bool]] = {
    "eq": lambda entry, asked: asked[0] <= entry[0] and entry[1] <= asked[1],
    "ge": lambda entry, asked: entry[1] >= asked[0],
    "gt": lambda entry, asked: entry[1] > asked[1],
    "le": lambda entry, asked: entry[0] <= asked[1],
    "lt": lambda entry, asked: entry[0] < asked[0],
}


class SearchRefusedError(Exception):
    """The search uses a parameter or a value this server does not know."""


class ChartStore:
    """The resources of all demo charts; safe to use from several threads.

    ``revision`` grows with every change, so that what was computed from the store can be kept until
    then.
    """

    def __init__(self, resources: Iterable[Resource], now: Callable[[], datetime]) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._resources: dict[tuple[str, str], Resource] = {}
        self._created = 0
        self.revision = 0
        for resource in resources:
            self._resources[resource["resourceType"], resource["id"]] = resource

    def read(self, kind: str, identifier: str) -> Resource | None:
        """Return a copy of one resource, or None."""
        with self._lock:
            found = self._resources.get((kind, identifier))
        return copy.deepcopy(found)

    def search(self, kind: str, parameters: Parameters) -> list[Resource]:
        """Return copies of all resources of *kind* that fulfil every parameter, in a stable order.

        Raises:
            SearchRefusedError: A parameter or its value is not supported.
        """
        tests = [_test_of(name, value) for name, value in parameters if name not in NOT_FILTERS]
        with self._lock:
            candidates = [r for (t, _), r in sorted(self._resources.items()) if t == kind]
        return [copy.deepcopy(r) for r in candidates if all(test(r) for test in tests)]

    def create(self, resource: Resource) -> Resource:
        """Keep a new resource under an id of ours and return what was kept."""
        with self._lock:
            self._created += 1
            kept = {**copy.deepcopy(resource), "id": f"plcds-new-{self._created}"}
            self._keep(kept, version=1)
        return copy.deepcopy(kept)

    def update(self, resource: Resource) -> tuple[Resource, bool]:
        """Replace a resource by its id; return what was kept and whether it is new."""
        key = (resource["resourceType"], resource["id"])
        with self._lock:
            before = self._resources.get(key)
            version = int(before.get("meta", {}).get("versionId", 1)) + 1 if before else 1
            kept = copy.deepcopy(resource)
            self._keep(kept, version=version)
        return copy.deepcopy(kept), before is None

    def replace_chart(self, patient_id: str, resources: Iterable[Resource]) -> None:
        """Forget what is here about one patient, and keep *resources*."""
        with self._lock:
            others = {k: r for k, r in self._resources.items() if patient_of(r) != patient_id}
            own = {(r["resourceType"], r["id"]): r for r in resources}
            self._resources = {**others, **own}
            self.revision += 1

    def replace_all(self, resources: Iterable[Resource]) -> None:
        """Forget everything and keep *resources*: the demo starts afresh."""
        with self._lock:
            self._resources = {(r["resourceType"], r["id"]): r for r in resources}
            self.revision += 1

    def _keep(self, resource: Resource, *, version: int) -> None:
        meta = dict(resource.get("meta", {}))
        meta["versionId"] = str(version)
        meta["lastUpdated"] = self._now().astimezone(UTC).isoformat(timespec="seconds")
        resource["meta"] = meta
        self._resources[resource["resourceType"], resource["id"]] = resource
        self.revision += 1


def patient_of(resource: Mapping[str, Any]) -> str | None:
    """Return the id of the patient a resource is about, or None if it is about nobody."""
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id"))
    for field in ("subject", "patient"):
        reference = resource.get(field)
        if isinstance(reference, dict) and "reference" in reference:
            return str(reference["reference"]).rpartition("/")[2]
    return None


def _test_of(name: str, value: str) -> Callable[[Resource], bool]:
    choices = value.split(",")
    if name == "_id":
        return lambda resource: resource["id"] in choices
    if name in {"patient", "subject"}:
        wanted = {choice.rpartition("/")[2] for choice in choices}
        return lambda resource: patient_of(resource) in wanted
    if name in _TOKEN_FIELDS:
        fields = _TOKEN_FIELDS[name]
        return lambda resource: any(_has_token(resource, fields, choice) for choice in choices)
    if name in _DATE_FIELDS:
        asked = [_asked_date(name, choice) for choice in choices]
        fields = _DATE_FIELDS[name]
        return lambda resource: any(_has_date(resource, fields, *choice) for choice in asked)
    raise SearchRefusedError(
        f"The search parameter '{name}' is not supported by this test server. Leave it out, or "
        "see GET metadata for what is."
    )


def _has_token(resource: Resource, fields: tuple[str, ...], choice: str) -> bool:
    system, bar, code = choice.rpartition("|")
    for has_system, has_code in _tokens(resource, fields):
        if code and has_code != code:
            continue
        if not bar or has_system == system or (not system and not has_system):
            return True
    return False


def _tokens(resource: Resource, fields: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    for field in fields:
        value = resource.get(field)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                yield "", item
            elif isinstance(item, dict):
                if "value" in item:
                    yield item.get("system", ""), item["value"]
                for coding in item.get("coding", ()):
                    yield coding.get("system", ""), coding.get("code", "")


def _asked_date(name: str, choice: str) -> tuple[str, tuple[datetime, datetime]]:
    prefix, text = (choice[:2], choice[2:]) if choice[:2] in _PREFIXES else ("eq", choice)
    try:
        return prefix, span_of(text)
    except ValueError:
        raise SearchRefusedError(
            f"The value of the search parameter '{name}' is not a FHIR date with one of the "
            "prefixes eq, ge, gt, le, lt. Write for example ge2026-03-01."
        ) from None


def _has_date(
    resource: Resource, fields: tuple[str, ...], prefix: str, asked: tuple[datetime, datetime]
) -> bool:
    for field in fields:
        value = resource.get(field)
        if isinstance(value, dict) and value:
            start = value.get("start", "0001")
            span = (span_of(start)[0], span_of(value.get("end", "9998"))[1])
        elif isinstance(value, str):
            span = span_of(value)
        else:
            continue
        if _PREFIXES[prefix](span, asked):
            return True
    return False


def span_of(text: str) -> tuple[datetime, datetime]:
    """Return the first and the last moment a FHIR date or dateTime can mean.

    Raises:
        ValueError: *text* is neither.
    """
    if "T" in text:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment, moment
    padded = text + "-01-01"[len(text) - 4 :] if len(text) in {4, 7} else text
    first = datetime.fromisoformat(padded).replace(tzinfo=UTC)
    if len(text) == len("2026"):
        after = first.replace(year=first.year + 1)
    elif len(text) == len("2026-03"):
        after = (first + timedelta(days=31)).replace(day=1)
    else:
        after = first + timedelta(days=1)
    return first, after - timedelta(microseconds=1)
