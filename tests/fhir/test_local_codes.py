"""Charts that hold only a site's own codes are read as well as any other."""

from __future__ import annotations

import dataclasses
import json
import re
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from cds_service.catalogue.codes import NO_CODES, CodeMap, read_code_map
from cds_service.catalogue.orders import read_order_catalogue
from cds_service.chart.facts import Chart, Site
from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.gateway import Gateway
from cds_service.fhir.queries import USER_KEY, observation_codes, templates
from cds_service.fhir.users import user_roles
from cds_service.knowledge.model import Knowledge
from cds_service.trust.dialect import reading_form
from cds_service.trust.profile import ClientProfile, Role, dev_profile
from cds_service.values import Side
from tests.changing import replace
from tests.fhir.chart_parts import (
    KEYS,
    LOINC,
    PATIENT,
    Resource,
    chart_read,
    concept,
    condition,
    observation,
    procedure,
    searches,
)
from tests.fhir.fault_server import FaultServer
from tests.fhir.test_gateway_faults import call, deadline, page, sends

SITE = "urn:oid:2.999.7"
MAP = read_code_map(
    "codes.csv",
    b"""system,code,concept,unit
urn:oid:2.999.7,FUS45,fusion,
urn:oid:2.999.7,FUS45,level-l4-l5,
urn:oid:2.999.7,FUS45,side-left,
urn:oid:2.999.7,LEG,pain-score,
urn:oid:2.999.7,LEG,site-leg,
urn:oid:2.999.7,PAIN,pain-score,
urn:oid:2.999.7,EHL,mrc-grade,
urn:oid:2.999.7,EHL,muscle-ehl,
urn:oid:2.999.7,EHL,side-right,
urn:oid:2.999.7,PVR,pvr,mL
urn:oid:2.999.7,CRP,crp,mg/dL
urn:oid:2.999.7,SADDLE,saddle-sensation,
urn:oid:2.999.7,R,answer-reduced,
urn:oid:2.999.7,THIGH,site-leg,
""",
)
ROLE = Role(name="pt", codes=frozenset({"x:y|PT"}), hidden_cards=frozenset({"OPIOID"}))


def chart(knowledge: Knowledge, *resources: Resource, code_map: CodeMap = MAP) -> Chart:
    """Return the chart of *resources* for a site with *code_map*."""
    found: dict[str, list[bytes]] = {key: [] for key in KEYS.values()}
    for resource in (PATIENT, *resources):
        found[KEYS[resource["resourceType"]]].append(json.dumps(resource).encode())
    return chart_read(
        {
            key: KeyAnswer(supply=Supply(state=State.SUPPLIED), resources=tuple(bodies))
            for key, bodies in found.items()
        },
        knowledge,
        code_map=code_map,
    )


def test_local_operation_is_an_operation_with_level(knowledge: Knowledge) -> None:
    """A fusion under the hospital's own code is the fusion, at its level."""
    (found,) = chart(knowledge, procedure("FUS45", SITE)).procedures
    assert found.concepts >= {"fusion"}
    assert found.levels == {"L4-L5"}
    assert chart(knowledge, procedure("FUS45", SITE), code_map=NO_CODES).procedures == ()


def test_flowsheet_row_says_where_the_pain_is(knowledge: Knowledge) -> None:
    """Leg pain has a row of its own; the row without a place takes it from the body site."""
    own = chart(knowledge, observation("LEG", SITE, valueInteger=7)).observations
    assert [(fact.value, fact.site) for fact in own] == [(Decimal(7), Site.LEG)]
    assert own[0].concepts == {"pain-score"}
    placed = observation("PAIN", SITE, valueInteger=3, bodySite=concept(SITE, "THIGH"))
    assert [fact.site for fact in chart(knowledge, placed).observations] == [Site.LEG]
    unplaced = chart(knowledge, observation("PAIN", SITE, valueInteger=3)).observations
    assert [fact.site for fact in unplaced] == [Site.ANY]


def test_flowsheet_row_of_one_muscle_on_one_side(knowledge: Knowledge) -> None:
    """Strength charted row by row reaches the rules with muscle and side."""
    (found,) = chart(knowledge, observation("EHL", SITE, valueInteger=3)).observations
    assert (found.value, found.muscle, found.side) == (Decimal(3), "ehl", Side.RIGHT)
    assert found.concepts == {"mrc-grade"}
    row = {"code": concept(SITE, "EHL"), "valueInteger": 3}
    (in_panel,) = chart(knowledge, observation("PANEL", SITE, component=[row])).observations
    assert in_panel == found


