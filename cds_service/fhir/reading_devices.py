"""Implants and allergies of a chart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cds_service.chart.facts import AllergyFact, DeviceFact, MrStatus
from cds_service.fhir import reasons, wire
from cds_service.fhir.coding import Place, says_nothing
from cds_service.fhir.reader import Entry, Reader, status_words

_IMPLANT = "implant-"
_NERVE = r"\b(?:spinal|cord|nerve|brain|dorsal|vagus|vagal|sacral)\b"
_BETWEEN = r"(?:(?!bone|growth)[\w ,/-]){0,60}"
"""Words between a nerve and its stimulation; what makes bone grow is another kind of device."""
_IMPLANT_WORDS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "implant-pacemaker": (
            r"pace-?maker|\bpacing\b|\bpacer lead|\b(?:CRT-?P|(?-i:PPM))\b|"
            r"schrittmacher|marcapas|\bstimulateur cardiaque|\bstimolatore cardiaco|"
            r"\bkalp pili\b|\bpacu jantung\b|ペースメーカ|起搏器|[節节]律器|心律調節器|"
            "심박\\s?(?:조율|동)기|심장\\s?박동기|кардиостимул|קוצב|منظم ضربات|ناظمة"
        ),
        "implant-defibrillator": (
            r"\bd[e\u00e9]\u0301?s?fibril|cardioverter|\b(?:AICD|ICD|CRT-?D)\b|"
            "除細動器|[除去][顫颤]器|제세동기|дефибрилл|דפיברילטור|מפעם|مزيل الرجفان"
        ),
        "implant-neurostimulator": (
            r"neuro[ -]?e?stim|\b(?:SCS|(?-i:DBS|VNS))\b|"
            r"\b(?:cord|DRG|brain|sacral|sacral nerve|vagal|vagus nerve)[ -]stim\b|"
            r"\bstim[ ,-]{1,3}spinal[ -]cord\b|"
            rf"{_NERVE}{_BETWEEN}stimulat|stimulat{_BETWEEN}{_NERVE}|"
            "(?:脊[髄髓]|神[経經经])[電电]?刺激|(?:척수|신경)\\s?자극|нейростимул"
        ),
        "implant-clip": (
            r"aneurysm\w{0,10}[ -]clip|\b(?:intracranial|cerebral) clip|"
            r"\bclips?\b[\w ,-]{1,40}(?:aneurysm|intracranial)"
        ),
        "implant-pump": (
            r"intrathecal|\b(?-i:ITP)\b|implant(?:ed|able)[\w ,-]{0,60}\bpump|"
            r"\bpump\b[ ,-]{1,3}(?:drug|infusion)[\w ,-]{0,60}\bimplant(?:ed|able)|"
            r"\b(?:drug|infusion)[ ,-]{1,3}pump\b[\w ,-]{0,60}\bimplant(?:ed|able)|"
            r"\bbaclofen[ -]pump|\bsynchromed"
        ),
        "implant-cochlear": r"\bcochlear\b|\bauditory brain ?stem implant",
        "implant-heart-assist": (
            r"\bventricular[ -]assist|\b(?:LVAD|RVAD|BiVAD)\b|\bheart[ -]assist|"
            r"\b(?:artificial heart|heartmate)\b"
        ),
        "implant-shunt": (
            r"ventriculo-?(?:peritoneal|atrial|pleural)\b|"
            r"\b(?:VP|CSF|cerebrospinal fluid)[ -]shunt|"
            r"\bhydrocephalus\b[\w ,-]{0,40}\b(?:shunt|valve)|\bshunt\b[\w ,-]{0,40}\bhydrocephalus"
        ),
    }.items()
}
"""In English, and the usual words of German, French, Spanish, Portuguese and Italian.

What sends a current also in Turkish, Indonesian, Japanese, Chinese, Korean, Russian, Hebrew and
Arabic.
Without a greatest length, a word that a name repeats would be followed to its end each time.
"""
_OUTSIDE_THE_BODY = re.compile(
    r"\b(?:extern(?:al|[eo]|e[rsn])?|wearable|trans[ck]utan\w{0,5}|TENS|bone[ -]growth|"
    r"osteogen\w{0,10}|needles?)\b|[体體]外|[経經经]皮|경피|наружн",
    re.IGNORECASE,
)
_INSIDE_THE_BODY = re.compile("implant|имплант|植[込入え]|이식|삽입", re.IGNORECASE)
_SCANNER = "(?:MRI?|magnetic resonance)[ _-]*"
_NOT_SAFE = re.compile(
    rf"\b(?:not|non)[ _-]*{_SCANNER}(?:safe|conditional)|\b{_SCANNER}unsafe", re.IGNORECASE
)
_CONDITIONAL = re.compile(rf"\b{_SCANNER}conditional", re.IGNORECASE)
_SAFE = re.compile(rf"\b{_SCANNER}safe", re.IGNORECASE)
_SAFETY_CODES: Mapping[str, str] = {
    "C106045": "MR safe",
    "C106046": "MR conditional",
    "C106047": "MR unsafe",
}
"""The codes of FHIR's own value set for ``Device.safety`` (NCI Thesaurus)."""
_GADOLINIUM = re.compile(
    r"\bgad(?:olin|obut|oter|opent|obena|odiam|overs|ofos|oxet|opic|[ao]vist)\w*|"
    r"\b(?:magnevist|multihance|omniscan|optimark|prohance|dotarem|clariscan|eovist|primovist|"
    r"elucirem|vueway|ablavar)\b|"
    r"\b(?:GBCAs?|MRI?[ -](?:contrast|dye))\b",
    re.IGNORECASE,
)
"""The substances, the names they are sold by, and what they are called together."""
_GADOLINIUM_ALLERGY = "gadolinium-allergy"
_PAST_ALLERGY = frozenset({"inactive", "resolved"})


