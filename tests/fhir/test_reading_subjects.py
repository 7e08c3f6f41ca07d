"""No resource of another patient becomes a fact, wherever it stands and however it refers."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from cds_service.chart.supply import Key, State
from cds_service.errors import DataNotAvailableError
from cds_service.fhir import reasons
from cds_service.fhir.prefetch import joined_answer, read_page
from cds_service.knowledge.model import Knowledge
from tests.fhir.chart_parts import (
    CPT,
    LOCAL,
    LOINC,
    PATIENT,
    RXNORM,
    SNOMED,
    ReadChart,
    Resource,
    chart_read,
    concept,
    condition,
    drug_order,
    observation,
    procedure,
)

FACTS = (
    "procedures",
    "conditions",
    "observations",
    "orders",
    "reports",
    "drugs",
    "devices",
    "encounters",
    "allergies",
)


def every_kind() -> list[Resource]:
    """Return one well-known resource of each kind, of the patient."""
    me = {"subject": {"reference": "Patient/anna"}}
    return [
        procedure(),
        condition("27151001"),
        observation("72514-3", valueInteger=7),
        {
            "resourceType": "ServiceRequest",
            "id": "s",
            "status": "active",
            "intent": "order",
            "code": concept(CPT, "72158"),
            **me,
        },
        {
            "resourceType": "DiagnosticReport",
            "id": "d",
            "status": "final",
            "code": concept(LOINC, "24968-0"),
            **me,
        },
        {
            "resourceType": "ImagingStudy",
            "id": "i",
            "status": "available",
            "procedureCode": [concept(LOINC, "24968-0")],
            **me,
        },
        {
            "resourceType": "MedicationRequest",
            "id": "m",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": concept(RXNORM, "7804"),
            **me,
        },
        {
            "resourceType": "MedicationStatement",
            "id": "n",
            "status": "active",
            "medicationCodeableConcept": concept(RXNORM, "25480"),
            **me,
        },
        {
            "resourceType": "Device",
            "id": "v",
            "status": "active",
            "type": concept(SNOMED, "424921004"),
            "patient": {"reference": "Patient/anna"},
        },
        {"resourceType": "Encounter", "id": "e", "status": "finished", **me},
        {
            "resourceType": "AllergyIntolerance",
            "id": "a",
            "code": {"text": "gadolinium contrast"},
            "patient": {"reference": "Patient/anna"},
        },
    ]


def owned(resource: Resource, reference: object) -> Resource:
    """Return *resource* with another subject."""
    field = "patient" if "patient" in resource else "subject"
    return {**resource, field: reference}


OWN = [
    "Patient/anna",
    " Patient/anna ",
    "Patient/anna/_history/3",
    "https://ehr.example/fhir/Patient/anna",
    "https://EHR.example:443/fhir/Patient/anna/_history/1",
    "https://second.example/r4/Patient/anna",
    "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
]
FOREIGN = [
    "Patient/bert",
    "Patient/Anna",
    "Patient/bert/_history/3",
    "https://ehr.example/fhir/Patient/bert",
    "https://elsewhere.example/fhir/Patient/anna",
    "http://ehr.example/fhir/Patient/anna",
    "https://ehr.example.evil.com/fhir/Patient/anna",
    "https://ehr.example@evil.com/fhir/Patient/anna",
    "urn:uuid:11111111-1cbf-4d64-b04d-cd9187a4c6e0",
]
UNCLEAR = [
    "Patient?identifier=1",
    "Group/anna",
    "anna",
    "#anna",
    "urn:uuid:22222222-1cbf-4d64-b04d-cd9187a4c6e0",
    "",
]
FULL_URLS = {
    "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0": "Patient/anna",
    "urn:uuid:11111111-1cbf-4d64-b04d-cd9187a4c6e0": "Patient/bert",
}


@pytest.mark.parametrize("reference", OWN)
def test_every_kind_of_entry_is_read_when_it_is_the_patients_own(
    read: ReadChart, reference: str
) -> None:
    """An entry of the patient counts in each accepted spelling of the reference."""
    entries = [owned(entry, {"reference": reference}) for entry in every_kind()]
    chart = read(*entries, full_urls=FULL_URLS)
    counts = {name: len(getattr(chart, name)) for name in FACTS}
    assert counts == dict.fromkeys(FACTS, 1) | {"reports": 2, "drugs": 2}
    assert chart.set_aside == ()


@pytest.mark.parametrize("reference", FOREIGN)
def test_an_entry_of_another_patient_is_set_aside_and_counted(
    read: ReadChart, reference: str
) -> None:
    """Another patient's entries make no fact, no gap, and leave no trace but type and count."""
    entries = [owned(entry, {"reference": reference}) for entry in every_kind()]
    chart = read(*entries, full_urls=FULL_URLS)
    assert all(getattr(chart, name) == () for name in FACTS)
    assert [item.reason for item in chart.set_aside] == [reasons.ANOTHER_PATIENT] * len(entries)
    kinds = [entry["resourceType"] for entry in entries]
    assert sorted(item.reference or "" for item in chart.set_aside) == sorted(kinds)
    assert chart.supply_of(Key.PROCEDURES).state is State.SUPPLIED


