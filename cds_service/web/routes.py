"""The addresses of the service and what answers at each.

``/cds-services`` speaks CDS Hooks; ``/health``, ``/fhir`` and ``/icon.png`` are open to everyone
and hold no patient data.  The pages for people are in ``cds_service.web.pages``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog
from flask import Flask, Response, abort, request

from cds_service.errors import UnknownServiceError
from cds_service.fhir.deadline import Deadline
from cds_service.hooks.discovery import SERVICE_ID, services_document
from cds_service.hooks.feedback import CardOutcome, Feedback, FeedbackItem, parse_feedback
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.publishing import (
    code_system_resources,
    override_reason_map,
    value_set_resource,
)
from cds_service.ledger.records import FeedbackCounts, KeptFeedback
from cds_service.trust.config import ConfigSource
from cds_service.trust.profile import ClientProfile
from cds_service.turns import resting
from cds_service.web.access import FrontDesk
from cds_service.web.evaluation import Road
from cds_service.web.icon import icon_png
from cds_service.web.limits import read_body
from cds_service.web.problems import issue, operation_outcome

_log = structlog.get_logger()
_SERVICES = "/cds-services"
_ONE_DAY_SECONDS = 86_400
HOOK_ADDRESSES = (
    _SERVICES,
    f"{_SERVICES}/{SERVICE_ID}",
    f"{_SERVICES}/{SERVICE_ID}/feedback",
)
"""Every address that a token may be for."""


class FeedbackStore(Protocol):
    """Where feedback is kept."""

    def keep(self, client: ClientProfile, items: tuple[FeedbackItem, ...]) -> KeptFeedback:
        """Keep *items* of one client; on return they are safe.

        Raises:
            OverloadedError: They could not be kept.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class HookParts:
    """What the hook addresses need."""

    config: ConfigSource
    desk: FrontDesk
    road: Road
    feedback: FeedbackStore
    prefetch: Callable[[ClientProfile | None], Mapping[str, str]]
    """The query templates for a client; None: for everyone."""
    new_deadline: Callable[[], Deadline]


def register_hooks(app: Flask, parts: HookParts) -> None:
    """Add discovery, the service and its feedback to *app*."""

    @app.get(_SERVICES)
    def discover() -> Response:
        client = parts.desk.client_discovering(request, _SERVICES)
        service = parts.config.current().service
        version = (client and client.discovery_version) or service.discovery_version
        named = None if version == "none" else version
        prefetch = parts.prefetch(client)
        answer = _json(services_document(prefetch, version=named))
        return answer if client is None else _not_stored(answer)  # it is for this client alone

    @app.post(f"{_SERVICES}/<service_id>")
    def call_service(service_id: str) -> Response:
        deadline = parts.new_deadline()
        path = _service_path(service_id)
        client = parts.desk.client_posting(request, path)
        answer = parts.road.answer(read_body(request), client, deadline)
        return Response(answer, mimetype="application/json")

    @app.post(f"{_SERVICES}/<service_id>/feedback")
    def take_feedback(service_id: str) -> Response:
        path = _service_path(service_id)
        client = parts.desk.client_posting(request, f"{path}/feedback", path)
        feedback = parse_feedback(read_body(request), client.reading.feedback_reasons)
        if feedback.items:
            with resting():
                kept = parts.feedback.keep(client, feedback.items)
            _log_feedback(client, feedback, kept.counts)
        return _feedback_answer(feedback)


def _service_path(service_id: str) -> str:
    if service_id != SERVICE_ID:
        raise UnknownServiceError(
            "No service has this id. GET /cds-services lists the services and their ids."
        )
    return f"{_SERVICES}/{SERVICE_ID}"


def _log_feedback(client: ClientProfile, feedback: Feedback, kept: FeedbackCounts) -> None:
    """Log counts only: no comment, no card, nothing of a patient."""
    accepted = sum(item.outcome is CardOutcome.ACCEPTED for item in feedback.items)
    _log.info(
        "feedback",
        client=client.id,
        accepted=accepted,
        overridden=len(feedback.items) - accepted,
        repeated=kept.repeated,
        unknown_cards=kept.unknown_cards,
    )


def _feedback_answer(feedback: Feedback) -> Response:
    """Say which items were refused; a call of which nothing could be kept is a bad request."""
    if not feedback.refused:
        return _json({})
    issues = [issue("invalid", fault.message, expression=fault.path) for fault in feedback.refused]
    status = 200 if feedback.items else 400
    return Response(operation_outcome(issues), status=status, mimetype="application/json")


def register_reference(app: Flask, knowledge: Knowledge, public_base_url: str) -> None:
    """Add the icon and the code systems and value sets to *app*."""
    code_systems = {str(resource["id"]): resource for resource in code_system_resources(knowledge)}

    @app.get("/icon.png")
    def icon() -> Response:
        response = Response(icon_png(), mimetype="image/png")
        response.cache_control.max_age = _ONE_DAY_SECONDS
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    @app.get("/fhir/CodeSystem/<system_id>")
    def code_system(system_id: str) -> Response:
        if system_id not in code_systems:
            abort(404)
        return _fhir(code_systems[system_id])

    @app.get("/fhir/ValueSet/<value_set_id>")
    def value_set(value_set_id: str) -> Response:
        if value_set_id not in knowledge.value_sets:
            abort(404)
        return _fhir(value_set_resource(knowledge, value_set_id, public_base_url))

    @app.get("/fhir/ConceptMap/override-reason")
    def override_reasons() -> Response:
        return _fhir(override_reason_map(knowledge, public_base_url))


def register_health(app: Flask, description: Callable[[], Mapping[str, object]]) -> None:
    """Add the health addresses; *description* tells what this process is ready to serve."""

    @app.get("/health/live")
    def live() -> Response:
        return _not_stored(_json({"status": "live"}))

    @app.get("/health/ready")
    def ready() -> Response:
        return _not_stored(_json({"status": "ready", **description()}))


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), mimetype="application/json")


def _fhir(resource: object) -> Response:
    return Response(msgspec.json.encode(resource), mimetype="application/fhir+json")


def _not_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
