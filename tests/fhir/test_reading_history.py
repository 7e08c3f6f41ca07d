"""Operations, conditions, orders, reports, drugs and implants."""

from __future__ import annotations

import json
import time
from datetime import date, timedelta
from decimal import Decimal

import pytest

from cds_service.chart.facts import MrStatus
from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir import reasons
from cds_service.fhir.reader import Reader
from cds_service.values import FhirDate, Side
from tests.fhir.chart_parts import (
    CPT,
    ICD,
    LOINC,
    PATIENT,
    RXNORM,
    SNOMED,
    UNREADABLE_CODES,
    ReadChart,
    Resource,
    concept,
    condition,
    observation,
    procedure,
)

OPCS = "https://fhir.hl7.org.uk/CodeSystem/OPCS-4"
PCS = "http://www.cms.gov/Medicare/Coding/ICD10"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
LAMINECTOMY = "387731002"


def worded(text: str, display: str, code: str = "0") -> Resource:
    """Return a concept with words of the ward and the English display of its SNOMED CT code."""
    return {"text": text, "coding": [{"system": SNOMED, "code": code, "display": display}]}


MINE = {"subject": {"reference": "Patient/anna"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"bodySite": [concept(SNOMED, "122496007")]},
        {"bodySite": concept(SNOMED, "122496007")},
        {"bodySite": [concept(SNOMED, "84020006")]},
        {"bodySite": [{"text": "L4/5"}]},
        {"bodySite": [{"text": "L5-1"}]},
        {"bodySite": [{"text": "LS spine"}]},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomy, lumbar")},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomy L-spine")},
        {"code": concept(SNOMED, LAMINECTOMY, "L4 laminectomy")},
        {"code": concept(SNOMED, LAMINECTOMY, "Lumb lami")},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomy with TLIF")},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomy of L2, L3 and L5")},
        {"code": concept(SNOMED, LAMINECTOMY, "Lumbale Laminektomie")},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminektomie LWK 4")},
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomie du rachis lombaire")},
        {"bodySite": [{"text": "colonna lombare"}]},
        {"bodySite": [{"text": "LWS"}]},
        {"bodySite": [{"text": "第4腰椎"}]},
        {"code": concept(SNOMED, LAMINECTOMY, "Lomber laminektomi")},
        {"bodySite": [worded("Lendenwirbels\u00e4ule", "Structure of lumbar vertebral column")]},
        {"code": worded("Laminectomie", "Lumbar laminectomy", LAMINECTOMY)},
        {"reasonCode": [worded("Spinalkanalstenose", "Lumbar spinal stenosis")]},
        {"reasonCode": [concept(ICD, "M48.061")]},
        {"reasonCode": [concept(ICD, "M48061")]},
        {"reasonReference": [{"reference": "Condition/c1"}]},
    ],
)
def test_generic_operation_is_lumbar_by_site_words_or_reason(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """A laminectomy counts once something says lumbar."""
    chart = read(procedure(LAMINECTOMY, **fields), condition("18347007"))
    assert chart.procedures[0].concepts == {"decompression"}


@pytest.mark.parametrize(
    "codes",
    [
        [(OPCS, "V35.1"), (OPCS, "Z67.5")],
        [(OPCS, "Z995"), (OPCS, "V351"), (OPCS, "Z993")],
        [(SNOMED, "3418002"), (SNOMED, "122496007")],
        [(SNOMED, "3418002"), (SNOMED, "84020006")],
    ],
)
def test_site_may_stand_among_the_codes_of_the_operation(
    read: ReadChart, codes: list[tuple[str, str]]
) -> None:
    """OPCS-4 says where by a second code; some charts write it beside the first."""
    code = {"coding": [{"system": system, "code": value} for system, value in codes]}
    (fact,) = read(procedure(LAMINECTOMY, code=code)).procedures
    assert "discectomy" in fact.concepts


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (OPCS, "V25.4", {"decompression"}),
        (OPCS, "V254", {"decompression"}),
        (OPCS, "v331", {"discectomy"}),
        (PCS, "0sb20zz", {"discectomy"}),
        (HCPCS, "63030", {"discectomy", "decompression"}),
        (HCPCS, "63030-LT", {"discectomy", "decompression"}),
    ],
)
def test_operation_is_known_however_its_code_is_spelt(
    read: ReadChart, system: str, code: str, expected: set[str]
) -> None:
    """Hospital statistics leave out the point of OPCS-4, and some systems write small letters.

    Claims call CPT by HCPCS, whose first level it is.
    """
    assert read(procedure(code, system)).procedures[0].concepts == expected


@pytest.mark.parametrize(
    "system",
    [
        "http://www.snomed.org/",
        "https://snomed.info/sct/",
        "http://snomed.info/sct/11000146104/version/20260331",
        "http://snomed.info/sct|http://snomed.info/sct/32506021000036107",
        "urn:oid:2.16.840.1.113883.6.96",
        "urn: oid: 2.16.840.1.113883.6.96",
    ],
)
def test_operation_is_known_however_its_system_is_spelt(read: ReadChart, system: str) -> None:
    """National editions name themselves; converters of C-CDA write the system in ways of theirs."""
    assert read(procedure("50172003", system)).procedures[0].concepts == {"fusion"}


@pytest.mark.parametrize("edition", ["2014", "2021", "2023"])
def test_taiwanese_charts_write_the_same_codes_under_systems_of_their_own(
    read: ReadChart, edition: str
) -> None:
    """Taiwan translated ICD-10-CM and ICD-10-PCS; a patient with a cauda equina got no card."""
    editions = "https://twcore.mohw.gov.tw/ig/twcore/CodeSystem"
    discectomy = procedure("0SB20ZZ", f"{editions}/icd-10-pcs-{edition}-tw")
    chart = read(discectomy, condition("G83.4", f"{editions}/icd-10-cm-{edition}-tw"))
    assert chart.procedures[0].concepts == {"discectomy"}
    assert "cauda-equina" in chart.conditions[0].concepts


@pytest.mark.parametrize(
    "system",
    [
        "http://www.saude.gov.br/fhir/r4/CodeSystem/BRCID10",
        "https://terminologia.saude.gov.br/fhir/CodeSystem/BRCID10",
    ],
)
def test_brazilian_charts_write_the_codes_of_the_who_under_a_system_of_their_own(
    read: ReadChart, system: str
) -> None:
    """CID-10 is the ICD-10 of the WHO in Portuguese, mostly without the point."""
    chart = read(condition("G834", system))
    assert "cauda-equina" in chart.conditions[0].concepts


@pytest.mark.parametrize(
    ("code", "side"),
    [
        ("6077001 |Foot-drop|", None),
        ("6077001:272741003=7771000", Side.LEFT),
        ("6077001 |Foot-drop| : 272741003 |Laterality| = 24028007 |Right|", Side.RIGHT),
        ("6077001:{272741003=7771000},{272741003=24028007}", Side.BOTH),
        ("6077001:246112005=24484000", None),
    ],
)
def test_foot_drop_is_known_in_an_expression_of_snomed_ct(
    read: ReadChart, code: str, side: Side | None
) -> None:
    """FHIR allows a code that is refined by others: it was an unknown code."""
    (fact,) = read(condition(code)).conditions
    assert (fact.concepts, fact.side) == ({"motor-paresis"}, side)


@pytest.mark.parametrize(
    "code",
    [
        "243796009:246090004=6077001",
        "6077001 |Foot-drop| : 408729009 |Finding context| = 410516002 |Known absent|",
        "6077001:408732007=303071001",
        "6077001x",
        "60770",
        ":6077001",
    ],
)
def test_code_that_only_holds_another_one_is_not_that_one(read: ReadChart, code: str) -> None:
    """A situation about a foot drop may say that there is none, or that a relative has one."""
    assert read(condition(code)).conditions == ()


@pytest.mark.parametrize("code", ["R33", "R33X", "R33.X", "r33x"])
@pytest.mark.parametrize(
    "system", ["http://hl7.org/fhir/sid/icd-10", "urn:oid:2.16.840.1.113883.6.3"]
)
def test_red_flag_in_icd_10_outside_the_us_is_known(
    read: ReadChart, system: str, code: str
) -> None:
    """Retention is R33 for the WHO, and the NHS fills the code up with an X."""
    assert read(condition(code, system)).conditions[0].concepts == {"urinary-retention"}


@pytest.mark.parametrize(
    ("code", "side"), [("Z94.1", Side.BOTH), ("Z942", Side.RIGHT), ("Z94.3", Side.LEFT)]
)
def test_opcs_says_the_side_by_a_code_of_its_own(read: ReadChart, code: str, side: Side) -> None:
    """The NHS writes the side of a discectomy as a further code, beside it or as its site."""
    beside = {"coding": [{"system": OPCS, "code": "V33.1"}, {"system": OPCS, "code": code}]}
    for fields in ({"code": beside}, {"bodySite": [concept(OPCS, code)]}):
        assert read(procedure("V33.1", OPCS, **fields)).procedures[0].side is side


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bodySite": [concept(SNOMED, "122495006")], "reasonCode": [concept(ICD, "M48.061")]},
        {"code": concept(SNOMED, LAMINECTOMY, "Cervical laminectomy")},
        {"code": concept(SNOMED, LAMINECTOMY, "C4 laminectomy")},
        {"bodySite": [{"text": "HWS"}], "reasonCode": [concept(ICD, "M48.061")]},
        {"bodySite": [{"text": "rachis cervical"}], "reasonCode": [concept(ICD, "M48.061")]},
        {
            "code": concept(SNOMED, LAMINECTOMY, "Thorakale Laminektomie"),
            "reasonCode": [concept(ICD, "M48.061")],
        },
        {"code": worded("Cervical laminectomy", "Lumbar laminectomy", LAMINECTOMY)},
        {
            "code": worded("Laminektomie HWS", "Cervical laminectomy", LAMINECTOMY),
            "reasonCode": [concept(ICD, "M48.061")],
        },
        {"code": concept(SNOMED, LAMINECTOMY, "Laminectomy T10-L1")},
        {"bodySite": [{"text": "neck"}], "reasonReference": [{"reference": "Condition/c1"}]},
        {"bodySite": [{"text": "C-spine"}], "reasonCode": [concept(ICD, "M48.061")]},
        {"bodySite": [{"text": "T spine"}], "reasonCode": [concept(ICD, "M48.061")]},
        {"bodySite": [{"text": "C5-6"}], "reasonCode": [concept(ICD, "M54.10")]},
        {"bodySite": [{"text": "T10"}], "reasonCode": [concept(ICD, "M54.10")]},
        {"code": concept(SNOMED, LAMINECTOMY, "ACDF"), "reasonCode": [concept(ICD, "M54.10")]},
    ],
)
def test_generic_operation_elsewhere_or_nowhere_is_not_lumbar(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """Without a lumbar meaning, or with another region named, it is no operation of ours."""
    assert read(procedure(LAMINECTOMY, **fields), condition("18347007")).procedures == ()


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("L4-5 discectomy", {"L4-L5"}),
        ("L4/L5", {"L4-L5"}),
        ("l5 \u2013 s1", {"L5-S1"}),
        ("L3-5 fusion", {"L3-L4", "L4-L5"}),
        ("L4-L5-S1", {"L4-L5", "L5-S1"}),
        ("L4-S1", {"L4-L5", "L5-S1"}),
        ("L2-L3, L5-S1", {"L2-L3", "L5-S1"}),
        ("L5-1", {"L5-S1"}),
        ("L5S1", {"L5-S1"}),
        ("L4L5", {"L4-L5"}),
        ("L4 to S1", {"L4-L5", "L5-S1"}),
        ("L3 through L5", {"L3-L4", "L4-L5"}),
        ("L4-5-1", {"L4-L5", "L5-S1"}),
        ("L4-5, 5-1", {"L4-L5", "L5-S1"}),
        ("L4/5 and 5/S1", {"L4-L5", "L5-S1"}),
        ("L3-4, 4-5 & 5-1.", {"L3-L4", "L4-L5", "L5-S1"}),
        ("L4-5 & L5S1", {"L4-L5", "L5-S1"}),
        ("L5-L1", set()),
        ("L5-S1 3/4/2025", {"L5-S1"}),
        ("L5-S1, 3-4 weeks ago", {"L5-S1"}),
        ("L5-S1, 2-3 mm", {"L5-S1"}),
        ("room L4-10", set()),
        ("L5-4", set()),
        ("Lumbar fusion", set()),
    ],
)
def test_levels_are_read_from_words(read: ReadChart, text: str, levels: set[str]) -> None:
    """Levels come out as single discs, whatever the spelling."""
    found = read(procedure(code=concept(SNOMED, "50172003", text)))
    assert found.procedures[0].levels == levels


