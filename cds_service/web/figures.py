"""The addresses for those who watch the service: ``/metrics`` and ``/explain/{hookInstance}``.

Neither is open in production: the metrics want a token or come by a port of their own, the
explanations want a token.  No web page of another origin may read them (no CORS), and nothing is
kept by a browser.
"""

from __future__ import annotations

import base64
import hmac
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from flask import Flask, Response, abort, g, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cds_service.errors import OverloadedError, UnauthorizedError, UnknownCallError
from cds_service.knowledge.model import Knowledge
from cds_service.ledger.database import LedgerLostError
from cds_service.ledger.quickly import kind_of
from cds_service.reporting.alarms import Alarm
from cds_service.reporting.explaining import NO_SUCH_CALL, ExplainedCall, why_words
from cds_service.web.metrics import Metrics, Numbers
from cds_service.web.versions import own_version

_METRICS = "/metrics"
_RETRY_SECONDS = 5
_LOG = structlog.get_logger("cds_service.web.figures")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsParts:
    """What ``/metrics`` needs."""

    counts: Metrics
    shared: Callable[[], Iterable[Metric]]
    knowledge: Knowledge
    alarms: Callable[[], tuple[Alarm, ...]]
    token: Callable[[], str | None]
    port: int | None
    is_open: bool
    """Development and demonstration, on this machine with made-up patients: no token is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainParts:
    """What ``/explain`` needs."""

    calls: Callable[[str], tuple[ExplainedCall, ...]]
    token: Callable[[], str | None]
    is_open: bool


def register_metrics(app: Flask, parts: MetricsParts) -> None:
    """Add ``/metrics`` to *app*, and count the answers of the hook addresses."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers(parts.shared))
    registry.register(Numbers(_Now(parts).numbers))

    def refuse_at_own_port() -> None:
        if _is_at_own_port(parts.port) and request.path != _METRICS:
            abort(404)

    def count(response: Response) -> Response:
        rule = request.url_rule
        if rule is not None and rule.rule.startswith("/cds-services"):
            parts.counts.observe_answer(g.get("client_id"), rule.rule, response.status_code)
        return response

    @app.get(_METRICS)
    def metrics() -> Response:
        if not _is_at_own_port(parts.port):
            _require(parts.token(), is_open=parts.is_open)
        return _not_stored(generate_latest(registry), CONTENT_TYPE_LATEST)

    app.before_request(refuse_at_own_port)
    app.after_request(count)


def register_explain(app: Flask, parts: ExplainParts) -> None:
    """Add ``/explain/{hookInstance}`` to *app*."""

    @app.get("/explain/<hook_instance>")
    def explain(hook_instance: str) -> Response:
        _require(parts.token(), is_open=parts.is_open)
        try:
            calls = parts.calls(hook_instance)
        except LedgerLostError as error:
            _LOG.error("ledger_unread", exception=kind_of(error.__cause__ or error))
            raise OverloadedError(_RETRY_SECONDS, "the ledger cannot be read") from None
        if not calls:
            raise UnknownCallError(NO_SUCH_CALL)
        page = render_template("explain.html", calls=calls, why_words=why_words)
        return _not_stored(page.encode(), "text/html; charset=utf-8")

    def let_browsers_ask(response: Response) -> Response:
        if response.status_code == HTTPStatus.UNAUTHORIZED and request.endpoint == "explain":
            response.headers["WWW-Authenticate"] = 'Basic realm="explain"'
        return response

    app.after_request(let_browsers_ask)


def _not_stored(body: bytes, content_type: str) -> Response:
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response


def _is_at_own_port(port: int | None) -> bool:
    """Whether the call came by the metrics' own port: the socket's, whatever Host says."""
    return port is not None and request.environ.get("SERVER_PORT") == str(port)


def _require(token: str | None, *, is_open: bool) -> None:
    """Refuse whoever does not send *token*; without one nothing is there."""
    if is_open:
        return
    if token is None:
        abort(404)
    if not hmac.compare_digest(_sent_token().encode(), token.encode()):
        raise UnauthorizedError("the token of a reader is missing or wrong")


def _sent_token() -> str:
    """Return the token of the header: as Bearer, or as the password a browser asks for."""
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return sent.strip()
        case "basic":
            return _password(sent)
        case _:
            return ""


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials).decode().partition(":")[2]
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class _Now:
    """What the process that is asked knows: what runs here, and what is unusual."""

    parts: MetricsParts

    def numbers(self) -> Iterator[Metric]:
        """Return the numbers of now."""
        knowledge = self.parts.knowledge
        content = GaugeMetricFamily(
            "cds_knowledge_info",
            "Version and digest of the clinical content in use.",
            labels=["version", "digest"],
        )
        content.add_metric([knowledge.version, knowledge.digest], 1)
        yield content
        build = GaugeMetricFamily(
            "cds_build_info", "Version of the service and of Python.", labels=["version", "python"]
        )
        build.add_metric([own_version(), platform.python_version()], 1)
        yield build
        yield from self._alarms()

    def _alarms(self) -> Iterator[Metric]:
        names = ["client", "watched", "subject", "direction"]
        raised = GaugeMetricFamily(
            "cds_alarm", "Something unusual, against its own past; 1 while it lasts.", labels=names
        )
        seen = GaugeMetricFamily("cds_alarm_seen", "What was counted.", labels=names)
        expected = GaugeMetricFamily(
            "cds_alarm_expected", "What the past let expect.", labels=names
        )
        try:
            found, is_readable = self.parts.alarms(), 1
        except LedgerLostError as error:
            _LOG.error("ledger_unread", exception=kind_of(error.__cause__ or error))
            found, is_readable = (), 0
        for alarm in found:
            place = [alarm.client, alarm.watched.value, alarm.subject, alarm.direction.value]
            raised.add_metric(place, 1)
            seen.add_metric(place, alarm.seen)
            expected.add_metric(place, round(alarm.expected, 2))
        yield from (raised, seen, expected)
        yield GaugeMetricFamily(
            "cds_alarms_readable", "1: the ledger could be read for alarms.", value=is_readable
        )
