"""Why one call was answered as it was: on the command line and on the page for readers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cds_service.cli import main
from cds_service.knowledge.model import Knowledge
from tests.ledger.clinic import SERVICE, Clinic, chart_of, hook_call, make_clinic, new_uuid


def explain(clinic: Clinic, hook_instance: str, *more: str) -> Result:
    """Run the command on the clinic's ledger."""
    assert clinic.place.file is not None
    state = ("--state-dir", str(clinic.place.file.parent))
    return CliRunner().invoke(main, ["explain", hook_instance, *state, *more])


@pytest.fixture
def clinic(knowledge: Knowledge, tmp_path: Path) -> Clinic:
    """Return a clinic with a SQLite ledger."""
    return make_clinic(knowledge, state_dir=tmp_path)


def opened(clinic: Clinic, persona: str = "no-relief") -> tuple[str, list[dict[str, object]]]:
    """Open a chart; return the hookInstance and the cards."""
    name = new_uuid()
    answer = clinic.client.post(SERVICE, json=hook_call(chart_of(persona), name))
    return name, answer.get_json()["cards"]


def test_every_row_is_told_with_its_reasons_and_references(
    clinic: Clinic, knowledge: Knowledge
) -> None:
    """The analyst sees all rows, why each answered so, and on which entries it rests."""
    name, _ = opened(clinic)
    result = explain(clinic, name)
    assert result.exit_code == 0, result.output
    pattern = r"^([A-Z]+(?:-[A-Z]+)*) +(met|not met|cannot tell)"
    rows = re.findall(pattern, result.output, re.MULTILINE)
    assert len(rows) == len(knowledge.cards)
    assert re.search(r"^IMG-MRI-NR +met, shown: ", result.output, re.MULTILINE)
    assert re.search(r"rests on Observation/\S+", result.output)
    assert "offered mri-lumbar-without" in result.output
    assert f"digest {knowledge.digest[:12]}" in result.output


def test_answers_of_users_and_held_back_cards_are_told(clinic: Clinic) -> None:
    """Why a card did not come back is told by the answer that holds it."""
    name, cards = opened(clinic)
    clinic.override(cards[0], "patient-declined")
    clinic.pass_time(days=1)
    later, _ = opened(clinic)
    assert re.search(r"overridden \(patient-declined\) at 2026-03-01", explain(clinic, name).output)
    assert "held back: set aside by a user earlier" in explain(clinic, later).output


def test_explanation_as_json_is_whole(clinic: Clinic, knowledge: Knowledge) -> None:
    """A program reads the same facts."""
    name, _ = opened(clinic)
    [call] = json.loads(explain(clinic, name, "--format", "json").output)
    assert call["hook_instance"] == name
    assert call["knowledge_digest"] == knowledge.digest
    assert {row["card"] for row in call["rows"]} == set(knowledge.cards)


def test_call_nobody_made_is_said_so(clinic: Clinic) -> None:
    """A mistyped id is no empty explanation."""
    opened(clinic)
    result = explain(clinic, new_uuid())
    assert result.exit_code == 1
    assert "no call with this hookInstance" in result.output
    page = clinic.client.get(f"/explain/{new_uuid()}")
    assert page.status_code == 404
    assert "no call with this hookInstance" in page.text


def test_call_is_found_whichever_letters_its_id_has(clinic: Clinic) -> None:
    """An EHR that logs its ids in capitals means the same call."""
    name = new_uuid()
    clinic.client.post(SERVICE, json=hook_call(chart_of("no-relief"), name.upper()))
    assert f"Call {name} " in explain(clinic, name.upper()).output
    assert clinic.client.get(f"/explain/{name.upper()}").status_code == 200


def test_page_does_not_say_of_a_decompression_that_it_was_a_fusion(clinic: Clinic) -> None:
    """Beside "not met" stood "the operation was a fusion", as if that were the reason."""
    name, _ = opened(clinic)
    page = clinic.client.get(f"/explain/{name}").text
    rows = {row.partition('"')[0]: row for row in page.split("../guidance/")}
    assert "missing: the operation was a fusion" in rows["CT-FUSION"]
    assert "missing: " not in rows["IMG-MRI-NR"]
    assert "missing: " not in rows["PT-REF"]
    assert "held by: a recent therapy contact" in rows["PT-REF"]


def test_page_tells_the_same_and_shows_nothing_of_the_chart(clinic: Clinic) -> None:
    """Verdicts, reasons, references: no name, no date, no value, no patient id."""
    chart, name = chart_of("no-relief", "canary-77"), new_uuid()
    clinic.client.post(SERVICE, json=hook_call(chart, name))
    answer = clinic.client.get(f"/explain/{name}")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert 'href="../guidance/IMG-MRI-NR"' in answer.text
    assert "Offered mri-lumbar-without" in answer.text
    patient = chart["patient"]
    secrets = [patient["id"], patient["birthDate"], patient["name"][0]["family"]]
    assert not [secret for secret in secrets if secret in answer.text]
    chart_days = set(re.findall(r"20\d\d-\d\d-\d\d", json.dumps(chart["procedures"])))
    assert chart_days
    assert not [day for day in chart_days if day in answer.text]


def test_repeated_hook_instance_is_told_latest_first(clinic: Clinic) -> None:
    """An EHR that repeats an id gets every call explained."""
    name = new_uuid()
    for _ in range(2):
        clinic.client.post(SERVICE, json=hook_call(chart_of("no-relief"), name))
        clinic.pass_time(hours=1)
    page = clinic.client.get(f"/explain/{name}").text
    assert "used this hookInstance 2 times" in page
    assert page.index("10:00 UTC") < page.index("09:00 UTC")


def test_call_of_older_content_says_so(clinic: Clinic, tmp_path: Path) -> None:
    """The words of now may not be those of then."""
    from sqlalchemy import update  # noqa: PLC0415 - only here

    from cds_service.ledger.place import AT_LEISURE  # noqa: PLC0415
    from cds_service.ledger.tables import CALL  # noqa: PLC0415

    del tmp_path
    name, _ = opened(clinic)
    engine = clinic.place.writer(AT_LEISURE)
    with engine.begin() as connection:
        connection.execute(update(CALL).values(knowledge_digest="0" * 64))
    engine.dispose()
    assert "(not that of now)" in explain(clinic, name).output
