"""A service with one configured client: tokens are asked for, once each, and rates are kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidHTTPVersion
from structlog.testing import capture_logs

from cds_service.app import (
    _client_of,
    check_config,
    create_app,
    options_of_clients,
    refuse_unreviewed_content,
)
from cds_service.catalogue.codes import NO_CODES
from cds_service.errors import KnowledgeError, SettingsError
from cds_service.hooks.request import AS_OF_EXTENSION
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.serving import _Worker
from cds_service.settings import Settings
from cds_service.trust.config import ReloadingConfig, load_config
from cds_service.trust.demo_profile import (
    DEMO_ALGORITHM,
    DEMO_ISSUER,
    DEMO_KEY_ID,
    generate_demo_config,
)
from cds_service.web.headers import cors_of_unreadable
from cds_service.web.refusing import refusal
from tests.web.small_rooms import SERVICE, SmallRooms, Ticks, issue_of

URL = "http://127.0.0.1:8080"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Ehr:
    """An EHR with its key."""

    client: FlaskClient
    private_key: str
    used: int = 0

    def token(self, audience: str | list[str]) -> str:
        """Return a fresh token for one endpoint, or for several."""
        self.used += 1
        claims = {
            "iss": DEMO_ISSUER,
            "aud": audience,
            "iat": NOW,
            "exp": NOW + timedelta(minutes=5),
            "jti": f"jti-{self.used}",
        }
        return jwt.encode(
            claims, self.private_key, algorithm=DEMO_ALGORITHM, headers={"kid": DEMO_KEY_ID}
        )

    def call(self, body: dict[str, Any], token: str | None = None) -> Any:  # noqa: ANN401
        """Call the service with a fresh token, or with the one given."""
        bearer = token or self.token(f"{URL}{SERVICE}")
        return self.client.post(SERVICE, json=body, headers={"Authorization": f"Bearer {bearer}"})


@pytest.fixture
def ehr(make_ehr: Callable[..., Ehr]) -> Ehr:
    """Return an EHR that the service knows from its configuration file."""
    return make_ehr()


@pytest.fixture
def make_ehr(knowledge: Knowledge, rooms: SmallRooms, tmp_path: Path) -> Callable[..., Ehr]:
    """Return a maker of EHRs; lines given go into the [service] table of the file."""

    def make(*lines: str) -> Ehr:
        return _known_ehr(knowledge, rooms, tmp_path, lines)

    return make


def _known_ehr(
    knowledge: Knowledge,
    rooms: SmallRooms,
    folder: Path,
    lines: tuple[str, ...],
    state_dir: Path | None = None,
) -> Ehr:
    config, key = generate_demo_config(folder, "http://127.0.0.1:8090/fhir", URL)
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[service]", "\n".join(["[service]", *lines])), "utf-8")
    app = create_app(
        Settings(config_path=config, state_dir=state_dir or folder),
        clock=lambda: NOW,
        monotonic=lambda: 0.0,
        knowledge=knowledge,
        rooms=rooms.as_rooms(),
    )
    return Ehr(client=app.test_client(), private_key=key)


def test_known_client_is_answered_and_its_token_works_once(ehr: Ehr, body: dict[str, Any]) -> None:
    """A good token opens the service one time."""
    token = ehr.token(f"{URL}{SERVICE}")
    assert ehr.call(body, token).status_code == 200
    again = ehr.call(body, token)
    assert again.status_code == 401
    assert issue_of(again)["details"]["text"] == "This call is not authorised."


def test_process_that_begins_when_the_state_folder_is_gone_answers(
    knowledge: Knowledge, rooms: SmallRooms, tmp_path: Path, body: dict[str, Any]
) -> None:
    """A worker that is replaced while the disk is away answers, and remembers tokens by itself."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    ehr = _known_ehr(knowledge, rooms, tmp_path, (), tmp_path / "file")
    token = ehr.token(f"{URL}{SERVICE}")
    assert [ehr.call(body, token).status_code for _ in range(2)] == [200, 401]
    ready = ehr.client.get("/health/ready").get_json()
    assert ready["replay_store"] == "lost, each process remembers alone"
    assert "cannot be written" in ready["ledger"]


