"""The configuration file: what is accepted, how faults are told, and when it is read again."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import certifi
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cds_service.errors import SettingsError, UnauthorizedError
from cds_service.evaluation.rules.catalog import DATA_READ, RED_FLAGS
from cds_service.knowledge.loading import load_knowledge
from cds_service.trust.config import (
    DEVELOPMENT_IDENTITY_KEY,
    Config,
    ReloadingConfig,
    ServiceSettings,
    load_config,
)
from cds_service.trust.config_ledger import LedgerSettings
from cds_service.trust.config_place import Stamp
from cds_service.trust.demo_profile import (
    DEMO_ISSUER,
    DEMO_KEY_ID,
    generate_demo_config,
)
from cds_service.trust.dialect import ReadingForm, SearchForm
from cds_service.trust.profile import CardPreferences, ClientProfile, Role
from cds_service.trust.verification import Verifier
from tests.trust.conftest import NOW, Ehr, public_jwk

ROOT = Path(__file__).parents[2]
SECRET = "c0ffee" * 11  # hexadecimal, 33 bytes
SERVICE = f'[service]\npublic_base_url = "https://cds.example"\nidentity_key = "{SECRET}"\n'
CLIENT = """
[[clients]]
id = "hospital"
issuers = ["https://ehr.example"]
jwks_url = "https://ehr.example/jwks.json"
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a writer of the configuration file."""

    def write_file(text: str) -> Path:
        path = tmp_path / "cds.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def fault_of(path: Path) -> str:
    """Return the text of the refusal of *path*."""
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    return str(caught.value)


def test_smallest_file_has_safe_defaults(write: Write) -> None:
    """Two keys and one client are enough; what is left out is the careful choice."""
    config = load_config(write(SERVICE + CLIENT))
    assert config.service.identity_key == bytes.fromhex(SECRET)
    assert not config.service.accept_unreviewed_content
    assert config.service.on_replay_store_loss == "memory"
    client = config.clients[0]
    assert client.algorithms == ("ES384", "RS384")
    assert (client.clock_skew_seconds, client.max_lifetime_seconds) == (60, 900)
    assert client.time_zone == ZoneInfo("UTC")
    assert client.fhir_bases == ()
    assert not any(
        (client.allows_missing_typ, client.allows_foreign_audience, client.allows_open_fhir)
    )


def test_every_key_reaches_the_profile(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Each key of a client is read, and relative file names start at the configuration file."""
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public_jwk(ec_key, "k")]}))
    text = """
[[clients]]
id = "all-keys"
issuers = ["a", "b"]
audience_base_urls = ["https://other.example/cds/"]
algorithms = ["ES256"]
jwks_file = "keys.json"
jku_urls = ["https://ehr.example/jwks"]
tenants = ["t"]
subjects = ["s"]
clock_skew_seconds = 0
max_lifetime_seconds = 3600
allows_missing_typ = true
allows_foreign_audience = true
fhir_bases = ["HTTPS://EHR.example:443/r4/", "https://in.example"]
private_fhir_bases = ["https://in.example/"]
allows_open_fhir = true
time_zone = "America/Chicago"
dialect = "epic"
searches_by_post = true
searches_in_batch = true
max_fhir_requests = 4
optional_keys = ["encounters"]
matches_drug_names = true
order_catalogue = "orders.csv"
code_map = "codes.csv"
discovery_version = "none"
outbound_proxy = "http://proxy.example:3128"
rate_per_second = 0.5
burst = 3
[clients.cards]
max_cards = 3
disabled_cards = ["SIJ"]
intent = "proposal"
spine_referral = "orthopedic"
country = "other"
info_cards = "with-orders"
link_hosts = ["acsearch.acr.org"]
detail = "plain"
[clients.cards.indicator_ceilings]
PSYCH = "info"
[clients.reading]
empty_results = ["null"]
[clients.searches]
asks_fresh = true
[[clients.roles]]
name = "pt"
codes = ["x:y|1"]
hidden_cards = ["OPIOID"]
"""
    preference = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
    orders = f"concept,system,code,display\ncrp,{preference},5,CRP\n"
    (tmp_path / "orders.csv").write_text(orders)
    (tmp_path / "codes.csv").write_text("system,code,concept\nurn:y,7,odi\n")
    client = load_config(write(SERVICE + text)).clients[0]
    assert client.jwks is not None
    assert set(client.jwks.keys) == {"k"}
    found = {
        name: getattr(client, name)
        for name in client.__slots__
        if name not in {"jwks", "cards", "order_catalogue", "code_map"}
    }
    assert found == {
        "id": "all-keys",
        "issuers": ("a", "b"),
        "audience_base_urls": ("https://other.example/cds",),
        "algorithms": ("ES256",),
        "jwks_url": None,
        "jku_urls": ("https://ehr.example/jwks",),
        "tenants": ("t",),
        "subjects": ("s",),
        "clock_skew_seconds": 0,
        "max_lifetime_seconds": 3600,
        "allows_missing_typ": True,
        "allows_foreign_audience": True,
        "fhir_bases": ("https://ehr.example/r4", "https://in.example"),
        "private_fhir_bases": ("https://in.example",),
        "allows_open_fhir": True,
        "allows_loopback_fhir": False,
        "allows_unlisted_loopback_fhir": False,
        "time_zone": ZoneInfo("America/Chicago"),
        "dialect": "epic",
        "reading": ReadingForm(empty_results=frozenset({"null"})),
        "searches": SearchForm(includes_medications=True, asks_fresh=True),
        "roles": (Role(name="pt", codes=frozenset({"x:y|1"}), hidden_cards=frozenset({"OPIOID"})),),
        "searches_by_post": True,
        "searches_in_batch": True,
        "max_fhir_requests": 4,
        "optional_keys": ("encounters",),
        "matches_drug_names": True,
        "discovery_version": "none",
        "outbound_proxy": "http://proxy.example:3128",
        "ca_file": None,
        "rate_per_second": 0.5,
        "burst": 3,
    }
    cards = client.cards
    assert (cards.max_cards, cards.disabled_cards, cards.intent) == (3, {"SIJ"}, "proposal")
    assert (cards.spine_referral, cards.country) == ("orthopedic", "other")
    assert (cards.indicator_ceilings, cards.selection_behavior) == ({"PSYCH": "info"}, "any")
    assert (cards.info_cards, cards.link_hosts) == ("with-orders", ("acsearch.acr.org",))
    assert (cards.detail, cards.orders_per_suggestion, cards.links) == ("plain", "one", "listed")
    assert [entry.code for entry in client.order_catalogue.entries_for("crp")] == ["5"]
    assert client.code_map.concepts == {("urn:y", "7"): ("odi",)}


