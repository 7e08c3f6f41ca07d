"""Charts of another FHIR server in the test EHR: listed, copied, and never written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask, Response, jsonify, request
from flask.testing import FlaskClient

from cds_service.demo.command import make_ehr, serving
from cds_service.demo.ehr_app import create_ehr
from cds_service.demo.hook_client import EhrKey, Exchange, HookClient
from cds_service.demo.people import (
    ChartServerError,
    People,
    ServerPeople,
    SyntheticPeople,
    server_people,
)
from cds_service.demo.personas import load_personas
from cds_service.demo.store import ChartStore
from cds_service.demo.summary import summary
from cds_service.errors import SettingsError
from cds_service.knowledge.loading import load_knowledge
from cds_service.web.problems import issue, operation_outcome
from tests.demo.calm_demo import calm_demo
from tests.everything_written import ACCESS_TOKEN
from tests.ports import HOST, free_port

TODAY = date(2026, 3, 1)
TOKEN = ACCESS_TOKEN
PAGE = 5
TIMEOUT = 30


@dataclass
class OtherServer:
    """Somebody's FHIR server: wants a token, answers in small pages, remembers what was asked."""

    base: str
    asked: list[tuple[str, str]] = field(default_factory=list)
    next_base: str | None = None
    refused: frozenset[str] = frozenset()

    def app(self, store: ChartStore) -> Flask:
        """Return the server over *store*."""
        app = Flask("other")

        @app.route("/fhir/<kind>", methods=["GET", "POST", "PUT"])
        def search(kind: str) -> Response | tuple[Response, int]:
            self.asked.append((request.method, kind))
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return jsonify({"resourceType": "OperationOutcome"}), 401
            if kind in self.refused:
                return jsonify({"resourceType": "OperationOutcome"}), 404
            return jsonify(self._page(store, kind))

        return app

    def _page(self, store: ChartStore, kind: str) -> dict[str, Any]:
        known = {"_id", "patient"}
        query = [(name, value) for name, value in request.args.items() if name in known]
        found = store.search(kind, query)
        start = int(request.args.get("_offset", "0"))
        link = []
        if start + PAGE < len(found):
            parameters = {**request.args, "_offset": str(start + PAGE)}
            text = "&".join(f"{name}={value}" for name, value in parameters.items())
            link = [{"relation": "next", "url": f"{self.next_base or self.base}/{kind}?{text}"}]
        entry = [{"resource": resource} for resource in found[start : start + PAGE]]
        return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entry}


@pytest.fixture
def other() -> Iterator[OtherServer]:
    """The other server, with our charts under ids of its own."""
    port = free_port()
    server = OtherServer(base=f"http://{HOST}:{port}/fhir")
    personas = load_personas(_now().date())
    renamed = [_renamed(resource) for persona in personas for resource in persona.resources]
    with serving(server.app(ChartStore(renamed, _now)), HOST, port):
        yield server


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the demo beside it lives today


def _renamed(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _renamed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one) for one in value]
    return value.replace("plcds-", "other-") if isinstance(value, str) else value


def test_a_whole_chart_is_copied_over_all_pages(other: OtherServer) -> None:
    """Every page is followed; the copy holds what the server holds for that patient."""
    people = server_people(other.base, TOKEN)
    chart = people.chart("other-no-relief")
    persona = next(p for p in load_personas(TODAY) if p.id == "no-relief")
    assert chart is not None
    assert chart.title == "Demo-Dogwood, Grace"
    kinds = sorted(resource["resourceType"] for resource in chart.resources)
    wanted = sorted(resource["resourceType"] for resource in persona.resources)
    wanted.remove("Practitioner")
    assert kinds == wanted
    assert people.chart("nobody") is None
    assert people.chart("no id at all") is None


