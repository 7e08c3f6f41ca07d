"""The embedded FHIR server, seen by a client that only knows FHIR R4."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from fhir.resources.R4B.bundle import Bundle
from flask import Flask
from flask.testing import FlaskClient

from cds_service.demo.fhir_server import AccessTokens, FhirServer, Grant
from cds_service.demo.personas import Resource, load_personas
from cds_service.demo.store import ChartStore, SearchRefusedError, span_of

TODAY = date(2026, 3, 1)
PATIENT = "plcds-after-fusion"
BASE = "http://127.0.0.1:8090/fhir"


class Clinic:
    """A running FHIR server and somebody who may read one chart."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.tokens = AccessTokens()
        resources = [r for persona in load_personas(TODAY) for r in persona.resources]
        self.store = ChartStore(resources, lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))
        server = FhirServer(
            store=self.store, tokens=self.tokens, base_url=BASE, sleep=self.slept.append
        )
        app = Flask("fhir-test")
        app.register_blueprint(server.blueprint(), url_prefix="/fhir")
        self.client: FlaskClient = app.test_client()

    def headers(self, grant: Grant | None = None) -> dict[str, str]:
        """Return the headers of a client with a new token."""
        token = self.tokens.issue(grant or Grant(patient_id=PATIENT))
        return {"Authorization": f"Bearer {token}"}

    def search(self, query: str) -> Resource:
        """Return the valid Bundle that answers *query*."""
        answer = self.client.get(f"/fhir/{query}", headers=self.headers())
        assert answer.status_code == 200, answer.text
        bundle = answer.get_json()
        Bundle.model_validate(bundle)
        found: Resource = bundle
        return found


@pytest.fixture
def clinic() -> Clinic:
    """A fresh server with all personas."""
    return Clinic()


def test_fhir_server_refuses_without_a_token(clinic: Clinic) -> None:
    """No token and a wrong token are answered 401 with an OperationOutcome."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = clinic.client.get(f"/fhir/Patient/{PATIENT}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.get_json()["resourceType"] == "OperationOutcome"


def test_metadata_needs_no_token(clinic: Clinic) -> None:
    """Anyone may ask what this server can do."""
    answer = clinic.client.get("/fhir/metadata")
    assert answer.get_json()["fhirVersion"] == "4.0.1"


def test_read_answers_the_resource_as_fhir_json(clinic: Clinic) -> None:
    """The patient of the token can be read."""
    answer = clinic.client.get(f"/fhir/Patient/{PATIENT}", headers=clinic.headers())
    assert answer.mimetype == "application/fhir+json"
    assert answer.get_json()["id"] == PATIENT


def test_read_of_an_unknown_id_is_not_found(clinic: Clinic) -> None:
    """A resource that does not exist is a 404 with an OperationOutcome."""
    answer = clinic.client.get("/fhir/Patient/nobody", headers=clinic.headers())
    assert answer.status_code == 404
    assert answer.get_json()["issue"][0]["code"] == "not-found"


def test_a_token_opens_one_chart_only(clinic: Clinic) -> None:
    """Another patient's chart is refused, read or searched, also when the ids begin alike."""
    for path in (
        "Patient/plcds-opioid",
        "Procedure?patient=plcds-opioid",
        "Procedure?patient=Patient/plcds-opioid",
        f"Procedure?patient={PATIENT}-2",
    ):
        assert clinic.client.get(f"/fhir/{path}", headers=clinic.headers()).status_code == 403
    everything = clinic.search("Procedure?status=completed")
    assert all(PATIENT in e["resource"]["subject"]["reference"] for e in everything["entry"])