def test_identity_key_may_be_hexadecimal_base64_or_a_file(write: Write, tmp_path: Path) -> None:
    """The three ways to give the key yield the same bytes, and it is not in any printed form."""
    key = bytes(range(32))
    (tmp_path / "id.key").write_text(key.hex() + "\n")
    base = '[service]\npublic_base_url = "https://cds.example"\n'

    for line in (
        f'identity_key = "{key.hex()}"',
        f'identity_key = "{base64.b64encode(key).decode()}"',
        'identity_key_file = "id.key"',
    ):
        config = load_config(write(base + line))
        assert config.service.identity_key == key
        assert key.hex() not in repr(config)
        assert "identity_key=" not in repr(config)


WRONG = {
    "no service": (CLIENT, "'service' is missing"),
    "no public URL": ("[service]\n", "'public_base_url' is missing"),
    "misspelt key": (
        SERVICE + "acept_unreviewed_content = true",
        "Did you mean 'accept_unreviewed_content'",
    ),
    "misspelt client key": (
        SERVICE + CLIENT + 'fhir_base = ["https://x"]',
        "clients[0]: the key 'fhir_base' is not known here. Did you mean 'fhir_bases'",
    ),
    "a key of the service in the table of cards": (
        SERVICE + CLIENT + '[clients.cards]\nsite_cards = "ours"',
        "clients[0].cards: the key 'site_cards' is not known here. It belongs under [service].",
    ),
    "a key of two tables in neither": (
        SERVICE + CLIENT + 'disabled_cards = ["SMOKE"]',
        "'disabled_cards' is not known here. It belongs under [service] or [clients.cards].",
    ),
    "a role's code without its system": (
        SERVICE + CLIENT + '[[clients.roles]]\nname = "x"\ncodes = ["PT"]\nhidden_cards = ["SIJ"]',
        "codes[0]: the value is too long or has the wrong form. Correct it. The key means: A code",
    ),
    "wrong type": (
        SERVICE + CLIENT + "tenants = 5",
        "clients[0].tenants: the value has the wrong type. Write a list",
    ),
    "text for a number": (SERVICE + CLIENT + 'burst = "5"', "clients[0].burst"),
    "true for a number": (SERVICE + CLIENT + "burst = true", "clients[0].burst"),
    "a rate that is no number": (
        SERVICE + CLIENT + "rate_per_second = nan",
        "clients[0].rate_per_second: this is no number. Write a number in digits",
    ),
    "a rate without end": (SERVICE + CLIENT + "rate_per_second = +inf", "clients[0].rate_per"),
    "a deadline that is no number": (SERVICE + "deadline_ms = -nan", "service.deadline_ms"),
    "symmetric algorithm": (
        SERVICE + CLIENT + 'algorithms = ["HS256"]',
        "clients[0].algorithms[0]: the value is not one of the choices",
    ),
    "no algorithm": (SERVICE + CLIENT + 'algorithms = ["none"]', "clients[0].algorithms[0]"),
    "empty list of algorithms": (SERVICE + CLIENT + "algorithms = []", "the list is empty"),
    "lifetime over an hour": (SERVICE + CLIENT + "max_lifetime_seconds = 3601", "from 30 to 3600"),
    "skew over five minutes": (SERVICE + CLIENT + "clock_skew_seconds = 301", "from 0 to 300"),
    "unknown card": (SERVICE + 'disabled_cards = ["RF_CES"]', "service.disabled_cards[0]"),
    "unknown card with a ceiling": (
        SERVICE + CLIENT + '[clients.cards.indicator_ceilings]\nX = "info"',
        "indicator_ceilings",
    ),
    "issuer twice": (
        SERVICE + CLIENT.replace('["https://ehr.example"]', '["a", "a"]'),
        "written twice",
    ),
    "id with blanks": (SERVICE + CLIENT.replace('"hospital"', '"The Hospital"'), "clients[0].id"),
    "no keys": (SERVICE + CLIENT.replace("jwks_url", "jku_urls = []\n#"), "exactly one of jwks"),
    "keys in two ways": (SERVICE + CLIENT + 'jwks_file = "x"', "exactly one of jwks"),
    "http key set": (
        SERVICE + CLIENT.replace("https://ehr.example/jwks", "http://ehr.example/jwks"),
        "https",
    ),
    "key set file missing": (
        SERVICE
        + CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "none.json"'),
        "cannot be read",
    ),
    "key set empty": (
        SERVICE
        + CLIENT.replace(
            'jwks_url = "https://ehr.example/jwks.json"',
            '[[clients.jwks.keys]]\nkty = "oct"\nkid = "a"',
        ),
        "secret key",
    ),
    "http FHIR server": (
        SERVICE + CLIENT + 'fhir_bases = ["http://ehr.example/r4"]',
        "in the clear",
    ),
    "loopback FHIR server": (
        SERVICE + CLIENT + 'fhir_bases = ["http://127.0.0.1/r4"]',
        "in the clear",
    ),
    "loopback switch": (SERVICE + CLIENT + "allows_loopback_fhir = true", "only for mode"),
    "FHIR server with a user": (
        SERVICE + CLIENT + 'fhir_bases = ["https://u@ehr.example/r4"]',
        "is refused",
    ),
    "private base not listed": (
        SERVICE + CLIENT + 'private_fhir_bases = ["https://x.example"]',
        "not in fhir_bases",
    ),
    "time zone": (SERVICE + CLIENT + 'time_zone = "Mars/Olympus"', "no such time zone"),
    "time zone path": (SERVICE + CLIENT + 'time_zone = "../../etc/passwd"', "no such time zone"),
    "certificates that are not there": (
        SERVICE + CLIENT + 'ca_file = "none.pem"',
        "clients[0].ca_file: there is no such file",
    ),
    "certificates that are none": (SERVICE + CLIENT + 'ca_file = "cds.toml"', "no certificate"),
    "origin without a scheme": (
        SERVICE + 'cors_origins = ["ehr.example"]' + CLIENT,
        "service.cors_origins: one of the origins can never match",
    ),
    "origin with a slash": (SERVICE + 'cors_origins = ["https://ehr.example/"]', "never match"),
    "origin with a large letter": (SERVICE + 'cors_origins = ["https://EHR.example"]', "small"),
    "origin with the usual port": (SERVICE + 'cors_origins = ["https://x.example:443"]', "usual"),
    "proxy of another kind": (
        SERVICE + CLIENT + 'outbound_proxy = "socks5://proxy:1080"',
        "plain http or https URL of host and port. Write it as http://host:port.",
    ),
    "proxy with a user": (SERVICE + CLIENT + 'outbound_proxy = "http://u:p@proxy"', "is refused"),
    "link host as a URL": (
        SERVICE + 'allowed_link_hosts = ["https://doi.org"]' + CLIENT,
        "without https://",
    ),
    "order catalogue": (SERVICE + CLIENT + 'order_catalogue = "x"', "order_catalogue"),
    "http public URL": (SERVICE.replace("https", "http"), "in the clear"),
    "public URL of discovery": (
        SERVICE.replace("cds.example", "cds.example/x/cds-services/"),
        "the service adds /cds-services itself",
    ),
    "audience of discovery": (
        SERVICE + CLIENT + 'audience_base_urls = ["https://x.example/cds-services"]',
        "the service adds /cds-services itself",
    ),
    "short identity key": (SERVICE.replace(SECRET, "c0ffee"), "less than 32 bytes"),
    "odd identity key": (SERVICE.replace(SECRET, "§" * 40), "neither hexadecimal nor base64"),
    "identity key twice": (SERVICE + 'identity_key_file = "x"', "given twice"),
    "no identity key": (SERVICE.replace("identity_key", "#"), "production needs a secret"),
    "same id twice": (SERVICE + CLIENT + CLIENT, "another client has this id"),
    "same issuer twice": (SERVICE + CLIENT + CLIENT.replace("hospital", "second"), "same issuer"),
    "sandbox in production": (
        SERVICE + CLIENT.replace('https://ehr.example"', 'https://sandbox.cds-hooks.org"'),
        "private key of the CDS Hooks Sandbox is public",
    ),
    "no TOML": (SERVICE + "x = = 1", "line 4, column 5: this is not TOML"),
    "key written twice": (SERVICE + 'mode = "demo"\nmode = "demo"', "written twice"),
}