def test_charts_of_another_server_get_the_same_cards_and_nothing_is_written(
    other: OtherServer, tmp_path: Path
) -> None:
    """A chart is opened, an order is placed and known at the next opening; the server only read."""
    people = server_people(other.base, TOKEN)
    with calm_demo(tmp_path, people) as demo:
        page = requests.get(demo.ehr_url, timeout=TIMEOUT).text
        assert other.base in page
        assert "/patients/other-too-early" in page
        assert "plcds-" not in page
        sent = {"patient": "other-no-relief", "asOf": demo.ehr.today_utc.isoformat()}
        for delivery in ("prefetch", "pull"):
            opened = _post(demo.ehr_url, "open", {**sent, "delivery": delivery})
            topics = [card["source"]["topic"]["code"] for card in opened["cards"]]
            assert topics == ["IMGMRINR", "PAINREF"]
        card = opened["cards"][0]
        accepted = {
            "hookInstance": opened["hookInstance"],
            "card": card["uuid"],
            "suggestion": card["suggestions"][0]["uuid"],
        }
        assert _post(demo.ehr_url, "accept", accepted)["feedback"]["status"] == 200
        again = _post(demo.ehr_url, "open", sent)["cards"]
        assert [card["source"]["topic"]["code"] for card in again] == ["PAINREF"]
        broken = _post(demo.ehr_url, "break/other-patient", sent)
        assert broken["exchange"]["body"] == '{"cards":[]}'
    assert {method for method, _ in other.asked} == {"GET"}


def _post(ehr_url: str, path: str, body: dict[str, str]) -> dict[str, Any]:
    answer = requests.post(f"{ehr_url}/api/{path}", json=body, timeout=TIMEOUT)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_kind_the_server_does_not_know_is_left_out_but_procedures_are_needed(
    other: OtherServer,
) -> None:
    """Without implants a chart is shown; without operations it would mislead."""
    other.refused = frozenset({"Device", "Immunization"})
    people = server_people(other.base, TOKEN)
    assert people.chart("other-pacemaker") is not None
    other.refused = frozenset({"Procedure"})
    with pytest.raises(ChartServerError, match="answered 404"):
        people.chart("other-pacemaker")


def test_the_token_never_follows_a_link_to_another_server(other: OtherServer) -> None:
    """A next page elsewhere is refused, and nobody else is asked."""
    people = server_people(other.base, TOKEN)
    other.next_base = "http://localhost:9/fhir"
    with pytest.raises(ChartServerError, match="leads to another server"):
        people.chart("other-no-relief")


def test_a_chart_with_an_id_of_ours_is_shown_as_the_server_has_it(tmp_path: Path) -> None:
    """A server that was loaded with our patients long ago shows its own, older dates."""
    port = free_port()
    server = OtherServer(base=f"http://{HOST}:{port}/fhir")
    earlier = _now().date() - timedelta(days=30)
    resources = [r for persona in load_personas(earlier) for r in persona.resources]
    with (
        serving(server.app(ChartStore(resources, _now)), HOST, port),
        calm_demo(tmp_path, server_people(server.base, TOKEN)) as demo,
    ):
        url = f"{demo.ehr_url}/api/timeline/plcds-too-early"
        assert requests.get(url, timeout=TIMEOUT).json()["today"] == 90


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"coding": [{"code": "active", "display": "Active"}]}, ""),
        ({"coding": [{"code": "resolved", "display": "Resolved"}]}, "resolved"),
        ({"text": "Resolved"}, "Resolved"),
        ({"coding": []}, ""),
        (None, ""),
    ],
)
def test_a_problem_whose_status_is_only_written_out_is_listed(status: object, shown: str) -> None:
    """Charts of other servers do so; the page of such a patient could not be opened."""
    problem = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}}
    store = ChartStore(
        [{"resourceType": "Patient", "id": "p"}, {**problem, "clinicalStatus": status}], _now
    )
    [problems] = summary(store, "p")
    assert [entry["status"] for entry in problems["entries"]] == [shown]