@pytest.mark.parametrize("reference", [*UNCLEAR, None])
def test_an_entry_that_does_not_say_whose_it_is_leaves_a_gap(
    read: ReadChart, reference: str | None
) -> None:
    """Nothing is guessed: the entry is unused, and what it could have said is unknown."""
    subject = {"display": "Anna"} if reference is None else {"reference": reference}
    chart = read(*(owned(entry, subject) for entry in every_kind()), full_urls=FULL_URLS)
    assert all(getattr(chart, name) == () for name in FACTS)
    assert chart.supply_of(Key.PROCEDURES).state is State.PARTIAL
    assert chart.supply_of(Key.DEVICES).state is State.PARTIAL
    assert chart.supply_of(Key.SCORES).state is State.PARTIAL


def test_an_unknown_lab_without_subject_leaves_no_gap(read: ReadChart) -> None:
    """A value this service never uses makes nothing unknown."""
    lab = owned(observation("2345-7", valueInteger=90), {"display": "Anna"})
    assert read(lab).supply_of(Key.SCORES).state is State.SUPPLIED


def test_two_subjects_that_disagree_make_the_entry_foreign(read: ReadChart) -> None:
    """An entry naming the patient and another person is not used."""
    mixed = {**procedure(), "patient": {"reference": "Patient/bert"}}
    assert read(mixed).procedures == ()


def test_without_a_known_server_the_end_of_an_absolute_reference_decides(read: ReadChart) -> None:
    """With no fhirServer an absolute reference is judged by type and id."""
    own = owned(procedure(), {"reference": "https://any.example/x/Patient/anna"})
    assert len(read(own, fhir_server=None).procedures) == 1
    foreign = owned(procedure(), {"reference": "https://any.example/x/Patient/bert"})
    assert read(foreign, fhir_server=None).procedures == ()


def test_a_contained_reason_of_another_patient_is_not_used(read: ReadChart) -> None:
    """A contained Condition naming another patient gives no reason."""
    foreign = {
        "resourceType": "Condition",
        "id": "why",
        "subject": {"reference": "Patient/bert"},
        "code": {"text": "L4-L5 herniation"},
    }
    own = {**foreign, "subject": {"reference": "Patient/anna"}}
    link = {"reasonReference": [{"reference": "#why"}]}
    assert read(procedure(contained=[foreign], **link)).procedures[0].reason_levels == frozenset()
    assert read(procedure(contained=[own], **link)).procedures[0].reason_levels == {"L4-L5"}


def test_another_person_as_the_patient_is_refused_and_the_key_named(read: ReadChart) -> None:
    """The Patient itself being another person is a 412 naming the key."""
    with pytest.raises(DataNotAvailableError) as refused:
        read(patient={**PATIENT, "id": "bert"})
    assert refused.value.keys == (Key.PATIENT,)
    assert "bert" not in refused.value.message


def test_another_person_under_the_patient_key_is_refused_whoever_else_is_in_the_chart(
    read: ReadChart,
) -> None:
    """The right Patient among the conditions does not make up for the wrong one."""
    own = json.dumps(PATIENT).encode()
    with pytest.raises(DataNotAvailableError) as refused:
        read(procedure(), patient={**PATIENT, "id": "bert"}, raw={Key.CONDITIONS: (own,)})
    assert refused.value.keys == (Key.PATIENT,)
    assert read(procedure(), patient=None, raw={Key.CONDITIONS: (own,)}).procedures


def shuffled(read: ReadChart, *patients: Resource) -> set[tuple[object, bool]]:
    """Return birth and death of the patient, whichever of *patients* comes first."""
    found = set()
    for order in permutations(json.dumps(one).encode() for one in patients):
        patient = read(patient=None, raw={Key.PATIENT: order}).patient
        found.add((patient.birth and patient.birth.latest.year, patient.is_deceased))
    return found


def version(number: int, **fields: object) -> Resource:
    """Return a version of the patient, written in the year 2020 + *number*."""
    meta = {"versionId": str(number), "lastUpdated": f"{2020 + number}-01-01T00:00:00Z"}
    return {**PATIENT, "meta": meta, **fields}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("replaced-by", reasons.RECORD_REPLACED),
        ("replaces", None),
        ("refer", None),
        ("seealso", None),
    ],
)
def test_record_that_was_merged_into_another_is_not_the_whole_chart(
    read: ReadChart, kind: str, reason: str | None
) -> None:
    """The operation, or the MRI of last week, may stand in the record that replaced this one."""
    link = [{"other": {"reference": "Patient/new"}, "type": kind}]
    chart = read(procedure(), patient={**PATIENT, "active": False, "link": link})
    assert chart.supply[Key.PATIENT].state is State.SUPPLIED
    assert {
        chart.supply[key].reason for key in (Key.PROCEDURES, Key.CONDITIONS, Key.SERVICE_REQUESTS)
    } == {reason}


