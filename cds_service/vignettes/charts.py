"""A vignette's short form to the FHIR R4 resources of a chart, grouped by prefetch key.

Deterministic: the *seed* alone decides which codes and which of the usual shapes (dates or times in
some time zone, onset or recorded day, report or procedure, unit) stand for the clinician's words.
"""

from __future__ import annotations

import calendar
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeVar

from cds_service.chart.supply import Key
from cds_service.vignettes import concepts
from cds_service.vignettes.concepts import LOCAL, LOINC, SNOMED, Coded

BASE = "https://fhir.hospital.example/r4"
PATIENT_ID, FAMILY_NAME = "zqcanid-1", "zqcanfamily"
"""Words that stand nowhere else, so that whoever searches logs and state for them finds a leak."""
UNDATED = "undated"
_UCUM = "http://unitsofmeasure.org"
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_OFFSET_HOURS = (-12, -8, -5, 0, 2, 5, 12, 14)
_LEG = {"coding": [{"system": SNOMED, "code": "61685007"}]}
_LUMBAR = {"coding": [{"system": SNOMED, "code": "122496007"}]}

Facts = Mapping[str, Any]
Resource = dict[str, Any]
Chosen = TypeVar("Chosen")


def expand(facts: Facts, as_of: date, seed: int = 0) -> dict[str, list[Resource]]:
    """Return the resources of the chart that *facts* tell, for the evaluation day *as_of*."""
    writer = _Writer(facts, as_of, seed)
    writer.write()
    resources: dict[str, list[Resource]] = {key: [] for key in Key.DEFAULT}
    for key, resource in writer.written:
        resources[key].append(resource)
    for entries in resources.values():
        entries.sort(key=lambda resource: zlib.crc32(f"{seed}{resource['id']}".encode()))
    return resources


def _concept(*codes: Coded, text: str | None = None) -> Resource:
    concept: Resource = {"coding": [{"system": code.system, "code": code.code} for code in codes]}
    if text is not None:
        concept["text"] = text
    return concept


def _site(code: str) -> Resource:
    return {"coding": [{"system": SNOMED, "code": code}]}


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - whatever stands in a vignette
    return list(value) if isinstance(value, list) else [value]