def test_side_and_level_come_from_codes(read: ReadChart) -> None:
    """Body site codes, code words of ours and modifiers give side and level."""
    sites = [concept(SNOMED, "84020006"), concept(SNOMED, "24028007")]
    (fact,) = read(procedure("63030", CPT, bodySite=sites)).procedures
    assert (fact.levels, fact.side) == ({"L4-L5"}, Side.RIGHT)
    (modified,) = read(procedure("63030-LT", CPT)).procedures
    assert (modified.side, "discectomy" in modified.concepts) == (Side.LEFT, True)
    assert read(condition("M54.32", ICD)).conditions[0].side is Side.LEFT


@pytest.mark.parametrize(
    ("code", "side"),
    [
        ("63030-62", None),
        ("63030-80", None),
        ("63030 78", None),
        ("63030:RT:62", Side.RIGHT),
        ("63030-59-LT", Side.LEFT),
        ("63030, 50, 62", Side.BOTH),
        ("63030-LT-RT", Side.BOTH),
    ],
)
def test_operation_with_other_modifiers_is_an_operation(
    read: ReadChart, code: str, side: Side | None
) -> None:
    """With a second surgeon, an assistant, a return to theatre, whatever stands beside it."""
    (fact,) = read(procedure(code, CPT)).procedures
    assert "discectomy" in fact.concepts
    assert fact.side is side


@pytest.mark.parametrize("code", ["63030-53", "63030-LT-73", "63030:74", "63030-", "63030-62X"])
def test_operation_that_was_broken_off_is_none(read: ReadChart, code: str) -> None:
    """A modifier says that it was not done; and what is no modifier leaves no code we know."""
    assert read(procedure(code, CPT)).procedures == ()


@pytest.mark.parametrize(
    ("fields", "performed"),
    [
        ({"performedDateTime": "2026-05-04T23:30:00-05:00"}, (date(2026, 5, 5), date(2026, 5, 5))),
        ({"performedDateTime": "2026-05"}, (date(2026, 5, 1), date(2026, 5, 31))),
        ({"performedDateTime": "2026"}, (date(2026, 1, 1), date(2026, 11, 20))),
        ({"performedPeriod": {"start": "2026-05-03", "end": "2026-05-04"}}, None),
        ({"performedPeriod": {"start": "2026-05-04"}}, None),
        (
            {"performedPeriod": {"start": "2026-05-04", "end": "2001-05-04"}},
            (date(2001, 5, 4), date(2026, 5, 4)),
        ),
        ({"performedPeriod": {"start": "2026-05-04T10:00Z", "end": "2026-05-04T08:00Z"}}, None),
        ({"occurrenceDateTime": "2026-05-04"}, None),
    ],
)
def test_operation_is_dated_as_precisely_as_the_chart(
    read: ReadChart, fields: dict[str, object], performed: tuple[date, date] | None
) -> None:
    """End of the period, else start; partial dates keep both ends, cut at today.

    A slip of the pen in the end of a period made an operation of this year one of 2001.
    """
    operation = {**procedure(), **fields}
    if "performedDateTime" not in fields:
        del operation["performedDateTime"]
    (fact,) = read(operation).procedures
    first, last = performed or (date(2026, 5, 4), date(2026, 5, 4))
    assert fact.performed is not None
    assert (fact.performed.earliest, fact.performed.latest) == (first, last)


@pytest.mark.parametrize("field", ["performedString", "performedAge"])
def test_operation_dated_only_by_words_is_undated(read: ReadChart, field: str) -> None:
    """Words and ages are no date."""
    operation = {**procedure(), field: "last spring"}
    del operation["performedDateTime"]
    assert read(operation).procedures[0].performed is None


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (procedure(performedDateTime="2026-11-21"), reasons.FUTURE),
        (observation("1988-5", effectiveDateTime="1970-04-30"), reasons.BEFORE_BIRTH),
    ],
)
def test_impossible_day_is_set_aside(read: ReadChart, entry: Resource, reason: str) -> None:
    """Tomorrow, and for a measurement the time before birth, make no fact."""
    chart = read(entry)
    assert (chart.procedures, chart.set_aside[0].reason) == ((), reason)


@pytest.mark.parametrize(("day", "is_dated"), [("1970-04-30", False), ("1970-05-01", True)])
def test_operation_and_diagnosis_before_birth_have_no_day(
    read: ReadChart, day: str, *, is_dated: bool
) -> None:
    """Many systems write 1900-01-01 where nobody knows the day; the operation was done."""
    chart = read(procedure(performedDateTime=day), condition("441509002", onsetDateTime=day))
    assert (chart.procedures[0].performed is not None) == is_dated
    assert (chart.conditions[0].onset is not None) == is_dated
    assert chart.conditions[0].when is not None  # the day on which it was recorded


def test_birth_in_the_future_is_no_birth(read: ReadChart) -> None:
    """A mistyped year does not make the whole chart older than the patient."""
    chart = read(procedure(), patient={**PATIENT, "birthDate": "9999-12-31"})
    assert chart.patient.birth is None
    assert len(chart.procedures) == 1


def test_the_day_is_the_one_of_the_sites_time_zone(read: ReadChart) -> None:
    """Late on the last UTC day is already tomorrow in Berlin."""
    late = procedure(performedDateTime="2026-11-20T23:30:00Z")
    assert len(read(late, zone="UTC").procedures) == 1
    assert read(late, zone="Europe/Berlin").procedures == ()


@pytest.mark.parametrize("status", ["unknown", "banana", "complete", "done"])
def test_operation_of_an_unknown_status_is_a_gap_that_is_said(read: ReadChart, status: str) -> None:
    """It may have taken place: the operations are known in part.

    HL7's own map from version 2 writes "unknown" where the message does not say.
    """
    chart = read(procedure(status=status))
    assert chart.procedures == ()
    assert chart.supply_of(Key.PROCEDURES).state is State.PARTIAL


def test_unknown_status_of_another_procedure_is_no_gap(read: ReadChart) -> None:
    """What no rule reads can say what it likes."""
    chart = read(procedure("80146002", status="banana"))
    assert chart.supply_of(Key.PROCEDURES).state is not State.PARTIAL


IN_WORDS = [
    {"text": "Lumbar laminectomy L4-5"},
    {"text": "LAMINECTOMY, LUMBAR"},
    {"text": "Lumbar decompression and fusion"},
    {"text": "L5-S1 microdiscectomy"},
    concept("urn:oid:1.2.3", "OP7", "L4/5 TLIF"),
    {"coding": [{"system": SNOMED, "code": "0", "display": "Decompression of lumbar spine"}]},
    worded("Bandscheibenoperation", "Lumbar discectomy"),
    {"text": "Lumbar laminectomy", "coding": [{"system": CPT}]},
    {"text": "Lumbale Spondylodese"},
    {"text": "Dekompression LWS"},
    {"text": "D\u00e9compression lombaire"},
    {"text": "Laminectomie lombaire"},
    {"text": "Disquectom\u00eda lumbar"},
    {"text": "Lumbal diskektomi"},
    {"text": "Discectomia lombare"},
    {"text": "Excision of lumbar intervertebral disc"},
    {"text": "Nukleotomie LWK 4/5"},
    {"text": "Sequestrektomie L5/S1"},
    {"text": "Lumbale decompressie L4-L5"},
    {"text": "Decompressione lombare"},
    {"text": "Descompress\u00e3o lombar"},
    {"text": "Cure de hernie discale L5-S1"},
    {"text": "Lumbar spine surgery"},
    {"text": "Operation on the lumbar spine"},
    {"text": "Robot-assisted lumbar fusion"},
    {"text": "Artrodese toraco-lombo-sacra posterior"},
    {"text": "Lomber mikrodiskektomi"},
    {"text": "腰椎椎弓切除術"},
    {"text": "椎間板摘出術 L4/5"},
    {"text": "腰椎椎間盤切除術"},
    {"text": "腰椎减压植骨融合内固定术"},
    {"text": "추간판제거술 요추"},
    {"text": "Ламинэктомия поясничного отдела"},
    {"text": "למינקטומיה מותנית"},
    {"text": "استئصال الصفيحة الفقرية القطنية"},
]


@pytest.mark.parametrize("code", IN_WORDS)
def test_operation_that_only_words_name_is_a_gap_that_is_said(
    read: ReadChart, code: Resource
) -> None:
    """The patient was operated on, and the service was silent on cauda equina syndrome."""
    chart = read(procedure(code=code))
    assert chart.procedures == ()
    assert chart.supply_of(Key.PROCEDURES) == Supply(
        state=State.PARTIAL, reason=reasons.OPERATION_IN_WORDS
    )


