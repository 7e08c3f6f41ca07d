"""Every call and every card is in the ledger before the answer leaves."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from cds_service.catalogue.orders import read_order_catalogue
from cds_service.fhir import reasons
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.calls import CallLedger, first_id, moment_of
from cds_service.ledger.recording import showings_of
from cds_service.ledger.tables import CALL, SHOWING
from cds_service.rendering.cards import CardContext, CardOptions, render
from tests.ledger.clinic import (
    MORNING,
    PERSONAS,
    SERVICE,
    Clinic,
    MakeClinic,
    assessed,
    card_id,
    chart_of,
    hook_call,
)
from tests.ledger.test_waiting_calls import CALL_RECORD

FIRST_CHOICE = "mri-lumbar-without-and-with-contrast"


def test_call_with_cards_is_kept_with_every_card_it_showed(clinic: Clinic) -> None:
    """A chart with cards leaves one call and one showing for each card, with what it offered."""
    body = hook_call(chart_of("no-relief"))
    cards = clinic.client.post(SERVICE, json=body).get_json()["cards"]
    [call] = clinic.rows(CALL)
    assert call["hook_instance"] == body["hookInstance"]
    assert (call["client"], call["outcome"], call["http_status"]) == ("dev", "fired", 200)
    assert call["knowledge_digest"]
    assert set(json.loads(call["steps_ms"])) >= {"request", "gateway", "reading", "rendering"}
    showings = {row["card"]: row for row in clinic.rows(SHOWING) if row["state"] == "shown"}
    assert {row["card_uuid"] for row in showings.values()} == {card["uuid"] for card in cards}
    for card in cards:
        offered = json.loads(showings[card_id(card)]["suggestions"] or "{}")
        assert list(offered) == [each["uuid"] for each in card.get("suggestions", [])]
        assert all(orders for orders in offered.values())


def test_every_entry_of_a_sites_list_is_kept_with_the_order_it_stands_for(
    knowledge: Knowledge,
) -> None:
    """Where a hospital has two MRIs for one order, an acceptance of either names that order."""
    scan = "mri-lumbar-without-contrast"
    rows = "".join(f"{scan},urn:oid:2.999.1,{n},MR {n}\n" for n in (1, 2))
    listed = read_order_catalogue("o", f"concept,system,code,display\n{rows}".encode())
    chart = chart_of("no-relief")
    options = CardOptions(
        client_id="dev",
        public_base_url="https://cds.example",
        identity_key=b"key",
        order_catalogue=listed,
    )
    context = CardContext(patient_id=chart["patient"]["id"])
    rendered = render(assessed(chart, knowledge, MORNING.date()), knowledge, options, context)
    showings = showings_of(rendered, operation=None, is_silent=False)
    [shown] = [showing for showing in showings if showing.card == "IMG-MRI-NR"]
    offered = [orders for orders in shown.suggestions.values() if orders != (FIRST_CHOICE,)]
    assert offered == [(scan,), (scan,)]


def test_outcome_says_how_each_kind_of_call_ended(clinic: Clinic) -> None:
    """Fired, nothing to say, not applicable, insufficient data and error are told apart."""
    clinic.open("no-relief")
    clinic.open("resolved")
    clinic.open("neck-surgery-only")
    clinic.open(prefetch={**chart_of("resolved"), "scores": {"resourceType": "OperationOutcome"}})
    without = {key: value for key, value in chart_of("resolved").items() if key != "procedures"}
    assert clinic.client.post(SERVICE, json=hook_call(without)).status_code == 412
    assert clinic.client.post(SERVICE, json={"hook": "patient-view"}).status_code == 400
    kept = [(row["outcome"], row["http_status"], row["error"]) for row in clinic.rows(CALL)]
    assert kept == [
        ("fired", 200, None),
        ("nothing to say", 200, None),
        ("not applicable", 200, None),
        ("insufficient data", 200, None),
        ("insufficient data", 412, None),
        ("error", 400, "RequestError"),
    ]
    assert json.loads(clinic.rows(CALL)[4]["unread"]) == {"procedures": reasons.NOT_SENT}


def test_patient_is_the_same_hash_at_every_opening_and_another_for_another_client(
    clinic: Clinic,
) -> None:
    """Two openings of one chart belong together; the hash is not the id."""
    clinic.open("no-relief")
    clinic.open("no-relief")
    clinic.open("resolved")
    first, second, other = [row["patient"] for row in clinic.rows(CALL)]
    assert first == second != other
    assert len(first) == 64
    assert PERSONAS["no-relief"].patient_id not in first


def test_reasoning_names_rules_reasons_and_references_only(clinic: Clinic) -> None:
    """Why a call decided so is kept without the day since surgery and without the Patient."""
    clinic.open("no-relief")
    [call] = clinic.rows(CALL)
    table = json.loads(call["reasoning"])
    assert len(table) == 36
    met = next(row for row in table if row["card"] == "IMG-MRI-NR")
    assert met["verdict"] == "met"
    assert met["evidence"]
    assert "Patient/" not in call["reasoning"]
    assert "this day since surgery" in call["reasoning"]
    assert not any(word.isdigit() and len(word) > 2 for word in " ".join(met["reasons"]).split())


def test_ids_ascend_with_time_and_do_not_repeat(clinic: Clinic) -> None:
    """Calls of the same millisecond have ids of their own; later calls have later ids."""
    for _ in range(20):
        clinic.open("resolved")
    clinic.pass_time(milliseconds=1)
    clinic.open("no-relief")
    ids = [row["id"] for row in clinic.rows(CALL)]
    assert len(set(ids)) == 21
    last = max(clinic.rows(CALL), key=lambda row: row["received_at"])
    assert last["id"] == max(ids)
    for row in clinic.rows(CALL):  # what is pruned and answered is found by the moment in the id
        assert first_id(row["received_at"]) <= row["id"] < first_id(row["received_at"] + 1)


def test_id_keeps_its_moment_when_the_counter_begins_anew(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter of a process may start at its end: no call moves into the next millisecond."""
    monkeypatch.setattr("cds_service.ledger.calls.secrets.randbits", lambda bits: (1 << bits) - 1)
    ledger = CallLedger(clinic.ledger.database)
    for _ in range(2):
        ledger.keep(CALL_RECORD)
    ids = [row["id"] for row in clinic.rows(CALL)]
    assert [moment_of(each) for each in ids] == [CALL_RECORD.received_at] * 2
    assert len(set(ids)) == 2


