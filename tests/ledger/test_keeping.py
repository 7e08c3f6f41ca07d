"""How long the ledger keeps what, who can read it, and what is never in it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import insert, select, text

from cds_service.cli import main
from cds_service.errors import SettingsError
from cds_service.ledger import migrating
from cds_service.ledger.keeping import forget_everything
from cds_service.ledger.migrating import HEAD, migrate, prepare
from cds_service.ledger.place import AT_LEISURE, FILE_NAME, LedgerPlace, ledger_place
from cds_service.ledger.tables import CALL, FEEDBACK, METADATA, SHOWING, SNOOZE
from cds_service.trust.config_ledger import LedgerSettings
from cds_service.trust.demo_profile import generate_demo_config
from tests.ledger.clinic import PERSONAS, Clinic, MakeClinic, chart_of, rows, state_files
from tests.ledger.test_waiting_calls import locked
from tests.ports import free_port


def test_what_is_older_than_its_time_is_deleted_and_the_rest_stays(clinic: Clinic) -> None:
    """Calls, cards and feedback go after retention_days; a snooze goes when it is over."""
    ledger = replace(clinic.ledger, retention_days=30)
    clinic.override(clinic.open()[0], "already-planned")
    clinic.override(clinic.open("late-stenosis")[0], "will-re-examine-first")
    clinic.pass_time(days=14)
    assert ledger.prune() == 0  # days are local: one more
    clinic.pass_time(days=-14)
    clinic.pass_time(days=29)
    clinic.open()
    assert ledger.prune() == 1  # the snooze of 14 days
    assert len(clinic.rows(CALL)) == 3
    clinic.pass_time(days=1)
    assert ledger.prune() == 0  # thirty days old, and not older
    clinic.pass_time(days=1)
    assert ledger.prune() == 4
    assert len(clinic.rows(CALL)) == 1
    assert {row["call_id"] for row in clinic.rows(SHOWING)} == {clinic.rows(CALL)[0]["id"]}
    assert clinic.rows(FEEDBACK) == []
    assert len(clinic.rows(SNOOZE)) == 1


def test_clock_that_is_years_ahead_deletes_nothing(clinic: Clinic) -> None:
    """A machine starts with a wrong clock: no call has confirmed it, so nothing is too old."""
    ledger = clinic.ledger
    assert ledger.prune(now=ledger.confirmed_now()) == 0
    clinic.override(clinic.open()[0], "already-planned")
    clinic.pass_time(days=1_100)
    assert ledger.prune(now=ledger.confirmed_now()) == 0
    clinic.open()
    assert ledger.prune(now=ledger.confirmed_now()) == 3
    assert len(clinic.rows(CALL)) == 1


def test_old_rows_are_deleted_a_part_at_a_time(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big ledger never stops the calls for long: each part is a transaction of its own."""
    monkeypatch.setattr("cds_service.ledger.keeping._ROWS_AT_ONCE", 10)
    for _ in range(25):
        clinic.open("resolved")
    clinic.pass_time(days=1_000)
    pauses: list[int] = []
    assert clinic.ledger.prune(lambda: pauses.append(1)) == 25
    assert len(pauses) == 3


