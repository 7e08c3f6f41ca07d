"""Silent mode: evaluated, recorded, not shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from cds_service import app as composition
from cds_service.ledger.patients import is_silent, patient_key
from cds_service.ledger.tables import CALL, SHOWING
from cds_service.trust.profile import CardPreferences, ClientProfile, Role, dev_profile
from tests.ledger.clinic import SERVICE, Clinic, MakeClinic, card_id, chart_of, hook_call

Wishing = Callable[[CardPreferences], Clinic]


@pytest.fixture
def wishing(new_clinic: MakeClinic, monkeypatch: pytest.MonkeyPatch) -> Wishing:
    """Return a maker of clinics, each a minute later, whose EHR wants its cards in some way."""
    made: list[Clinic] = []

    def make(cards: CardPreferences) -> Clinic:
        def profile(**_: object) -> ClientProfile:
            return replace(dev_profile(), cards=cards)

        monkeypatch.setattr(composition, "dev_profile", profile)
        clinic = new_clinic()
        made.append(clinic)
        clinic.pass_time(minutes=len(made))
        return clinic

    return make


def test_silent_client_gets_no_card_and_every_card_is_recorded(wishing: Wishing) -> None:
    """Before go-live the site sees what would fire, and no user sees anything."""
    live = wishing(CardPreferences()).shown()
    clinic = wishing(CardPreferences(silent_percent=100))
    assert clinic.open() == []
    call = clinic.rows(CALL)[-1]
    assert call["is_silent"]
    assert call["outcome"] == "fired"
    silent = [row for row in clinic.rows(SHOWING) if row["call_id"] == call["id"]]
    assert {row["card"] for row in silent if row["state"] == "silent"} == set(live)
    assert {row["why"] for row in silent if row["state"] == "silent"} == {"silent patient"}
    assert any(json.loads(row["suggestions"] or "{}") for row in silent)


def test_silent_card_is_recorded_and_the_others_are_shown(wishing: Wishing) -> None:
    """One new card can be watched alone."""
    live = wishing(CardPreferences()).shown()
    clinic = wishing(CardPreferences(silent_cards=frozenset({live[0]})))
    assert clinic.shown() == live[1:]
    states = {row["card"]: (row["state"], row["why"]) for row in clinic.rows(SHOWING)[-len(live) :]}
    assert states[live[0]] == ("silent", "silent card")
    assert states[live[1]] == ("shown", None)


def test_card_switched_off_is_recorded_as_switched_off(wishing: Wishing) -> None:
    """The count tells a card that is switched off from one that has gone quiet."""
    live = wishing(CardPreferences()).shown()
    clinic = wishing(CardPreferences(disabled_cards=frozenset({live[0]})))
    assert clinic.shown() == live[1:]
    states = {row["card"]: row["state"] for row in clinic.rows(SHOWING)[-len(live) :]}
    assert states[live[0]] == "switched off"


def test_share_of_patients_is_silent_and_each_patient_stays_on_one_side(wishing: Wishing) -> None:
    """Of 40 patients about half are silent; a second opening finds each as before."""
    clinic = wishing(CardPreferences(silent_percent=50))
    patients = [f"patient-{number}" for number in range(40)]
    first = [bool(clinic.open(prefetch=chart_of("no-relief", each))) for each in patients]
    second = [bool(clinic.open(prefetch=chart_of("no-relief", each))) for each in patients]
    assert first == second
    assert 10 <= sum(first) <= 30


def test_lower_share_only_adds_patients_who_see_cards() -> None:
    """Nobody who saw cards stops seeing them while a site goes live step by step."""
    keys = [patient_key(b"k", client_id="a", patient_id=str(number)) for number in range(2_000)]
    silent = [{key for key in keys if is_silent(key, percent)} for percent in (0, 20, 70, 100)]
    assert silent[0] == set()
    assert silent[1] < silent[2] < silent[3] == set(keys)
    assert abs(len(silent[1]) - 400) < 80


def test_card_hidden_from_a_role_is_recorded_with_the_role(
    new_clinic: MakeClinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers can be told apart by role, and a card kept from a role has not gone quiet."""
    role = Role(
        name="physiotherapist",
        codes=frozenset({"urn:roles|physio"}),
        hidden_cards=frozenset({"PAIN-REF"}),
    )
    profile = replace(dev_profile(), roles=(role,))
    monkeypatch.setattr(composition, "dev_profile", lambda **_: profile)
    clinic = new_clinic()
    user = {
        "resourceType": "PractitionerRole",
        "id": "7",
        "code": [{"coding": [{"system": "urn:roles", "code": "physio"}]}],
    }
    body = hook_call({**chart_of("no-relief"), "user": user})
    body["context"]["userId"] = "PractitionerRole/7"
    cards = clinic.client.post(SERVICE, json=body).get_json()["cards"]
    assert "PAIN-REF" not in [card_id(card) for card in cards]
    assert clinic.rows(CALL)[0]["role"] == "physiotherapist"
    states = {row["card"]: (row["state"], row["why"]) for row in clinic.rows(SHOWING)}
    assert states["PAIN-REF"] == ("withheld from role", "role")