def test_newest_copy_of_the_patient_counts_in_any_order(read: ReadChart) -> None:
    """A patient who has died since the first copy has died; a mistaken death is taken back."""
    born = {"birthDate": "1980"}
    assert shuffled(read, version(1), version(2, deceasedBoolean=True)) == {(1970, True)}
    assert shuffled(read, version(1, deceasedBoolean=True), version(2, **born)) == {(1980, False)}
    assert shuffled(read, PATIENT, version(1, **born), version(2)) == {(1970, False)}


def test_of_copies_of_equal_age_the_one_that_tells_of_a_death_counts(read: ReadChart) -> None:
    """Nothing says which is newer, and no card is made for somebody who may have died."""
    dead = {"deceasedDateTime": "2026-01-01"}
    assert shuffled(read, PATIENT, {**PATIENT, **dead}) == {(1970, True)}
    assert shuffled(read, version(1), version(1, **dead), version(0)) == {(1970, True)}
    twins = shuffled(read, version(1, birthDate="1980"), version(1, birthDate="1981"))
    assert len(twins) == 1


def drug(reference: str) -> Resource:
    """Return an order of the patient for the drug that *reference* leads to."""
    return drug_order(id="m", medicationReference={"reference": reference})


OXYCODONE: Resource = {"resourceType": "Medication", "id": "5", "code": concept(RXNORM, "7804")}


@pytest.mark.parametrize(
    "reference",
    [
        "Medication/5",
        "https://ehr.example/fhir/Medication/5",
        "https://EHR.example:443/fhir/Medication/5/_history/2",
        "https://second.example/r4/Medication/5",
        "urn:uuid:5",
    ],
)
def test_drug_of_a_known_server_is_the_one_in_the_chart(read: ReadChart, reference: str) -> None:
    """Relative, or below the FHIR server of the call or a base of the profile."""
    drugs = {Key.MEDICATION_REQUESTS: (json.dumps(OXYCODONE).encode(),)}
    chart = read(drug(reference), raw=drugs, full_urls={"urn:uuid:5": "Medication/5"})
    assert [sorted(fact.concepts) for fact in chart.drugs] == [["opioid"]]
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.SUPPLIED


@pytest.mark.parametrize(
    "reference",
    [
        "https://other.example/fhir/Medication/5",
        "http://ehr.example/fhir/Medication/5",
        "https://ehr.example/Medication/5",
        "https://ehr.example/fhir/other/Medication/5",
        "https://ehr.example@other.example/fhir/Medication/5",
    ],
)
def test_drug_of_another_server_is_not_the_one_in_the_chart(
    read: ReadChart, reference: str
) -> None:
    """Drug 5 of another server may be any drug: it is not known, and that is said."""
    drugs = {Key.MEDICATION_REQUESTS: (json.dumps(OXYCODONE).encode(),)}
    chart = read(drug(reference), raw=drugs, full_urls={reference: "Medication/5"})
    assert chart.drugs == ()
    assert [item.reason for item in chart.set_aside] == [reasons.UNKNOWN_MEDICATION]
    assert chart.supply_of(Key.MEDICATION_REQUESTS).state is State.PARTIAL
    without_server = read(drug(reference), raw=drugs, fhir_server=None)
    assert len(without_server.drugs) == ("@" not in reference)


def test_reason_on_another_server_is_no_diagnosis_of_the_chart(read: ReadChart) -> None:
    """An operation done elsewhere for their condition c1 was not done for our condition c1."""
    ours = condition("27151001", code={"text": "L4-L5 herniation", **concept(SNOMED, "27151001")})
    for base, count in (("https://ehr.example/fhir/", 1), ("https://other.example/fhir/", 0)):
        link = {"reasonReference": [{"reference": f"{base}Condition/c1"}]}
        (fact,) = read(ours, procedure(**link)).procedures
        assert len(fact.reason_references) == count


def test_newest_copy_of_a_drug_counts_in_any_order(read: ReadChart) -> None:
    """What was prescribed as drug 5 is what the server says last of drug 5."""
    old = {**OXYCODONE, "meta": {"versionId": "1"}}
    new = {**OXYCODONE, "code": concept(RXNORM, "25480"), "meta": {"versionId": "2"}}
    for order in permutations(json.dumps(one).encode() for one in (old, new)):
        chart = read(drug("Medication/5"), raw={Key.MEDICATION_REQUESTS: order})
        assert [sorted(fact.concepts) for fact in chart.drugs] == [["gabapentinoid"]]


