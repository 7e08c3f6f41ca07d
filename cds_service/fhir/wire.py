"""The FHIR fields this service reads, as typed structs; anything else in a resource is skipped.

``cds_service.fhir.decoding`` fills them, tolerantly.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import Raw, Struct


class Base(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What every struct of this module shares."""


class Coding(Base, frozen=True, kw_only=True):
    """One code of one system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None
    extension: tuple[Qualifier, ...] = ()


class Qualifier(Base, frozen=True, kw_only=True):
    """An extension of an idea or a code by another one: the side of a body site, say."""

    url: str | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_coding: Coding | None = None


class CodeableConcept(Base, frozen=True, kw_only=True):
    """Several codings of one idea; ``concept`` is filled by R5's CodeableReference."""

    coding: tuple[Coding, ...] = ()
    text: str | None = None
    concept: CodeableConcept | None = None
    extension: tuple[Qualifier, ...] = ()


class Reference(Base, frozen=True, kw_only=True):
    """A link to another resource."""

    reference: str | None = None


class CodeableReference(Base, frozen=True, kw_only=True):
    """R5: an idea or a link to it."""

    concept: CodeableConcept | None = None
    reference: Reference | None = None


class Period(Base, frozen=True, kw_only=True):
    """A span of time."""

    start: str | None = None
    end: str | None = None


class Quantity(Base, frozen=True, kw_only=True):
    """A number with its unit; ``comparator`` says that the true one is below or above it."""

    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    code: str | None = None


class Amount(Quantity, frozen=True, kw_only=True):
    """A number whose unit may have a code of any list; ``system`` says of which."""

    system: str | None = None


class Ratio(Base, frozen=True, kw_only=True):
    """So much in so long."""

    numerator: Amount | None = None
    denominator: Quantity | None = None


class Range(Base, frozen=True, kw_only=True):
    """Two limits."""

    low: Amount | None = None
    high: Amount | None = None


class Meta(Base, frozen=True, kw_only=True):
    """What the server says of its copy."""

    version_id: str | None = None
    last_updated: str | None = None


class Head(Base, frozen=True, kw_only=True):
    """What must be known of any resource before it is read further.

    Patients and codes repeat in a large chart: they stay as they were written, so that each text
    is read once.
    """

    resource_type: str | None = None
    id: str | None = None
    status: str | None = None
    subject: Raw = Raw()
    patient: Raw = Raw()
    focus: tuple[Reference, ...] = ()
    code: Raw = Raw()
    component: Raw = Raw()
    modifier_extension: tuple[Raw, ...] = ()


class Copy(Base, frozen=True, kw_only=True):
    """What tells copies of one resource apart."""

    meta: Meta | None = None


class PatientLink(Base, frozen=True, kw_only=True):
    """Another record of the same person, and what it is to this one."""

    type: str | None = None


class Patient(Base, frozen=True, kw_only=True):
    """The fields read of a Patient."""

    id: str | None = None
    meta: Meta | None = None
    birth_date: str | None = None
    gender: str | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    link: tuple[PatientLink, ...] = ()

    @property
    def is_deceased(self) -> bool:
        """Whether the patient has died."""
        return self.deceased_boolean is True or bool(self.deceased_date_time)


class Procedure(Base, frozen=True, kw_only=True):
    """The fields read of a Procedure (R4 performed, R5 occurrence)."""

    code: CodeableConcept | None = None
    performed_date_time: str | None = None
    performed_period: Period | None = None
    occurrence_date_time: str | None = None
    occurrence_period: Period | None = None
    body_site: tuple[CodeableConcept, ...] = ()
    reason_code: tuple[CodeableConcept, ...] = ()
    reason_reference: tuple[Reference, ...] = ()
    reason: tuple[CodeableReference, ...] = ()
    encounter: Reference | None = None
    contained: tuple[Raw, ...] = ()


class Condition(Base, frozen=True, kw_only=True):
    """The fields read of a Condition."""

    resource_type: str | None = None
    id: str | None = None
    subject: Reference | None = None
    meta: Meta | None = None
    clinical_status: CodeableConcept | None = None
    verification_status: CodeableConcept | None = None
    code: CodeableConcept | None = None
    body_site: tuple[CodeableConcept, ...] = ()
    onset_date_time: str | None = None
    onset_period: Period | None = None
    onset_age: Quantity | None = None
    recorded_date: str | None = None
    abatement_date_time: str | None = None
    abatement_period: Period | None = None
    abatement_age: Quantity | None = None
    abatement_range: Range | None = None
    abatement_string: str | None = None
    abatement_boolean: bool | None = None


class Valued(Base, frozen=True, kw_only=True):
    """The value forms read of an Observation or a component."""

    code: CodeableConcept | None = None
    value_quantity: Quantity | None = None
    value_integer: Decimal | None = None
    value_decimal: Decimal | None = None
    value_string: str | None = None
    value_boolean: bool | None = None
    value_codeable_concept: CodeableConcept | None = None
    data_absent_reason: CodeableConcept | None = None


class Component(Valued, frozen=True, kw_only=True):
    """One part of an Observation."""

    modifier_extension: tuple[Raw, ...] = ()


class Moments(Base, frozen=True, kw_only=True):
    """The moments a Timing lists."""

    event: tuple[str, ...] = ()


class Observation(Valued, frozen=True, kw_only=True):
    """The fields read of an Observation."""

    effective_date_time: str | None = None
    effective_instant: str | None = None
    effective_period: Period | None = None
    effective_timing: Moments | None = None
    issued: str | None = None
    body_site: CodeableConcept | None = None
    component: tuple[Component, ...] = ()


