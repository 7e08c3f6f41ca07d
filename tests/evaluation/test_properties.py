"""What never changes an answer: order, copies, strangers, the calendar and the time zone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.chart.supply import State, Supply
from cds_service.errors import DataNotAvailableError
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment
from cds_service.fhir.answers import KeyAnswer
from cds_service.knowledge.loading import load_knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.vignettes.charts import PATIENT_ID, Facts, Resource, expand
from cds_service.vignettes.running import AS_OF, read_answers
from tests.vignettes.cases import all_vignettes

KNOWLEDGE = load_knowledge()
OPTIONS = CardOptions(client_id="ehr-a", public_base_url="https://cds.example", identity_key=b"k")
CONTEXT = CardContext(patient_id=PATIENT_ID)
PROFILE = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Resources = Mapping[str, Sequence[Resource]]


def _merged(draw: st.DrawFn) -> Facts:
    """Return the facts of two vignettes in one patient, so that themes meet."""
    vignettes = all_vignettes()
    one = draw(st.sampled_from(vignettes)).facts
    other = draw(st.sampled_from(vignettes)).facts
    keep = {"not supplied", "supplied in part", "deceased"}
    return {**{k: v for k, v in other.items() if k not in keep}, **one}


@st.composite
def patients(draw: st.DrawFn) -> Facts:
    """Draw a patient: an operation, scores, and the findings of two vignettes."""
    facts = dict(_merged(draw))
    today = draw(st.sampled_from([1, 5, 20, 41, 60, 89, 90, 120, 200, 366, 731]))
    facts["day"] = today
    days = st.integers(min_value=-90, max_value=today)
    for site in draw(st.sets(st.sampled_from(["leg", "back", "pain"]))):
        facts[site] = draw(
            st.dictionaries(days, st.integers(min_value=0, max_value=10), min_size=1, max_size=4)
        )
    return facts


def _assessed(
    resources: Resources, facts: Facts, as_of: date = AS_OF, zone: str = "UTC"
) -> Assessment:
    found = {}
    for key, entries in resources.items():
        state = State.SUPPLIED if entries else State.EMPTY
        if key in facts.get("not supplied", ()):
            state = State.NOT_SUPPLIED
        found[key] = KeyAnswer(
            supply=Supply(state=state),
            resources=tuple(json.dumps(entry).encode() for entry in entries),
        )
    return assess(read_answers(found, KNOWLEDGE, as_of=as_of, zone=zone), KNOWLEDGE, as_of)


def _cards(assessment: Assessment) -> bytes:
    return json.dumps(render_cards(assessment, KNOWLEDGE, OPTIONS, CONTEXT)).encode()


def _told(assessment: Assessment) -> tuple[object, ...]:
    """Return what an answer says, without its calendar days."""
    case = assessment.case
    return (
        [(row.card, row.verdict, row.is_shown, row.indicator) for row in assessment.findings],
        [(each.phenotype, each.points) for each in assessment.explanations],
        (case.pain.course, case.pain.onset) if case is not None else None,
    )


@PROFILE
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9), data=st.data())
def test_answer_does_not_depend_on_the_order_of_entries(
    facts: Facts, seed: int, data: st.DataObject
) -> None:
    """An EHR may send its entries in any order; the bytes of the answer stay."""
    resources = expand(facts, AS_OF, seed)
    shuffled = {key: data.draw(st.permutations(entries)) for key, entries in resources.items()}
    assert _cards(_assessed(shuffled, facts)) == _cards(_assessed(resources, facts))


@PROFILE
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9))
def test_answer_does_not_depend_on_entries_sent_twice(facts: Facts, seed: int) -> None:
    """Pages that overlap send an entry twice; it counts once."""
    resources = expand(facts, AS_OF, seed)
    doubled = {
        key: entries if key == "patient" else [*entries, *reversed(entries)]
        for key, entries in resources.items()
    }
    assert _cards(_assessed(doubled, facts)) == _cards(_assessed(resources, facts))


ANSWERS = (
    *("LA6111-4", "LA6112-2", "LA6113-0", "LA6114-8", "LA6115-5", "LA10137-0"),
    *("LA10138-8", "LA10139-6", "LA10140-4", "LA10141-2", "LA13942-0"),
)
"""LOINC's answers of a pain scale, from 0 on."""
SIDES = {"7771000", "24028007", "51440002"}
OFTEN = {1: "Daily", 2: "BID", 3: "3 times daily", 4: "every 6 hr"}


