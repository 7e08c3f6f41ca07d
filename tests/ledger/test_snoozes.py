"""What a user answered holds a card back for everybody, for its time and no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from cds_service.demo.personas import Resource
from cds_service.evaluation.selection import OVERRIDDEN
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.recording import showings_of
from cds_service.ledger.records import Scope
from cds_service.ledger.snoozes import (
    ACCEPTED,
    Snooze,
    fulfilled,
    held_cards,
    last_day,
    longest_days,
    term_of,
)
from cds_service.ledger.tables import CALL, SHOWING, SNOOZE
from cds_service.rendering.cards import CardContext, CardOptions, render
from tests.ledger.clinic import (
    MORNING,
    PERSONAS,
    Clinic,
    Json,
    assessed,
    card_id,
    chart_of,
    in_chart,
)

SCAN = "IMG-MRI-NR"


def card_of(cards: list[Json], name: str) -> Json:
    """Return one card by its rule."""
    return next(card for card in cards if card_id(card) == name)


@pytest.mark.parametrize(("card", "is_held"), [("RF-CES", False), (SCAN, True)])
def test_red_flag_is_shown_though_an_old_ledger_holds_it_back(
    knowledge: Knowledge, card: str, *, is_held: bool
) -> None:
    """Rows 1 to 4 are never held, whatever an earlier content or another program wrote."""
    day = MORNING.date()
    snooze = Snooze(
        id=1,
        card=card,
        scope=Scope.OPERATION,
        scope_key="operation",
        until=day + timedelta(days=9),
        reason="patient-declined",
    )
    held = held_cards(
        [snooze], {card: "uuid"}, operation="operation", as_of=day, knowledge=knowledge
    )
    assert (card in held) is is_held


def test_answer_to_a_card_that_is_not_there_any_more_disturbs_no_call(
    knowledge: Knowledge,
) -> None:
    """Its row is not met today, or newer content has no such card."""
    day = MORNING.date()
    rows = [
        Snooze(id=1, card=card, scope=Scope.CARD, scope_key="uuid", until=date.max, reason=ACCEPTED)
        for card in (SCAN, "IMG-GONE")
    ]
    uuids = {"SMOKE": "uuid"}
    assert held_cards(rows, uuids, operation=None, as_of=day, knowledge=knowledge) == {}
    chart = assessed(chart_of("no-relief"), knowledge, day)
    assert fulfilled(rows, chart, knowledge) == ()


@pytest.mark.parametrize(
    ("reason", "days"),
    [
        ("already-planned", 90),
        ("done-elsewhere", 90),
        ("patient-declined", 180),
        ("contraindicated", 365),
        ("will-re-examine-first", 14),
        ("not-clinically-indicated", 365),
        (None, 30),
        (ACCEPTED, 14),
    ],
)
def test_card_of_the_work_up_stays_away_for_the_days_of_the_reason(
    knowledge: Knowledge, reason: str | None, days: int
) -> None:
    """Each answer has its time, and none is for ever."""
    term = term_of("SMOKE", reason, knowledge)
    assert term is not None
    assert term.days == days


def test_red_flags_of_rows_1_to_4_are_never_held_back(knowledge: Knowledge) -> None:
    """An emergency is shown again whatever was answered; rows 5 to 9 come back within 14 days."""
    reasons = [None, ACCEPTED, *knowledge.snooze_days]
    by_row = {card.row: card.id for card in knowledge.cards.values()}
    for row in range(1, 5):
        assert [term_of(by_row[row], reason, knowledge) for reason in reasons] == [None] * 8
    for row in range(5, 10):
        terms = [term_of(by_row[row], reason, knowledge) for reason in reasons]
        assert all(term is not None and term.days <= 14 for term in terms)
        assert longest_days(by_row[row], knowledge) == 14


def test_card_on_unread_data_is_never_held_back(knowledge: Knowledge) -> None:
    """A gap is never left unsaid."""
    assert term_of("DATA-READ", "already-planned", knowledge) is None


def test_time_counts_from_the_action_but_not_from_a_day_to_come() -> None:
    """A client's clock that runs ahead by years holds no card back for years."""
    today = date(2026, 3, 1)
    assert last_day(date(2026, 2, 20), today, 14) == date(2026, 3, 6)
    assert last_day(date(2126, 3, 1), today, 14) == date(2026, 3, 15)


def test_override_holds_the_card_back_until_its_day_and_for_every_user(
    clinic: Clinic,
) -> None:
    """Set aside to examine again first, the card is away for 14 days and back on the 15th."""
    cards = clinic.open()
    before = [card_id(card) for card in cards]
    clinic.override(card_of(cards, SCAN), "will-re-examine-first")
    assert clinic.shown() == [name for name in before if name != SCAN]
    clinic.pass_time(days=13)
    assert SCAN not in clinic.shown()
    clinic.pass_time(days=1)
    assert SCAN in clinic.shown()


