"""Hook requests for every chart of this suite, and for charts made up at random."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cds_service.demo.fhir_server import AccessTokens
from cds_service.demo.personas import load_personas
from cds_service.demo.prefetch import Manner, Opening, RequestWriter
from cds_service.demo.store import ChartStore
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.charts import BASE
from cds_service.vignettes.running import AS_OF
from tests.vignettes.cases import all_vignettes
from tests.vignettes.running import request_body

Request = dict[str, Any]
USERS = ("Practitioner/u1", "PractitionerRole/r.2", "Patient/p1", "RelatedPerson/x3")
_DAYS = (1, 5, 20, 41, 60, 89, 90, 120, 200, 366, 731)
_ODD = (None, True, 0, -1, 1e30, "", "2026-02-30", "9999-12-31", "text", [], [None], {}, {"a": {}})
_KEPT_FROM_OTHERS = frozenset({"not supplied", "supplied in part", "deceased"})


def _opened_by(request: Request, place: int) -> Request:
    """Return *request* as one of several users sends it, every other time in an encounter."""
    context = {**request["context"], "userId": USERS[place % len(USERS)]}
    if place % 2:
        context["encounterId"] = f"e-{place}"
    kept = {name: value for name, value in request.items() if name != "extension"}
    return {**kept, "context": context}


def persona_requests(templates: Mapping[str, str]) -> Iterator[tuple[str, Request]]:
    """Yield each persona by prefetch, in the manner of each kind of EHR."""
    personas = load_personas(AS_OF)
    resources = [resource for persona in personas for resource in persona.resources]
    store = ChartStore(resources, lambda: datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC))
    writer = RequestWriter(store=store, tokens=AccessTokens(), fhir_base=BASE)
    for place, persona in enumerate(personas):
        for manner in Manner:
            opening = Opening(
                patient_id=persona.patient_id,
                as_of=AS_OF,
                hook_instance=UUID(int=place),
                manner=manner,
            )
            request = writer.request(opening, templates)
            yield f"persona {persona.id}, {manner.value}", _opened_by(request, place)


def vignette_requests() -> Iterator[tuple[str, Request]]:
    """Yield every vignette by prefetch."""
    for place, vignette in enumerate(all_vignettes()):
        yield vignette.title, _opened_by(request_body(vignette), place)


def random_request(number: int) -> Request:
    """Return the request number *number*: the findings of two vignettes, odd scores, and damage.

    The same number always gives the same request.
    """
    chance = random.Random(number)  # noqa: S311 - repeatable, not secret
    vignettes = all_vignettes()
    one, other = (chance.choice(vignettes).facts for _ in range(2))
    facts = {name: value for name, value in other.items() if name not in _KEPT_FROM_OTHERS}
    facts = {**facts, **one, "day": chance.choice(_DAYS)}
    for site in chance.sample(("leg", "back", "pain"), chance.randrange(3)):
        days = [chance.randint(-90, facts["day"]) for _ in range(chance.randint(1, 4))]
        facts[site] = {day: chance.randint(0, 10) for day in days}
    made_up = Vignette(theme="random", name=str(number), facts=facts, expect={})
    request = _opened_by(request_body(made_up), number)
    return _damaged(request, chance) if chance.random() < 1 / 2 else request


def _damaged(request: Request, chance: random.Random) -> Request:
    """Return *request* as a careless EHR sends it."""
    request = copy.deepcopy(request)
    prefetch = request["prefetch"]
    for key in list(prefetch):
        if key not in {"patient", "procedures"} and chance.random() < 1 / 10:
            prefetch[key] = chance.choice((None, {"resourceType": "OperationOutcome"}, "<html>"))
    entries = [
        entry["resource"]
        for bundle in prefetch.values()
        if isinstance(bundle, dict)
        for entry in bundle.get("entry", [])
    ]
    for _ in range(chance.randint(1, 3)):
        _spoil(chance.choice(entries) if entries else {}, chance)
    return request


def _spoil(resource: dict[str, Any], chance: random.Random) -> None:
    """Take a field away, most often the id, or write nonsense into it."""
    if chance.random() < 1 / 3:
        resource.pop("id", None)
    elif resource:
        resource[chance.choice(sorted(resource))] = chance.choice(_ODD)
