"""What did the operator configure, and does it hold together?

One TOML file: ``[service]``, ``[ledger]`` and one ``[[clients]]`` table per EHR, key by key in
``schemas/config.schema.json`` and ``docs/client-profiles.md``.  A wrong file is refused as a
whole.  The environment and the command line are read elsewhere.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from cds_service.errors import SettingsError
from cds_service.trust.config_faults import fault, key_path, schema_fault
from cds_service.trust.config_figures import FiguresSettings, read_figures
from cds_service.trust.config_ledger import LedgerSettings, read_ledger
from cds_service.trust.config_place import Place, Stamp, Table, stamp_of, texts_of
from cds_service.trust.config_reading import own_base_url, read_client, web_origins
from cds_service.trust.config_secrets import read_identity_key
from cds_service.trust.profile import ClientProfile

DEVELOPMENT_IDENTITY_KEY = b"post-laminectomy-cds development only identity key"
"""Not a secret; for ``--dev`` and the demonstration, where card ids must repeat."""

_LARGEST_FILE = 4_194_304
_CHECK_EVERY_SECONDS = 1.0
_SERVICE_AT_START = (
    "public_base_url",
    "state_dir",
    "site_cards",
    "workers",
    "threads",
    "deadline_ms",
    "max_concurrent_requests",
)
"""Keys of ``[service]`` of which something is read at the start only."""
_LOG = structlog.get_logger("cds_service.trust.config")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What holds for the whole service; see the schema for each key.

    ``mode``, ``state_dir``, ``workers`` and ``threads`` are read once at the start; the rest
    follows a changed file.
    """

    public_base_url: str
    mode: str = "production"
    accept_unreviewed_content: bool = False
    identity_key: bytes = field(default=DEVELOPMENT_IDENTITY_KEY, repr=False)
    state_dir: Path | None = None
    site_cards: Path | None = None
    """Folder with the site's own clinical content, laid out like ``cards/``; read at the start."""
    workers: int | None = None
    threads: int = 32
    deadline_ms: int = 450
    max_body_bytes: int = 16_777_216
    max_concurrent_requests: int = 64
    discovery_requires_token: bool = False
    discovery_version: str = "STU3"
    allowed_link_hosts: tuple[str, ...] = ()
    on_replay_store_loss: str = "memory"
    cors_origins: tuple[str, ...] = ("*",)
    disabled_cards: frozenset[str] = frozenset()

    @property
    def is_demo(self) -> bool:
        """Whether this is the built-in demonstration on this machine."""
        return self.mode == "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration that was checked as a whole."""

    service: ServiceSettings
    clients: tuple[ClientProfile, ...] = ()
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    figures: FiguresSettings = field(default_factory=FiguresSettings)
    files: Mapping[Path, Stamp] = field(default_factory=dict)
    """The file itself and every file it names, as they were before each was read."""

    def current(self) -> Config:
        """Return this configuration; :class:`ReloadingConfig` answers the same question."""
        return self

    def require(self, check: Check) -> None:
        """Let *check* refuse this configuration."""
        check(self)

    def keep_house(self) -> None:
        """Do nothing: it never changes."""


Check = Callable[[Config], None]
"""Raises ``SettingsError`` for a configuration that must not be used."""


def load_config(path: Path, *, files: dict[Path, Stamp] | None = None) -> Config:
    """Return the configuration in the TOML file at *path*.

    It and every file it names are noted in *files* before they are read, also if it is refused.

    Raises:
        SettingsError: The file cannot be read, or something in it is wrong.
    """
    files = {} if files is None else files
    files[path.absolute()] = stamp_of(path)
    document = _read_toml(path)
    worst = best_match(_validator().iter_errors(document))
    if worst is not None:
        raise schema_fault(path, worst, cast("Mapping[str, Any]", _validator().schema))
    _refuse_no_numbers(path, document)
    service_table = cast("Table", document["service"])
    place = Place(file=path, is_demo=service_table.get("mode") == "demo", files=files)
    service = _read_service(place, service_table)
    ledger = read_ledger(place, cast("Table", document.get("ledger", {})))
    figures = read_figures(
        place,
        *(cast("Table", document.get(name, {})) for name in ("metrics", "explain", "tracing")),
    )
    clients: list[ClientProfile] = []
    for position, table in enumerate(cast("list[Table]", document.get("clients", []))):
        place.key_path = f"clients[{position}]"
        clients.append(read_client(place, table))
    _refuse_ambiguous_clients(path, clients)
    return Config(
        service=service,
        clients=tuple(clients),
        ledger=ledger,
        figures=figures,
        files=dict(files),
    )


