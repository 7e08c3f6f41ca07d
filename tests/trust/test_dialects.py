"""Dialects are data: complete, closed, documented, and overridden key by key."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from cds_service.errors import SettingsError
from cds_service.trust.config import Config, ReloadingConfig, load_config
from cds_service.trust.dialect import TABLES, dialects

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "client-profiles.md"
SECRET = "0123456789abcdef" * 4
SERVICE = f'[service]\npublic_base_url = "https://cds.example"\nidentity_key = "{SECRET}"\n'
CLIENT = '[[clients]]\nid = "ehr"\nissuers = ["i"]\njwks_url = "https://ehr.example/jwks.json"\n'
PREFERENCE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"


def config_of(folder: Path, text: str) -> Config:
    """Return the configuration with one client and *text* in its table."""
    path = folder / "service.toml"
    path.write_text(SERVICE + CLIENT + text, encoding="utf-8")
    return load_config(path)


def fault_of(folder: Path, text: str) -> str:
    """Return why such a configuration is refused."""
    with pytest.raises(SettingsError) as caught:
        config_of(folder, text)
    return str(caught.value)


def client_schema() -> dict[str, dict[str, object]]:
    """Return the schema of a client's keys."""
    path = ROOT / "cds_service" / "trust" / "schemas" / "config.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, dict[str, object]] = schema["properties"]["clients"]["items"]["properties"]
    return found


def test_every_dialect_can_be_chosen_and_no_other(tmp_path: Path) -> None:
    """The names of the file are the names a profile may write."""
    assert set(dialects()) == set(client_schema()["dialect"]["enum"])  # type: ignore[call-overload]
    assert "dialect" in fault_of(tmp_path, 'dialect = "medical-pad"\n')


@pytest.mark.parametrize("name", list(dialects()))
@pytest.mark.parametrize("table", TABLES)
def test_every_value_of_a_dialect_fits_the_schema_of_a_profile(name: str, table: str) -> None:
    """A dialect can only say what a profile can say, so one schema closes both."""
    Draft7Validator(client_schema()[table]).validate(dialects()[name][table])


