"""The same ledger in PostgreSQL, shared by services on several hosts."""

from __future__ import annotations

import dataclasses
import gc
import io
import ssl
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import requests
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from msgspec.structs import replace
from sqlalchemy import insert, text
from structlog.testing import capture_logs

from cds_service.app import system_now
from cds_service.cli import main
from cds_service.commands import ledger_reading
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database, LedgerLostError
from cds_service.ledger.feedback import FeedbackLedger
from cds_service.ledger.migrating import migrate, prepare
from cds_service.ledger.place import AT_LEISURE, CALLS, LedgerPlace
from cds_service.ledger.quickly import RowRefusedError
from cds_service.ledger.tables import CALL, FEEDBACK, METADATA, SNOOZE
from cds_service.logging_setup import set_up_logging
from cds_service.reporting.watching import SLOW_MS
from cds_service.turns import Turns
from tests.fhir.test_secure_connections import OWN_ADDRESS, certified
from tests.ledger.clinic import SERVICE, Json, card_id, chart_of, rows
from tests.ledger.postgres import PASSWORD, Postgres
from tests.ledger.served import Site, fresh_call, make_site, override
from tests.ledger.test_faults import now
from tests.ledger.test_waiting_calls import CALL_RECORD
from tests.patience import until

pytestmark = [
    pytest.mark.integration,
    # the driver leaves its socket open when the database is late
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
READER = "a-reader-of-this-test-and-nobody-else"


@pytest.fixture(autouse=True)
def _sockets_left_open() -> Iterator[None]:
    """Let the driver's sockets end with the test that left them, while they are ignored."""
    yield
    gc.collect()


@pytest.fixture
def place(postgres: Postgres) -> LedgerPlace:
    """Return a database of its own, its tables made."""
    place = LedgerPlace(url=postgres.new_database(), password=PASSWORD)
    assert migrate(place)
    return place


@pytest.fixture
def hosts(tmp_path: Path, place: LedgerPlace) -> Iterator[tuple[Site, Site]]:
    """Run two services, each with a state folder of its own, on one database."""
    sites = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "password").write_text(PASSWORD + "\n")
        lines = f'url = "{place.url}"\npassword_file = "password"'
        sites.append(make_site(folder, ledger=lines))
        sites[-1].place = place
    sites[1].ehrs = {name: sites[0].ehrs[name] for name in sites[0].ehrs}
    sites[1].config = sites[0].config.replace(str(sites[0].port), str(sites[1].port))
    with sites[0].running(), sites[1].running():
        yield sites[0], sites[1]


def post(site: Site, body: Json) -> int:
    """Call one of two hosts, whose tokens are addressed to it."""
    url = f"http://127.0.0.1:{site.port}/cds-services/post-laminectomy-evaluation"
    return site.post(body, ehr="north", aud=url).status_code


def has_written(ledger: CallLedger) -> bool:
    """Write what a busy machine left waiting; return whether nothing waits any more."""
    ledger.write_waiting(insists=True)
    return not ledger.waiting


def test_tables_are_those_the_code_knows(place: LedgerPlace) -> None:
    """The migrations and the tables of the program agree, and a second run changes nothing."""
    assert not migrate(place)
    engine = place.reader(AT_LEISURE)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_service_does_not_start_before_the_tables_are_made(postgres: Postgres) -> None:
    """The operator is told which command to run."""
    place = LedgerPlace(url=postgres.new_database(), password=PASSWORD)
    with pytest.raises(SettingsError, match="cds-service ledger migrate"):
        prepare(place)


def test_others_compute_while_a_call_waits_for_a_database_elsewhere(
    place: LedgerPlace, tmp_path: Path
) -> None:
    """A file is read at once, so its turn is kept; for PostgreSQL it is given back meanwhile."""
    rests: list[LedgerPlace] = []
    for each in (place, LedgerPlace(file=tmp_path / "ledger.sqlite3")):
        database = Database(each)
        with Turns(on_rest=lambda each=each: rests.append(each)).turn(0.0):  # type: ignore[misc]
            assert CallLedger(database).snoozes("nobody") == ()
        database.close()
    assert rests == [place]


@pytest.fixture
def certificate(postgres: Postgres, tmp_path: Path) -> Iterator[Path]:
    """Let the server speak TLS while the test runs; return who vouches for it."""
    file, key = certified(tmp_path, OWN_ADDRESS)
    postgres.speak_tls(file, key)
    yield file
    postgres.speak_tls(None, None)


