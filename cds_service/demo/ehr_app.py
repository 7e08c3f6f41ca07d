"""The pages of the test EHR and the calls they make.

Serves only this machine, with a strict content security policy and no foreign script.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from flask import Blueprint, Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from cds_service.demo.broken import BREAKAGES, Bench
from cds_service.demo.ehr import DemoEhr, NotShownError
from cds_service.demo.fhir_server import FhirServer
from cds_service.demo.hook_client import Exchange, ServiceUnreachableError
from cds_service.demo.markdown import markdown_blocks
from cds_service.demo.people import ChartServerError, full_name
from cds_service.demo.personas import Persona, Resource
from cds_service.demo.prefetch import Delivery, Manner, Opening
from cds_service.demo.summary import summary
from cds_service.demo.timeline import timeline
from cds_service.rendering.trace import trace_json

LONGEST_COMMENT = 500
LONGEST_NAME = 80
_WORDS = {
    400: "The test EHR could not read this call (400). Reload the page and try again.",
    403: "The test EHR answers only to the names of this machine (403). Open it as localhost.",
    404: "There is no such page or patient here (404). Go back to the list of patients.",
    405: "This address is for the scripts of a page (405). Go back to the list of patients.",
    500: "The test EHR has a fault of its own (500). What went wrong stands in its terminal.",
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def create_ehr(ehr: DemoEhr) -> Flask:
    """Return the test EHR with its FHIR server as one application."""
    app = Flask(__name__)
    app.jinja_env.globals.update(
        is_unreviewed=ehr.knowledge.is_unreviewed,
        server=ehr.people.server,
        service_url=ehr.client.service_url,
    )
    server = FhirServer(store=ehr.store, tokens=ehr.tokens, base_url=ehr.fhir_base)
    app.register_blueprint(server.blueprint(), url_prefix="/fhir")
    app.register_blueprint(_pages(ehr))
    app.register_blueprint(_clinic(ehr), url_prefix="/api")
    app.register_blueprint(_bench_calls(ehr), url_prefix="/api")
    app.before_request(_only_from_this_machine)
    app.after_request(_with_headers)
    app.register_error_handler(HTTPException, _as_words)
    app.register_error_handler(NotShownError, _as_not_shown)
    app.register_error_handler(ServiceUnreachableError, _as_unreachable)
    app.register_error_handler(ChartServerError, _as_unreachable)
    return app


def _pages(ehr: DemoEhr) -> Blueprint:
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def patients() -> str:
        """Show who is in the demo, or who is called as asked."""
        name = request.args.get("name", "")[:LONGEST_NAME]
        people = ehr.people.listed(name)
        return render_template(
            "patients.html",
            rows=[(persona, _person(persona, ehr.today_utc)) for persona in people],
            name=name,
        )

    @pages.get("/patients/<patient_id>")
    def chart_page(patient_id: str) -> str:
        """Show one chart."""
        persona = _persona(ehr, patient_id)
        return render_template(
            "chart.html",
            persona=persona,
            person=_person(persona, ehr.today_utc),
            today=ehr.today_utc.isoformat(),
            breakages=BREAKAGES,
        )

    return pages


def _clinic(ehr: DemoEhr) -> Blueprint:
    """Return what a clinician does: look, open, accept, override."""
    clinic = Blueprint("clinic", __name__)

    @clinic.get("/timeline/<patient_id>")
    def show_timeline(patient_id: str) -> Response:
        """Answer what the timeline shows."""
        _persona(ehr, patient_id)
        return jsonify(timeline(ehr.insight, patient_id, ehr.today_utc))

    @clinic.get("/chart/<patient_id>")
    def show_chart(patient_id: str) -> Response:
        """Answer the lists of the chart."""
        return jsonify(summary(ehr.store, _persona(ehr, patient_id).patient_id))

    @clinic.post("/open")
    def open_chart() -> Response:
        """Fire the hook at the service."""
        opening = _opening(ehr, _sent())
        exchange = ehr.open_chart(opening)
        answer = {
            "hookInstance": str(opening.hook_instance),
            "exchange": exchange.for_people(),
            "cards": [_with_html(card) for card in exchange.answer.get("cards", [])],
            "problem": _problem(exchange),
        }
        return jsonify(answer)

    @clinic.post("/accept")
    def accept() -> Response:
        """Accept a suggestion."""
        sent = _sent()
        names = ("hookInstance", "card", "suggestion")
        return jsonify(ehr.accept(*(_text(sent, name) for name in names)))

    @clinic.post("/override")
    def override() -> Response:
        """Set a card aside."""
        sent = _sent()
        reason = sent.get("reason")
        told = ehr.override(
            _text(sent, "hookInstance"),
            _text(sent, "card"),
            reason if isinstance(reason, dict) else {},
            str(sent.get("comment", ""))[:LONGEST_COMMENT],
        )
        return jsonify(told)

    return clinic


def _bench_calls(ehr: DemoEhr) -> Blueprint:
    """Return what a developer does: look behind, break requests, start afresh."""
    bench = Blueprint("bench", __name__)

    @bench.post("/trace")
    def trace() -> Response:
        """Answer every row of the decision table with its reasons."""
        sent = _sent()
        persona = _persona(ehr, _text(sent, "patient"))
        return jsonify(trace_json(ehr.insight.assessment(persona.patient_id, _day(sent))))

    @bench.post("/break/<breakage_id>")
    def send_broken(breakage_id: str) -> Response:
        """Send a request that is broken on purpose."""
        breakage = next((b for b in BREAKAGES if b.id == breakage_id), None) or abort(404)
        exchange = breakage.send(_bench(ehr, _opening(ehr, _sent())))
        answer = {
            "title": breakage.title,
            "expectation": breakage.expectation,
            "exchange": exchange.for_people(),
        }
        return jsonify(answer)

    @bench.post("/reset")
    def reset() -> Response:
        """Start afresh: forget every order placed in the demo."""
        _sent()
        ehr.start_afresh()
        return jsonify({"reset": True})

    return bench


def _bench(ehr: DemoEhr, opening: Opening) -> Bench:
    others = (p.patient_id for p in ehr.personas if p.patient_id != opening.patient_id)
    return Bench(
        client=ehr.client_in(opening.manner),
        writer=ehr.writer,
        opening=opening,
        templates=ehr.client.templates(),
        other_patient_id=next(others),
    )


def _opening(ehr: DemoEhr, sent: Mapping[str, Any]) -> Opening:
    try:
        return Opening(
            patient_id=_persona(ehr, _text(sent, "patient")).patient_id,
            as_of=_day(sent),
            hook_instance=UUID(bytes=secrets.token_bytes(16), version=4),
            delivery=Delivery(sent.get("delivery", Delivery.PREFETCH.value)),
            manner=Manner(sent.get("manner", Manner.PLAIN.value)),
        )
    except ValueError:
        abort(400)


def _sent() -> Mapping[str, Any]:
    """Return the JSON object the page sent; a form of a foreign page cannot send one."""
    sent = request.get_json(silent=True) if request.is_json else None
    return sent if isinstance(sent, dict) else abort(400)


def _text(sent: Mapping[str, Any], name: str) -> str:
    value = sent.get(name)
    return value if isinstance(value, str) else abort(400)


def _day(sent: Mapping[str, Any]) -> date:
    try:
        return date.fromisoformat(_text(sent, "asOf"))
    except ValueError:
        abort(400)


def _persona(ehr: DemoEhr, patient_id: str) -> Persona:
    return ehr.person(patient_id) or abort(404)


def _person(persona: Persona, today: date) -> Mapping[str, str]:
    """Return what the banner says about one patient; an empty text where nothing is recorded."""
    patient = persona.resources[0]
    birth = str(patient.get("birthDate", ""))
    identifiers = patient.get("identifier") or [{}]
    return {
        "name": full_name(patient),
        "gender": str(patient.get("gender", "")),
        "years": _age(birth, today),
        "birth": f"born {birth}" if birth else "",
        "record_number": str(identifiers[0].get("value", "")),
    }


def _age(birth: str, today: date) -> str:
    """Return "52 years"; nothing for a month, a year or what is no day at all."""
    try:
        born = date.fromisoformat(birth)
    except ValueError:
        return ""
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return f"{years} years"


def _with_html(card: Resource) -> Resource:
    """Return a card with its detail as safe HTML: what to do first, the reasons apart."""
    blocks = markdown_blocks(str(card.get("detail", "")))
    first_list = next((n for n, block in enumerate(blocks) if block.startswith("<ul>")), 0)
    cut = max(first_list - 1, 0) or len(blocks)
    return {**card, "leadHtml": "".join(blocks[:cut]), "moreHtml": "".join(blocks[cut:])}


def _problem(exchange: Exchange) -> str | None:
    """Return what the service says is wrong, in its own words."""
    if exchange.status == 200:  # noqa: PLR2004 - HTTP OK
        return None
    issues = exchange.answer.get("issue") or [{}]
    issue = issues[0]
    words = issue.get("details", {}).get("text") or issue.get("diagnostics") or "no reason given"
    return f"{exchange.status}: {words}"


def _only_from_this_machine() -> None:
    """Refuse pages of other sites: this EHR is called by the names of this machine only."""
    if request.host.partition(":")[0] not in {"127.0.0.1", "localhost"}:
        abort(403)


def _with_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _as_words(error: HTTPException) -> tuple[Response | str, int]:
    status = error.code or 500
    return _problem_page(_WORDS.get(status, f"{status} {error.name}"), status)


def _as_not_shown(_: Exception) -> tuple[Response, int]:
    return jsonify({"error": "This card was not shown by this opening. Open the chart again."}), 404


def _as_unreachable(error: Exception) -> tuple[Response | str, int]:
    return _problem_page(str(error), 502)


def _problem_page(words: str, status: int) -> tuple[Response | str, int]:
    """Return *words* as a page for people, or as JSON for the calls of a page."""
    if request.path.startswith("/api/"):
        return jsonify({"error": words}), status
    return render_template("problem.html", words=words, status=status), status