class ConfigSource(Protocol):
    """Whatever knows the configuration that holds now."""

    def current(self) -> Config:
        """Return the configuration that holds now."""

    def require(self, check: Check) -> None:
        """Let *check* refuse the configuration now, and each later one before it is used.

        Raises:
            SettingsError: The configuration of now is refused.
        """

    def keep_house(self) -> None:
        """Start what is done beside the calls, in a process of its own."""


class ReloadingConfig:
    """The configuration file, read again when it or a file it names changes.

    A wrong file is refused and logged, and the configuration before it stays.  Where calls are
    recorded and who may count them stays as it was at the start, so that a worker process that
    begins later does as its sisters do.

    Time:
        The files are looked at no more than once a second.
    """

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._check: Check | None = None
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._config = self._first = load_config(path)
        self._seen: Mapping[Path, Stamp] = self._config.files
        self._refusal: str | None = None
        self._checked_at = monotonic()

    def current(self) -> Config:
        """Return the newest configuration that was right."""
        is_due = self._monotonic() - self._checked_at >= _CHECK_EVERY_SECONDS
        if is_due and self._lock.acquire(blocking=False):
            try:
                self._checked_at = self._monotonic()
                self._read_again_if_changed()
            finally:
                self._lock.release()
        return self._config

    def require(self, check: Check) -> None:
        """Let *check* refuse the configuration now, and each later one before it is used.

        Raises:
            SettingsError: The configuration of now is refused.
        """
        check(self._config)
        self._check = check

    def keep_house(self) -> None:
        """Start the thread that looks at the files while no call comes.

        A process that nobody calls would miss a right file if a wrong one follows, and go on with
        an older one than its sisters.
        """
        threading.Thread(target=self._house, name="configuration", daemon=True).start()

    def _house(self) -> None:
        while True:
            time.sleep(_CHECK_EVERY_SECONDS)
            self.current()

    def _read_again_if_changed(self) -> None:
        if self._seen == {path: stamp_of(path) for path in self._seen}:
            return
        # A refused file may name another that is mended later: that one is looked at, too.
        seen: dict[Path, Stamp] = {}
        self._seen = seen
        try:
            config = load_config(self._path, files=seen)
            self._refuse_other_mode(config)
            if self._check is not None:
                self._check(config)
        except SettingsError as error:
            if str(error) != self._refusal:
                self._refusal = str(error)
                _LOG.error("configuration refused, the old one stays", fault=self._refusal)
            return
        self._refusal = None
        self._use(_as_started(config, self._config))
        _LOG.info(
            "configuration read again",
            clients=len(config.clients),
            needs_restart=_needs_restart(config, self._first) or None,
        )

    def _use(self, config: Config) -> None:
        """Let *config* hold; a client that did not change stays the same, with its connections."""
        before = self._config.files
        changed = {path for path, stamp in config.files.items() if before.get(path) != stamp}
        known = {each.id: each for each in self._config.clients if each.ca_file not in changed}
        clients = (
            known[each.id] if each == known.get(each.id) else each for each in config.clients
        )
        self._config = replace(config, clients=tuple(clients))

    def _refuse_other_mode(self, config: Config) -> None:
        """Refuse to become a demonstration while running; its checks are made at the start."""
        if config.service.mode != self._config.service.mode:
            raise fault(
                self._path,
                "service.mode",
                "a running service does not change its mode.",
                "Restart it.",
            )


def _as_started(config: Config, before: Config) -> Config:
    """Return *config* with the tables that are read at the start only as they were *before*.

    The new password of the same database holds: the old one opens nothing any more.
    """
    is_same = config.ledger.url == before.ledger.url
    password = (config if is_same else before).ledger.password
    return replace(
        config,
        ledger=replace(before.ledger, password=password),
        figures=replace(
            config.figures,
            metrics_port=before.figures.metrics_port,
            otlp_endpoint=before.figures.otlp_endpoint,
        ),
    )


