"""A patient Bundle in a file as the answers of an EHR, for the command line."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.errors import RequestError
from cds_service.fhir.answers import KeyAnswer
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


class _Kind(msgspec.Struct, rename="camel"):
    resource_type: str = ""
    id: str = ""


class _Entry(msgspec.Struct, rename="camel"):
    full_url: str | None = None
    resource: msgspec.Raw = msgspec.Raw()


class _Bundle(msgspec.Struct, rename="camel"):
    resource_type: str = ""
    entry: list[_Entry] = []


class BundleFile:
    """The resources of one Bundle, by kind."""

    def __init__(self, content: bytes) -> None:
        """Read *content*.

        Raises:
            RequestError: It is not a FHIR Bundle in JSON.
        """
        self._resources: dict[str, list[bytes]] = {}
        self._full_urls: dict[str, str] = {}
        self.patient_ids: list[str] = []
        for entry in _decoded(content).entry:
            if bytes(entry.resource):
                self._take(entry.full_url, bytes(entry.resource))

    def _take(self, full_url: str | None, resource: bytes) -> None:
        try:
            kind = msgspec.json.decode(resource, type=_Kind)
        except msgspec.ValidationError:
            return
        self._resources.setdefault(kind.resource_type, []).append(resource)
        if full_url and kind.id:
            self._full_urls[full_url] = f"{kind.resource_type}/{kind.id}"
        if kind.resource_type == "Patient" and kind.id:
            self.patient_ids.append(kind.id)

    def answers(self, *, is_partial: bool) -> Mapping[str, KeyAnswer]:
        """Return an answer for every key.

        A kind of resource that is not in the file is known to be empty, because the file is the
        whole chart, unless *is_partial*.  All Observations stand under one of their two keys.
        """
        answers = {key: self._answer(kind, is_partial) for kind, key in _KEY_OF_TYPE.items()}
        are_observations_known = not is_partial or "Observation" in self._resources
        answers[Key.FINDINGS] = (
            KeyAnswer.known_empty()
            if are_observations_known
            else KeyAnswer.not_supplied(_NOT_IN_FILE)
        )
        for key in (Key.MEDICATION_REQUESTS, Key.MEDICATION_STATEMENTS):
            drugs = answers[key]
            if drugs.resources:  # what they refer to comes along, as an _include would
                medications = tuple(self._resources.get("Medication", ()))
                answers[key] = replace(drugs, resources=(*drugs.resources, *medications))
        return answers

    def _answer(self, kind: str, is_partial: bool) -> KeyAnswer:  # noqa: FBT001 - private
        resources = self._resources.get(kind)
        if resources:
            return KeyAnswer(
                supply=Supply(state=State.SUPPLIED),
                resources=tuple(resources),
                full_urls=self._full_urls,
            )
        return KeyAnswer.not_supplied(_NOT_IN_FILE) if is_partial else KeyAnswer.known_empty()


def _decoded(content: bytes) -> _Bundle:
    try:
        bundle = msgspec.json.decode(with_whole_characters(content), type=_Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError(
            "The file is not JSON of a FHIR Bundle. Give a Bundle with the patient's resources, "
            "for example the answer of Patient/ID/$everything."
        ) from None
    if bundle.resource_type != "Bundle":
        raise RequestError(
            "The file holds a FHIR resource that is not a Bundle. Give a Bundle with the "
            "patient's resources, for example the answer of Patient/ID/$everything."
        )
    return bundle