def test_answered_question_comes_back_when_an_emergency_hangs_on_it(clinic: Clinic) -> None:
    """Asked for the day of an operation of this month, the user put it off; then pain is severe."""
    patient: Json = {"operation": "discectomy", "operation date": "month"}
    calm = in_chart({**patient, "day": 4, "leg": {-40: 8, 3: 6}}, MORNING.date())
    [question] = clinic.open(prefetch=calm)
    assert card_id(question) == "DATA-DATE"
    clinic.override(question, "already-planned")
    assert clinic.shown(prefetch=calm) == []
    weak = {"day": 4, "side": "left", "muscle": "quadriceps", "grade": 4}
    severe = {**patient, "day": 4, "leg": {-40: 8, 3: 6, 4: 9}, "strength": [weak]}
    cards = clinic.open(prefetch=in_chart(severe, MORNING.date()))
    summary = card_of(cards, "DATA-DATE")["summary"]
    assert summary.endswith("urgent advice depends on it: Possible epidural haematoma.")


def test_held_back_card_is_in_the_ledger_with_its_reason(clinic: Clinic) -> None:
    """The count knows it, the reasoning says why, and the other cards keep their own orders."""
    clinic.override(card_of(clinic.open(), SCAN), "already-planned")
    cards = clinic.open()
    call = clinic.rows(CALL)[-1]
    rows = {r["card"]: r for r in clinic.rows(SHOWING) if r["call_id"] == call["id"]}
    held = rows.pop(SCAN)
    assert (held["state"], held["why"], held["suggestions"]) == ("held back", "overridden", None)
    offered = {name: list(json.loads(row["suggestions"] or "{}")) for name, row in rows.items()}
    assert any(offered.values())
    for card in cards:
        uuids = [each["uuid"] for each in card.get("suggestions", [])]
        assert offered[card_id(card)] == uuids
    row = next(row for row in json.loads(call["reasoning"]) if row["card"] == SCAN)
    assert row["verdict"] == "met"
    assert row["held_by"] == "a user has set the card aside; it comes back later"


def test_chart_whose_every_card_is_held_back_is_suppressed(clinic: Clinic) -> None:
    """Such a call is told apart from one with nothing to say."""
    for card in clinic.open():
        clinic.override(card, "patient-declined")
    assert clinic.open() == []
    assert clinic.rows(CALL)[-1]["outcome"] == "suppressed"


def test_held_back_card_takes_no_place_of_another(knowledge: Knowledge) -> None:
    """Snoozes apply before the cap: the card that was cut before now has its place."""
    options = CardOptions(
        client_id="a", public_base_url="https://cds.example", identity_key=b"k", max_cards=1
    )
    context = CardContext(patient_id=PERSONAS["no-relief"].patient_id)
    assessment = assessed(chart_of("no-relief"), knowledge, MORNING.date())
    before = render(assessment, knowledge, options, context)
    assert [card_id(card) for card in before.cards] == [SCAN]
    assert before.cut == {"PAIN-REF"}
    kept = showings_of(before, operation=None, is_silent=False)
    assert [(each.card, each.state.value, each.why) for each in kept] == [
        (SCAN, "shown", None),
        ("PAIN-REF", "cut", "cap"),
    ]
    after = render(assessment, knowledge, options, replace(context, held={SCAN: OVERRIDDEN}))
    assert [card_id(card) for card in after.cards] == ["PAIN-REF"]
    assert after.cut == frozenset()


def test_not_clinically_indicated_holds_only_while_the_facts_stay(clinic: Clinic) -> None:
    """A new fact behind the card makes it another card, and that one is shown."""
    card = card_of(clinic.open(), SCAN)
    clinic.override(card, "not-clinically-indicated")
    assert SCAN not in clinic.shown()
    assert clinic.rows(SNOOZE)[0]["scope"] == "card"
    chart = chart_of("no-relief")
    chart["scores"]["entry"].append({"resource": _another_score(chart)})
    assert SCAN in clinic.shown(prefetch=chart)


def test_scan_blocked_by_an_implant_comes_back_with_a_new_weakness(clinic: Clinic) -> None:
    """Not indicated for the pain of last month says nothing about a leg that is weak since."""
    blocked = card_of(clinic.open("pacemaker"), "IMG-ALT")
    clinic.override(blocked, "not-clinically-indicated")
    clinic.pass_time(days=30)
    assert "IMG-ALT" not in clinic.shown("pacemaker")
    chart = chart_of("pacemaker")
    patient, today = chart["patient"]["id"], clinic.clock[0].date()
    grades = [_weak_foot(patient, today - timedelta(days=days)) for days in (28, 2)]
    chart["findings"] = _bundle(*grades)
    assert "IMG-ALT" in clinic.shown(prefetch=chart)


