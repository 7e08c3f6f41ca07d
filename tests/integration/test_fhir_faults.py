"""Whatever the FHIR server does: an answer in time, the gap named, the token kept, no 5xx."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date

import pytest

from cds_service.chart.supply import Key, State
from cds_service.demo.personas import Persona, load_personas
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from tests.integration.busy import done_calmly
from tests.integration.faults import (
    CANARY,
    DEADLINE_SECONDS,
    EVERYTHING,
    FAULTS,
    HEALTHY,
    TOKEN,
    TYPES,
    Effect,
    Fault,
    Observed,
    Trace,
    bomb,
    observe,
    traced,
)
from tests.integration.strict_service import StrictService, strict_service

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("faults")]
SAID = ("could not be read", "was not read")
SPARE_SECONDS = 0.45
"""What a busy test machine may add to the deadline; if it adds more, the call is made again."""
MOST_SPARE_SECONDS = 2.0
"""What it may add each time; the faults that are slow take five seconds."""

People = tuple[Persona, Persona]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the knowledge of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictService]:
    """Run the service with its usual deadline of 450 ms."""
    with strict_service(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def people(today: date) -> People:
    """Return a patient whose card needs everything read, and one with an emergency."""
    personas = {persona.id: persona for persona in load_personas(today)}
    return personas["no-relief"], personas["cauda-equina"]


@pytest.fixture(scope="module")
def good(service: StrictService, people: People) -> Observed:
    """Return the answer when nothing is wrong."""
    bomb()
    observe(service, HEALTHY, "Device", people)  # the first call of a process is slower
    return done_calmly(
        lambda: observe(service, HEALTHY, "Device", people),
        is_disturbed=lambda seen: seen.status != 200 or bool(seen.unread),
    )


def is_late(seen: Observed, spare_seconds: float = SPARE_SECONDS) -> bool:
    """Whether the answer came later than it may."""
    return seen.seconds >= DEADLINE_SECONDS + spare_seconds


def was_not_asked(seen: Observed, fault: Fault) -> bool:
    """Whether the service left the server alone, because another case had its port a moment ago."""
    return seen.requests == 0 and not fault.is_down


def observed_in_time(
    service: StrictService,
    fault: Fault,
    where: str,
    people: People,
    is_right: Callable[[Observed], bool] = lambda _: True,
) -> Observed:
    """Observe a call, again where this machine was too busy to serve it in time.

    A busy machine may also lose other parts of the chart: the call is made again until it
    *is_right*.
    """
    return done_calmly(
        lambda: observe(service, fault, where, people),
        is_disturbed=lambda seen: is_late(seen) or was_not_asked(seen, fault) or not is_right(seen),
    )


def foreign(seen: Observed) -> list[Mapping[str, int]]:
    """Return what each security event in the log counts."""
    return [line["types"] for line in seen.log if line["event"] == "security_event"]


def check_promises(seen: Observed, people: People) -> None:
    """Check what holds for every fault."""
    assert seen.status in {200, 412}
    assert not is_late(seen, MOST_SPARE_SECONDS)
    assert seen.requests_elsewhere == 0
    for text in (seen.text, seen.raw_log):
        assert TOKEN not in text
        assert CANARY not in text
    for person in people:
        assert person.patient_id not in seen.raw_log


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("where", ["Condition", "ServiceRequest"])
def test_fault_of_one_part_leaves_an_answer_that_names_it(
    service: StrictService, people: People, good: Observed, fault: Fault, where: str
) -> None:
    """Conditions or orders fail: the patient's cards still come and say what is missing."""
    if fault.is_down:
        where = EVERYTHING
    key = {"Condition": "conditions", "ServiceRequest": "serviceRequests"}.get(where)
    unread = () if fault.effect is Effect.NONE else (key,)
    seen = done_calmly(
        lambda: observe(service, fault, where, people),
        is_disturbed=lambda seen: (
            is_late(seen)
            or (seen.status == 200 and seen.unread != unread)
            or (seen.status == 412 and not fault.is_down)
            or was_not_asked(seen, fault)
        ),
    )
    check_promises(seen, people)
    if fault.is_down:
        assert seen.status == 412
        return
    assert seen.status == 200
    assert seen.unread == unread
    if fault.effect is Effect.NONE:
        assert seen.uuids == good.uuids
        return
    assert seen.cards
    assert any(words in seen.text for words in SAID)


@pytest.fixture(scope="module")
def good_trace(knowledge: Knowledge, people: People) -> Trace:
    """Return what is read and told when nothing is wrong."""
    return done_calmly(
        lambda: traced(knowledge, HEALTHY, "Condition", people),
        is_disturbed=lambda trace: any(supply.has_failed for supply in trace.supply.values()),
    )


STATES = {
    Effect.NONE: State.SUPPLIED,
    Effect.PART: State.PARTIAL,
    Effect.LOST: State.NOT_SUPPLIED,
}