@pytest.mark.parametrize(
    ("words", "elsewhere", "state"),
    [
        ("Laminectomy", {"bodySite": [concept(SNOMED, "122496007")]}, State.PARTIAL),
        ("Laminectomy", {"reasonCode": [concept(ICD, "M48.061")]}, State.PARTIAL),
        (
            "Excision of intervertebral disc",
            {"reasonCode": [{"text": "Lumbar disc"}]},
            State.PARTIAL,
        ),
        ("Cervical laminectomy", {"reasonCode": [concept(ICD, "M48.061")]}, State.SUPPLIED),
        ("Laminectomy", {"reasonCode": [concept(ICD, "M48.02")]}, State.SUPPLIED),
        ("Back brace", {"reasonCode": [concept(ICD, "M48.061")]}, State.SUPPLIED),
        ("Non-surgical decompression", {"reasonCode": [concept(ICD, "M48.061")]}, State.SUPPLIED),
    ],
)
def test_operation_in_words_may_be_placed_by_a_code_or_its_reason(
    read: ReadChart, words: str, elsewhere: Resource, state: State
) -> None:
    """The words say what was done, and something else that it was the lumbar spine."""
    chart = read(procedure(code=concept("urn:oid:1.2.3", "OP7", words), **elsewhere))
    assert chart.procedures == ()
    assert chart.supply_of(Key.PROCEDURES).state is state


@pytest.mark.parametrize(
    "code",
    [
        {"text": "Cervical laminectomy"},
        {"text": "Knee arthrodesis"},
        {"text": "Lumbar puncture"},
        {"text": "Anesthesia for lumbar laminectomy"},
        {"text": "Physical therapy after lumbar fusion"},
        {"text": "MRI lumbar spine after discectomy"},
        {"text": "Laminectomy for lumbar stimulator electrodes"},
        {"text": "Metallentfernung nach lumbaler Spondylodese"},
        {"text": "Hysterectomy"},
        {"text": "Brace, lumbar fusion"},
        {"text": "Kyphoplasty of lumbar compression fracture"},
        {"text": "Evaluation before lumbar spine surgery"},
        {"text": "Referral for lumbar spine surgery"},
        {"text": "Lumbar surgery discussed, cancelled"},
        {"text": "Neuromonitoring, lumbar spine surgery"},
        {"text": "Operation on lumbar hernia"},
        {"text": "Excision of skin lesion, lumbar region"},
        {"text": "頸椎椎弓形成術"},
        {"text": "腰椎椎弓切除術の麻酔"},
        {"text": "腰椎神経ブロック"},
        concept(CPT, "63267", "Laminectomy for lesion, lumbar"),
        concept(PCS, "00CU0ZZ", "Lumbar laminectomy for haematoma"),
    ],
)
def test_other_procedure_in_words_is_no_gap(read: ReadChart, code: Resource) -> None:
    """What is no lumbar operation, or has a code that was left out on purpose, holds nothing up."""
    assert read(procedure(code=code)).supply_of(Key.PROCEDURES).state is State.SUPPLIED


@pytest.mark.parametrize(
    ("day", "state", "told"),
    [
        ("2026-05-05", State.PARTIAL, True),
        ("2026-05-04", State.SUPPLIED, False),
        ("2026-05", State.SUPPLIED, False),
        ("2026", State.SUPPLIED, False),
        ("2025", State.SUPPLIED, True),
        (None, State.SUPPLIED, True),
    ],
)
def test_operation_in_words_is_a_gap_only_after_the_last_known_one(
    read: ReadChart,
    day: str | None,
    state: State,
    told: bool,  # noqa: FBT001 - a case
) -> None:
    """Lists of former operations name in words what a coded entry of 4 May says as well."""
    in_words = procedure(id="w", code=IN_WORDS[0], performedDateTime=day)
    chart = read(procedure(), in_words)
    assert chart.supply_of(Key.PROCEDURES).state is state
    assert [one.reason for one in chart.set_aside] == [reasons.NO_KNOWN_CODE] * told


def test_operation_in_words_is_a_gap_beside_an_undated_one_only_with_its_day(
    read: ReadChart,
) -> None:
    """Two entries without a day are told apart by nobody."""
    for day, state in (("2026-05-05", State.PARTIAL), (None, State.SUPPLIED)):
        in_words = procedure(id="w", code=IN_WORDS[0], performedDateTime=day)
        chart = read(procedure(performedDateTime=None), in_words)
        assert chart.supply_of(Key.PROCEDURES).state is state


def test_operation_in_words_may_be_one_of_a_month_that_began_before_another(
    read: ReadChart,
) -> None:
    """The entry of January says the same; that of the fifth is another operation."""
    known = [procedure(id=day, performedDateTime=day) for day in ("2026-01", "2026-01-05")]
    in_words = procedure(id="w", code=IN_WORDS[0], performedDateTime="2026-01-20")
    chart = read(*known, in_words)
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED
    assert chart.set_aside == ()


@pytest.mark.parametrize(
    ("priority", "is_urgent"),
    [("urgent", True), ("asap", True), ("stat", True), ("routine", False), (None, False)],
)
def test_order_is_urgent_if_it_is_more_than_routine(
    read: ReadChart,
    priority: str | None,
    is_urgent: bool,  # noqa: FBT001 - a case
) -> None:
    """Whoever asked for a scan as soon as possible is not told to make the order urgent."""
    assert read(order(priority=priority)).orders[0].is_urgent is is_urgent