def test_calls_that_wait_are_written_while_old_ones_are_deleted(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting the rows of a year may take minutes; nothing else waits for its end."""
    monkeypatch.setattr("cds_service.ledger.keeping._ROWS_AT_ONCE", 1)
    for _ in range(3):
        clinic.open("resolved")
    clinic.pass_time(days=1_000)
    with locked(clinic.place):
        clinic.open("resolved")
    waiting = [clinic.ledger.calls.waiting]

    def between() -> None:
        clinic.ledger.catch_up()
        waiting.append(clinic.ledger.calls.waiting)

    assert clinic.ledger.prune(between) == 3
    assert waiting[:2] == [1, 0]


def test_deleted_comment_is_in_no_file_while_the_service_runs(clinic: Clinic) -> None:
    """What a user wrote about somebody is gone when its time is over, not only out of sight."""
    assert clinic.place.file is not None
    folder = clinic.place.file.parent
    comment = {"overrideReason": {"userComment": "Mrs Canary told me so"}}
    clinic.send(clinic.item(clinic.open()[0], "overridden", **comment))
    assert b"Mrs Canary" in state_files(folder)
    clinic.pass_time(days=1_000)
    assert clinic.ledger.prune() > 0
    assert b"Mrs Canary" not in state_files(folder)


def test_nothing_of_a_patient_is_in_the_files_of_the_ledger(new_clinic: MakeClinic) -> None:
    """No id, name, date, comment of the chart, token or user is in any file of the state folder."""
    clinic = new_clinic()
    chart = chart_of("no-relief", "CanaryPatient77")
    chart["patient"].update({"name": [{"family": "CanaryFamily"}], "birthDate": "1961-07-23"})
    for number, entry in enumerate(chart["scores"]["entry"]):
        entry["resource"]["id"] = f"CanaryPatient77-{number}"
    for entry in chart["procedures"]["entry"]:
        entry["resource"]["note"] = [{"text": "CanaryNote"}]
        entry["resource"]["code"]["coding"].append({"system": "urn:x", "code": "Canary Code"})
    cards = clinic.open(prefetch=chart)
    clinic.accept(next(card for card in cards if card.get("suggestions")))
    clinic.override(cards[0], "patient-declined")
    clinic.ledger.close()
    assert clinic.place.file is not None
    kept = state_files(clinic.place.file.parent)
    assert cards[0]["uuid"].encode() in kept
    assert b"Observation/*-0" in kept
    days = {
        str(resource[key])[:10]
        for resource in PERSONAS["no-relief"].resources
        for key in ("performedDateTime", "effectiveDateTime", "onsetDateTime", "authoredOn")
        if key in resource
    }
    assert len(days) > 5
    for secret in ("Canary", "1961-07-23", "Practitioner/1", *sorted(days)):
        assert secret.encode() not in kept, secret


def test_demonstration_begins_with_an_empty_ledger(clinic: Clinic, tmp_path: Path) -> None:
    """Whoever shows it a second time does not meet the answers of the first; a new file is made."""
    clinic.override(clinic.open()[0], "already-planned")
    tables = (CALL, SHOWING, FEEDBACK, SNOOZE)
    assert all(clinic.rows(table) for table in tables)
    new = LedgerPlace(file=tmp_path / "new.sqlite3")
    for place in (clinic.place, new):
        forget_everything(place)
        assert [rows(place, table) for table in tables] == [[]] * 4


def test_ledger_file_is_for_the_service_only(clinic: Clinic) -> None:
    """Nobody else on the machine may read who answered what."""
    clinic.open()
    assert clinic.place.file is not None
    for path in clinic.place.file.parent.glob("ledger.sqlite3*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


A_SNOOZE = {
    "client": "ehr",
    "patient": "a" * 64,
    "card": "PT-REF",
    "scope": "operation",
    "scope_key": "b" * 64,
    "until": date(2026, 12, 1),
    "reason": "patient-declined",
    "feedback_id": 1,
}


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    """What the migrations make is what the program writes; the newest is the one it asks for."""
    place = LedgerPlace(file=tmp_path / "ledger.sqlite3")
    assert migrate(place)
    assert not migrate(place)
    engine = place.reader(AT_LEISURE)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()
    config = Config()
    folder = Path(migrating.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_ledger_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    """What was kept stays, and nothing but what is new is made."""
    place = LedgerPlace(file=tmp_path / "ledger.sqlite3")
    migrate(place)
    engine = place.writer(AT_LEISURE)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX feedback_call_id"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(insert(SNOOZE), A_SNOOZE)
    assert migrate(place)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.execute(select(SNOOZE.c.card)).scalar() == A_SNOOZE["card"]
    engine.dispose()


def test_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """An older program leaves a newer ledger alone and says so."""
    place = LedgerPlace(file=tmp_path / "ledger.sqlite3")
    migrate(place)
    engine = place.writer(AT_LEISURE)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SettingsError, match="newer version"):
        migrate(place)


def test_damaged_ledger_is_told_from_a_full_disk(tmp_path: Path) -> None:
    """The operator reads what to do with a file that is none of a database, at the start too."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database " * 1_000)
    said = prepare(LedgerPlace(file=tmp_path / FILE_NAME))
    assert said is not None
    assert "damaged (DatabaseError)" in said
    report = CliRunner().invoke(main, ["report", "--state-dir", str(tmp_path)])
    assert report.exit_code == 2
    assert "the file is whole" in report.output


