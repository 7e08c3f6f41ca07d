"""Which codes may stand in a chart for the words a vignette uses.

Written by hand from what hospitals send; several codes for one word, so that the cases together
meet several code systems.  Never read from ``cards/``: a code dropped there must be missed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
PCS = "http://www.cms.gov/Medicare/Coding/ICD10"
OPCS = "https://fhir.hl7.org.uk/CodeSystem/OPCS-4"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
LOCAL = "http://post-laminectomy-cds.example/fhir/CodeSystem/finding"


@dataclass(frozen=True, slots=True)
class Coded:
    """A code, and what the entry must show beside it: ``lumbar``, ``leg`` or ``spine``."""

    system: str
    code: str
    beside: str = ""


Choices = tuple[Coded, ...]


def _codes(system: str, *codes: str, beside: str = "") -> Choices:
    return tuple(Coded(system, code, beside) for code in codes)


OPERATIONS: Mapping[str, Choices] = {
    "decompression": (
        *_codes(SNOMED, "427752004"),
        *_codes(SNOMED, "387731002", "282191000", beside="lumbar"),
        *_codes(CPT, "63005", "63047"),
        *_codes(PCS, "01NB0ZZ", "00NY0ZZ"),
        *_codes(OPCS, "V25.4"),
    ),
    "discectomy": (
        *_codes(SNOMED, "89355001", "3418002", beside="lumbar"),
        *_codes(PCS, "0SB20ZZ", "0SB40ZZ"),
        *_codes(OPCS, "V33.7"),
    ),
    "fusion": (
        *_codes(SNOMED, "50172003", "277764006"),
        *_codes(CPT, "22612", "22630"),
        *_codes(PCS, "0SG00AJ"),
        *_codes(OPCS, "V38.2"),
    ),
    "decompression and discectomy": _codes(CPT, "63030"),
}

CONDITIONS: Mapping[str, Choices] = {
    "cauda equina syndrome": (*_codes(SNOMED, "192970008", "12454008"), *_codes(ICD, "G83.4")),
    "faecal incontinence": (*_codes(SNOMED, "72042002"), *_codes(ICD, "R15.9")),
    "urinary retention": (
        *_codes(SNOMED, "267064002", "236648008"),
        *_codes(ICD, "R33.8", "R33.9"),
    ),
    "urinary incontinence": (*_codes(SNOMED, "165232002"), *_codes(ICD, "R32", "N39.490")),
    "incomplete bladder emptying": _codes(ICD, "R39.14"),
    "numbness": (
        *_codes(SNOMED, "309537005", "309538000"),
        *_codes(SNOMED, "44077006", beside="leg"),
        *_codes(ICD, "R20.1", beside="leg"),
    ),
    "claudication": _codes(SNOMED, "303081002"),
    "wound breakdown": _codes(SNOMED, "225553008", "22247000"),
    "spinal infection": (
        *_codes(SNOMED, "302935008", "2304001", "203241002", "1427008"),
        *_codes(ICD, "M46.46", "M46.36", "M46.26", "G06.1", "T84.63XA"),
    ),
    "deep infection after surgery": _codes(ICD, "T81.42XA", "T81.43XA"),
    "wound infection": (
        *_codes(SNOMED, "58126003", "33910007"),
        *_codes(ICD, "T81.41XA", "T81.40XA", "T81.49XA"),
    ),
    "wound infection of the spine": (
        *_codes(ICD, "T81.41XA", beside="spine"),
        *_codes(SNOMED, "33910007", beside="spine"),
    ),
    "fever": (*_codes(SNOMED, "386661006"), *_codes(ICD, "R50.82")),
    "spinal haematoma": _codes(ICD, "G97.61", "G97.62", "G97.51"),
    "wound haematoma": (*_codes(ICD, "M96.840"), *_codes(SNOMED, "239160006", "110265006")),
    "dural tear": _codes(ICD, "G97.41", "G96.11"),
    "sacroiliac pain": (*_codes(SNOMED, "202487003", "202805003"), *_codes(ICD, "M46.1")),
    "bone metastasis": (*_codes(ICD, "C79.51"), *_codes(SNOMED, "94222008")),
    "bone metastasis of the spine": _codes(ICD, "C79.51", beside="spine"),
    "spinal tumour": (*_codes(ICD, "C79.49"), *_codes(SNOMED, "188462001")),
    "vertebral fracture": (*_codes(SNOMED, "426646004", "42942008"), *_codes(ICD, "M80.08XA")),
    "hardware failure": _codes(ICD, "T84.216A", "T84.226A"),
    "disc herniation": (*_codes(SNOMED, "202708005"), *_codes(ICD, "M51.26", "M51.16")),
    "spinal stenosis": (*_codes(SNOMED, "18347007"), *_codes(ICD, "M48.061")),
    "non-union": _codes(ICD, "M96.0"),
    "spinal instability": (*_codes(SNOMED, "274152003", "4046000"), *_codes(ICD, "M43.16")),
    "foraminal stenosis": _codes(ICD, "M99.63", "M99.73"),
    "substance use disorder": (
        *_codes(SNOMED, "75544000", "5602001"),
        *_codes(ICD, "F11.20", "F11.10"),
    ),
    "long-term opioid use": _codes(ICD, "Z79.891"),
    "psychosis": _codes(SNOMED, "58214004"),
    "coagulopathy": (*_codes(SNOMED, "64779008"), *_codes(ICD, "D68.9")),
    "thrombocytopenia": (*_codes(SNOMED, "302215000"), *_codes(ICD, "D69.6")),
    "neuropathic pain": _codes(SNOMED, "247398009"),
    "suicidal ideation": (*_codes(SNOMED, "6471006"), *_codes(ICD, "R45.851")),
    "cancer treatment": _codes(ICD, "Z51.11"),
    "sickle cell disease": _codes(ICD, "D57.1"),
    "post-laminectomy syndrome": (*_codes(ICD, "M96.1"), *_codes(SNOMED, "202725007", "27151001")),
    "radiculopathy": (*_codes(SNOMED, "128196005"), *_codes(ICD, "M54.16")),
    "low back pain": (*_codes(SNOMED, "279039007"), *_codes(ICD, "M54.50")),
    "competing diagnosis": (
        *_codes(SNOMED, "129179000", "7674000", "239872002"),
        *_codes(ICD, "M70.61"),
    ),
    "polyneuropathy": (*_codes(SNOMED, "713706002"), *_codes(ICD, "G62.9", "E11.42")),
    "dialysis": _codes(ICD, "Z99.2"),
    "pregnancy": (*_codes(SNOMED, "77386006"), *_codes(ICD, "Z33.1")),
    "smoker": (*_codes(SNOMED, "77176002"), *_codes(ICD, "F17.210")),
    "arachnoiditis": (*_codes(SNOMED, "8217007"), *_codes(ICD, "G96.12")),
    "claustrophobia": (*_codes(SNOMED, "19887002"), *_codes(ICD, "F40.240")),
    "gadolinium allergy": _codes(LOCAL, "gadolinium-allergy"),
}

CODED_WEAKNESS: Mapping[str, Choices] = {
    "muscle weakness": _codes(SNOMED, "713514005", "26544005", beside="leg"),
    "foot drop": _codes(SNOMED, "6077001"),
    "paresis of one leg": _codes(SNOMED, "249945007"),
    "paraplegia": _codes(SNOMED, "60389000"),
}
FOOT_DROP_BY_SIDE: Mapping[str | None, Coded] = {
    "right": Coded(ICD, "M21.371"),
    "left": Coded(ICD, "M21.372"),
    None: Coded(ICD, "M21.379"),
}

EXAMINATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "saddle numbness": ("saddle-sensation", ("reduced", "absent")),
    "weak anal sphincter": ("anal-tone", ("reduced",)),
}
"""Finding to our local code and the abnormal answers."""

SCORES: Mapping[str, Choices] = {
    "pain": _codes(LOINC, "72514-3", "72514-3", "75893-8", "38208-5"),
    "ODI": _codes(LOINC, "97908-8"),
    "PHQ-9": _codes(LOINC, "44261-6"),
    "PHQ-9 item 9": _codes(LOINC, "44260-8"),
    "GAD-7": _codes(LOINC, "70274-6"),
    "DN4": _codes(LOCAL, "dn4-total"),
    "painDETECT": _codes(LOCAL, "paindetect-total"),
    "LANSS": _codes(LOCAL, "lanss-total"),
    "PCS": _codes(LOCAL, "pcs-total"),
    "sacroiliac tests": _codes(LOCAL, "sij-provocation-positive"),
}
ITEM_9_ANSWERS = ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")

MEASUREMENTS: Mapping[str, tuple[Choices, str]] = {
    "CRP": (_codes(LOINC, "1988-5", "30522-7"), "mg/L"),
    "ESR": (_codes(LOINC, "30341-2"), "mm/h"),
    "white cells": (_codes(LOINC, "6690-2"), "10*9/L"),
    "eGFR": (_codes(LOINC, "33914-3"), "mL/min/{1.73_m2}"),
    "temperature": (_codes(LOINC, "8310-5"), "Cel"),
    "residual urine": (_codes(LOCAL, "pvr-ml"), "mL"),
}

ORDERS: Mapping[str, Choices] = {
    "MRI": (*_codes(LOINC, "24967-2", "30679-5"), *_codes(CPT, "72148")),
    "CT": (*_codes(LOINC, "30620-9"), *_codes(SNOMED, "572091000119106")),
    "x-ray": (*_codes(LOINC, "24971-4", "24972-2"), *_codes(CPT, "72100")),
    "EMG": (*_codes(SNOMED, "42803009"), *_codes(CPT, "95886")),
    "physiotherapy": _codes(SNOMED, "444831000124102", "308447003"),
    "spine surgeon": _codes(SNOMED, "308482002", "308481009"),
    "pain clinic": _codes(SNOMED, "306265007"),
    "psychology": _codes(SNOMED, "308459004", "428471000124108"),
    "smoking cessation": _codes(SNOMED, "710081004", "225323000"),
    "stimulator evaluation": _codes(SNOMED, "306265007"),
}
ORDER_TEXTS = {"stimulator evaluation": "Spinal cord stimulation candidacy evaluation"}

REPORTS: Mapping[str, Choices] = {
    "MRI": _codes(LOINC, "24968-0", "30679-5"),
    "CT": _codes(LOINC, "24963-1"),
    "CT myelogram": _codes(LOINC, "24965-6"),
    "x-ray": _codes(LOINC, "24972-2"),
}
"""What is done and reported."""

PROCEDURES: Mapping[str, Choices] = {
    "MRI": (*_codes(CPT, "72148"), *_codes(PCS, "BR39ZZZ")),
    "CT": _codes(PCS, "BR29ZZZ"),
    "x-ray": _codes(SNOMED, "22791004"),
    "EMG": (*_codes(SNOMED, "42803009"), *_codes(CPT, "95886")),
    "physiotherapy": (*_codes(CPT, "97110", "97161"), *_codes(SNOMED, "91251008")),
    "pain clinic": _codes(SNOMED, "278414003", "408957008"),
    "stimulator implanted": _codes(CPT, "63655"),
    "cervical fusion": _codes(CPT, "22551"),
    "hospice admission": _codes(SNOMED, "305336008"),
}
"""What is done and recorded as a procedure."""

DRUGS: Mapping[str, Choices] = {
    "NSAID": _codes(RXNORM, "5640", "7258"),
    "acetaminophen": _codes(RXNORM, "161"),
    "gabapentinoid": _codes(RXNORM, "25480", "187832"),
    "SNRI": _codes(RXNORM, "72625"),
    "tricyclic": _codes(RXNORM, "704"),
    "opioid": _codes(RXNORM, "7052"),
    "methadone": _codes(RXNORM, "6813"),
    "buprenorphine": _codes(RXNORM, "1819"),
    "benzodiazepine": _codes(RXNORM, "3322", "596"),
    "antiplatelet": _codes(RXNORM, "32968", "1116632"),
    "anticoagulant": _codes(RXNORM, "11289", "1364430"),
    "naloxone": _codes(RXNORM, "7242"),
}
"""The opioid is morphine, whose milligrams are morphine milligram equivalents."""

IMPLANTS: Mapping[str, Choices] = {
    "pacemaker": _codes(SNOMED, "424921004"),
    "defibrillator": _codes(SNOMED, "72506001"),
}
MUSCLES: Mapping[str, str] = {
    "tibialis anterior": "tibialis-anterior",
    "big toe extensor": "ehl",
    "quadriceps": "quadriceps",
    "gastrocnemius": "gastrocnemius",
    "hip flexor": "hip-flexor",
    "peroneal": "peroneal",
}
SIDES: Mapping[str, str] = {"left": "7771000", "right": "24028007", "both": "51440002"}
LEVELS: Mapping[str, str] = {
    "L1-L2": "80064006",
    "L2-L3": "67459009",
    "L3-L4": "62551000",
    "L4-L5": "84020006",
    "L5-S1": "715056000",
}
PAIN_SITES: Mapping[str, Choices] = {
    "leg": _codes(SNOMED, "61685007", "30021000"),
    "back": _codes(SNOMED, "77568009", "52612000", "122496007"),
}