@pytest.mark.parametrize(
    ("letter", "side"), [("L", Side.LEFT), ("R", Side.RIGHT), ("B", Side.BOTH)]
)
def test_side_at_a_german_code_is_read_with_the_map(
    letter: str, side: Side, knowledge: Knowledge
) -> None:
    """A German hospital maps its codes of OPS and ICD-10-GM, and the letters of their sides."""
    sides = "https://fhir.kbv.de/CodeSystem/KBV_CS_SFHIR_ICD_SEITENLOKALISATION"
    ops, gm = "http://fhir.de/CodeSystem/bfarm/ops", "http://fhir.de/CodeSystem/bfarm/icd-10-gm"
    german = read_code_map(
        "codes.csv",
        f"""system,code,concept
{ops},5-832.4,decompression
{gm},G83.1,motor-paresis
{sides},L,side-left
{sides},R,side-right
{sides},B,side-both
""".encode(),
    )
    of_side = [
        {
            "url": "http://fhir.de/StructureDefinition/seitenlokalisation",
            "valueCoding": {"system": sides, "code": letter},
        }
    ]
    operation = {"coding": [{"system": ops, "code": "5-832.4", "extension": of_side}]}
    paresis = {"coding": [{"system": gm, "code": "G83.1", "extension": of_side}]}
    found = chart(
        knowledge,
        procedure("5-832.4", ops, code=operation),
        condition("G83.1", gm, code=paresis),
        code_map=german,
    )
    assert (found.procedures[0].concepts, found.procedures[0].side) == ({"decompression"}, side)
    assert (found.conditions[0].concepts, found.conditions[0].side) == ({"motor-paresis"}, side)


def test_number_without_a_unit_takes_the_unit_of_the_map(knowledge: Knowledge) -> None:
    """The map's unit is used, converted too, and never against a unit the chart states."""
    bare = chart(knowledge, observation("CRP", SITE, valueQuantity={"value": 2})).observations
    assert [fact.value for fact in bare] == [Decimal(20)]
    stated = observation("CRP", SITE, valueQuantity={"value": 2, "unit": "mg/L"})
    assert [fact.value for fact in chart(knowledge, stated).observations] == [Decimal(2)]
    text = observation("PVR", SITE, valueString="250")
    assert [fact.value for fact in chart(knowledge, text).observations] == [Decimal(250)]


def test_local_answer_is_understood(knowledge: Knowledge) -> None:
    """Saddle sensation and its answer both come in local codes."""
    answer = observation("SADDLE", SITE, valueCodeableConcept=concept(SITE, "R"))
    (found,) = chart(knowledge, answer).observations
    assert found.choice == {"answer-reduced"}


def test_local_codes_count_in_every_part_of_the_chart(knowledge: Knowledge) -> None:
    """A scan done, one ordered, a diagnosis, a drug and an implant, all in local codes."""
    names = ("mri-lumbar", "csf-leak", "gabapentinoid", "implant-pacemaker")
    text = "system,code,concept\n" + "\n".join(f"{SITE},{name.upper()},{name}" for name in names)
    subject = {"reference": "Patient/anna"}
    scan, leak, drug, implant = (concept(SITE, name.upper()) for name in names)
    found = chart(
        knowledge,
        {
            "resourceType": "DiagnosticReport",
            "id": "r",
            "status": "final",
            "code": scan,
            "subject": subject,
            "effectiveDateTime": "2026-10-01",
        },
        {
            "resourceType": "ServiceRequest",
            "id": "s",
            "status": "active",
            "intent": "order",
            "code": scan,
            "subject": subject,
            "authoredOn": "2026-11-01",
        },
        {"resourceType": "Condition", "id": "c", "code": leak, "subject": subject},
        {
            "resourceType": "MedicationRequest",
            "id": "m",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": drug,
            "subject": subject,
        },
        {"resourceType": "Device", "id": "d", "type": implant, "patient": subject},
        code_map=read_code_map("c", text.encode()),
    )
    assert [fact.concepts for fact in found.reports] == [{"mri-lumbar"}]
    assert [fact.concepts for fact in found.orders] == [{"mri-lumbar"}]
    assert [fact.concepts for fact in found.conditions] == [{"csf-leak"}]
    assert [fact.concepts for fact in found.drugs] == [{"gabapentinoid"}]
    assert [fact.concepts for fact in found.devices] == [{"implant-pacemaker"}]


