"""What is asked of an EHR: the prefetch templates, and the same searches sent by ourselves.

Look-backs are applied when the chart is read, never in a search: a date filter loses undated
operations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from urllib.parse import quote

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.chart.supply import Key
from cds_service.knowledge.model import SYSTEM_URIS, Knowledge, Match
from cds_service.trust.dialect import SearchForm

PAGE_SIZE = 200
"""Entries asked for per page; the most that all known EHRs accept."""
_SMALLER_PAGES: Mapping[str, int] = {"DiagnosticReport": 100}
"""Kinds of which an EHR gives fewer on a page."""
LONGEST_URL = 1900
"""Characters of one search; some gateways cut longer ones."""

_MOST_MEDICATION_SEARCHES = 8
"""Searches for drugs that prescriptions refer to; some two hundred of them."""

USER_KEY = "user"
"""The prefetch key of the user; asked for only where roles are told apart."""

_PLAIN = SearchForm()
_USER = re.compile(r"(Practitioner|PractitionerRole)/[A-Za-z0-9.-]{1,64}", re.ASCII)
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
OBSERVED: Mapping[str, tuple[str, ...]] = {
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
        "saddle-numbness",
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
        "cauda-equina",
        "infection-spinal",
        "infection-spinal-if-text-or-early",
        "infection-sign",
        "haematoma-spinal",
        "haematoma-other",
        "csf-leak",
        "tumour-spine",
        "bone-metastasis",
        "vertebral-fracture",
        "hardware-failure",
        "neurogenic-claudication",
        "sacroiliac-pain",
    ),
}
"""The value sets whose codes the two Observation searches name: all that are read of one."""
_OBSERVATION_SYSTEMS = frozenset({"LOINC", "LOCAL", "SNOMED-CT"})
_USER_TOKEN = "{{context.userId}}"  # noqa: S105 - a placeholder, not a secret


def templates(
    knowledge: Knowledge,
    optional_keys: Iterable[str] = (),
    *,
    code_map: CodeMap = NO_CODES,
    asks_user: bool = False,
) -> dict[str, str]:
    """Return the prefetch templates for discovery, always in the same order.

    They keep to the subset every EHR knows: a read, ``patient=``, ``code=`` and ``_count=``.
    The codes of *code_map* are asked for along with ours; with *asks_user* the user is too.
    """
    found = {Key.PATIENT: f"Patient/{_PATIENT_TOKEN}"}
    if asks_user:
        found[USER_KEY] = _USER_TOKEN
    for key in _wanted(optional_keys):
        codes = ",".join(
            quote(code, safe=":/|") for code in observation_codes(knowledge, key, code_map)
        )
        code_part = f"&code={codes}" if codes else ""
        kind = TYPES[key]
        count_part = f"&_count={_page_size(kind)}"
        found[key] = f"{kind}?patient={_PATIENT_TOKEN}{code_part}{count_part}"
    return found


class Searches:
    """What is asked of one client's FHIR server; made once, and then written for each patient."""

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        form: SearchForm = _PLAIN,
        code_map: CodeMap = NO_CODES,
        longest_url: int = LONGEST_URL,
    ) -> None:
        """Ask in *form*, for the codes of *code_map* too; no URL has more than *longest_url*."""
        self._form = form
        self._longest_url = longest_url
        self._codes = {
            key: tuple(
                quote(code, safe=":/") for code in observation_codes(knowledge, key, code_map)
            )
            for key in OBSERVED
        }

    def of(self, key: str, patient_id: str) -> tuple[str, ...]:
        """Return the URLs below the FHIR base that fetch *key*.

        Long code lists are split over several URLs; their results belong together.
        """
        kind = TYPES[key]
        patient = quote(patient_id, safe="")
        if key == Key.PATIENT:
            return (f"{kind}/{patient}",)
        start = f"{kind}?patient={patient}"
        end = "" if kind in self._form.types_without_count else f"&_count={_page_size(kind)}"
        if kind == "MedicationRequest" and self._form.includes_medications:
            end += "&_include=MedicationRequest:medication"
        codes = self._codes.get(key)
        room = self._longest_url - len(start) - len(end)
        parts = _listed("&code=", codes, room) if codes else ("",)
        return tuple(f"{start}{part}{end}" for part in parts)

    def of_medications(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Return the URLs that fetch the Medications with these *ids*, as far as a few can."""
        start, end = "Medication", f"&_count={PAGE_SIZE}"
        room = self._longest_url - len(start) - len(end)
        parts = _listed("?_id=", tuple(ids), room)
        return tuple(f"{start}{part}{end}" for part in islice(parts, _MOST_MEDICATION_SEARCHES))


def user_read(user_id: str) -> tuple[str, ...]:
    """Return the URL that reads the user; none if the user is no clinician with an id we trust."""
    return (user_id,) if _USER.fullmatch(user_id) else ()


def observation_codes(
    knowledge: Knowledge, key: str, code_map: CodeMap = NO_CODES
) -> tuple[str, ...]:
    """Return the ``system|code`` tokens an Observation search names; empty for other keys."""
    tokens = {
        f"{SYSTEM_URIS[code.system]}|{code.code}"
        for name in OBSERVED.get(key, ())
        if name in knowledge.value_sets
        for code in knowledge.value_sets[name].codes
        if code.is_enabled and code.match is Match.EXACT and code.system in _OBSERVATION_SYSTEMS
    }
    wanted = frozenset(OBSERVED.get(key, ()))
    tokens |= {
        f"{system}|{code}"
        for (system, code), concepts in code_map.concepts.items()
        if wanted & frozenset(concepts)
    }
    return tuple(sorted(tokens))


def _page_size(kind: str) -> int:
    return _SMALLER_PAGES.get(kind, PAGE_SIZE)


def _wanted(optional_keys: Iterable[str]) -> tuple[str, ...]:
    wanted = frozenset(optional_keys)
    optional = (key for key in Key.OPTIONAL if key in wanted)
    return (*(key for key in Key.DEFAULT if key != Key.PATIENT), *optional)


def _listed(name: str, values: Iterable[str], longest: int) -> Iterator[str]:
    """Yield *name* with a list of *values*, no longer than *longest*, each with at least one."""
    batch: list[str] = []
    length = 0
    for value in values:
        if batch and length + len(value) + 1 > longest - len(name):
            yield f"{name}{','.join(batch)}"
            batch, length = [], 0
        batch.append(value)
        length += len(value) + 1
    if batch:
        yield f"{name}{','.join(batch)}"
