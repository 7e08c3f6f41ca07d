"""Prescriptions that only refer to their drug: what did not come along is asked for."""

from __future__ import annotations

import json
import time

import pytest

from cds_service.chart.facts import Chart
from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.gateway import Gateway
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.trust.profile import ClientProfile, dev_profile
from tests.changing import replace
from tests.everything_written import ACCESS_TOKEN
from tests.fhir import fault_server
from tests.fhir.chart_parts import RXNORM, Resource, chart_read, concept, drug_order, procedure
from tests.fhir.fault_server import FaultServer, Handler

OXYCODONE = concept(RXNORM, "1049621")
MEDICATION = {"resourceType": "Medication", "id": "m-1.x", "code": OXYCODONE}
OTHER = {"resourceType": "Medication", "id": "other", "code": OXYCODONE}


def prescription(name: str, reference: str, **fields: object) -> Resource:
    """Return an order that refers to its drug."""
    order = drug_order(medicationReference={"reference": reference}, authoredOn="2026-08-01")
    return {**order, "id": name, **fields}


def bundle(*entries: Resource) -> Resource:
    """Return the page of a search."""
    found = [{"resource": entry} for entry in entries]
    return {"resourceType": "Bundle", "type": "searchset", "entry": found}


def searched(server: FaultServer) -> list[str]:
    """Return the searches for drugs."""
    return [path for path in server.asked("Medication") if path.startswith("/fhir/Medication?")]


@pytest.fixture
def knowing(server: FaultServer) -> FaultServer:
    """Return a server that knows two drugs, and answers every search for drugs with both."""
    server.behaviours["Medication"] = lambda handler: handler.send_json(bundle(MEDICATION, OTHER))
    server.behaviours["Procedure"] = lambda handler: handler.send_json(bundle(procedure()))
    return server


def read(
    gateway: Gateway,
    server: FaultServer,
    knowledge: Knowledge,
    *orders: Resource,
    is_sent: bool = True,
    client: ClientProfile | None = None,
) -> Chart:
    """Return the chart with *orders*, sent as prefetch or read from the server."""
    prefetch: dict[str, bytes | None] = {}
    if is_sent:
        prefetch[Key.MEDICATION_REQUESTS] = json.dumps(bundle(*orders)).encode()
    server.behaviours["MedicationRequest"] = lambda handler: handler.send_json(bundle(*orders))
    request = HookRequest(
        hook="patient-view",
        hook_instance="d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        patient_id="anna",
        user_id="Practitioner/1",
        fhir_server=server.base,
        access_token=ACCESS_TOKEN,
        is_token_expired=False,
        prefetch=prefetch,
    )
    client = client or dev_profile(fhir_bases=(server.base,))
    answers = gateway.answers(request, client, Deadline.after(5, time.monotonic))
    return chart_read(answers, knowledge)


@pytest.mark.parametrize("is_sent", [True, False], ids=["prefetch", "pulled"])
@pytest.mark.parametrize("is_absolute", [True, False])
def test_drug_that_did_not_come_along_is_asked_for(
    gateway: Gateway,
    knowing: FaultServer,
    knowledge: Knowledge,
    is_sent: bool,  # noqa: FBT001 - a case
    is_absolute: bool,  # noqa: FBT001 - a case
) -> None:
    """One search for all of them, each once; the prescriptions are complete."""
    reference = f"{knowing.base}/Medication/m-1.x/_history/2" if is_absolute else "Medication/m-1.x"
    orders = [prescription(name, reference) for name in ("a", "b")]
    chart = read(gateway, knowing, knowledge, *orders, is_sent=is_sent)
    assert ["opioid" in drug.concepts for drug in chart.drugs] == [True, True]
    assert chart.supply[Key.MEDICATION_REQUESTS].state is State.SUPPLIED
    assert searched(knowing) == ["/fhir/Medication?_id=m-1.x&_count=200"]


