"""The composition root: settings in, a complete Flask application out.

The only place that reads the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

from flask import Flask

from cds_service.errors import KnowledgeError, SettingsError
from cds_service.evaluation.assess import assess
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.local_codes import check_local_codes
from cds_service.fhir.queries import templates
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.calls import CallLedger
from cds_service.ledger.database import Database
from cds_service.ledger.feedback import FeedbackLedger
from cds_service.ledger.keeping import Ledger
from cds_service.ledger.place import LedgerPlace, ledger_place
from cds_service.ledger.records import LedgerStatus
from cds_service.rendering.cards import render
from cds_service.rendering.options import CardOptions, may_link
from cds_service.rendering.templates_check import check_orders
from cds_service.settings import Settings
from cds_service.trust.config import Config, ConfigSource, ReloadingConfig, ServiceSettings
from cds_service.trust.keysets import KeySets
from cds_service.trust.profile import ClientProfile, dev_profile
from cds_service.trust.verification import Verifier
from cds_service.turns import seconds_since_arrival
from cds_service.watching import Watching
from cds_service.web.access import Authenticator, ClosedAccess, FrontDesk, OpenAccess
from cds_service.web.evaluation import Assess, CardOptionsOf, ChartReader, Gateway, Render, Road
from cds_service.web.headers import register_headers
from cds_service.web.limits import TokenBuckets
from cds_service.web.pages import register_pages
from cds_service.web.problems import register_problems
from cds_service.web.refusing import register_refusal
from cds_service.web.routes import (
    HOOK_ADDRESSES,
    HookParts,
    register_health,
    register_hooks,
    register_reference,
)
from cds_service.web.tracing import require_packages

WATCHING = "watching"
"""Under this name the application's extensions hold what watches it."""
LEDGER = "ledger"
"""Under this name the application's extensions hold its ledger."""
DESK = "desk"
"""Under this name the application's extensions hold its front desk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The four rooms a chart passes; tests put small ones in their place."""

    gateway: Gateway
    read_chart: ChartReader
    assess: Assess
    render: Render


