"""Traces: spans of a call when the site wants them, and no package loaded when it does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from flask import Flask
from msgspec import structs
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cds_service.app import check_config
from cds_service.errors import SettingsError
from cds_service.fhir.metrics import SENT_ALONG
from cds_service.knowledge.model import Knowledge
from cds_service.trust.config import Config, ServiceSettings
from cds_service.trust.config_figures import FiguresSettings
from cds_service.web.tracing import Tracing
from tests.reporting.conftest import CALL, PULL

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MS = 1_000_000


@pytest.fixture
def spans() -> dict[str, ReadableSpan]:
    """Return the spans of one call with one search, by name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    with Flask("x").test_request_context(
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    ):
        tracing.observe_pull(PULL)
        tracing.observe_pull(structs.replace(PULL, base=SENT_ALONG))
        tracing.observe_call(CALL)
    provider.shutdown()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_call_its_steps_and_its_searches_are_spans(spans: dict[str, ReadableSpan]) -> None:
    """Each step begins where the one before ended; the search lies below the gateway."""
    assert set(spans) == {"hook call", "request", "gateway", "reading", "FHIR scores"}
    begins = CALL.received_at * MS
    gateway = spans["gateway"]
    assert spans["hook call"].start_time == begins
    assert gateway.start_time == begins + MS // 2
    assert gateway.end_time == begins + 18 * MS + MS // 2
    search = spans["FHIR scores"]
    assert search.start_time == gateway.start_time
    assert search.end_time == gateway.start_time + 300 * MS
    assert search.parent is not None
    assert gateway.context is not None
    assert search.parent.span_id == gateway.context.span_id


def test_call_belongs_to_the_trace_the_ehr_names(spans: dict[str, ReadableSpan]) -> None:
    """The EHR's own trace continues in the service."""
    for span in spans.values():
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == TRACE


def test_spans_hold_nothing_of_a_patient(spans: dict[str, ReadableSpan]) -> None:
    """Ids of calls and cards, keys and counts; no hash of a patient, no code, no card uuid."""
    text = " ".join(span.to_json() for span in spans.values())
    assert "canary" not in text
    assert CALL.hook_instance is not None
    assert CALL.hook_instance in text


def test_missing_packages_for_traces_stop_the_start_before_anything_listens(
    monkeypatch: pytest.MonkeyPatch, knowledge: Knowledge
) -> None:
    """Where the image has no such packages the operator reads one sentence; others need none."""
    wanted = Config(
        service=ServiceSettings(public_base_url="https://cds.example"),
        figures=FiguresSettings(otlp_endpoint="http://127.0.0.1:4318/v1/traces"),
    )
    check_config(wanted, knowledge)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match="opentelemetry-exporter-otlp-proto-http"):
        check_config(wanted, knowledge)
    check_config(replace(wanted, figures=FiguresSettings()), knowledge)


def test_packages_for_traces_are_not_loaded_without_an_endpoint() -> None:
    """A site without traces needs no package for them."""
    script = (
        "import sys; from cds_service.app import create_app; from cds_service.settings import "
        "Settings; create_app(Settings(is_dev=True)); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