def test_many_operations_in_words_are_not_each_compared_with_many_known_ones(
    read: ReadChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand of both took five seconds, in which the process answered nobody else."""
    looks = 0

    class Day(FhirDate, frozen=True, kw_only=True):
        def __getattribute__(self, name: str) -> object:
            nonlocal looks
            looks += name in {"earliest", "latest"}
            return super().__getattribute__(name)

    def on_a_day(_reader: Reader, *texts: str | None) -> Day:
        day = date.fromisoformat(str(texts[0]))
        return Day(earliest=day, latest=day)

    def looks_at(count: int) -> int:
        nonlocal looks
        looks = 0
        days = [(date(2020, 1, 1) + timedelta(days=number)).isoformat() for number in range(count)]
        known = [procedure(id=f"k{day}", performedDateTime=day) for day in days]
        words = [
            procedure(id=f"w{day}", code=IN_WORDS[0], performedDateTime=f"2008{day[4:]}")
            for day in days
        ]
        read(*known, *words)
        return looks

    monkeypatch.setattr(Reader, "date", on_a_day)
    assert looks_at(160) < 5 * looks_at(40)


@pytest.mark.parametrize("status", ["in-progress", "not-done", "stopped", "entered-in-error "])
def test_operation_that_was_not_completed_is_no_operation(read: ReadChart, status: str) -> None:
    """Only completed procedures count, and the key stays supplied."""
    chart = read(procedure(status=status))
    assert chart.procedures == ()
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED


def unreadable(**fields: object) -> bytes:
    """Return an operation in which *fields* are not what they should be."""
    return json.dumps(procedure(id="u", **fields)).encode()


@pytest.mark.parametrize(
    "body",
    [
        *(b"null", b"[]", b'"x"', b'{"id":"1"}', b"{", b'{"resourceType":"Procedure"}'),
        *(unreadable(resourceType=kind) for kind in ("", "Procedure ", 0)),
        *(unreadable(code=code) for code in UNREADABLE_CODES),
    ],
)
def test_unreadable_procedure_makes_its_key_partial(read: ReadChart, body: bytes) -> None:
    """A procedure that cannot be read could have been an operation."""
    chart = read(procedure(), raw={"procedures": (body,)})
    assert len(chart.procedures) == 1
    assert chart.supply_of(Key.PROCEDURES).state is State.PARTIAL


@pytest.mark.parametrize("fields", [{"status": "not-done"}, {"performedDateTime": "2026-11-21"}])
def test_procedure_of_no_kind_that_did_not_take_place_is_no_gap(
    read: ReadChart, fields: Resource
) -> None:
    """It was no operation, whatever it was to be."""
    chart = read(procedure(code=None, **fields))
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED


@pytest.mark.parametrize("code", UNREADABLE_CODES)
def test_diagnosis_whose_code_is_garbled_leaves_a_gap(read: ReadChart, code: object) -> None:
    """It may be the cauda equina syndrome; some EHRs write diagnoses of no code, which is none."""
    gaps = set() if code is None else {Key.CONDITIONS}
    assert read(condition("192970008", code=code)).failed_keys == gaps
    assert not read(condition("1", code=code, verificationStatus="refuted")).failed_keys


@pytest.mark.parametrize(
    ("fields", "is_active"),
    [
        ({}, True),
        ({"abatementDateTime": "2026-01-01"}, False),
        ({"abatementDateTime": "2026-11-20"}, False),
        ({"abatementDateTime": "2026-11-21"}, True),
        ({"abatementDateTime": "9999-12-31"}, True),
        ({"abatementDateTime": "9999-12-31T23:59:59.999Z"}, True),
        ({"abatementPeriod": {"end": "9999-12-31"}}, True),
        ({"abatementPeriod": {"start": "2026-01-01", "end": "9999-12-31"}}, False),
        ({"abatementDateTime": "last week"}, False),
        ({"abatementString": "resolved"}, False),
        ({"abatementBoolean": False}, True),
        ({"abatementBoolean": True}, False),
        ({"clinicalStatus": {"coding": [{"code": "recurrence"}]}}, True),
        ({"clinicalStatus": {"coding": [{"code": "resolved"}]}}, False),
        ({"clinicalStatus": "active"}, True),
        ({"clinicalStatus": {"text": "Inactive"}}, False),
    ],
)
def test_condition_is_active_unless_the_chart_ends_it(
    read: ReadChart,
    fields: dict[str, object],
    is_active: bool,  # noqa: FBT001 - a case
) -> None:
    """Status first, then an end, else active."""
    assert read(condition("27151001", **fields)).conditions[0].is_active is is_active


@pytest.mark.parametrize("code", ["refuted", "entered-in-error"])
def test_refuted_condition_is_set_aside(read: ReadChart, code: str) -> None:
    """What was ruled out is not a condition."""
    ruled_out = condition("27151001", verificationStatus={"coding": [{"code": code}]})
    assert read(ruled_out).conditions == ()


def local_first(code: str) -> Resource:
    """Return a coded status as some EHRs send it: the hospital's own code, then the one of HL7."""
    own = {"system": "urn:oid:1.2.840.114350.1", "code": "1"}
    return {"coding": [own, {"code": code}]}


@pytest.mark.parametrize("code", ["refuted", "entered-in-error"])
def test_condition_is_ruled_out_by_any_code_of_its_status(read: ReadChart, code: str) -> None:
    """A cauda equina syndrome entered in error is none, whatever code the hospital puts first."""
    ruled_out = condition("192970008", verificationStatus=local_first(code))
    assert read(ruled_out).conditions == ()


def german(certainty: str, **fields: object) -> Resource:
    """Return a cauda equina syndrome in ICD-10-GM, as sure as *certainty* says, and in SNOMED."""
    sure = {
        "url": "http://fhir.de/StructureDefinition/icd-10-gm-diagnosesicherheit",
        "valueCoding": {
            "system": "https://fhir.kbv.de/CodeSystem/KBV_CS_SFHIR_ICD_DIAGNOSESICHERHEIT",
            "code": certainty,
        },
    }
    german_code = {
        "system": "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
        "code": "G83.4",
        "extension": [sure],
    }
    codes = [german_code, {"system": SNOMED, "code": "192970008"}]
    return condition("192970008", code={"coding": codes}, **fields)


def test_condition_that_a_german_chart_rules_out_is_set_aside(read: ReadChart) -> None:
    """A cauda equina syndrome coded "A" was looked for and not found: no alarm."""
    chart = read(german("A"))
    assert chart.conditions == ()
    assert [one.reason for one in chart.set_aside] == [reasons.REFUTED]


@pytest.mark.parametrize(
    ("certainty", "fields", "is_active"),
    [
        ("G", {}, True),
        ("V", {}, True),
        ("Z", {}, False),
        ("Z", {"clinicalStatus": local_first("active")}, True),
        ("G", {"clinicalStatus": local_first("resolved")}, False),
    ],
)
def test_german_state_after_a_disease_is_no_disease_of_today(
    read: ReadChart,
    certainty: str,
    fields: dict[str, object],
    is_active: bool,  # noqa: FBT001 - a case
) -> None:
    """A suspected syndrome counts as one; "Z" is over unless the chart says that it is active."""
    assert read(german(certainty, **fields)).conditions[0].is_active is is_active


@pytest.mark.parametrize(("code", "is_active"), [("resolved", False), ("active", True)])
def test_condition_is_over_by_any_code_of_its_status(
    read: ReadChart,
    code: str,
    is_active: bool,  # noqa: FBT001 - a case
) -> None:
    """A resolved diagnosis stays resolved behind the hospital's own code."""
    chart = read(condition("192970008", clinicalStatus=local_first(code)))
    assert chart.conditions[0].is_active is is_active


@pytest.mark.parametrize(
    ("status", "is_kept"),
    [
        ({"clinicalStatus": local_first("active")}, True),
        ({"clinicalStatus": {"text": "Confirmed by the ward"}}, True),
        ({"clinicalStatus": local_first("resolved")}, False),
        ({"clinicalStatus": local_first("inactive")}, False),
        ({"verificationStatus": local_first("refuted")}, False),
        ({"verificationStatus": local_first("entered-in-error")}, False),
    ],
)
def test_allergy_counts_until_a_code_of_its_status_ends_it(
    read: ReadChart,
    status: dict[str, object],
    is_kept: bool,  # noqa: FBT001 - a case
) -> None:
    """A gadolinium allergy with an unusual status is still one; contrast could hurt."""
    allergy = {
        "resourceType": "AllergyIntolerance",
        "id": "a1",
        "patient": {"reference": "Patient/anna"},
        "code": {"text": "Gadobutrol"},
        **status,
    }
    assert bool(read(allergy).allergies) is is_kept


@pytest.mark.parametrize(
    ("code", "is_known"),
    [
        *(({"text": f"{name} 0.5 M"}, True) for name in ("GADAVIST", "Magnevist", "MultiHance")),
        *(({"text": name}, True) for name in ("Omniscan", "Dotarem", "ProHance", "Gadofosveset")),
        ({"text": "MR contrast", "coding": [{"display": "gadoterate meglumine"}]}, True),
        *(({"text": name}, True) for name in ("GBCA", "MRI contrast media", "MR dye")),
        ({"text": "Omnipaque"}, False),
        ({"text": "CT contrast"}, False),
        ({"text": "Dotatate"}, False),
    ],
)
def test_allergy_to_gadolinium_is_known_by_the_name_of_the_product(
    read: ReadChart,
    code: Resource,
    is_known: bool,  # noqa: FBT001 - a case
) -> None:
    """Allergy lists name the brand, or give the substance only with the code."""
    patient = {"reference": "Patient/anna"}
    found = read(
        {"resourceType": "AllergyIntolerance", "id": "a1", "patient": patient, "code": code}
    )
    known = {name for allergy in found.allergies for name in allergy.concepts}
    assert known == ({"gadolinium-allergy"} if is_known else set())


def test_condition_is_dated_by_the_first_day_it_states(read: ReadChart) -> None:
    """Onset, then recorded, then the server's own stamp."""
    stamped = condition("27151001", meta={"lastUpdated": "2026-09-01T00:00:00Z"})
    del stamped["recordedDate"]
    assert read(stamped).conditions[0].when is not None
    onset = condition("27151001", onsetPeriod={"start": "2026-08-01"})
    assert read(onset).conditions[0].when == FhirDate.on(date(2026, 8, 1))
    assert read(onset).conditions[0].recorded == FhirDate.on(date(2026, 10, 1))
    undated = {**stamped, "meta": {"lastUpdated": "2027-09-01T00:00:00Z"}}
    assert read(undated).conditions[0].when is None


def age(years: object, unit: str = "a") -> Resource:
    """Return an age of onset."""
    return {"onsetAge": {"value": years, "unit": unit}}


@pytest.mark.parametrize(
    ("onset", "first", "last"),
    [
        (age(5), "1975-05-01", "1976-04-30"),
        (age(55.5, "years"), "2025-05-01", "2026-04-30"),
        (age(56), "2026-10-01", "2026-10-01"),
        (age(70), "2026-10-01", "2026-10-01"),
        (age(-1), "2026-10-01", "2026-10-01"),
        (age("NaN"), "2026-10-01", "2026-10-01"),
        (age(18, "mo"), "2026-10-01", "2026-10-01"),
        (age(5) | {"onsetDateTime": "2026-09-30"}, "2026-09-30", "2026-09-30"),
    ],
)
def test_foot_drop_of_childhood_is_not_new_because_it_is_written_down_now(
    read: ReadChart, onset: Resource, first: str, last: str
) -> None:
    """Some charts give the age of onset alone; in that year of life the recorded day counts."""
    (fact,) = read(condition("6077001", recordedDate="2026-10-01", **onset)).conditions
    assert fact.when is not None
    assert (fact.when.earliest.isoformat(), fact.when.latest.isoformat()) == (first, last)


@pytest.mark.parametrize(
    ("recorded", "first"), [("2026-04-30", None), ("2026-05-01", "2025-05-01")]
)
def test_age_of_onset_counts_only_if_that_year_of_life_was_over(
    read: ReadChart, recorded: str, first: str | None
) -> None:
    """Written down on the last day of being 55, a foot drop "at 55" may be of that day."""
    (fact,) = read(condition("6077001", recordedDate=recorded, **age(55))).conditions
    assert fact.when is not None
    assert fact.when.earliest.isoformat() == (first or recorded)


@pytest.mark.parametrize(
    ("words", "is_spinal"),
    [
        ("Surgical wound infection following microdiscectomy", True),
        ("Infection after left hemilaminectomy", True),
        ("Infection following laminotomy", True),
        ("SSI after foraminotomy", True),
        ("Wound infection after laser diskectomy", True),
        ("Infected laminectomy wound", True),
        ("Wound infection s/p PLIF", True),
        ("SSI after L4 decompression", True),
        ("Wound infection after cholecystectomy", False),
        ("Wound infection, L5 MT osteotomy", False),
        ("Infection following knee replacement", False),
    ],
)
def test_wound_infection_named_by_the_operation_is_one_of_the_spine(
    read: ReadChart,
    words: str,
    is_spinal: bool,  # noqa: FBT001 - a case
) -> None:
    """Problem lists say which operation it followed, and not where that was."""
    code = {"coding": [{"system": ICD, "code": "T81.41XA"}], "text": words}
    assert read(condition("T81.41XA", code=code)).conditions[0].names_spine is is_spinal


def test_condition_is_called_what_our_content_calls_it(read: ReadChart) -> None:
    """The words of the chart never reach a card; a code of no value set has no name."""
    named = condition("129179000", code=concept(SNOMED, "129179000", "Anna's sore buttock"))
    assert read(named).conditions[0].display == "Piriformis syndrome"
    both = {"coding": [{"system": "urn:x", "code": "1"}, *concept(ICD, "G54.1")["coding"]]}
    assert read(condition("x", code=both)).conditions[0].display == "Lumbosacral plexus disorders"


def test_numbness_counts_only_with_a_leg_site(read: ReadChart) -> None:
    """A code that needs a leg site is nothing without one."""
    assert read(condition("44077006")).conditions == ()
    leg = condition("44077006", bodySite=[{"text": "left foot"}])
    assert read(leg).conditions[0].concepts == {"sensory-deficit"}


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("Bilateral leg weakness", Side.BOTH),
        ("Weakness of both lower extremities", Side.BOTH),
        ("LLE weakness", Side.LEFT),
        ("Right foot feels weak, no numbness", Side.RIGHT),
        ("Leg weakness without back pain", None),
        ("Right leg weaker than left", Side.RIGHT),
        ("Left leg weakness compared with right", Side.LEFT),
        ("Leg cramps", "none"),
        ("Weakness of left hand", "none"),
        ("Weakness of left arm, right knee pain", "none"),
        ("Weakness of left arm and leg", Side.LEFT),
        ("Weakness, left leg", Side.LEFT),
        ("No leg weakness", "none"),
        ("Leg pain, denies any new weakness", "none"),
        ("Leg cramps, no numbness, tingling or weakness", "none"),
        ("No numbness but leg weakness", None),
        ("Other symptoms and signs involving the musculoskeletal system", "none"),
    ],
)
def test_weak_legs_under_the_code_that_us_charts_give_them_are_seen(
    read: ReadChart, words: str, side: Side | str | None
) -> None:
    """ICD-10-CM has no code of its own for a weak leg; both legs weak were nothing at all."""
    facts = read(condition("R29.898", ICD, code=concept(ICD, "R29.898", words))).conditions
    found = [(fact.concepts, fact.side) for fact in facts]
    assert found == ([] if side == "none" else [({"motor-weakness"}, side)])