@pytest.mark.parametrize(("text", "part"), WRONG.values(), ids=WRONG.keys())
def test_wrong_file_is_refused_with_the_place_and_the_cure(
    write: Write, text: str, part: str
) -> None:
    """The refusal says file and key and what to do, and repeats no value."""
    path = write(text)
    told = fault_of(path)
    assert told.startswith(f"{path}, ")
    assert part in told
    assert SECRET not in told
    assert "c0ffee" not in told
    assert "§" not in told
    assert "u:p" not in told


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://ehr.example", "http://localhost:4200", "https://[::1]:8443"],
)
def test_origin_that_a_browser_sends_is_accepted(write: Write, origin: str) -> None:
    """Scheme, host and port as browsers write them, and the two words with their own meaning."""
    config = load_config(write(f'{SERVICE}cors_origins = ["{origin}"]'))
    assert config.service.cors_origins == (origin,)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is no text are told apart from a wrong key."""
    assert "cannot be read" in fault_of(tmp_path / "none.toml")
    assert "cannot be read" in fault_of(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    assert "not UTF-8" in fault_of(tmp_path / "latin.toml")


def test_file_with_a_byte_order_mark_is_read(write: Write) -> None:
    """Editors of Windows put one before the first line, and nobody sees it there."""
    file = write(SERVICE)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_config(file).service == load_config(write(SERVICE)).service


def test_private_key_in_a_static_key_set_is_refused(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Somebody who pastes a private key hears it at once, and the key is not repeated."""
    document = {"keys": [public_jwk(ec_key, "k", d="canary-private")]}
    (tmp_path / "keys.json").write_text(json.dumps(document))
    text = CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "keys.json"')
    told = fault_of(write(SERVICE + text))
    assert "secret key" in told
    assert "canary" not in told