class _Writer:
    """Writes one chart."""

    def __init__(self, facts: Facts, as_of: date, seed: int) -> None:
        self.facts = facts
        self.as_of = as_of
        self.now = int(facts["day"])
        self.seed = seed
        self.choices = 0
        self.written: list[tuple[str, Resource]] = []
        base = BASE + "/" if self.pick((True, False, False)) else ""
        self.base = base
        self.subject = {"reference": f"{base}Patient/{PATIENT_ID}"}

    def write(self) -> None:
        """Write everything the facts tell."""
        self._patient()
        self._index_operation()
        for name, value in self.facts.items():
            _SECTIONS.get(name, _ignore)(self, name, value)

    # Choices and days

    def pick(self, choices: Sequence[Chosen]) -> Chosen:
        """Return one of *choices*; the same seed always chooses the same."""
        self.choices += 1
        return choices[zlib.crc32(f"{self.seed}/{self.choices}".encode()) % len(choices)]

    def on(self, day: int) -> date:
        """Return the calendar day of *day* days since surgery."""
        return self.as_of + timedelta(days=day - self.now)

    def day_text(self, day: int) -> str:
        """Return *day* as a date."""
        return self.on(day).isoformat()

    def moment(self, day: int, order: int | None = None) -> str:
        """Return *day* as a date or as a time of that day; *order* puts times in sequence."""
        if order is None and self.pick((True, False)):
            return self.day_text(day)
        hour = self.pick(tuple(range(24))) if order is None else 1 + order
        on = self.on(day)
        moment = datetime(on.year, on.month, on.day, hour, self.pick((0, 17, 59)), tzinfo=UTC)
        offset = timezone(timedelta(hours=self.pick((0, 0, 0, *_OFFSET_HOURS))))
        return moment.astimezone(offset).isoformat().replace("+00:00", "Z")

    def put(self, key: str, resource: Resource) -> Resource:
        """Add *resource* to the chart and return it with its id."""
        resource["id"] = f"r{len(self.written) + 1}"
        self.written.append((key, resource))
        return resource

    # The patient and the operations

    def _patient(self) -> None:
        resource: Resource = {
            "resourceType": "Patient",
            "name": [{"family": FAMILY_NAME}],
            "gender": self.facts.get("sex", "female"),
        }
        age = self.facts.get("age", 50)
        if age != "not recorded":
            resource["birthDate"] = self._birth(int(age)).isoformat()
        if self.facts.get("deceased"):
            resource["deceasedBoolean"] = True
        self.put(Key.PATIENT, resource)
        resource["id"] = PATIENT_ID

    def _birth(self, age: int) -> date:
        """Return a birthday of someone aged *age*: today, one day off the next, or between."""
        year = self.as_of.year - age
        last = calendar.monthrange(year, self.as_of.month)[1]
        youngest = date(year, self.as_of.month, min(self.as_of.day, last))
        return youngest - timedelta(days=self.pick((0, 0, 100, 364)))

    def _index_operation(self) -> None:
        types = _listed(self.facts.get("operation", []))
        if not types:
            return
        operated = self.facts.get("operated", {})
        levels = _listed(operated.get("level", []))
        count = int(self.facts.get("levels operated", 1))
        if count > 1 and not levels:
            levels = ["L5-S1", "L4-L5", "L3-L4"][:count]
        reason = self._indication(self.facts.get("indication"))
        more: Resource = {"levels": levels, "side": operated.get("side"), "reason": reason}
        known = self.facts.get("operation date", "day")
        self._operation(0, types, known=known, **more)

    def _indication(self, indication: Facts | None) -> Resource | None:
        if indication is None:
            return None
        condition = self.condition(
            (Coded(concepts.ICD, "M51.26"), Coded(SNOMED, "202708005")),
            indication.get("day", -30),
            side=indication.get("side"),
            levels=_listed(indication.get("level", [])),
        )
        if indication.get("noted", "reason") == "problem list":
            return None
        return {"reference": f"{self.base}Condition/{condition['id']}"}

    def _operation(self, day: int, types: Sequence[str], known: str, **more: Any) -> None:  # noqa: ANN401 - parts of the shape
        named = frozenset(types)
        together = "decompression and discectomy"
        if named == {"decompression", "discectomy"} and self.pick((True, False)):
            parts = [together]
        else:
            parts = sorted(named)
        for position, part in enumerate(parts):
            code = self.pick(concepts.OPERATIONS[part])
            resource = self._procedure(code)
            resource.update(self._performed(day, known))
            sites = [_LUMBAR] if code.beside == "lumbar" else []
            if position == 0:
                sites += self._details(resource, **more)
            if sites:
                resource["bodySite"] = sites
            self.put(Key.PROCEDURES, resource)

    def _details(
        self,
        resource: Resource,
        levels: Sequence[str] = (),
        side: str | None = None,
        reason: Resource | None = None,
    ) -> list[Resource]:
        sites = [_site(concepts.LEVELS[level]) for level in levels]
        if side is not None:
            sites.append(_site(concepts.SIDES[side]))
        if reason is not None:
            resource["reasonReference"] = [reason]
        return sites

    def _performed(self, day: int, known: str) -> Resource:
        text = self.day_text(day)
        if known == "unknown":
            return {}
        if known != "day":
            return {"performedDateTime": text[:7] if known == "month" else text[:4]}
        return self.pick(
            (
                {"performedDateTime": self.moment(day)},
                {"performedPeriod": {"start": text, "end": self.moment(day)}},
                {"performedPeriod": {"start": self.moment(day)}},
            )
        )

    def _procedure(self, code: Coded) -> Resource:
        return {
            "resourceType": "Procedure",
            "status": "completed",
            "subject": self.subject,
            "code": _concept(code),
        }

    def other_operations(self, _: str, operations: Sequence[Facts]) -> None:
        """Write operations besides the index operation."""
        for operation in operations:
            known = operation.get("date", "day")
            self._operation(operation["day"], _listed(operation["operation"]), known=known)

    # Conditions

    def condition(
        self,
        codes: Sequence[Coded],
        day: int | str,
        *,
        side: str | None = None,
        levels: Sequence[str] = (),
        confirmed: int | None = None,
    ) -> Resource:
        """Write one active condition."""
        code = self.pick(codes)
        text = "infection of the lumbar spine" if code.beside == "spine" else None
        resource: Resource = {
            "resourceType": "Condition",
            "subject": self.subject,
            "code": _concept(code, text=text),
            **self._statuses(),
        }
        sites = [_LEG] if code.beside == "leg" else []
        sites += [_site(concepts.SIDES[side])] if side else []
        sites += [_site(concepts.LEVELS[level]) for level in levels]
        if sites:
            resource["bodySite"] = sites
        if day != UNDATED:
            resource.update(self._dated(int(day), confirmed))
        return self.put(Key.CONDITIONS, resource)

    def _statuses(self) -> Resource:
        statuses: Resource = {}
        clinical = self.pick(("active", "active", "recurrence", "relapse", None))
        verification = self.pick(("confirmed", "provisional", None))
        if clinical is not None:
            statuses["clinicalStatus"] = _concept(Coded(_CLINICAL, clinical))
        if verification is not None:
            statuses["verificationStatus"] = _concept(Coded(_VERIFICATION, verification))
        return statuses

    def _dated(self, day: int, confirmed: int | None) -> Resource:
        text = self.day_text(day)
        if confirmed is not None:
            return {"onsetDateTime": text, "recordedDate": self.day_text(confirmed)}
        return self.pick(
            (
                {"onsetDateTime": self.moment(day), "recordedDate": text},
                {"recordedDate": self.moment(day)},
                {"onsetPeriod": {"start": self.moment(day)}, "recordedDate": text},
            )
        )

    def findings(self, _: str, findings: Facts) -> None:
        """Write coded findings and examinations, each on one or several days."""
        for name, days in findings.items():
            for day in _listed(days):
                if name in concepts.EXAMINATIONS:
                    code, answers = concepts.EXAMINATIONS[name]
                    self._examination(code, day, self.pick(answers))
                else:
                    self.condition(concepts.CONDITIONS[name], day)

    def normal_findings(self, _: str, findings: Facts) -> None:
        """Write examinations that were normal."""
        for name, days in findings.items():
            for day in _listed(days):
                self._examination(concepts.EXAMINATIONS[name][0], day, "normal")

    def coded_weakness(self, _: str, entries: Iterable[Facts]) -> None:
        """Write weakness as conditions of the problem list."""
        for entry in entries:
            side = entry.get("side")
            codes = concepts.CODED_WEAKNESS[entry["what"]]
            if entry["what"] == "foot drop" and side != "both" and self.pick((True, False)):
                codes = (concepts.FOOT_DROP_BY_SIDE[side],)
                side = None
            self.condition(codes, entry["day"], side=side, confirmed=entry.get("confirmed"))

    # Observations

    def _observation(self, key: str, code: Coded, day: int, **more: Any) -> None:  # noqa: ANN401 - parts of the resource
        order = more.pop("order", None)
        resource: Resource = {
            "resourceType": "Observation",
            "status": self.pick(("final", "final", "amended", "corrected")),
            "subject": self.subject,
            "code": _concept(code),
            **more,
        }
        if order is None and self.pick((True, False, False, False, False, False)):
            text = self.day_text(day)
            resource["effectivePeriod"] = {"start": text, "end": text}
        else:
            resource["effectiveDateTime"] = self.moment(day, order)
        self.put(key, resource)

    def _examination(self, code: str, day: int, answer: str) -> None:
        value = _concept(Coded(LOCAL, answer))
        self._observation(Key.FINDINGS, Coded(LOCAL, code), day, valueCodeableConcept=value)

    def _number(self, value: float, unit: str) -> Resource:
        if unit == "{score}" and float(value).is_integer() and self.pick((True, False)):
            return {"valueInteger": int(value)}
        shown = value
        if unit == "mg/L" and self.pick((True, False, False, False)):
            shown, unit = float(Decimal(str(value)) / 10), "mg/dL"
        if unit == "Cel" and self.pick((True, False, False, False)):
            shown, unit = float(Decimal(str(value)) * 9 / 5 + 32), "[degF]"
        if unit == "10*9/L" and self.pick((True, False, False)):
            unit = "10*3/uL"
        quantity = {"value": shown, "unit": unit, "system": _UCUM, "code": unit}
        return {"valueQuantity": quantity}

    def pain(self, name: str, days: Facts) -> None:
        """Write pain scores of one site; several scores of one day in time order."""
        for day, values in days.items():
            scores = _listed(values)
            for position, value in enumerate(scores):
                more = self._number(value, "{score}")
                if name in concepts.PAIN_SITES:
                    more["bodySite"] = _concept(self.pick(concepts.PAIN_SITES[name]))
                order = position if len(scores) > 1 else None
                code = self.pick(concepts.SCORES["pain"])
                self._observation(Key.SCORES, code, int(day), order=order, **more)

    def disability(self, name: str, days: Facts) -> None:
        """Write totals of one questionnaire by day."""
        key = Key.FINDINGS if name == "sacroiliac tests" else Key.SCORES
        code = concepts.SCORES[name][0]
        for day, value in days.items():
            if name == "PHQ-9 item 9" and self.pick((True, False)):
                answer = Coded(LOINC, concepts.ITEM_9_ANSWERS[int(value)])
                more = {"valueCodeableConcept": _concept(answer)}
            else:
                more = self._number(value, "{score}")
            self._observation(key, code, int(day), **more)

    def questionnaires(self, _: str, questionnaires: Facts) -> None:
        """Write the totals of every questionnaire."""
        for name, days in questionnaires.items():
            self.disability(name, days)

    def measurement(self, name: str, days: Facts) -> None:
        """Write laboratory values, temperatures or residual urine by day."""
        codes, unit = concepts.MEASUREMENTS[name]
        for day, values in days.items():
            for value in _listed(values):
                number = self._number(value, unit)
                self._observation(Key.FINDINGS, self.pick(codes), int(day), **number)

    def strength(self, _: str, grades: Iterable[Facts]) -> None:
        """Write muscle grades."""
        for grade in grades:
            more = self._number(grade["grade"], "{score}")
            more["bodySite"] = _site(concepts.SIDES[grade["side"]])
            muscle = grade.get("muscle")
            if muscle is not None:
                value = _concept(Coded(LOCAL, concepts.MUSCLES[muscle]))
                code = _concept(Coded(LOCAL, "muscle"))
                more["component"] = [{"code": code, "valueCodeableConcept": value}]
            self._observation(Key.FINDINGS, Coded(LOCAL, "mrc-grade"), int(grade["day"]), **more)

    def smoker(self, _: str, is_smoker: bool) -> None:  # noqa: FBT001 - the fact itself
        """Write that the patient smokes, as a condition or as a status."""
        if is_smoker and self.pick((True, False)):
            self.condition(concepts.CONDITIONS["smoker"], self.now - 10)
        elif is_smoker:
            status = _concept(Coded(SNOMED, "449868002"))
            code = Coded(LOINC, "72166-2")
            self._observation(Key.SCORES, code, self.now - 5, valueCodeableConcept=status)

    def pregnancy_test(self, _: str, day: int) -> None:
        """Write a positive pregnancy status."""
        status = _concept(Coded(SNOMED, "77386006"))
        code = Coded(LOINC, "82810-3")
        self._observation(Key.SCORES, code, day, valueCodeableConcept=status)

    def therapy_allowed(self, _: str, answers: Facts) -> None:
        """Write whether the surgeon allows physiotherapy, by day."""
        code = Coded(LOCAL, "surgeon-clearance-pt")
        for day, is_allowed in answers.items():
            self._observation(Key.FINDINGS, code, int(day), valueBoolean=is_allowed)

    # Orders, tests, drugs, implants

    def ordered(self, section: str, orders: Facts) -> None:
        """Write open orders, or drafts, by the day they were written."""
        statuses = ("draft",) if section == "drafted" else ("active", "on-hold")
        for name, days in orders.items():
            for day in _listed(days):
                code = self.pick(concepts.ORDERS[name])
                resource = {
                    "resourceType": "ServiceRequest",
                    "status": self.pick(statuses),
                    "intent": "order",
                    "subject": self.subject,
                    "code": _concept(code, text=concepts.ORDER_TEXTS.get(name)),
                    "authoredOn": self.moment(day),
                }
                self.put(Key.SERVICE_REQUESTS, resource)

    def done(self, _: str, tests: Facts) -> None:
        """Write what was done, as a report or as a procedure."""
        for name, days in tests.items():
            for day in _listed(days):
                reports = concepts.REPORTS.get(name, ())
                procedures = concepts.PROCEDURES.get(name, ())
                code = self.pick((*reports, *procedures))
                if code in reports and (code not in procedures or self.pick((True, False))):
                    self._report(code, day)
                else:
                    resource = self._procedure(code)
                    resource["performedDateTime"] = self.moment(day)
                    self.put(Key.PROCEDURES, resource)

    def mri_findings(self, _: str, findings: Facts) -> None:
        """Write MRI reports with a coded conclusion."""
        for name, days in findings.items():
            for day in _listed(days):
                report = self._report(self.pick(concepts.REPORTS["MRI"]), day)
                report["conclusionCode"] = [_concept(self.pick(concepts.CONDITIONS[name]))]

    def _report(self, code: Coded, day: int) -> Resource:
        resource = {
            "resourceType": "DiagnosticReport",
            "status": self.pick(("final", "amended", "corrected")),
            "subject": self.subject,
            "code": _concept(code),
            "effectiveDateTime": self.moment(day),
        }
        return self.put(Key.DIAGNOSTIC_REPORTS, resource)

    def drugs(self, _: str, drugs: Iterable[Facts]) -> None:
        """Write prescriptions."""
        for drug in drugs:
            resource: Resource = {
                "resourceType": "MedicationRequest",
                "status": drug.get("status", "active"),
                "intent": "order",
                "subject": self.subject,
                "medicationCodeableConcept": _concept(self.pick(concepts.DRUGS[drug["drug"]])),
                "authoredOn": self.moment(drug["from"]),
            }
            if "to" in drug:
                period = {"start": self.day_text(drug["from"]), "end": self.day_text(drug["to"])}
                resource["dispenseRequest"] = {"validityPeriod": period}
            if "MME a day" in drug:
                resource["dosageInstruction"] = [_daily_dose(drug["MME a day"])]
            self.put(Key.MEDICATION_REQUESTS, resource)

    def implant(self, _: str, implant: Facts) -> None:
        """Write an active implant and what is known of it in the MR scanner."""
        resource: Resource = {
            "resourceType": "Device",
            "status": "active",
            "patient": self.subject,
            "type": _concept(self.pick(concepts.IMPLANTS[implant["what"]])),
        }
        if implant["in the scanner"] != "unknown":
            resource["safety"] = [{"text": f"MR {str(implant['in the scanner']).title()}"}]
        self.put(Key.DEVICES, resource)