@pytest.mark.parametrize(
    "dated",
    [
        {"effectiveDateTime": "2026-02-03T10:00:00Z"},
        {"effectivePeriod": {"start": "2026-02-03", "end": "2026-02-03"}},
        {"effectiveInstant": "2026-02-03T10:00:00Z"},
        {"issued": "2026-02-03T10:00:00Z"},
    ],
)
def test_a_score_is_listed_with_its_day_however_the_chart_dates_it(
    dated: Mapping[str, object],
) -> None:
    """It stood there as "no date", and the card beside it named the day."""
    score = {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/p"}}
    store = ChartStore([{"resourceType": "Patient", "id": "p"}, {**score, **dated}], _now)
    [results] = summary(store, "p")
    assert [entry["date"] for entry in results["entries"]] == ["2026-02-03"]


class _Refused(HookClient):
    """A client whose every call the service refuses for want of the patient."""

    def templates(self) -> dict[str, str]:
        """Ask for nothing."""
        return {}

    def known_as(self, issuer: str) -> HookClient:
        """Be called as anybody."""
        del issuer
        return self

    def call(self, request: dict[str, Any]) -> Exchange:
        """Answer as the service does."""
        del request
        body = operation_outcome(
            [issue("processing", "The patient is missing.", diagnostics="patient")]
        )
        return Exchange(
            url=self.hook_url,
            sent_headers={},
            sent_body="",
            status=412,
            headers={},
            body=body.decode(),
            milliseconds=1,
        )


def _ehr_of(people: People) -> FlaskClient:
    """Return the pages of a test EHR whose service gives no cards."""
    key = EhrKey(issuer="i", key_id="k", private_key_pem="", algorithm="ES384")
    client = _Refused("http://127.0.0.1:9", key, _now)
    return create_ehr(
        make_ehr(client, "http://127.0.0.1:9/fhir", load_knowledge(), people)
    ).test_client()


def test_what_the_service_refuses_is_told_in_its_sentence() -> None:
    """In the place of the cards stood "412: patient"."""
    sent = {"patient": "plcds-no-relief", "asOf": _now().date().isoformat()}
    ehr = _ehr_of(SyntheticPeople(today=lambda: _now().date()))
    assert ehr.post("/api/open", json=sent).get_json()["problem"] == "412: The patient is missing."


@pytest.mark.parametrize(
    "wrong",
    [
        {"birthDate": "28/02/1950"},
        {"birthDate": "1950-02-30"},
        {"birthDate": "1950"},
        {"name": [{"family": "Demo", "given": [None, "Ann"]}]},
    ],
)
def test_one_patient_with_an_odd_birth_date_or_name_does_not_hide_all_others(
    wrong: Mapping[str, object],
) -> None:
    """The whole list of a server was an error page."""
    store = ChartStore(
        [{"resourceType": "Patient", "id": "odd", **wrong}, {"resourceType": "Patient", "id": "p"}],
        _now,
    )
    port = free_port()
    server = OtherServer(base=f"http://{HOST}:{port}/fhir")
    with serving(server.app(store), HOST, port):
        ehr = _ehr_of(server_people(server.base, TOKEN))
        page = ehr.get("/")
        assert page.status_code == 200
        assert "/patients/odd" in page.text
        assert "/patients/p" in page.text
        assert ehr.get("/patients/odd").status_code == 200


def test_an_error_page_tells_whose_charts_these_are() -> None:
    """Beside charts of a server it said "Synthetic patients"."""
    server = OtherServer(base="http://127.0.0.1:9/fhir")
    page = _ehr_of(ServerPeople(base=server.base)).get("/patients/anybody")
    assert page.status_code == 502
    assert "could not be reached" in page.text
    assert f"Charts copied from {server.base}" in page.text
    assert "Synthetic" not in page.text


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("hapi.fhir.org/baseR4", "not the address of a FHIR server"),
        ("file:///etc/passwd", "not the address of a FHIR server"),
        ("https://me:secret@fhir.example/r4", "without a name or password"),
        ("http://fhir.example/r4", "unencrypted"),
    ],
)
def test_addresses_that_cannot_be_used_are_refused_before_anything_is_asked(
    base: str, words: str
) -> None:
    """What is wrong with --fhir is said with what to give instead."""
    with pytest.raises(SettingsError, match=words):
        server_people(base, TOKEN)


def test_a_server_that_refuses_the_first_search_stops_the_demo(other: OtherServer) -> None:
    """A missing or wrong token is said at the start, and never repeated."""
    with pytest.raises(SettingsError, match="answered 401") as refused:
        server_people(other.base, "wrong-token")
    assert "wrong-token" not in str(refused.value)
    with pytest.raises(SettingsError, match="could not be reached"):
        server_people(f"http://{HOST}:{free_port()}/fhir", None)


def test_an_access_token_is_not_shown_by_accident(other: OtherServer) -> None:
    """The token does not appear where objects are printed."""
    assert TOKEN not in repr(server_people(other.base, TOKEN))