@pytest.mark.parametrize(
    ("text", "display", "concepts", "side"),
    [
        ("Unterschenkel li.", "Left lower leg", {"sensory-deficit"}, Side.LEFT),
        ("jambe droite", "Right lower limb", {"sensory-deficit"}, Side.RIGHT),
        ("right leg", "Left lower leg", {"sensory-deficit"}, Side.RIGHT),
        ("Damm", "Perineal region", {"saddle-numbness"}, None),
    ],
)
def test_place_the_text_does_not_name_is_read_from_the_display(
    read: ReadChart, text: str, display: str, concepts: set[str], side: Side | None
) -> None:
    """The text is of the ward's language, the display of SNOMED CT is English."""
    (fact,) = read(condition("44077006", bodySite=[worded(text, display)])).conditions
    assert (fact.concepts, fact.side) == (concepts, side)


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("LLE numbness", Side.LEFT),
        ("Numb RLE", Side.RIGHT),
        ("Numbness BLE", Side.BOTH),
        ("Numbness of both LE", Side.BOTH),
        ("Lt leg numb", Side.LEFT),
        ("Rt foot numbness", Side.RIGHT),
        ("Bilat leg numbness", Side.BOTH),
        ("Legs numb B/L", Side.BOTH),
        ("Numbness, lower ext", None),
        ("Leg numb at b/l", None),
        ("Leg numb, duration &lt; 1 week", None),
        ("lt L5 leg numbness", Side.LEFT),
        ("lt. LE numbness", Side.LEFT),
        ("LT LEG NUMB", Side.LEFT),
        ("ble numbness", Side.BOTH),
        ("numbness of ble", Side.BOTH),
        ("BLE TINGLING, NUMB", Side.BOTH),
        ("LE NUMBNESS", None),
        ("L leg numbness", Side.LEFT),
        ("Numb R foot", Side.RIGHT),
        ("R-sided leg numbness", Side.RIGHT),
        ("Leg numbness (L)", Side.LEFT),
        ("Numb L leg and R foot", Side.BOTH),
        ("Leg numbness (L) > (R)", Side.BOTH),
        ("L/R leg numbness", Side.BOTH),
        ("Numb R & L foot", Side.BOTH),
        ("Numbness of L and R leg", Side.BOTH),
        ("R>L leg numbness", Side.BOTH),
        ("(R) foot numb", Side.RIGHT),
        ("Leg numb after laminectomy (L)", None),
        ("Left leg numb, R hip arthritis", Side.LEFT),
        ("Right leg numb; left leg is normal", Side.RIGHT),
        ("Numb right foot without any symptoms on the left", Side.RIGHT),
        ("Left foot numb (right-handed)", Side.LEFT),
        ("Left leg not normal, right leg numb", Side.BOTH),
        ("No change of left leg, right leg numb", Side.BOTH),
        ("Leg numb, no left weakness", Side.LEFT),
        ("L5 leg numbness", None),
        ("l leg numbness", None),
        ("Leg numb, Coflex(R)", None),
    ],
)
def test_leg_and_side_are_read_as_problem_lists_shorten_them(
    read: ReadChart, words: str, side: Side | None
) -> None:
    """LLE is the left leg; Lt, Rt and bilat are sides."""
    code = {"coding": [{"system": SNOMED, "code": "44077006"}], "text": words}
    (fact,) = read(condition("44077006", code=code)).conditions
    assert (fact.concepts, fact.side) == ({"sensory-deficit"}, side)


@pytest.mark.parametrize(
    "words",
    [
        "Fu\u00dfheberschw\u00e4che rechts lt. Arztbrief",
        "Fu\u00dfheberschw\u00e4che rechts lt Patient",
        "Fu\u00dfheberschw\u00e4che rechts, lt. MRT L5",
        "Fu\u00dfheberschw\u00e4che rechts lt.\u00c4rztin",
        "Droppfot h\u00f8yre, ble d\u00e5rligere",
        "Droppfot h\u00f8yre, pasienten ble operert",
        "Droppfot h\u00f6ger, sv\u00e5rt att g\u00e5",
        "Fu\u00dfheberschw\u00e4che links nach RT",
    ],
)
def test_side_of_a_foot_drop_is_not_taken_from_words_of_another_language(
    read: ReadChart, words: str
) -> None:
    """The right foot drops: "lt." is German for "according to", "ble" Norwegian for "was"."""
    code = {"coding": [{"system": SNOMED, "code": "6077001"}], "text": words}
    (fact,) = read(condition("6077001", code=code)).conditions
    assert fact.side is None


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("Right foot drop after left hip replacement", Side.RIGHT),
        ("Left foot drop, s/p RT 2019", Side.LEFT),
        ("Left foot drop following right TKA", Side.LEFT),
        ("Foot drop s/p right L4-5 laminectomy", Side.RIGHT),
        ("Foot drop after RT", None),
        ("RT foot drop", Side.RIGHT),
        ("Foot drop, left and right", Side.BOTH),
        ("Foot drop both feet after fall on left hip", Side.BOTH),
        ("Left foot drop after surgery, now right as well", Side.BOTH),
        ("Left foot drop after surgery and now right foot drop", Side.BOTH),
        ("Left foot drop after surgery then right", Side.BOTH),
        ("Left foot drop after surgery / right foot drop", Side.BOTH),
        ("Left foot drop since Monday and right since today", Side.BOTH),
    ],
)
def test_side_of_what_came_before_is_not_that_of_the_foot_drop(
    read: ReadChart, words: str, side: Side | None
) -> None:
    """The two sides together were weakness of both legs, an emergency; RT is radiotherapy."""
    code = {"coding": [{"system": SNOMED, "code": "6077001"}], "text": words}
    (fact,) = read(condition("6077001", code=code)).conditions
    assert fact.side is side


def order(**fields: object) -> Resource:
    """Return an open order for a lumbar MRI."""
    return {
        "resourceType": "ServiceRequest",
        "id": "s1",
        "status": "active",
        "intent": "order",
        "code": concept(CPT, "72158"),
        "authoredOn": "2026-11-01",
        **MINE,
        **fields,
    }


@pytest.mark.parametrize("status", ["active", "on-hold", "draft"])
def test_open_order_counts(read: ReadChart, status: str) -> None:
    """Active, on-hold and draft orders are orders."""
    assert read(order(status=status)).orders[0].status == status


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "revoked"},
        {"status": "completed"},
        {"status": "entered-in-error"},
        {"intent": "option"},
        {"doNotPerform": True},
    ],
)
def test_order_that_does_not_stand_is_no_order(read: ReadChart, fields: dict[str, object]) -> None:
    """A revoked order, an option or a "do not" suppresses nothing."""
    assert read(order(**fields)).orders == ()


@pytest.mark.parametrize("status", ["held", "", None])
def test_order_of_an_unknown_status_is_a_gap_that_is_said(
    read: ReadChart, status: str | None
) -> None:
    """A word FHIR does not know may mean that it stands: the orders are known in part."""
    chart = read(order(status=status))
    assert chart.orders == ()
    assert chart.supply_of(Key.SERVICE_REQUESTS).state is State.PARTIAL


@pytest.mark.parametrize("status", ["revoked", "unknown", "cancelled"])
def test_order_that_was_closed_leaves_no_gap(read: ReadChart, status: str) -> None:
    """The words of FHIR for what does not stand are known, those of STU3 too."""
    assert read(order(status=status)).supply_of(Key.SERVICE_REQUESTS).state is State.SUPPLIED


@pytest.mark.parametrize("code", UNREADABLE_CODES)
def test_order_and_report_whose_code_is_garbled_leave_a_gap(read: ReadChart, code: object) -> None:
    """Either may be the MRI, which was ordered again."""
    report = order(resourceType="DiagnosticReport", status="final", code=code)
    gaps = set() if code is None else {Key.SERVICE_REQUESTS, Key.DIAGNOSTIC_REPORTS}
    assert read(order(code=code), report).failed_keys == gaps
    assert not read(order(code=code, status="revoked")).failed_keys


@pytest.mark.parametrize("coding", [[], [{"system": "urn:oid:2.999", "code": "X77"}]])
def test_order_that_comes_back_in_our_words_is_known_again(
    read: ReadChart, coding: list[object]
) -> None:
    """Standing films have no code: the EHR keeps our words, alone or beside a code of its own."""
    words = "X-ray lumbar spine, standing AP and lateral"
    for text, expected in ((words, [{"xray-lumbar"}]), (f"{words} views", [])):
        found = read(order(code={"coding": coding, "text": text})).orders
        assert [fact.concepts for fact in found] == expected


@pytest.mark.parametrize("coding", [[], [{"system": "urn:oid:2.999", "code": "X77"}]])
def test_report_that_keeps_the_words_of_our_order_is_its_report(
    read: ReadChart, coding: list[object]
) -> None:
    """The films were taken; the card asked for them again at every visit."""
    films = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"coding": coding, "text": "X-ray lumbar spine, standing AP and lateral"},
        "effectiveDateTime": "2026-05-01",
        **MINE,
    }
    assert [fact.concepts for fact in read(films).reports] == [{"xray-lumbar"}]


def test_code_of_an_order_wins_over_our_words(read: ReadChart) -> None:
    """The order was changed in the EHR, and its words were left as they were."""
    changed = concept(LOINC, "30620-9", "MRI lumbar spine without contrast")
    assert read(order(code=changed)).orders[0].concepts == {"ct-lumbar"}


def test_pain_referral_for_stimulation_is_a_stimulation_referral(read: ReadChart) -> None:
    """No code exists for it, so the words of a pain clinic referral decide."""
    plain = order(code=concept(SNOMED, "306265007"))
    named = order(
        code=concept(SNOMED, "306265007"),
        reasonCode=[{"text": "Spinal cord stimulation evaluation"}],
    )
    assert "scs-referral" not in read(plain).orders[0].concepts
    assert "scs-referral" in read(named).orders[0].concepts


@pytest.mark.parametrize(
    ("words", "is_of_leg"),
    [
        ("EMG", True),
        ("EMG both lower limbs", True),
        ("EMG/NCS BUE and BLE", True),
        ("EMG both upper limbs", False),
        ("EMG/NCS RUE", False),
        ("NCS upper ext", False),
        ("NCS, carpal tunnel right", False),
        ("EMG pelvic floor", False),
        ("EMG anal sphincter", False),
        ("Facial EMG", False),
    ],
)
def test_emg_of_an_arm_is_none_of_the_leg(
    read: ReadChart,
    words: str,
    is_of_leg: bool,  # noqa: FBT001 - a case
) -> None:
    """One without a place counts: most charts name none."""
    for code in (concept(SNOMED, "42803009", words), concept(CPT, "95886", words)):
        found = read(order(code=code)).orders
        assert any("emg" in fact.concepts for fact in found) is is_of_leg
    arm = order(code=concept(SNOMED, "42803009"), bodySite=[concept(SNOMED, "53120007")])
    assert read(arm).orders == ()


