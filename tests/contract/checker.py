"""Is this a correct answer to a hook call?  Written from the specification, not from our code.

Reads the bytes a client gets.  Ids such as CH-75 are those of ``requirements.csv``; ids such as
cds-resp-1 are the invariants of the specification's own models.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

from tests.contract.orders import order_faults

EVERY_BEHAVIOR = frozenset({"any", "at-most-one"})
_RAW_HTML = re.compile(r"(?<!\\)<[A-Za-z/!?]")
_SECOND_SENTENCE = re.compile(r"\n|[.?!]\s+\S")
_MAY_BE_EMPTY = frozenset({"$.cards"})


def faults_of(body: bytes, behaviors: frozenset[str] = EVERY_BEHAVIOR) -> list[str]:
    """Return what is wrong with *body*, each with its place; nothing if it is correct.

    *behaviors* are the values of ``selectionBehavior`` that the client knows.
    """
    try:
        answer = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_once)
    except ValueError as fault:
        return [f"$: not JSON in the sense of RFC 8259: {fault}"]
    broken = [f"{fault.json_path}: {fault.message}" for fault in _schema().iter_errors(answer)]
    empty = list(empty_values(answer, "$"))
    if broken or empty:
        return broken + empty
    found: list[str] = []
    for place, card in enumerate(answer["cards"]):
        found += (f"$.cards[{place}]: {fault}" for fault in _card_faults(card, behaviors))
    return found + list(_repeated_names(answer["cards"]))


def order_faults_in(body: bytes, request: Mapping[str, Any]) -> list[str]:
    """Return where the orders of an answer and the request they answer disagree.

    Patient, encounter and requester are those of the context; every entry an order points to was
    in the prefetch data.
    """
    orders = [
        action["resource"]
        for card in json.loads(body)["cards"]
        for suggestion in card.get("suggestions", [])
        for action in suggestion["actions"]
    ]
    sent = sent_references(request)
    return [fault for order in orders for fault in _disagreements(order, request["context"], sent)]


def sent_references(request: Mapping[str, Any]) -> frozenset[str]:
    """Return ``Type/id`` of every resource in the prefetch data."""
    values = [value for value in request.get("prefetch", {}).values() if isinstance(value, dict)]
    inside = [entry.get("resource") or {} for value in values for entry in value.get("entry", [])]
    return frozenset(
        f"{each['resourceType']}/{each['id']}"
        for each in (*values, *inside)
        if each.get("id") is not None and isinstance(each.get("resourceType"), str)
    )


def _disagreements(
    order: dict[str, Any], context: Mapping[str, Any], sent: frozenset[str]
) -> Iterator[str]:
    is_clinician = context["userId"].startswith(("Practitioner/", "PractitionerRole/"))
    encounter = context.get("encounterId")
    expected = {
        "subject": f"Patient/{context['patientId']}",
        "encounter": f"Encounter/{encounter}" if encounter else None,
        "requester": context["userId"] if is_clinician else None,
    }
    for name, reference in expected.items():
        found = order.get(name, {}).get("reference")
        if found != reference:
            yield f"{name} is {found}, not {reference}"
    pointed = [*order.get("supportingInfo", []), *order.get("reasonReference", [])]
    yield from (
        f"{each['reference']} was never sent" for each in pointed if each["reference"] not in sent
    )


@cache
def _schema() -> Draft7Validator:
    text = Path(__file__).with_name("hook-answer.schema.json").read_text(encoding="utf-8")
    return Draft7Validator(json.loads(text))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key is written twice")
    return dict(pairs)


def empty_values(value: object, path: str) -> Iterator[str]:
    """Yield nulls and empty or blank values (CH-04 to CH-06)."""
    is_blank = isinstance(value, str) and not value.strip()
    if value is None or is_blank or (value in ([], {}) and path not in _MAY_BE_EMPTY):
        yield f"{path}: null or empty"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from empty_values(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from empty_values(inner, f"{path}[{place}]")


def _card_faults(card: dict[str, Any], behaviors: frozenset[str]) -> Iterator[str]:
    if _SECOND_SENTENCE.search(card["summary"]):
        yield "CH-75: the summary has more than one sentence"
    if _RAW_HTML.search(card.get("detail", "")):
        yield "CH-76: the detail holds raw HTML"
    behavior = card.get("selectionBehavior")
    suggestions = card.get("suggestions", [])
    if suggestions and behavior not in behaviors:
        yield f"CH-83: this client does not know the selectionBehavior {behavior}"
    recommended = sum(suggestion.get("isRecommended", False) for suggestion in suggestions)
    if behavior == "at-most-one" and recommended > 1:
        yield "cds-resp-1: several suggestions are recommended where one may be taken"
    if len({suggestion["label"] for suggestion in suggestions}) < len(suggestions):
        yield "two suggestions have the same words"
    for suggestion in suggestions:
        for action in suggestion.get("actions", []):
            yield from _action_faults(action)


def _action_faults(action: dict[str, Any]) -> Iterator[str]:
    if action["type"] == "create" and "id" in action["resource"]:
        yield "CH-94: a resource to be created has no id yet"
    if action["resource"]["resourceType"] != "ServiceRequest":
        yield "this service creates orders (ServiceRequest) and nothing else"
    else:
        yield from (f"order: {fault}" for fault in order_faults(action["resource"]))


def _repeated_names(cards: list[dict[str, Any]]) -> Iterator[str]:
    """Yield ids that feedback could not tell apart (CH-74, CH-88)."""
    named = [*cards, *(each for card in cards for each in card.get("suggestions", []))]
    counts = Counter(each["uuid"] for each in named if "uuid" in each)
    yield from (f"$.cards: the uuid {uuid} is used twice" for uuid, n in counts.items() if n > 1)
