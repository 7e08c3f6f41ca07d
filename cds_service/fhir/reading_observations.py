"""Measurements, scores and findings of a chart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.facts import ObservationFact, Site
from cds_service.fhir import reasons, units, wire, wording
from cds_service.fhir.coding import LEVELS, Place, displays_of, says_nothing, texts_of
from cds_service.fhir.reader import Entry, Reader, plain_word
from cds_service.fhir.wire import CodeableConcept
from cds_service.values import FhirDate, Side, lazy

_FINAL = frozenset({"final", "amended", "corrected"})
_NOT_FINAL = frozenset({"registered", "preliminary", "cancelled", "unknown"})
_MEASURED = frozenset(units.SCALES)
_RATING = "pain-score"
_PAIN = frozenset({_RATING, "pain-vas"})
_STRENGTH = "mrc-grade"
_MUSCLE_COMPONENT = "muscle-component"
_MUSCLE_PREFIX = "muscle-"
_SITES = ("site-", "level-")
_PLACING = (*_SITES, "side-", _MUSCLE_PREFIX)
"""Beginnings of concepts that say where; a site's local code may say them along with what."""
_LIMIT = r"\s*([<>]=?|[\u2264\u2265])?\s*"
_NUMBER = re.compile(_LIMIT + r"(-?\d{1,9}(?:\.\d{1,9})?)\s*(?:/\s*(\d{1,3}))?\s*", re.ASCII)
_NUMBER_AND_UNIT = re.compile(
    _LIMIT + r"(\d{1,9}(?:\.\d{1,9}|,\d{1,2})?)\s*([^\s\d.,<>][^<>]*)?", re.ASCII
)
"""A comma before one or two digits is a decimal comma; before three it may part thousands."""
_WITH_UNIT = frozenset({"crp", "esr", "wbc", "temperature", "egfr", "pvr"})
"""Measurements, which laboratories and wards send as text with their unit."""
_LIMIT_SIGNS = {"\N{LESS-THAN OR EQUAL TO}": "<=", "\N{GREATER-THAN OR EQUAL TO}": ">="}
_LONGEST_NUMBER = 40
"""Characters of a number written as text, blanks included; the patterns are slow on long texts."""
_GRADE = re.compile(
    r"\s*(?:MRC\s*)?(?:grade\s*)?([0-5])\s*"
    r"(?:[-+\u2013\u2212]\s*(?:/\s*5\s*)?|/\s*5\s*[-+\u2013\u2212]?\s*)?",
    re.ASCII | re.IGNORECASE,
)
"""A strength as people write it: "3", "4-", "4+/5"; a sign after the number is passed over."""
_RATED = re.compile(
    r"\s*(\d{1,2}(?:\.\d{1,2})?)\s*"
    r"(?:(?:/|(?:out of|of|von|van|sur|su|de|di|a[fv])\b)\s*10\s*)?(?:[-\u2013:=(][^\d]*)?",
    re.ASCII | re.IGNORECASE,
)
"""A pain score as people write it: "7", "7/10", "7 - severe"; with a second number it is none."""
_RATED_ANSWER = "answer-number"
_ITEM = "phq9-item9"
_ITEM_FORM = (
    ("answer-not-at-all", "not at all"),
    ("answer-several-days", "several days"),
    ("answer-more-than-half", "more than half the days"),
    ("answer-nearly-every-day", "nearly every day"),
)
"""The answers of one PHQ-9 item, from no point to three, with the words printed on its form."""
_ITEM_ANSWERS = {answer: Decimal(points) for points, (answer, _) in enumerate(_ITEM_FORM)}
_ITEM_WORDS = {words: Decimal(points) for points, (_, words) in enumerate(_ITEM_FORM)}
PRESENT = "answer-present"
ABSENT = "answer-absent"
NO = "answer-no"
OTHER_ANSWER = "answer-other"
"""An answer that is in none of our value sets."""
_WORDED_ANSWERS = {
    "yes": PRESENT,
    "present": PRESENT,
    "no": NO,
    "none": NO,
    "absent": ABSENT,
    "normal": "answer-normal",
    "reduced": "answer-reduced",
}
"""Answers without a code we know; nothing else is read from words."""
_EMERGENCIES = frozenset(
    {
        *("saddle-sensation", "anal-tone", "urinary-retention", "urinary-incontinence"),
        *("incomplete-bladder-emptying", "faecal-incontinence", "saddle-numbness"),
        *("motor-paresis", "motor-paraplegia"),
        *("cauda-equina", "infection-spinal", "haematoma-spinal"),
    }
)
"""Findings that may be an emergency; an answer we cannot read leaves a gap that is said."""
_EMERGENCY_NUMBERS = frozenset({_STRENGTH, "pvr"})
"""Numbers that may be one, alike: a strength, residual urine."""
_EXAMINED = frozenset({"saddle-sensation", "anal-tone"})
"""Examinations of them, whose result is an answer: without one they say nothing."""
_FINDINGS = _EMERGENCIES | {
    *("sensory-deficit", "motor-weakness", "wound-problem", "postoperative-fever"),
    *("infection-spinal-if-text-or-early", "infection-sign", "haematoma-other", "csf-leak"),
    *("tumour-spine", "bone-metastasis", "vertebral-fracture", "hardware-failure"),
    *("neurogenic-claudication", "sacroiliac-pain"),
}
"""What is there or not; an answer we cannot read is neither."""


_Named = tuple[CodeableConcept | None, CodeableConcept | None]
"""The code and the body site of an Observation."""


class _Kind(Struct, frozen=True, kw_only=True, dict=True):
    """What the code and the body site of Observations say: read once for all that share them."""

    place: Place
    concepts: frozenset[str]
    sites: frozenset[str]
    side: Side | None
    muscle: str | None
    unit: str | None
    """The unit of its number by the site's map, where the chart states none."""

    @lazy
    def pain_site(self) -> Site | None:
        """Return where it is if it is a pain score; None for neither back nor leg."""
        return _pain_site(self, self.sites) if self.concepts & _PAIN else None

    @lazy
    def own_site(self) -> Site | None:
        """Return where a pain is by its body site, or by the words of its code."""
        (body_site,) = self.place.body_sites
        coded = self.place.sites
        site_words = texts_of((body_site,))
        is_only_a_side = bool(coded) and all(name.startswith("side-") for name in coded)
        is_named = bool(site_words) or _has_code(body_site)
        if is_named and not is_only_a_side:
            placed = _coded_site(coded) if _site_concepts(coded) else None
            return placed or _site_by_words(site_words, displays_of((body_site,)))
        return _worded_site(texts_of((self.place.code,)))

    @lazy
    def is_elsewhere(self) -> bool:
        """Return whether code, body site or words clearly place a strength outside the legs."""
        return self.place.is_elsewhere


def _kind(reader: Reader, code: CodeableConcept | None, body_site: CodeableConcept | None) -> _Kind:
    place = Place(vocabulary=reader.vocabulary, code=code, body_sites=(body_site,))
    named = place.concepts()
    return _Kind(
        place=place,
        concepts=frozenset(name for name in named if not name.startswith(_PLACING)),
        sites=frozenset(name for name in named if name.startswith(_SITES)),
        side=place.side,
        muscle=_first_muscle(reader, code),
        unit=reader.vocabulary.unit(code),
    )


class _Part(Struct, frozen=True, kw_only=True):
    """One value with its concepts; ``pain_site`` is where it is if it is a pain score."""

    concepts: frozenset[str]
    valued: wire.Valued
    pain_site: Site | None = None
    side: Side | None = None
    muscle: str | None = None
    place: Place | None = None
    """What the component it is says of itself; None for the value of the Observation itself."""


def read_observations(reader: Reader) -> tuple[ObservationFact, ...]:
    """Return the final values and findings this service knows, in a stable order."""
    kinds: dict[_Named, _Kind] = {}
    facts = [
        fact
        for entry in reader.of_kind("Observation")
        for fact in _observation(reader, entry, kinds)
    ]
    return tuple(sorted(facts, key=lambda fact: (fact.reference, sorted(fact.concepts))))


def _observation(
    reader: Reader, entry: Entry, kinds: dict[_Named, _Kind]
) -> Iterable[ObservationFact]:
    found = reader.decoded(entry, wire.Observation)
    if found is None:
        return ()
    if any(part.modifier_extension for part in found.component):
        reader.put_modified_aside(entry)
        return ()
    kind = kinds.get((found.code, found.body_site))
    if kind is None:
        kind = _kind(reader, found.code, found.body_site)
        kinds[found.code, found.body_site] = kind
    parts = _parts(reader, found, kind)
    if not parts:
        _put_nameless_aside(reader, entry, found)
        return ()
    if entry.status not in _FINAL:
        _put_status_aside(reader, entry, parts)
        return ()
    effective = _effective(reader, found)
    if not reader.is_possible(entry, effective, kind.concepts):
        return ()
    effective = reader.clipped(effective)
    facts = (_fact(reader, entry, kind, part, effective=effective) for part in parts)
    return [fact for fact in facts if fact is not None]


def _put_status_aside(reader: Reader, entry: Entry, parts: Iterable[_Part]) -> None:
    """Set aside a value that is not final; without a status we know it may be: that is a gap."""
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
        return
    is_known = entry.status in _NOT_FINAL
    reason = reasons.NOT_FINAL if is_known else reasons.UNREADABLE
    reader.put_entry_aside(entry, reason, matters=not is_known, concepts=_told(parts))


def _put_nameless_aside(reader: Reader, entry: Entry, found: wire.Observation) -> None:
    """Set aside what has neither a code nor parts: it may be what a rule looks for."""
    if says_nothing(found.code) and not found.component and entry.status != "entered-in-error":
        reader.put_entry_aside(entry, reasons.UNREADABLE, matters=True)


def _told(parts: Iterable[_Part]) -> frozenset[str]:
    return frozenset(name for part in parts for name in part.concepts)


def _effective(reader: Reader, found: wire.Observation) -> FhirDate | None:
    return (
        reader.date(found.effective_date_time, found.effective_instant)
        or reader.period(found.effective_period)
        or _only_event(reader, found.effective_timing)
        or reader.date(found.issued)
    )


def _only_event(reader: Reader, timing: wire.Moments | None) -> FhirDate | None:
    """Return the moment of a timing; several leave open which one the value belongs to."""
    if timing is None or len(timing.event) != 1:
        return None
    return reader.date(*timing.event)


def _parts(reader: Reader, found: wire.Observation, kind: _Kind) -> Sequence[_Part]:
    """Return the values of an Observation: its own, and those of its components."""
    own = kind.concepts
    if not found.component:
        return (_itself(found, kind, kind.pain_site),) if own else ()
    named = _named_sites(reader, found)
    kind = replace(kind, muscle=kind.muscle or _component_muscle(reader, found))
    inner = [part for item in found.component for part in _component(reader, kind, item, named)]
    has_value = _quantity(found) is not None or found.value_codeable_concept is not None
    if not own or (inner and not has_value):
        return inner
    sites = named | kind.sites
    site = _pain_site(kind, sites) if own & _PAIN else None
    return (_itself(found, kind, site), *inner)


def _itself(found: wire.Observation, kind: _Kind, site: Site | None) -> _Part:
    return _Part(
        concepts=kind.concepts, valued=found, pain_site=site, side=kind.side, muscle=kind.muscle
    )


def _component(
    reader: Reader, kind: _Kind, component: wire.Component, named: frozenset[str]
) -> Iterable[_Part]:
    """Yield the value of a component that has its own concept, or is the pain of one site.

    Or is the strength of one side or muscle.  *named* are the sites that components name, for a
    score whose own words name none.
    """
    place = Place(vocabulary=reader.vocabulary, code=component.code)
    meanings = place.concepts()
    concepts = frozenset(name for name in meanings if not name.startswith(_PLACING))
    texts = texts_of((component.code,))
    pain = kind.concepts & _PAIN
    strength = kind.concepts & {_STRENGTH}
    if concepts:
        places = frozenset() if any(wording.pain_words(texts)) else named
        site = _pain_site(kind, places, texts) if concepts & _PAIN else None
        yield _placed(
            reader, kind, place, _Part(concepts=concepts, valued=component, pain_site=site)
        )
    elif pain and _quantity(component) is not None:
        site = _pain_site(kind, _site_concepts(meanings), texts)
        yield _Part(concepts=pain, valued=component, pain_site=site)
    elif strength and (place.side or _first_muscle(reader, component.code)):
        yield _placed(reader, kind, place, _Part(concepts=strength, valued=component))


def _placed(reader: Reader, kind: _Kind, place: Place, part: _Part) -> _Part:
    """Return the *part* of a component with its own side and muscle, else those of the whole."""
    return replace(
        part,
        side=place.side or kind.side,
        muscle=_first_muscle(reader, place.code) or kind.muscle,
        place=place,
    )


def _site_concepts(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(("site-", "side-", "level-")))


def _named_sites(reader: Reader, found: wire.Observation) -> frozenset[str]:
    """Return the sites that components name by a coded value (component "site" = leg)."""
    answers = (component.value_codeable_concept for component in found.component)
    return _site_concepts(reader.vocabulary.plain(answers))


def _component_muscle(reader: Reader, found: wire.Observation) -> str | None:
    """Return the muscle that a component names."""
    for component in found.component:
        if _MUSCLE_COMPONENT in reader.vocabulary.plain((component.code,)):
            named = _first_muscle(reader, component.value_codeable_concept)
            if named is not None:
                return named
    return None


def _first_muscle(reader: Reader, concept: CodeableConcept | None) -> str | None:
    for name in sorted(reader.vocabulary.plain((concept,))):
        if name.startswith(_MUSCLE_PREFIX) and name != _MUSCLE_COMPONENT:
            return name.removeprefix(_MUSCLE_PREFIX)
    return None


def _fact(
    reader: Reader, entry: Entry, kind: _Kind, part: _Part, *, effective: FhirDate | None
) -> ObservationFact | None:
    if part.pain_site is None and part.concepts & _PAIN:
        reader.put_entry_aside(entry, reasons.OTHER_SITE)
        return None
    choice = _choice(reader, part.valued)
    if part.concepts & _FINDINGS:
        choice = choice or _answered_otherwise(part.valued)
        if not choice and part.concepts & _EXAMINED:
            choice = frozenset({OTHER_ANSWER})
        if OTHER_ANSWER in choice:
            was_answered = part.valued.data_absent_reason is None
            matters = was_answered and not part.concepts.isdisjoint(_EMERGENCIES)
            _put_aside(reader, entry, part, reasons.ANSWER_NOT_READ, matters=matters)
            return None
    is_strength = _STRENGTH in part.concepts
    if is_strength and part.muscle is None and _is_no_leg(kind, part):
        reader.put_entry_aside(entry, reasons.NOT_A_LEG)
        return None
    number = _number(reader, part, choice, kind.unit)
    if isinstance(number, str):
        was_measured = part.valued.data_absent_reason is None
        matters = was_measured and not part.concepts.isdisjoint(_EMERGENCY_NUMBERS)
        _put_aside(reader, entry, part, number, matters=matters)
        return None
    return ObservationFact(
        reference=entry.reference,
        concepts=part.concepts,
        effective=effective,
        value=number.value if number else None,
        converted_from=number.converted_from if number else None,
        choice=choice,
        site=part.pain_site,
        side=part.side,
        muscle=part.muscle,
    )


def _put_aside(reader: Reader, entry: Entry, part: _Part, reason: str, *, matters: bool) -> None:
    reader.put_entry_aside(entry, reason, matters=matters, concepts=part.concepts)


def _is_no_leg(kind: _Kind, part: _Part) -> bool:
    """Return whether code, body site or words clearly place a strength outside the legs.

    What a component says of itself comes before what the whole says.
    """
    if part.place is not None and (part.place.is_elsewhere or part.place.is_leg):
        return not part.place.is_leg
    return kind.is_elsewhere


def _number(
    reader: Reader, part: _Part, choice: frozenset[str], unit: str | None
) -> units.Measured | str | None:
    """Return the value in the core's unit, a reason why not, or None for a concept without one.

    *unit* is the site's unit of a number that comes without one.
    """
    concept = min(part.concepts & _MEASURED, default=None)
    if concept is None:
        return None
    if concept == _ITEM:
        counted = [_ITEM_ANSWERS[name] for name in choice if name in _ITEM_ANSWERS]
        if counted:
            return units.Measured(value=max(counted))
    valued = part.valued
    quantity = _quantity(valued) or _worded_number(reader, concept, valued)
    if quantity is not None and unit and not (quantity.code or quantity.unit):
        quantity = replace(quantity, unit=unit)
    return reasons.NO_VALUE if quantity is None else units.measured(concept, quantity)


def _quantity(valued: wire.Valued) -> wire.Quantity | None:
    """Return the number of a value, whichever form it has."""
    if valued.value_quantity is not None and valued.value_quantity.value is not None:
        return valued.value_quantity
    for bare in (valued.value_integer, valued.value_decimal):
        if bare is not None:
            return wire.Quantity(value=bare)
    written = _fully_matched(_NUMBER, valued.value_string)
    if written is None:
        return None
    return _limited(written, f"/{written[3]}" if written[3] else None)


def _number_and_unit(text: str | None) -> wire.Quantity | None:
    """Return what laboratories write as text: "< 15 mL/min", "38.9 Cel", "12,5 mg/L"."""
    written = _fully_matched(_NUMBER_AND_UNIT, text)
    return _limited(written, written[3]) if written else None


def _limited(written: re.Match[str], unit: str | None) -> wire.Quantity:
    sign = written[1]
    return wire.Quantity(
        value=Decimal(written[2].replace(",", ".")),
        comparator=_LIMIT_SIGNS.get(sign, sign),
        unit=unit,
    )


def _worded_number(reader: Reader, concept: str, valued: wire.Valued) -> wire.Quantity | None:
    """Return the number of a strength, pain score or PHQ-9 item given in words or as an answer.

    Of a measurement it is a text of number and unit.
    """
    if concept in _WITH_UNIT:
        return _number_and_unit(valued.value_string)
    if concept == _STRENGTH:
        return _written_grade(valued)
    if concept == _ITEM:
        return _item_points(valued)
    return _rating(reader, valued) if concept == _RATING else None


def _item_points(valued: wire.Valued) -> wire.Quantity | None:
    """Return the points of an item answered "Several days" or "1 - several days"."""
    text = _written(valued)
    points = _ITEM_WORDS.get(plain_word(text))
    if points is not None:
        return wire.Quantity(value=points)
    written = _rated(text)
    return wire.Quantity(value=Decimal(written[1])) if written else None


def _rating(reader: Reader, valued: wire.Valued) -> wire.Quantity | None:
    """Return the pain score that a text, or an answer by code or words, says; None for two."""
    found = {written[1] for text in _rating_texts(reader, valued) if (written := _rated(text))}
    numbers = set(map(Decimal, found))
    return wire.Quantity(value=numbers.pop()) if len(numbers) == 1 else None


def _rated(text: str | None) -> re.Match[str] | None:
    return _fully_matched(_RATED, text)


def _rating_texts(reader: Reader, valued: wire.Valued) -> Iterable[str | None]:
    yield valued.value_string
    answer = valued.value_codeable_concept
    if answer is None:
        return
    yield answer.text
    for coding in answer.coding:
        yield coding.display
        meaning = reader.vocabulary.of_coding(coding)
        if any(name == _RATED_ANSWER for name, _ in meaning.meanings):
            yield meaning.display


def _written_grade(valued: wire.Valued) -> wire.Quantity | None:
    """Return a strength written as "4-" or "2+/5": the number before the sign."""
    written = _fully_matched(_GRADE, _written(valued))
    return wire.Quantity(value=Decimal(written[1])) if written else None


def _written(valued: wire.Valued) -> str | None:
    """Return the words of a value."""
    answer = valued.value_codeable_concept
    return valued.value_string or (answer.text if answer is not None else None)


def _fully_matched(pattern: re.Pattern[str], text: str | None) -> re.Match[str] | None:
    return pattern.fullmatch(text) if text and len(text) <= _LONGEST_NUMBER else None


def _choice(reader: Reader, valued: wire.Valued) -> frozenset[str]:
    if valued.value_boolean is not None:
        return frozenset({PRESENT if valued.value_boolean else ABSENT})
    answer = valued.value_codeable_concept
    if answer is None:
        return frozenset()
    known = reader.vocabulary.plain((answer,)) - {_RATED_ANSWER}
    return known or _worded_answer(answer.text, *[coding.display for coding in answer.coding])


def _answered_otherwise(valued: wire.Valued) -> frozenset[str]:
    """Return the answer to a finding that has no coded one; empty if it is only recorded."""
    quantity = _quantity(valued)
    if quantity is not None:
        return frozenset({PRESENT if quantity.value else NO})
    if valued.value_string is not None:
        return _worded_answer(valued.value_string)
    return frozenset() if valued.data_absent_reason is None else frozenset({OTHER_ANSWER})


def _worded_answer(*texts: str | None) -> frozenset[str]:
    """Return the answer on which *texts* agree; two answers, or one nobody reads, are another."""
    words = filter(None, map(plain_word, texts))
    answers = frozenset(_WORDED_ANSWERS.get(word, OTHER_ANSWER) for word in words)
    return answers if len(answers) == 1 else frozenset({OTHER_ANSWER})


def _pain_site(kind: _Kind, sites: frozenset[str], texts: tuple[str, ...] = ()) -> Site | None:
    """Return where a pain score belongs; None for a part of the body that is neither.

    *sites* are the coded ones of the value, *texts* its own words; the Observation says the rest.
    """
    if any(name.startswith(_SITES) for name in sites):  # a side alone is no site
        return _coded_site(sites)
    placed = _worded_site(texts) if texts else Site.ANY
    return kind.own_site if placed is Site.ANY else placed


def _has_code(body_site: CodeableConcept | None) -> bool:
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


def _site_by_words(texts: tuple[str, ...], displays: tuple[str, ...]) -> Site | None:
    """Return the site of a bodySite by its words; any other body site is elsewhere.

    The *displays* of its codes are asked where its *texts* name none.
    """
    for words in (texts, displays):
        placed = _worded_site(words)
        if placed is not Site.ANY or all(wording.pain_words(words)[:2]):
            return placed
    return None


def _worded_site(texts: tuple[str, ...]) -> Site | None:
    is_leg, is_back, is_elsewhere = wording.pain_words(texts)
    if is_elsewhere:
        return None
    if is_leg == is_back:
        return Site.ANY
    return Site.LEG if is_leg else Site.BACK