def _scored_by_answer(score: Resource) -> None:
    """Give a whole pain score as a coded answer, a local code before it."""
    codes = {coding["code"] for coding in score["code"].get("coding", ())}
    value = score.get("valueQuantity", {}).get("value", score.get("valueInteger"))
    if not codes & {"72514-3", "38208-5"} or value not in range(len(ANSWERS)):
        return
    for name in ("valueQuantity", "valueInteger"):
        score.pop(name, None)
    codings = [
        {"system": "urn:oid:2.999.1", "code": str(value)},
        {"system": "http://loinc.org", "code": ANSWERS[int(value)]},
    ]
    score["valueCodeableConcept"] = {"coding": codings, "text": f"{value} - as it is called here"}


def _side_beside(entry: Resource) -> None:
    """Take the side out of the codes of a body site and let it qualify the site."""
    sites = entry.get("bodySite", [])
    for site in sites if isinstance(sites, list) else [sites]:
        sides = [coding for coding in site.get("coding", ()) if coding["code"] in SIDES]
        if sides:
            site["coding"] = [coding for coding in site["coding"] if coding not in sides]
            site["extension"] = [{"url": "urn:x", "valueCodeableConcept": {"coding": sides}}]


def _prescribed_at_length(order: Resource, number: int) -> Resource:
    """Let an order refer to its drug, and say dose and schedule twice; return the drug."""
    drug = {
        "resourceType": "Medication",
        "id": f"drug{number}",
        "code": order.pop("medicationCodeableConcept"),
    }
    order["medicationReference"] = {"reference": f"Medication/drug{number}/_history/1"}
    order |= {"intent": "plan", "reportedBoolean": True}
    for instruction in order.get("dosageInstruction", ()):
        instruction["doseAndRate"] = [*instruction["doseAndRate"], *instruction["doseAndRate"]]
        repeat = instruction["timing"]["repeat"]
        if set(repeat) == {"frequency", "period", "periodUnit"} and repeat["frequency"] in OFTEN:
            instruction["timing"]["code"] = {"text": OFTEN[repeat["frequency"]]}
            repeat["frequency"] = 1
    return drug


@PROFILE
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9))
def test_answer_does_not_depend_on_how_an_ehr_writes_a_chart(facts: Facts, seed: int) -> None:
    """Coded answers, sides beside a site, drugs referred to, doses and schedules said twice."""
    resources = expand(facts, AS_OF, seed)
    written: dict[str, Any] = copy.deepcopy(dict(resources))
    for entry in (*written["scores"], *written["findings"], *written["procedures"]):
        _side_beside(entry)
    for score in written["scores"]:
        _scored_by_answer(score)
    orders = written["medicationRequests"]
    drugs = [_prescribed_at_length(order, number) for number, order in enumerate(orders)]
    written["medicationRequests"] = [*orders, *drugs]
    assert _told(_assessed(written, facts)) == _told(_assessed(resources, facts))


STRANGERS: Resources = {
    "procedures": [{"resourceType": "Procedure", "status": "completed", "code": "80146002"}],
    "conditions": [{"resourceType": "Condition", "code": "82272006"}],
    "serviceRequests": [
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "code": "26604007",
        }
    ],
    "findings": [{"resourceType": "Observation", "status": "final", "code": "33747003"}],
    "devices": [{"resourceType": "Device", "status": "active", "code": "6012004"}],
}
"""An appendectomy, a cold, a blood count ordered, a glucose, a hearing aid."""


def _stranger(entry: Resource, number: int) -> Resource:
    code = {"coding": [{"system": "http://snomed.info/sct", "code": entry["code"]}]}
    patient = {"reference": f"Patient/{PATIENT_ID}"}
    bare = {name: value for name, value in entry.items() if name != "code"}
    if entry["resourceType"] == "Device":
        return {**bare, "id": f"s{number}", "type": code, "patient": patient}
    return {**bare, "id": f"s{number}", "code": code, "subject": patient}