@pytest.mark.parametrize("spelling", [f"{SITE}|2026", f" {SITE} "])
def test_version_and_blanks_of_a_system_do_not_matter(spelling: str, knowledge: Knowledge) -> None:
    """The system may come with a version or blanks around it."""
    assert chart(knowledge, observation("LEG", spelling, valueInteger=7)).observations


def test_same_code_of_another_system_means_nothing(knowledge: Knowledge) -> None:
    """A code is known by its system and never alone."""
    assert not chart(knowledge, observation("LEG", SITE + ".1", valueInteger=7)).observations


def test_standard_code_mapped_by_a_site_keeps_what_it_means(knowledge: Knowledge) -> None:
    """A site may add a meaning to a LOINC code; ours stays."""
    text = b"system,code,concept\nhttp://loinc.org,72514-3,site-leg\n"
    found = chart(
        knowledge, observation("72514-3", valueInteger=5), code_map=read_code_map("c", text)
    )
    assert [(fact.concepts, fact.site) for fact in found.observations] == [
        ({"pain-score"}, Site.LEG)
    ]


def test_searches_and_templates_ask_for_local_codes(knowledge: Knowledge) -> None:
    """What is not asked for never comes: by pull and by prefetch, each code under its key."""
    scores = observation_codes(knowledge, Key.SCORES, MAP)
    findings = observation_codes(knowledge, Key.FINDINGS, MAP)
    assert {f"{SITE}|LEG", f"{SITE}|PAIN"} <= set(scores)
    assert {f"{SITE}|{code}" for code in ("EHL", "PVR", "CRP", "SADDLE")} <= set(findings)
    assert not any("FUS45" in code or code.endswith("|R") for code in (*scores, *findings))
    for found in (templates(knowledge, code_map=MAP), templates(knowledge)):
        assert (f"{SITE}|LEG" in found[Key.SCORES]) is (found != templates(knowledge))
    urls = searches(knowledge, "anna", code_map=MAP)[Key.FINDINGS]
    asked = {c for u in urls for c in parse_qs(urlsplit(u).query)["code"][0].split(",")}
    assert asked == set(findings)


@pytest.mark.parametrize(
    "code", ["tJ3+x=#", "C REACTIVE PROTEIN", "CRP (hs) [S]", "K+ 50%&x?", "CRP-Ä"]
)
def test_local_code_of_any_signs_is_asked_for_and_read(knowledge: Knowledge, code: str) -> None:
    """Epic's ids hold + and =, a laboratory's mnemonics blanks and brackets, as FHIR allows."""
    code_map = read_code_map("c", f"system,code,concept\n{SITE},{code},odi\n".encode())
    template = templates(knowledge, code_map=code_map)[Key.SCORES]
    query = parse_qs(urlsplit(template.replace("{{context.patientId}}", "1")).query)
    assert f"{SITE}|{code}" in query["code"][0].split(",")
    assert set(query) == {"patient", "code", "_count"}
    urls = searches(knowledge, "anna", code_map=code_map)[Key.SCORES]
    asked = [c for url in urls for c in parse_qs(urlsplit(url).query)["code"][0].split(",")]
    assert f"{SITE}|{code}" in asked
    found = chart(knowledge, observation(code, SITE, valueInteger=40), code_map=code_map)
    assert [fact.concepts for fact in found.observations] == [{"odi"}]


def test_gateway_asks_the_server_for_the_local_codes_of_the_client(
    gateway: Gateway, server: FaultServer
) -> None:
    """The pull of one client names its codes, that of another does not."""
    for code_map, expected in ((MAP, True), (NO_CODES, False)):
        server.seen.clear()
        client = replace(dev_profile(), code_map=code_map)
        gateway.answers(call(server), client, deadline(5))
        asked = " ".join(server.asked("Observation"))
        assert (f"{SITE}%7CLEG" in asked) is expected