def others_failed(trace: Trace) -> list[bool]:
    """Return for each key but the conditions whether it is not wholly known."""
    return [trace.supply[key].has_failed for key in Key.DEFAULT if key != Key.CONDITIONS]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_of_the_conditions_is_in_the_trace_with_its_reason(
    knowledge: Knowledge, people: People, good_trace: Trace, fault: Fault
) -> None:
    """The trace says how much came, why not all, and which rows cannot tell because of it."""
    trace = done_calmly(
        lambda: traced(knowledge, fault, EVERYTHING if fault.is_down else "Condition", people),
        is_disturbed=lambda trace: (
            trace.supply["conditions"].state is not STATES[fault.effect]
            or (not fault.is_down and any(others_failed(trace)))
        ),
    )
    supply = trace.supply["conditions"]
    assert supply.state is STATES[fault.effect]
    assert supply.has_failed is bool(supply.reason)
    others = others_failed(trace)
    if fault.is_down:
        assert (trace.untold, all(others)) == (None, True)
    elif fault.effect is Effect.NONE:
        assert trace.untold == good_trace.untold
    else:
        assert set(trace.untold or ()) > set(good_trace.untold or ())
    assert fault.is_down or not any(others)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_of_the_operations_is_never_a_quiet_answer(
    service: StrictService, people: People, good: Observed, fault: Fault
) -> None:
    """Without the operations there is no answer (412); with a part of them the gap is said."""
    unread = ("procedures",) if fault.effect is Effect.PART else ()
    missing = "patient" if fault.is_down else "procedures"
    seen = observed_in_time(
        service,
        fault,
        "Procedure",
        people,
        lambda seen: (
            missing in seen.text
            if fault.effect is Effect.LOST
            else (seen.status, seen.unread) == (200, unread)
        ),
    )
    check_promises(seen, people)
    if fault.effect is Effect.NONE:
        assert (seen.status, seen.uuids) == (200, good.uuids)
    elif fault.effect is Effect.PART:
        assert (seen.status, seen.unread) == (200, ("procedures",))
        assert any(words in seen.text for words in SAID)
    else:
        assert seen.status == 412
        assert "OperationOutcome" in seen.text
        assert missing in seen.text


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_of_everything_is_never_a_server_error(
    service: StrictService, people: People, good: Observed, fault: Fault
) -> None:
    """All searches fail at once: still in time, still no 5xx, no card out of nothing."""
    seen = observed_in_time(
        service,
        fault,
        EVERYTHING,
        people,
        lambda seen: fault.effect is not Effect.PART or len(seen.unread) == len(TYPES),
    )
    check_promises(seen, people)
    if fault.effect is Effect.LOST:
        assert seen.status == 412
    elif fault.effect is Effect.PART:
        assert len(seen.unread) == len(TYPES)
    elif seen.uuids != good.uuids:  # ten times 10,000 entries need not fit in the time
        assert seen.status == 412 or seen.unread


def test_other_person_under_the_patients_address_is_refused(
    service: StrictService, people: People
) -> None:
    """A server that answers with another Patient gets no card, and the log tells of it."""
    other = people[1].resources[0]
    fault = Fault(
        name="another Patient",
        effect=Effect.LOST,
        behave=lambda _ehr, _kind: lambda handler: handler.send_json(other),
    )
    seen = observed_in_time(
        service, fault, "Patient", people, lambda seen: foreign(seen) == [{"Patient": 1}]
    )
    check_promises(seen, people)
    assert seen.status == 412
    assert foreign(seen) == [{"Patient": 1}]


def test_another_patients_entries_are_a_security_event_without_content(
    service: StrictService, people: People
) -> None:
    """The log counts them by resource type and names nobody."""
    fault = next(fault for fault in FAULTS if "another patient" in fault.name)
    kinds = {found["resourceType"] for found in people[1].resources} & set(TYPES) - {"Patient"}
    seen = observed_in_time(
        service, fault, EVERYTHING, people, lambda seen: [set(e) for e in foreign(seen)] == [kinds]
    )
    (event,) = (line for line in seen.log if line["event"] == "security_event")
    assert set(event["types"]) == kinds
    assert event["level"] == "warning"
    assert set(event) <= {
        *("event", "kind", "hookInstance", "client", "keys", "types", "level", "timestamp")
    }


def test_server_that_recovers_is_asked_again_after_the_pause(
    service: StrictService, people: People, good: Observed
) -> None:
    """One busy answer costs its own key only; the other searches of the call go on."""
    busy = next(fault for fault in FAULTS if fault.name == "429 without Retry-After")
    seen = observed_in_time(
        service, busy, "Device", people, lambda seen: seen.unread == ("devices",)
    )
    assert seen.unread == ("devices",)
    assert len(seen.cards) == len(good.cards)