@PROFILE
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9))
def test_answer_does_not_depend_on_unrelated_entries(facts: Facts, seed: int) -> None:
    """A cold, an appendectomy or a hearing aid changes nothing."""
    resources = expand(facts, AS_OF, seed)
    mixed = {
        key: [*(_stranger(each, n) for n, each in enumerate(STRANGERS.get(key, ()))), *entries]
        for key, entries in resources.items()
    }
    assert _cards(_assessed(mixed, facts)) == _cards(_assessed(resources, facts))


@PROFILE
@given(
    facts=patients(),
    seed=st.integers(min_value=0, max_value=9),
    shift=st.sampled_from([1, 28, 365, 1000, -1, -365]),
)
def test_answer_depends_on_distances_and_not_on_the_calendar(
    facts: Facts, seed: int, shift: int
) -> None:
    """The same patient on another day of the calendar gets the same cards."""
    facts = {name: value for name, value in facts.items() if name != "operation date"}
    later = AS_OF + timedelta(days=shift)
    moved = _assessed(expand(facts, later, seed), facts, as_of=later)
    assert _told(moved) == _told(_assessed(expand(facts, AS_OF, seed), facts))


@PROFILE
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9))
def test_answer_is_byte_identical_the_second_time(facts: Facts, seed: int) -> None:
    """Opening a chart twice on one day gives the same bytes, ids of cards included."""
    resources = expand(facts, AS_OF, seed)
    assert _cards(_assessed(resources, facts)) == _cards(_assessed(resources, facts))


ODD = (None, True, 0, -1, 1e30, "", "2026-02-30", "9999-12-31", "text", [], [None], {}, {"a": {}})


def _places(node: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for name, child in items:
        yield (*path, name)
        yield from _places(child, (*path, name))


def _spoil(resource: Resource, data: st.DataObject) -> None:
    *way, last = data.draw(st.sampled_from(list(_places(resource))))
    node: Any = resource
    for name in way:
        node = node[name]
    if data.draw(st.booleans()) and isinstance(node, dict):
        del node[last]
    else:
        node[last] = copy.deepcopy(data.draw(st.sampled_from(ODD)))  # shared, it could hold itself


@settings(PROFILE, max_examples=300)
@given(facts=patients(), seed=st.integers(min_value=0, max_value=9), data=st.data())
def test_answer_is_given_to_any_chart_however_odd(
    facts: Facts, seed: int, data: st.DataObject
) -> None:
    """Missing, empty and impossible values never raise; only a missing patient is refused."""
    resources = copy.deepcopy(expand(facts, AS_OF, seed))
    everything = [entry for entries in resources.values() for entry in entries]
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        _spoil(data.draw(st.sampled_from(everything)), data)
    try:
        assessment = _assessed(resources, facts)
    except DataNotAvailableError as refusal:
        assert "patient" in str(refusal)  # noqa: PT017 - both outcomes are right
        return
    assert not [row.card for row in assessment.findings if row.is_faulty]
    assert json.loads(_cards(assessment)) is not None


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("Pacific/Kiritimati", "+14:00"), ("Etc/GMT+12", "-12:00"), ("UTC", "+00:00")],
)
@pytest.mark.parametrize("clock", ["00:01:00", "23:59:00"])
@pytest.mark.parametrize(
    ("day", "cards"), [(89, ["EARLY-WATCH", "PT-REF"]), (90, ["IMG-MRI-NR", "PT-REF"])]
)
def test_days_since_surgery_follow_the_local_date(
    zone: str, offset: str, clock: str, day: int, cards: Sequence[str]
) -> None:
    """An operation just before or after midnight counts from the hospital's own calendar day."""
    facts = {"day": day, "operation": "discectomy", "leg": {-14: 8, 80: 7}}
    resources = expand(facts, AS_OF, seed=1)
    operated_on = AS_OF - timedelta(days=day)
    for procedure in resources["procedures"]:
        procedure.pop("performedPeriod", None)
        procedure["performedDateTime"] = f"{operated_on.isoformat()}T{clock}{offset}"
    for score in resources["scores"]:
        score.pop("effectivePeriod", None)
        value = score.get("valueInteger") or score["valueQuantity"]["value"]
        day_of_score = {8: -14, 7: 80}[value]
        score["effectiveDateTime"] = (operated_on + timedelta(days=day_of_score)).isoformat()
    shown = [row.card for row in _assessed(resources, facts, zone=zone).shown]
    assert shown == cards