def test_user_is_read_only_where_roles_are_told_apart(
    gateway: Gateway, server: FaultServer, knowledge: Knowledge
) -> None:
    """Without roles nobody asks who is looking; with roles one read, and a template."""
    user = {
        "resourceType": "Practitioner",
        "id": "1",
        "qualification": [{"code": concept("x:y", "PT")}],
    }
    server.behaviours["Practitioner"] = sends(user)
    answers = gateway.answers(call(server), dev_profile(), deadline(5))
    assert USER_KEY not in answers
    assert server.asked("Practitioner") == []
    answers = gateway.answers(call(server), replace(dev_profile(), roles=(ROLE,)), deadline(5))
    assert user_roles(answers[USER_KEY], "Practitioner/1") == (frozenset({"x:y|PT"}),)
    assert server.asked("Practitioner") == ["/fhir/Practitioner/1"]
    assert USER_KEY not in templates(knowledge)
    assert templates(knowledge, asks_user=True)[USER_KEY] == "{{context.userId}}"


@pytest.mark.parametrize("user_id", ["Patient/anna", "RelatedPerson/r", "Practitioner/../x", "x"])
def test_user_who_is_no_clinician_is_not_looked_up(
    user_id: str, gateway: Gateway, server: FaultServer
) -> None:
    """Only a Practitioner or PractitionerRole with a plain id is read."""
    request = replace(call(server), user_id=user_id)
    answers = gateway.answers(request, replace(dev_profile(), roles=(ROLE,)), deadline(5))
    assert USER_KEY not in answers


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"resourceType": "PractitionerRole", "id": "1", "code": [concept("x:y", "PT")]}, 0),
        ({"resourceType": "Practitioner", "id": "2"}, 0),
        ({"resourceType": "Practitioner", "id": "1"}, 0),
        ({"resourceType": "Practitioner", "id": "1", "qualification": [{"code": 7}]}, 0),
        ({"resourceType": "Practitioner", "id": "1", "qualification": [{}]}, 0),
        ({"resourceType": "Practitioner", "id": "1", "code": [concept("x:y", "PT"), {}]}, 2),
    ],
)
def test_only_the_user_of_the_call_has_roles(body: Resource, expected: int) -> None:
    """Another person's resource, or one without roles, says nothing; a role may lack a code."""
    supplied = Supply(state=State.SUPPLIED)
    answer = KeyAnswer(supply=supplied, resources=(json.dumps(body).encode(),))
    assert len(user_roles(answer, "Practitioner/1")) == expected
    assert user_roles(None, "Practitioner/1") == ()


def test_unread_user_is_no_gap_of_the_chart(gateway: Gateway, server: FaultServer) -> None:
    """A user who cannot be read costs nothing but the roles."""
    server.behaviours["Practitioner"] = lambda handler: handler.send_json({}, 403)
    client = replace(dev_profile(), roles=(ROLE,))
    answers = dict(gateway.answers(call(server), client, deadline(5)))
    assert answers.pop(USER_KEY).supply.state is State.NOT_SUPPLIED
    assert set(answers) == set(Key.DEFAULT)


EMPTY_FORMS = {
    "null": None,
    "empty-bundle": json.dumps({"resourceType": "Bundle", "total": 0}).encode(),
    "outcome": json.dumps(
        {
            "resourceType": "OperationOutcome",
            "issue": [
                {"severity": "warning", "details": {"coding": [{"system": "x:y", "code": "4101"}]}}
            ],
        }
    ).encode(),
}


@pytest.mark.parametrize("form", sorted(EMPTY_FORMS))
def test_empty_form_an_ehr_does_not_mean_is_asked_for(
    form: str, gateway: Gateway, server: FaultServer
) -> None:
    """An EHR known to send null for a failed query is asked again; others are believed."""
    others = sorted(set(EMPTY_FORMS) - {form})
    doubted = reading_form("generic", {"empty_results": others})
    server.behaviours["Procedure"] = sends(page(procedure()))
    for client, expected in (
        (dev_profile(), State.EMPTY),
        (replace(dev_profile(), reading=doubted), State.SUPPLIED),
    ):
        request = call(server, procedures=EMPTY_FORMS[form])
        answers = gateway.answers(request, client, deadline(5))
        assert answers[Key.PROCEDURES].supply.state is expected


def test_profile_of_any_client_without_lists_reads_as_before(knowledge: Knowledge) -> None:
    """Nothing changes for a client that maps nothing."""
    client = ClientProfile(id="plain")
    assert templates(knowledge, code_map=client.code_map) == templates(knowledge)
    assert not re.search("urn:oid", str(templates(knowledge)))