def test_ledger_on_another_host_is_encrypted_and_knows_its_server(
    place: LedgerPlace, certificate: Path
) -> None:
    """A call is kept over TLS by who trusts the server's certificate, and by nobody else."""
    trusting = dataclasses.replace(place, tls=ssl.create_default_context(cafile=certificate))
    engine = trusting.reader(AT_LEISURE)
    with engine.connect() as connection:
        asked = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert connection.execute(asked).scalar()
    engine.dispose()
    for tls, kept in ((trusting.tls, 1), (ssl.create_default_context(), 0)):
        ledger = CallLedger(Database(dataclasses.replace(place, tls=tls)))
        ledger.keep(CALL_RECORD)
        if kept:
            assert until(partial(has_written, ledger))
        assert ledger.counts.kept == kept
        assert ledger.waiting == 1 - kept
        ledger.database.close()


def test_operator_with_the_wrong_authority_is_told_where_to_look(
    place: LedgerPlace, certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The tables cannot be made, because nobody we trust vouches for the server."""
    del certificate
    wrong = dataclasses.replace(place, tls=ssl.create_default_context())
    monkeypatch.setattr("cds_service.commands.ledger.place_of_ledger", lambda *_: wrong)
    config = tmp_path / "cds.toml"
    config.write_text(make_site(tmp_path).config)
    result = CliRunner().invoke(main, ["ledger", "migrate", "--config", str(config)])
    assert result.exit_code == 2
    assert "SSLCertVerificationError" in result.output
    assert "ca_file" in result.output


@pytest.mark.parametrize(
    ("password", "database", "code"), [("wrong", "", "28P01"), (PASSWORD, "x", "3D000")]
)
def test_wrong_password_is_no_reason_not_to_start(
    place: LedgerPlace, password: str, database: str, code: str
) -> None:
    """A database that lets nobody in is a lost ledger, not a fault of the start.

    The operator reads SQL's code for why: a password, a name, a right; the driver has one word.
    """
    lost_place = LedgerPlace(url=f"{place.url}{database}", password=password)
    lost = prepare(lost_place)
    assert lost is not None
    assert f"[ledger], cannot be opened now (ProgrammingError {code})" in lost
    with capture_logs() as log, pytest.raises(LedgerLostError):
        Database(lost_place).read(lambda _: None)
    assert f"ProgrammingError {code}" in {line.get("exception") for line in log}
    assert prepare(place) is None


def test_override_on_one_host_holds_the_card_back_on_the_other(
    hosts: tuple[Site, Site], knowledge: Knowledge
) -> None:
    """Two hosts behind one address are one service to the users."""
    del knowledge
    first, second = hosts
    url = f"http://127.0.0.1:{second.port}/cds-services/post-laminectomy-evaluation"
    cards = first.open().json()["cards"]
    assert first.feedback(override(cards[0], now())).status_code == 200
    asked = [first]

    def is_held_back() -> bool:
        asked.append(second)
        again = second.post(fresh_call_for("no-relief"), ehr="north", aud=url).json()["cards"]
        return [card_id(card) for card in again] == [card_id(card) for card in cards[1:]]

    assert until(is_held_back)
    assert until(lambda: len(rows(first.place, CALL)) == len(asked))
    assert len(rows(first.place, SNOOZE)) == 1


def test_answer_kept_on_one_host_while_the_call_waits_on_the_other_holds_the_card_back(
    hosts: tuple[Site, Site],
) -> None:
    """The database takes no call for a moment, and the answer of the user is not lost by that."""
    first, second = hosts
    address = f"http://127.0.0.1:{second.port}/cds-services/post-laminectomy-evaluation"
    engine = first.place.writer(AT_LEISURE)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE call IN SHARE MODE"))
        cards = first.open().json()["cards"]
        sent = second.post(
            {"feedback": [override(cards[0], now())]},
            ehr="north",
            path=f"{SERVICE}/feedback",
            aud=f"{address}/feedback",
        )
        assert sent.status_code == 200
        assert [row["call_id"] for row in rows(first.place, FEEDBACK)] == [None]
    engine.dispose()
    assert until(lambda: len(rows(first.place, SNOOZE)) == 1)
    shown = [card_id(card) for card in first.open().json()["cards"]]
    assert shown == [card_id(card) for card in cards[1:]]


def test_slow_look_for_such_answers_shows_no_card_that_is_held_back(
    place: LedgerPlace, knowledge: Knowledge
) -> None:
    """It may take as long as feedback may; what calls read is not taken for lost by that."""
    calls = CallLedger(Database(place))
    calls.prepare()
    feedback = FeedbackLedger(
        calls,
        knowledge,
        now=system_now,
        keeps_comments=False,
        key=lambda: b"of a test only",
        client_of=lambda _: None,
    )
    engine = place.writer(AT_LEISURE)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE feedback"))
        looking = Thread(target=feedback.settle)
        looking.start()
        looking.join(timeout=CALLS.seconds * 6)
    looking.join()
    engine.dispose()
    calls.snoozes("nobody")
    assert calls.counts.snoozes_unread == 0
    calls.database.close()


def fresh_call_for(persona: str) -> Json:
    """Return a call about one persona."""
    from tests.ledger.clinic import hook_call  # noqa: PLC0415 - only here

    return hook_call(chart_of(persona))


def test_database_that_stops_costs_no_answer_and_is_used_again_when_it_is_back(
    hosts: tuple[Site, Site], postgres: Postgres
) -> None:
    """While the database is down calls are answered, cards shown, and feedback refused."""
    first, second = hosts
    card = first.open().json()["cards"][0]
    assert first.feedback(override(card, now())).status_code == 200
    postgres.stop()
    try:
        calls = [fresh_call() for _ in range(10)]
        assert [first.post(call, ehr="north").status_code for call in calls] == [200] * 10
        shown = [card_id(each) for each in first.open().json()["cards"]]
        assert card_id(card) in shown
        assert first.feedback(override(card, now())).status_code == 503
        assert first.health().startswith("cannot be written")
    finally:
        postgres.start()
    assert until(lambda: first.health() == "in order")
    names = {call["hookInstance"] for call in calls}
    assert until(lambda: names <= {row["hook_instance"] for row in rows(first.place, CALL)})
    assert first.feedback(override(card, now())).status_code == 200
    assert post(second, fresh_call()) == 200
    assert len(rows(first.place, FEEDBACK)) == 2


def test_connection_the_database_gave_up_is_no_fault_for_the_log(place: LedgerPlace) -> None:
    """A firewall or the server cuts idle connections; the next use opens one, nothing is lost."""
    log = io.StringIO()
    set_up_logging(stream=log)
    idle, other = place.reader(AT_LEISURE), place.reader(AT_LEISURE)
    own = text("SELECT pg_backend_pid()")
    with idle.connect() as connection:
        process = connection.execute(own).scalar()
    with other.connect() as connection:
        end = text("SELECT pg_terminate_backend(:process, 10000)")  # and wait until it has ended
        assert connection.execute(end, {"process": process}).scalar()
    with idle.connect() as connection:
        assert connection.execute(own).scalar() != process
    set_up_logging()
    assert not log.getvalue()
    for engine in (idle, other):
        engine.dispose()


@pytest.mark.parametrize(("seconds", "processes"), [(175, 1), (181, 2)])
def test_connection_is_used_for_three_minutes(
    place: LedgerPlace, monkeypatch: pytest.MonkeyPatch, seconds: int, processes: int
) -> None:
    """A firewall forgets one that is silent for four minutes, and tells nobody."""
    engine, own = place.reader(AT_LEISURE), text("SELECT pg_backend_pid()")
    with engine.connect() as connection:
        found = {connection.execute(own).scalar()}
    later = SimpleNamespace(time=lambda: time.time() + seconds)
    monkeypatch.setattr("sqlalchemy.pool.base.time", later)
    with engine.connect() as connection:
        found.add(connection.execute(own).scalar())
    assert len(found) == processes
    engine.dispose()


def test_row_the_database_refuses_costs_no_other(place: LedgerPlace) -> None:
    """One call that cannot be kept does not keep all later ones waiting, and is said."""
    ledger = CallLedger(Database(place))
    with capture_logs() as logs:
        for call in (CALL_RECORD, replace(CALL_RECORD, role="r" * 65), CALL_RECORD):
            ledger.keep(call)
        assert until(partial(has_written, ledger))
    assert (ledger.waiting, ledger.counts.kept, ledger.counts.lost) == (0, 2, 1)
    assert ledger.database.is_writable
    assert {"event": "calls_lost", "log_level": "error", "calls": 1} in logs
    assert [log["event"] for log in logs].count("calls_lost") == 1
    ledger.database.close()


def test_feedback_the_database_refuses_leaves_the_ledger_in_order(place: LedgerPlace) -> None:
    """Only the feedback that cannot be kept is refused; health and other calls do not suffer."""
    database = Database(place)
    with pytest.raises(RowRefusedError):
        database.write_feedback(
            lambda connection: connection.execute(insert(SNOOZE), {"client": "c" * 65})
        )
    assert database.is_writable
    database.close()


def test_database_that_hangs_delays_no_answer_but_the_first(
    hosts: tuple[Site, Site], postgres: Postgres
) -> None:
    """Its host takes connections and nothing answers: calls do not wait for it again and again."""
    first, _ = hosts
    first.open()
    calls = [fresh_call() for _ in range(30)]
    took = []
    with postgres.hanging():
        for call in calls:
            begun = time.monotonic()
            assert first.post(call, ehr="north").status_code == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.1)  # long enough for several attempts to find the database again
        assert first.health().startswith("cannot be written")
    assert len([seconds for seconds in took if seconds > SLOW_MS / 1000]) <= len(calls) / 5
    assert until(lambda: first.health() == "in order")
    names = {call["hookInstance"] for call in calls}
    assert until(lambda: names <= {row["hook_instance"] for row in rows(first.place, CALL)})


def test_metrics_tell_of_a_database_that_hangs(
    tmp_path: Path, place: LedgerPlace, postgres: Postgres
) -> None:
    """Whoever watches must hear of it, so the answer does not wait for the database."""
    for name, secret in (("password", PASSWORD), ("token", READER)):
        (tmp_path / name).write_text(secret + "\n")
    (tmp_path / "token").chmod(0o600)
    lines = f'''url = "{place.url}"\npassword_file = "password"
[metrics]\ntoken_file = "token"\n[explain]\ntoken_file = "token"'''
    site = make_site(tmp_path, ledger=lines)

    def read(address: str) -> requests.Response:
        return requests.get(
            f"http://127.0.0.1:{site.port}{address}",
            headers={"Authorization": f"Bearer {READER}"},
            timeout=20,
        )

    with site.running():
        site.open()
        with postgres.hanging():
            metrics = read("/metrics")
            explained = read(f"/explain/{fresh_call()['hookInstance']}")
    assert metrics.status_code == 200
    assert "\ncds_alarms_readable 0.0\n" in metrics.text
    assert explained.status_code == 503


@pytest.mark.parametrize("command", ["report", "explain d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"])
def test_command_on_a_database_that_hangs_ends_with_a_sentence(
    command: str,
    tmp_path: Path,
    place: LedgerPlace,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever wants the numbers reads what to look at, not a hundred lines of a program."""
    monkeypatch.setattr(ledger_reading, "AT_LEISURE", CALLS)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    site = make_site(tmp_path, ledger=f'url = "{place.url}"\npassword_file = "password"')
    config = tmp_path / "cds.toml"
    config.write_text(site.config)
    with warnings.catch_warnings(), postgres.hanging():
        warnings.simplefilter("ignore", ResourceWarning)  # the driver leaves its socket open
        result = CliRunner().invoke(main, [*command.split(), "--config", str(config)])
        said = (result.exit_code, result.output)
        del result
        gc.collect()
    assert said[0] == 2
    assert "the ledger cannot be read (TimeoutError)" in said[1]


def test_no_acknowledged_feedback_is_lost_when_a_service_is_killed(
    hosts: tuple[Site, Site],
) -> None:
    """What was answered with 200 is in the database, although the service was killed after it.

    Calls that a busy database kept waiting too long, as the log then says, waited in memory by
    design.
    """
    first, _ = hosts
    items = [override({"uuid": fresh_call()["hookInstance"]}, now()) for _ in range(20)]
    calls = [fresh_call() for _ in range(20)]
    for item, call in zip(items, calls, strict=True):
        assert first.feedback(item).status_code == 200
        assert first.post(call, ehr="north").status_code == 200
    first.kill()
    assert first.service is not None
    was_busy = "ledger_lost" in first.service.log.read_text()
    assert {item["card"] for item in items} <= {r["card_uuid"] for r in rows(first.place, FEEDBACK)}
    kept = {row["hook_instance"] for row in rows(first.place, CALL)}
    assert was_busy or {call["hookInstance"] for call in calls} <= kept