def test_health_says_that_calls_are_refused_while_the_store_is_lost(
    knowledge: Knowledge, rooms: SmallRooms, tmp_path: Path, body: dict[str, Any]
) -> None:
    """Where the site chose refuse, no process remembers tokens by itself."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    refusing = ('on_replay_store_loss = "refuse"',)
    ehr = _known_ehr(knowledge, rooms, tmp_path, refusing, tmp_path / "file")
    with capture_logs() as logs:
        assert ehr.call(body).status_code == 503
    assert logs[-1]["reason"] == "the store of used tokens is lost"
    ready = ehr.client.get("/health/ready").get_json()
    assert ready["replay_store"] == "lost, calls are refused"


def test_call_without_a_good_token_is_refused_before_its_body_is_read(ehr: Ehr) -> None:
    """A stranger's wrong body gets 401, not a lesson about JSON."""
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
        answer = ehr.client.post(
            SERVICE, data=b"{", content_type="application/json", headers=headers
        )
        assert answer.status_code == 401


def test_log_names_the_client_whose_token_is_refused(ehr: Ehr, body: dict[str, Any]) -> None:
    """Of several hospitals the operator learns whose clock or key is wrong; the caller does not."""
    with capture_logs() as logs:
        wrong = [ehr.call(body, ehr.token(f"{URL}/elsewhere")), ehr.call(body, "x.y.z")]
    assert [answer.status_code for answer in wrong] == [401, 401]
    named = [line["claims"] for line in logs if line["event"] == "refused"]
    assert named == ["demo-generic", None]
    assert "demo-generic" not in wrong[0].text


def test_token_for_another_address_is_refused(ehr: Ehr, body: dict[str, Any]) -> None:
    """A token for discovery does not open the service."""
    assert ehr.call(body, ehr.token(f"{URL}/cds-services")).status_code == 401


def test_token_for_the_service_and_its_feedback_opens_the_service(
    ehr: Ehr, body: dict[str, Any]
) -> None:
    """An EHR that signs one token for both addresses names nobody else."""
    token = ehr.token([f"{URL}{SERVICE}", f"{URL}{SERVICE}/feedback"])
    assert ehr.call(body, token).status_code == 200


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ((), "Access-Control-Allow-Origin: *\r\n"),
        (('cors_origins = ["https://ehr.example"]',), ""),
    ],
)
def test_page_may_read_what_is_said_of_unreadable_http(
    make_ehr: Callable[..., Ehr], lines: tuple[str, ...], line: str
) -> None:
    """A browser shows the refusal to the page, unless the site lists the pages that may call."""
    assert cors_of_unreadable(make_ehr(*lines).client.application) == line


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        (MemoryError(), b"500", b"fault of its own"),
        (InvalidHTTPVersion("x"), b"400", b"well-formed"),
    ],
)
def test_fault_of_ours_before_a_call_is_read_is_not_laid_on_the_caller(
    ehr: Ehr, fault: Exception, status: bytes, word: bytes
) -> None:
    """What cannot be read is the sender's to mend, anything else is not."""
    worker = object.__new__(_Worker)
    worker.wsgi = ehr.client.application
    ours, theirs = socket.socketpair()
    with ours, theirs:
        worker.handle_error(None, ours, None, fault)
        answer = theirs.recv(4096)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert word in answer


def test_discovery_for_one_client_is_not_stored(make_ehr: Callable[..., Ehr]) -> None:
    """What one client is told stays out of every cache on the way; what all are told need not."""
    ehr = make_ehr("discovery_requires_token = true")
    bearer = {"Authorization": f"Bearer {ehr.token(f'{URL}/cds-services')}"}
    told = ehr.client.get("/cds-services", headers=bearer)
    assert told.status_code == 200
    assert told.headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in make_ehr().client.get("/cds-services").headers


@pytest.mark.parametrize("address", [f"{SERVICE}/feedback", SERVICE])
def test_feedback_accepts_a_token_for_either_address(ehr: Ehr, address: str) -> None:
    """EHRs address feedback tokens to the feedback URL or to the service."""
    answer = ehr.client.post(
        f"{SERVICE}/feedback",
        json={"feedback": []},
        headers={"Authorization": f"Bearer {ehr.token(f'{URL}{address}')}"},
    )
    assert answer.status_code == 200


def test_client_over_its_rate_is_told_to_wait(ehr: Ehr, body: dict[str, Any]) -> None:
    """After the burst of one instant the next call gets 429."""
    statuses = [ehr.call(body).status_code for _ in range(101)]
    assert statuses == [200] * 100 + [429]