def read_devices(reader: Reader) -> tuple[tuple[DeviceFact, ...], tuple[DeviceFact, ...]]:
    """Return the implants in place, by code or - because a missed one can hurt - by words.

    A device of a kind nobody knows counts if it is documented unsafe in the scanner; one that says
    nothing of its kind leaves a gap.  Beside them those no longer in use.
    """
    implants: list[DeviceFact] = []
    explants: list[DeviceFact] = []
    for entry in reader.of_kind("Device"):
        fact = _device(reader, entry)
        if fact is not None:
            (explants if entry.status == "inactive" else implants).append(fact)
    return _in_order(implants), _in_order(explants)


def _in_order(facts: Iterable[DeviceFact]) -> tuple[DeviceFact, ...]:
    return tuple(sorted(facts, key=lambda fact: fact.reference))


def _device(reader: Reader, entry: Entry) -> DeviceFact | None:
    if entry.status == "entered-in-error":
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
        return None
    found = reader.decoded(entry, wire.Device)
    if found is None:
        return None
    words = _words(found)
    coded = reader.vocabulary.plain(found.type)
    concepts = frozenset(name for name in coded if name.startswith(_IMPLANT))
    if not _is_outside(words):
        concepts |= {
            name
            for name, pattern in _IMPLANT_WORDS.items()
            if any(pattern.search(text) for text in words)
        }
    mr_status = _mr_status((*_all_words(found.safety), *_safety_codes(found), *words))
    if not concepts and (mr_status is not MrStatus.UNSAFE or _is_outside(words)):
        if mr_status is not MrStatus.SAFE and _is_nameless(found):
            matters = entry.status != "inactive"
            reader.put_entry_aside(entry, reasons.UNREADABLE, matters=matters)
        return None
    return DeviceFact(reference=entry.reference, concepts=concepts, mr_status=mr_status)


def _is_nameless(found: wire.Device) -> bool:
    """Whether nothing says what the device is: it may be a pacemaker."""
    is_named = any(text.strip() for text in _words(found))
    return not is_named and all(map(says_nothing, found.type))


def _is_outside(words: tuple[str, ...]) -> bool:
    """Return whether *words* say that the device is worn, and not that a part is implanted."""
    is_worn = any(_OUTSIDE_THE_BODY.search(text) for text in words)
    return is_worn and not any(_INSIDE_THE_BODY.search(text) for text in words)


def _words(found: wire.Device) -> tuple[str, ...]:
    names = (item.name for item in found.device_name if item.name)
    return (*_all_words(found.type), *names)


def _all_words(concepts: tuple[wire.CodeableConcept, ...]) -> tuple[str, ...]:
    """Return text and displays alike: here a word too many does no harm."""
    texts = (concept.text for concept in concepts)
    displays = (coding.display for concept in concepts for coding in concept.coding)
    return tuple(text for text in (*texts, *displays) if text)


def _safety_codes(found: wire.Device) -> tuple[str, ...]:
    """Return what the codes of the safety say: FHIR's in words, others as they are written."""
    codes = ((coding.code or "").strip() for item in found.safety for coding in item.coding)
    return tuple(_SAFETY_CODES.get(code, code) for code in codes)


def _mr_status(texts: tuple[str, ...]) -> MrStatus:
    """Return the worst that *texts* say."""
    for pattern, status in (
        (_NOT_SAFE, MrStatus.UNSAFE),
        (_CONDITIONAL, MrStatus.CONDITIONAL),
        (_SAFE, MrStatus.SAFE),
    ):
        if any(pattern.search(text) for text in texts):
            return status
    return MrStatus.UNKNOWN


def read_allergies(reader: Reader) -> tuple[AllergyFact, ...]:
    """Return the active allergies this service knows."""
    facts = (_allergy(reader, entry) for entry in reader.of_kind("AllergyIntolerance"))
    return tuple(sorted((fact for fact in facts if fact), key=lambda fact: fact.reference))


def _allergy(reader: Reader, entry: Entry) -> AllergyFact | None:
    found = reader.decoded(entry, wire.Allergy)
    if found is None:
        return None
    if status_words(found.verification_status) & {"entered-in-error", "refuted"}:
        reader.put_entry_aside(entry, reasons.ENTERED_IN_ERROR)
        return None
    if status_words(found.clinical_status) & _PAST_ALLERGY:
        return None
    substances = (found.code, *(reaction.substance for reaction in found.reaction))
    stated = tuple(concept for concept in substances if concept is not None)
    concepts = frozenset(
        name
        for concept in stated
        for name in Place(vocabulary=reader.vocabulary, code=concept).concepts()
    )
    if any(_GADOLINIUM.search(text) for text in _all_words(stated)):
        concepts |= {_GADOLINIUM_ALLERGY}
    return AllergyFact(reference=entry.reference, concepts=concepts) if concepts else None
