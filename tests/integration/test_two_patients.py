"""Two patients mixed in every place a resource can stand: no card changes, nothing is quiet."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from cds_service.demo.personas import Persona, load_personas
from tests.fhir.fault_server import FaultServer
from tests.integration.faults import CANARY, call
from tests.integration.paged_server import KEYS, whole_prefetch
from tests.integration.strict_service import StrictService, strict_service

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("two-patients")]
INSTANCE = "22222222-3333-4444-8555-666666666666"
BASE = "https://ehr.example/fhir"
URN = "urn:uuid:0a0a0a0a-1111-4222-8333-444444444444"
PERSONAS = ("no-relief", "after-fusion", "improving")
Prefetch = dict[str, Any]
Resources = list[dict[str, Any]]
Cards = list[str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictService]:
    """Run the service."""
    with strict_service(tmp_path_factory.mktemp("two")) as running:
        yield running


@pytest.fixture(scope="module")
def people(today: date) -> dict[str, Persona]:
    """Return the personas by name."""
    return {persona.id: persona for persona in load_personas(today)}


@pytest.fixture(scope="module")
def stranger(people: dict[str, Persona]) -> Resources:
    """Return entries that would bring cards about emergencies, implants, drugs and orders."""
    names = ("cauda-equina", "infection", "pacemaker", "opioid", "weakness-21-days")
    found = [copy.deepcopy(entry) for name in names for entry in people[name].resources]
    return [entry for entry in found if entry["resourceType"] in KEYS]


@pytest.fixture(scope="module")
def alone(service: StrictService, people: dict[str, Persona]) -> list[tuple[str, Prefetch, Cards]]:
    """Return some patients' ids, charts and cards, nobody else's entries among them."""
    found = []
    for person in (people[name] for name in PERSONAS):
        prefetch = whole_prefetch(list(person.resources))
        cards = cards_of(service, prefetch, person.patient_id)
        found.append((person.patient_id, prefetch, cards))
    return found


def owned(entry: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return *entry* as belonging to *reference*."""
    name = "patient" if "patient" in entry else "subject"
    return {**entry, name: reference}


def reference_forms(mine: str) -> dict[str, dict[str, Any]]:
    """Return every way an entry may say that it is another patient's, or not say whose."""
    return {
        "relative": {"reference": "Patient/stranger"},
        "versioned": {"reference": "Patient/stranger/_history/3"},
        "absolute": {"reference": f"{BASE}/Patient/stranger"},
        "same id on another server": {
            "reference": f"https://elsewhere.example/fhir/Patient/{mine}"
        },
        "same id, longer path": {"reference": f"{BASE}/x/Patient/{mine}"},
        "same id, other scheme": {"reference": f"http://ehr.example/fhir/Patient/{mine}"},
        "capitals": {"reference": f"Patient/{mine.upper()}"},
        "longer id": {"reference": f"Patient/{mine}1"},
        "urn of the stranger": {"reference": URN},
        "with a type": {"reference": "Patient/stranger", "type": "Patient"},
        "with my display": {"reference": "Patient/stranger", "display": CANARY},
    }


FORMS = tuple(reference_forms(""))


def _among_its_kind(prefetch: Prefetch, foreign: Resources) -> None:
    for entry in foreign:
        _insert(prefetch[KEYS[entry["resourceType"]]], entry)


def _under_every_key(prefetch: Prefetch, foreign: Resources) -> None:
    for key in KEYS.values():
        for entry in foreign:
            _insert(prefetch[key], entry)


def _included(prefetch: Prefetch, foreign: Resources) -> None:
    for entry in foreign:
        bundle = prefetch[KEYS[entry["resourceType"]]]
        bundle["entry"].append({"resource": entry, "search": {"mode": "include"}})


def _in_an_inner_bundle(prefetch: Prefetch, foreign: Resources) -> None:
    inner = {"resourceType": "Bundle", "entry": [{"resource": entry} for entry in foreign]}
    _insert(prefetch["conditions"], inner)