def test_content_nobody_reviewed_is_not_served_unless_the_site_accepts_it(
    knowledge: Knowledge, tmp_path: Path
) -> None:
    """A production service with clients does not start with draft content by accident."""
    production, _ = _production(tmp_path)
    with pytest.raises(SettingsError, match="accept_unreviewed_content"):
        create_app(Settings(config_path=production, state_dir=tmp_path), knowledge=knowledge)
    refuse_unreviewed_content(load_config(production), is_unreviewed=False)


def _production(folder: Path, *lines: str) -> tuple[Path, str]:
    """Write the configuration of a service in production; return its path and the EHR's key."""
    config, key = generate_demo_config(folder, "http://127.0.0.1:8090/fhir", URL)
    (folder / "identity.key").write_text("ab" * 32)
    text = config.read_text().replace(
        'mode = "demo"', "\n".join(['identity_key_file = "identity.key"', *lines])
    )
    text = text.replace("allows_loopback_fhir = true", "").replace(
        "http://127.0.0.1:8090/fhir", "https://ehr.example.org/fhir"
    )
    path = folder / "production.toml"
    path.write_text(text)
    return path, key


def test_only_a_demonstration_lets_a_client_choose_the_day(
    ehr: Ehr, knowledge: Knowledge, rooms: SmallRooms, tmp_path: Path, body: dict[str, Any]
) -> None:
    """In production an answer is for the day it is given, and health says which of both it is."""
    asked = {**body, "extension": {AS_OF_EXTENSION: "2024-02-29"}}
    assert ehr.call(asked).status_code == 200
    assert rooms.days == [date(2024, 2, 29)]
    assert ehr.client.get("/health/ready").get_json()["mode"] == "demo"
    path, key = _production(tmp_path, "accept_unreviewed_content = true")
    app = create_app(
        Settings(config_path=path, state_dir=tmp_path),
        clock=lambda: NOW,
        monotonic=lambda: 0.0,
        knowledge=knowledge,
        rooms=rooms.as_rooms(),
    )
    hospital = Ehr(app.test_client(), key, used=7)
    assert hospital.call(asked).status_code == 400
    assert hospital.call(body).status_code == 200
    assert hospital.client.get("/health/ready").get_json()["mode"] == "production"


def test_answer_that_comes_late_is_judged_by_the_profile_of_its_own_client(
    make_ehr: Callable[..., Ehr], tmp_path: Path
) -> None:
    """Of several clients each has its own; one that is no longer configured has none."""
    make_ehr()
    settings = Settings(config_path=tmp_path / "demo-config.toml", state_dir=tmp_path)
    config = load_config(tmp_path / "demo-config.toml")
    assert len(config.clients) > 1
    for client in config.clients:
        assert _client_of(client.id, settings, config) is client
    assert _client_of("gone", settings, config) is None
    found = _client_of("dev", Settings(is_dev=True), config)
    assert found is not None
    assert found.id == "dev"


def test_discovery_asks_for_a_token_where_the_site_wants_it(make_ehr: Callable[..., Ehr]) -> None:
    """A site may keep even discovery to its known clients."""
    ehr = make_ehr("discovery_requires_token = true")
    assert ehr.client.get("/cds-services").status_code == 401
    bearer = {"Authorization": f"Bearer {ehr.token(f'{URL}/cds-services')}"}
    assert ehr.client.get("/cds-services", headers=bearer).get_json()["services"]


def test_discovery_names_the_version_the_site_wants(make_ehr: Callable[..., Ehr]) -> None:
    """Versions of the specification disagree about the field, so a site can choose or drop it."""
    [service] = make_ehr('discovery_version = "3.0.0"').client.get("/cds-services").json["services"]
    assert service["version"] == "3.0.0"


def test_a_client_that_names_no_version_gets_that_of_the_service(
    make_ehr: Callable[..., Ehr],
) -> None:
    """A client seen by its token is told the same as everybody, unless its profile differs."""
    ehr = make_ehr('discovery_requires_token = true\ndiscovery_version = "3.0.0"')
    bearer = {"Authorization": f"Bearer {ehr.token(f'{URL}/cds-services')}"}
    [service] = ehr.client.get("/cds-services", headers=bearer).get_json()["services"]
    assert service["version"] == "3.0.0"


