"""The strict reader itself: every fault it knows is found in a good answer made worse."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.checker import faults_of, order_faults_in

Answer = dict[str, Any]
REQUEST = {
    "context": {"patientId": "p1", "userId": "Practitioner/u1"},
    "prefetch": {
        "patient": {"resourceType": "Patient", "id": "p1"},
        "conditions": {"entry": [{"resource": {"resourceType": "Condition", "id": "c1"}}]},
    },
}
GOOD: Answer = {
    "cards": [
        {
            "uuid": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
            "summary": "No relief 120 days after surgery: consider MRI lumbar spine.",
            "indicator": "warning",
            "detail": "**Consider an MRI.**",
            "source": {
                "label": "Post-laminectomy evaluation",
                "url": "https://cds.example/guidance/IMG-MRI-NR",
                "topic": {"system": "https://cds.example/card", "code": "IMGMRINR"},
            },
            "overrideReasons": [
                {"system": "https://cds.example/r", "code": "done-elsewhere", "display": "Done"}
            ],
            "suggestions": [
                {
                    "label": "MRI",
                    "uuid": "e56e1945-20b3-4393-8503-a1a20fd73152",
                    "isRecommended": True,
                    "actions": [
                        {
                            "type": "create",
                            "description": "Order MRI lumbar spine",
                            "resource": {
                                "resourceType": "ServiceRequest",
                                "status": "draft",
                                "intent": "order",
                                "priority": "routine",
                                "code": {
                                    "text": "MRI",
                                    "coding": [
                                        {
                                            "system": "http://loinc.org",
                                            "code": "24967-2",
                                            "display": "MR Lumbar spine",
                                        }
                                    ],
                                },
                                "subject": {"reference": "Patient/p1"},
                                "requester": {"reference": "Practitioner/u1"},
                                "reasonReference": [{"reference": "Condition/c1"}],
                                "note": [{"text": "Proposed."}],
                            },
                        }
                    ],
                }
            ],
            "selectionBehavior": "any",
            "links": [{"label": "ACR", "url": "https://acr.example/x", "type": "absolute"}],
        }
    ]
}


def _bytes(change: Callable[[Answer, Answer, Answer], object]) -> bytes:
    """Return the good answer with *change* made to it, its card and its order."""
    answer = copy.deepcopy(GOOD)
    card = answer["cards"][0]
    change(answer, card, card["suggestions"][0]["actions"][0]["resource"])
    return json.dumps(answer).encode()


def _suggestion(card: Answer) -> Answer:
    found: Answer = card["suggestions"][0]
    return found


def _action(card: Answer) -> Answer:
    found: Answer = card["suggestions"][0]["actions"][0]
    return found


FAULTS: dict[str, Callable[[Answer, Answer, Answer], object]] = {
    "no cards": lambda a, _c, _o: a.pop("cards"),
    "cards an object": lambda a, _c, _o: a.update(cards={}),
    "an attribute nobody knows": lambda a, _c, _o: a.update(trace=[1]),
    "an attribute nobody knows on the card": lambda _a, c, _o: c.update(score=3),
    "null": lambda _a, c, _o: c.update(detail=None),
    "an empty string": lambda _a, c, _o: c.update(detail=""),
    "a blank string": lambda _a, c, _o: c["source"].update(label=" \n"),
    "an empty list": lambda _a, c, _o: c.update(links=[]),
    "an empty object": lambda _a, c, _o: c.update(extension={}),
    "an empty list of system actions": lambda a, _c, _o: a.update(systemActions=[]),
    "a uuid in capitals": lambda _a, c, _o: c.update(uuid=c["uuid"].upper()),
    "two cards with one uuid": lambda a, c, _o: a["cards"].append(copy.deepcopy(c)),
    "no summary": lambda _a, c, _o: c.pop("summary"),
    "a summary of 140 characters": lambda _a, c, _o: c.update(summary="x" * 140),
    "a summary of two lines": lambda _a, c, _o: c.update(summary="one\ntwo"),
    "a summary of two sentences": lambda _a, c, _o: c.update(summary="Fever. Work up."),
    "raw HTML": lambda _a, c, _o: c.update(detail="see <script>"),
    "a hard stop": lambda _a, c, _o: c.update(indicator="hard-stop"),
    "no source": lambda _a, c, _o: c.pop("source"),
    "no label of the source": lambda _a, c, _o: c["source"].pop("label"),
    "a relative source": lambda _a, c, _o: c["source"].update(url="/guidance/X"),
    "a topic without system": lambda _a, c, _o: c["source"]["topic"].pop("system"),
    "a reason without words": lambda _a, c, _o: c["overrideReasons"][0].pop("display"),
    "suggestions without behaviour": lambda _a, c, _o: c.pop("selectionBehavior"),
    "an unknown behaviour": lambda _a, c, _o: c.update(selectionBehavior="all"),
    "a suggestion without label": lambda _a, c, _o: _suggestion(c).pop("label"),
    "two recommended of which one may be taken": lambda _a, c, _o: c.update(
        selectionBehavior="at-most-one", suggestions=[_suggestion(c)] * 2
    ),
    "two suggestions of the same words": lambda _a, c, _o: c["suggestions"].append(
        {"label": "MRI", "uuid": "e56e1945-20b3-4393-8503-a1a20fd73153"}
    ),
    "recommended, in words": lambda _a, c, _o: _suggestion(c).update(isRecommended="yes"),
    "actions to choose from": lambda _a, c, _o: _suggestion(c).update(
        actionSelectionBehavior="any"
    ),
    "an action in capitals": lambda _a, c, _o: _action(c).update(type="CREATE"),
    "an action without description": lambda _a, c, _o: _action(c).pop("description"),
    "a resource as text": lambda _a, c, _o: _action(c).update(resource="{}"),
    "nothing to create": lambda _a, c, _o: _action(c).pop("resource"),
    "a delete with its resource": lambda _a, c, _o: _action(c).update(
        type="delete", resourceId="ServiceRequest/1"
    ),
    "another resource": lambda _a, _c, o: o.update(resourceType="Condition"),
    "a new resource with an id": lambda _a, _c, o: o.update(id="1"),
    "a link without type": lambda _a, c, _o: c["links"][0].pop("type"),
    "a link of another type": lambda _a, c, _o: c["links"][0].update(type="relative"),
    "a link to nowhere": lambda _a, c, _o: c["links"][0].update(url="javascript:alert(1)"),
    "context for a page": lambda _a, c, _o: c["links"][0].update(appContext="x"),
    "a list as extension": lambda _a, c, _o: c.update(extension=[1]),
    "an extension without domain": lambda _a, c, _o: c.update(extension={"color": 1}),
    "an order without code": lambda _a, _c, o: o.pop("code"),
    "an order that is active already": lambda _a, _c, o: o.update(status="bogus"),
    "a wish": lambda _a, _c, o: o.update(intent="wish"),
    "high priority": lambda _a, _c, o: o.update(priority="high"),
    "an order without reason": lambda _a, _c, o: o.pop("reasonReference"),
    "an order signed": lambda _a, _c, o: o.update(authoredOn="2026-01-01"),
    "an order for a group": lambda _a, _c, o: o.update(subject={"reference": "Group/1"}),
    "an entry no server holds": lambda _a, _c, o: o.update(
        supportingInfo=[{"reference": "Observation/no id 1"}]
    ),
    "an entry twice": lambda _a, _c, o: o.update(supportingInfo=[{"reference": "Device/1"}] * 2),
    "a code without words": lambda _a, _c, o: o["code"]["coding"][0].pop("display"),
    "an order without words": lambda _a, _c, o: o["code"].pop("text"),
    "a code of the house": lambda _a, _c, o: o["code"]["coding"][0].update(
        system="https://x.example"
    ),
    "a category US Core does not know": lambda _a, _c, o: o.update(
        category=[{"coding": [{"system": "http://snomed.info/sct", "code": "1", "display": "x"}]}]
    ),
    "a time in place of a day": lambda _a, _c, o: o.update(
        occurrenceDateTime="2026-01-01T00:00:00Z"
    ),
    "a period": lambda _a, _c, o: o.update(occurrencePeriod={"start": "2026-01-01"}),
    "a side of nothing": lambda _a, _c, o: o.update(
        bodySite=[
            {"coding": [{"system": "http://snomed.info/sct", "code": "7771000", "display": "Left"}]}
        ]
    ),
    "a field R4 does not have": lambda _a, _c, o: o.update(concept={"text": "x"}),
}


def test_good_answer_has_no_fault() -> None:
    """A correct answer is called correct, and so is silence."""
    body = json.dumps(GOOD).encode()
    assert faults_of(body) == []
    assert order_faults_in(body, REQUEST) == []
    assert faults_of(b'{"cards": []}') == []


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_found(change: Callable[[Answer, Answer, Answer], object]) -> None:
    """Each fault alone is enough."""
    assert faults_of(_bytes(change)) != []


@pytest.mark.parametrize(
    "body",
    [b"", b"{}{}", b'{"cards": [],}', b'{"cards": [] /* none */}', b'{"cards": NaN}', b"\xff"],
)
def test_bytes_that_are_no_json_are_found(body: bytes) -> None:
    """Comments, trailing commas and NaN are not JSON, whatever some parsers say."""
    assert faults_of(body) != []


def test_key_written_twice_is_found() -> None:
    """A parser may take either, so neither is right."""
    assert faults_of(b'{"cards": [], "cards": []}') != []


def test_behaviour_the_client_does_not_know_is_found() -> None:
    """An EHR of version 1.0 knows at-most-one only."""
    body = json.dumps(GOOD).encode()
    assert faults_of(body, frozenset({"at-most-one"})) != []


DISAGREEMENTS: dict[str, Callable[[Answer, Answer, Answer], object]] = {
    "another patient": lambda _a, _c, o: o.update(subject={"reference": "Patient/p2"}),
    "another clinician": lambda _a, _c, o: o.update(requester={"reference": "Practitioner/u2"}),
    "no requester": lambda _a, _c, o: o.pop("requester"),
    "an encounter nobody named": lambda _a, _c, o: o.update(encounter={"reference": "Encounter/1"}),
    "a reason never sent": lambda _a, _c, o: o.update(
        reasonReference=[{"reference": "Condition/c2"}]
    ),
    "an entry never sent": lambda _a, _c, o: o.update(supportingInfo=[{"reference": "Device/1"}]),
}


@pytest.mark.parametrize("change", DISAGREEMENTS.values(), ids=DISAGREEMENTS.keys())
def test_disagreement_with_the_request_is_found(
    change: Callable[[Answer, Answer, Answer], object],
) -> None:
    """An order that is not about this call is found."""
    assert order_faults_in(_bytes(change), REQUEST) != []