@pytest.mark.parametrize("content", ["[" * 50_000, "{", "", "[]", '{"keys": []}'])
def test_key_set_file_that_is_none_is_refused(write: Write, tmp_path: Path, content: str) -> None:
    """A cut or foreign file is not taken for a key set."""
    (tmp_path / "keys.json").write_text(content)
    text = CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "keys.json"')
    assert "clients[0].jwks_file" in fault_of(write(SERVICE + text))


def test_clients_may_share_an_issuer_when_tenants_differ(write: Write) -> None:
    """One cloud EHR signs for two hospitals."""
    text = SERVICE + CLIENT + 'tenants = ["n"]\n' + CLIENT.replace("hospital", "b")
    assert len(load_config(write(text + 'tenants = ["s"]\n')).clients) == 2
    assert "same issuer" in fault_of(write(text + 'tenants = ["s", "n"]\n'))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80) | st.text(max_size=80).map((SERVICE + CLIENT).__add__))
def test_any_text_is_a_configuration_or_a_settings_error(write: Write, text: str) -> None:
    """Whatever stands in the file, nothing but a SettingsError comes out."""
    try:
        path = write(text)
    except UnicodeEncodeError:
        return
    try:
        assert isinstance(load_config(path), Config)
    except SettingsError as error:
        told = str(error)
    else:
        told = ""
    assert "c0ffee" not in told


