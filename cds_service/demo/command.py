"""How is the whole demo started and stopped with one command?

Writes a configuration with real authentication, starts the service as its own process, starts the
test EHR and its FHIR server in this one, shows what the service answers, and stops all of it again.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from uuid import UUID

import click
import requests
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from cds_service.demo.ehr import DemoEhr
from cds_service.demo.ehr_app import create_ehr
from cds_service.demo.hook_client import EhrKey, Exchange, HookClient
from cds_service.demo.people import People, SyntheticPeople
from cds_service.demo.personas import Persona, load_personas
from cds_service.demo.prefetch import Opening
from cds_service.demo.store import ChartStore
from cds_service.errors import SettingsError
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.keeping import forget_everything
from cds_service.ledger.place import FILE_NAME, LedgerPlace
from cds_service.trust.demo_profile import (
    DEMO_ALGORITHM,
    DEMO_ISSUER,
    DEMO_KEY_ID,
    generate_demo_config,
)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_EHR_PORT = 8090
DEFAULT_STATE_DIR = Path("var/demo")
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "localhost")
_SIGNS = {"critical": "!!", "warning": "! ", "info": "i "}
_OK = 200


def run_demo(
    port: int = DEFAULT_PORT,
    ehr_port: int = DEFAULT_EHR_PORT,
    state_dir: Path | None = None,
    *,
    open_page: bool = False,
    people: People | None = None,
) -> None:
    """Run the demo until Ctrl-C.

    Args:
        port: Where the service listens.
        ehr_port: Where the test EHR and its FHIR server listen.
        state_dir: Where configuration, log and state are kept; if left out, a folder of this
            *port*, so that two demos do not take each other's keys.
        open_page: Open the test EHR in the browser.
        people: Whose charts are shown; the synthetic patients if left out.

    Raises:
        SettingsError: A port is taken, or the service did not start.
    """
    click.echo("Starting the service ...")
    folder = state_dir or DEFAULT_STATE_DIR / str(port)
    with (
        _stops_on_terminate(),
        running_demo(
            DEFAULT_HOST, port=port, ehr_port=ehr_port, state_dir=folder, people=people
        ) as demo,
    ):
        click.echo(_greeting(demo))
        if open_page:
            webbrowser.open(demo.ehr_url)
        _wait_until_stopped(demo.service, folder)
    click.echo("The demo has stopped.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDemo:
    """The demo while it runs: the service as its own process, and the test EHR in this one."""

    ehr: DemoEhr
    ehr_url: str
    service: subprocess.Popen[bytes]


@contextmanager
def running_demo(
    host: str, *, port: int, ehr_port: int, state_dir: Path, people: People | None = None
) -> Iterator[RunningDemo]:
    """Run service, test EHR and FHIR server while the block runs; stop them after it.

    Raises:
        SettingsError: A port is taken, the address is not of this machine, or the service did not
            start.
    """
    if host not in _LOOPBACK:
        raise SettingsError(
            "demo --host: the demo holds a key everybody could use, so it only runs on this "
            "machine. Leave --host out, or give 127.0.0.1."
        )
    if port == ehr_port:
        raise SettingsError(f"demo --ehr-port: {port} is the port of the service. Name another.")
    require_free(host, port, "--port")
    require_free(host, ehr_port, "--ehr-port")
    service_url, ehr_url = f"http://{host}:{port}", f"http://{host}:{ehr_port}"
    knowledge = load_knowledge()
    orders = {order.id: order.title for order in knowledge.orders.values()}
    config, pem = generate_demo_config(state_dir, f"{ehr_url}/fhir", service_url, orders)
    key = EhrKey(
        issuer=DEMO_ISSUER, key_id=DEMO_KEY_ID, private_key_pem=pem, algorithm=DEMO_ALGORITHM
    )
    ledger = LedgerPlace(file=state_dir.resolve() / FILE_NAME)
    forget_everything(ledger)
    ehr = replace(
        make_ehr(HookClient(service_url, key, _now), f"{ehr_url}/fhir", knowledge, people),
        forget_answers=partial(forget_everything, ledger),
    )
    _read_every_kind_once(ehr)
    with _service(config, host, port, state_dir) as service:
        _wait_until_ready(service, service_url, state_dir)
        with serving(create_ehr(ehr), host, ehr_port):
            yield RunningDemo(ehr=ehr, ehr_url=ehr_url, service=service)


def make_ehr(
    client: HookClient, fhir_base: str, knowledge: Knowledge, people: People | None = None
) -> DemoEhr:
    """Return a test EHR with the personas of today, or with *people*."""
    resources = (resource for persona in load_personas(_today()) for resource in persona.resources)
    return DemoEhr(
        client=client,
        knowledge=knowledge,
        fhir_base=fhir_base,
        now=_now,
        store=ChartStore(resources, _now),
        people=people or SyntheticPeople(today=_today),
    )


def _read_every_kind_once(ehr: DemoEhr) -> None:
    """Build every decoder before threads start: msgspec can crash when two build one at once."""
    for persona in ehr.personas:
        ehr.insight.assessment(persona.patient_id, ehr.today_utc)


@contextmanager
def serving(app: Flask, host: str, port: int) -> Iterator[None]:
    """Serve *app* in threads of this process while the block runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(host, port, app, threaded=True, request_handler=_KeepAlive)
    thread = threading.Thread(target=server.serve_forever, name="test-ehr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(STOP_SECONDS)


def require_free(host: str, port: int, option: str) -> None:
    """Make sure that nobody listens at *port* yet.

    Raises:
        SettingsError: Somebody does, or this process may not listen there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"demo {option}: port {port} on {host} cannot be used ({error.strerror}). Stop the "
                f"program that uses it, perhaps an earlier demo, or choose another one with "
                f"{option}."
            ) from error


def first_answer(persona: Persona, exchange: Exchange) -> str:
    """Return what the service answers for one patient, for a terminal."""
    lines = [f"{persona.title}", f"  {' '.join(persona.story.split())}"]
    if exchange.status != _OK:
        return "\n".join([*lines, f"  The service answered {exchange.status}."])
    cards = exchange.answer.get("cards", [])
    lines.append(f"  The service answers in {exchange.milliseconds:.0f} ms:")
    lines += [f"    {_SIGNS.get(card['indicator'], '  ')} {card['summary']}" for card in cards]
    if not cards:
        lines.append("    (no card)")
    return "\n".join(lines)


class _KeepAlive(WSGIRequestHandler):
    """Keeps connections open between the requests of one client, as real servers do."""

    protocol_version = "HTTP/1.1"


@contextmanager
def _service(
    config: Path, host: str, port: int, state_dir: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as its own process while the block runs."""
    command = [sys.executable, "-m", "cds_service.demo.service_process", "serve"]
    command += ["--config", str(config), "--host", host, "--port", str(port)]
    command += ["--state-dir", str(state_dir)]
    with _log_path(state_dir).open("wb") as log:
        service = subprocess.Popen(  # noqa: S603 - our own program with our own arguments
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield service
    finally:
        service.terminate()
        try:
            service.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
        if service.stdin is not None:
            service.stdin.close()


def _wait_until_ready(service: subprocess.Popen[bytes], service_url: str, state_dir: Path) -> None:
    ends_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < ends_at and service.poll() is None:
        if _is_ready(service_url):
            return
        time.sleep(0.1)
    raise SettingsError(
        f"The service at {service_url} did not get ready. Its last words: "
        f"{_last_words(state_dir)} The whole log is in {_log_path(state_dir)}."
    )


def _is_ready(service_url: str) -> bool:
    try:
        return requests.get(f"{service_url}/health/ready", timeout=2).status_code == _OK
    except requests.RequestException:
        return False


def _wait_until_stopped(service: subprocess.Popen[bytes], state_dir: Path) -> None:
    try:
        while service.poll() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("\nStopping ...")
        return
    raise SettingsError(
        f"The service has ended by itself. Its last words: {_last_words(state_dir)} "
        f"The whole log is in {_log_path(state_dir)}."
    )


@contextmanager
def _stops_on_terminate() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that its processes are stopped too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _greeting(demo: RunningDemo) -> str:
    ehr = demo.ehr
    if ehr.people.server is None:
        first = _first_answer_of(ehr)
        whom = f"start here: {len(ehr.personas)} synthetic patients"
        note = "Synthetic patients only"
    else:
        first = f"Charts are read from {ehr.people.server}; nothing is written there."
        whom = "start here: the patients of that server"
        note = "Use it with test patients only"
    if ehr.knowledge.is_unreviewed:
        note += "; the clinical content is not yet clinically reviewed"
    return "\n".join(
        [
            "",
            first,
            "",
            f"  Test EHR   {demo.ehr_url}          {whom}",
            f"  Service    {ehr.client.service_url}          discovery at /cds-services",
            f"  FHIR       {ehr.fhir_base}     needs a token; the test EHR hands them out",
            "",
            f"{note}.",
            "Stop with Ctrl-C.",
        ]
    )


def _first_answer_of(ehr: DemoEhr) -> str:
    persona = ehr.personas[0]
    opening = Opening(patient_id=persona.patient_id, as_of=ehr.today_utc, hook_instance=UUID(int=1))
    return first_answer(persona, ehr.open_chart(opening))


def _log_path(state_dir: Path) -> Path:
    return state_dir / "service.log"


def _last_words(state_dir: Path) -> str:
    lines = _log_path(state_dir).read_text(encoding="utf-8", errors="replace").split("\n")
    return " / ".join(line for line in lines[-4:] if line) or "(nothing)"


def _today() -> date:
    return _now().date()


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the demo's own composition root reads the clock
