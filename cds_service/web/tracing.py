"""Traces of hook calls for OpenTelemetry, when the site configures where they go.

A call is a span with its steps and each part of the chart that was read from a FHIR server as
spans below it.  They are written when the call is over, from the times that were measured anyway,
so a call does not wait.  Nothing of a chart is in them: ids of calls, clients, keys and counts.

The packages are imported only here, and only when traces are wanted.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import g, has_request_context, request

from cds_service.errors import SettingsError
from cds_service.fhir.metrics import SENT_ALONG, PullRecord
from cds_service.ledger.records import CallRecord
from cds_service.web.versions import own_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

_NS_PER_MS = 1_000_000
_GATEWAY_STEP = "gateway"
_CALL_SPAN = "hook call"


def require_packages() -> None:
    """Refuse to write traces without the packages for it.

    Raises:
        SettingsError: They are not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415 - an extra
        import opentelemetry.sdk.trace  # noqa: F401, PLC0415
    except ImportError:
        raise SettingsError(
            "[tracing] otlp_endpoint: the packages for traces are not installed. Install "
            "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http beside the service, or "
            "remove the table."
        ) from None


def tracing_to(endpoint: str) -> Tracing:
    """Return the writer of traces for the OTLP *endpoint*; see ``require_packages``."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = {"service.name": "post-laminectomy-cds", "service.version": own_version()}
    provider = TracerProvider(resource=Resource.create(name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Tracing(provider)


class Tracing:
    """Writes the spans of each call when it is over."""

    def __init__(self, provider: TracerProvider) -> None:
        """Write to *provider*; tests give one that keeps the spans."""
        self._tracer = provider.get_tracer("cds_service")

    def observe_pull(self, pull: PullRecord) -> None:
        """Remember what one part of the chart of this call cost."""
        if has_request_context() and pull.base != SENT_ALONG:
            g.setdefault("pulls", []).append(pull)

    def observe_call(self, call: CallRecord) -> None:
        """Write the spans of one recorded call."""
        begins = call.received_at * _NS_PER_MS
        ends = begins + _ns(call.total_ms)
        attributes = {
            "cds.client": call.client,
            "cds.hook_instance": call.hook_instance or "",
            "cds.outcome": call.outcome.value,
            "cds.cards": [showing.card for showing in call.showings],
            "http.response.status_code": call.http_status,
            "cds.knowledge_digest": call.knowledge_digest,
        }
        with self._span(_CALL_SPAN, begins, ends, attributes, _caller()) as whole:
            self._steps(call, begins, whole)

    def _steps(self, call: CallRecord, begins: int, whole: Context) -> None:
        for step, milliseconds in call.steps_ms.items():
            ends = begins + _ns(milliseconds)
            with self._span(step, begins, ends, {}, whole) as place:
                if step == _GATEWAY_STEP:
                    self._pulls(begins, place)
            begins = ends

    def _pulls(self, begins: int, place: Context) -> None:
        pulls: list[PullRecord] = g.get("pulls", []) if has_request_context() else []
        for pull in pulls:
            attributes = {
                "cds.key": pull.key,
                "cds.fhir_base": pull.base,
                "cds.supply": pull.outcome.value,
                "cds.reason": pull.reason or "",
                "cds.pages": pull.pages,
                "cds.bytes": pull.bytes,
            }
            ends = begins + _ns(pull.seconds * 1000)
            with self._span(f"FHIR {pull.key}", begins, ends, attributes, place):
                pass

    @contextmanager
    def _span(
        self, name: str, begins: int, ends: int, attributes: dict[str, Any], place: Context | None
    ) -> Iterator[Context]:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        span = self._tracer.start_span(
            name, context=place, attributes=attributes, start_time=begins
        )
        yield set_span_in_context(span, place)
        span.end(end_time=ends)


def _ns(milliseconds: float) -> int:
    return int(milliseconds * _NS_PER_MS)


def _caller() -> Context | None:
    """Return the trace the EHR says this call belongs to (W3C traceparent), if it says so."""
    if not has_request_context() or "traceparent" not in request.headers:
        return None
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - an extra
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({"traceparent": request.headers["traceparent"]})
