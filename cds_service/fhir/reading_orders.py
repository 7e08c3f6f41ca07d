"""What was ordered, and what was reported."""

from __future__ import annotations

from collections.abc import Sequence

from cds_service.chart.facts import ConditionFact, OrderFact, ReportFact
from cds_service.fhir import reasons, wire, wording
from cds_service.fhir.coding import Place, inner_concepts, texts_of
from cds_service.fhir.reader import Entry, Reader, plain_word
from cds_service.fhir.reading_procedures import Reasons

_OPEN = frozenset({"active", "on-hold", "draft"})
_CLOSED = frozenset(
    {
        *("revoked", "completed", "entered-in-error", "unknown"),
        *("suspended", "cancelled", "stopped"),  # words of earlier and later FHIR
    }
)
_URGENT = frozenset({"urgent", "asap", "stat"})
_FINAL_REPORT = frozenset({"final", "amended", "corrected", "appended"})
_UNFINISHED_REPORT = frozenset({"registered", "partial", "preliminary"})
_NO_REPORT = frozenset({"cancelled", "entered-in-error", "unknown"})
_STUDY = frozenset({"available", "registered"})
_PAIN_CLINIC_REFERRAL = "pain-clinic-referral"
_SCS_REFERRAL = "scs-referral"


def read_orders(reader: Reader, conditions: Sequence[ConditionFact]) -> tuple[OrderFact, ...]:
    """Return the orders that are open: active, on hold or draft."""
    by_reference = {fact.reference: fact for fact in conditions}
    facts = (_order(reader, entry, by_reference) for entry in reader.of_kind("ServiceRequest"))
    return tuple(sorted((fact for fact in facts if fact), key=lambda fact: fact.reference))


def _order(reader: Reader, entry: Entry, conditions: dict[str, ConditionFact]) -> OrderFact | None:
    found = reader.decoded(entry, wire.ServiceRequest)
    if found is None or not _is_open(reader, entry, found):
        return None
    because = Reasons(reader, (*found.reason_code, *inner_concepts(found.reason)))
    links = (*found.reason_reference, *(item.reference for item in found.reason))
    because.follow(links, conditions)
    place = Place(
        vocabulary=reader.vocabulary,
        code=found.code,
        body_sites=found.body_site,
        texts=texts_of(found.order_detail),
        reasons=tuple(because.concepts),
        more_reasons=because.linked_concepts,
    )
    concepts = place.concepts() or place.ordered_in_our_words()
    words = (*place.own_texts, *texts_of(because.concepts))
    if _PAIN_CLINIC_REFERRAL in concepts and wording.names_stimulation(words):
        concepts |= {_SCS_REFERRAL}
    authored = reader.date(found.authored_on)
    if not concepts:
        reader.put_garbled_aside(entry, found.code)
        return None
    if not reader.is_possible(entry, authored):
        return None
    return OrderFact(
        reference=entry.reference,
        concepts=concepts,
        status=entry.status,
        authored=reader.clipped(authored),
        is_urgent=plain_word(found.priority) in _URGENT,
    )


def _is_open(reader: Reader, entry: Entry, found: wire.ServiceRequest) -> bool:
    """Whether the order stands; an option among others or a "do not" is no order."""
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
        return False
    if plain_word(found.intent) == "option" or found.do_not_perform is True:
        reader.put_entry_aside(entry, reasons.NOT_AN_ORDER)
        return False
    if entry.status not in _OPEN | _CLOSED:
        _leave_gap(reader, entry, found.code)
    return entry.status in _OPEN


def _leave_gap(reader: Reader, entry: Entry, code: wire.CodeableConcept | None) -> None:
    """Set aside an entry without a status we know: it may be what a rule looks for."""
    matters = reader.vocabulary.has_meaning(code)
    reader.put_entry_aside(entry, reasons.UNREADABLE, matters=matters)


def read_reports(reader: Reader) -> tuple[ReportFact, ...]:
    """Return reports and imaging studies, final or not."""
    facts: list[ReportFact] = []
    reported: set[str] = set()
    for entry in reader.of_kind("DiagnosticReport"):
        found = reader.decoded(entry, wire.DiagnosticReport)
        if found is None or not _is_report(reader, entry, found):
            continue
        if entry.status in _FINAL_REPORT:
            links = (reader.relative(link) for link in (*found.imaging_study, *found.study))
            reported.update(link for link in links if link is not None)
        fact = _report(reader, entry, found)
        facts += () if fact is None else (fact,)
    for entry in reader.of_kind("ImagingStudy"):
        study = _study(reader, entry, is_reported=entry.reference in reported)
        facts += () if study is None else (study,)
    return tuple(sorted(facts, key=lambda fact: fact.reference))


def _is_report(reader: Reader, entry: Entry, found: wire.DiagnosticReport) -> bool:
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
    is_report = entry.status in _FINAL_REPORT | _UNFINISHED_REPORT
    if not is_report and entry.status not in _NO_REPORT:
        _leave_gap(reader, entry, found.code)
    return is_report


def _report(reader: Reader, entry: Entry, found: wire.DiagnosticReport) -> ReportFact | None:
    place = Place(vocabulary=reader.vocabulary, code=found.code)
    concepts = place.concepts() or place.ordered_in_our_words()
    conclusions = frozenset(
        name
        for code in found.conclusion_code
        for name in Place(vocabulary=reader.vocabulary, code=code).concepts()
    )
    effective = (
        reader.date(found.effective_date_time)
        or reader.period(found.effective_period)
        or reader.date(found.issued)
    )
    if not (concepts or conclusions):
        reader.put_garbled_aside(entry, found.code)
        return None
    if not reader.is_possible(entry, effective):
        return None
    return ReportFact(
        reference=entry.reference,
        concepts=concepts,
        effective=reader.clipped(effective),
        is_final=entry.status in _FINAL_REPORT,
        conclusions=conclusions,
    )


def _study(reader: Reader, entry: Entry, *, is_reported: bool) -> ReportFact | None:
    found = reader.decoded(entry, wire.ImagingStudy)
    if found is None or entry.status not in _STUDY:
        return None
    parts = dict.fromkeys(series.body_site for series in found.series)
    sites = tuple(wire.CodeableConcept(coding=(part,)) for part in parts if part is not None)
    words = (found.description,) if found.description else ()
    concepts = frozenset(
        name
        for code in dict.fromkeys((*found.procedure_code, *inner_concepts(found.procedure)))
        for name in Place(
            vocabulary=reader.vocabulary, code=code, body_sites=sites, texts=words
        ).concepts()
    )
    started = reader.date(found.started)
    if not concepts or not reader.is_possible(entry, started):
        return None
    return ReportFact(
        reference=entry.reference,
        concepts=concepts,
        effective=reader.clipped(started),
        is_final=is_reported,
    )