def test_no_dialect_has_a_key_of_its_own() -> None:
    """What one kind of EHR does differently has a plain value for all others."""
    text = (ROOT / "cds_service" / "trust" / "dialects.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)
    for name, tables in written.items():
        assert set(tables) <= set(TABLES), name
        for table, keys in tables.items():
            assert set(keys) <= set(written["generic"][table]), name


def shown(value: object) -> str:
    """Return a value as the documentation's table prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    values = value if isinstance(value, list) else [value]
    short = [str(v).replace("urn:com.epic.cdshooks.action.code.system.", "...") for v in values]
    short = [v.replace("com.epic.cdshooks.card.", "...") for v in short if v]
    return ", ".join(f"`{v}`" for v in short) or "none"


def test_documentation_shows_what_each_dialect_changes() -> None:
    """The table on the page is the data, value by value."""
    page = PAGE.read_text(encoding="utf-8")
    names = list(dialects())
    assert f"| Key | {' | '.join(f'`{name}`' for name in names)} |" in page
    for table in TABLES:
        for key, plain in dialects()["generic"][table].items():
            cells = [shown(plain)]
            for name in names[1:]:
                value = dialects()[name][table][key]
                cells.append("=" if value == plain else shown(value))
            assert f"| `{key}` | {' | '.join(cells)} |" in page, key


def test_defaults_of_the_profile_are_those_of_the_generic_dialect(tmp_path: Path) -> None:
    """An EHR nobody described gets what the specification says."""
    (plain,) = config_of(tmp_path, "").clients
    (named,) = config_of(tmp_path, 'dialect = "generic"\n').clients
    assert plain == named
    (old,) = config_of(tmp_path, 'dialect = "cds-hooks-1-0"\n').clients
    assert (old.cards.selection_behavior, old.cards.topic) == ("at-most-one", "none")


OTHER_VALUES = {
    "selection_behavior": '"at-most-one"',
    "orders_per_suggestion": '"all"',
    "intent": '"plan"',
    "order_category": '"none"',
    "requires_local_codes": "false",
    "keeps_standard_codes": "true",
    "references": '"absolute"',
    "detail": '"plain"',
    "detail_type_extension": '"x"',
    "topic": '"none"',
    "links": '"none"',
}


@pytest.mark.parametrize("key", sorted(OTHER_VALUES))
def test_profile_overrides_any_single_key_of_its_dialect(key: str, tmp_path: Path) -> None:
    """One line changes one thing, and everything else stays as the dialect says."""
    (epic,) = config_of(tmp_path, 'dialect = "epic"\n').clients
    text = f'dialect = "epic"\n[clients.cards]\n{key} = {OTHER_VALUES[key]}\n'
    (changed,) = config_of(tmp_path, text).clients
    differing = {
        name
        for name in epic.cards.__slots__
        if getattr(epic.cards, name) != getattr(changed.cards, name)
    }
    assert differing == {key}
    assert set(OTHER_VALUES) | {"order_systems"} == set(dialects()["generic"]["cards"])


def test_order_list_with_another_code_system_is_refused_for_epic(tmp_path: Path) -> None:
    """Epic acts on preference list items and order sets; a profile may allow more."""
    (tmp_path / "orders.csv").write_text("concept,system,code,display\ncrp,urn:oid:2.9,5,CRP\n")
    text = 'order_catalogue = "orders.csv"\ndialect = "epic"\n'
    fault = fault_of(tmp_path, text)
    assert "orders.csv, line 2, column system: this EHR does not act on orders" in fault
    allowed = text + '[clients.cards]\norder_systems = ["urn:oid:2.9"]\n'
    (client,) = config_of(tmp_path, allowed).clients
    assert len(client.order_catalogue.entries) == 1


@pytest.mark.parametrize("key", ["order_catalogue", "code_map"])
def test_missing_file_is_named_by_its_key(key: str, tmp_path: Path) -> None:
    """A file that is not there is an error at the start."""
    fault = fault_of(tmp_path, f'{key} = "nowhere.csv"\n')
    assert f"clients[0].{key}: the file cannot be read" in fault


def test_changed_order_list_is_read_again_and_a_wrong_one_leaves_the_old(tmp_path: Path) -> None:
    """An analyst edits the list while the service runs; a slip changes nothing."""
    orders = tmp_path / "orders.csv"
    good = f"concept,system,code,display\ncrp,{PREFERENCE},5,CRP\n"
    orders.write_text(good)
    path = tmp_path / "service.toml"
    path.write_text(SERVICE + CLIENT + 'order_catalogue = "orders.csv"\n')
    seconds = itertools.count()
    config = ReloadingConfig(path, monotonic=lambda: float(next(seconds)))

    def code_after(text: str) -> str:
        orders.write_text(text)
        return config.current().clients[0].order_catalogue.entries_for("crp")[0].code

    assert code_after(good.replace(",5,", ",66,")) == "66"
    assert code_after(good.replace(",5,", ",,")) == "66"
    assert code_after(good.replace(",5,", ",7,")) == "7"


@pytest.mark.parametrize("card", ["RF-CES", "PSY-SI", "DATA-READ"])
def test_red_flag_cannot_be_hidden_from_a_role(card: str, tmp_path: Path) -> None:
    """Red flags and gaps are shown to everybody, whatever a site writes."""
    role = f'[[clients.roles]]\nname = "r"\ncodes = ["s:s|c"]\nhidden_cards = ["{card}"]\n'
    assert "clients[0].roles[0].hidden_cards[0]: the value is not one" in fault_of(tmp_path, role)


def test_every_key_of_every_dialect_is_explained_on_the_page() -> None:
    """Each key of the table has a row of its own that says what it means."""
    page = PAGE.read_text(encoding="utf-8")
    for table in TABLES:
        for key in dialects()["generic"][table]:
            assert len(re.findall(rf"^\| `{key}` \|", page, re.MULTILINE)) == 2, key
