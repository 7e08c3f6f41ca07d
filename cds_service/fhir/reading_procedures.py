"""Conditions, operations and visits of a chart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from msgspec import Raw

from cds_service.chart.facts import ConditionFact, EncounterFact, ProcedureFact
from cds_service.chart.supply import Key
from cds_service.fhir import dates, reasons, wire, wording
from cds_service.fhir.coding import Place, certainties, inner_concepts, says_nothing, texts_of
from cds_service.fhir.decoding import read_resource
from cds_service.fhir.reader import Entry, Reader, plain_word, status_words
from cds_service.fhir.subjects import Owner
from cds_service.values import FhirDate, Side

_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_INACTIVE = frozenset({"inactive", "remission", "resolved"})
_NOT_SO = frozenset({"entered-in-error", "refuted"})
_RULED_OUT, _STATE_AFTER = frozenset({"A"}), frozenset({"Z"})
"""The certainties of ICD-10-GM under which no code of a condition is a disease of today."""
_NOT_COMPLETED = frozenset(
    {
        *("preparation", "in-progress", "not-done", "on-hold", "stopped"),
        *("aborted", "suspended"),  # the words of STU3
    }
)
_NEVER_TOOK_PLACE = frozenset({"planned", "cancelled", "entered-in-error"})
_INPATIENT_CLASSES = frozenset({"imp", "acute", "nonac", "inpatient"})
_OUTPATIENT_CLASSES = frozenset({"amb", "emer", "vr", "hh", "ss", "obsenc", "fld", "outpatient"})
_YEARS = frozenset({"a", "y", "yr", "year", "years"})
_OLDEST = 130
"""No age of a person, in years."""
_THERAPY = "physiotherapy-contact"
_OPERATIONS = frozenset({"decompression", "discectomy", "fusion", "spine-surgery-unspecified"})


def read_conditions(reader: Reader) -> tuple[ConditionFact, ...]:
    """Return the conditions that are neither refuted nor entered in error."""
    facts = (_condition(reader, entry) for entry in reader.of_kind("Condition"))
    return tuple(sorted((fact for fact in facts if fact), key=lambda fact: fact.reference))


def _condition(reader: Reader, entry: Entry) -> ConditionFact | None:
    found = reader.decoded(entry, wire.Condition)
    if found is None:
        return None
    verification = status_words(found.verification_status)
    is_refuted = "refuted" in verification or certainties(found.code) == _RULED_OUT
    if is_refuted or verification & _NOT_SO or entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.REFUTED if is_refuted else reasons.ENTERED_IN_ERROR)
        return None
    place = Place(vocabulary=reader.vocabulary, code=found.code, body_sites=found.body_site)
    concepts = place.concepts()
    if not concepts:
        reader.put_garbled_aside(entry, found.code)
        return None
    onset, recorded, when = _when(reader, found)
    if not reader.is_possible(entry, when):
        return None
    return ConditionFact(
        reference=entry.reference,
        concepts=concepts,
        is_active=_is_active(reader, found),
        onset=reader.clipped(onset),
        recorded=reader.clipped(recorded),
        when=reader.clipped(when),
        side=place.side,
        levels=place.levels,
        names_spine=place.names_spine,
        display=place.display,
    )


def _when(
    reader: Reader, found: wire.Condition
) -> tuple[FhirDate | None, FhirDate | None, FhirDate | None]:
    """Return onset, recorded day and the day to go by.

    Time:
        The server's own time stamp is used only if it is not in the future.  An age of onset is
        used only if it was over when the entry was written.
    """
    period = found.onset_period
    onset = reader.date(found.onset_date_time, period.start if period else None)
    onset = reader.since_birth(onset)
    recorded = reader.since_birth(reader.date(found.recorded_date))
    updated = reader.date(found.meta.last_updated if found.meta else None)
    written = recorded or reader.clipped(updated)
    if onset is None and found.onset_age is not None:
        at_age = _at_age(reader, found.onset_age)
        written_by = written.earliest if written else reader.as_of
        onset = at_age if at_age and at_age.latest < written_by else None
    return onset, recorded, onset or written


def _at_age(reader: Reader, age: wire.Quantity) -> FhirDate | None:
    """Return the time in which the patient had an *age* in years."""
    years, is_years = age.value, plain_word(age.code or age.unit) in _YEARS
    if reader.birth is None or years is None or not is_years or not years.is_finite():
        return None
    return dates.at_age(reader.birth, int(years)) if 0 <= years < _OLDEST else None


def _is_active(reader: Reader, found: wire.Condition) -> bool:
    status = status_words(found.clinical_status)
    if status & (_ACTIVE | _INACTIVE):
        return bool(status & _ACTIVE)
    if certainties(found.code) == _STATE_AFTER:
        return False
    has_ended = (
        None if _ends_later(reader, found) else found.abatement_date_time or found.abatement_period,
        found.abatement_age,
        found.abatement_range,
        found.abatement_string,
        found.abatement_boolean or None,
    )
    return all(item is None for item in has_ended)


def _ends_later(reader: Reader, found: wire.Condition) -> bool:
    """Whether the day it ends is still to come: 9999-12-31 stands in many charts for no end."""
    period = found.abatement_period or wire.Period()
    end = reader.date(found.abatement_date_time, period.start, period.end)
    return end is not None and end.earliest > reader.as_of


def read_procedures(
    reader: Reader, conditions: Sequence[ConditionFact], encounters: Sequence[EncounterFact]
) -> tuple[ProcedureFact, ...]:
    """Return the completed procedures; an operation known by its words alone leaves a gap."""
    by_reference = {fact.reference: fact for fact in conditions}
    inpatient = {fact.reference: fact.is_inpatient for fact in encounters}
    in_words: list[tuple[Entry, FhirDate | None]] = []
    found = [
        fact
        for entry in reader.of_kind("Procedure")
        if (fact := _procedure(reader, entry, by_reference, inpatient, in_words))
    ]
    _put_words_aside(reader, in_words, found)
    return tuple(sorted(found, key=lambda fact: fact.reference))


def _put_words_aside(
    reader: Reader,
    in_words: Iterable[tuple[Entry, FhirDate | None]],
    found: Iterable[ProcedureFact],
) -> None:
    """Set aside operations that only words name; they are a gap if one may be the last operation.

    Time:
        One that may be of the day of a known operation is that operation.  One without a day is a
        gap only where no operation is known at all.
    """
    operations = [fact.performed for fact in found if fact.concepts & _OPERATIONS]
    days = sorted((day.earliest, day.latest) for day in operations if day is not None)
    starts = [earliest for earliest, _ in days]
    ends = list(accumulate((latest for _, latest in days), max))
    for entry, day in in_words:
        begun = bisect_right(starts, day.latest) if day else 0
        if day and begun and ends[begun - 1] >= day.earliest:
            continue
        reader.put_entry_aside(entry, reasons.NO_KNOWN_CODE)
        if not operations or (day and begun == len(days)):
            reader.incomplete.setdefault(Key.PROCEDURES, reasons.OPERATION_IN_WORDS)


def _procedure(
    reader: Reader,
    entry: Entry,
    conditions: Mapping[str, ConditionFact],
    inpatient: Mapping[str, bool | None],
    in_words: list[tuple[Entry, FhirDate | None]],
) -> ProcedureFact | None:
    """Return a completed procedure that rules ask for; note one *in_words* alone."""
    found = reader.decoded(entry, wire.Procedure)
    if found is None or not _is_completed(reader, entry):
        return None
    because = Reasons(reader, (*found.reason_code, *inner_concepts(found.reason)), found.contained)
    links = (*found.reason_reference, *(item.reference for item in found.reason))
    because.follow(links, conditions)
    place = Place(
        vocabulary=reader.vocabulary,
        code=found.code,
        body_sites=found.body_site,
        reasons=tuple(because.concepts),
        more_reasons=because.linked_concepts,
    )
    concepts = place.concepts()
    performed = reader.since_birth(_performed(reader, found))
    is_nameless = not concepts and says_nothing(found.code)
    if not (concepts or is_nameless or place.is_operation_in_words):
        return None
    if not reader.is_possible(entry, performed):
        return None
    if is_nameless:
        reader.put_entry_aside(entry, reasons.UNREADABLE, matters=True)
        return None
    if not concepts:
        in_words.append((entry, performed))
        return None
    return ProcedureFact(
        reference=entry.reference,
        concepts=concepts,
        performed=reader.clipped(performed),
        levels=place.levels,
        side=place.side,
        reason_references=tuple(because.references),
        reason_concepts=place.reason_concepts,
        reason_levels=because.levels,
        reason_side=because.side,
        is_inpatient=inpatient.get(reader.relative(found.encounter) or ""),
        other_day=_first_of_course(reader, found, concepts),
    )


def _is_completed(reader: Reader, entry: Entry) -> bool:
    if entry.status == "completed":
        return True
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
    elif not entry.status:
        reader.put_entry_aside(entry, reasons.UNREADABLE, matters=True)
    elif not reader.has_meaning(entry.head):
        return False
    elif entry.status in _NOT_COMPLETED:
        reader.put_entry_aside(entry, reasons.NOT_COMPLETED)
    else:
        reader.put_entry_aside(entry, reasons.UNREADABLE, matters=True)
    return False


def _performed(reader: Reader, found: wire.Procedure) -> FhirDate | None:
    return (
        reader.date(found.performed_date_time, found.occurrence_date_time)
        or reader.period(found.performed_period)
        or reader.period(found.occurrence_period)
    )


def _first_of_course(
    reader: Reader, found: wire.Procedure, concepts: frozenset[str]
) -> FhirDate | None:
    """Return the first day of therapy that lasted for days; its last day is the one performed."""
    period = found.performed_period or found.occurrence_period
    if period is None or _THERAPY not in concepts:
        return None
    return reader.clipped(reader.date(period.start))


class Reasons:
    """Why something was done or ordered: coded reasons, contained ones and linked conditions."""

    def __init__(
        self,
        reader: Reader,
        concepts: Iterable[wire.CodeableConcept],
        contained: Iterable[Raw] = (),
    ) -> None:
        """Start with the coded *concepts*; *contained* conditions count when they are linked."""
        self._reader = reader
        self._contained = dict(self._own_conditions(contained))
        self.concepts = list(concepts)
        self._sites: list[wire.CodeableConcept] = []
        self._linked: list[ConditionFact] = []
        self.references: list[str] = []

    def follow(
        self,
        links: Iterable[wire.Reference | None],
        conditions: Mapping[str, ConditionFact],
    ) -> None:
        """Add the conditions that *links* lead to, each once."""
        targets = dict.fromkeys(filter(None, map(self._reader.relative, links)))
        references = [target for target in targets if not target.startswith("#")]
        inner = [self._contained.get(name[1:]) for name in targets if name.startswith("#")]
        for condition in inner:
            if condition is not None and condition.code is not None:
                self.concepts.append(condition.code)
                self._sites += condition.body_site
        self.references += references
        self._linked += [conditions[name] for name in references if name in conditions]

    @property
    def linked_concepts(self) -> frozenset[str]:
        """The value sets of the linked conditions."""
        return frozenset(name for fact in self._linked for name in fact.concepts)

    @property
    def levels(self) -> frozenset[str]:
        """The disc levels of the reasons."""
        stated = (*self.concepts, *self._sites)
        return (
            self._reader.vocabulary.levels(stated)
            | wording.levels_in(texts_of(stated))
            | frozenset(level for fact in self._linked for level in fact.levels)
        )

    @property
    def side(self) -> Side | None:
        """The side of the reasons; a coded side wins over words."""
        stated = (*self.concepts, *self._sites)
        coded = self._reader.vocabulary.sides(stated) | {
            fact.side for fact in self._linked if fact.side is not None
        }
        return wording.joined_side(coded) or wording.side_in(texts_of(stated))

    def _own_conditions(self, contained: Iterable[Raw]) -> Iterable[tuple[str, wire.Condition]]:
        for raw in contained:
            found = read_resource(raw, wire.Condition)
            if found is None or found.id is None or found.resource_type != "Condition":
                continue
            if self._reader.subjects.owner(found.subject) is not Owner.ANOTHER:
                yield found.id.removeprefix("#"), found


def read_encounters(reader: Reader) -> tuple[EncounterFact, ...]:
    """Return the visits that took place."""
    facts = (_encounter(reader, entry) for entry in reader.of_kind("Encounter"))
    return tuple(sorted((fact for fact in facts if fact), key=lambda fact: fact.reference))


def _encounter(reader: Reader, entry: Entry) -> EncounterFact | None:
    if entry.status in _NEVER_TOOK_PLACE:
        return None
    found = reader.decoded(entry, wire.Encounter)
    if found is None:
        return None
    period = found.period or found.actual_period
    started = reader.date(period.start, period.end) if period else None
    if not reader.is_possible(entry, started):
        return None
    concepts = reader.vocabulary.plain((*found.type, found.service_type))
    return EncounterFact(
        reference=entry.reference,
        concepts=concepts,
        started=reader.clipped(started),
        is_inpatient=_is_inpatient(found.class_),
        other_day=reader.period(period) if _THERAPY in concepts else None,
    )


def _is_inpatient(visit: wire.VisitClass | None) -> bool | None:
    if visit is None:
        return None
    codes = {plain_word(visit.code), *[plain_word(coding.code) for coding in visit.coding]}
    if codes & _INPATIENT_CLASSES:
        return True
    return False if codes & _OUTPATIENT_CLASSES else None
