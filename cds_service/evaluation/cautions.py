"""What in this patient speaks against a scanner, contrast, x-rays or an intervention?"""

from __future__ import annotations

from datetime import date

from msgspec import Struct

from cds_service.chart.facts import Chart, MrStatus, ProcedureFact
from cds_service.chart.supply import Key
from cds_service.evaluation.age import is_aged
from cds_service.evaluation.answers import Answer, found
from cds_service.evaluation.care import Care
from cds_service.evaluation.limits import Limits
from cds_service.evaluation.measures import Measures
from cds_service.evaluation.signs import Sign, Signs
from cds_service.values import FhirDate, lazy

IMPLANTS = (
    "implant-pacemaker",
    "implant-defibrillator",
    "implant-neurostimulator",
    "implant-clip",
    "implant-pump",
)
"""Those that hold back an MRI unless the chart says that they may be scanned."""
_OTHER_IMPLANTS = ("implant-cochlear", "implant-heart-assist", "implant-shunt")
"""Those that hold it back only where documented unsafe; else the scanner's staff must know."""
_KINDS = (*IMPLANTS, *_OTHER_IMPLANTS)
_IMPLANTS = frozenset(IMPLANTS)
_KNOWN = frozenset(_KINDS)
_UNPOWERED = frozenset({"implant-clip", "implant-shunt"})
_REMOVALS = {"implant-neurostimulator": "scs-removal", "implant-pump": "pump-removal"}
_PREGNANT = frozenset({"pregnancy", "answer-present"})
_UNKNOWN = Answer(None)
"""Cannot tell, although every part of the chart was read."""
_TOLD = _PREGNANT | {"not-pregnant", "answer-no", "answer-absent"}


class Implant(Struct, frozen=True, kw_only=True):
    """An implant on record; ``kind`` is a value set id, or "implant" where nobody knows it.

    ``performed`` is the day of the operation that placed or checked it, if only that tells of it.
    """

    kind: str
    mr_status: MrStatus
    reference: str
    performed: FhirDate | None = None

    @property
    def holds_back_mri(self) -> bool:
        """Whether it is unsafe in the scanner, or may be for all that is known of it."""
        if self.mr_status is MrStatus.UNKNOWN:
            return self.kind in _IMPLANTS
        return self.mr_status is MrStatus.UNSAFE