@pytest.mark.parametrize(
    ("status", "is_final"), [("final", True), ("amended", True), ("preliminary", False)]
)
def test_report_is_done_only_when_final(read: ReadChart, status: str, is_final: bool) -> None:  # noqa: FBT001 - a case
    """A preliminary report means ordered, not done."""
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": status,
        "code": concept(LOINC, "24968-0"),
        "effectiveDateTime": "2026-10-01",
        **MINE,
    }
    assert read(report).reports[0].is_final is is_final


@pytest.mark.parametrize(
    ("status", "state"),
    [("finished", State.PARTIAL), (None, State.PARTIAL), ("cancelled", State.SUPPLIED)],
)
def test_report_of_an_unknown_status_is_a_gap_that_is_said(
    read: ReadChart, status: str | None, state: State
) -> None:
    """It may be the scan that was done; a cancelled one certainly is not."""
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": status,
        "code": concept(LOINC, "24968-0"),
        **MINE,
    }
    chart = read(report)
    assert chart.reports == ()
    assert chart.supply_of(Key.DIAGNOSTIC_REPORTS).state is state


def test_imaging_study_is_final_only_with_its_report(read: ReadChart) -> None:
    """Pictures without a final report are not a result."""
    study = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "procedureCode": [concept(LOINC, "24968-0")],
        "started": "2026-10-01",
        **MINE,
    }
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": "MRI"},
        "imagingStudy": [{"reference": "ImagingStudy/i1"}],
        **MINE,
    }
    assert [fact.is_final for fact in read(study).reports] == [False]
    assert [fact.is_final for fact in read(study, report).reports] == [True]


def test_a_reason_that_is_given_many_times_is_one_reason(read: ReadChart) -> None:
    """Seventy thousand links in one entry took ten seconds, for this call and all beside it."""
    links = [{"reference": "Condition/c1"}, {"reference": "Condition/c2"}] * 3
    chart = read(procedure(LAMINECTOMY, reasonReference=links), condition("18347007"))
    (fact,) = chart.procedures
    assert fact.reason_references == ("Condition/c1", "Condition/c2")


def test_disorder_of_the_last_joints_is_of_the_sacroiliac_one_by_its_site(read: ReadChart) -> None:
    """ICD-10-CM has one code for it and for the coccyx."""
    assert not any(
        "sacroiliac-pain" in c.concepts for c in read(condition("M53.3", ICD)).conditions
    )
    joint = [concept(SNOMED, "39723000")]
    (fact,) = read(condition("M53.3", ICD, bodySite=joint)).conditions
    assert fact.concepts == {"sacroiliac-pain"}


def drug(**fields: object) -> Resource:
    """Return an active order of oxycodone."""
    return {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(RXNORM, "7804"),
        "authoredOn": "2026-09-01",
        **MINE,
        **fields,
    }


def dose(amount: float, unit: str = "mg", **repeat: object) -> dict[str, object]:
    """Return one dosage instruction."""
    return {
        "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d", **repeat}},
        "doseAndRate": [{"doseQuantity": {"value": amount, "unit": unit}}],
    }


def in_ways(*amounts: tuple[float, str]) -> dict[str, object]:
    """Return one dosage instruction that says its dose in several ways: ordered, calculated."""
    said = [{"doseQuantity": {"value": amount, "unit": unit}} for amount, unit in amounts]
    return {**dose(0), "doseAndRate": said}


def once_a_day(words: str, *codes: str, frequency: int = 1) -> dict[str, object]:
    """Return an instruction as Oracle Health writes it: "once a day" beside every schedule."""
    instruction = dose(10, frequency=1)
    code = {"text": words, "coding": [{"code": code} for code in codes]}
    repeat = {"frequency": frequency, "period": 1, "periodUnit": "d"}
    return {**instruction, "timing": {"repeat": repeat, "code": code}}


def by_the_clock(*times: str, **repeat: object) -> dict[str, object]:
    """Return one dosage instruction for times of the day."""
    return {**dose(10), "timing": {"repeat": {"timeOfDay": list(times), **repeat}}}


def most(amount: int, unit: str = "d", period: int = 1) -> dict[str, object]:
    """Return the most that may be taken in a period."""
    return {
        "numerator": {"value": amount, "unit": "mg"},
        "denominator": {"value": period, "code": unit},
    }


@pytest.mark.parametrize(
    ("instructions", "expected", "is_maximum"),
    [
        ([dose(10)], "30", False),
        ([dose(10, period=12, periodUnit="h", frequency=1)], "30", False),
        ([dose(10, frequencyMax=4)], "60", True),
        ([dose(10, frequency=1, period=4, periodMax=6, periodUnit="h")], "90", True),
        ([{**dose(10), "asNeededBoolean": True}], "30", True),
        ([dose(10), dose(20)], "90", False),
        ([by_the_clock("08:00:00", "12:00:00", "16:00:00", "20:00:00")], "60", False),
        ([by_the_clock("08:00:00", "20:00:00", period=1, periodUnit="d")], "30", False),
        ([{**dose(10), "timing": {"repeat": {"when": ["MORN", "HS"]}}}], "30", False),
        ([{**dose(10), "timing": {"repeat": {"when": ["PC"]}}}], None, False),
        ([dose(10, frequency=None, when=["AC"])], None, False),
        ([dose(10, frequency=3, when=["AC"])], "45", False),
        ([in_ways((10, "mg"), (2, "tablet"), (10, "mg"))], "30", False),
        ([in_ways((10, "mg"), (15, "mg"))], "45", True),
        ([in_ways((2, "tablet"), (0.2, "mg/kg"))], None, False),
        ([{**dose(10), "timing": {"code": {"text": "q6hr"}}}], "60", False),
        ([{**dose(10), "timing": {"code": {"text": "Every 12 hours"}}}], "30", False),
        ([{**dose(10), "timing": {"code": {"text": "Every 4-6 hours PRN"}}}], "90", True),
        ([{**dose(10), "timing": {"code": {"text": "3 times daily (as needed)"}}}], "45", True),
        ([once_a_day("three times daily")], "45", False),
        ([once_a_day("Four times a day")], "60", False),
        ([once_a_day("every 6 hr", "696553", "Q6H")], "60", False),
        ([once_a_day("BID")], "30", False),
        ([once_a_day("TDS PRN")], "45", True),
        ([dose(10, unit="milligrams")], "30", False),
        ([once_a_day("Daily", "QD")], "15", False),
        ([once_a_day("with dressing changes")], None, False),
        ([{**dose(10), "timing": {"code": {"text": "with dressing changes"}}}], None, False),
        ([once_a_day("with meals", frequency=3)], "45", False),
        ([{**dose(10), "sequence": 1}, {**dose(20), "sequence": 2}], "60", True),
        ([dose(1, unit="tablet")], None, False),
        ([{"text": "1-2 tabs as needed"}], None, False),
        ([{**dose(10), "sequence": "sNaN"}], None, False),
        ([dose(10, period=0)], None, False),
        ([dose(999, frequency=600)], "899100", False),
        ([dose(999, frequency=900)], None, False),
        ([dose(999_999, frequency=999_999, period=0.001, periodUnit="min")], None, False),
        ([dose(999, frequency=600)] * 2, None, False),
        ([{"text": "as needed", "maxDosePerPeriod": most(40)}], "60", True),
        ([{**dose(10, frequency=6), "maxDosePerPeriod": most(40)}], "60", True),
        ([{**dose(10), "maxDosePerPeriod": most(40)}], "30", False),
        ([{**dose(10), "maxDosePerPeriod": most(20, "h", 12)}], "30", False),
        ([{**dose(10, frequency=6), "maxDosePerPeriod": most(40, "day")}], "60", True),
        ([{**dose(10, frequency=6), "maxDosePerPeriod": most(40, "hours", 24)}], "60", True),
        ([{"text": "as needed", "maxDosePerPeriod": most(8, "tablets")}], None, False),
        ([], None, False),
    ],
)
def test_daily_opioid_dose_is_computed_only_when_written_plainly(
    read: ReadChart,
    instructions: list[dict[str, object]],
    expected: str | None,
    is_maximum: bool,  # noqa: FBT001 - a case
) -> None:
    """Milligrams and a frequency give a number, anything else is not known."""
    (fact,) = read(drug(dosageInstruction=instructions)).drugs
    assert fact.mme_per_day == (None if expected is None else Decimal(expected))
    assert fact.is_daily_maximum is is_maximum


def supply(value: float, unit: str, **more: object) -> dict[str, object]:
    """Return what one filling of a prescription lasts for."""
    return {"expectedSupplyDuration": {"value": value, "unit": unit}, **more}


@pytest.mark.parametrize(
    ("dispensed", "ended"),
    [
        (supply(30, "days"), "2026-10-01"),
        (supply(30, "d", numberOfRepeatsAllowed=2), "2026-11-30"),
        (supply(2, "wk"), "2026-09-15"),
        (supply(1, "mo"), "2026-10-01"),
        (supply(2, "months"), "2026-10-31"),
        (supply(30, "d", validityPeriod={"end": "2026-12-24"}), "2026-12-24"),
        (supply(90, "tablets"), None),
        (supply(0, "d"), None),
        (supply(-30, "d"), None),
        (supply(3660, "d"), "2036-09-08"),
        (supply(3661, "d"), None),
        (supply(1, "d", numberOfRepeatsAllowed=100_000), None),
        (supply(1, "d", numberOfRepeatsAllowed="-1e999999"), "2026-09-02"),
        ({"numberOfRepeatsAllowed": 2}, None),
    ],
)
def test_prescription_ends_when_its_supply_is_used_up(
    read: ReadChart, dispensed: dict[str, object], ended: str | None
) -> None:
    """Written on 1 September; every repeat lasts as long as the first filling."""
    (fact,) = read(drug(dispenseRequest=dispensed)).drugs
    assert fact.ended == (FhirDate.on(date.fromisoformat(ended)) if ended else None)


def step(amount: float, number: int | None, **bounds: str) -> dict[str, object]:
    """Return one dosage instruction, for a time."""
    return {**dose(amount, boundsPeriod=bounds), "sequence": number}