def test_timed_reason_ends_with_another_operation(clinic: Clinic) -> None:
    """What was said about one operation says nothing about the next."""
    chart = chart_of("no-relief")
    clinic.override(card_of(clinic.open(), SCAN), "contraindicated")
    operation = chart["procedures"]["entry"][0]["resource"]
    day = date.fromisoformat(operation["performedDateTime"][:10])
    operation["performedDateTime"] = f"{day + timedelta(days=1)}"
    assert SCAN in clinic.shown(prefetch=chart)


@pytest.mark.parametrize("written", ["2026", "2026-03", {"start": "2026-02-27", "end": "2026-03"}])
def test_operation_dated_only_to_a_year_is_the_same_one_tomorrow(
    clinic: Clinic, written: object
) -> None:
    """Its last possible day is today, and moved on every day: the card set aside was back."""
    chart = chart_of("after-fusion")
    field = "performedDateTime" if isinstance(written, str) else "performedPeriod"
    operation = chart["procedures"]["entry"][0]["resource"]
    del operation["performedDateTime"]
    operation[field] = written
    clinic.override(card_of(clinic.open(prefetch=chart), "SMOKE"), "patient-declined")
    clinic.pass_time(days=1)
    assert "SMOKE" not in clinic.shown(prefetch=chart)


@pytest.mark.parametrize(
    ("persona", "name"), [("no-relief", SCAN), ("weakness-21-days", "EMG-MOTOR")]
)
def test_accepted_suggestion_holds_the_card_until_the_order_is_there(
    clinic: Clinic, persona: str, name: str
) -> None:
    """Accepted this morning, the card is away; with the order in the chart the table holds it."""
    card = card_of(clinic.open(persona), name)
    clinic.accept(card)
    assert name not in clinic.shown(persona)
    assert name not in clinic.shown(persona), "nor at the next opening"
    why = [row["why"] for row in clinic.rows(SHOWING) if row["card"] == name]
    assert why == [None, "accepted", "accepted"]
    assert name not in clinic.shown(prefetch=_with_order(persona, card))
    assert clinic.rows(SNOOZE) == []
    assert name in clinic.shown(persona)


def test_card_set_aside_stays_away_though_an_order_came_and_went(clinic: Clinic) -> None:
    """Only what was accepted waits for an order: planned for later is planned for later."""
    card = card_of(clinic.open(), SCAN)
    clinic.override(card, "already-planned")
    assert SCAN not in clinic.shown(prefetch=_with_order("no-relief", card))
    assert SCAN not in clinic.shown()


def _with_order(persona: str, card: Json) -> Json:
    """Return the prefetch of a patient with the first suggestion of *card* placed today."""
    chart = chart_of(persona)
    order = card["suggestions"][0]["actions"][0]["resource"]
    placed = {**order, "id": "o1", "status": "active", "authoredOn": "2026-03-01"}
    chart["serviceRequests"]["entry"].append({"resource": placed})
    return chart


def test_accepted_suggestion_whose_order_never_comes_lets_the_card_return(clinic: Clinic) -> None:
    """After 14 days without the order the card is shown again."""
    clinic.accept(card_of(clinic.open(), SCAN))
    clinic.pass_time(days=13)
    assert SCAN not in clinic.shown()
    chart = chart_of("no-relief")
    chart["scores"]["entry"].append({"resource": _another_score(chart)})
    assert SCAN not in clinic.shown(prefetch=chart), "nor with a new score"
    clinic.pass_time(days=1)
    assert SCAN in clinic.shown()


@pytest.mark.parametrize(
    ("name", "is_done"), [("IMG-MRI-DEF", False), ("IMG-MRI-DEF", True), ("SURG-REV", False)]
)
def test_weakness_that_is_newer_than_the_accepted_order_is_shown(
    clinic: Clinic, name: str, *, is_done: bool
) -> None:
    """The MRI and referral for the foot say nothing of a toe that is weak a week later."""
    chart = chart_of("no-relief")
    patient, today = chart["patient"]["id"], clinic.clock[0].date()
    chart["findings"] = _bundle(_weak_foot(patient, today))
    card = card_of(clinic.open(prefetch=chart), name)
    clinic.accept(card)
    order = card["suggestions"][0]["actions"][0]["resource"]
    placed = {**order, "id": "o1", "status": "active", "authoredOn": f"{today}"}
    chart["serviceRequests"]["entry"].append({"resource": placed})
    if is_done:
        placed["status"] = "completed"
        chart["diagnosticReports"]["entry"].append({"resource": _report_of(placed, today)})
    clinic.pass_time(days=7)
    weak_toe = _weak_foot(patient, clinic.clock[0].date(), "ehl")
    chart["findings"]["entry"].append({"resource": weak_toe})
    assert name in clinic.shown(prefetch=chart)
    assert clinic.rows(SNOOZE) == []


