"""Clients of 1.0, 2.0.1 and 3.0 call one service, one after the other and at once."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.checker import faults_of
from tests.contract.ehrs import VERSIONS, Ehr, card_id
from tests.contract.requests import USERS, Request, persona_requests

NOTHING = {"resourceType": "Bundle", "type": "searchset", "total": 0}
REFUSED = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "timeout", "diagnostics": "try again"}],
}
EPIC_NOTHING = {
    **NOTHING,
    "entry": [
        {
            "search": {"mode": "outcome"},
            "resource": {
                "resourceType": "OperationOutcome",
                "issue": [
                    {
                        "severity": "warning",
                        "code": "processing",
                        "details": {"coding": [{"code": "4101"}]},
                    }
                ],
            },
        }
    ],
}


@pytest.fixture(scope="module")
def request_body(ehrs: dict[str, Ehr]) -> Request:
    """Return the request for a persona whose MRI card rests on several parts of the chart."""
    templates = ehrs["3.0"].discover()["prefetch"]
    return dict(persona_requests(templates))["persona no-relief, generic"]


def _with(request: Request, key: str, *values: object) -> Request:
    """Return *request* with *key* sent as the given value, or not at all."""
    changed = copy.deepcopy(request)
    changed["prefetch"].pop(key)
    if values:
        changed["prefetch"][key] = values[0]
    return changed


def _told(ehr: Ehr, request: Request) -> list[Any]:
    answer = ehr.call(request)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert faults_of(answer.data, ehr.version.behaviors) == []
    cards = answer.get_json()["cards"]
    return [(card_id(card), card["detail"]) for card in cards]


def test_every_version_is_answered_at_once(ehrs: dict[str, Ehr], request_body: Request) -> None:
    """Threads of five EHRs get the cards of the same patient, each in its own form."""
    with ThreadPoolExecutor(max_workers=len(ehrs)) as pool:
        answers = [
            answer
            for _ in range(4)
            for answer in pool.map(lambda ehr: ehr.call(request_body), ehrs.values())
        ]
    topics = [[card_id(card) for card in answer.get_json()["cards"]] for answer in answers]
    assert topics[0]
    assert all(each == topics[0] for each in topics)


def test_selection_behavior_is_the_one_the_client_knows(
    ehrs: dict[str, Ehr], request_body: Request
) -> None:
    """Alternatives are at-most-one, unless the EHR knows any only; 1.0 knows no any."""
    found = {}
    for name in ("1.0", "2.0.1", "3.0"):
        cards = ehrs[name].call(request_body).get_json()["cards"]
        found[name] = [card["selectionBehavior"] for card in cards if "suggestions" in card]
    assert set(found["1.0"]) == {"at-most-one"}
    assert found["2.0.1"] == found["3.0"]
    assert set(found["3.0"]) == {"at-most-one", "any"}


@pytest.mark.parametrize("version", VERSIONS)
def test_forms_of_nothing_found_mean_the_same(
    ehrs: dict[str, Ehr], request_body: Request, version: str
) -> None:
    """1.0 sends null, 2.0 null or an empty Bundle, Epic a Bundle with a warning: no devices."""
    ehr = ehrs[version]
    forms = [_told(ehr, _with(request_body, "devices", v)) for v in (None, NOTHING, EPIC_NOTHING)]
    assert forms[0] == forms[1] == forms[2]


@pytest.mark.parametrize("version", VERSIONS)
def test_forms_of_could_not_be_had_are_never_read_as_nothing(
    ehrs: dict[str, Ehr], request_body: Request, version: str
) -> None:
    """1.0 leaves the key out, 2.0 may send an OperationOutcome: the card says orders are unread."""
    ehr = ehrs[version]
    nothing = _told(ehr, _with(request_body, "serviceRequests", None))
    for values in ((), (REFUSED,)):
        changed = _with(request_body, "serviceRequests", *values)
        told = _told(ehr, changed)
        assert told != nothing
        assert "could not be read" in " ".join(detail for _, detail in told)
        cards = ehr.call(changed).get_json()["cards"]
        assert not [card for card in cards if "suggestions" in card]


@pytest.mark.parametrize("user", USERS)
def test_any_user_of_the_hook_may_open_the_chart(
    ehrs: dict[str, Ehr], request_body: Request, user: str
) -> None:
    """Practitioner, PractitionerRole, Patient and RelatedPerson are users of patient-view."""
    context = {**request_body["context"], "userId": user}
    assert ehrs["3.0"].call({**request_body, "context": context}).status_code == 200


def test_unknown_fields_and_extensions_change_nothing(
    ehrs: dict[str, Ehr], request_body: Request
) -> None:
    """Newer versions of a hook add fields, EHRs add extensions and keys nobody asked for."""
    ehr = ehrs["3.0"]
    more = copy.deepcopy(request_body)
    more["extension"] = {"com.epic.cdshooks.request.cds-hooks-specification-version": "1.1"}
    more["context"] |= {"extension": {"org.example.more": {"a": [1]}}, "appointmentId": "7"}
    more["prefetch"] |= {"-user": {"resourceType": "Practitioner", "id": "u1"}}
    assert ehr.call(more).data == ehr.call(request_body).data


def test_chart_opened_again_gets_the_same_names(
    ehrs: dict[str, Ehr], request_body: Request
) -> None:
    """Clients replace the cards of an earlier call; feedback for either finds the same card."""
    ehr = ehrs["2.0.1"]
    again = {**request_body, "hookInstance": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9"}
    assert ehr.call(again).data == ehr.call(request_body).data


@pytest.mark.parametrize("nothing", [None, NOTHING, EPIC_NOTHING])
def test_no_guidance_is_an_empty_list(
    ehrs: dict[str, Ehr], request_body: Request, nothing: object
) -> None:
    """A chart without a lumbar operation gets 200 and nothing but an empty list of cards."""
    answer = ehrs["1.0"].call(_with(request_body, "procedures", nothing))
    assert (answer.status_code, answer.get_json()) == (200, {"cards": []})