@pytest.mark.parametrize(
    ("query", "total"),
    [
        (f"Procedure?patient={PATIENT}", 5),
        (f"Procedure?subject=Patient/{PATIENT}", 5),
        (f"Device?patient={PATIENT}", 0),
        (f"Observation?patient={PATIENT}&code=http://loinc.org|72514-3", 7),
        (f"Observation?patient={PATIENT}&code=72514-3", 7),
        (f"Observation?patient={PATIENT}&code=http://snomed.info/sct|72514-3", 0),
        (f"Observation?patient={PATIENT}&code=http://loinc.org|72514-3,72166-2", 8),
        (f"Observation?patient={PATIENT}&code=http://loinc.org|", 11),
        (f"Observation?patient={PATIENT}&category=survey", 7),
        (f"Observation?patient={PATIENT}&category=survey&category=exam", 0),
        (f"Observation?patient={PATIENT}&code=72514-3&date=ge2026-01-01", 3),
        (f"Observation?patient={PATIENT}&code=72514-3&date=lt2026-01-01", 4),
        (f"Observation?patient={PATIENT}&code=72514-3&date=2026-02-19", 2),
        (f"Observation?patient={PATIENT}&code=72514-3&date=2026-02", 2),
        (f"Observation?patient={PATIENT}&code=72514-3&date=gt2026-02-19", 0),
        (f"Observation?patient={PATIENT}&code=72514-3&date=le2026-02-19", 7),
        (f"MedicationRequest?patient={PATIENT}&status=active,on-hold", 1),
        (f"MedicationRequest?patient={PATIENT}&status=stopped", 0),
        (f"ServiceRequest?patient={PATIENT}&intent=order", 1),
        (f"Patient?_id={PATIENT}", 1),
    ],
)
def test_search_finds_what_fhir_says(clinic: Clinic, query: str, total: int) -> None:
    """Patient, code, category, status and date searches find exactly the matching entries."""
    bundle = clinic.search(query)
    assert bundle["total"] == total
    assert len(bundle.get("entry", [])) == total


def test_search_by_post_answers_like_get(clinic: Clinic) -> None:
    """A search in the body of POST _search finds the same entries."""
    got = clinic.search(f"Procedure?patient={PATIENT}")
    posted = clinic.client.post(
        "/fhir/Procedure/_search", data={"patient": PATIENT}, headers=clinic.headers()
    ).get_json()
    assert posted["entry"] == got["entry"]


def test_paging_leads_through_every_entry_once(clinic: Clinic) -> None:
    """Following next links visits each entry once and ends."""
    seen: list[str] = []
    query: str | None = f"Observation?patient={PATIENT}&_count=4"
    pages = 0
    while query:
        page = clinic.search(query)
        pages += 1
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        query = following[0].removeprefix(BASE + "/") if following else None
    assert pages == 3
    assert len(seen) == len(set(seen)) == page["total"] == 11


@pytest.mark.parametrize(
    "query",
    [
        "Observation?colour=red",
        "Observation?date=ge-yesterday",
        "Observation?_count=0",
        "Observation?_count=many",
    ],
)
def test_search_refuses_what_it_does_not_know(clinic: Clinic, query: str) -> None:
    """An unknown parameter or value is a 400 and never a silent wrong answer."""
    answer = clinic.client.get(f"/fhir/{query}", headers=clinic.headers())
    assert answer.status_code == 400
    assert answer.get_json()["resourceType"] == "OperationOutcome"


def test_unknown_type_is_not_found(clinic: Clinic) -> None:
    """A type this server does not hold is a 404."""
    assert clinic.client.get("/fhir/Basic", headers=clinic.headers()).status_code == 404


def test_created_order_is_found_afterwards(clinic: Clinic) -> None:
    """An order the EHR writes is in the next search, with a version and a time."""
    writer = clinic.headers(Grant(patient_id=PATIENT, may_write=True))
    created = clinic.client.post("/fhir/ServiceRequest", json=_order(PATIENT), headers=writer)
    assert created.status_code == 201
    kept = created.get_json()
    assert created.headers["Location"] == f"{BASE}/ServiceRequest/{kept['id']}"
    assert kept["meta"] == {"versionId": "1", "lastUpdated": "2026-03-01T12:00:00+00:00"}
    ids = [
        e["resource"]["id"]
        for e in clinic.search(f"ServiceRequest?patient={PATIENT}&status=active")["entry"]
    ]
    assert kept["id"] in ids