def system_now() -> datetime:
    """Return this moment, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - app.py is the one reader of the clock


def create_app(  # noqa: PLR0913 - what a service depends on
    settings: Settings,
    *,
    config: ConfigSource | None = None,
    clock: Callable[[], datetime] = system_now,
    monotonic: Callable[[], float] = time.monotonic,
    knowledge: Knowledge | None = None,
    rooms: Rooms | None = None,
) -> Flask:
    """Return the service.

    Args:
        settings: How this process runs.
        config: What knows the configuration; the file of *settings* is read when not given.
        clock: Returns this moment, time zone aware.
        monotonic: Returns seconds of a clock that never goes back.
        knowledge: The clinical content; read from ``cards/`` when not given.
        rooms: What a chart passes; the real rooms when not given.

    Raises:
        SettingsError: The configuration is wrong, or clients would get content nobody reviewed.
        KnowledgeError: A file in ``cards/`` is wrong.
    """
    config = config if config is not None else config_source(settings)
    knowledge = knowledge if knowledge is not None else load_content(config.current())
    is_unreviewed = knowledge.is_unreviewed
    config.require(partial(check_config, knowledge=knowledge))
    ledger = open_ledger(settings, config, knowledge, clock, monotonic)
    watch = Watching(settings, config, knowledge, ledger)
    rooms = rooms if rooms is not None else _real_rooms(watch.gateway)
    road = Road(
        knowledge=knowledge,
        gateway=rooms.gateway,
        read_chart=rooms.read_chart,
        assess=rooms.assess,
        render=rooms.render,
        card_options=options_of_clients(config, is_unreviewed=is_unreviewed),
        ledger=watch.calls,
        now=clock,
        monotonic=monotonic,
        waited=seconds_since_arrival,
        allows_as_of=settings.is_dev or config.current().service.is_demo,
    )
    parts = HookParts(
        config=config,
        desk=_front_desk(settings, config, clock, monotonic),
        road=road,
        feedback=watch.feedback,
        prefetch=partial(templates_for, knowledge),
        new_deadline=lambda: Deadline.after(
            settings.deadline_ms / 1000 - seconds_since_arrival(), monotonic
        ),
    )
    mode = "development" if settings.is_dev else config.current().service.mode
    description = _description(mode, knowledge, is_unreviewed=is_unreviewed)
    app = _flask_app(parts, clock, description, ledger)
    watch.register(app, parts.desk, clock)
    app.extensions[LEDGER] = ledger
    app.extensions[WATCHING] = watch
    app.extensions[DESK] = parts.desk
    return app


def create_serving_app(settings: Settings, config: ConfigSource, knowledge: Knowledge) -> Flask:
    """Return the service for a process of its own: with threads that look after its files."""
    app = create_app(settings, config=config, knowledge=knowledge)
    # What begins first ends last: the metrics hold what the others lose at the end.
    app.extensions[WATCHING].shared.keep_writing()
    config.keep_house()
    app.extensions[DESK].keep_house()
    app.extensions[LEDGER].keep_house()
    return app


def open_ledger(
    settings: Settings,
    config: ConfigSource,
    knowledge: Knowledge,
    clock: Callable[[], datetime] = system_now,
    monotonic: Callable[[], float] = time.monotonic,
) -> Ledger:
    """Return the ledger of this configuration; nothing is opened before it is used.

    Raises:
        SettingsError: The configuration names a database that cannot be meant.
    """
    wishes = config.current().ledger
    database = Database(place_of_ledger(settings, config.current()), monotonic=monotonic)
    calls = CallLedger(database)
    feedback = FeedbackLedger(
        calls,
        knowledge,
        now=clock,
        keeps_comments=wishes.keeps_comments,
        key=lambda: config.current().service.identity_key,
        client_of=lambda name: _client_of(name, settings, config.current()),
    )
    return Ledger(
        calls=calls,
        feedback=feedback,
        database=database,
        retention_days=wishes.retention_days,
        now=clock,
        monotonic=monotonic,
    )


def _client_of(name: str, settings: Settings, config: Config) -> ClientProfile | None:
    clients = (dev_profile(),) if settings.is_dev else config.clients
    return next((client for client in clients if client.id == name), None)


def place_of_ledger(settings: Settings, config: Config) -> LedgerPlace:
    """Return where the ledger of this configuration is."""
    return ledger_place(config.ledger, settings.state_dir, settings.ledger_password)


def config_source(settings: Settings) -> ConfigSource:
    """Return what knows the configuration: the file, or what holds without one."""
    if settings.config_path is None:
        return settings.without_file()
    return ReloadingConfig(settings.config_path)


def load_content(config: Config) -> Knowledge:
    """Return the clinical content with the site's own files in place of ours.

    Every order is checked as a FHIR resource.

    Raises:
        KnowledgeError: A file in ``cards/`` or in the site's folder is wrong.
    """
    knowledge = load_knowledge(site_overrides=config.service.site_cards)
    problems = check_orders(knowledge)
    if problems:
        raise KnowledgeError("\n".join(problems))
    return knowledge


def check_config(config: Config, knowledge: Knowledge) -> None:
    """Refuse a configuration that does not fit the clinical content or what is installed.

    Raises:
        SettingsError: The content is a draft and the site did not accept that, a client's order
            list or code map names a concept that is not in ``cards/``, or traces are asked for
            and their packages are not installed.
    """
    refuse_unreviewed_content(config, is_unreviewed=knowledge.is_unreviewed)
    if config.figures.otlp_endpoint is not None:
        require_packages()
    for client in config.clients:
        check_local_codes(client.code_map, knowledge)


def refuse_unreviewed_content(config: Config, *, is_unreviewed: bool) -> None:
    """Refuse to serve content to clients that no clinician signed, unless the site accepts it.

    Raises:
        SettingsError: The content is a draft and the site did not accept that.
    """
    if config.clients and is_unreviewed and not config.service.accept_unreviewed_content:
        raise SettingsError(
            "[service] accept_unreviewed_content: the clinical content in cards/ is not yet "
            "clinically reviewed, and this site has not said that it may be served. Set "
            "accept_unreviewed_content = true to serve it; every card then says so."
        )


def _real_rooms(gateway: Gateway) -> Rooms:
    return Rooms(gateway=gateway, read_chart=read_chart, assess=assess, render=render)


def _front_desk(
    settings: Settings,
    config: ConfigSource,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> FrontDesk:
    """Return the desk that knows this mode's clients and limits."""
    return FrontDesk(
        config,
        _authenticator(settings, config, clock),
        None if settings.is_dev else TokenBuckets(monotonic),
    )