ORDERS = read_order_catalogue(
    "orders.csv",
    f"""concept,system,code,display
mri-lumbar-without-and-with-contrast,{SITE},MR1,MR L-SPINE
mri-lumbar-without-contrast,{SITE},MR1,MR L-SPINE
xray-lumbar-standing,{SITE},XR1,XR STANDING
emg-lower-limb,{SITE},EMG1,EMG
emg-lower-limb,http://snomed.info/sct,42803009,Electromyography
mri-lumbar-without-contrast,{SITE},SET,BACK PAIN SET
esr,{SITE},SET,BACK PAIN SET
crp,{SITE},SET,BACK PAIN SET
emg-lower-limb,{SITE},SET,BACK PAIN SET
pain-clinic-referral,{SITE},PAIN1,AMB REF TO PAIN
scs-evaluation-referral,{SITE},PAIN1,AMB REF TO PAIN
scs-evaluation-referral,{SITE},SCS1,AMB REF TO IMPLANTS
psychology-referral,{SITE},EHL,AMB REF TO PSYCHOLOGY
physiotherapy-referral,http://snomed.info/sct,306265007,PAIN AND MOVEMENT
scs-evaluation-referral,http://loinc.org,78672-3,Pain medicine Referral note
""".encode(),
)


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        ("MR1", "", {"mri-lumbar"}),
        ("XR1", "", {"xray-lumbar"}),
        ("EMG1", "", {"emg"}),
        ("EMG1", "EMG right arm", set()),
        ("SET", "", {"emg", "mri-lumbar"}),
        ("SCS1", "", {"pain-clinic-referral", "scs-referral"}),
        ("PAIN1", "", {"pain-clinic-referral"}),
        ("PAIN1", "Spinal cord stimulation, trial?", {"pain-clinic-referral", "scs-referral"}),
        ("EHL", "", {"mrc-grade", "muscle-ehl", "psychology-referral", "side-right"}),
    ],
)
def test_order_under_a_code_of_the_order_list_is_what_the_list_orders(
    code: str, words: str, expected: set[str], knowledge: Knowledge
) -> None:
    """Of a set everything is ordered; one code for a pain referral and stimulation tells less."""
    assert _ordered(knowledge, SITE, code, words) == expected


def test_standard_code_in_the_order_list_keeps_its_conditions(knowledge: Knowledge) -> None:
    """The EMG of an arm is none of the legs, though the hospital orders by the SNOMED CT code.

    Nor is every referral to a pain specialist one for stimulation where the hospital has no other
    code for it.
    """
    sct = "http://snomed.info/sct"
    assert _ordered(knowledge, sct, "42803009", "EMG right arm") == set()
    assert _ordered(knowledge, sct, "42803009", "EMG") == {"emg"}
    assert _ordered(knowledge, LOINC, "78672-3", "") == {"pain-clinic-referral"}
    assert "scs-referral" in _ordered(knowledge, LOINC, "78672-3", "SCS trial")
    both = {"pain-clinic-referral", "physiotherapy-order"}
    assert _ordered(knowledge, sct, "306265007", "") == both


def _ordered(knowledge: Knowledge, system: str, code: str, words: str) -> set[str]:
    """Return what one open order counts as for a hospital with ``ORDERS``."""
    order = {
        "resourceType": "ServiceRequest",
        "id": "s",
        "status": "active",
        "intent": "order",
        "code": {**concept(system, code), **({"text": words} if words else {})},
        "subject": {"reference": "Patient/anna"},
        "authoredOn": "2026-11-01",
    }
    found = chart(knowledge, order, code_map=dataclasses.replace(MAP, orders=ORDERS))
    return {name for fact in found.orders for name in fact.concepts}


def test_result_under_the_code_of_an_order_is_no_laboratory_value(knowledge: Knowledge) -> None:
    """A panel's number is not taken for the CRP in it, and nobody asks the server for panels."""
    code_map = CodeMap(orders=ORDERS)
    row = observation("SET", SITE, valueQuantity={"value": 40, "unit": "mg/L"})
    found = chart(knowledge, row, code_map=code_map).observations
    assert not {"crp", "esr"} & {name for fact in found for name in fact.concepts}
    assert templates(knowledge, code_map=code_map) == templates(knowledge)