def test_update_replaces_a_resource_and_counts_its_versions(clinic: Clinic) -> None:
    """A second PUT of the same order is the same order in version 2."""
    writer = clinic.headers(Grant(patient_id=PATIENT, may_write=True))
    order = {**_order(PATIENT), "id": "plcds-order"}
    first = clinic.client.put("/fhir/ServiceRequest/plcds-order", json=order, headers=writer)
    order["status"] = "revoked"
    second = clinic.client.put("/fhir/ServiceRequest/plcds-order", json=order, headers=writer)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.get_json()["meta"]["versionId"] == "2"
    assert clinic.search(f"ServiceRequest?patient={PATIENT}&status=revoked")["total"] == 1


def test_writing_needs_the_right_and_the_right_patient(clinic: Clinic) -> None:
    """A token for reading, or for another patient, writes nothing."""
    before = clinic.store.revision
    reader = clinic.headers()
    writer = clinic.headers(Grant(patient_id=PATIENT, may_write=True))
    for headers, patient in ((reader, PATIENT), (writer, "plcds-opioid")):
        answer = clinic.client.post("/fhir/ServiceRequest", json=_order(patient), headers=headers)
        assert answer.status_code == 403
    assert clinic.store.revision == before


def test_writing_refuses_a_body_of_another_type(clinic: Clinic) -> None:
    """A body that is no JSON, or another resource, is a 400."""
    writer = clinic.headers(Grant(patient_id=PATIENT, may_write=True))
    for body in ("{", "[]", '{"resourceType": "Patient"}'):
        answer = clinic.client.post("/fhir/ServiceRequest", data=body, headers=writer)
        assert answer.status_code == 400


def test_faults_belong_to_one_token(clinic: Clinic) -> None:
    """A slow or refusing token disturbs nobody else."""
    faulty = Grant(patient_id=PATIENT, delay_seconds=2.5, refused_types=frozenset({"Observation"}))
    answer = clinic.client.get("/fhir/Observation", headers=clinic.headers(faulty))
    assert answer.status_code == 403
    assert clinic.slept == [2.5]
    assert clinic.search("Observation")["total"] == 11
    assert clinic.slept == [2.5]


def test_starting_afresh_forgets_new_orders(clinic: Clinic) -> None:
    """After replacing everything, only the given charts are there."""
    clinic.store.create(_order(PATIENT))
    clinic.store.replace_all(r for p in load_personas(TODAY) for r in p.resources)
    assert clinic.search(f"ServiceRequest?patient={PATIENT}")["total"] == 1


def test_what_is_read_can_be_changed_without_changing_the_chart(clinic: Clinic) -> None:
    """A reader gets a copy."""
    copy = clinic.store.read("Patient", PATIENT)
    assert copy is not None
    copy["gender"] = "unknown"
    assert clinic.store.read("Patient", PATIENT) != copy


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", "2026-01-01", "2026-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2026-12", "2026-12-01", "2026-12-31"),
        ("2026-03-01", "2026-03-01", "2026-03-01"),
    ],
)
def test_span_of_a_partial_date_covers_all_it_can_mean(text: str, first: str, last: str) -> None:
    """A year or month means any day in it."""
    start, end = span_of(text)
    assert (start.date().isoformat(), end.date().isoformat()) == (first, last)


def test_unknown_parameters_are_named(clinic: Clinic) -> None:
    """The refusal names the parameter."""
    with pytest.raises(SearchRefusedError, match="'colour'"):
        clinic.store.search("Observation", [("colour", "red")])


def _order(patient: str) -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": {"text": "Any order"},
        "subject": {"reference": f"Patient/{patient}"},
    }