class HandClock:
    """A monotonic clock moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_changed_file_is_used_without_a_restart(write: Write) -> None:
    """A new client is known a second later; within the second the file is not looked at."""
    clock = HandClock()
    path = write(SERVICE)
    config = ReloadingConfig(path, monotonic=clock)
    assert config.current().clients == ()
    write(SERVICE + CLIENT)
    clock.now = 0.9
    assert config.current().clients == ()
    clock.now = 1.0
    assert [client.id for client in config.current().clients] == ["hospital"]


@pytest.mark.parametrize("is_start", [True, False])
def test_file_changed_while_it_is_being_read_is_read_again(
    write: Write, monkeypatch: pytest.MonkeyPatch, *, is_start: bool
) -> None:
    """Cards switched off a moment too early stayed on until the file was changed once more."""
    clock = HandClock()
    off = SERVICE + 'disabled_cards = ["SMOKE"]\n'
    path = write(SERVICE)
    config = None if is_start else ReloadingConfig(path, monotonic=clock)
    write(SERVICE + CLIENT)
    clock.now = 1.0
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(
            "cds_service.trust.config._refuse_ambiguous_clients", lambda *_: write(off)
        )
        config = config or ReloadingConfig(path, monotonic=clock)
        assert config.current().service.disabled_cards == frozenset()
    clock.now = 2.0
    assert config.current().service.disabled_cards == {"SMOKE"}


def test_client_that_did_not_change_stays_the_same(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Its connections to its FHIR server stay; those of the changed client are opened anew."""
    keys = {"keys": [public_jwk(ec_key, "k")]}
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    (tmp_path / "ca.pem").write_text(Path(certifi.where()).read_text())
    one = CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "keys.json"')
    one += 'ca_file = "ca.pem"\nfhir_bases = ["https://ehr.example/fhir"]\n'
    two = CLIENT.replace("hospital", "clinic").replace("ehr.example", "clinic.example")
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + one + two), monotonic=clock)
    first, second = config.current().clients
    write(SERVICE + 'disabled_cards = ["SMOKE"]\n' + one + two + "burst = 7")
    clock.now = 1.0
    assert config.current().service.disabled_cards == {"SMOKE"}
    assert config.current().clients[0] is first
    assert config.current().clients[1] is not second
    write(SERVICE + "burts = 1\n" + one + two)
    (tmp_path / "ca.pem").write_text("\n" + Path(certifi.where()).read_text())
    clock.now = 2.0
    assert config.current().clients[0] is first
    write(SERVICE + one + two)
    clock.now = 3.0
    assert config.current().clients[0] == first
    assert config.current().clients[0] is not first, "its certificates are others now"


