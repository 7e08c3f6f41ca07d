"""The metrics: what is counted, who may read it, over several processes and a kill."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry, Counter, Gauge
from structlog.testing import capture_logs

from cds_service.app import create_app
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.migrating import migrate
from cds_service.settings import Settings
from cds_service.trust.config import load_config
from cds_service.web.shared_metrics import SharedMetrics, forget_ended_processes
from cds_service.web.versions import own_version
from tests.ledger.clinic import chart_of, hook_call, make_clinic, new_uuid
from tests.locked_file import locked_file
from tests.patience import PATIENT_SECONDS, until
from tests.ports import free_port
from tests.reporting.conftest import PULL
from tests.reporting.simulated import (
    AFTERWARDS,
    FIRST_DAY,
    LAST_DAY,
    Simulation,
    broken,
    days,
    empty_ledger,
)
from tests.security.lab import Ehr, Service, running_service

TOKEN = "0123456789abcdef0123456789abcdef"
SEARCH = f'base="{PULL.base}",client="ehr-a",key="scores"'


def value(text: str, series: str) -> float:
    """Return the value of one series."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, f"{series} is not in the metrics"
    return float(found[1])


def test_everything_that_happens_is_counted(everything: str) -> None:
    """A call, its card, its missing part, its codes, its failed rule, its answer, its search."""
    expected = {
        'cds_hook_calls_total{client="ehr-a",outcome="fired",status="200"}': 1,
        'cds_hook_call_seconds_bucket{client="ehr-a",le="0.025"}': 1,
        'cds_hook_call_seconds_bucket{client="ehr-a",le="0.01"}': 0,
        'cds_hook_step_seconds_sum{step="gateway"}': 0.018,
        'cds_cards_total{card="PT-REF",client="ehr-a",indicator="info",state="shown"}': 1,
        'cds_unread_parts_total{client="ehr-a",key="scores"}': 1,
        'cds_calls_with_unknown_codes_total{client="ehr-a"}': 1,
        'cds_rule_failures_total{card="SIJ"}': 1,
        'cds_feedback_items_total{client="ehr-a",outcome="overridden",reason="other"}': 1,
        f'cds_fhir_pages_total{{base="{PULL.base}",client="ehr-a",key="scores"}}': 2,
        f'cds_fhir_part_seconds_bucket{{{SEARCH},le="0.45"}}': 1,
        f'cds_fhir_part_seconds_bucket{{{SEARCH},le="0.25"}}': 0,
        f'cds_fhir_paused_processes{{base="{PULL.base}",client="ehr-a"}}': 1,
        "cds_ledger_lost_processes": 1,
        "cds_ledger_unread_processes": 1,
        "cds_ledger_waiting_calls": 3,
        "cds_replay_store_lost_processes": 1,
        "cds_alarms_readable": 1,
    }
    for series, count in expected.items():
        assert value(everything, series) == pytest.approx(count), series
    alarm = 'client="ehr-a",direction="stopped",subject="PT-REF",watched="card"'
    assert value(everything, f"cds_alarm{{{alarm}}}") == 1
    assert value(everything, f"cds_alarm_expected{{{alarm}}}") == 20


def test_metrics_hold_nothing_of_a_patient(everything: str) -> None:
    """No hash of a patient, no card id, no code, no comment, no reason as sent."""
    assert "canary" not in everything


