"""The chart as the clinical core sees it: small frozen facts, each with its reference.

Built by ``cds_service.fhir.reading``; no FHIR JSON gets past it.  ``concepts`` are ids of our value
sets (``cards/value-sets/ID.yaml``) whose conditions (lumbar site, leg site) the entry fulfils.
Entered-in-error entries, other patients' entries and future-dated entries are not here; they are
counted in ``Chart.set_aside``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum

from msgspec import Struct

from cds_service.chart.supply import State, Supply
from cds_service.values import FhirDate, Side, lazy

_DENIALS = frozenset({"answer-no", "answer-absent", "answer-normal"})


class Site(Enum):
    """Where a pain score belongs; ``ANY`` when the chart names no site."""

    LEG = "leg"
    BACK = "back"
    ANY = "any"


class MrStatus(Enum):
    """What the chart says of an implant in the MR scanner."""

    SAFE = "safe"
    CONDITIONAL = "conditional"
    UNSAFE = "unsafe"
    UNKNOWN = "unknown"


class PatientFact(Struct, frozen=True, kw_only=True):
    """The patient in context; deceased for a true deceasedBoolean or any deceasedDateTime."""

    reference: str
    birth: FhirDate | None
    gender: str | None
    is_deceased: bool = False


class ProcedureFact(Struct, frozen=True, kw_only=True):
    """A completed procedure.

    ``levels`` are normalised disc levels ("L4-L5"); ``is_inpatient`` is None when the encounter
    class is not known; ``reason_references`` are relative ("Condition/1"); ``other_day`` is the
    first day of a course of therapy.
    """

    reference: str
    concepts: frozenset[str]
    performed: FhirDate | None
    levels: frozenset[str] = frozenset()
    side: Side | None = None
    reason_references: tuple[str, ...] = ()
    reason_concepts: frozenset[str] = frozenset()
    reason_levels: frozenset[str] = frozenset()
    reason_side: Side | None = None
    is_inpatient: bool | None = None
    other_day: FhirDate | None = None


class ConditionFact(Struct, frozen=True, kw_only=True):
    """A condition that is neither refuted nor entered in error.

    ``when`` is the first of onset, recorded and last-updated day that the entry states; None when
    it states none.  ``names_spine`` is true if its text, body site or reason names the spine.
    Only codes or text that name a level fill ``levels``.
    ``display`` is what ``cards/`` calls its code, never words of the chart.
    """

    reference: str
    concepts: frozenset[str]
    is_active: bool
    onset: FhirDate | None
    recorded: FhirDate | None
    when: FhirDate | None
    side: Side | None = None
    levels: frozenset[str] = frozenset()
    names_spine: bool = False
    display: str | None = None


class ObservationFact(Struct, frozen=True, kw_only=True):
    """A final, amended or corrected measurement or finding.

    Units:
        ``value`` is in the canonical unit of its concept: pain 0-10, ODI 0-100 points, CRP mg/L,
        ESR mm/h, WBC 10*9/L, temperature degrees Celsius, eGFR mL/min/1.73m2, residual urine mL,
        questionnaire points, motor grade 0-5.  ``converted_from`` names the original when it was
        converted exactly.
    ``choice`` holds the concepts of a coded answer (``answer-reduced``, ``smoker``); a boolean true
    is ``answer-present``, false ``answer-absent``.
    """

    reference: str
    concepts: frozenset[str]
    effective: FhirDate | None
    value: Decimal | None = None
    converted_from: str | None = None
    choice: frozenset[str] = frozenset()
    site: Site | None = None
    side: Side | None = None
    muscle: str | None = None

    @property
    def is_denial(self) -> bool:
        """Whether the answer says that a finding which is there or not is not there."""
        return not self.choice.isdisjoint(_DENIALS)


class OrderFact(Struct, frozen=True, kw_only=True):
    """A ServiceRequest with status active, on-hold or draft.

    ``authored`` is authoredOn and nothing else; without it the order counts for nothing.
    ``is_urgent``: its priority is more than routine.
    """

    reference: str
    concepts: frozenset[str]
    status: str
    authored: FhirDate | None
    is_urgent: bool = False


class ReportFact(Struct, frozen=True, kw_only=True):
    """A DiagnosticReport or ImagingStudy.

    ``is_final``: the report is final, amended or corrected (an ImagingStudy counts as final only
    with such a report).  Not final means ordered, not done.
    ``conclusions`` are concepts of conclusionCode.
    """

    reference: str
    concepts: frozenset[str]
    effective: FhirDate | None
    is_final: bool
    conclusions: frozenset[str] = frozenset()


class DrugFact(Struct, frozen=True, kw_only=True):
    """A MedicationRequest with intent order, or a MedicationStatement.

    Any status but draft, cancelled, not-taken and entered-in-error.

    ``started`` is authoredOn (statements: effective start); ``ended`` the end of a stated validity,
    effective or supply period, or of the last dose.  ``mme_per_day`` is None when it cannot be
    computed; ``is_daily_maximum`` says the dose was a range or as needed, ``is_repeated`` that
    another active fact of the same drug gives the dose.
    """

    reference: str
    concepts: frozenset[str]
    status: str
    started: FhirDate | None
    ended: FhirDate | None = None
    mme_per_day: Decimal | None = None
    is_daily_maximum: bool = False
    is_repeated: bool = False


class DeviceFact(Struct, frozen=True, kw_only=True):
    """An implant."""

    reference: str
    concepts: frozenset[str]
    mr_status: MrStatus


class EncounterFact(Struct, frozen=True, kw_only=True):
    """A visit.  ``concepts`` from type and service type; ``is_inpatient`` from the class code.

    ``other_day`` is the last day of a series of therapy visits, today if it goes on.
    """

    reference: str
    concepts: frozenset[str]
    started: FhirDate | None
    is_inpatient: bool | None
    other_day: FhirDate | None = None


class AllergyFact(Struct, frozen=True, kw_only=True):
    """An active allergy."""

    reference: str
    concepts: frozenset[str]


class SetAside(Struct, frozen=True, kw_only=True):
    """An entry that was not used: which key, why in our own words, and its reference if any.

    ``concepts`` say what an observation that was found would have told.
    """

    key: str
    reason: str
    reference: str | None = None
    concepts: frozenset[str] = frozenset()


_NOT_ASKED = Supply(state=State.NOT_ASKED)


class Chart(Struct, frozen=True, kw_only=True, dict=True):
    """Everything the core may know about one patient."""

    patient: PatientFact
    procedures: tuple[ProcedureFact, ...] = ()
    conditions: tuple[ConditionFact, ...] = ()
    observations: tuple[ObservationFact, ...] = ()
    orders: tuple[OrderFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    drugs: tuple[DrugFact, ...] = ()
    devices: tuple[DeviceFact, ...] = ()
    explants: tuple[DeviceFact, ...] = ()
    """Devices no longer in use."""
    encounters: tuple[EncounterFact, ...] = ()
    allergies: tuple[AllergyFact, ...] = ()
    unidentified_drugs: int = 0
    """Active prescriptions whose drug neither an RxNorm code nor a name that may count names."""
    unidentified_courses: tuple[DrugFact, ...] = ()
    """These, and such that are over or on hold."""
    supply: Mapping[str, Supply] = {}
    set_aside: tuple[SetAside, ...] = ()
    unmapped: tuple[str, ...] = ()
    """Codes of read entries that no value set knows, as "system|code"; for the site's analysts."""

    def supply_of(self, key: str) -> Supply:
        """Return the supply of *key*; a key nobody asked for is *not asked*."""
        return self.supply.get(key, _NOT_ASKED)

    @lazy
    def observed(self) -> Mapping[str, Sequence[ObservationFact]]:
        """Return the observations of each concept, in the order of ``observations``."""
        by_concept: dict[str, list[ObservationFact]] = {}
        for observation in self.observations:
            for concept in observation.concepts:
                by_concept.setdefault(concept, []).append(observation)
        return by_concept

    @lazy
    def failed_keys(self) -> frozenset[str]:
        """Return the keys that were asked for and could not be had, wholly or in part."""
        return frozenset(key for key, supply in self.supply.items() if supply.has_failed)
