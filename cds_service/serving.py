"""The service under gunicorn: processes, threads, and errors that come before Flask.

gunicorn has no types, so the classes derived from it are marked for mypy.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from cds_service.errors import SettingsError
from cds_service.settings import DEFAULT_HOST, Settings
from cds_service.web.headers import cors_of_unreadable
from cds_service.web.large_calls import Door
from cds_service.web.problems import UNEXPECTED, issue, operation_outcome
from cds_service.web.shared_metrics import METRICS_FOLDER, forget_ended_processes
from cds_service.web.waiting import WaitingWorker

_GRACE_SECONDS = 5
_KEEP_ALIVE_SECONDS = 5
_LONGEST_REQUEST_LINE = 4_094
_MOST_HEADERS = 64
_LONGEST_HEADER_BYTES = 16_380
_MOST_CONNECTIONS = 400
"""Open at once in one process."""
_OPEN_FILES = 65_536
"""More than the clients and the FHIR servers of one process can have open at once."""
_REQUESTS_PER_PROCESS = 20_000
_LONGEST_BEGINNING_SECONDS = 20.0
"""Old processes are not kept for longer than this when new ones do not begin."""
_LOOK_AGAIN_SECONDS = 0.05
_ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_UNREADABLE = "The HTTP request cannot be read. Send well-formed HTTP/1.1 with shorter headers."
_COLLECTOR_THRESHOLD = (100_000, 20, 100)


def serve(
    settings: Settings,
    make_app: Callable[[], Flask],
    announce: Callable[[], None],
    *,
    keep_up: Callable[[], object] = lambda: None,
    metrics_port: int | None = None,
) -> None:
    """Serve until a signal ends the process; *make_app* runs once in each worker process.

    *announce* is called when the service listens; at *metrics_port* of this machine it listens too.
    *keep_up* is called about once a second in the main process: new worker processes begin with
    what that process knows then.

    Raises:
        SettingsError: The address is taken or is not one of this machine, the metrics have the port
            of the service, or there is no folder for temporary files.
    """
    if metrics_port == settings.port:
        raise SettingsError(
            f"[metrics] port {metrics_port}: the service has this port, and metrics without a "
            "token would stand at its address. Give the metrics another port."
        )
    _allow_open_files()
    _refuse_no_temporary_folder()
    _refuse_taken_address(settings.host, settings.port, "--host {host} --port {port}")
    if metrics_port is not None:
        _refuse_taken_address(DEFAULT_HOST, metrics_port, "[metrics] port {port}")
    forget_ended_processes(settings.state_dir / METRICS_FOLDER)
    _Worker.answer_seconds = settings.deadline_ms / 1000
    _Worker.most_hook_calls = settings.most_hook_calls
    _Worker.door = Door()
    _Server(settings, make_app, announce, keep_up, metrics_port).run()


def _allow_open_files() -> None:
    """Take as many open files as the operator allows; the usual 1,024 are only where that begins.

    Each connection is one, and every FHIR server may have hundreds.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _refuse_no_temporary_folder() -> None:
    """Each worker process shows by a temporary file that it is alive."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise SettingsError(
            "There is no folder for temporary files: neither /tmp nor the folder in which the "
            "service was started can be written. Make one of them writable, or name another in "
            "the environment variable TMPDIR."
        ) from error


def _refuse_taken_address(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise SettingsError(
            f"{option.format(host=host, port=port)}: this address cannot be used here "
            f"({_why_not(error)}). Give an address of this machine, and a port from 1024 on that "
            "is free."
        ) from error


def _why_not(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has it"
        case errno.EACCES:
            return "the service's user may not listen at this port"
        case errno.EAFNOSUPPORT:
            return "this machine has no addresses of this kind"
        case _:
            return "it is not an address of this machine"


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn without its command line and without its environment."""

    def __init__(
        self,
        settings: Settings,
        make_app: Callable[[], Flask],
        announce: Callable[[], None],
        keep_up: Callable[[], object],
        metrics_port: int | None,
    ) -> None:
        self._settings = settings
        self._metrics_port = metrics_port
        self._make_app = make_app
        self._announce = announce
        self.keep_up = keep_up
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn how to run."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        chosen = {
            "bind": [f"{host}:{settings.port}", *self._metrics_addresses()],
            "workers": settings.workers + 1,  # one of them for large calls only
            "threads": settings.threads,
            "worker_class": _Worker,
            "logger_class": _QuietLogger,
            "graceful_timeout": _GRACE_SECONDS,
            "keepalive": _KEEP_ALIVE_SECONDS,
            "worker_connections": _MOST_CONNECTIONS,
            "limit_request_line": _LONGEST_REQUEST_LINE,
            "limit_request_fields": _MOST_HEADERS,
            "limit_request_field_size": _LONGEST_HEADER_BYTES,
            # No header a proxy or an attacker adds has a say in address, scheme or path.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "secure_scheme_headers": {},
            "max_requests": _REQUESTS_PER_PROCESS if settings.workers > 1 else 0,
            "max_requests_jitter": _REQUESTS_PER_PROCESS // 10,
            "control_socket_disable": True,
            "when_ready": lambda _arbiter: self._announce(),
            "on_reload": _replace_all,
            "pre_fork": _choose_who_takes_large,
            "post_worker_init": _settle_memory,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def _metrics_addresses(self) -> list[str]:
        return [] if self._metrics_port is None else [f"{DEFAULT_HOST}:{self._metrics_port}"]

    def run(self) -> None:
        """Serve; returns never, the main process ends by itself."""
        _Arbiter(self).run()

    def load(self) -> Flask:
        """Return the application; gunicorn calls this in each worker process."""
        return self._make_app()


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's main process."""

    _is_ending = False
    """Whether a signal has asked the service to end."""
    newest_to_go = 0
    """The age of the newest process that goes when all are replaced."""

    def manage_workers(self) -> None:
        """See that there are as many worker processes as there should be; called every second."""
        try:
            self.app.keep_up()
        except Exception as error:  # noqa: BLE001 - no fault may end the main process
            kind = type(error).__name__
            structlog.get_logger().error("unexpected_exception", exception=kind)
        if len(self.WORKERS) > self.num_workers:
            self._wait_for_new_processes()
        super().manage_workers()
        self._keep_one_for_large_calls()

    def _keep_one_for_large_calls(self) -> None:
        """Let one process go that does what is done already, after some were lost together."""
        workers = sorted(self.WORKERS.values(), key=lambda worker: worker.age)
        if len(workers) != self.num_workers or any(worker.is_leaving for worker in workers):
            return
        large = [worker for worker in workers if worker.takes_large]
        if len(large) != 1:
            leaving = (large or workers)[0]
            leaving.is_leaving = True
            self.kill_worker(leaving.pid, signal.SIGTERM)

    def spawn_worker(self) -> None:
        """Start a worker process; if that cannot be done now, it is tried again in a second."""
        try:
            super().spawn_worker()
        except OSError as error:  # no folder for its sign of life, or no room for a process
            kind = type(error).__name__
            structlog.get_logger().error("no worker process can be started", exception=kind)

    def reap_workers(self) -> None:
        """Take note of processes that ended; one that could not begin ends no others that work."""
        while True:
            try:
                super().reap_workers()
            except HaltServer:
                if not any(_has_begun(worker) for worker in self.WORKERS.values()):
                    raise
            else:
                return

    def signal(self, sig: int, frame: object) -> None:
        """Note a signal; what it asks for is done later."""
        self._is_ending = self._is_ending or sig in _ENDING_SIGNALS
        super().signal(sig, frame)

    def _wait_for_new_processes(self) -> None:
        """Let the old processes answer until the new ones can, unless the service is to end."""
        until = time.monotonic() + _LONGEST_BEGINNING_SECONDS
        while time.monotonic() < until and not self._is_ending:
            self.reap_workers()
            if all(_has_begun(worker) for worker in self.WORKERS.values()):
                return
            time.sleep(_LOOK_AGAIN_SECONDS)