def test_ledger_of_a_running_service_is_the_one_of_its_start(write: Write) -> None:
    """A worker process that begins later writes where its sisters do; the log names the restart."""
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + CLIENT), monotonic=clock)
    more = '[ledger]\nurl = "postgresql+pg8000://cds@db.example/cds"\n[metrics]\nport = 9464\n'
    write(SERVICE + 'deadline_ms = 900\ndisabled_cards = ["SMOKE"]\n' + more + CLIENT)
    clock.now = 1.0
    with capture_logs() as logs:
        now = config.current()
    assert now.ledger == LedgerSettings()
    assert now.figures.metrics_port is None
    assert now.service.disabled_cards == {"SMOKE"}
    assert logs[0]["needs_restart"] == ["service.deadline_ms", "ledger", "metrics.port"]
    write(SERVICE + CLIENT)
    clock.now = 2.0
    with capture_logs() as logs:
        config.current()
    assert logs[0]["needs_restart"] is None


def test_new_password_of_the_same_database_holds_at_once(write: Write, tmp_path: Path) -> None:
    """A password that was changed is read by the next worker process, that of no other database."""
    secret = tmp_path / "password"
    secret.write_text("old")
    table = '[ledger]\nurl = "postgresql+pg8000://cds@{}/cds"\npassword_file = "password"\n'
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + table.format("one.example")), monotonic=clock)
    secret.write_text("new one")
    clock.now = 1.0
    assert config.current().ledger.password == "new one"
    secret.write_text("of another")
    write(SERVICE + table.format("two.example"))
    clock.now = 2.0
    assert config.current().ledger.password == "new one"


def test_wrong_file_is_refused_and_the_old_one_stays(write: Write) -> None:
    """A slip of the pen does not stop the service; the log says what is wrong, once."""
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + CLIENT), monotonic=clock)
    before = config.current()
    write(SERVICE + CLIENT + "burst = 0")
    with capture_logs() as logs:
        for clock.now in (1.0, 2.0, 3.0):
            assert config.current() is before
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "clients[0].burst" in logs[0]["fault"]
    write(SERVICE + CLIENT + "burst = 7")
    clock.now = 4.0
    assert config.current().clients[0].burst == 7