def test_commands_migrate_and_prune(tmp_path: Path) -> None:
    """The operator's two commands say what they did."""
    runner = CliRunner()
    folder = ["--state-dir", str(tmp_path / "state")]
    first = runner.invoke(main, ["ledger", "migrate", *folder])
    assert first.exit_code == 0, first.output
    assert "were made or changed" in first.output
    assert "already" in runner.invoke(main, ["ledger", "migrate", *folder]).output
    pruned = runner.invoke(main, ["ledger", "prune", *folder])
    assert pruned.exit_code == 0, pruned.output
    assert "Deleted 0 rows older than 730 days" in pruned.output


def test_pruning_where_no_ledger_is_says_so_and_makes_none(tmp_path: Path) -> None:
    """Whoever mistypes the folder does not read that nothing was left to delete."""
    folder = tmp_path / "sate"
    pruned = CliRunner().invoke(main, ["ledger", "prune", "--state-dir", str(folder)])
    assert pruned.exit_code == 2
    assert "there is no ledger here" in pruned.output
    assert not folder.exists()


def test_pruning_a_ledger_of_a_newer_version_says_so(tmp_path: Path) -> None:
    """Whoever went back to the old version does not look for a full disk."""
    migrate(LedgerPlace(file=tmp_path / FILE_NAME))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file, file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    pruned = CliRunner().invoke(main, ["ledger", "prune", "--state-dir", str(tmp_path)])
    assert pruned.exit_code == 2
    assert "a newer version of this service made its tables" in pruned.output
    assert "disk is full" not in pruned.output


def test_migration_of_a_database_that_does_not_answer_ends_with_a_sentence(tmp_path: Path) -> None:
    """Whoever upgrades at night reads what to look at, not a hundred lines of a program."""
    path, _ = generate_demo_config(tmp_path, "http://127.0.0.1:9/fhir", "http://127.0.0.1:8080")
    ledger = f'[ledger]\nurl = "postgresql+pg8000://cds@127.0.0.1:{free_port()}/cds"\n'
    path.write_text(path.read_text(encoding="utf-8") + ledger, encoding="utf-8")
    (tmp_path / "folder" / "ledger.sqlite3").mkdir(parents=True)
    for place in (["--config", str(path)], ["--state-dir", str(tmp_path / "folder")]):
        result = CliRunner().invoke(main, ["ledger", "migrate", *place])
        assert result.exit_code == 2, result.output
        assert "the tables cannot be made or changed" in result.output


def test_ledger_that_cannot_be_opened_is_named_at_the_start(tmp_path: Path) -> None:
    """Whoever put back a copy that belongs to root reads which file, and what to look at."""
    file = tmp_path / FILE_NAME
    file.mkdir()
    lost = migrating.prepare(LedgerPlace(file=file))
    assert lost is not None
    assert str(file) in lost
    assert "(IsADirectoryError)" in lost
    assert "user can write the file" in lost


def test_url_that_is_none_is_refused_with_its_key(tmp_path: Path) -> None:
    """The sentence names the key and shows the form, never the value."""
    with pytest.raises(SettingsError, match=r"\[ledger\] url"):
        ledger_place(LedgerSettings(url="no url at all"), tmp_path)


@pytest.mark.parametrize(
    ("host", "encrypted"), [("127.0.0.1:5432", "no"), ("localhost", "no"), ("db.example", "yes")]
)
def test_database_on_another_host_is_reached_by_tls(
    tmp_path: Path, host: str, encrypted: str
) -> None:
    """What leaves this machine is encrypted and its receiver checked, unless the site says no."""
    url = f"postgresql+pg8000://cds@{host}/cds"
    place = ledger_place(LedgerSettings(url=url, password="p"), tmp_path)
    assert (place.tls is not None) is (encrypted == "yes")
    assert ledger_place(LedgerSettings(url=url, has_tls=False), tmp_path).tls is None
    assert "p" not in place.name.split()