def test_accepted_blood_test_for_a_fever_does_not_hide_an_open_wound(clinic: Clinic) -> None:
    """The fever is gone when the wound opens five days later; nobody asked about the wound."""
    chart = chart_of("no-relief")
    patient, today = chart["patient"]["id"], clinic.clock[0].date()
    chart["findings"] = _bundle(_temperature(patient, today, 38.4))
    clinic.accept(card_of(clinic.open(prefetch=chart), "RF-INF-W"))
    clinic.pass_time(days=1)
    assert "RF-INF-W" not in clinic.shown(prefetch=chart)
    wound = {
        "resourceType": "Condition",
        "id": "wound",
        "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "225553008"}]},
        "onsetDateTime": f"{today + timedelta(days=5)}",
    }
    well = _temperature(patient, today + timedelta(days=1), 36.8)
    chart["findings"]["entry"].append({"resource": well})
    chart["conditions"]["entry"].append({"resource": wound})
    clinic.pass_time(days=4)
    assert "RF-INF-W" in clinic.shown(prefetch=chart)


def test_order_from_before_the_acceptance_does_not_bring_the_card_back(clinic: Clinic) -> None:
    """What was accepted is not yet in the chart; an older MRI that does not count stands there."""
    chart = chart_of("no-relief")
    patient, today = chart["patient"]["id"], clinic.clock[0].date()
    chart["findings"] = _bundle(_weak_foot(patient, today))
    older = {"code": {"coding": [{"system": "http://loinc.org", "code": "24968-0"}]}}
    report = _report_of({**older, "subject": {"reference": f"Patient/{patient}"}}, today)
    report["effectiveDateTime"] = f"{today - timedelta(days=1)}"
    chart["diagnosticReports"]["entry"].append({"resource": report})
    clinic.accept(card_of(clinic.open(prefetch=chart), "IMG-MRI-DEF"))
    assert "IMG-MRI-DEF" not in clinic.shown(prefetch=chart)


def test_emergency_is_shown_again_after_an_override(clinic: Clinic) -> None:
    """Cauda equina syndrome set aside with any reason is on the screen at the next opening."""
    [card, *_] = clinic.open("cauda-equina")
    assert card_id(card) == "RF-CES"
    clinic.override(card, "not-clinically-indicated")
    assert "RF-CES" in clinic.shown("cauda-equina")
    assert clinic.rows(SNOOZE) == []


def test_another_patient_of_the_same_persona_keeps_the_card(clinic: Clinic) -> None:
    """What was said of one patient holds for that patient only."""
    clinic.override(card_of(clinic.open(), SCAN), "already-planned")
    assert SCAN in clinic.shown(prefetch=chart_of("no-relief", "another"))


def _another_score(chart: Json) -> Resource:
    """Return a copy of the newest pain score, taken this morning."""
    scores = [entry["resource"] for entry in chart["scores"]["entry"]]
    score = next(each for each in scores if each["code"].get("text", "").startswith("Leg pain"))
    return {**score, "id": "newest", "effectiveDateTime": f"{MORNING:%Y-%m-%d}T06:00:00Z"}


def _bundle(*entries: Resource) -> Json:
    """Return a search result with *entries*."""
    found = [{"resource": entry} for entry in entries]
    return {"resourceType": "Bundle", "type": "searchset", "entry": found}


def _report_of(order: Resource, day: date) -> Resource:
    """Return the final report of what *order* asked for."""
    return {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "status": "final",
        "code": order["code"],
        "subject": order["subject"],
        "effectiveDateTime": f"{day}",
    }


def _temperature(patient: str, day: date, value: float) -> Resource:
    """Return a body temperature in degrees Celsius."""
    return {
        "resourceType": "Observation",
        "id": f"temperature-{day}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"{day}",
        "valueQuantity": {
            "value": value,
            "unit": "Cel",
            "system": "http://unitsofmeasure.org",
            "code": "Cel",
        },
    }


def _weak_foot(patient: str, day: date, muscle: str = "tibialis-anterior") -> Resource:
    """Return a grade of 4 of 5 for lifting the left foot, or for another *muscle*."""
    system = "http://post-laminectomy-cds.example/fhir/CodeSystem/finding"
    return {
        "resourceType": "Observation",
        "id": f"{muscle}-{day}",
        "status": "final",
        "code": {"coding": [{"system": system, "code": "mrc-grade"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"{day}",
        "bodySite": {"coding": [{"system": "http://snomed.info/sct", "code": "7771000"}]},
        "valueQuantity": {"value": 4},
        "component": [
            {
                "code": {"coding": [{"system": system, "code": "muscle"}]},
                "valueCodeableConcept": {"coding": [{"system": system, "code": muscle}]},
            }
        ],
    }