def test_a_missing_patient_is_refused(read: ReadChart) -> None:
    """No Patient, no evaluation."""
    with pytest.raises(DataNotAvailableError):
        read(patient=None)


def test_the_newest_copy_of_an_entry_counts_once(read: ReadChart) -> None:
    """Of several versions under several keys only the newest is read."""
    old = observation("72514-3", valueInteger=9, meta={"lastUpdated": "2026-01-01T00:00:00Z"})
    new = observation("72514-3", valueInteger=2, meta={"lastUpdated": "2026-02-01T00:00:00Z"})
    for entries in ((old, new), (new, old), (old, new, old)):
        assert [fact.value for fact in read(*entries).observations] == [2]


def test_two_operations_with_one_id_are_not_one(read: ReadChart) -> None:
    """A converter gave all entries the id of the first: the last operation was lost in silence."""
    first, last = procedure(), procedure("387731002", code=concept(CPT, "63047"))
    copy = {**first, "meta": {"versionId": "1"}, "text": {"status": "generated"}}
    newest = {**last, "meta": {"lastUpdated": "2026-06-01T00:00:00Z"}}
    for entries in permutations([first, last]):
        chart = read(*entries)
        assert chart.failed_keys == {Key.PROCEDURES}
        assert [item.reason for item in chart.set_aside] == [reasons.SAME_ID]
    short = {**copy, "code": {"text": "Operation"}}
    for same in ([copy, short], [first, {**first, "text": {}}], [first, last, newest]):
        for entries in permutations(same):
            assert not read(*entries).failed_keys


def test_gap_of_one_entry_is_not_that_of_another_with_its_id(read: ReadChart) -> None:
    """A pain score and an examination of the saddle nobody can read: both keys hold less."""
    pain = observation("72514-3", valueInteger=9)
    saddle = observation("saddle-sensation", LOCAL, valueString="?")
    assert json.dumps(saddle) > json.dumps(pain), "of equal age the later in the alphabet is read"
    assert read(pain, saddle).failed_keys == {Key.SCORES, Key.FINDINGS}


def test_a_retraction_without_a_version_wins_over_the_value(read: ReadChart) -> None:
    """The same id once final and once entered in error is not a value."""
    final = observation("72514-3", valueInteger=9)
    wrong = {**final, "status": "entered-in-error "}
    for entries in ((final, wrong), (wrong, final)):
        assert read(*entries).observations == ()


def test_measurement_about_somebody_else_in_the_record_is_not_the_patients(
    read: ReadChart,
) -> None:
    """A subject with a focus on another patient (a donor, a child) makes no fact."""
    about = {"focus": [{"reference": "Patient/bert"}]}
    chart = read(observation("72514-3", valueInteger=9, **about))
    assert chart.observations == ()
    assert [item.reason for item in chart.set_aside] == [reasons.ANOTHER_PATIENT]
    own = {"focus": {"reference": "Patient/anna"}}
    assert read(observation("72514-3", valueInteger=9, **own)).observations


def test_urn_that_names_two_patients_names_nobody(knowledge: Knowledge) -> None:
    """Two entries with one fullUrl cannot tell whose an operation is, in any order."""
    for names in (("anna", "bert"), ("bert", "anna")):
        patients = [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": name}}
            for name in names
        ]
        operation = {"resource": procedure(subject={"reference": "urn:uuid:1"})}
        bundle = {"resourceType": "Bundle", "entry": [*patients, operation]}
        page = read_page(Key.PROCEDURES, json.dumps(bundle).encode())
        chart = chart_read(
            {
                Key.PATIENT: joined_answer((read_page(Key.PATIENT, json.dumps(PATIENT).encode()),)),
                Key.PROCEDURES: joined_answer((page,)),
            },
            knowledge,
        )
        assert chart.procedures == ()
        assert chart.supply_of(Key.PROCEDURES).state is State.PARTIAL


@pytest.mark.parametrize("kind", ["RelatedPerson", "Practitioner", "Group"])
def test_observation_about_a_relative_is_not_the_patients(read: ReadChart, kind: str) -> None:
    """A mother who smokes is no smoker of this chart; what is about a device still counts."""
    smokes = {"valueCodeableConcept": concept(SNOMED, "449868002")}
    status = observation("72166-2", **smokes, focus=[{"reference": f"{kind}/1"}])
    chart = read(status)
    assert chart.observations == ()
    assert [item.reason for item in chart.set_aside] == [reasons.OTHER_PERSON]
    assert chart.supply[Key.SCORES].state is State.SUPPLIED
    assert read({**status, "focus": [{"reference": "Device/1"}]}).observations