def _authenticator(
    settings: Settings, config: ConfigSource, clock: Callable[[], datetime]
) -> Authenticator:
    if settings.is_dev:
        return OpenAccess(dev_profile(fhir_bases=settings.dev_fhir_bases))
    if settings.config_path is None:
        return ClosedAccess()
    key_sets = KeySets(places=settings.most_hook_calls)
    verifier = Verifier(
        config, settings.state_dir, clock, key_sets=key_sets, endpoints=HOOK_ADDRESSES
    )
    verifier.warm()
    return verifier


def options_of_clients(config: ConfigSource, *, is_unreviewed: bool) -> CardOptionsOf:
    """Return what gives each client's card options, made once for each configuration."""
    made: dict[str, tuple[ServiceSettings, ClientProfile, CardOptions]] = {}

    def options_of(client: ClientProfile) -> CardOptions:
        service = config.current().service
        known = made.get(client.id)
        if known is None or known[0] is not service or known[1] is not client:
            options = card_options(service, client, is_unreviewed=is_unreviewed)
            known = made[client.id] = (service, client, options)
        return known[2]

    return options_of


def card_options(
    service: ServiceSettings, client: ClientProfile, *, is_unreviewed: bool
) -> CardOptions:
    """Return how *client* wants its cards."""
    wishes = client.cards
    return CardOptions(
        client_id=client.id,
        public_base_url=service.public_base_url,
        identity_key=service.identity_key,
        max_cards=wishes.max_cards,
        intent=wishes.intent,
        selection_behavior=wishes.selection_behavior,
        disabled_cards=wishes.disabled_cards | service.disabled_cards,
        indicator_ceiling=wishes.indicator_ceilings,
        is_unreviewed=is_unreviewed,
        spine_referral=wishes.spine_referral,
        country=wishes.country,
        splits_orders=wishes.orders_per_suggestion == "one",
        info_cards=wishes.info_cards,
        order_catalogue=client.order_catalogue,
        requires_local_codes=wishes.requires_local_codes,
        keeps_standard_codes=wishes.keeps_standard_codes,
        order_category=wishes.order_category,
        uses_absolute_references=wishes.references == "absolute",
        is_plain_text=wishes.detail == "plain",
        detail_type_extension=wishes.detail_type_extension,
        has_topic=wishes.topic != "none",
        links=wishes.links,
        allowed_link_hosts=wishes.link_hosts or service.allowed_link_hosts,
    )


def _description(mode: str, knowledge: Knowledge, *, is_unreviewed: bool) -> Mapping[str, object]:
    """Return what health tells everyone: no names of clients, no addresses."""
    return {
        "mode": mode,
        "knowledge": {
            "version": knowledge.version,
            "digest": knowledge.digest,
            "content": "not yet clinically reviewed" if is_unreviewed else "clinically reviewed",
        },
    }


def templates_for(knowledge: Knowledge, client: ClientProfile | None) -> Mapping[str, str]:
    """Return the prefetch templates of one client; without one, those everyone gets."""
    if client is None:
        return templates(knowledge)
    return templates(
        knowledge,
        client.optional_keys,
        code_map=client.code_map,
        asks_user=bool(client.roles),
    )


def _replay_store(desk: FrontDesk, service: ServiceSettings) -> str:
    if not desk.is_replay_store_lost:
        return "in order"
    if service.on_replay_store_loss == "refuse":
        return "lost, calls are refused"
    return "lost, each process remembers alone"


def _ledger(status: LedgerStatus) -> str:
    faults = []
    if not status.is_writable:
        faults.append(f"cannot be written, {status.waiting} calls wait in memory")
    if not status.is_readable:
        faults.append("cannot be read, nothing is held back")
    return "; ".join(faults) or "in order"


def _flask_app(
    parts: HookParts,
    clock: Callable[[], datetime],
    description: Mapping[str, object],
    ledger: Ledger,
) -> Flask:
    app = Flask("cds_service.web")
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False

    def today() -> date:
        return clock().date()

    def links_to(url: str) -> bool:
        return may_link(url, config.current().service.allowed_link_hosts)

    knowledge, config = parts.road.knowledge, parts.config
    register_problems(app)
    register_refusal(app)
    register_headers(app, lambda: config.current().service.cors_origins)
    register_hooks(app, parts)
    register_reference(app, knowledge, config.current().service.public_base_url)
    register_health(
        app,
        lambda: {
            **description,
            "replay_store": _replay_store(parts.desk, config.current().service),
            "ledger": _ledger(ledger.status),
        },
    )
    register_pages(app, knowledge, today, links_to)
    return app