def _needs_restart(config: Config, first: Config) -> list[str]:
    """Return the keys and tables that differ from those of the start and are read there only."""
    now, then = config.service, first.service
    keys = [key for key in _SERVICE_AT_START if getattr(now, key) != getattr(then, key)]
    others = {
        "ledger": config.ledger != first.ledger,
        "metrics.port": config.figures.metrics_port != first.figures.metrics_port,
        "tracing": config.figures.otlp_endpoint != first.figures.otlp_endpoint,
    }
    return [*(f"service.{key}" for key in keys), *(name for name in others if others[name])]


@cache
def _validator() -> Draft7Validator:
    schema = resources.files("cds_service.trust").joinpath("schemas/config.schema.json")
    return Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))


def _read_toml(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise fault(path, "the file", "it is larger than 4 MB.", "Check its name.")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise fault(
            path, "the file", "it cannot be read.", "Check its name and its permissions."
        ) from error
    except tomllib.TOMLDecodeError as error:
        # The parser's own text could repeat a part of a secret; the place is enough.
        found = re.search(r"at line (\d+), column (\d+)", str(error))
        place = f"line {found[1]}, column {found[2]}" if found else "end of the file"
        raise fault(
            path, place, "this is not TOML, or a key is written twice.", "Correct this line."
        ) from None
    except UnicodeDecodeError:
        raise fault(path, "the file", "it is not UTF-8.", "Save it as UTF-8.") from None
    except RecursionError:
        raise fault(path, "the file", "it is nested too deeply.", "Make it flat.") from None


def _refuse_no_numbers(path: Path, document: Mapping[str, object]) -> None:
    """Refuse nan and inf wherever the schema allows a number: nan is within every range of it."""
    found: list[tuple[tuple[str | int, ...], object]] = [((), document)]
    while found:
        parts, value = found.pop()
        if isinstance(value, dict):
            found += (((*parts, key), member) for key, member in value.items())
        elif isinstance(value, list):
            found += (((*parts, place), member) for place, member in enumerate(value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise fault(
                path, key_path(parts), "this is no number.", "Write a number in digits, such as 50."
            )


def _read_service(place: Place, table: Table) -> ServiceSettings:
    place.key_path = "service"
    identity_key = read_identity_key(place, table)
    if identity_key is None and not place.is_demo:
        raise place.fault(
            "identity_key_file",
            "production needs a secret of its own, so that card ids cannot be guessed.",
            "Make one with: openssl rand -hex 32 > identity.key",
        )
    plain = {
        key: int(value) if isinstance(value, float) else value
        for key, value in table.items()
        if key not in {"identity_key_file", "state_dir", "site_cards", "public_base_url"}
    }
    plain["identity_key"] = identity_key or DEVELOPMENT_IDENTITY_KEY
    if "allowed_link_hosts" in plain:
        plain["allowed_link_hosts"] = texts_of(table, "allowed_link_hosts")
    if "cors_origins" in plain:
        plain["cors_origins"] = web_origins(place, "cors_origins", texts_of(table, "cors_origins"))
    plain["disabled_cards"] = frozenset(cast("list[str]", table.get("disabled_cards", [])))
    if place.is_demo:
        plain["accept_unreviewed_content"] = True
    return ServiceSettings(
        public_base_url=own_base_url(place, "public_base_url", str(table["public_base_url"])),
        state_dir=place.path(str(table["state_dir"])) if "state_dir" in table else None,
        site_cards=place.path(str(table["site_cards"])) if "site_cards" in table else None,
        **cast("dict[str, Any]", plain),
    )


def _refuse_ambiguous_clients(path: Path, clients: list[ClientProfile]) -> None:
    for position, second in enumerate(clients):
        for first in clients[:position]:
            if first.id == second.id:
                raise fault(
                    path,
                    f"clients[{position}].id",
                    "another client has this id.",
                    "Give each client its own.",
                )
            if set(first.issuers) & set(second.issuers) and not _are_told_apart(first, second):
                raise fault(
                    path,
                    f"clients[{position}].issuers",
                    "another client has the same issuer, so a token could mean either.",
                    "Give both clients different tenants (or subjects).",
                )


def _are_told_apart(first: ClientProfile, second: ClientProfile) -> bool:
    return _are_distinct(first.tenants, second.tenants) or _are_distinct(
        first.subjects, second.subjects
    )


def _are_distinct(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    return bool(first) and bool(second) and not set(first) & set(second)