def _has_begun(worker: WaitingWorker) -> bool:
    """Whether *worker* takes calls: its first sign of life sets its file to the monotonic clock.

    Until then the file says when it was made, which is many years later.
    """
    return bool(worker.tmp.last_update() <= time.monotonic())


def _choose_who_takes_large(arbiter: _Arbiter, worker: WaitingWorker) -> None:
    """Let *worker* take the large calls if only that is missing; called in the main process."""
    others = arbiter.WORKERS.values()
    if len(others) >= arbiter.num_workers:  # all are being replaced, and the old ones will go
        others = [other for other in others if other.age > arbiter.newest_to_go]
    is_missing = not any(other.takes_large for other in others)
    worker.takes_large = is_missing and len(others) >= arbiter.num_workers - 1


def _replace_all(arbiter: _Arbiter) -> None:
    """Remember which processes are the old ones."""
    arbiter.newest_to_go = arbiter.worker_age


def _settle_memory(_worker: object) -> None:
    """Leave what lives for ever out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLD)


class _QuietLogger(Logger):  # type: ignore[misc]
    """gunicorn's log without handlers of its own: what is left goes through ours, reduced."""

    def setup(self, cfg: object) -> None:
        """Take over *cfg* and hand the records on."""
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
        # Called without gunicorn's step between, so that each record names the module that speaks.
        log = self.error_log
        self.critical, self.error, self.warning = log.critical, log.error, log.warning


class _Worker(WaitingWorker):
    """Answers what is not HTTP with an OperationOutcome, and never logs what was sent."""

    def handle_error(
        self, req: object, client: socket.socket, addr: object, exc: Exception
    ) -> None:
        """Answer a request that gunicorn could not read."""
        del req, addr
        status = _status(exc)
        structlog.get_logger().warning(
            "unreadable_request", status=status.value, exception=type(exc).__name__
        )
        is_ours = status is HTTPStatus.INTERNAL_SERVER_ERROR
        problem = issue("exception", UNEXPECTED) if is_ours else issue("structure", _UNREADABLE)
        body = operation_outcome([problem])
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            f"{cors_of_unreadable(self.wsgi)}"
            "X-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode("ascii") + body)


def _status(error: Exception) -> HTTPStatus:
    match error:
        case LimitRequestLine():
            return HTTPStatus.REQUEST_URI_TOO_LONG
        case LimitRequestHeaders():
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        case UnsupportedTransferCoding():
            return HTTPStatus.NOT_IMPLEMENTED
        case ParseException():
            return HTTPStatus.BAD_REQUEST
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR
