"""What the codes of an entry mean: the value sets it belongs to, its levels and its side.

Codes are matched by system and code, never by the chart's display; a site's local codes come from
its code map.  A code that needs more (a lumbar site, a leg site, words naming the spine) counts
only if the entry shows it.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice

from msgspec import Struct, structs

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.catalogue.orders import meanings_of_entries
from cds_service.fhir import wording
from cds_service.fhir.wire import CodeableConcept, CodeableReference, Coding
from cds_service.knowledge.model import RXNORM, SYSTEM_NAMES, Code, Knowledge, Match, Needs
from cds_service.values import Side

Meanings = tuple[tuple[str, Needs], ...]

LUMBAR_CONDITIONS = frozenset(
    {
        "radiculopathy",
        "low-back-pain",
        "disc-degeneration",
        "spinal-stenosis",
        "foraminal-stenosis",
        "disc-herniation",
        "neurogenic-claudication",
        "cauda-equina",
    }
)
"""Reasons for an operation that make it a lumbar one."""
LUMBAR_REASONS = frozenset(
    {
        "spinal-stenosis",
        "foraminal-stenosis",
        "disc-herniation",
        "disc-degeneration",
        "neurogenic-claudication",
    }
)
"""Reasons that a code which needs a lumbar reason accepts."""
LEVELS = {
    "level-l1-l2": "L1-L2",
    "level-l2-l3": "L2-L3",
    "level-l3-l4": "L3-L4",
    "level-l4-l5": "L4-L5",
    "level-l5-s1": "L5-S1",
}
_SPINE_SITES = frozenset({"site-lumbar", "site-sacroiliac", *LEVELS})
_LISTED_OPERATIONS = frozenset({"CPT", "HCPCS", "ICD-10-PCS", "OPCS-4"})
"""Systems of which ``cards/`` lists the lumbar operations that count; the others it leaves out."""
MOST_UNMAPPED = 20
_MOST_LOOKED_THROUGH = 1_000
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}:[\w./:#~-]{1,128}\|[\w.-]{1,20}", re.ASCII)
"""A system that is a URI without a query, and a short code without blanks, as terminology has."""
_PERSONAL_CODE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{3}-[0-9]{2}-[0-9]{4}", re.ASCII)
"""A day, or a US social security number."""
_RECORDS = re.compile(
    r"""
    [0-9]{5}
    | [0-9a-f]{8} (-[0-9a-f]{4}){3} -[0-9a-f]{12} (?!/codeset/)  # Oracle Health's tenants have one
    | [/:#.] ( account | encounter | identifiers? | member | mrn? | namingsystem | nhs-number
             | patients? | persons? | (us-)?ssn | visit ) ( [/:#.] | \Z )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_RECORDS_OF_OID = re.compile("[0-9]{8}", re.ASCII)
"""Where a system may name a person or a record: a long number, a UUID, a telling word."""
_SIDES = {"side-left": Side.LEFT, "side-right": Side.RIGHT, "side-both": Side.BOTH}
_MODIFIED_CPT = re.compile(r"([0-9]{4}[0-9A-Z])((?:[-:, ]{1,2}[0-9A-Z]{2}){1,4})")
_CPT_MODIFIER = re.compile("[0-9A-Z]{2}")
_CPT_DISCONTINUED = frozenset({"53", "73", "74"})
"""What was begun or planned and not done: no operation."""
_CPT_SIDES = {"LT": Side.LEFT, "RT": Side.RIGHT, "50": Side.BOTH}
_EXPRESSION = re.compile(r"([0-9]{6,18})\s*[|:+].*", re.DOTALL | re.ASCII)
_CONTEXT = re.compile(r"408729009|408730004|408731000|408732007", re.ASCII)
"""What an expression says of its code as a whole: absent, not done, in the past, a relative's."""
_REFINED_SIDE = re.compile(r"272741003\s*(?:\|[^|]*\|\s*)?=\s*([0-9]{6,18})", re.ASCII)
"""An expression of SNOMED CT: a code, its term or what refines it, of which the side is read."""
_GERMAN = "http://fhir.de/StructureDefinition/"
_GERMAN_SIDE = f"{_GERMAN}seitenlokalisation"
_GERMAN_CERTAINTY = f"{_GERMAN}icd-10-gm-diagnosesicherheit"
"""What the base profiles of Germany write at a code of ICD-10-GM or OPS."""
_CAPITALS = frozenset({"ICD-10-CM", "ICD-10-PCS", "OPCS-4"})
_UNDOTTED = {
    "ICD-10-CM": re.compile(r"[A-Z][0-9][0-9A-Z][0-9A-Z]{1,4}"),
    "OPCS-4": re.compile(r"[A-Z][0-9]{3}"),
}
"""Codes whose point after the third sign some charts leave out."""
_FILLED_ICD = re.compile(r"([A-Z][0-9]{2})\.?X")
"""A code of three signs that the NHS fills up to four: "R33X"."""


class CodeMeaning(Struct, frozen=True, kw_only=True):
    """What one code says by itself."""

    meanings: Meanings = ()
    side: Side | None = None
    levels: frozenset[str] = frozenset()
    display: str | None = None
    """What ``cards/`` calls it, never the chart."""


_NOTHING = CodeMeaning()
_MOST_CODES = 10_000


class Vocabulary:
    """Looks codes up in ``cards/`` and a site's map; remembers what it found for one reading."""

    def __init__(self, knowledge: Knowledge, code_map: CodeMap = NO_CODES) -> None:
        """Read codes with *knowledge*, and local ones with *code_map*."""
        self._knowledge = knowledge
        self._code_map = code_map
        self._remembered: dict[tuple[str | None, str | None], CodeMeaning] = {}
        self._standard: dict[tuple[str, str], CodeMeaning] = knowledge.remember("codes", dict)
        """What codes mean for every chart; codes without a meaning are not kept."""

    def unmapped(self) -> tuple[str, ...]:
        """Return the codes looked up in vain, as "system|code", at most ``MOST_UNMAPPED``.

        Codes of systems that ``cards/`` does not use come first: they are the site's own.  What
        could be the identifier of a person is left out.
        """
        missed = (
            (system in SYSTEM_NAMES, f"{system}|{code}")
            for (system, code), meaning in islice(self._remembered.items(), _MOST_LOOKED_THROUGH)
            if meaning is _NOTHING and system and code and _CODE.fullmatch(f"{system}|{code}")
        )
        looks_like_terminology = cache(_looks_like_terminology)  # few systems, many codes
        kept = (
            each
            for each in missed
            if each[0] or looks_like_terminology(each[1].partition("|")[0])
            if not _PERSONAL_CODE.fullmatch(each[1].rpartition("|")[2])
        )
        return tuple(text for _, text in heapq.nsmallest(MOST_UNMAPPED, kept))

    def of_coding(self, coding: Coding) -> CodeMeaning:
        """Return what one coding means."""
        key = (coding.system, coding.code)
        found = self._remembered.get(key)
        if found is None:
            found = self._remembered[key] = self._looked_up(*key)
        return found

    def has_meaning(self, concept: CodeableConcept | None) -> bool:
        """Whether any coding of *concept* is in a value set, whatever else it needs."""
        inner = unwrapped(concept)
        if inner is None:
            return False
        for coding in inner.coding:  # noqa: SIM110 - faster, and asked for every Observation
            if self.of_coding(coding).meanings:
                return True
        return False

    def meanings(self, concepts: Iterable[CodeableConcept | None]) -> Meanings:
        """Return all meanings of *concepts*, needs not yet judged."""
        return tuple(
            meaning for coding in _codings(concepts) for meaning in self.of_coding(coding).meanings
        )

    def plain(self, concepts: Iterable[CodeableConcept | None]) -> frozenset[str]:
        """Return the value sets that *concepts* are in without needing anything else."""
        return frozenset(name for name, needs in self.meanings(concepts) if needs is Needs.NOTHING)

    def is_in(self, concept: CodeableConcept | None, value_set: str) -> bool:
        """Whether a code of *concept* is in *value_set*; one that is not is none to be mapped."""
        found = (self._looked_up(coding.system, coding.code) for coding in _codings((concept,)))
        return any(value_set == name for meaning in found for name, _ in meaning.meanings)

    def of_our_words(self, text: str) -> Meanings:
        """Return what our order means whose words are *text*; without codes it comes back so."""
        return self._knowledge.remember("words of orders", self._words_of_orders).get(text, ())

    def _words_of_orders(self) -> dict[str, Meanings]:
        return {order.text: order.read_as for order in self._knowledge.orders.values()}

    def sides(self, concepts: Iterable[CodeableConcept | None]) -> frozenset[Side]:
        """Return the sides that codes of *concepts* state, or codes that qualify them."""
        known = tuple(concepts)
        codings = (*_codings(known), *_qualifiers(known))
        found = (self.of_coding(coding).side for coding in codings)
        return frozenset(side for side in found if side is not None)

    def levels(self, concepts: Iterable[CodeableConcept | None]) -> frozenset[str]:
        """Return the disc levels that codes of *concepts* state."""
        return frozenset(
            level for coding in _codings(concepts) for level in self.of_coding(coding).levels
        )

    def unit(self, concept: CodeableConcept | None) -> str | None:
        """Return the unit the site's map gives to a number without one, or None."""
        units = self._code_map.units
        if not units:
            return None
        found = (units.get(_key(coding)) for coding in _codings((concept,)))
        return next((unit for unit in found if unit), None)

    def _looked_up(self, system: str | None, code: str | None) -> CodeMeaning:
        if system is None or code is None:
            return _NOTHING
        standard = self._of_standard(system, code)
        code_map = self._code_map
        if not (code_map.concepts or code_map.orders.by_code):
            return standard
        key = _plain_key(system, code)
        local = code_map.concepts.get(key)
        found = standard if local is None else _joined(standard, local)
        entries = code_map.orders.by_code.get(key)
        if entries is None:
            return found
        return _ordered(found, standard, meanings_of_entries(entries, self._knowledge))

    def _of_standard(self, system: str, code: str) -> CodeMeaning:
        found = self._standard.get((system, code))
        if found is None:
            found = self._read(system, code)
            if found.meanings and len(self._standard) < _MOST_CODES:
                self._standard[system, code] = found
        return found

    def _read(self, system: str, code: str) -> CodeMeaning:
        name = _system_name(system)
        if name is None:
            return _NOTHING
        if name == "HCPCS" and code.strip()[:1].isdigit():
            name = "CPT"  # the first level of HCPCS; the codes of the second begin with a letter
        refined_by = _REFINED_SIDE.findall(code) if name == "SNOMED-CT" else ()
        code, modifier_side = _cleaned(name, code)
        meanings = self._knowledge.meanings(_CANONICAL[name], code)
        if not meanings:
            return _NOTHING
        displays = tuple(self._own_displays(name, code, meanings))
        named = frozenset(value_set for value_set, _ in meanings)
        sides = [side for value_set, side in _SIDES.items() if value_set in named]
        stated = (self._of_standard(system, each).side for each in refined_by)
        sides += [side for side in stated if side is not None]
        return CodeMeaning(
            meanings=meanings,
            side=modifier_side or wording.joined_side(sides) or wording.side_in(displays),
            levels=frozenset(level for value_set, level in LEVELS.items() if value_set in named)
            or wording.levels_in(displays),
            display=next(iter(displays), None) or next(self._of_family(name, code, meanings), None),
        )

    def _own_displays(self, system: str, code: str, meanings: Meanings) -> Iterator[str]:
        """Yield our own displays of *code*: they name sides and levels in plain words."""
        for known in self._listed(system, meanings):
            if known.match is Match.EXACT and known.code == code:
                yield known.display

    def _of_family(self, system: str, code: str, meanings: Meanings) -> Iterator[str]:
        """Yield our own displays of the families *code* belongs to, which name no side."""
        for known in self._listed(system, meanings):
            if known.match is Match.PREFIX and code.startswith(known.code):
                yield known.display

    def _listed(self, system: str, meanings: Meanings) -> Iterator[Code]:
        for value_set, _ in meanings:
            for known in self._knowledge.value_sets[value_set].codes:
                if known.system == system:
                    yield known


def _looks_like_terminology(system: str) -> bool:
    """Whether *system* names codes, as far as one can see, and no person and no record."""
    records = _RECORDS_OF_OID if system.startswith("urn:oid:") else _RECORDS
    return records.search(system) is None


def _plain_key(system: str, code: str) -> tuple[str, str]:
    return system.strip().split("|", 1)[0], code.strip()


def _key(coding: Coding) -> tuple[str, str]:
    return _plain_key(coding.system or "", coding.code or "")


def _joined(standard: CodeMeaning, local: tuple[str, ...]) -> CodeMeaning:
    """Return what a code means by itself and by the site's map; the map's side wins."""
    mapped = tuple((name, Needs.NOTHING) for name in local)
    side = wording.joined_side([_SIDES[name] for name in local if name in _SIDES])
    levels = frozenset(LEVELS[name] for name in local if name in LEVELS)
    known = tuple(meaning for meaning in standard.meanings if meaning[0] not in local)
    return CodeMeaning(
        meanings=(*mapped, *known),
        side=side or standard.side,
        levels=levels or standard.levels,
        display=standard.display,
    )


def _ordered(known: CodeMeaning, standard: CodeMeaning, ordered: Meanings) -> CodeMeaning:
    """Return what a code means that orders *ordered* too.

    A *standard* code that means some of it means no more, and that on its own conditions.
    """
    names = {name for name, _ in ordered}
    if any(name in names for name, _ in standard.meanings):
        return known
    names.difference_update(name for name, _ in known.meanings)
    new = [meaning for meaning in ordered if meaning[0] in names]
    return structs.replace(known, meanings=(*known.meanings, *new))


_CANONICAL: dict[str, str] = {}
for _uri, _name in SYSTEM_NAMES.items():
    _CANONICAL.setdefault(_name, _uri)


def _system_name(system: str) -> str | None:
    text = "".join(system.split()).split("|", 1)[0].rstrip("/")
    if text.startswith(("http://snomed.info/sct/", "https://snomed.info/sct/")):
        return "SNOMED-CT"
    secure = text.replace("http://", "https://", 1)
    plain = text.replace("https://", "http://", 1)
    return SYSTEM_NAMES.get(text) or SYSTEM_NAMES.get(plain) or SYSTEM_NAMES.get(secure)


def _cleaned(system: str, code: str) -> tuple[str, Side | None]:
    code = code.strip()
    if system == "CPT" and (modified := _MODIFIED_CPT.fullmatch(code)):
        modifiers = frozenset(_CPT_MODIFIER.findall(modified[2]))
        if modifiers & _CPT_DISCONTINUED:
            return code, None
        return modified[1], wording.joined_side(
            _CPT_SIDES[m] for m in modifiers & _CPT_SIDES.keys()
        )
    if system == "SNOMED-CT" and (expression := _EXPRESSION.fullmatch(code)):
        return code if _CONTEXT.search(code) else expression[1], None
    if system in _CAPITALS:
        code = code.upper()
    if system == "ICD-10-CM" and (filled := _FILLED_ICD.fullmatch(code)):
        return filled[1], None
    undotted = _UNDOTTED.get(system)
    if undotted is not None and undotted.fullmatch(code):
        code = f"{code[:3]}.{code[3:]}"
    return code, None


def unwrapped(concept: CodeableConcept | None) -> CodeableConcept | None:
    """Return *concept*, or the one inside it where R5 wraps it in a CodeableReference."""
    if concept is not None and concept.concept is not None and not concept.coding:
        return concept.concept
    return concept


def inner_concepts(references: Iterable[CodeableReference]) -> tuple[CodeableConcept, ...]:
    """Return the concepts of R5 references."""
    return tuple(item.concept for item in references if item.concept is not None)


def _codings(concepts: Iterable[CodeableConcept | None]) -> Iterable[Coding]:
    for concept in concepts:
        inner = unwrapped(concept)
        if inner is not None:
            yield from inner.coding


def _qualifiers(concepts: Iterable[CodeableConcept | None]) -> Iterable[Coding]:
    """Yield the codings in extensions of *concepts*, and the sides their codes carry."""
    for concept in concepts:
        for qualifier in concept.extension if concept is not None else ():
            if qualifier.value_coding is not None:
                yield qualifier.value_coding
            yield from _codings((qualifier.value_codeable_concept,))
        yield from _marks(concept, _GERMAN_SIDE)


def certainties(concept: CodeableConcept | None) -> frozenset[str]:
    """Return how sure the codes of ICD-10-GM in *concept* are.

    "G" confirmed, "V" suspected, "A" ruled out, "Z" what is left of it.
    """
    return frozenset((mark.code or "").strip() for mark in _marks(concept, _GERMAN_CERTAINTY))


def _marks(concept: CodeableConcept | None, url: str) -> Iterator[Coding]:
    """Yield what the extension *url* says at the codes of *concept*."""
    for coding in _codings((concept,)):
        for mark in coding.extension:
            if mark.url == url and mark.value_coding is not None:
                yield mark.value_coding


def rxnorm_codes(concepts: Iterable[CodeableConcept | None]) -> frozenset[str]:
    """Return the RxNorm codes of *concepts*."""
    return frozenset(
        (coding.code or "").strip()
        for coding in _codings(concepts)
        if _system_name(coding.system or "") == RXNORM
    )


def texts_of(concepts: Iterable[CodeableConcept | None]) -> tuple[str, ...]:
    """Return the words of *concepts*: the text, or the displays where there is none."""
    found: list[str] = []
    for concept in concepts:
        inner = unwrapped(concept)
        if inner is None:
            continue
        if inner.text is not None and inner.text.strip():
            found.append(inner.text)
        else:
            found.extend(coding.display for coding in inner.coding if coding.display)
    return tuple(found)


def says_nothing(concept: CodeableConcept | None) -> bool:
    """Whether *concept* has neither a code nor a word, so that its entry may be anything."""
    codes = [coding.code for coding in _codings((concept,)) if coding.code]
    return not "".join((*codes, *texts_of((concept,)))).strip()


def displays_of(concepts: Iterable[CodeableConcept | None]) -> tuple[str, ...]:
    """Return what the chart calls the codes of those *concepts* that have a text as well.

    For places that the text does not name: it may be of another language than the displays.
    """
    found: list[str] = []
    for concept in concepts:
        inner = unwrapped(concept)
        if inner is not None and inner.text:
            found.extend(coding.display for coding in inner.coding if coding.display)
    return tuple(found)


class Place(Struct, frozen=True, kw_only=True):
    """Where in the body an entry belongs, from its codes and its words.

    The displays of its codes are asked where its text does not say.
    """

    vocabulary: Vocabulary
    code: CodeableConcept | None
    body_sites: tuple[CodeableConcept | None, ...] = ()
    texts: tuple[str, ...] = ()
    reasons: tuple[CodeableConcept | None, ...] = ()
    more_reasons: frozenset[str] = frozenset()
    """Concepts of the conditions that the entry names as its reason."""

    @property
    def own_texts(self) -> tuple[str, ...]:
        """The words of the entry itself."""
        return (*texts_of((self.code, *self.body_sites)), *self.texts)

    @property
    def sites(self) -> frozenset[str]:
        """The value sets of its body sites."""
        return self.vocabulary.plain(self.body_sites)

    @property
    def reason_concepts(self) -> frozenset[str]:
        """The value sets of its reasons, each judged by its own words."""
        by_code = (
            name
            for reason in self.reasons
            for name in Place(vocabulary=self.vocabulary, code=reason).concepts()
        )
        return frozenset(by_code) | self.more_reasons

    @property
    def is_lumbar(self) -> bool:
        """Whether code words, body site or reason say lumbar, and none says another region."""
        sites = self.sites | self.vocabulary.plain((self.code,))
        if "site-lumbar" in sites or sites & LEVELS.keys() or wording.names_lumbar(self.own_texts):
            return True
        if "site-other" in sites or wording.names_other_spine(self.own_texts):
            return False
        displays = self._displays
        if wording.names_lumbar(displays) or wording.names_other_spine(displays):
            return wording.names_lumbar(displays)
        if wording.names_lumbar((*texts_of(self.reasons), *displays_of(self.reasons))):
            return True
        return bool(self.reason_concepts & LUMBAR_CONDITIONS)

    @property
    def is_operation_in_words(self) -> bool:
        """Whether only the words of a procedure say that it is an operation, a lumbar one."""
        words = (*self.own_texts, *self._displays)
        if not wording.names_spine_operation(words) or self.vocabulary.has_meaning(self.code):
            return False
        coded = (coding for coding in _codings((self.code,)) if coding.code)
        systems = {_system_name(coding.system or "") for coding in coded}
        return systems.isdisjoint(_LISTED_OPERATIONS) and self.is_lumbar

    @property
    def names_spine(self) -> bool:
        """Whether its words, body site or reason name the spine."""
        if self.sites & _SPINE_SITES:
            return True
        words = (*self.own_texts, *texts_of(self.reasons), *displays_of(self.body_sites))
        return wording.names_spine(words)

    @property
    def is_elsewhere(self) -> bool:
        """Whether code, body site or words clearly place an examination outside the legs."""
        if self.is_leg:
            return False
        words = (*self.own_texts, *self._displays)
        return "site-other" in self.sites or wording.names_no_leg(words)

    @property
    def is_leg(self) -> bool:
        """Whether body site or words place the entry at a leg."""
        words = (*self.own_texts, *self._displays)
        return "site-leg" in self.sites or wording.names_leg(words)

    @property
    def display(self) -> str | None:
        """What ``cards/`` calls the first of its codes it knows."""
        shown = (self.vocabulary.of_coding(coding).display for coding in _codings((self.code,)))
        return next(filter(None, shown), None)

    def concepts(self) -> frozenset[str]:
        """Return the value sets whose needs the entry meets."""
        return self._met(self.vocabulary.meanings((self.code,)))

    def ordered_in_our_words(self) -> frozenset[str]:
        """Return the value sets of our order whose very words are the text of the code."""
        text = (self.code and self.code.text) or ""
        return self._met(self.vocabulary.of_our_words(text.strip()))

    @property
    def levels(self) -> frozenset[str]:
        """The disc levels of the entry itself."""
        coded = self.vocabulary.levels((self.code, *self.body_sites))
        in_words = wording.levels_in(self.own_texts)
        return coded | (in_words or wording.levels_in(displays_of(self.body_sites)))

    @property
    def side(self) -> Side | None:
        """The side of the entry itself; a coded side wins over words."""
        coded = wording.joined_side(self.vocabulary.sides((self.code, *self.body_sites)))
        in_words = coded or wording.side_in(self.own_texts)
        return in_words or wording.side_in(displays_of(self.body_sites))

    @property
    def _displays(self) -> tuple[str, ...]:
        return displays_of((self.code, *self.body_sites))

    def _met(self, meanings: Meanings) -> frozenset[str]:
        """Return the value sets of *meanings* whose needs are met; each need is judged once."""
        met = {needs for needs in {needs for _, needs in meanings} if self._meets(needs)}
        return frozenset(name for name, needs in meanings if needs in met)

    def _meets(self, needs: Needs) -> bool:  # noqa: C901, PLR0911 - one for each need
        match needs:
            case Needs.NOTHING:
                return True
            case Needs.LUMBAR_SITE:
                return self.is_lumbar
            case Needs.LUMBAR_REASON:
                return bool(self.reason_concepts & LUMBAR_REASONS)
            case Needs.LEG_SITE:
                return self.is_leg
            case Needs.WEAK_LEG:
                return wording.names_weak_leg((*self.own_texts, *self._displays))
            case Needs.NOT_ELSEWHERE:
                return not self.is_elsewhere
            case Needs.SADDLE_SITE:
                return wording.names_saddle((*self.own_texts, *self._displays))
            case Needs.SPINE_TEXT:
                return self.names_spine