def _daily_dose(milligrams: float) -> Resource:
    quantity = {"value": milligrams, "unit": "mg", "system": _UCUM, "code": "mg"}
    return {
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": quantity}],
    }


def _ignore(_: _Writer, __: str, ___: Any) -> None:  # noqa: ANN401 - any fact without a section
    """Leave out a fact that is written with another one."""


_SECTIONS: Mapping[str, Callable[[_Writer, str, Any], None]] = {
    "other operations": _Writer.other_operations,
    "leg": _Writer.pain,
    "back": _Writer.pain,
    "pain": _Writer.pain,
    "ODI": _Writer.disability,
    "questionnaires": _Writer.questionnaires,
    "strength": _Writer.strength,
    "coded weakness": _Writer.coded_weakness,
    "findings": _Writer.findings,
    "normal findings": _Writer.normal_findings,
    "ordered": _Writer.ordered,
    "drafted": _Writer.ordered,
    "MRI report finds": _Writer.mri_findings,
    "done": _Writer.done,
    "drugs": _Writer.drugs,
    "implant": _Writer.implant,
    "smoker": _Writer.smoker,
    "physiotherapy allowed": _Writer.therapy_allowed,
    "pregnancy test": _Writer.pregnancy_test,
    **dict.fromkeys(concepts.MEASUREMENTS, _Writer.measurement),
}
