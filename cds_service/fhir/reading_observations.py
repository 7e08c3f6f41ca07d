"""Measurements, scores and findings of a chart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from cds_service.chart.facts import ObservationFact, Site
from cds_service.fhir import reasons, units, wire, wording
from cds_service.fhir.coding import LEVELS, Place, texts_of
from cds_service.fhir.reader import Entry, Reader
from cds_service.values import FhirDate, Side

_FINAL = frozenset({"final", "amended", "corrected"})
_PAIN = frozenset({"pain-score", "pain-vas"})
_MUSCLE_COMPONENT = "muscle-component"
_MUSCLE_PREFIX = "muscle-"
_SITES = ("site-", "level-")
_PLACING = (*_SITES, "side-", _MUSCLE_PREFIX)
"""Beginnings of concepts that say where; a site's local code may say them along with what."""
_NUMBER = re.compile(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*(?:/\s*10)?\s*", re.ASCII)
_ITEM_ANSWERS = {
    "answer-not-at-all": Decimal(0),
    "answer-several-days": Decimal(1),
    "answer-more-than-half": Decimal(2),
    "answer-nearly-every-day": Decimal(3),
}
"""What the answers of one PHQ-9 item count."""
PRESENT = "answer-present"
ABSENT = "answer-absent"
OTHER_ANSWER = "answer-other"
"""A coded answer that is in none of our value sets."""


class _Shared(Struct, frozen=True, kw_only=True):
    """What all values of one Observation have in common."""

    entry: Entry
    effective: FhirDate | None
    body_site: wire.CodeableConcept | None
    code_texts: tuple[str, ...]
    side: Side | None
    muscle: str | None
    unit: str | None
    """The unit of its number by the site's map, where the chart states none."""


class _Part(Struct, frozen=True, kw_only=True):
    """One value with its concepts; ``texts`` and ``sites`` may place it in the body."""

    concepts: frozenset[str]
    valued: wire.Valued
    texts: tuple[str, ...] = ()
    sites: frozenset[str] = frozenset()


def read_observations(reader: Reader) -> tuple[ObservationFact, ...]:
    """Return the final values and findings this service knows, in a stable order."""
    facts = [
        fact for entry in reader.of_kind("Observation") for fact in _observation(reader, entry)
    ]
    return tuple(sorted(facts, key=lambda fact: (fact.reference, sorted(fact.concepts))))


def _observation(reader: Reader, entry: Entry) -> Iterable[ObservationFact]:
    found = reader.decoded(entry, wire.Observation)
    if found is None:
        return ()
    parts = tuple(_parts(reader, found))
    if not parts:
        return ()
    if entry.status not in _FINAL:
        is_error = entry.status == "entered-in-error"
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR if is_error else reasons.NOT_FINAL)
        return ()
    effective = _effective(reader, found)
    if not reader.is_possible(entry, effective):
        return ()
    place = Place(vocabulary=reader.vocabulary, code=found.code, body_sites=(found.body_site,))
    shared = _Shared(
        entry=entry,
        effective=reader.clipped(effective),
        body_site=found.body_site,
        code_texts=texts_of((found.code,)),
        side=place.side,
        muscle=_muscle(reader, found),
        unit=reader.vocabulary.unit(found.code),
    )
    facts = (_fact(reader, shared, part) for part in parts)
    return [fact for fact in facts if fact is not None]


def _effective(reader: Reader, found: wire.Observation) -> FhirDate | None:
    return (
        reader.date(found.effective_date_time, found.effective_instant)
        or reader.period(found.effective_period)
        or reader.date(found.issued)
    )


def _parts(reader: Reader, found: wire.Observation) -> Iterable[_Part]:
    """Yield the values of an Observation: its own, and those of its components."""
    place = Place(vocabulary=reader.vocabulary, code=found.code, body_sites=(found.body_site,))
    named = place.concepts()
    own = frozenset(name for name in named if not name.startswith(_PLACING))
    inner = [part for item in found.component for part in _component(reader, own, item)]
    has_value = _quantity(found) is not None or found.value_codeable_concept is not None
    if own and (has_value or not inner):
        sites = _named_sites(reader, found) | {n for n in named if n.startswith(_SITES)}
        yield _Part(concepts=own, valued=found, sites=sites)
    yield from inner


def _component(reader: Reader, own: frozenset[str], component: wire.Component) -> Iterable[_Part]:
    """Yield the value of a component that has its own concept, or is the pain of one site."""
    meanings = Place(vocabulary=reader.vocabulary, code=component.code).concepts()
    sites = _site_concepts(meanings)
    concepts = meanings - sites - {_MUSCLE_COMPONENT}
    texts = texts_of((component.code,))
    if concepts:
        yield _Part(concepts=concepts, valued=component, texts=texts)
    elif own & _PAIN and _quantity(component) is not None:
        yield _Part(concepts=own & _PAIN, valued=component, texts=texts, sites=sites)


def _site_concepts(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(("site-", "side-", "level-")))


def _named_sites(reader: Reader, found: wire.Observation) -> frozenset[str]:
    """Return the sites that components name by a coded value (component "site" = leg)."""
    answers = (component.value_codeable_concept for component in found.component)
    return _site_concepts(reader.vocabulary.plain(answers))


