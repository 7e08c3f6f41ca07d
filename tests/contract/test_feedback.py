"""What EHRs report about cards they were really shown, in every form they report it."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.knowledge.model import Knowledge
from tests.contract.ehrs import Ehr, hospital
from tests.contract.requests import persona_requests

AT = "2026-06-15T12:00:30.454Z"
LOCAL = "http://post-laminectomy-cds.example/fhir/CodeSystem/override-reason"
NEWER = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
Card = dict[str, Any]


@pytest.fixture(scope="module")
def ehrs(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ehr]:
    """Return a hospital of its own: what is reported here must not reach other tests."""
    return hospital(tmp_path_factory.mktemp("feedback"), knowledge)


@pytest.fixture(scope="module")
def card(ehrs: dict[str, Ehr]) -> Card:
    """Return a card with suggestions that an EHR was shown."""
    ehr = ehrs["2.0.1"]
    request = dict(persona_requests(ehr.discover()["prefetch"]))["persona no-relief, generic"]
    found: Card = ehr.call(request).get_json()["cards"][0]
    return found


def _accepted(card: Card, **more: object) -> Card:
    suggestion = card["suggestions"][0]["uuid"]
    return {
        "card": card["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": suggestion}],
        "outcomeTimestamp": AT,
        **more,
    }


def _overridden(card: Card, **more: object) -> Card:
    return {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": AT, **more}


def test_every_reason_offered_on_the_card_comes_back(ehrs: dict[str, Ehr], card: Card) -> None:
    """Whichever reason the clinician picks, with or without its words, it is taken."""
    items = [
        _overridden(card, overrideReason={"reason": {"code": r["code"], "system": r["system"]}})
        for r in card["overrideReasons"]
    ]
    assert len(items) == 6
    answer = ehrs["2.0.1"].tell(*items)
    assert (answer.status_code, answer.get_json()) == (200, {})


FORMS: dict[str, Card] = {
    "no reason": {},
    "a comment only": {"overrideReason": {"userComment": "seen last week"}},
    "reason and comment": {
        "overrideReason": {
            "reason": {"code": "done-elsewhere", "system": LOCAL},
            "userComment": "in March",
        }
    },
    "a reason of CDS Hooks 3.0": {
        "overrideReason": {"reason": {"code": "patient-refuses", "system": NEWER}}
    },
    "a reason of the EHR's own": {
        "overrideReason": {"reason": {"code": "9", "system": "urn:x", "display": "Other"}}
    },
    "a reason without system, as the Sandbox may": {"overrideReason": {"reason": {"code": "x"}}},
    "Epic's plural": {
        "overrideReasons": {
            "extension": {"com.epic.cdshooks.feedback.overrideReason.reasonCategory": "3"}
        }
    },
}


@pytest.mark.parametrize("more", FORMS.values(), ids=FORMS.keys())
def test_card_may_be_set_aside_in_every_form(ehrs: dict[str, Ehr], card: Card, more: Card) -> None:
    """A reason may be ours, of 3.0, of the EHR, or missing."""
    assert ehrs["2.0.1"].tell(_overridden(card, **more)).get_json() == {}


def test_feedback_comes_in_batches_repeats_and_contradictions(
    ehrs: dict[str, Ehr], card: Card
) -> None:
    """One card may be accepted, accepted again and dismissed; another was never ours."""
    stranger = {**card, "uuid": "00000000-0000-4000-8000-000000000000"}
    items = [_accepted(card), _accepted(card), _overridden(card), _overridden(stranger)]
    for _ in range(2):
        assert ehrs["2.0.1"].tell(*items).get_json() == {}


def test_empty_batch_is_taken(ehrs: dict[str, Ehr]) -> None:
    """An EHR that reports on a timer has nothing to say now and then."""
    assert ehrs["3.0"].tell().status_code == 200


BROKEN: dict[str, tuple[str, Card]] = {
    "cds-fb-1: an outcome nobody knows": ("accepted", {"outcome": "ignored"}),
    "cds-fb-2: accepted, but nothing": ("accepted", {"acceptedSuggestions": []}),
    "cds-fb-2: accepted, but which": ("accepted", {"acceptedSuggestions": None}),
    "cds-fb-3: a reason that says nothing": ("overridden", {"overrideReason": {}}),
    "no card": ("overridden", {"card": None}),
    "no time": ("overridden", {"outcomeTimestamp": None}),
    "a time without zone": ("overridden", {"outcomeTimestamp": "2026-06-15T12:00:30"}),
    "a reason without code": ("overridden", {"overrideReason": {"reason": {"system": LOCAL}}}),
}


@pytest.mark.parametrize(("outcome", "more"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_item_is_named_and_the_others_are_kept(
    ehrs: dict[str, Ehr], card: Card, outcome: str, more: Card
) -> None:
    """The invariants cds-fb-1 to cds-fb-3 and the required fields hold for each item."""
    item = {**(_accepted(card) if outcome == "accepted" else _overridden(card)), **more}
    answer = ehrs["2.0.1"].tell(_overridden(card), item)
    assert answer.status_code == 200
    [issue] = answer.get_json()["issue"]
    assert issue["expression"][0].startswith("feedback[1]")
    assert ehrs["2.0.1"].tell(item).status_code == 400


@pytest.mark.parametrize("sent", [[], {}, {"feedback": {}}, {"feedback": None}, "x"])
def test_body_without_a_list_of_feedback_is_refused(ehrs: dict[str, Ehr], sent: object) -> None:
    """The body is an object with an array named feedback."""
    ehr = ehrs["3.0"]
    path = "/cds-services/post-laminectomy-evaluation/feedback"
    assert ehr.http.post(path, json=sent, headers=ehr.bearer(path)).status_code == 400
