"""What does an EHR put into a hook request, from the templates of discovery and its own charts?

Covers the three ways data travels (prefetch, pull, a bit of both) and the manners of EHRs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from cds_service.demo.fhir_server import AccessTokens, Grant, searchset
from cds_service.demo.personas import Resource
from cds_service.demo.store import ChartStore
from cds_service.hooks.discovery import HOOK
from cds_service.hooks.request import AS_OF_EXTENSION

USER = "Practitioner/plcds-clinician"
TOKEN_SECONDS = 300
_TEMPLATE = re.compile(r"\{\{context\.(\w+)\}\}")
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}")
_READ = re.compile(r"(?P<kind>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9.\-]{1,64})")
_ALWAYS_SENT = frozenset({"patient", "procedures"})
_EPIC_NOTHING_FOUND = "4101"


class Delivery(StrEnum):
    """How the chart travels to the service."""

    PREFETCH = "prefetch"
    PULL = "pull"
    BOTH = "both"
    """Patient and procedures in the request, the rest pulled."""


class Manner(StrEnum):
    """Whose habits the request follows; the value is the dialect the service answers in."""

    PLAIN = "generic"
    EPIC = "epic"
    SANDBOX = "cds-hooks-sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Somebody opens a chart on a day.

    ``delay_seconds`` and ``refused_types`` are faults the FHIR server shall have for this call.
    """

    patient_id: str
    as_of: date
    hook_instance: UUID
    delivery: Delivery = Delivery.PREFETCH
    manner: Manner = Manner.PLAIN
    delay_seconds: float = 0.0
    refused_types: frozenset[str] = frozenset()

    def by_pull(self, **faults: Any) -> Opening:  # noqa: ANN401 - fields of this class
        """Return the same opening with nothing prefetched and with *faults*."""
        return replace(self, delivery=Delivery.PULL, **faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestWriter:
    """Writes ``patient-view`` requests as an EHR with these charts does."""

    store: ChartStore
    tokens: AccessTokens
    fhir_base: str

    def request(self, opening: Opening, templates: Mapping[str, str]) -> Resource:
        """Return the body of one hook request."""
        context = {"userId": USER, "patientId": opening.patient_id}
        body: Resource = {
            "hook": HOOK,
            "hookInstance": str(opening.hook_instance),
            "context": context,
            "extension": {AS_OF_EXTENSION: opening.as_of.isoformat()},
        }
        if opening.manner is Manner.EPIC:
            body["extension"]["com.epic.cdshooks.request.fhir-version"] = "R4"
        if opening.delivery is not Delivery.PREFETCH:
            body["fhirServer"] = self.fhir_base
            body["fhirAuthorization"] = self._authorization(opening)
        if opening.delivery is not Delivery.PULL:
            body["prefetch"] = self._prefetch(opening, context, templates)
        return body

    def _authorization(self, opening: Opening) -> Resource:
        grant = Grant(
            patient_id=opening.patient_id,
            delay_seconds=opening.delay_seconds,
            refused_types=opening.refused_types,
        )
        return {
            "access_token": self.tokens.issue(grant),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "patient/*.read",
            "subject": "post-laminectomy-cds",
            "patient": opening.patient_id,
        }

    def _prefetch(
        self, opening: Opening, context: Mapping[str, str], templates: Mapping[str, str]
    ) -> Resource:
        answers = {}
        for key, template in templates.items():
            if opening.delivery is Delivery.BOTH and key not in _ALWAYS_SENT:
                continue
            query = _TEMPLATE.sub(lambda match: context.get(match.group(1), ""), template)
            answer = self.resolve(query)
            if answer is None and opening.manner is Manner.SANDBOX:
                continue
            answers[key] = self._in_manner(answer, opening.manner)
        return answers

    def resolve(self, query: str) -> Resource | None:
        """Return what the FHIR server answers to a read or a search; None if there is nothing."""
        read = _READ.fullmatch(query)
        if read:
            return self.store.read(read["kind"], read["id"])
        kind, _, parameters = query.partition("?")
        found = self.store.search(kind, parse_qsl(parameters))
        return searchset(
            self.fhir_base,
            found,
            total=len(found),
            links=[{"relation": "self", "url": f"{self.fhir_base}/{query}"}],
        )

    def _in_manner(self, answer: Resource | None, manner: Manner) -> Resource | None:
        if manner is not Manner.EPIC or answer is None:
            return answer
        if answer.get("total") == 0:
            return {**answer, "entry": [_epic_warning()]}
        absolute: Resource = _with_absolute_references(answer, self.fhir_base)
        return absolute


def _epic_warning() -> Resource:
    coding = {
        "system": "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369",
        "code": _EPIC_NOTHING_FOUND,
        "display": "Resource request returns no results.",
    }
    issue = {"severity": "warning", "code": "processing", "details": {"coding": [coding]}}
    return {
        "resource": {"resourceType": "OperationOutcome", "issue": [issue]},
        "search": {"mode": "outcome"},
    }


def _with_absolute_references(value: Any, base: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_with_absolute_references(item, base) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _with_absolute_references(item, base) for key, item in value.items()}
    reference = value.get("reference")
    if isinstance(reference, str) and _RELATIVE.fullmatch(reference):
        changed["reference"] = f"{base}/{reference}"
    return changed