def test_development_service_shows_its_metrics_and_why(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """Whoever tries the service on their own machine needs no token."""
    clinic = make_clinic(knowledge, state_dir=tmp_path)
    clinic.open("no-relief")
    text = clinic.client.get("/metrics").text
    assert value(text, 'cds_hook_calls_total{client="dev",outcome="fired",status="200"}') == 1
    assert value(text, 'cds_ledger_calls_total{result="kept"}') == 1
    assert f'digest="{knowledge.digest}"' in text


def test_failures_of_every_rule_are_counted_from_zero(knowledge: Knowledge, tmp_path: Path) -> None:
    """A rule that fails once is an increase, because its count stood at zero before."""
    text = make_clinic(knowledge, state_dir=tmp_path).client.get("/metrics").text
    for card in knowledge.cards:
        assert value(text, f'cds_rule_failures_total{{card="{card}"}}') == 0


def test_answers_are_counted_as_the_ledger_and_the_report_count_them(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """An item sent twice counts once, and a code of CDS Hooks 3.0 counts as our reason.

    What became of the items adds up to what was sent: one about an unknown card stands alone.
    """
    clinic = make_clinic(knowledge, state_dir=tmp_path)
    first, second, *_ = clinic.open("no-relief")
    item = clinic.override(first, "done-elsewhere")
    clinic.send(item, item)
    clinic.override(second, "patient-refuses")
    clinic.override({"uuid": new_uuid()})
    text = clinic.client.get("/metrics").text
    became = "cds_ledger_feedback_items_total{result="
    results = {"kept": 2, "repeated": 2, "unknown card": 1, "refused": 0}
    assert {each: value(text, f'{became}"{each}"}}') for each in results} == results
    kept = 'cds_feedback_items_total{client="dev",outcome="overridden",reason='
    assert value(text, f'{kept}"done-elsewhere"}}') == 1
    assert value(text, f'{kept}"patient-declined"}}') == 1


def test_ledger_that_cannot_be_read_is_said_and_the_rest_still_told(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """The alarms need the ledger; the counts do not."""
    clinic = make_clinic(knowledge, state_dir=tmp_path)
    clinic.open("no-relief")
    clinic.ledger.close()
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all, whoever wrote this here" * 99)
    text = clinic.client.get("/metrics").text
    assert value(text, "cds_alarms_readable") == 0
    assert value(text, 'cds_hook_calls_total{client="dev",outcome="fired",status="200"}') == 1


def test_checkout_that_is_not_installed_has_metrics_too() -> None:
    """A version nobody knows is said; it does not cost the numbers."""
    assert own_version("no-such-package-is-installed") == "not installed"
    assert own_version() != "not installed"


CONFIG = """
[service]
public_base_url = "https://cds.hospital.example"
identity_key = "{key}"
accept_unreviewed_content = true
{more}
"""


def configured(folder: Path, knowledge: Knowledge, more: str, *, token: str = TOKEN) -> FlaskClient:
    """Return a client of a service in production with the tables *more*."""
    (folder / "token").write_text(token + "\n", encoding="utf-8")
    path = folder / "cds.toml"
    path.write_text(CONFIG.format(key="ab" * 32, more=more), encoding="utf-8")
    settings = Settings(config_path=path, state_dir=folder / "state")
    return create_app(settings, knowledge=knowledge).test_client()


ADDRESSES = {
    "/metrics": '[metrics]\ntoken_file = "token"',
    "/explain/d1577c69-dfbe-44ad-ba6d-3e05e953b2ea": '[explain]\ntoken_file = "token"',
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_is_not_there_unless_configured(
    address: str, knowledge: Knowledge, tmp_path: Path
) -> None:
    """A site that said nothing about readers has none."""
    client = configured(tmp_path, knowledge, "")
    assert client.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "sent",
    [
        *(None, "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"),
        *("Basic", "Basic é", "Basic ====", "Basic dTr//g=="),
    ],
)
def test_reader_without_the_token_is_refused(
    address: str, sent: str | None, knowledge: Knowledge, tmp_path: Path
) -> None:
    """A wrong token gets 401 without a reason, and no page of another origin may look."""
    client = configured(tmp_path, knowledge, ADDRESSES[address])
    answer = client.get(address, headers={"Authorization": sent} if sent else {})
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_reader_with_the_token_reads(knowledge: Knowledge, tmp_path: Path) -> None:
    """Prometheus sends the token as Bearer; a browser as the password it asks for."""
    tables = "\n".join(ADDRESSES.values())
    client = configured(tmp_path, knowledge, tables)
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "Access-Control-Allow-Origin" not in answer.headers
    page = client.get("/explain/unknown", auth=("committee", TOKEN))
    assert page.status_code == 404  # nothing of that name, but let in
    refused = client.get("/explain/unknown")
    assert refused.headers["WWW-Authenticate"].startswith("Basic")


def test_reader_whose_token_holds_signs_reads(knowledge: Knowledge, tmp_path: Path) -> None:
    """Every token the start accepts opens the door, also one with an equals sign inside."""
    token = "a=b:c,d/e+f~" * 4
    client = configured(tmp_path, knowledge, ADDRESSES["/metrics"], token=token)
    bearer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    password = client.get("/metrics", auth=("committee", token))
    assert (bearer.status_code, password.status_code) == (200, 200)


def test_token_of_the_metrics_does_not_open_the_explanations(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """Two doors, two keys."""
    client = configured(tmp_path, knowledge, ADDRESSES["/metrics"])
    (tmp_path / "other").write_text("f" * 40, encoding="utf-8")
    del client
    both = ADDRESSES["/metrics"] + '\n[explain]\ntoken_file = "other"'
    client = configured(tmp_path, knowledge, both)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/explain/x", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "token", ["short", "with a blank " + "x" * 32, "ä" * 40, "two" * 20 + "\n" + "x" * 40, ""]
)
def test_token_that_can_be_guessed_stops_the_start(token: str, tmp_path: Path) -> None:
    """The fault is named with its place, and the token is not repeated."""
    path = tmp_path / "cds.toml"
    more = ADDRESSES["/metrics"]
    path.write_text(CONFIG.format(key="ab" * 32, more=more), encoding="utf-8")
    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"metrics\.token_file.*openssl rand") as caught:
        load_config(path)
    assert not token or token not in str(caught.value)


def test_own_port_answers_metrics_only_and_without_a_token(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """Whoever reaches the port of the metrics reaches nothing else by it."""
    client = configured(tmp_path, knowledge, "[metrics]\nport = 9464")
    by_port = {"SERVER_PORT": "9464"}
    assert client.get("/metrics", environ_overrides=by_port).status_code == 200
    assert client.get("/cds-services", environ_overrides=by_port).status_code == 404
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Host": "x:9464"}).status_code == 404
    assert client.get("/cds-services").status_code == 200


# Several processes


@pytest.fixture(autouse=True)
def _written_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process of this module write by itself because the machine stood still."""
    monkeypatch.setattr("cds_service.web.shared_metrics._WRITE_EVERY_SECONDS", PATIENT_SECONDS)


def counted(folder: Path, calls: int, waiting: int) -> tuple[SharedMetrics, CollectorRegistry]:
    """Return the metrics of a process that has counted something."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["client"], registry=registry).labels("ehr-a").inc(calls)
    Gauge("waiting", "Waiting.", registry=registry).set(waiting)
    return SharedMetrics(registry, folder), registry


def sums(shared: SharedMetrics) -> dict[str, float]:
    """Return what all processes together have counted."""
    return {sample.name: sample.value for each in shared.numbers() for sample in each.samples}


def test_two_processes_are_added_up(tmp_path: Path) -> None:
    """Whichever process Prometheus happens to ask tells of both."""
    first, _ = counted(tmp_path, 3, 1)
    second, _ = counted(tmp_path, 4, 2)
    for each in (first, second):
        each.keep_writing()
        each.write()
    assert sums(first) == sums(second) == {"calls_total": 7, "waiting": 3}


def test_counts_are_for_the_service_only(tmp_path: Path) -> None:
    """Nobody else on the machine may read or add counts."""
    shared, _ = counted(tmp_path / "metrics", 3, 1)
    shared.keep_writing()
    assert stat.S_IMODE((tmp_path / "metrics").stat().st_mode) == 0o700


def test_process_that_ended_leaves_its_counts_and_takes_its_states_along(tmp_path: Path) -> None:
    """A counter never falls because a worker process was replaced; its queue is gone, though."""
    first, _ = counted(tmp_path, 3, 1)
    second, _ = counted(tmp_path, 4, 2)
    for each in (first, second):
        each.keep_writing()
        each.write()
    assert second._alive is not None
    second._alive.close()  # the process ends: its lock is gone
    for _ in range(2):
        assert sums(first) == {"calls_total": 7, "waiting": 1}
    names = sorted(path.name for path in tmp_path.glob("*.counts"))
    assert names == [f"{first._name}.counts", "ended.counts"]


def test_full_disk_makes_no_counter_fall_when_a_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that falls and rises again looks like a flood of calls and errors."""
    first, _ = counted(tmp_path, 3, 1)
    second, _ = counted(tmp_path, 4, 2)
    third, _ = counted(tmp_path, 5, 3)
    for each in (first, second, third):
        each.keep_writing()
        each.write()
    assert second._alive is not None
    second._alive.close()  # the process ends

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        assert sums(first) == {"calls_total": 12, "waiting": 4}
    assert sums(first) == {"calls_total": 12, "waiting": 4}


def test_broken_file_of_a_sister_spoils_nothing(tmp_path: Path) -> None:
    """A file cut by a full disk is left out."""
    first, _ = counted(tmp_path, 3, 1)
    first.keep_writing()
    (tmp_path / "123-abc.counts").write_text('[{"name": "calls', encoding="utf-8")
    assert sums(first) == {"calls_total": 3, "waiting": 1}


def test_folder_that_cannot_be_written_leaves_each_process_alone(tmp_path: Path) -> None:
    """The service counts on, for itself."""
    (tmp_path / "metrics").write_text("a file where the folder should be", encoding="utf-8")
    shared, _ = counted(tmp_path / "metrics", 3, 1)
    shared.keep_writing()
    assert sums(shared) == {"calls_total": 3, "waiting": 1}


def test_folder_that_can_be_written_again_is_shared_again(tmp_path: Path) -> None:
    """A disk that was full at the start does not hide a sister until the next start."""
    (tmp_path / "metrics").write_text("a file where the folder should be", encoding="utf-8")
    first, _ = counted(tmp_path / "metrics", 3, 1)
    second, _ = counted(tmp_path / "metrics", 4, 2)
    with capture_logs() as log:
        for each in (first, second):
            each.keep_writing()
            each.keep_up()
        (tmp_path / "metrics").unlink()
        for each in (first, second):
            each.keep_up()
    assert sums(first) == sums(second) == {"calls_total": 7, "waiting": 3}
    said = [line["event"] for line in log]
    assert said == ["metrics are not shared"] * 2 + ["metrics are shared again"] * 2


def test_folder_that_vanished_is_made_again(tmp_path: Path) -> None:
    """Whoever empties the folder for state under a running service takes no sister away."""
    folder = tmp_path / "metrics"
    first, _ = counted(folder, 3, 1)
    second, _ = counted(folder, 4, 2)
    for each in (first, second):
        each.keep_writing()
        each.keep_up()
    shutil.rmtree(folder)
    for each in (first, second):
        each.keep_up()
    assert sums(first) == sums(second) == {"calls_total": 7, "waiting": 3}
    assert second._alive is not None
    second._alive.close()  # the process ends: its lock is gone
    assert sums(first) == {"calls_total": 7, "waiting": 1}


def test_start_on_a_disk_that_became_read_only_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of an ended service that cannot be removed do not stop the next one."""
    (tmp_path / "ended.counts").write_text("[]", encoding="utf-8")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refused)
    forget_ended_processes(tmp_path)


def test_new_start_forgets_what_an_ended_service_counted(tmp_path: Path) -> None:
    """Prometheus knows that counters begin again; a service that still runs loses nothing."""
    first, _ = counted(tmp_path, 3, 1)
    first.keep_writing()
    first.write()
    forget_ended_processes(tmp_path)
    assert (tmp_path / f"{first._name}.counts").is_file()
    assert first._alive is not None
    first._alive.close()
    forget_ended_processes(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Ehr, int]]:
    """Run the service with three worker processes and a port for its metrics."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    port, metrics_port = free_port(), free_port()
    ehr = Ehr(f"http://127.0.0.1:{port}")
    config = "\n".join(
        [
            "[service]",
            f'public_base_url = "http://127.0.0.1:{port}"',
            f'identity_key = "{"ab" * 32}"',
            'state_dir = "state"',
            "accept_unreviewed_content = true",
            "workers = 3",
            "deadline_ms = 5000",
            '[metrics]\ntoken_file = "token"',
            f"port = {metrics_port}",
            '[explain]\ntoken_file = "token"',
            ehr.profile("ehr-a", "rate_per_second = 10000", "burst = 10000"),
        ]
    )
    with running_service(folder, config, port=port) as service:
        yield service, ehr, metrics_port


def _agreed(metrics_port: int, series: str, expected: float) -> bool:
    """Ask six times until every worker process that happens to answer tells the same sum."""
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        url = f"http://127.0.0.1:{metrics_port}/metrics"
        texts = [requests.get(url, timeout=10).text for _ in range(6)]
        if all(f"{series} {expected:.1f}\n" in text for text in texts):
            return True
        time.sleep(0.5)
    return False


def _on_disk(service: Service, name: str) -> float:
    """Return what the files of all processes say together."""
    families = [
        family
        for path in (service.state / "metrics").glob("*.counts")
        for family in json.loads(path.read_text(encoding="utf-8"))
    ]
    samples = [sample for family in families for sample in family["samples"]]
    return sum(value for sample, _, value in samples if sample == name)


def test_three_worker_processes_count_as_one_service_even_when_one_is_killed(
    served: tuple[Service, Ehr, int],
) -> None:
    """Every call is counted once, whoever answered it, and a kill -9 takes no count away."""
    service, ehr, metrics_port = served
    chart = chart_of("no-relief")
    series = 'cds_hook_calls_total{client="ehr-a",outcome="fired",status="200"}'

    def call(_: int) -> int:
        return service.post(ehr.token(), hook_call(chart)).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(call, range(30))) == {200}
    assert service.post("no token", hook_call(chart)).status_code == 401
    labels = 'address="/cds-services/<service_id>",client="unknown",status="401"'
    refused = f"cds_http_answers_total{{{labels}}}"
    assert _agreed(metrics_port, series, 30)
    assert _agreed(metrics_port, refused, 1)
    kept = 'cds_ledger_calls_total{result="kept"}'
    assert _agreed(metrics_port, kept, 30)  # a busy database may take a second longer
    assert until(lambda: _on_disk(service, "cds_hook_calls_total") == 30)
    assert until(lambda: _on_disk(service, "cds_ledger_calls_total") == 30)
    task = f"/proc/{service.process.pid}/task/{service.process.pid}/children"
    children = Path(task).read_text(encoding="ascii").split()
    os.kill(int(children[0]), signal.SIGKILL)
    time.sleep(1)
    assert _agreed(metrics_port, series, 30)
    assert _agreed(metrics_port, kept, 30)


def test_calls_lost_when_a_worker_process_ends_are_counted(
    served: tuple[Service, Ehr, int],
) -> None:
    """The alarm on lost calls rings for those the log names at the end of a process, too."""
    service, ehr, metrics_port = served
    old = set(service.workers())
    with locked_file(service.state / "ledger.sqlite3"):
        for _ in range(4):
            assert service.post(ehr.token(), hook_call(chart_of("no-relief"))).status_code == 200
        service.process.send_signal(signal.SIGHUP)  # all worker processes are replaced
        assert until(lambda: old.isdisjoint(service.workers()))
    assert _agreed(metrics_port, 'cds_ledger_calls_total{result="lost"}', 4)


def test_served_service_keeps_its_doors_apart(served: tuple[Service, Ehr, int]) -> None:
    """The port of the metrics answers nothing else; the public port asks for the token."""
    service, ehr, metrics_port = served
    own = f"http://127.0.0.1:{metrics_port}"
    hosts = {"Host": f"127.0.0.1:{metrics_port}"}
    assert requests.get(f"{own}/cds-services", timeout=10).status_code == 404
    assert requests.get(f"{own}/health/live", timeout=10).status_code == 404
    assert requests.get(f"{service.url}/metrics", timeout=10).status_code == 401
    assert requests.get(f"{service.url}/metrics", headers=hosts, timeout=10).status_code == 401
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(f"{service.url}/metrics", headers=token, timeout=10).status_code == 200
    body = hook_call(chart_of("no-relief"))
    assert service.post(ehr.token(), body).status_code == 200
    address = f"{service.url}/explain/{body['hookInstance']}"

    def explained() -> requests.Response:
        return requests.get(address, auth=("reader", TOKEN), timeout=10)

    assert until(lambda: explained().status_code == 200)  # a busy ledger may take a second
    page = explained()
    assert "MRI for pain that was not relieved" in page.text
    assert body["context"]["patientId"] not in page.text
    assert "Access-Control-Allow-Origin" not in page.headers


def test_hidden_faults_of_the_second_week_stand_in_the_metrics(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """Prometheus is told of the rule that stopped and of the part that no longer comes."""
    clinic = make_clinic(knowledge, state_dir=tmp_path)
    assert migrate(clinic.place)
    engine = empty_ledger(f"sqlite:///{clinic.place.file}")
    Simulation(engine).run(days(FIRST_DAY, LAST_DAY), a_day=300, change=broken)
    engine.dispose()
    clinic.clock[0] = datetime.fromtimestamp(AFTERWARDS / 1000, UTC)
    text = clinic.client.get("/metrics").text
    raised = {line for line in text.splitlines() if line.startswith("cds_alarm{")}
    stopped = 'client="ehr-a",direction="stopped",subject="IMG-MRI-NR",watched="card"'
    unread = 'client="ehr-b",direction="rose",subject="diagnosticReports",watched="part not read"'
    assert raised == {f"cds_alarm{{{stopped}}} 1.0", f"cds_alarm{{{unread}}} 1.0"}
    assert value(text, f"cds_alarm_seen{{{stopped}}}") == 0
