"""One reading of one chart: the entries sorted out by owner and copy, and what was set aside.

Keeps the books for ``cds_service.fhir.reading`` and its parts; knows no medicine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import encode

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.chart.facts import SetAside
from cds_service.fhir import dates, reasons, wire
from cds_service.fhir.answers import Headed, KeyAnswer, RawResource, raw_of
from cds_service.fhir.coding import Vocabulary, says_nothing
from cds_service.fhir.decoding import content_of, read_part, read_resource
from cds_service.fhir.queries import OBSERVED, TYPES
from cds_service.fhir.subjects import Owner, Subjects
from cds_service.hooks.strict_json import check_part
from cds_service.knowledge.model import Knowledge
from cds_service.values import FhirDate

Wire = TypeVar("Wire", bound=Struct)

READ_TYPES = frozenset(
    {
        "Procedure",
        "Condition",
        "Observation",
        "ServiceRequest",
        "DiagnosticReport",
        "ImagingStudy",
        "MedicationRequest",
        "MedicationStatement",
        "Device",
        "Encounter",
        "AllergyIntolerance",
    }
)
_CODED_TYPES = frozenset(
    {"Condition", "Observation", "ServiceRequest", "DiagnosticReport", "AllergyIntolerance"}
)
_READ_BY_CODE = (_CODED_TYPES | {"Procedure"}) - {"AllergyIntolerance"}
ALWAYS_READ = 500
"""Entries of each kind that are read however late it is: more than most charts have."""
_NO_CODE = frozenset({b"", b"null"})
_ID = re.compile(r"[A-Za-z0-9\-._]{1,64}", re.ASCII)
_OTHER_PEOPLE = frozenset({"RelatedPerson", "Person", "Practitioner", "PractitionerRole", "Group"})
_DECIDING = (Owner.ANOTHER, Owner.PATIENT)
"""What a reference to another patient says decides; then what one to the patient says."""
_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)


class Entry(Struct, frozen=True, kw_only=True):
    """One resource of the patient, with the key it came under and its reference."""

    key: str
    kind: str
    reference: str
    head: wire.Head
    raw: RawResource

    @property
    def status(self) -> str:
        """The status without blanks and capitals; empty when it has none."""
        return plain_word(self.head.status)


def plain_word(text: str | None) -> str:
    """Return a code word without blanks around it and capitals."""
    return "" if text is None else text.strip().lower()


def status_words(concept: wire.CodeableConcept | None) -> frozenset[str]:
    """Return every word of a coded status, of whichever system; its text where it has no code."""
    if concept is None:
        return frozenset()
    codes = frozenset(plain_word(coding.code) for coding in concept.coding if coding.code)
    return codes or frozenset({plain_word(concept.text)})


class Reader:
    """Sorts the entries of a chart and remembers what was set aside, and why."""

    def __init__(  # noqa: PLR0913 - what one reading depends on
        self,
        knowledge: Knowledge,
        *,
        as_of: date,
        zone: ZoneInfo,
        subjects: Subjects,
        matches_drug_names: bool = False,
        has_time: Callable[[], bool] = lambda: True,
        code_map: CodeMap = NO_CODES,
    ) -> None:
        """Read as of the local day *as_of*; times are moved to *zone*.

        Of each kind the first ``ALWAYS_READ`` entries are read, further ones while *has_time*.
        """
        self.knowledge = knowledge
        self.vocabulary = Vocabulary(knowledge, code_map)
        self.as_of = as_of
        self.zone = zone
        self.subjects = subjects
        self.matches_drug_names = matches_drug_names
        self.birth: FhirDate | None = None
        self.set_aside: list[SetAside] = []
        self.has_time = has_time
        self.incomplete: dict[str, str] = {}
        """Why a key holds less than came."""
        self.kinds: dict[str, set[str]] = {}
        """The kinds of entry that came as an answer under each key; those of other patients, and
        what only came along, are left out."""
        self.entries: dict[str, dict[str, Entry]] = {kind: {} for kind in READ_TYPES}
        self.patients: list[tuple[str, wire.Patient]] = []
        """Every Patient that came, with the key it came under."""
        self.medications: dict[str, wire.Medication] = {}
        self._owners: dict[bytes, Owner] = {}
        self._meaningful: dict[bytes, bool] = {}
        """What was found of each text of a reference, and of a code."""
        self._disputed: dict[str, Entry] = {}
        """Entries with the id of another one that is as new and says something else."""
        self._missed: tuple[Entry | None, tuple[str, ...]] = None, ()
        """The last entry that matters, and the keys that hold less without it: each part asks."""

    def take(self, answers: Mapping[str, KeyAnswer], sent: Mapping[str, bytes | None]) -> None:
        """Sort every resource of *answers* by kind; of several copies the newest stays.

        Raises:
            RequestError: What the EHR has *sent* along is not strict JSON.
        """
        for key, answer in answers.items():
            unread = self._unread(key, answer.resources)
            text = sent.get(key)
            if text is not None:
                check_part(key, text, (*unread, *answer.left))
        for name, entry in self._disputed.items():
            both = (entry, self.entries[entry.kind][name])
            matters = any(map(self._may_be_read, both))
            self.put_entry_aside(entry, reasons.SAME_ID, matters=matters)

    def _unread(self, key: str, resources: Sequence[RawResource | Headed]) -> list[RawResource]:
        """Take *resources*; return those that cannot change an answer.

        They are Observations with a code that no rule reads, and those there is no time for.
        """
        unread: list[RawResource] = []
        kinds = self.kinds.setdefault(key, set())
        for number, resource in enumerate(resources):
            if number >= ALWAYS_READ and not self.has_time():
                self.incomplete[key] = reasons.NOT_READ_IN_TIME
                unread += map(raw_of, resources[number:])
                break
            found = _headed(resource)
            if not self._is_taken(key, found, kinds):
                unread.append(found.raw)
        return unread

    def put_aside(
        self,
        key: str,
        reason: str,
        reference: str | None = None,
        concepts: frozenset[str] = frozenset(),
    ) -> None:
        """Remember that an entry about *concepts* is not used."""
        self.set_aside.append(
            SetAside(key=key, reason=reason, reference=reference, concepts=concepts)
        )

    def put_entry_aside(
        self,
        entry: Entry,
        reason: str,
        *,
        matters: bool = False,
        concepts: frozenset[str] = frozenset(),
    ) -> None:
        """Remember that *entry* is not used; if it *matters* it is missing from its part."""
        self.put_aside(entry.key, reason, entry.reference, concepts)
        if matters:
            if self._missed[0] is not entry:
                self._missed = entry, self._missed_in(entry)
            for key in self._missed[1]:
                self.incomplete.setdefault(key, reasons.UNREADABLE_ENTRY)

    def _missed_in(self, entry: Entry) -> tuple[str, ...]:
        """Return the keys that hold less without *entry*, wherever it came.

        Observations have two keys: what it is about tells which of them.
        """
        if entry.kind != "Observation":
            return tuple(key for key, kind in TYPES.items() if kind == entry.kind)
        meant = self.vocabulary.meanings((read_part(entry.head.code, wire.CodeableConcept),))
        names = {name for name, _ in meant}
        about = tuple(key for key, known in OBSERVED.items() if not names.isdisjoint(known))
        return about or tuple(OBSERVED)

    def put_modified_aside(self, entry: Entry) -> None:
        """Set aside an entry with a modifier; it leaves a gap if a rule might have read it."""
        is_retracted = entry.status == "entered-in-error"
        self.put_entry_aside(
            entry, reasons.MODIFIED, matters=not is_retracted and self._may_be_read(entry)
        )

    def put_garbled_aside(self, entry: Entry, code: wire.CodeableConcept | None) -> None:
        """Set aside an entry whose *code* says nothing; without any, as FHIR allows, it is none."""
        if bytes(entry.head.code) not in _NO_CODE and says_nothing(code):
            self.put_entry_aside(entry, reasons.UNREADABLE, matters=True)

    def of_kind(self, kind: str) -> Iterator[Entry]:
        """Yield the entries of one resource type; those there is no time for leave a gap."""
        entries = iter(self.entries[kind].values())
        yield from islice(entries, ALWAYS_READ)
        for entry in entries:
            if not self.has_time():
                keys = {one.key for one in (entry, *entries)}
                keys |= {key for key, kinds in self.kinds.items() if kind in kinds}
                self.incomplete |= dict.fromkeys(keys, reasons.NOT_READ_IN_TIME)
                return
            yield entry

    def decoded(self, entry: Entry, kind: type[Wire]) -> Wire | None:
        """Return *entry* as *kind*; what cannot be read is set aside and leaves a gap.

        A modifier extension may turn the meaning of its entry round, and none is known here.
        """
        if entry.head.modifier_extension:
            self.put_modified_aside(entry)
            return None
        found = read_resource(entry.raw, kind)
        if found is None:
            self.put_entry_aside(entry, reasons.UNREADABLE, matters=True)
        return found

    def date(self, *texts: str | None) -> FhirDate | None:
        """Return the first of *texts* that is a date."""
        return dates.first_read(self.zone, *texts)

    def period(self, period: wire.Period | None) -> FhirDate | None:
        """Return the day a period ends, else starts."""
        return dates.period_day(period, self.zone, self.as_of)

    def is_possible(
        self, entry: Entry, day: FhirDate | None, concepts: frozenset[str] = frozenset()
    ) -> bool:
        """Whether *day* lies between birth and today; an entry that does not is set aside."""
        if day is None:
            return True
        if day.earliest > self.as_of:
            self.put_entry_aside(entry, reasons.FUTURE, concepts=concepts)
            return False
        if self.since_birth(day) is None:
            self.put_entry_aside(entry, reasons.BEFORE_BIRTH, concepts=concepts)
            return False
        return True

    def since_birth(self, day: FhirDate | None) -> FhirDate | None:
        """Return *day*; one before birth stands in many charts for a day nobody knew: None."""
        if day is None or (self.birth is not None and day.latest < self.birth.earliest):
            return None
        return day

    def clipped(self, day: FhirDate | None) -> FhirDate | None:
        """Return *day* without the part after today; a wholly future day is None."""
        if day is None or day.earliest > self.as_of:
            return None
        return dates.clipped(day, self.as_of)

    def relative(self, reference: wire.Reference | None) -> str | None:
        """Return "Type/id" of *reference*, or None; contained ones keep their "#id".

        None too for an entry of another server: its "Type/id" may be another entry here.
        """
        if reference is None or reference.reference is None:
            return None
        text = reference.reference.strip()
        if text.startswith("#"):
            return text
        return self.subjects.relative(text)

    def _is_taken(self, key: str, resource: Headed, kinds: set[str]) -> bool:
        """Take one resource and note its kind; False for an Observation that no rule reads."""
        raw, head = resource.raw, resource.head
        kind = "" if head is None else head.resource_type or ""
        if head is None or kind not in READ_TYPES:
            if head is None or not kind.isalpha():
                self.put_aside(key, reasons.UNREADABLE)
                self.incomplete.setdefault(key, reasons.UNREADABLE_ENTRY)
                return True
            self._take_other(key, resource, head)
            if not (resource.is_beside or self._is_of_another(kind, head)):
                kinds.add(kind)
            return True
        owner = self._owner(head)
        if owner is Owner.ANOTHER:
            self.put_aside(key, reasons.ANOTHER_PATIENT, kind)  # the type alone, not whose it is
            return True
        if not resource.is_beside:
            kinds.add(kind)
        if any(map(self._is_other_person, head.focus)):
            self.put_aside(key, reasons.OTHER_PERSON, kind)
            return True
        is_read = kind != "Observation" or self.has_meaning(head) or bool(head.component)
        if is_read:
            self._take_entry(_entry(key, raw, head, kind), owner)
        return is_read

    def _is_of_another(self, kind: str, head: wire.Head) -> bool:
        """Whether a resource that is no part of the chart is, or is of, another patient."""
        if kind == "Patient":
            itself = wire.Reference(reference=f"Patient/{head.id or ''}")
            return self.subjects.owner(itself) is Owner.ANOTHER
        return self._owner(head) is Owner.ANOTHER

    def _is_other_person(self, focus: wire.Reference) -> bool:
        """Whether what an Observation is about is no patient: a relative, say."""
        target = self.relative(focus) or ""
        return target.partition("/")[0] in _OTHER_PEOPLE

    def _owner(self, head: wire.Head) -> Owner:
        if head.focus and self.subjects.owner(*head.focus) is Owner.ANOTHER:
            return Owner.ANOTHER
        if not head.patient:
            return self._owner_of(head.subject)
        owners = (self._owner_of(head.subject), self._owner_of(head.patient))
        return next((one for one in _DECIDING if one in owners), Owner.UNKNOWN)

    def _owner_of(self, reference: RawResource) -> Owner:
        text = bytes(reference)
        owner = self._owners.get(text)
        if owner is None:
            owner = self.subjects.owner(read_part(text, wire.Reference))
            self._owners[text] = owner
        return owner

    def has_meaning(self, head: wire.Head) -> bool:
        """Whether any code of the resource is in a value set, whatever else it needs.

        Without a code and words it may be of any.
        """
        text = bytes(head.code)
        found = self._meaningful.get(text)
        if found is None:
            concept = read_part(text, wire.CodeableConcept)
            found = self.vocabulary.has_meaning(concept) or says_nothing(concept)
            self._meaningful[text] = found
        return found

    def _may_be_read(self, entry: Entry) -> bool:
        """Whether an entry has a code of a value set or parts, or is read by more than its code."""
        is_by_code = entry.kind in _READ_BY_CODE
        return not is_by_code or self.has_meaning(entry.head) or bool(entry.head.component)

    def _take_other(self, key: str, resource: Headed, head: wire.Head) -> None:
        """Take what is no entry of the chart; what only came along and is not read is no loss."""
        raw = resource.raw
        if head.resource_type == "Patient":
            patient = read_resource(raw, wire.Patient)
            if patient is not None:
                self.patients.append((key, patient))
        elif head.resource_type == "Medication":
            medication = read_resource(raw, wire.Medication)
            if medication is not None and head.id is not None:
                self._keep_medication(f"Medication/{head.id}", medication)
        elif not resource.is_beside:
            self.put_aside(key, reasons.NOT_READ_HERE)

    def _keep_medication(self, name: str, copy: wire.Medication) -> None:
        other = self.medications.get(name)
        if other is None or self._age_of_medication(copy) > self._age_of_medication(other):
            self.medications[name] = copy

    def _take_entry(self, entry: Entry, owner: Owner) -> None:
        if owner is Owner.PATIENT:
            self._keep(entry)
        elif entry.status != "entered-in-error":
            is_coded = entry.kind in _CODED_TYPES
            matters = not is_coded or self.has_meaning(entry.head)
            self.put_entry_aside(entry, reasons.NO_PATIENT, matters=matters)

    def _keep(self, entry: Entry) -> None:
        """Keep the newest copy; of entries that only share an id, one, and remember the other.

        With one version number they are copies, of which a server may shorten some.
        """
        copies, name = self.entries[entry.kind], entry.reference
        other = copies.setdefault(name, entry)
        if other is entry or bytes(entry.raw) == bytes(other.raw):
            return
        age, known = self._age(entry), self._age(other)
        older, copies[name] = (other, entry) if age > known else (entry, other)
        if age[:3] > known[:3]:
            self._disputed.pop(name, None)
        elif age[:3] == known[:3] and not age[1] and content_of(entry.raw) != content_of(other.raw):
            self._disputed[name] = older

    def _age(self, entry: Entry) -> tuple[datetime, int, bool, bytes]:
        """Order copies of one resource: newest last; without a version the retraction wins."""
        copy = read_resource(entry.raw, wire.Copy)
        updated, version = self._written(copy.meta if copy is not None else None)
        return updated, version, entry.status == "entered-in-error", bytes(entry.raw)

    def age_of_patient(self, patient: wire.Patient) -> tuple[datetime, int, bool, bytes]:
        """Order copies of the Patient: newest last; of equal age a death wins."""
        updated, version = self._written(patient.meta)
        return updated, version, patient.is_deceased, encode(patient)

    def _age_of_medication(self, medication: wire.Medication) -> tuple[datetime, int, bytes]:
        return (*self._written(medication.meta), encode(medication))

    def _written(self, meta: wire.Meta | None) -> tuple[datetime, int]:
        """Return when a copy was written, and its version; long ago and 0 if it does not say."""
        meta = meta or wire.Meta()
        updated = dates.read_date(meta.last_updated, self.zone)
        version = (meta.version_id or "").strip()
        return (
            updated.instant if updated and updated.instant else _LONG_AGO,
            int(version) if version.isdecimal() and len(version) < 19 else 0,  # noqa: PLR2004
        )


def _headed(resource: RawResource | Headed) -> Headed:
    if isinstance(resource, Headed):
        return resource
    return Headed(resource, read_resource(resource, wire.Head))


def _entry(key: str, raw: RawResource, head: wire.Head, kind: str) -> Entry:
    if head.id is not None and _ID.fullmatch(head.id):
        name = head.id
    else:  # a stable name, so that copies of it are still one entry; no FHIR id has a blank
        name = f"no id {hashlib.sha256(bytes(raw)).hexdigest()[:12]}"
    return Entry(key=key, kind=kind, reference=f"{kind}/{name}", head=head, raw=raw)