def test_only_listed_web_origins_may_read_answers(
    make_ehr: Callable[..., Ehr], body: dict[str, Any]
) -> None:
    """A listed origin is named back, another is not, and caches are told to keep them apart."""
    client = make_ehr('cors_origins = ["https://ehr.example"]').client
    listed = client.post(SERVICE, json=body, headers={"Origin": "https://ehr.example"})
    assert listed.status_code == 401
    assert listed.headers["Access-Control-Allow-Origin"] == "https://ehr.example"
    assert listed.headers["Vary"] == "Origin"
    other = client.post(SERVICE, json=body, headers={"Origin": "https://ehr.example.evil.com"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_listed_web_page_may_read_that_there_is_no_room(make_ehr: Callable[..., Ehr]) -> None:
    """What is refused before it is read names the origin like any other answer."""
    app = make_ehr('cors_origins = ["https://ehr.example"]').client.application
    allowed = b"Access-Control-Allow-Origin: https://ehr.example\r\n"
    for lines, is_told in (
        ("origin: https://ehr.example\r\n", True),
        ("", False),
        ("Origin: https://ehr.example.evil.com\r\n", False),
        ("Origin: https://ehr.example\r\n" * 2, False),
    ):
        head = f"POST {SERVICE} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
        assert (allowed in refusal(app, head)) is is_told


def test_body_limit_of_the_site_is_kept(make_ehr: Callable[..., Ehr], body: dict[str, Any]) -> None:
    """A site may allow less than the default."""
    ehr = make_ehr("max_body_bytes = 1024")
    assert ehr.call(body).status_code == 200
    assert ehr.call({**body, "more": "x" * 1024}).status_code == 413
    for length, status in ((1024, 200), (1025, 413)):
        answer = ehr.client.post(
            SERVICE,
            data=json.dumps(body).ljust(length),
            content_type="application/json",
            headers={"Authorization": f"Bearer {ehr.token(f'{URL}{SERVICE}')}"},
        )
        assert answer.status_code == status


def test_card_switched_off_in_the_file_is_off_for_every_client(
    make_ehr: Callable[..., Ehr], body: dict[str, Any], rooms: SmallRooms
) -> None:
    """The kill switch reaches the options of the next call."""
    make_ehr('disabled_cards = ["SCS-EVAL"]').call(body)
    assert "SCS-EVAL" in rooms.options[0].disabled_cards


def test_epic_gets_one_order_a_suggestion_and_links_go_to_the_hosts_of_the_site(
    make_ehr: Callable[..., Ehr], body: dict[str, Any], rooms: SmallRooms, tmp_path: Path
) -> None:
    """The dialect and the link hosts of the file reach the options of the next call."""
    ehr = make_ehr('allowed_link_hosts = ["doi.org"]')
    ehr.call(body)
    path = tmp_path / "demo-config.toml"
    path.write_text(path.read_text().replace('dialect = "generic"', 'dialect = "epic"'))
    epic = create_app(
        Settings(config_path=path, state_dir=tmp_path),
        clock=lambda: NOW,
        monotonic=lambda: 0.0,
        rooms=rooms.as_rooms(),
    )
    Ehr(epic.test_client(), ehr.private_key, used=7).call(body)
    assert [options.splits_orders for options in rooms.options] == [False, True]
    assert rooms.options[0].may_link("https://doi.org/10.1")
    assert not rooms.options[0].may_link("https://doi.org.evil.example/10.1")


def test_options_of_a_client_are_made_once_until_the_file_changes(
    make_ehr: Callable[..., Ehr], tmp_path: Path
) -> None:
    """Calls share what is worked out for a client, and a changed file changes it at once."""
    make_ehr()
    path = tmp_path / "demo-config.toml"
    source = ReloadingConfig(path, monotonic=iter(range(1000)).__next__)
    options_of = options_of_clients(source, is_unreviewed=True)
    first, second = (options_of(source.current().clients[0]) for _ in range(2))
    assert first is second
    path.write_text(path.read_text().replace('dialect = "generic"', 'dialect = "epic"'))
    third = options_of(source.current().clients[0])
    assert (second.splits_orders, third.splits_orders) == (False, True)


def test_what_the_site_and_the_ehr_say_reaches_the_chart_and_the_cards(
    make_ehr: Callable[..., Ehr], body: dict[str, Any], rooms: SmallRooms, tmp_path: Path
) -> None:
    """Drugs by name, the site's codes and day, the user, the stay and the FHIR server of a call."""
    made = make_ehr()
    (tmp_path / "codes.csv").write_text("system,code,concept,unit\nurn:a,7,odi,%")
    path = tmp_path / "demo-config.toml"
    lines = (
        '[[clients]]\nmatches_drug_names = true\ncode_map = "codes.csv"\n'
        'time_zone = "Pacific/Auckland"'
    )
    path.write_text(path.read_text().replace("[[clients]]", lines, 1))
    ticks = Ticks()
    app = create_app(
        Settings(config_path=path, state_dir=tmp_path, deadline_ms=1000),
        clock=lambda: NOW,
        monotonic=ticks,
        rooms=rooms.as_rooms(),
    )
    fhir = "http://127.0.0.1:8090/fhir"
    said = {**body["context"], "encounterId": "stay-1"}
    call = {**body, "fhirServer": fhir, "context": said}
    assert Ehr(app.test_client(), made.private_key, used=7).call(call).status_code == 200
    [reading], [context] = rooms.readings, rooms.contexts
    assert reading["matches_drug_names"]
    assert reading["code_map"] is not NO_CODES
    assert reading["as_of"] == rooms.days[0] == date(2026, 3, 2)
    assert reading["bases"] == {fhir}
    assert reading["has_time"]()
    ticks.seconds = 60
    assert not reading["has_time"]()
    assert (context.user_id, context.encounter_id) == ("Practitioner/1", "stay-1")
    assert (context.fhir_server, reading["fhir_server"]) == (fhir, fhir)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("order_catalogue", "crp,urn:a,5,CRP", "crpp,urn:a,5,CRP"),
        ("code_map", "urn:a,7,odi,%", "urn:a,7,odi,gallons"),
    ],
)
def test_list_that_does_not_fit_the_content_is_refused_at_the_start_and_later(
    make_ehr: Callable[..., Ehr], tmp_path: Path, key: str, good: str, bad: str
) -> None:
    """A concept or unit we do not have stops the start; later the list before it stays."""
    header = {
        "order_catalogue": "concept,system,code,display\n",
        "code_map": "system,code,concept,unit\n",
    }
    make_ehr()
    listed = tmp_path / "list.csv"
    listed.write_text(header[key] + good)
    path = tmp_path / "demo-config.toml"
    first = f'[[clients]]\n{key} = "list.csv"'
    path.write_text(path.read_text().replace("[[clients]]", first, 1))
    settings = Settings(config_path=path, state_dir=tmp_path)
    create_app(settings, clock=lambda: NOW)
    source = ReloadingConfig(path, monotonic=iter(range(1000)).__next__)
    source.require(partial(check_config, knowledge=load_knowledge()))
    before = source.current()
    listed.write_text(header[key] + bad)
    assert source.current() is before
    with pytest.raises(SettingsError, match="line 2, column"):
        create_app(settings, clock=lambda: NOW)


def test_health_says_when_used_tokens_are_no_longer_shared(
    ehr: Ehr, body: dict[str, Any], tmp_path: Path
) -> None:
    """With the store of used tokens gone bad, calls are answered and operators can see it."""
    health = ehr.client.get("/health/ready").get_json()
    assert (health["status"], health["replay_store"]) == ("ready", "in order")
    store = tmp_path / "used-tokens.sqlite3"
    store.unlink(missing_ok=True)
    store.mkdir()
    token = ehr.token(f"{URL}{SERVICE}")
    assert ehr.call(body, token).status_code == 200
    assert ehr.call(body, token).status_code == 401
    assert ehr.client.get("/health/ready").get_json()["replay_store"].startswith("lost")


def test_service_does_not_start_with_an_order_that_is_no_fhir(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders are checked as FHIR resources before the first call."""
    order = replace(knowledge.orders["crp"], codings=(("not a uri", "", ""),))
    broken = replace(knowledge, orders={**knowledge.orders, "crp": order})
    monkeypatch.setattr("cds_service.app.load_knowledge", lambda **_: broken)
    with pytest.raises(KnowledgeError, match=r"crp\.yaml"):
        create_app(Settings(is_dev=True))
