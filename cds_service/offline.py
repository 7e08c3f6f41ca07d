"""A patient Bundle in a file as the answers of an EHR, for the command line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping

from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.errors import RequestError
from cds_service.fhir import reasons
from cds_service.fhir.answers import Headed, KeyAnswer, RawResource
from cds_service.fhir.prefetch import Page, read_page
from cds_service.hooks.whole_characters import with_whole_characters

_KEY_OF_TYPE: Mapping[str, str] = {
    "Patient": Key.PATIENT,
    "Procedure": Key.PROCEDURES,
    "Condition": Key.CONDITIONS,
    "ServiceRequest": Key.SERVICE_REQUESTS,
    "MedicationRequest": Key.MEDICATION_REQUESTS,
    "DiagnosticReport": Key.DIAGNOSTIC_REPORTS,
    "Device": Key.DEVICES,
    "Observation": Key.SCORES,
    "Encounter": Key.ENCOUNTERS,
    "ImagingStudy": Key.IMAGING_STUDIES,
    "MedicationStatement": Key.MEDICATION_STATEMENTS,
    "AllergyIntolerance": Key.ALLERGIES,
}
_NOT_IN_FILE = "the file does not hold this part of the chart"


class BundleFile:
    """The resources of one Bundle, by kind."""

    def __init__(self, content: bytes) -> None:
        """Read *content*.

        Raises:
            RequestError: It is not a FHIR Bundle in JSON.
        """
        page = _page_of(content)
        found = [each for each in page.resources if isinstance(each, Headed)]
        self._resources: dict[str, list[RawResource]] = {}
        self._full_urls = page.full_urls
        self._gap = reasons.MORE_PAGES if page.next_url is not None else page.problem
        self.patient_ids: list[str] = []
        for each in found:
            kind = None if each.head is None else each.head.resource_type
            if each.head is None or kind is None:
                self._gap = self._gap or reasons.UNREADABLE_ENTRY
                continue
            self._resources.setdefault(kind, []).append(each.raw)
            if kind == "Patient" and each.head.id:
                self.patient_ids.append(each.head.id)

    def answers(self, *, is_partial: bool) -> Mapping[str, KeyAnswer]:
        """Return an answer for every key.

        A kind of resource that is not in the file is known to be empty, because the file is the
        whole chart, unless *is_partial*.  All Observations stand under one of their two keys.

        Missing data:
            A file that says that it is not all (a next page, an error of the server, an entry that
            nobody can read) holds every part of the chart but the patient in part only.
        """
        absent = self._gap or (_NOT_IN_FILE if is_partial else None)
        answers = {key: self._answer(kind, absent) for kind, key in _KEY_OF_TYPE.items()}
        answers[Key.PATIENT] = replace(answers[Key.PATIENT], supply=Supply(state=State.SUPPLIED))
        scores = answers[Key.SCORES].supply
        answers[Key.FINDINGS] = (
            KeyAnswer.known_empty() if scores.state is State.SUPPLIED else KeyAnswer(supply=scores)
        )
        for key in (Key.MEDICATION_REQUESTS, Key.MEDICATION_STATEMENTS):
            drugs = answers[key]
            if drugs.resources:  # what they refer to comes along, as an _include would
                medications = tuple(self._resources.get("Medication", ()))
                answers[key] = replace(drugs, resources=(*drugs.resources, *medications))
        return answers

    def _answer(self, kind: str, absent: str | None) -> KeyAnswer:
        """Return the answer for one *kind*; *absent* is why one not in the file is unknown."""
        resources = tuple(self._resources.get(kind, ()))
        if not resources:
            return KeyAnswer.known_empty() if absent is None else KeyAnswer.not_supplied(absent)
        supply = Supply(state=State.PARTIAL if self._gap else State.SUPPLIED, reason=self._gap)
        return KeyAnswer(supply=supply, resources=resources, full_urls=self._full_urls)


def _page_of(content: bytes) -> Page:
    try:
        page = read_page(Key.PROCEDURES, with_whole_characters(content.removeprefix(BOM_UTF8)))
    except (UnicodeDecodeError, RecursionError):
        page = Page(problem=reasons.NOT_FHIR_JSON)
    if page.problem == reasons.NOT_FHIR_JSON:
        raise RequestError(
            "The file is not JSON of a FHIR Bundle. Give a Bundle with the patient's resources, "
            "for example the answer of Patient/ID/$everything."
        )
    if page.is_outcome or page.problem == reasons.SINGLE_RESOURCE:
        raise RequestError(
            "The file holds a FHIR resource that is not a Bundle. Give a Bundle with the "
            "patient's resources, for example the answer of Patient/ID/$everything."
        )
    return page