def _with_ids_of_mine(prefetch: Prefetch, foreign: Resources) -> None:
    """Give each foreign entry the id, and a newer version, of one of the patient's."""
    for entry in foreign:
        bundle = prefetch[KEYS[entry["resourceType"]]]
        own = next((item["resource"]["id"] for item in bundle["entry"]), entry["id"])
        newer = {"versionId": "99", "lastUpdated": "2026-01-01T00:00:00Z"}
        bundle["entry"].append({"resource": {**entry, "id": own, "meta": newer}})


def _contained(prefetch: Prefetch, foreign: Resources) -> None:
    for bundle in (prefetch[key] for key in KEYS.values()):
        for item in bundle["entry"]:
            item["resource"]["contained"] = [
                {**entry, "id": f"c{number}"} for number, entry in enumerate(foreign)
            ]


def _as_reasons(prefetch: Prefetch, foreign: Resources) -> None:
    """Let the patient's operations and orders name the stranger's conditions as their reason."""
    conditions = [entry for entry in foreign if entry["resourceType"] == "Condition"]
    links = [{"reference": f"Condition/{entry['id']}"} for entry in conditions]
    for entry in conditions:
        _insert(prefetch["conditions"], entry)
    for key in ("procedures", "serviceRequests"):
        for item in prefetch[key]["entry"]:
            item["resource"].setdefault("reasonReference", []).extend(links)


def _after_another_patient(prefetch: Prefetch, foreign: Resources) -> None:
    """Let the stranger's Patient stand among the entries."""
    _among_its_kind(prefetch, foreign)
    for key in KEYS.values():
        _insert(prefetch[key], {"resourceType": "Patient", "id": "stranger", "gender": "male"})


def _insert(bundle: dict[str, Any], entry: dict[str, Any]) -> None:
    bundle["entry"].insert(0, {"resource": entry})


PLACES: tuple[Callable[[Prefetch, Resources], None], ...] = (
    _among_its_kind,
    _under_every_key,
    _included,
    _in_an_inner_bundle,
    _with_ids_of_mine,
    _contained,
    _as_reasons,
    _after_another_patient,
)


def cards_of(service: StrictService, prefetch: Prefetch, patient_id: str) -> list[str]:
    """Return the ids of the cards, which stand for rule and evidence."""
    answer = call(service, BASE, patient_id, INSTANCE, prefetch)
    assert answer.status_code == 200, answer.text
    assert CANARY not in answer.text
    assert "stranger" not in answer.text
    return [card["uuid"] for card in answer.json()["cards"]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__.strip("_"))
def test_stranger_in_the_prefetch_changes_no_card(
    service: StrictService,
    alone: list[tuple[str, Prefetch, Cards]],
    stranger: Resources,
    place: Callable[[Prefetch, Resources], None],
    form: str,
) -> None:
    """Wherever the other patient's entries stand, and however they refer to that patient."""
    for patient_id, prefetch, cards in alone:
        mixed = copy.deepcopy(prefetch)
        reference = reference_forms(patient_id)[form]
        place(mixed, [owned(copy.deepcopy(entry), reference) for entry in stranger])
        other = {"resourceType": "Patient", "id": "stranger"}
        mixed["conditions"]["entry"].append({"fullUrl": URN, "resource": other})
        assert cards_of(service, mixed, patient_id) == cards


@pytest.mark.parametrize("kind", ["Patient", *KEYS])
def test_server_that_ignores_the_patient_filter_changes_no_card(
    service: StrictService, people: dict[str, Persona], stranger: Resources, kind: str
) -> None:
    """A search that returns everybody, and a next page that does, give the same cards."""
    me = people["no-relief"]
    foreign = [owned(copy.deepcopy(entry), {"reference": "Patient/stranger"}) for entry in stranger]
    foreign.append({"resourceType": "Patient", "id": "stranger", "birthDate": "1950-01-01"})
    plain = _served(service, me, [], kind)
    assert _served(service, me, foreign, kind) == plain
    assert plain