def test_ledger_goes_on_where_the_last_process_stopped(new_clinic: MakeClinic) -> None:
    """A restarted service adds to the same file."""
    new_clinic().open()
    second = new_clinic()
    second.open()
    assert len(second.rows(CALL)) == 2


def test_codes_that_no_value_set_knows_are_kept_without_their_words(clinic: Clinic) -> None:
    """Analysts see which local codes to map; a code with blanks could be anything and is not."""
    chart = chart_of("no-relief")
    first = chart["procedures"]["entry"][0]["resource"]["code"]["coding"]
    first.append({"system": "urn:oid:1.2.3", "code": "LAMI-7", "display": "Laminectomy"})
    first.append({"system": "urn:oid:1.2.3", "code": "Jane Doe"})
    clinic.open(prefetch=chart)
    [call] = clinic.rows(CALL)
    unmapped = json.loads(call["unmapped"])
    assert unmapped[0] == "urn:oid:1.2.3|LAMI-7"
    assert len(unmapped) <= 20
    assert "Jane" not in call["unmapped"]
    assert "Laminectomy" not in call["unmapped"]


PERSONAL = {
    "a system that ends in a record number": ("http://hospital.example/MRN/12345", "x"),
    "a record number in letters and digits": ("https://hospital.example/codes/MRN0012345", "x"),
    "a system of record numbers": ("http://hospital.example/mrn", "5551234"),
    "a system with a UUID": (
        "https://hospital.example/ec2458f2-1e24-41c8-b71b-0e701af7583d",
        "x",
    ),
    "a system of patients": ("urn:hospital:patient", "x-7"),
    "a long number in an OID": ("urn:oid:2.25.329800735698586629295641978511506172918", "x"),
    "a query": ("http://hospital.example/codes?patient=7", "x"),
    "a long code": ("urn:oid:1.2.3", "a" * 21),
    "a day": ("urn:oid:1.2.3", "1970-01-01"),
    "a social security number": ("urn:oid:1.2.3", "078-05-1120"),
}


@pytest.mark.parametrize(("system", "code"), PERSONAL.values(), ids=PERSONAL.keys())
def test_unknown_code_that_may_be_an_identifier_is_not_kept(
    clinic: Clinic, system: str, code: str
) -> None:
    """Some charts write a record number where a code belongs; the ledger does not keep it."""
    chart = deepcopy(chart_of("no-relief"))
    first = chart["procedures"]["entry"][0]["resource"]["code"]["coding"]
    first.append({"system": system, "code": code})
    clinic.open(prefetch=chart)
    [call] = clinic.rows(CALL)
    assert f"{system}|{code}" not in json.loads(call["unmapped"])


TERMINOLOGY = (
    "urn:oid:1.2.840.114350.1.13.296.2.7.2.696580",
    "http://terminology.hl7.org/CodeSystem/v2-0203",
    "http://hl7.org/fhir/sid/icd-9-cm",
    "https://fhir.example/ec2458f2-1e24-41c8-b71b-0e701af7583d/codeSet/72",
    "urn:hospital:orders",
)


@pytest.mark.parametrize("system", TERMINOLOGY)
def test_unknown_code_of_a_system_like_any_other_is_kept(clinic: Clinic, system: str) -> None:
    """Analysts need the codes of the site and of systems the content does not use."""
    chart = deepcopy(chart_of("no-relief"))
    first = chart["procedures"]["entry"][0]["resource"]["code"]["coding"]
    first.append({"system": system, "code": "LAMI-7"})
    clinic.open(prefetch=chart)
    [call] = clinic.rows(CALL)
    assert f"{system}|LAMI-7" in json.loads(call["unmapped"])
