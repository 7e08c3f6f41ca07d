"""What is asked of an EHR: the prefetch templates, and the same searches sent by ourselves.

Look-backs are applied when the chart is read, never in a search: a date filter loses undated
operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from cds_service.chart.supply import Key
from cds_service.knowledge.model import SYSTEM_URIS, Knowledge, Match

PAGE_SIZE = 200
"""Entries asked for per page; the most that all known EHRs accept."""
LONGEST_URL = 1900
"""Characters of one search; some gateways cut longer ones."""

_PATIENT_TOKEN = "{{context.patientId}}"  # noqa: S105 - a placeholder, not a secret
TYPES: Mapping[str, str] = {
    Key.PATIENT: "Patient",
    Key.PROCEDURES: "Procedure",
    Key.CONDITIONS: "Condition",
    Key.SERVICE_REQUESTS: "ServiceRequest",
    Key.MEDICATION_REQUESTS: "MedicationRequest",
    Key.DIAGNOSTIC_REPORTS: "DiagnosticReport",
    Key.DEVICES: "Device",
    Key.SCORES: "Observation",
    Key.FINDINGS: "Observation",
    Key.ENCOUNTERS: "Encounter",
    Key.IMAGING_STUDIES: "ImagingStudy",
    Key.MEDICATION_STATEMENTS: "MedicationStatement",
    Key.ALLERGIES: "AllergyIntolerance",
}
"""The kind of resource each key asks for."""
_OBSERVED: Mapping[str, tuple[str, ...]] = {
    Key.SCORES: (
        "pain-score",
        "pain-vas",
        "odi",
        "phq9",
        "phq9-item9",
        "gad7",
        "dn4",
        "paindetect",
        "lanss",
        "pcs",
        "smoking-status",
        "pregnancy-status",
    ),
    Key.FINDINGS: (
        "crp",
        "esr",
        "wbc",
        "temperature",
        "egfr",
        "pvr",
        "mrc-grade",
        "saddle-sensation",
        "anal-tone",
        "sij-tests",
        "surgeon-clearance",
        "urinary-retention",
        "urinary-incontinence",
        "incomplete-bladder-emptying",
        "faecal-incontinence",
        "sensory-deficit",
        "motor-weakness",
        "motor-paresis",
        "motor-paraplegia",
        "wound-problem",
        "postoperative-fever",
    ),
}
"""The value sets whose codes the two Observation searches name."""
_OBSERVATION_SYSTEMS = frozenset({"LOINC", "LOCAL", "SNOMED-CT"})
_WITHOUT_COUNT = {
    "oracle-health": frozenset({"Procedure", "Condition", "Device"}),
}
"""Searches of a dialect that refuse ``_count``."""
_WITH_INCLUDE = frozenset({"cds-hooks-sandbox", "epic", "sandbox"})
"""Dialects that answer ``_include`` or pass over it; others may refuse a search that asks for it.
Epic warns of what it does not know and answers the rest; its orders name the drug by reference."""
_REUSES_ANSWERS = frozenset({"sandbox"})
"""Dialects whose servers (HAPI) answer a repeated search from store unless asked not to."""


def templates(knowledge: Knowledge, optional_keys: Iterable[str] = ()) -> dict[str, str]:
    """Return the prefetch templates for discovery, always in the same order.

    They keep to the subset every EHR knows: a read, ``patient=``, ``code=`` and ``_count=``.
    """
    found = {Key.PATIENT: f"Patient/{_PATIENT_TOKEN}"}
    for key in _wanted(optional_keys):
        codes = ",".join(observation_codes(knowledge, key))
        code_part = f"&code={codes}" if codes else ""
        found[key] = f"{TYPES[key]}?patient={_PATIENT_TOKEN}{code_part}&_count={PAGE_SIZE}"
    return found


def searches(
    knowledge: Knowledge,
    patient_id: str,
    *,
    optional_keys: Iterable[str] = (),
    dialect: str = "generic",
    longest_url: int = LONGEST_URL,
) -> dict[str, tuple[str, ...]]:
    """Return for each key the URLs below the FHIR base that fetch it.

    Long code lists are split over several URLs; their results belong together.
    """
    patient = quote(patient_id, safe="")
    found: dict[str, tuple[str, ...]] = {Key.PATIENT: (f"Patient/{patient}",)}
    for key in _wanted(optional_keys):
        kind = TYPES[key]
        start = f"{kind}?patient={patient}"
        end = "" if kind in _WITHOUT_COUNT.get(dialect, ()) else f"&_count={PAGE_SIZE}"
        if kind == "MedicationRequest" and dialect in _WITH_INCLUDE:
            end += "&_include=MedicationRequest:medication"
        codes = observation_codes(knowledge, key)
        parts = _code_parts(codes, longest_url - len(start) - len(end)) if codes else ("",)
        found[key] = tuple(f"{start}{part}{end}" for part in parts)
    return found


def wants_fresh(dialect: str) -> bool:
    """Whether servers of *dialect* must be asked not to answer from store."""
    return dialect in _REUSES_ANSWERS


def observation_codes(knowledge: Knowledge, key: str) -> tuple[str, ...]:
    """Return the ``system|code`` tokens an Observation search names; empty for other keys."""
    tokens = {
        f"{SYSTEM_URIS[code.system]}|{code.code}"
        for name in _OBSERVED.get(key, ())
        if name in knowledge.value_sets
        for code in knowledge.value_sets[name].codes
        if code.is_enabled and code.match is Match.EXACT and code.system in _OBSERVATION_SYSTEMS
    }
    return tuple(sorted(tokens))


def _wanted(optional_keys: Iterable[str]) -> tuple[str, ...]:
    wanted = frozenset(optional_keys)
    optional = (key for key in Key.OPTIONAL if key in wanted)
    return (*(key for key in Key.DEFAULT if key != Key.PATIENT), *optional)


def _code_parts(codes: tuple[str, ...], longest: int) -> Iterator[str]:
    """Yield ``&code=`` parts no longer than *longest*, each with at least one code."""
    batch: list[str] = []
    length = 0
    for code in (quote(code, safe=":/") for code in codes):
        if batch and length + len(code) + 1 > longest - len("&code="):
            yield f"&code={','.join(batch)}"
            batch, length = [], 0
        batch.append(code)
        length += len(code) + 1
    if batch:
        yield f"&code={','.join(batch)}"
