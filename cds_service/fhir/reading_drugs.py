"""Drugs of a chart, and the morphine equivalent of opioid doses that are written plainly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from cds_service.chart.facts import DrugFact
from cds_service.fhir import courses, doses, reasons, wire, wording
from cds_service.fhir.coding import rxnorm_codes, texts_of
from cds_service.fhir.decoding import read_resource
from cds_service.fhir.drug_names import drugs_named, names_naloxone
from cds_service.fhir.reader import Entry, Reader, plain_word
from cds_service.fhir.renewals import Prescribed, until_renewed, without_repeats
from cds_service.knowledge.model import NALOXONE, Knowledge

_ORDER_INTENTS = frozenset(
    {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
)
_NO_ORDER_INTENTS = frozenset({"proposal", "plan", "option"})
_TAKEN = frozenset({"active", "on-hold", "completed", "stopped"})
_NEVER_TAKEN = frozenset({"draft", "cancelled", "not-taken"})
_STATUSES = frozenset(
    {
        *("active", "on-hold", "completed", "stopped", "intended", "unknown"),
        *("ended", "recorded"),  # words of R5
    }
)


def read_drugs(reader: Reader) -> tuple[tuple[DrugFact, ...], tuple[DrugFact, ...]]:
    """Return ordered and stated drugs that are known, and those that nothing identifies.

    Drafts, cancelled and never taken ones are no facts.
    """
    entries = chain(reader.of_kind("MedicationRequest"), reader.of_kind("MedicationStatement"))
    read = [drug for entry in entries if (drug := _drug(reader, entry)) is not None]
    found = without_repeats(until_renewed(read))
    in_order = sorted(found, key=lambda fact: fact.reference)
    return (
        tuple([fact for fact in in_order if fact.concepts]),
        tuple([fact for fact in in_order if not fact.concepts]),
    )


def _drug(reader: Reader, entry: Entry) -> Prescribed | None:
    """Return a drug that rules ask for, or without any concept one that nothing identifies."""
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
        return None
    found = reader.decoded(entry, wire.Drug)
    if found is None or entry.status in _NEVER_TAKEN or not _is_order(entry, found):
        return None
    named = tuple(_medication(reader, entry, found))
    concepts = reader.vocabulary.plain(named)
    if not concepts and reader.matches_drug_names:
        concepts = drugs_named(texts_of(named), reader.knowledge)
    if "buprenorphine" in concepts and _holds_naloxone(named, reader.knowledge):
        concepts |= {"buprenorphine-with-naloxone"}
    started = courses.started(reader, entry, found)
    is_wanted = concepts or (entry.status in _TAKEN and not any(rxnorm_codes(named)))
    if not is_wanted or not reader.is_possible(entry, started):
        return None
    if entry.status not in _STATUSES or not _is_intent_known(found):
        reader.put_entry_aside(entry, reasons.UNREADABLE, matters=True)
        return None
    dosages = (*found.dosage_instruction, *found.dosage)
    dose = _dose(reader, named, dosages)
    fact = DrugFact(
        reference=entry.reference,
        concepts=concepts,
        status=entry.status,
        started=reader.clipped(started),
        ended=courses.ended(reader, found, started),
        mme_per_day=dose.per_day if dose else None,
        is_daily_maximum=dose.is_maximum if dose else False,
    )
    # Only the doses of opioids are added up.
    begins = courses.begins(reader, found, started) if "opioid" in concepts else started
    return Prescribed(
        fact=fact,
        begins=begins,
        has_begun=begins is None or begins.earliest <= reader.as_of,
        tells_dose=bool(dosages) or not _is_report(entry, found),
        products=frozenset(reader.knowledge.clinical_drugs.keys() & rxnorm_codes(named)),
        tells_of=_targets(reader, (*found.based_on, *found.derived_from)),
        renews=_targets(reader, (found.prior_prescription,)),
    )


def _dose(
    reader: Reader, named: Sequence[wire.CodeableConcept], dosages: tuple[wire.Dosage, ...]
) -> doses.DailyDose | None:
    """Return the daily dose of an opioid; that of an injected one is not known."""
    found = doses.factor(named, reader.knowledge)
    if found is None or any(_is_injected(reader, dosage.route) for dosage in dosages):
        return None
    return doses.morphine_equivalent(found, courses.of_today(reader, dosages))


def _is_injected(reader: Reader, route: wire.CodeableConcept | None) -> bool:
    if route is None:
        return False
    is_coded = reader.vocabulary.is_in(route, "route-injected")
    return is_coded or wording.names_injection(texts_of((route,)))


def _targets(reader: Reader, links: Iterable[wire.Reference | None]) -> frozenset[str]:
    return frozenset(filter(None, map(reader.relative, links)))


def _holds_naloxone(named: Sequence[wire.CodeableConcept], knowledge: Knowledge) -> bool:
    """Whether a drug has naloxone as a part of it, by its code or by its words."""
    drugs = map(knowledge.clinical_drugs.get, rxnorm_codes(named))
    is_coded = any(drug is not None and NALOXONE in drug.ingredients for drug in drugs)
    return is_coded or names_naloxone(texts_of(named))


def _is_order(entry: Entry, found: wire.Drug) -> bool:
    if found.do_not_perform is True:
        return False
    intent = plain_word(found.intent)
    is_stated = entry.kind != "MedicationRequest" or (intent == "plan" and _is_reported(found))
    return is_stated or intent not in _NO_ORDER_INTENTS


def _is_report(entry: Entry, found: wire.Drug) -> bool:
    """Whether an entry only reports what is taken, and orders nothing."""
    return entry.kind != "MedicationRequest" or plain_word(found.intent) == "plan"


def _is_intent_known(found: wire.Drug) -> bool:
    return plain_word(found.intent) in _ORDER_INTENTS | _NO_ORDER_INTENTS | {""}


def _is_reported(found: wire.Drug) -> bool:
    """Whether somebody reports what is taken: Epic and others write that as a plan."""
    is_said = found.reported_boolean is True or found.reported is True
    return is_said or found.reported_reference is not None


def _medication(reader: Reader, entry: Entry, found: wire.Drug) -> Iterable[wire.CodeableConcept]:
    """Yield what the drug is; a reference that leads nowhere leaves a gap."""
    inline = found.medication_codeable_concept
    if inline is None and found.medication is not None:
        inline = found.medication.concept
    if inline is not None:
        yield inline
        return
    link = found.medication_reference or (found.medication and found.medication.reference)
    target = reader.relative(link or None)
    medication = None
    if target is not None and target.startswith("#"):
        medication = _contained(found, target[1:])
    elif target is not None:
        medication = reader.medications.get(target)
    if medication is None:
        reader.put_entry_aside(entry, reasons.UNKNOWN_MEDICATION, matters=True)
        return
    yield from _contents(medication)


def _contained(found: wire.Drug, wanted: str) -> wire.Medication | None:
    for raw in found.contained:
        inner = read_resource(raw, wire.Medication)
        if inner is not None and (inner.id or "").removeprefix("#") == wanted:
            return inner
    return None


def _contents(medication: wire.Medication) -> Iterable[wire.CodeableConcept]:
    if medication.code is not None:
        yield medication.code
    for ingredient in medication.ingredient:
        item = ingredient.item_codeable_concept
        if item is None and ingredient.item is not None:
            item = ingredient.item.concept
        if item is not None:
            yield item