def _served(
    service: StrictService, me: Persona, foreign: Resources, struck: str
) -> tuple[str, ...]:
    """Return the cards when the server adds *foreign* to its pages of the *struck* kind."""
    server = FaultServer()
    bodies: dict[str, bytes] = {}
    for kind in ("Patient", *KEYS):
        own = [found for found in me.resources if found["resourceType"] == kind]
        more = [entry for entry in foreign if kind == struck and entry["resourceType"] == kind]
        entries = [{"resource": entry} for entry in (*more, *own)]
        bundle = {"resourceType": "Bundle", "entry": entries}
        is_read = kind == "Patient" and not more
        bodies[kind] = json.dumps(own[0] if is_read else bundle).encode()
        server.behaviours[kind] = lambda handler, kind=kind: handler.send_bytes(bodies[kind])
    try:
        answer = call(service, server.base, me.patient_id, INSTANCE)
        assert answer.status_code == 200, answer.text
        return tuple(card["uuid"] for card in answer.json()["cards"])
    finally:
        server.stop()


def unclear_forms(mine: str) -> dict[str, dict[str, Any]]:
    """Return ways to name a patient that say nothing for certain."""
    return {
        "identifier": {"type": "Patient", "identifier": {"system": "urn:mrn", "value": mine}},
        "display": {"display": CANARY},
        "group": {"reference": f"Group/{mine}"},
        "contained": {"reference": f"#{mine}"},
        "conditional": {"reference": f"Patient?identifier={mine}"},
        "id alone": {"reference": mine},
        "unknown urn": {"reference": "urn:uuid:ffffffff-1111-4222-8333-444444444444"},
        "nothing": {},
    }


@pytest.mark.parametrize("form", tuple(unclear_forms("")))
def test_entry_that_does_not_say_whose_it_is_brings_no_card(
    service: StrictService,
    alone: list[tuple[str, Prefetch, Cards]],
    stranger: Resources,
    form: str,
) -> None:
    """A gap may be told, but no emergency, implant or drug of nobody is ever shown."""
    for patient_id, prefetch, _ in alone:
        mixed = copy.deepcopy(prefetch)
        reference = unclear_forms(patient_id)[form]
        contained = {"contained": [{"resourceType": "Patient", "id": patient_id}]}
        _among_its_kind(
            mixed, [{**owned(copy.deepcopy(entry), reference), **contained} for entry in stranger]
        )
        plain = call(service, BASE, patient_id, INSTANCE, prefetch)
        answer = call(service, BASE, patient_id, INSTANCE, mixed)
        assert answer.status_code == 200, answer.text
        assert CANARY not in answer.text
        assert _topics(answer) <= _topics(plain) | {"DATAREAD"}
        assert any(words in answer.text for words in ("could not be read", "was not read"))


def _topics(answer: Any) -> set[str]:  # noqa: ANN401 - an answer over HTTP
    return {card["source"]["topic"]["code"] for card in answer.json()["cards"]}


@pytest.mark.parametrize("place", ["alone", "with me", "with me elsewhere"])
def test_other_person_under_the_patient_key_gets_no_answer_from_my_chart(
    service: StrictService, alone: list[tuple[str, Prefetch, Cards]], place: str
) -> None:
    """The stranger's Patient alone is refused; beside mine it is set aside."""
    for patient_id, prefetch, cards in alone:
        mixed = copy.deepcopy(prefetch)
        other = {"resourceType": "Patient", "id": "stranger", "birthDate": "1950-01-01"}
        mine = mixed["patient"]
        both = [{"resource": other}, {"resource": mine}]
        mixed["patient"] = other
        if place == "with me":
            mixed["patient"] = {"resourceType": "Bundle", "entry": both}
        elif place == "with me elsewhere":
            _insert(mixed["conditions"], mine)
        answer = call(service, BASE, patient_id, INSTANCE, mixed)
        assert "stranger" not in answer.text
        if place == "with me":
            assert [card["uuid"] for card in answer.json()["cards"]] == cards
        else:
            assert answer.status_code == 412


def test_answers_under_each_others_keys_are_never_quiet(
    service: StrictService, people: dict[str, Persona]
) -> None:
    """The operations under the problems' key and the other way round: cards, and a gap told."""
    person = people["no-relief"]
    prefetch = whole_prefetch(list(person.resources))
    keys = ("procedures", "conditions")
    prefetch |= {key: prefetch[other] for key, other in zip(keys, keys[::-1], strict=True)}
    answer = call(service, BASE, person.patient_id, INSTANCE, prefetch)
    assert answer.status_code == 200
    assert answer.json()["cards"]
    assert "another kind of entry" in answer.text
