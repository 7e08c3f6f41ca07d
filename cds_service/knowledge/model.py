"""What clinicians know, as frozen values: thresholds, value sets, cards, orders, sources.

Read from ``cards/`` by ``cds_service.knowledge.loading``; checked completely before anything here
is built.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import TypeVar, cast

T = TypeVar("T")

_MOST_REMEMBERED = 1000
_SIGNED = "active"
"""The status of a file that clinicians agreed to use."""

SUMMARY_MOST = 139
"""CDS Hooks wants headlines of fewer than 140 characters."""
PLACEHOLDER = re.compile(r"\{(?P<kind>threshold:|span:)?(?P<name>[a-z0-9_-]+)\}")
"""Where a text of ``cards/`` has room for a word, or for a threshold: with its boundary ("after day
365"), or as a span of time ("1 year")."""
SPAN = "span:"

RXNORM = "RxNorm"
NALOXONE = "7242"
"""The ingredient in RxNorm."""
SYSTEM_URIS: Mapping[str, str] = {
    "SNOMED-CT": "http://snomed.info/sct",
    "LOINC": "http://loinc.org",
    "ICD-10-CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD-10-PCS": "http://www.cms.gov/Medicare/Coding/ICD10",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "HCPCS": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "OPCS-4": "https://fhir.hl7.org.uk/CodeSystem/OPCS-4",
    "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "HL7-YES-NO": "http://terminology.hl7.org/CodeSystem/v2-0532",
    "LOCAL": "http://post-laminectomy-cds.example/fhir/CodeSystem/finding",
}
"""The one spelling of each code system in ``cards/`` and its FHIR canonical."""

SYSTEM_ALIASES: Mapping[str, str] = {
    "urn:oid:2.16.840.1.113883.6.96": "SNOMED-CT",
    "http://www.snomed.org": "SNOMED-CT",  # a converter of C-CDA, in the examples of HL7
    "urn:oid:2.16.840.1.113883.6.1": "LOINC",
    "urn:oid:2.16.840.1.113883.6.90": "ICD-10-CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD-10-CM",
    "urn:oid:2.16.840.1.113883.6.3": "ICD-10-CM",
    "urn:oid:2.16.840.1.113883.6.4": "ICD-10-PCS",
    "http://hl7.org/fhir/sid/icd-10-pcs": "ICD-10-PCS",
    "http://www.icd10data.com/icd10pcs": "ICD-10-PCS",
    "urn:oid:2.16.840.1.113883.6.12": "CPT",
    "urn:oid:2.16.840.1.113883.6.285": "HCPCS",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "https://fhir.nhs.uk/Id/opcs-4": "OPCS-4",
    "https://fhir.hl7.org.uk/Id/opcs-4": "OPCS-4",
    "https://fhir.hl7.org.uk/CodeSystem/opcs-4": "OPCS-4",
    "http://hl7.org/fhir/sid/opcs-4": "OPCS-4",
    "urn:oid:2.16.840.1.113883.2.1.3.2.4.16.7": "OPCS-4",
    "urn:oid:2.16.840.1.113883.6.88": "RxNorm",
    "http://terminology.hl7.org/CodeSystem/v2-0136": "HL7-YES-NO",
    # Translations, with the same codes: ICD-10-CM and ICD-10-PCS in Taiwan, ICD-10 in Brazil.
    **{
        f"https://twcore.mohw.gov.tw/ig/twcore/CodeSystem/icd-10-{part}-{year}-tw": name
        for part, name in (("cm", "ICD-10-CM"), ("pcs", "ICD-10-PCS"))
        for year in (2014, 2021, 2023)
    },
    "http://www.saude.gov.br/fhir/r4/CodeSystem/BRCID10": "ICD-10-CM",
    "https://terminologia.saude.gov.br/fhir/CodeSystem/BRCID10": "ICD-10-CM",
}
"""Other spellings of the same systems that charts carry."""


def words_to_fill(text: str) -> frozenset[str]:
    """Return the names of the words that a rule fills into *text*; thresholds are none of them."""
    return frozenset(match["name"] for match in PLACEHOLDER.finditer(text) if not match["kind"])


class Fires(Enum):
    """Is the boundary itself in or out?  ``EXACTLY`` marks a number used in a sum, not compared."""

    ABOVE = "above"
    AT_OR_ABOVE = "at_or_above"
    BELOW = "below"
    AT_OR_BELOW = "at_or_below"
    EXACTLY = "exactly"


DAYS_AFTER_SURGERY = "days after surgery"
"""The unit that cards print as a day: "from day 90"."""

_DAY_WORDS: Mapping[Fires, str] = {
    Fires.ABOVE: "after day",
    Fires.AT_OR_ABOVE: "from day",
    Fires.BELOW: "before day",
    Fires.AT_OR_BELOW: "up to day",
    Fires.EXACTLY: "on day",
}
_BOUNDARY_WORDS: Mapping[Fires, str] = {
    Fires.ABOVE: "more than",
    Fires.AT_OR_ABOVE: "at least",
    Fires.BELOW: "less than",
    Fires.AT_OR_BELOW: "at most",
    Fires.EXACTLY: "",
}
_ONE_OF = re.compile(r"^(day|point|test|step|operation|level)s\b")
"""Units of which one is written without an s."""
_DAYS_OF_YEAR = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedValue:
    """A threshold's value from a day on (that day included)."""

    from_day: date
    value: Decimal
    source: str
    locator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One number with its unit and boundary.  ``unit`` is UCUM, ``unit_shown`` what cards print."""

    id: str
    title: str
    unit: str
    unit_shown: str
    fires: Fires
    values: tuple[DatedValue, ...]
    status: str

    def value_on(self, day: date) -> DatedValue:
        """Return the value in force on *day*; days before the first entry use the first."""
        position = bisect_right([dated.from_day for dated in self.values], day)
        return self.values[max(position - 1, 0)]

    def words_on(self, day: date) -> str:
        """Return boundary and value as cards print them: "from day 90", "at least 2 points"."""
        number = f"{self.value_on(day).value.normalize():f}"
        if self.unit_shown == DAYS_AFTER_SURGERY:
            return f"{_DAY_WORDS[self.fires]} {number}"
        unit = _ONE_OF.sub(r"\1", self.unit_shown) if number == "1" else self.unit_shown
        return f"{_BOUNDARY_WORDS[self.fires]} {number} {unit}".lstrip()

    def span_on(self, day: date) -> str:
        """Return the days up to the boundary as readers count them: "1 year", "180 days".

        A number that counts itself "from" its day on has one day less before it.
        """
        days = int(self.value_on(day).value)
        if self.fires in {Fires.AT_OR_ABOVE, Fires.BELOW}:
            days -= 1
        years, rest = divmod(days, _DAYS_OF_YEAR)
        count, unit = (days, "days") if rest or not years else (years, "years")
        return f"{count} {unit.removesuffix('s') if count == 1 else unit}"


class Match(Enum):
    """How a code of a value set is compared."""

    EXACT = "exact"
    PREFIX = "prefix"


class Needs(Enum):
    """What else an entry must show before a code of a value set counts."""

    NOTHING = "nothing"
    LUMBAR_SITE = "lumbar-site"
    LUMBAR_REASON = "lumbar-reason"
    LEG_SITE = "leg-site"
    WEAK_LEG = "weak-leg"
    NOT_ELSEWHERE = "not-elsewhere"
    SADDLE_SITE = "saddle-site"
    SPINE_TEXT = "spine-text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One code of a value set.  ``mark`` is V (read in a source), P (partly) or M (memory: off)."""

    system: str
    code: str
    display: str
    mark: str
    match: Match = Match.EXACT
    needs: Needs = Needs.NOTHING
    is_enabled: bool = True
    names: tuple[str, ...] = ()
    """What a drug is called elsewhere, for sites that recognise drugs by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSet:
    """A clinical concept as a list of codes."""

    id: str
    title: str
    label: str
    """The words a card may print for it ("acute urinary retention"); never the chart's own text."""
    includes: str
    excludes: str
    codes: tuple[Code, ...]
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A publication; ``strength`` says in words how far it carries."""

    id: str
    title: str
    cite: str
    url: str
    published: str
    checked: str
    strength: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTemplate:
    """What one order is called and coded, before a site maps it to its own catalogue."""

    id: str
    title: str
    description: str
    """The action's description; it stands alone (some EHRs show nothing else)."""
    category: tuple[str, str, str] | None
    """System URI, code, display."""
    codings: tuple[tuple[str, str, str], ...]
    """System URI, code, display; all sent together."""
    text: str
    body_site: tuple[str, str, str] | None
    read_as: tuple[tuple[str, Needs], ...]
    """Value set ids, with what else each needs, that a site's own code of the order means."""
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhenotypePoint:
    """One reason of a phenotype: the id the core names it by, its points and its words."""

    id: str
    points: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phenotype:
    """A likely explanation and what speaks for it; ``order`` breaks ties."""

    id: str
    title: str
    order: int
    points: Mapping[str, PhenotypePoint]
    claims: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A clinician's signature: who, on which day, and by which day it must be looked at again."""

    by: str
    on: date
    again_by: date


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTemplate:
    """The words of one card.

    ``summaries`` maps a variant ("default", "worsening") to a template; ``texts`` maps a block
    ("why", "action", "change", ...) to Markdown with placeholders; ``notes`` maps the note keys the
    core emits to sentences.
    """

    id: str
    row: int
    title: str
    indicator: str
    summaries: Mapping[str, str]
    texts: Mapping[str, str]
    notes: Mapping[str, str]
    claims: tuple[str, ...]
    sources: tuple[str, ...]
    thresholds: tuple[str, ...]
    not_for: str
    is_enabled: bool
    status: str
    review: Review | None
    """None: no clinician has signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicalDrug:
    """What is in one drug of RxNorm.

    Units:
        ``strength`` is milligrams of its one opioid in one tablet or capsule; None: it has no
        such form, or none is converted.
    """

    ingredients: tuple[str, ...]
    """RxNorm codes of those that stand in a value set."""
    holds_other: bool
    """Whether it holds more than these."""
    strength: Decimal | None
    is_injected: bool = False
    """Whether it is given by a needle or a catheter: no factor for the daily dose is for that."""

    @property
    def is_one(self) -> bool:
        """Whether it holds one ingredient and nothing else."""
        return len(self.ingredients) == 1 and not self.holds_other


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """All of ``cards/``, frozen.  ``digest`` is the SHA-256 over its files."""

    version: str
    digest: str
    thresholds: Mapping[str, Threshold]
    value_sets: Mapping[str, ValueSet]
    sources: Mapping[str, Source]
    cards: Mapping[str, CardTemplate]
    orders: Mapping[str, OrderTemplate]
    phenotypes: Mapping[str, Phenotype]
    phrases: Mapping[str, str]
    """Shared sentences and words: limits line, site and muscle names, override reason displays."""
    override_reasons: tuple[tuple[str, str], ...]
    """Code and display, in the order shown."""
    claims: Mapping[str, str]
    """Seed claim id to a short paraphrase."""
    by_code: Mapping[tuple[str, str], tuple[tuple[str, Needs], ...]]
    """(system name, code) to value set ids with what else each needs; exact matches."""
    by_prefix: Mapping[str, tuple[tuple[str, str, Needs], ...]]
    """System name to prefixes, each with its value set id and what else it needs."""
    mme_factors: Mapping[str, Decimal] = field(default_factory=dict)
    """RxNorm ingredient code to morphine milligram equivalents for one milligram a day; for the
    fentanyl patch (4337) for one microgram an hour.  Buprenorphine is never converted."""
    clinical_drugs: Mapping[str, ClinicalDrug] = field(default_factory=dict)
    """RxNorm code of a drug to what is in it."""
    snooze_days: Mapping[str, int | None] = field(default_factory=dict)
    """Override reason code to the days its card stays away; None: until the facts change."""
    no_reason_snooze_days: int = 0
    """Days a card stays away when it is set aside without a reason."""
    accepted_snooze_days: int = 0
    """Most days a card stays away after its suggestion was accepted."""
    unchanged_facts_snooze_days: int = 0
    """Most days a card stays away until the facts behind it change."""
    snooze_limits: tuple[tuple[int, int, int], ...] = ()
    """First row, last row (both included), most days such a card stays away; 0: never."""
    override_equivalents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Override reason code to the CDS Hooks 3.0 codes read as it; the first is the one sent."""
    automated_claims: frozenset[str] = frozenset()
    """Claim ids on which a card, a threshold or a phenotype has to rest."""
    _remembered: dict[Hashable, object] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def remember(self, name: Hashable, work_out: Callable[[], T]) -> T:
        """Return what *work_out* made of this content the first time *name* was asked for.

        Nothing of a chart belongs here.
        """
        found = self._remembered.get(name)
        if found is None:
            found = work_out()
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[name] = found
        return cast("T", found)

    @property
    def is_unreviewed(self) -> bool:
        """Whether a card in use, a number, value set, order or explanation is not signed yet."""
        others = (self.thresholds, self.value_sets, self.orders, self.phenotypes)
        return any(
            card.status != _SIGNED for card in self.cards.values() if card.is_enabled
        ) or any(each.status != _SIGNED for part in others for each in part.values())

    def said(self, phrase: str, **words: object) -> str:
        """Return *phrase* of ``cards/phrases.yaml`` with *words* in their places, as they are."""
        text = self.phrases[phrase]
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", str(word))
        return text

    def meanings(self, system: str, code: str) -> tuple[tuple[str, Needs], ...]:
        """Return every enabled meaning of *code*; *system* may be a canonical or an alias.

        A late effect of ICD-10-CM counts only where it is listed itself.
        """
        name = SYSTEM_NAMES.get(system)
        if name is None:
            return ()
        exact = self.by_code.get((name, code), ())
        prefixed = tuple(
            (value_set, needs)
            for prefix, value_set, needs in self.by_prefix.get(name, ())
            if code.startswith(prefix) and not _LATE_EFFECT.match(code)
        )
        return exact + tuple(meaning for meaning in prefixed if meaning not in exact)


_LATE_EFFECT = re.compile(r"[A-Z]\d\w\.\w{3}S$")
"""ICD-10-CM with the seventh character S: what is left after an injury that is over."""

SYSTEM_NAMES: Mapping[str, str] = {
    **{uri: name for name, uri in SYSTEM_URIS.items()},
    **SYSTEM_ALIASES,
}
"""Any accepted spelling of a code system to the one spelling used in ``cards/``."""
