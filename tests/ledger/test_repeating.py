"""A card that only reminds comes once in thirty days, and never during a stay in hospital."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from cds_service import app as composition
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database
from cds_service.ledger.migrating import migrate
from cds_service.ledger.place import LedgerPlace
from cds_service.ledger.records import milliseconds
from cds_service.ledger.tables import CALL, SHOWING
from cds_service.trust.profile import CardPreferences, ClientProfile, dev_profile
from tests.ledger.clinic import (
    MORNING,
    SERVICE,
    Clinic,
    Json,
    MakeClinic,
    card_id,
    chart_of,
    hook_call,
)
from tests.ledger.postgres import PASSWORD, Postgres
from tests.ledger.test_quickly import SHOWN
from tests.ledger.test_waiting_calls import CALL_RECORD

REMINDER = "DATA-PAIN"
TODAY = MORNING.date()


def unscored_chart(patient: str | None = None) -> Json:
    """Return the chart of someone operated 60 days ago whose pain nobody measured."""
    found = chart_of("no-relief", patient)
    operation = found["procedures"]["entry"][0]["resource"]
    operation["performedDateTime"] = f"{TODAY - timedelta(days=60)}"
    for key, value in found.items():
        if key not in {"patient", "procedures"} and value is not None:
            value["entry"] = []
    return found


def with_visit(found: Json, visit_class: str) -> Json:
    """Return *found* with a visit of this class."""
    visit = {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "in-progress",
        "class": {"code": visit_class},
        "subject": {"reference": f"Patient/{found['patient']['id']}"},
        "period": {"start": f"{TODAY}"},
    }
    listed = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": visit}]}
    return {**found, "encounters": listed}


def reminded(clinic: Clinic, found: Json, encounter: str | None = None) -> bool:
    """Open a chart, from an encounter if one is given; return whether the reminder is shown."""
    call = hook_call(found)
    if encounter is not None:
        call["context"]["encounterId"] = encounter
    answer = clinic.client.post(SERVICE, json=call)
    assert answer.status_code == 200, answer.text
    return REMINDER in [card_id(card) for card in answer.get_json()["cards"]]


def test_missing_score_is_asked_for_again_on_the_30th_day_and_not_on_the_29th(
    clinic: Clinic,
) -> None:
    """Who has read it yesterday does not read it today."""
    found = unscored_chart()
    assert reminded(clinic, found)
    for _ in range(29):
        clinic.pass_time(days=1)
        assert not reminded(clinic, found)
    clinic.pass_time(days=1)
    assert reminded(clinic, found)


def test_missing_score_is_asked_for_all_day_long(clinic: Clinic) -> None:
    """A chart opened twice on one day has the same cards twice."""
    found = unscored_chart()
    assert reminded(clinic, found)
    clinic.pass_time(hours=14, minutes=59)
    assert reminded(clinic, found)
    clinic.pass_time(minutes=1)
    assert not reminded(clinic, found)


def test_days_between_reminders_are_those_of_the_clinic(
    new_clinic: MakeClinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At eleven in the evening by UTC it is tomorrow in Berlin."""

    def berlin(**_: object) -> ClientProfile:
        return replace(dev_profile(), time_zone=ZoneInfo("Europe/Berlin"))

    monkeypatch.setattr(composition, "dev_profile", berlin)
    clinic = new_clinic()
    found = unscored_chart()
    clinic.pass_time(hours=13, minutes=59)
    assert reminded(clinic, found)
    clinic.pass_time(minutes=1)
    assert not reminded(clinic, found)


def test_held_reminder_says_why_and_leaves_the_call_suppressed(clinic: Clinic) -> None:
    """The reasoning, the count of cards and the outcome all tell it."""
    found = unscored_chart()
    reminded(clinic, found)
    clinic.pass_time(days=1)
    reminded(clinic, found)
    call = clinic.rows(CALL)[-1]
    assert call["outcome"] == "suppressed"
    [held] = [row for row in clinic.rows(SHOWING) if row["call_id"] == call["id"]]
    assert (held["card"], held["state"], held["why"]) == (REMINDER, "held back", "shown lately")
    row = next(row for row in json.loads(call["reasoning"]) if row["card"] == REMINDER)
    assert row["verdict"] == "met"
    assert row["held_by"].startswith("a reminder that was shown on an earlier day")


def test_reminder_to_one_patient_says_nothing_about_another(clinic: Clinic) -> None:
    """Each patient has their own thirty days."""
    reminded(clinic, unscored_chart())
    clinic.pass_time(days=1)
    assert reminded(clinic, unscored_chart("another"))


def test_reminder_that_nobody_saw_does_not_count(
    new_clinic: MakeClinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded in silent mode was not shown."""
    for percent, day, is_shown in ((100, 0, False), (0, 1, True), (0, 2, False)):
        cards = CardPreferences(silent_percent=percent)
        wishing = replace(dev_profile(), cards=cards)
        monkeypatch.setattr(composition, "dev_profile", lambda wishing=wishing, **_: wishing)
        clinic = new_clinic()
        clinic.pass_time(days=day)
        assert reminded(clinic, unscored_chart()) is is_shown


@pytest.mark.parametrize(
    ("visit_class", "is_shown"),
    [("IMP", False), ("ACUTE", False), ("AMB", True), ("EMER", True), ("unheard-of", True)],
)
def test_missing_score_is_not_asked_for_in_hospital(
    clinic: Clinic, visit_class: str, *, is_shown: bool
) -> None:
    """On the ward other things matter; a visit of an unknown kind may be one to the clinic."""
    found = with_visit(unscored_chart(), visit_class)
    assert reminded(clinic, found, "visit") is is_shown


def test_only_the_encounter_of_the_call_counts(clinic: Clinic) -> None:
    """A stay in hospital on record says nothing about today's visit."""
    found = with_visit(unscored_chart(), "IMP")
    assert reminded(clinic, found, "another-visit")
    assert reminded(clinic, found)


def test_reminder_is_shown_while_the_ledger_cannot_be_read(tmp_path: Path) -> None:
    """A lost ledger holds nothing back, and the loss is counted."""
    (tmp_path / "state").write_text("in the way")
    ledger = CallLedger(Database(LedgerPlace(file=tmp_path / "state" / "ledger.sqlite3")))
    assert not ledger.was_shown(SHOWN.card_uuid, MORNING - timedelta(days=9), MORNING)
    assert ledger.counts.snoozes_unread == 1


@pytest.mark.integration
def test_hosts_that_share_a_database_share_what_was_shown(postgres: Postgres) -> None:
    """A moment at which it was shown counts from the first one on and before the last one."""
    place = LedgerPlace(url=postgres.new_database(), password=PASSWORD)
    migrate(place)
    database = Database(place)
    ledger = CallLedger(database)
    ledger.keep(structs.replace(CALL_RECORD, received_at=milliseconds(MORNING), showings=(SHOWN,)))
    moment = timedelta(milliseconds=1)
    assert ledger.was_shown(SHOWN.card_uuid, MORNING, MORNING + moment)
    assert not ledger.was_shown(SHOWN.card_uuid, MORNING - moment, MORNING)
    assert not ledger.was_shown(SHOWN.card_uuid, MORNING + moment, MORNING + 2 * moment)
    assert not ledger.was_shown("another", MORNING, MORNING + moment)
    database.close()