def _muscle(reader: Reader, found: wire.Observation) -> str | None:
    by_code = _first_muscle(reader, found.code)
    if by_code is not None:
        return by_code
    for component in found.component:
        if _MUSCLE_COMPONENT in reader.vocabulary.plain((component.code,)):
            named = _first_muscle(reader, component.value_codeable_concept)
            if named is not None:
                return named
    return None


def _first_muscle(reader: Reader, concept: wire.CodeableConcept | None) -> str | None:
    for name in sorted(reader.vocabulary.plain((concept,))):
        if name.startswith(_MUSCLE_PREFIX) and name != _MUSCLE_COMPONENT:
            return name.removeprefix(_MUSCLE_PREFIX)
    return None


def _fact(reader: Reader, shared: _Shared, part: _Part) -> ObservationFact | None:
    site = None
    if part.concepts & _PAIN:
        site = _pain_site(reader, shared, part)
        if site is None:
            reader.put_entry_aside(shared.entry, reasons.OTHER_SITE)
            return None
    choice = _choice(reader, part.valued)
    number = _number(part, choice, shared.unit)
    if isinstance(number, str):
        reader.put_entry_aside(shared.entry, number)
        return None
    return ObservationFact(
        reference=shared.entry.reference,
        concepts=part.concepts,
        effective=shared.effective,
        value=number.value if number else None,
        converted_from=number.converted_from if number else None,
        choice=choice,
        site=site,
        side=shared.side,
        muscle=shared.muscle,
    )


def _number(part: _Part, choice: frozenset[str], unit: str | None) -> units.Measured | str | None:
    """Return the value in the core's unit, a reason why not, or None for a concept without one.

    *unit* is the site's unit of a number that comes without one.
    """
    concept = next(iter(sorted(part.concepts & units.SCALES.keys())), None)
    if concept is None:
        return None
    if concept == "phq9-item9":
        counted = [_ITEM_ANSWERS[name] for name in choice if name in _ITEM_ANSWERS]
        if counted:
            return units.Measured(value=max(counted))
    quantity = _quantity(part.valued)
    if quantity is not None and unit and not (quantity.code or quantity.unit):
        quantity = wire.Quantity(value=quantity.value, unit=unit)
    return reasons.NO_VALUE if quantity is None else units.measured(concept, quantity)


def _quantity(valued: wire.Valued) -> wire.Quantity | None:
    """Return the number of a value, whichever form it has."""
    if valued.value_quantity is not None and valued.value_quantity.value is not None:
        return valued.value_quantity
    for bare in (valued.value_integer, valued.value_decimal):
        if bare is not None:
            return wire.Quantity(value=bare)
    written = _NUMBER.fullmatch(valued.value_string) if valued.value_string else None
    return None if written is None else wire.Quantity(value=Decimal(written[1]))


def _choice(reader: Reader, valued: wire.Valued) -> frozenset[str]:
    if valued.value_boolean is not None:
        return frozenset({PRESENT if valued.value_boolean else ABSENT})
    if valued.value_codeable_concept is None:
        return frozenset()
    known = reader.vocabulary.plain((valued.value_codeable_concept,))
    return known or frozenset({OTHER_ANSWER})


def _pain_site(reader: Reader, shared: _Shared, part: _Part) -> Site | None:
    """Return where a pain score belongs; None for a part of the body that is neither."""
    if part.sites:
        return _coded_site(part.sites)
    if part.texts:
        placed = _worded_site(part.texts)
        if placed is not Site.ANY:
            return placed
    coded = reader.vocabulary.plain((shared.body_site,))
    site_words = texts_of((shared.body_site,))
    is_only_a_side = bool(coded) and all(name.startswith("side-") for name in coded)
    is_named = bool(site_words) or _has_code(shared.body_site)
    if is_named and not is_only_a_side:
        placed = _coded_site(coded) if _site_concepts(coded) else None
        return placed or _site_by_words(site_words)
    return _worded_site(shared.code_texts)


def _has_code(body_site: wire.CodeableConcept | None) -> bool:
    """Return whether a body site is coded at all, in our sets or not."""
    return body_site is not None and any(coding.code for coding in body_site.coding or ())


def _coded_site(sites: frozenset[str]) -> Site | None:
    is_leg = "site-leg" in sites
    is_back = bool(sites & ({"site-back", "site-lumbar"} | LEVELS.keys()))
    if is_leg and is_back:
        return Site.ANY
    if is_leg or is_back:
        return Site.LEG if is_leg else Site.BACK
    return None


def _site_by_words(texts: tuple[str, ...]) -> Site | None:
    """Return the site of a bodySite by its words; any other body site is elsewhere."""
    if not texts:
        return None
    placed = _worded_site(texts)
    return None if placed is Site.ANY and not all(wording.pain_words(texts)[:2]) else placed


def _worded_site(texts: tuple[str, ...]) -> Site | None:
    is_leg, is_back, is_elsewhere = wording.pain_words(texts)
    if is_elsewhere:
        return None
    if is_leg == is_back:
        return Site.ANY
    return Site.LEG if is_leg else Site.BACK
