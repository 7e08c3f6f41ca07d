"""The command ``cds-service``.

Exit codes: 0 done, 1 it did not work (wrong content, unreadable file, refusal), 2 wrong usage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import click
from flask import Flask

from cds_service.app import (
    LEDGER,
    check_config,
    config_source,
    create_app,
    create_serving_app,
    load_content,
    place_of_ledger,
    system_now,
)
from cds_service.commands.codes import codes
from cds_service.commands.explain import explain
from cds_service.commands.knowledge import knowledge
from cds_service.commands.ledger import ledger
from cds_service.commands.manners import clear_errors, examples
from cds_service.commands.orders import orders
from cds_service.commands.report import report
from cds_service.errors import SettingsError
from cds_service.evaluation.assess import assess
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.loading import load_knowledge
from cds_service.ledger.migrating import prepare
from cds_service.logging_setup import set_up_logging
from cds_service.offline import BundleFile
from cds_service.reference_routes import NULL, ORJSON, add_reference_routes
from cds_service.rendering.cards import render_cards
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.rendering.trace import render_text, trace_json
from cds_service.sandbox import load as load_sandbox
from cds_service.sandbox import open_chart
from cds_service.serving import serve as serve_forever
from cds_service.settings import (
    Settings,
    load_settings,
    make_state_dir,
    process_environment,
    unread_variables,
)
from cds_service.trust.addresses import AddressRefusedError
from cds_service.trust.config import DEVELOPMENT_IDENTITY_KEY
from cds_service.vignettes.rehearsal import rehearse_if_possible

_SANDBOX_DEADLINE_MS = 30_000
_PORT = click.IntRange(1, 65_535)
_DEV_WARNING = (
    "DEVELOPMENT MODE: no client is asked for a token, and FHIR servers on this machine may be "
    "read over plain http. Use it with made-up patients only, never with real ones."
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "cds-service demo                               see it work with made-up patients",
        "cds-service serve --dev                        try it with your own FHIR server",
        "cds-service evaluate chart.json                ask about one chart",
        "cds-service serve --config clients.toml        answer the EHRs of the file",
    ),
)
def main() -> None:
    """Decision support for pain after lumbar spine surgery (CDS Hooks)."""


for _command in (codes, explain, knowledge, ledger, orders, report):
    main.add_command(_command)


@main.command(
    epilog=examples(
        "cds-service serve --dev",
        "curl http://127.0.0.1:8080/cds-services",
        "cds-service serve --config clients.toml --host 0.0.0.0 --workers 4",
    )
)
@click.option("--host", help="Address to listen at.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen at.  [default: 8080]")
@click.option("--config", type=click.Path(), help="TOML file with the service and its clients.")
@click.option(
    "--state-dir", type=click.Path(), help="Folder for state.  [default: the file's, else ./var]"
)
@click.option(
    "--deadline-ms",
    type=int,
    help="Milliseconds for one hook call.  [default: the file's, else 450]",
)
@click.option("--workers", type=int, help="Worker processes.")
@click.option("--dev", is_flag=True, default=None, help="No tokens; this machine only.")
@clear_errors
def serve(**options: str | int | bool | None) -> None:
    """Answer CDS Hooks calls.

    Without --dev and without a client in --config, only discovery, health and guidance answer.
    Each option can also be given in the environment, for example CDS_SERVICE_PORT=8081.
    """
    _serve(load_settings(options, process_environment()), lambda _app: None)


@main.command(
    "bench-server",
    short_help="Serve beside two routes to compare with.",
    epilog=examples("cds-service bench-server --config clients.toml --port 8080"),
)
@click.option("--port", type=int, help="Port to listen at.  [default: 8080]")
@click.option("--config", type=click.Path(), help="TOML file with the service and its clients.")
@click.option(
    "--state-dir", type=click.Path(), help="Folder for state.  [default: the file's, else ./var]"
)
@click.option("--workers", type=int, help="Worker processes.")
@click.option("--dev", is_flag=True, default=None, help="No tokens; this machine only.")
@clear_errors
def bench_server(**options: str | int | bool | None) -> None:
    """Answer CDS Hooks calls, and two reference routes in the same processes.

    POST /bench/null reads the body and answers an empty card list; /bench/orjson parses it too.
    For measuring only: the two routes ask for no token.
    """
    settings = load_settings(options, process_environment())
    click.echo(f"Reference routes: {settings.address}{NULL} and {ORJSON}", err=True)
    _serve(settings, add_reference_routes)


def _serve(settings: Settings, add_routes: Callable[[Flask], None]) -> None:
    """Serve until a signal ends the process, with what *add_routes* adds."""
    set_up_logging()
    for told in unread_variables(process_environment()):
        click.echo(told, err=True)
    make_state_dir(settings.state_dir)
    source = config_source(settings)
    config = source.current()
    knowledge = load_content(config)
    source.require(partial(check_config, knowledge=knowledge))
    if settings.is_dev:
        click.secho(_DEV_WARNING, err=True, bold=True)
    elif not config.clients:
        click.echo(
            "No client is configured: only discovery, health and guidance answer. Give --config "
            "with clients, or --dev to try it on this machine.",
            err=True,
        )
    if lost := prepare(place_of_ledger(settings, config)):
        click.echo(lost, err=True)

    def make_app() -> Flask:
        app = create_serving_app(settings, source, knowledge)
        add_routes(app)
        # In each worker process: what it shares with the main one is copied when first used.
        rehearse_if_possible(knowledge, system_now().date(), time.monotonic)
        return app

    serve_forever(
        settings,
        make_app,
        partial(click.echo, f"Listening at {settings.address}/cds-services", err=True),
        keep_up=source.current,
        metrics_port=config.figures.metrics_port,
    )


@main.command(
    short_help="See it work with made-up patients.",
    epilog=examples(
        "cds-service demo",
        "cds-service demo --port 8081 --ehr-port 8091",
        "cds-service demo --fhir https://hapi.fhir.org/baseR4",
    ),
)
@click.option("--port", type=_PORT, default=8080, show_default=True, help="Port of the service.")
@click.option(
    "--ehr-port", type=_PORT, default=8090, show_default=True, help="Port of the test EHR."
)
@click.option("--open", "open_page", is_flag=True, help="Open the test EHR in the browser.")
@click.option("--fhir", metavar="BASE_URL", help="Show the test patients of this FHIR R4 server.")
@click.option(
    "--fhir-token",
    envvar="CDS_DEMO_FHIR_TOKEN",
    show_envvar=True,
    help="Access token for that server, if it needs one; better given in the environment.",
)
@clear_errors
def demo(
    port: int, ehr_port: int, *, open_page: bool, fhir: str | None, fhir_token: str | None
) -> None:
    """Show the service with made-up patients and a small test EHR, on this machine.

    With --fhir the charts come from a FHIR server instead. They are only read: what you order in
    the test EHR stays in its memory and is gone when the demo stops.
    """
    from cds_service.demo import command, people  # noqa: PLC0415 - only the demo needs the EHR

    if fhir:
        click.echo(f"Asking {fhir} for its patients ...")
    chosen = people.server_people(fhir, fhir_token) if fhir else None
    command.run_demo(port=port, ehr_port=ehr_port, open_page=open_page, people=chosen)


@main.command(
    short_help="Print the cards for one chart, and why.",
    epilog=examples(
        "cds-service evaluate chart.json",
        "cds-service evaluate --as-of 2026-03-01 --format json chart.json",
        "curl -s 'https://fhir.example.org/Patient/1/$everything' | cds-service evaluate -",
    ),
)
@click.argument("file", type=click.File("rb"))
@click.option("--patient", help="FHIR id of the patient, if the Bundle holds several.")
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Day to answer for.  [default: today]",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
@click.option(
    "--site", type=click.Path(path_type=Path, exists=True), help="Folder with a site's own cards."
)
@click.option(
    "--partial", "is_partial", is_flag=True, help="A kind of resource not in FILE is unknown."
)
@clear_errors
def evaluate(  # noqa: PLR0913 - one parameter for each option
    file: BinaryIO,
    patient: str | None,
    as_of: datetime | None,
    output: str,
    site: Path | None,
    *,
    is_partial: bool,
) -> None:
    """Print the cards for the patient Bundle in FILE ('-' for standard input), and why.

    FILE is taken as the whole chart: a kind of resource that is not in it is known to be empty.
    With --partial it is unknown, as when an EHR did not send it; so it is if FILE says that it is
    not all, for example the first page of several.
    """
    bundle = BundleFile(file.read())
    patient_id = _chosen_patient(bundle, patient)
    knowledge = load_knowledge(site_overrides=site)
    day = (as_of or system_now()).date()
    chart = read_chart(
        bundle.answers(is_partial=is_partial),
        patient_id=patient_id,
        as_of=day,
        zone=ZoneInfo("UTC"),
        knowledge=knowledge,
        bases=frozenset(),
        fhir_server=None,
    )
    assessment = assess(chart, knowledge, day)
    options = CardOptions(
        client_id="command-line",
        public_base_url=Settings().address,
        identity_key=DEVELOPMENT_IDENTITY_KEY,
        is_unreviewed=knowledge.is_unreviewed,
    )
    cards = render_cards(assessment, knowledge, options, CardContext(patient_id=patient_id))
    if output == "json":
        click.echo(json.dumps({"cards": cards, "trace": trace_json(assessment)}, indent=2))
    else:
        click.echo(_cards_text(cards))
        click.echo(render_text(assessment, knowledge))


def _chosen_patient(bundle: BundleFile, wanted: str | None) -> str:
    """Return the id of the patient to look at."""
    if wanted is not None and wanted in bundle.patient_ids:
        return wanted
    if wanted is None and len(set(bundle.patient_ids)) == 1:
        return bundle.patient_ids[0]
    if not bundle.patient_ids:
        raise click.UsageError("FILE holds no Patient. Give a Bundle with the Patient in it.")
    raise click.UsageError(
        f"FILE holds {len(set(bundle.patient_ids))} Patients"
        + (", none of them with the id given as --patient." if wanted else ".")
        + " Give the FHIR id of one of them as --patient."
    )


def _cards_text(cards: list[dict[str, Any]]) -> str:
    """Return the cards for a terminal: urgency, headline, explanation, suggestions."""
    if not cards:
        return "No cards.\n"
    return "\n".join(line for card in cards for line in _card_lines(card))


def _card_lines(card: Mapping[str, Any]) -> list[str]:
    return [
        f"[{card['indicator']}] {card['summary']}",
        *(f"    {line}" for line in card.get("detail", "").splitlines()),
        *(f"    suggests: {suggestion['label']}" for suggestion in card.get("suggestions", ())),
        "",
    ]


@main.command(
    "check-knowledge",
    short_help="Check the clinical content completely.",
    epilog=examples(
        "cds-service check-knowledge",
        "cds-service check-knowledge --site /etc/cds/our-cards",
    ),
)
@click.option(
    "--site", type=click.Path(path_type=Path, exists=True), help="Folder with a site's own files."
)
@clear_errors
def check_knowledge(site: Path | None) -> None:
    """Check the clinical content in cards/ completely, as the start of the service does."""
    knowledge = load_knowledge(site_overrides=site)
    click.echo(
        f"The clinical content is in order: {len(knowledge.cards)} cards, "
        f"{len(knowledge.thresholds)} thresholds, {len(knowledge.value_sets)} value sets, "
        f"{len(knowledge.orders)} orders; version {knowledge.version}, "
        f"digest {knowledge.digest[:12]}."
    )


@main.group(
    short_help="Try it against a public FHIR sandbox.",
    epilog=examples(
        "cds-service sandbox load https://hapi.fhir.org/baseR4",
        "cds-service sandbox open https://hapi.fhir.org/baseR4 PATIENT",
    ),
)
def sandbox() -> None:
    """Try the service against a public FHIR R4 sandbox, with our made-up patients."""


@sandbox.command("load", short_help="Put our made-up patients there.")
@click.argument("base_url")
@clear_errors
def sandbox_load(base_url: str) -> None:
    """Put our made-up patients on the FHIR server at BASE_URL; they carry our tag and id prefix."""
    click.echo(f"Putting our made-up patients on {base_url}, one by one ...")
    for number, persona in enumerate(load_sandbox(base_url, system_now().date()), 1):
        click.echo(f"{number:>3}. {persona.patient_id}: {persona.title}")
    click.echo(f"Done. Next: cds-service sandbox open {base_url} with one of the ids above.")


@sandbox.command("open", short_help="Print the cards for one patient.")
@click.argument("base_url")
@click.argument("patient")
@clear_errors
def sandbox_open(base_url: str, patient: str) -> None:
    """Open the chart of PATIENT on the FHIR server at BASE_URL, and print the cards."""
    click.echo("Reading the chart ...", err=True)
    set_up_logging()
    with TemporaryDirectory() as folder:
        settings = replace(
            Settings(is_dev=True),
            state_dir=Path(folder),
            deadline_ms=_SANDBOX_DEADLINE_MS,
            dev_fhir_bases=(base_url.rstrip("/"),),
        )
        try:
            app = create_app(settings)
        except AddressRefusedError as error:
            raise SettingsError(
                f"BASE_URL: {error}. Give the base URL of a FHIR R4 server, for example "
                "https://hapi.fhir.org/baseR4."
            ) from None
        cards = open_chart(app.test_client(), base_url, patient)
        app.extensions[LEDGER].close()
    click.echo(_cards_text([dict(card) for card in cards]))