@pytest.mark.parametrize("number", [1, None])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([{"start": "2026-09-01", "end": "2026-09-30"}], "15"),
        ([{"end": "2026-09-30"}, {"start": "2026-12-01"}], "15"),
        ([{"start": "2026-11-01", "end": "2026-11-20"}], "more"),
        ([{"end": "2026-11"}], "more"),
        ([{}], "more"),
    ],
)
def test_dose_of_a_step_that_is_over_is_not_taken_today(
    read: ReadChart, others: list[dict[str, str]], expected: str, number: int | None
) -> None:
    """An opioid that was reduced step by step counts as it is taken now."""
    now = step(5, None if number is None else 2, start="2026-10-01")
    steps = [step(40, number, **bounds) for bounds in others]
    (fact,) = read(drug(dosageInstruction=[*steps, now])).drugs
    more = "120" if number else "135"
    assert fact.mme_per_day == Decimal(more if expected == "more" else expected)
    (over,) = read(drug(dosageInstruction=[step(40, 1, end="2026-09-30")])).drugs
    assert over.mme_per_day == Decimal(120), "without another dose nobody knows what came after"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (concept(SNOMED, "26643006", "Oral"), 15),
        (concept("urn:oid:2.999.1", "15"), 15),
        ({"text": "By mouth"}, 15),
        (concept(SNOMED, "47625008"), None),
        (concept(SNOMED, "72607000", "Pump"), None),
        *(({"text": words}, None) for words in ("Intrathecal", "IV Push", "s.c.", "SubQ", "IM")),
    ],
)
def test_factors_for_the_daily_dose_are_not_for_injected_opioids(
    read: ReadChart, route: Resource, expected: int | None
) -> None:
    """One milligram of morphine beside the spinal cord is no milligram by mouth."""
    instruction = {**dose(10, frequency=1), "route": route}
    chart = read(drug(dosageInstruction=[instruction]))
    assert [fact.mme_per_day for fact in chart.drugs] == [expected]
    assert chart.unmapped == (), "nobody has to map how a tablet is taken"


def until(day: str | None, sequence: int | None = None) -> dict[str, object]:
    """Return one dosage instruction that holds until *day*."""
    return {**dose(10, boundsPeriod={"start": "2026-09-01", "end": day}), "sequence": sequence}


def lasting(value: float, unit: str = "d", sequence: int | None = None) -> dict[str, object]:
    """Return one dosage instruction that holds for so long."""
    return {**dose(10, boundsDuration={"value": value, "code": unit}), "sequence": sequence}


FIVE_TO_SEVEN_DAYS = {"low": {"value": 5, "code": "d"}, "high": {"value": 7, "code": "d"}}


@pytest.mark.parametrize(
    ("instructions", "ended"),
    [
        ([until("2026-09-07", 1), until("2026-11-01", 2)], "2026-11-01"),
        ([until("2026-09-07", 1), until(None, 2)], None),
        ([until("2026-09-07"), dose(10)], None),
        ([lasting(5)], "2026-09-06"),
        ([lasting(2, "wk"), lasting(5)], "2026-09-15"),
        ([lasting(7, sequence=1), lasting(14, sequence=2)], "2026-09-22"),
        ([lasting(7, sequence=1), {**dose(10), "sequence": 2}], None),
        ([dose(10, boundsRange=FIVE_TO_SEVEN_DAYS)], "2026-09-08"),
        ([lasting(36, "h")], "2026-09-03"),
        ([lasting(3, "moons")], None),
        ([lasting(-3)], None),
        ([lasting(10**9)], None),
    ],
)
def test_prescription_ends_with_the_last_of_its_doses(
    read: ReadChart, instructions: list[dict[str, object]], ended: str | None
) -> None:
    """Drugs for nerve pain are begun in steps; the first of them is not the end."""
    (fact,) = read(drug(dosageInstruction=instructions)).drugs
    assert fact.ended == (FhirDate.on(date.fromisoformat(ended)) if ended else None)


@pytest.mark.parametrize(("repeats", "ended"), [(0, "2026-10-01"), (2, "2026-11-30")])
def test_prescription_that_may_be_repeated_ends_with_its_last_repeat(
    read: ReadChart, repeats: int, ended: str
) -> None:
    """An anticoagulant "for 30 days", with two repeats, is still taken after two months."""
    instructions = {"dosageInstruction": [lasting(30)]}
    supply = {"dispenseRequest": {"numberOfRepeatsAllowed": repeats}}
    (fact,) = read(drug(**instructions, **supply)).drugs
    assert fact.ended == FhirDate.on(date.fromisoformat(ended))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ("0.5", ("QOD", "Every other day")),
        ("1", ("QD", "AM", "PM", "BED", "Daily", "Once daily", "Every day", "Nightly")),
        ("1", ("Every morning", "Every evening", "At bedtime")),
        ("1", ("OD", "OM", "ON", "mane", "nocte", "nocte PRN")),
        ("2", ("BD", "BID", "Twice daily", "Twice a day", "2x daily", "Q12H")),
        ("3", ("TDS", "TDS PRN", "TID", "3 times a day", "Q8H")),
        ("4", ("QDS", "QID", "4x/day", "Every 6 hours")),
        ("24", ("Q1H",)),
    ],
)
def test_schedule_in_words_or_codes_says_how_often_a_day(
    read: ReadChart, times: str, words: tuple[str, ...]
) -> None:
    """10 mg of oxycodone count 15 each time."""
    for text in words:
        for code in ({"text": text}, {"coding": [{"code": text}]}):
            (fact,) = read(drug(dosageInstruction=[{**dose(10), "timing": {"code": code}}])).drugs
            assert fact.mme_per_day == 15 * Decimal(times), code


@pytest.mark.parametrize(
    "unit", ["ug/h", "mcg/hr", "microgram/h", "micrograms/hour", "micrograms per hour"]
)
def test_fentanyl_patch_counts_however_its_unit_is_spelt(read: ReadChart, unit: str) -> None:
    """A patch of 25 micrograms an hour is 60 milligrams of morphine a day."""
    patch = concept(RXNORM, "4337")
    instruction = {"doseAndRate": [{"rateQuantity": {"value": 25, "unit": unit}}]}
    found = drug(medicationCodeableConcept=patch, dosageInstruction=[instruction])
    assert read(found).drugs[0].mme_per_day == Decimal(60)


def test_drug_behind_a_reference_is_found_or_leaves_a_gap(read: ReadChart) -> None:
    """A contained or sent Medication is used; a missing one makes the drugs incomplete."""
    linked = drug(medicationReference={"reference": "#d"})
    del linked["medicationCodeableConcept"]
    inside = {"resourceType": "Medication", "id": "d", "code": concept(RXNORM, "25480")}
    assert read({**linked, "contained": [inside]}).drugs[0].concepts == {"gabapentinoid"}
    apart = {**linked, "medicationReference": {"reference": "Medication/d"}}
    assert read(apart, inside).drugs[0].concepts == {"gabapentinoid"}
    chart = read(apart)
    assert chart.drugs == ()
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.PARTIAL


@pytest.mark.parametrize(
    "fields",
    [
        *({"status": "draft"}, {"status": "cancelled"}, {"intent": "plan"}),
        {"intent": "plan", "reportedBoolean": False},
        {"intent": "proposal", "reportedBoolean": True},
        {"intent": "plan", "reportedBoolean": True, "status": "cancelled"},
    ],
)
def test_drug_that_was_never_ordered_is_no_fact(read: ReadChart, fields: dict[str, object]) -> None:
    """Drafts, cancelled orders and plans are not drugs taken."""
    assert read(drug(**fields)).drugs == ()


