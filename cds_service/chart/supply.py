"""How much of each part of the chart was supplied; missing data is never read as "none"."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Key:
    """The parts of a chart, named as the prefetch keys are."""

    PATIENT = "patient"
    PROCEDURES = "procedures"
    CONDITIONS = "conditions"
    SERVICE_REQUESTS = "serviceRequests"
    MEDICATION_REQUESTS = "medicationRequests"
    DIAGNOSTIC_REPORTS = "diagnosticReports"
    DEVICES = "devices"
    SCORES = "scores"
    """Observations patients or questionnaires give: pain, ODI, screens, smoking, pregnancy."""
    FINDINGS = "findings"
    """Observations of examination, laboratory and vital signs."""
    ENCOUNTERS = "encounters"
    IMAGING_STUDIES = "imagingStudies"
    MEDICATION_STATEMENTS = "medicationStatements"
    ALLERGIES = "allergies"

    REQUIRED = (PATIENT, PROCEDURES)
    DEFAULT = (
        PATIENT,
        PROCEDURES,
        CONDITIONS,
        SERVICE_REQUESTS,
        MEDICATION_REQUESTS,
        DIAGNOSTIC_REPORTS,
        DEVICES,
        SCORES,
        FINDINGS,
    )
    OPTIONAL = (ENCOUNTERS, IMAGING_STUDIES, MEDICATION_STATEMENTS, ALLERGIES)
    ALL = DEFAULT + OPTIONAL


class State(Enum):
    """What is known about one key."""

    SUPPLIED = "supplied"
    EMPTY = "known empty"
    PARTIAL = "supplied in part"
    NOT_SUPPLIED = "not supplied"
    NOT_ASKED = "not asked"
    """An optional key this site does not use; it makes nothing unknown."""


_COMPLETE = (State.SUPPLIED, State.EMPTY, State.NOT_ASKED)
_FAILED = (State.PARTIAL, State.NOT_SUPPLIED)


class Supply(Struct, frozen=True, kw_only=True):
    """The state of one key, and why when it is not complete.

    ``reason`` is a short fixed phrase of ours ("the FHIR server did not answer in time"), never
    text from the chart or the server.
    """

    state: State
    reason: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether absence in this key means "none"."""
        return self.state in _COMPLETE

    @property
    def has_failed(self) -> bool:
        """Whether something that was asked for could not be had, wholly or in part."""
        return self.state in _FAILED