class Cautions(Struct, frozen=True, dict=True):
    """Cautions of one patient."""

    chart: Chart
    limits: Limits
    signs: Signs
    measures: Measures
    care: Care

    @lazy
    def implants(self) -> tuple[Implant, ...]:
        """Return the implants documented unsafe in the scanner or of unknown status."""
        return tuple([i for i in self.implants_on_record if i.holds_back_mri])

    @lazy
    def implants_on_record(self) -> tuple[Implant, ...]:
        """Return every implant whatever its MR status, the unsafe ones first."""
        implants = [
            Implant(kind=_kind(d.concepts), mr_status=d.mr_status, reference=d.reference)
            for d in self.chart.devices
            if d.mr_status is MrStatus.UNSAFE or d.concepts & _KNOWN
        ]
        described = {kind for device in self.chart.devices for kind in device.concepts}
        coded = [(s.concept, s.reference, None) for s in self.signs.conditions(*_KINDS)]
        operated = [
            (kind, procedure.reference, procedure.performed)
            for procedure in self.chart.procedures
            for kind in sorted(procedure.concepts & _IMPLANTS)
            if not self._is_removed(kind, procedure)
        ]
        implants += [
            Implant(kind=kind, mr_status=MrStatus.UNKNOWN, reference=reference, performed=day)
            for kind, reference, day in (*coded, *operated)
            if kind not in described
        ]
        return tuple(sorted(implants, key=_naming_order))

    def _is_removed(self, kind: str, implanted: ProcedureFact) -> bool:
        """Return whether it was taken out after the day of *implanted*, not merely exchanged.

        Leads of pacemakers and defibrillators stay when a generator is removed.
        """
        removed = self._last_removals.get(_REMOVALS.get(kind, ""))
        return (
            removed is not None
            and implanted.performed is not None
            and removed > implanted.performed.latest
        )

    @lazy
    def _last_removals(self) -> dict[str, date]:
        """Return the last day of each kind of removal."""
        last: dict[str, date] = {}
        for procedure in self.chart.procedures:
            if procedure.performed is not None:
                for removal in procedure.concepts.intersection(_REMOVALS.values()):
                    last[removal] = max(procedure.performed.earliest, last.get(removal, date.min))
        return last

    @lazy
    def powered_implants(self) -> tuple[str, ...]:
        """Return the kinds of implants that stimulation may disturb: those with a current."""
        kinds = [i.kind for i in self.implants_on_record if i.kind not in _UNPOWERED]
        return tuple(dict.fromkeys(kinds))

    @lazy
    def is_mri_unsafe(self) -> Answer:
        """Return whether an implant is unsafe in the scanner or its status is unknown."""
        unread = self.chart.failed_keys.intersection((Key.DEVICES, Key.PROCEDURES))
        return found(bool(self.implants), unread)

    @lazy
    def is_documented_unsafe(self) -> bool:
        """Whether an implant is documented MR unsafe (not merely of unknown status)."""
        return any(implant.mr_status is MrStatus.UNSAFE for implant in self.implants)

    @lazy
    def is_pregnant(self) -> bool:
        """Whether a pregnancy is on record for a woman of child-bearing age.

        Time:
            A diagnosis counts for as long as a status does: problem lists keep it for years.
        """
        if not self._may_be_pregnant:
            return False
        diagnoses = self.signs.conditions("pregnancy")
        return self._is_told_pregnant is True or any(map(self._is_of_today, diagnoses))

    def _is_of_today(self, pregnancy: Sign) -> bool:
        ages = [pregnancy.age]
        if pregnancy.recorded_day is not None:
            ages.append(pregnancy.age + pregnancy.day - pregnancy.recorded_day)
        return any(self.limits.met("pregnancy-fresh", age) for age in ages)

    @lazy
    def is_pregnancy_unknown(self) -> bool:
        """Whether nothing current on pregnancy is on record for one who may be pregnant."""
        if not self._may_be_pregnant or self.is_pregnant:
            return False
        is_unread = self.chart.failed_keys.intersection((Key.SCORES, Key.CONDITIONS))
        return bool(is_unread) or self._is_told_pregnant is None

    @lazy
    def _may_be_pregnant(self) -> bool:
        return self.chart.patient.gender != "male" and not any(
            is_aged(self.chart, self.limits, threshold).is_no
            for threshold in ("pregnancy-age-first", "pregnancy-age-last")
        )

    @lazy
    def _is_told_pregnant(self) -> bool | None:
        """What the latest current status says, of one day the yes; None if it is not known.

        An answer that is neither yes nor no settles nothing.
        """
        statuses = [
            (status.effective.latest, not status.choice.isdisjoint(_PREGNANT))
            for status in self.chart.observed.get("pregnancy-status", ())
            if status.effective is not None and not status.choice.isdisjoint(_TOLD)
        ]
        if not statuses:
            return None
        on, is_pregnant = max(statuses)
        is_current = self.limits.met("pregnancy-fresh", (self.limits.as_of - on).days)
        return is_pregnant if is_current else None

    @lazy
    def has_low_egfr(self) -> bool:
        """Whether the latest eGFR on record is low; a missing one changes nothing."""
        latest = self.measures.latest("egfr")
        return latest is not None and self.limits.met("egfr-low", latest.value)

    @lazy
    def is_on_dialysis(self) -> bool:
        """Whether dialysis or severe renal failure is coded."""
        return bool(self.signs.conditions("dialysis", "severe-renal-failure"))

    @lazy
    def has_gadolinium_allergy(self) -> bool:
        """Whether an allergy to gadolinium is on record."""
        allergic = any("gadolinium-allergy" in a.concepts for a in self.chart.allergies)
        return allergic or bool(self.signs.conditions("gadolinium-allergy"))

    @lazy
    def forbids_contrast(self) -> bool:
        """Whether no examination with contrast is offered at all."""
        return self.is_pregnant or self.has_gadolinium_allergy

    @lazy
    def is_contrast_caution(self) -> bool:
        """Whether MRI without contrast is the recommended choice."""
        return self.forbids_contrast or self.has_low_egfr or self.is_on_dialysis

    @lazy
    def is_anticoagulated(self) -> Answer:
        """Return whether an anticoagulant is taken.

        Missing data:
            A prescription that could not be identified may be one: cannot tell.
        """
        known = self.care.is_taken("anticoagulant") | self.signs.has("anticoagulant-flag")
        return known | _UNKNOWN if self.chart.unidentified_drugs else known

    @lazy
    def takes_antiplatelet(self) -> Answer:
        """Return whether a drug against platelets is taken."""
        return self.care.is_taken("antiplatelet") | self.signs.has("antiplatelet-flag")

    @lazy
    def has_coagulopathy(self) -> Answer:
        """Return whether a disorder of coagulation or platelets is coded."""
        return self.signs.has("coagulopathy", "thrombocytopenia")

    @lazy
    def is_bleeding_risk(self) -> Answer:
        """Return whether anticoagulation or a coagulation disorder is on record."""
        return self.is_anticoagulated | self.has_coagulopathy


def _naming_order(implant: Implant) -> tuple[bool, bool, str, str]:
    """Put unsafe implants first, and those of a known kind before the others."""
    is_safer, is_of_unknown_kind = (
        implant.mr_status is not MrStatus.UNSAFE,
        implant.kind == "implant",
    )
    return is_safer, is_of_unknown_kind, implant.kind, implant.reference


def _kind(concepts: frozenset[str]) -> str:
    return next((kind for kind in _KINDS if kind in concepts), "implant")