@pytest.mark.parametrize(
    "fields", [{"status": "current"}, {"status": ""}, {"status": None}, {"intent": "dispensed"}]
)
def test_drug_of_an_unknown_status_is_a_gap_that_is_said(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """Whether it is taken now cannot be told: an anticoagulant could be missed."""
    chart = read(drug(**fields))
    assert chart.drugs == ()
    assert [entry.reason for entry in chart.set_aside] == [reasons.UNREADABLE]
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.PARTIAL


@pytest.mark.parametrize(
    "fields", [{"status": "current"}, {"status": "cancelled"}, {"intent": "dispensed"}]
)
def test_drug_that_no_rule_reads_leaves_no_gap(read: ReadChart, fields: dict[str, object]) -> None:
    """A blood pressure tablet of an unknown status is no loss."""
    tablet = drug(medicationCodeableConcept=concept(RXNORM, "29046"), **fields)
    assert read(tablet).supply_of(Key.MEDICATION_REQUESTS).state is State.SUPPLIED


@pytest.mark.parametrize("status", ["unknown", "ended", "on-hold", "stopped", "completed"])
def test_drug_that_is_not_taken_now_leaves_no_gap(read: ReadChart, status: str) -> None:
    """The words of FHIR, of R5 too, say that it is over or rests."""
    chart = read(drug(status=status))
    assert [fact.status for fact in chart.drugs] == [status]
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.SUPPLIED


@pytest.mark.parametrize(
    "fields",
    [
        {"reportedBoolean": True},
        {"reportedReference": {"reference": "Patient/anna"}},
        {"reported": True},
    ],
    ids=["reported", "reported by somebody", "reported in R5"],
)
def test_plan_that_reports_what_is_taken_is_a_drug_taken(
    read: ReadChart, fields: dict[str, object]
) -> None:
    """So Epic and others write the drugs that a patient says to take."""
    (found,) = read(drug(intent="plan", **fields)).drugs
    assert found.status == "active"
    assert "opioid" in found.concepts


def device(**fields: object) -> Resource:
    """Return a Device of the patient."""
    return {
        "resourceType": "Device",
        "id": "d1",
        "status": "active",
        "patient": {"reference": "Patient/anna"},
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "kind", "status"),
    [
        ({"type": concept(SNOMED, "424921004")}, "implant-pacemaker", MrStatus.UNKNOWN),
        (
            {"type": {"text": "Pacemaker"}, "safety": [{"text": "mr conditional"}]},
            "implant-pacemaker",
            MrStatus.CONDITIONAL,
        ),
        (
            {"type": {"text": "ICD"}, "safety": [{"coding": [{"display": "MR Unsafe"}]}]},
            "implant-defibrillator",
            MrStatus.UNSAFE,
        ),
        (
            {"deviceName": [{"name": "Spinal cord stimulator, not MR safe"}]},
            "implant-neurostimulator",
            MrStatus.UNSAFE,
        ),
        ({"type": {"text": "Aneurysm clip, MRI safe"}}, "implant-clip", MrStatus.SAFE),
        ({"type": {"text": "Intrathecal pump"}}, "implant-pump", MrStatus.UNKNOWN),
        (
            {"type": {"text": "Implantable programmable drug-infusion pump"}},
            "implant-pump",
            MrStatus.UNKNOWN,
        ),
        ({"deviceName": [{"name": "Aneurysmal clip"}]}, "implant-clip", MrStatus.UNKNOWN),
        (
            {"type": {"text": "Implanted nerve stimulator, external charger"}},
            "implant-neurostimulator",
            MrStatus.UNKNOWN,
        ),
    ],
)
def test_implant_is_recognised_by_code_or_words(
    read: ReadChart, fields: dict[str, object], kind: str, status: MrStatus
) -> None:
    """A missed implant can hurt, so words are enough."""
    (fact,) = read(device(**fields)).devices
    assert kind in fact.concepts
    assert fact.mr_status is status


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (
            "Spinal cord/peripheral nerve implantable analgesic electrical stimulation system",
            "implant-neurostimulator",
        ),
        ("Stimulator, Spinal-Cord, Totally Implanted For Pain Relief", "implant-neurostimulator"),
        ("STIMULATOR SPINAL CORD 16 ELECTRODE", "implant-neurostimulator"),
        ("GENERATOR NEUROSTIM RECHARGEABLE", "implant-neurostimulator"),
        ("STIMULATOR NERVE SACRAL", "implant-neurostimulator"),
        ("Stimulator, Electrical, Implanted, For Deep Brain", "implant-neurostimulator"),
        ("Dorsal root ganglion stimulator", "implant-neurostimulator"),
        ("GENERATOR SCS RECHARGEABLE IPG", "implant-neurostimulator"),
        ("Spinal cord stim generator", "implant-neurostimulator"),
        ("KIT STIM SPINAL CORD", "implant-neurostimulator"),
        ("Neuro stimulator, implanted", "implant-neurostimulator"),
        ("PACER LEAD RV", "implant-pacemaker"),
        ("LEAD PACING ACTIVE FIXATION 52CM", "implant-pacemaker"),
        ("PPM dual chamber", "implant-pacemaker"),
        ("DRG stim, Lt L5", "implant-neurostimulator"),
        ("ITP 20 mL", "implant-pump"),
        ("DBS IPG, chest", "implant-neurostimulator"),
        ("VNS", "implant-neurostimulator"),
        ("Sacral nerve stim", "implant-neurostimulator"),
        ("Cerebral clip", "implant-clip"),
        ("GENERATOR CRT-P", "implant-pacemaker"),
        ("CARDIOVERTER IMPLANTABLE DUAL CHAMBER", "implant-defibrillator"),
        ("GENERATOR CRT-D", "implant-defibrillator"),
        ("CLIP ANEURYSM STRAIGHT 7MM", "implant-clip"),
        ("Clip, Aneurysm", "implant-clip"),
        ("Pump, Infusion, Implanted, Programmable", "implant-pump"),
        ("PUMP INFUSION IMPLANTABLE", "implant-pump"),
        ("Programmable infusion pump, implantable", "implant-pump"),
        ("Baclofen pump", "implant-pump"),
        ("SynchroMed II 40 mL", "implant-pump"),
        ("Herzschrittmacher DDD", "implant-pacemaker"),
        ("Stimulateur cardiaque double chambre", "implant-pacemaker"),
        ("Marcapasos", "implant-pacemaker"),
        ("Marcapasso card\u00edaco", "implant-pacemaker"),
        ("Stimolatore cardiaco", "implant-pacemaker"),
        ("D\u00e9fibrillateur implantable", "implant-defibrillator"),
        ("Desfibrilador", "implant-defibrillator"),
        ("Neuroestimulador medular", "implant-neurostimulator"),
        ("植込み型心臓ペースメーカ", "implant-pacemaker"),
        ("心臟節律器", "implant-pacemaker"),
        ("심박동기", "implant-pacemaker"),
        ("Кардиостимулятор", "implant-pacemaker"),
        ("קוצב לב", "implant-pacemaker"),
        ("منظم ضربات القلب", "implant-pacemaker"),
        ("Kalp pili", "implant-pacemaker"),
        ("植込み型除細動器", "implant-defibrillator"),
        ("이식형 제세동기", "implant-defibrillator"),
        ("植込型脊髄刺激装置", "implant-neurostimulator"),
    ],
)
def test_implant_is_recognised_as_device_lists_and_stores_name_it(
    read: ReadChart, name: str, kind: str
) -> None:
    """They put the noun first, or name what it does: a stimulation system, a pacing lead."""
    (fact,) = read(device(deviceName=[{"name": name}])).devices
    assert fact.concepts == {kind}


@pytest.mark.parametrize(
    "words",
    [
        *("implanted ", "aneurysm", "implantable-", "nerve ", "MR "),
        *("stimulator ", "spinal ", "pump infusion ", "clip "),
    ],
)
def test_device_name_that_repeats_itself_costs_no_time(read: ReadChart, words: str) -> None:
    """A hundred thousand letters of one device stop no other patient's call."""
    began = time.perf_counter()
    chart = read(device(deviceName=[{"name": words * (100_000 // len(words))}]))
    assert chart.devices == ()
    assert time.perf_counter() - began < 5


NCI = "urn:oid:2.16.840.1.113883.3.26.1.1"


@pytest.mark.parametrize(
    ("safety", "status"),
    [
        (concept(NCI, "C106045"), MrStatus.SAFE),
        (concept(NCI, "C106046"), MrStatus.CONDITIONAL),
        (concept(NCI, "C106047"), MrStatus.UNSAFE),
        ({"text": "Magnetic Resonance Safe"}, MrStatus.SAFE),
        ({"coding": [{"display": "Magnetic Resonance Conditional"}]}, MrStatus.CONDITIONAL),
        ({"coding": [{"display": "Magnetic Resonance Unsafe"}]}, MrStatus.UNSAFE),
        ({"text": "Not magnetic resonance safe"}, MrStatus.UNSAFE),
        ({"coding": [{"code": "mr-unsafe"}]}, MrStatus.UNSAFE),
        ({"coding": [{"code": "MR_CONDITIONAL"}]}, MrStatus.CONDITIONAL),
        (concept(NCI, "C113844"), MrStatus.UNKNOWN),
    ],
)
def test_safety_in_the_scanner_is_read_as_fhir_writes_it(
    read: ReadChart, safety: Resource, status: MrStatus
) -> None:
    """FHIR's own words and codes for Device.safety count like the short ones."""
    (fact,) = read(device(type={"text": "Pacemaker"}, safety=[safety])).devices
    assert fact.mr_status is status


def test_unknown_implant_coded_unsafe_as_fhir_codes_it_counts(read: ReadChart) -> None:
    """A cochlear implant with only the code holds back the scanner as one with the words does."""
    (fact,) = read(device(type={"text": "Cochlear"}, safety=[concept(NCI, "C106047")])).devices
    assert fact.mr_status is MrStatus.UNSAFE


@pytest.mark.parametrize(
    "fields",
    [
        {"type": {"text": "Wheelchair"}},
        {"type": {"text": "Pacemaker"}, "status": "inactive"},
        {"type": {"text": "Automated external defibrillator"}},
        {"type": {"text": "Transcutaneous electrical nerve stimulator"}},
        {"deviceName": [{"name": "TENS neurostimulator"}]},
        {"type": {"text": "経皮的電気神経刺激装置"}},
        {"type": {"text": "自動体外式除細動器"}},
        {"type": {"text": "External pacing lead"}},
        {"type": {"text": "STIMULATOR BONE GROWTH SPINAL"}},
        {"type": {"text": "Spinal bone growth stimulator"}},
        {"type": {"text": "Bone growth stimulator, spinal"}},
        {"type": {"text": "Osteogenesis stimulator, electrical, spinal"}},
        {"type": {"text": "Needle, nerve stimulator, 22G"}},
        {"type": {"text": "Ozone monitor, 0 to 10 ppm"}},
        {"type": {"text": "CLIP LIGATING TITANIUM"}},
        {"type": {"text": "PUMP PENILE PROSTHESIS IMPLANTABLE"}},
        {"type": {"text": "Infusion pump"}},
        {"type": {"text": "Needle nerve stim 22G"}},
        {"type": {"text": "Pacer gait trainer"}},
        {"type": {"text": "STIM SPINAL FUSION"}},
        {"type": {"text": "Externer Defibrillator"}},
        {"type": {"text": "D\u00e9fibrillateur automatis\u00e9 externe"}},
        {"type": {"text": "Neuroestimulador transcut\u00e1neo (TENS)"}},
    ],
)
def test_other_devices_are_no_implants(read: ReadChart, fields: dict[str, object]) -> None:
    """Aids, removed implants and devices outside the body stop no MRI."""
    assert read(device(**fields)).devices == ()


@pytest.mark.parametrize(
    ("fields", "is_gap"),
    [
        ({"udiCarrier": [{"deviceIdentifier": "00844588003288"}]}, True),
        *(({"type": code}, True) for code in UNREADABLE_CODES),
        ({"deviceName": [{"name": " "}]}, True),
        ({"status": "inactive"}, False),
        ({"safety": [{"text": "MR safe"}]}, False),
        ({"type": concept("urn:oid:2.999", "77")}, False),
    ],
)
def test_device_of_which_nothing_says_what_it_is_may_be_a_pacemaker(
    read: ReadChart,
    fields: Resource,
    is_gap: bool,  # noqa: FBT001 - a case
) -> None:
    """A list of scanned labels named no kind, and the MRI was proposed without a word."""
    assert read(device(**fields)).failed_keys == ({Key.DEVICES} if is_gap else set())


@pytest.mark.parametrize("is_r5", [False, True])
@pytest.mark.parametrize(("kind", "expected"), [("IMP", True), ("AMB", False), ("odd", None)])
def test_procedure_says_whether_it_was_done_in_hospital(
    read: ReadChart,
    kind: str,
    expected: bool | None,  # noqa: FBT001 - a case
    *,
    is_r5: bool,
) -> None:
    """Therapy on the ward is told from therapy after it by the visit it belongs to.

    FHIR R4 writes the class of a visit as a code, R5 as a list of concepts.
    """
    visit = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": [{"coding": [{"code": kind}]}] if is_r5 else {"code": kind},
        **MINE,
    }
    therapy = procedure("97110", CPT, encounter={"reference": "Encounter/e1/_history/2"})
    assert read(therapy, visit).procedures[0].is_inpatient is expected
    assert read(therapy).procedures[0].is_inpatient is None