def test_refused_file_is_not_read_again_until_it_or_a_file_it_names_changes(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the code maps of five hospitals each reading took seconds, of one call every second."""
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + CLIENT), monotonic=clock)
    write(SERVICE + CLIENT + 'code_map = "codes.csv"')
    readings: list[float] = []

    def reading(path: Path, *, files: dict[Path, Stamp]) -> Config:
        readings.append(clock.now)
        return load_config(path, files=files)

    monkeypatch.setattr("cds_service.trust.config.load_config", reading)
    with capture_logs() as logs:
        for clock.now in (1.0, 2.0, 3.0):
            config.current()
        (tmp_path / "codes.csv").write_text("no table of codes")
        for clock.now in (4.0, 5.0):
            config.current()
        (tmp_path / "codes.csv").chmod(0o600)  # a reason why it may be readable now
        for clock.now in (6.0, 7.0):
            config.current()
    assert readings == [1.0, 4.0, 6.0]
    assert [entry["log_level"] for entry in logs] == ["error", "error"]


def test_deleted_file_keeps_the_old_configuration(write: Write) -> None:
    """A file that is gone for a moment, as with many editors, changes nothing."""
    clock = HandClock()
    path = write(SERVICE + CLIENT)
    config = ReloadingConfig(path, monotonic=clock)
    before = config.current()
    path.unlink()
    clock.now = 1.0
    assert config.current() is before


def test_running_service_does_not_become_a_demonstration(write: Write) -> None:
    """The checks of the demonstration are made at the start, so the mode needs a restart."""
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + CLIENT), monotonic=clock)
    write(SERVICE + 'mode = "demo"\n' + CLIENT)
    clock.now = 1.0
    with capture_logs() as logs:
        assert not config.current().service.is_demo
    assert "service.mode" in logs[0]["fault"]


def test_what_is_required_of_the_first_file_is_required_of_later_ones(write: Write) -> None:
    """A file that would have stopped the start is refused while running, too."""

    def no_clients(config: Config) -> None:
        if config.clients:
            raise SettingsError("no clients, please.")

    clock = HandClock()
    config = ReloadingConfig(write(SERVICE), monotonic=clock)
    config.require(no_clients)
    write(SERVICE + CLIENT)
    clock.now = 1.0
    assert config.current().clients == ()
    with pytest.raises(SettingsError, match="no clients"):
        load_config(write(SERVICE + CLIENT)).require(no_clients)


def test_card_ids_of_the_schema_are_the_cards_of_the_content() -> None:
    """A card can be switched off in the configuration exactly if there is such a card."""
    path = ROOT / "cds_service" / "trust" / "schemas" / "config.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert set(schema["definitions"]["card"]["enum"]) == set(load_knowledge().cards)
    roles = schema["properties"]["clients"]["items"]["properties"]["roles"]["items"]
    hideable = roles["properties"]["hidden_cards"]["items"]["enum"]
    assert set(hideable) == set(load_knowledge().cards) - {*RED_FLAGS, DATA_READ}


def test_every_key_of_the_file_is_used_by_the_service() -> None:
    """A key that is documented but read by nobody would be a promise not kept."""
    readers = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "cds_service").rglob("*.py")
        if not path.name.startswith("config")
    ]
    names = {
        field.name
        for kind in (
            ServiceSettings,
            ClientProfile,
            CardPreferences,
            ReadingForm,
            SearchForm,
            Role,
        )
        for field in dataclasses.fields(kind)
    }
    unused = {
        name for name in names if not any(re.search(rf'[."]{name}\b', text) for text in readers)
    }
    assert unused == set()


def test_changed_key_set_file_is_read_again(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Files named by the configuration count as part of it."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [public_jwk(ec_key, "old")]}))
    text = CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "keys.json"')
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE + text), monotonic=clock)
    keys.write_text(json.dumps({"keys": [public_jwk(ec_key, "new")]}))
    os.utime(keys, ns=(1, 1))
    clock.now = 1.0
    found = config.current().clients[0].jwks
    assert found is not None
    assert set(found.keys) == {"new"}


def test_file_behind_a_link_is_read_again_when_the_link_leads_elsewhere(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """Sites put a new version beside the old one and turn a link to it."""
    link, keys = tmp_path / "current.toml", tmp_path / "current.json"
    link.symlink_to(write(SERVICE))
    clock = HandClock()
    config = ReloadingConfig(link, monotonic=clock)
    text = CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', f'jwks_file = "{keys}"')
    for version, kid in enumerate(("old", "new")):
        (tmp_path / f"{kid}.json").write_text(json.dumps({"keys": [public_jwk(ec_key, kid)]}))
        (tmp_path / f"{kid}.toml").write_text(SERVICE + text + f"burst = {version + 1}")
    for clock.now, toml, kid in ((1.0, "old", "old"), (2.0, "old", "new"), (3.0, "new", "new")):
        for linked, name in ((link, f"{toml}.toml"), (keys, f"{kid}.json")):
            linked.unlink(missing_ok=True)
            linked.symlink_to(tmp_path / name)
        client = config.current().clients[0]
        assert client.burst == (1 if toml == "old" else 2)
        assert client.jwks is not None
        assert set(client.jwks.keys) == {kid}


@pytest.mark.parametrize("name", ["epic", "oracle-health", "cds-hooks-sandbox", "generic"])
def test_documented_example_is_accepted(tmp_path: Path, name: str) -> None:
    """Each example in docs/examples loads once its identity key exists."""
    text = (ROOT / "docs" / "examples" / f"{name}.toml").read_text(encoding="utf-8")
    (tmp_path / "identity.key").write_text(SECRET)
    path = tmp_path / f"{name}.toml"
    path.write_text(text.replace("/etc/cds-service/", ""), encoding="utf-8")
    client = load_config(path).clients[0]
    assert client.dialect == name
    assert client.fhir_bases


def test_every_key_is_described_in_the_schema_and_in_the_documentation() -> None:
    """Nobody has to guess what a key means."""
    schema_path = ROOT / "cds_service" / "trust" / "schemas" / "config.schema.json"
    schema = json.loads(schema_path.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "client-profiles.md").read_text(encoding="utf-8")
    client = schema["properties"]["clients"]["items"]
    inner = {name: client["properties"][name] for name in ("cards", "reading", "searches")}
    roles = client["properties"]["roles"]["items"]
    shared = (schema["properties"]["service"], schema["properties"]["ledger"])
    for table in (*shared, client, *inner.values(), roles):
        assert table["additionalProperties"] is False
        for key, rule in table["properties"].items():
            assert rule["description"].endswith(".")
            is_table = key in {*inner, "roles"}
            assert f"| `{key}` |" in page or is_table
            assert rule["description"] in page or is_table
    for key, rule in schema["properties"]["service"]["properties"].items():
        if "default" in rule and key != "mode":
            used = getattr(ServiceSettings(public_base_url="https://cds.example"), key)
            assert rule["default"] == used, key
            assert f"| `{str(used).lower()}` |" in page.lower(), key


def test_demo_configuration_authenticates_with_its_own_key(tmp_path: Path) -> None:
    """The demonstration runs with real tokens; the private key is nowhere on the disk."""
    url, fhir = "http://127.0.0.1:8080", "http://127.0.0.1:8090/fhir"
    path, pem = generate_demo_config(tmp_path / "demo", fhir, url)
    config = load_config(path)
    assert config.service.is_demo
    assert config.service.accept_unreviewed_content
    assert config.service.identity_key == DEVELOPMENT_IDENTITY_KEY
    assert config.clients[0].fhir_bases == (fhir,)

    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    verifier = Verifier(config, tmp_path, lambda: datetime.fromtimestamp(NOW, UTC))
    ehr = Ehr(key, kid=DEMO_KEY_ID)
    token = ehr.sign(iss=DEMO_ISSUER, aud=url + "/cds-services/x")
    assert verifier.authenticate(token, ("/cds-services/x",)).id == "demo-generic"
    generate_demo_config(tmp_path / "demo", fhir, url)
    newer = Verifier(load_config(path), tmp_path, lambda: datetime.fromtimestamp(NOW, UTC))
    with pytest.raises(UnauthorizedError):
        newer.authenticate(
            ehr.sign(iss=DEMO_ISSUER, aud=url + "/cds-services/x"), ("/cds-services/x",)
        )
    for file in (tmp_path / "demo").rglob("*"):
        assert b"PRIVATE KEY" not in file.read_bytes()


def test_refused_file_is_tried_again_when_a_file_it_names_appears(
    write: Write, tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    """The operator may write the configuration first and the key set after it."""
    clock = HandClock()
    config = ReloadingConfig(write(SERVICE), monotonic=clock)
    write(SERVICE + CLIENT.replace('jwks_url = "https://ehr.example/jwks.json"', 'jwks_file = "k"'))
    clock.now = 1.0
    assert config.current().clients == ()
    (tmp_path / "k").write_text(json.dumps({"keys": [public_jwk(ec_key, "k")]}))
    clock.now = 2.0
    assert len(config.current().clients) == 1