def test_drug_is_asked_for_by_post_where_a_site_wants_that(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """No id stands in a URL then."""
    client = replace(dev_profile(fhir_bases=(knowing.base,)), searches_by_post=True)
    order = prescription("a", "Medication/m-1.x")
    chart = read(gateway, knowing, knowledge, order, client=client)
    assert len(chart.drugs) == 1
    assert ("/fhir/Medication/_search", b"_id=m-1.x&_count=200") in knowing.bodies


@pytest.mark.parametrize(
    ("reference", "beside"),
    [
        ("Medication/m-1.x", (MEDICATION,)),
        ("https://elsewhere.example/fhir/Medication/m-1.x", ()),
        ("#m-1.x", ()),
        ("Medication/m-1.x?patient=another", ()),
        ("Medication/m,1", ()),
        ("Patient/m-1.x", ()),
        ("urn:uuid:3bd5f2e6-0dbd-44c9-9fff-8c14f2fd9ac9", ()),
    ],
)
def test_nothing_else_is_asked_for(
    gateway: Gateway,
    knowing: FaultServer,
    knowledge: Knowledge,
    reference: str,
    beside: tuple[Resource, ...],
) -> None:
    """Not what came along, not what is elsewhere, and nothing that is no plain id."""
    read(gateway, knowing, knowledge, prescription("a", reference), *beside)
    assert searched(knowing) == []


def test_drug_nobody_asked_for_is_not_taken(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """The server sends two where one was wanted."""
    chart = read(gateway, knowing, knowledge, prescription("a", "Medication/gone"))
    assert chart.drugs == ()
    assert chart.set_aside[0].reason == reasons.UNKNOWN_MEDICATION
    assert chart.supply[Key.MEDICATION_REQUESTS].state is State.PARTIAL


def refused(handler: Handler) -> None:
    """Refuse the search."""
    handler.send_json({"resourceType": "OperationOutcome"}, 403)


def test_refused_search_leaves_the_gap_that_was_there(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """The prescription cannot be read, and everything else is as before."""
    knowing.behaviours["Medication"] = refused
    chart = read(gateway, knowing, knowledge, prescription("a", "Medication/m-1.x"))
    assert chart.supply[Key.MEDICATION_REQUESTS].reason == reasons.UNREADABLE_ENTRY
    assert len(chart.procedures) == 1


def test_server_too_busy_for_drugs_is_still_asked_for_prescriptions(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """Of the second call, too, only the drug is not known."""
    knowing.behaviours["Medication"] = fault_server.status(503, Retry_After="30")
    client = dev_profile(fhir_bases=(knowing.base,))
    order = prescription("a", "Medication/m-1.x")
    for _ in range(2):
        chart = read(gateway, knowing, knowledge, order, is_sent=False, client=client)
        assert chart.supply[Key.MEDICATION_REQUESTS].reason == reasons.UNREADABLE_ENTRY
    assert len(searched(knowing)) == 1


def test_many_drugs_are_asked_for_in_a_few_searches_the_active_ones_first(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """No URL is longer than gateways take, and no list of old drugs floods the server."""
    names = [f"{number:064d}" for number in range(400)]
    orders = [
        prescription(f"o{number}", f"Medication/{name}", status="completed")
        for number, name in enumerate(names)
    ]
    orders[-1]["status"] = "active"
    read(gateway, knowing, knowledge, *orders)
    paths = sorted(searched(knowing))
    assert len(paths) == 8
    assert max(map(len, paths)) < 2000
    assert any(path.startswith(f"/fhir/Medication?_id={names[-1]}") for path in paths)


def test_more_prescriptions_than_a_patient_has_are_not_looked_at(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first ones refer to is asked for."""
    monkeypatch.setattr("cds_service.fhir.medications._MOST_LOOKED_AT", 2)
    orders = [prescription(name, f"Medication/{name}") for name in ("a", "b", "c")]
    read(gateway, knowing, knowledge, *orders)
    assert searched(knowing) == ["/fhir/Medication?_id=a,b&_count=200"]


def test_operator_sees_in_the_metrics_that_a_token_may_not_read_drugs(
    gateway: Gateway, knowing: FaultServer, knowledge: Knowledge
) -> None:
    """The prescriptions are unread because of another search than their own."""
    order = prescription("a", "Medication/m-1.x")
    read(gateway, knowing, knowledge, order)
    knowing.behaviours["Medication"] = refused
    read(gateway, knowing, knowledge, order)
    counted = [total for total in gateway.metrics.totals() if total.key == "medications"]
    assert [(total.base, total.outcome, total.reason) for total in counted] == [
        (knowing.base, State.NOT_SUPPLIED, "the FHIR server refused access (403)"),
        (knowing.base, State.SUPPLIED, None),
    ]