class ServiceRequest(Base, frozen=True, kw_only=True):
    """The fields read of a ServiceRequest."""

    intent: str | None = None
    priority: str | None = None
    do_not_perform: bool | None = None
    code: CodeableConcept | None = None
    authored_on: str | None = None
    body_site: tuple[CodeableConcept, ...] = ()
    reason_code: tuple[CodeableConcept, ...] = ()
    reason_reference: tuple[Reference, ...] = ()
    reason: tuple[CodeableReference, ...] = ()
    order_detail: tuple[CodeableConcept, ...] = ()


class DiagnosticReport(Base, frozen=True, kw_only=True):
    """The fields read of a DiagnosticReport."""

    code: CodeableConcept | None = None
    effective_date_time: str | None = None
    effective_period: Period | None = None
    issued: str | None = None
    conclusion_code: tuple[CodeableConcept, ...] = ()
    imaging_study: tuple[Reference, ...] = ()
    study: tuple[Reference, ...] = ()


class Series(Base, frozen=True, kw_only=True):
    """One series of an ImagingStudy (bodySite is a Coding in R4)."""

    body_site: Coding | None = None


class ImagingStudy(Base, frozen=True, kw_only=True):
    """The fields read of an ImagingStudy."""

    started: str | None = None
    procedure_code: tuple[CodeableConcept, ...] = ()
    procedure: tuple[CodeableReference, ...] = ()
    description: str | None = None
    series: tuple[Series, ...] = ()


class Repeat(Base, frozen=True, kw_only=True):
    """How often a dose is taken."""

    bounds_period: Period | None = None
    bounds_duration: Quantity | None = None
    bounds_range: Range | None = None
    frequency: Decimal | None = None
    frequency_max: Decimal | None = None
    period: Decimal | None = None
    period_max: Decimal | None = None
    period_unit: str | None = None
    when: tuple[str, ...] = ()
    time_of_day: tuple[str, ...] = ()


class Timing(Base, frozen=True, kw_only=True):
    """When a dose is taken."""

    repeat: Repeat | None = None
    code: CodeableConcept | None = None


class DoseAndRate(Base, frozen=True, kw_only=True):
    """How much is taken."""

    dose_quantity: Amount | None = None
    dose_range: Range | None = None
    rate_quantity: Amount | None = None


class Dosage(Base, frozen=True, kw_only=True):
    """One dosage instruction."""

    modifier_extension: tuple[Raw, ...] = ()
    sequence: Decimal | None = None
    timing: Timing | None = None
    route: CodeableConcept | None = None
    as_needed_boolean: bool | None = None
    as_needed_codeable_concept: CodeableConcept | None = None
    as_needed: bool | None = None
    as_needed_for: tuple[CodeableConcept, ...] = ()
    dose_and_rate: tuple[DoseAndRate, ...] = ()
    max_dose_per_period: Ratio | None = None


class DispenseRequest(Base, frozen=True, kw_only=True):
    """What may be dispensed."""

    validity_period: Period | None = None
    number_of_repeats_allowed: Decimal | None = None
    expected_supply_duration: Quantity | None = None


class Drug(Base, frozen=True, kw_only=True):
    """The fields read of a MedicationRequest or a MedicationStatement."""

    intent: str | None = None
    do_not_perform: bool | None = None
    medication_codeable_concept: CodeableConcept | None = None
    medication_reference: Reference | None = None
    medication: CodeableReference | None = None
    authored_on: str | None = None
    effective_date_time: str | None = None
    effective_period: Period | None = None
    dosage_instruction: tuple[Dosage, ...] = ()
    dosage: tuple[Dosage, ...] = ()
    dispense_request: DispenseRequest | None = None
    based_on: tuple[Reference, ...] = ()
    derived_from: tuple[Reference, ...] = ()
    prior_prescription: Reference | None = None
    reported_boolean: bool | None = None
    reported_reference: Reference | None = None
    reported: bool | None = None
    contained: tuple[Raw, ...] = ()


class Ingredient(Base, frozen=True, kw_only=True):
    """One ingredient of a Medication."""

    item_codeable_concept: CodeableConcept | None = None
    item: CodeableReference | None = None


class Medication(Base, frozen=True, kw_only=True):
    """The fields read of a Medication."""

    resource_type: str | None = None
    id: str | None = None
    meta: Meta | None = None
    code: CodeableConcept | None = None
    ingredient: tuple[Ingredient, ...] = ()


class DeviceName(Base, frozen=True, kw_only=True):
    """A name of a Device."""

    name: str | None = None


class Device(Base, frozen=True, kw_only=True):
    """The fields read of a Device."""

    type: tuple[CodeableConcept, ...] = ()
    device_name: tuple[DeviceName, ...] = ()
    safety: tuple[CodeableConcept, ...] = ()


class VisitClass(Base, frozen=True, kw_only=True):
    """The kind of a visit: the code itself in R4, a concept with codings in R5."""

    code: str | None = None
    coding: tuple[Coding, ...] = ()


class Encounter(Base, frozen=True, kw_only=True):
    """The fields read of an Encounter (``class`` is one Coding in R4, a list of concepts in R5)."""

    class_: VisitClass | None = msgspec.field(name="class", default=None)
    type: tuple[CodeableConcept, ...] = ()
    service_type: CodeableConcept | None = None
    period: Period | None = None
    actual_period: Period | None = None


class Reaction(Base, frozen=True, kw_only=True):
    """One reaction of an AllergyIntolerance."""

    substance: CodeableConcept | None = None


class Allergy(Base, frozen=True, kw_only=True):
    """The fields read of an AllergyIntolerance."""

    clinical_status: CodeableConcept | None = None
    verification_status: CodeableConcept | None = None
    code: CodeableConcept | None = None
    reaction: tuple[Reaction, ...] = ()
