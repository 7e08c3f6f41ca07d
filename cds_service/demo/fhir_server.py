"""How does an EHR's FHIR R4 server look from outside: tokens, searches, pages, refusals?

A Flask blueprint over ``ChartStore``.  It is a test server: small, in memory, and strict where real
servers are strict.  Faults (slow answers, refused types) belong to a token, so that one broken
request of the demo disturbs no other.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from cds_service.demo.personas import Resource
from cds_service.demo.store import (
    TYPES,
    ChartStore,
    Parameters,
    SearchRefusedError,
    patient_of,
)

MEDIA_TYPE = "application/fhir+json"
MAX_TOKENS = 500
MAX_PAGE = 50
MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one access token allows, and the faults it suffers.

    ``refused_types`` are answered 403; every answer waits ``delay_seconds`` first.
    """

    patient_id: str
    may_write: bool = False
    delay_seconds: float = 0.0
    refused_types: frozenset[str] = frozenset()


class AccessTokens:
    """The access tokens this server has issued; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._lock = threading.Lock()

    def issue(self, grant: Grant) -> str:
        """Return a new token for *grant*."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._grants[token] = grant
            while len(self._grants) > MAX_TOKENS:
                self._grants.popitem(last=False)
        return token

    def grant_of(self, header: str | None) -> Grant | None:
        """Return what the Authorization *header* allows, or None."""
        kind, _, token = (header or "").partition(" ")
        return self._grants.get(token) if kind.lower() == "bearer" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirServer:
    """The routes of the test server; ``base_url`` is what links in its answers start with."""

    store: ChartStore
    tokens: AccessTokens
    base_url: str
    sleep: Callable[[float], None] = time.sleep

    def blueprint(self) -> Blueprint:
        """Return the routes, to be registered under the path of ``base_url``."""
        routes = Blueprint("fhir", __name__)
        routes.before_request(self._admit)
        routes.add_url_rule("/metadata", "metadata", self.metadata)
        routes.add_url_rule("/<kind>", "search", self.search)
        routes.add_url_rule("/<kind>/_search", "search_by_post", self.search, methods=["POST"])
        routes.add_url_rule("/<kind>", "create", self.create, methods=["POST"])
        routes.add_url_rule("/<kind>/<identifier>", "read", self.read)
        routes.add_url_rule("/<kind>/<identifier>", "update", self.update, methods=["PUT"])
        return routes

    def _admit(self) -> Response | None:
        if request.endpoint == "fhir.metadata":
            return None
        grant = self.tokens.grant_of(request.headers.get("Authorization"))
        if grant is None:
            answer = outcome(401, "login", "No valid access token was sent. Ask the EHR for one.")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if grant.delay_seconds:
            self.sleep(grant.delay_seconds)
        kind = (request.view_args or {}).get("kind", "")
        if kind not in TYPES:
            return outcome(404, "not-supported", "This server has no resources of this type.")
        if kind in grant.refused_types:
            return _forbidden()
        g.grant = grant
        return None

    def metadata(self) -> Response:
        """Say what this server can do."""
        interactions = [{"code": code} for code in ("read", "search-type", "create", "update")]
        statement = {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-01-01",
            "kind": "instance",
            "implementation": {"description": "Embedded test server", "url": self.base_url},
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [
                {
                    "mode": "server",
                    "resource": [
                        {"type": kind, "interaction": interactions} for kind in sorted(TYPES)
                    ],
                }
            ],
        }
        return _json(statement)

    def read(self, kind: str, identifier: str) -> Response:
        """Answer one resource."""
        resource = self.store.read(kind, identifier)
        if resource is None:
            return outcome(404, "not-found", "No resource with this id is in this chart.")
        if patient_of(resource) not in {None, _grant().patient_id}:
            return _forbidden()
        return _json(resource)

    def search(self, kind: str) -> Response:
        """Answer one page of a search, by GET or by POST to ``_search``."""
        parameters = list(request.args.items(multi=True))
        parameters += list(request.form.items(multi=True))
        try:
            found = self.store.search(kind, parameters)
            count = _number(parameters, "_count", MAX_PAGE)
            offset = _number(parameters, "_offset", 0)
        except SearchRefusedError as refused:
            return outcome(400, "not-supported", str(refused))
        own = _grant().patient_id
        if any(name in {"patient", "subject"} and not _is(own, v) for name, v in parameters):
            return _forbidden()
        matches = [r for r in found if patient_of(r) in {None, own}]
        return _json(self._page(kind, parameters, matches, slice(offset, offset + count)))

    def create(self, kind: str) -> Response:
        """Keep a new resource of the patient this token is for."""
        resource = _body(kind)
        if resource is None:
            return outcome(400, "invalid", "The body is not a JSON resource of this type.")
        if not _may_write(resource):
            return _forbidden()
        kept = self.store.create(resource)
        answer = _json(kept, 201)
        answer.headers["Location"] = f"{self.base_url}/{kind}/{kept['id']}"
        return answer

    def update(self, kind: str, identifier: str) -> Response:
        """Replace a resource of the patient this token is for."""
        resource = _body(kind)
        if resource is None or resource.get("id") != identifier:
            return outcome(400, "invalid", "The body is not a JSON resource with this type and id.")
        before = self.store.read(kind, identifier)
        if not _may_write(resource) or (before is not None and not _may_write(before)):
            return _forbidden()
        kept, is_new = self.store.update(resource)
        return _json(kept, 201 if is_new else 200)

    def _page(
        self, kind: str, parameters: Parameters, matches: list[Resource], part: slice
    ) -> Resource:
        def url(offset: int) -> str:
            kept = [(n, v) for n, v in parameters if n != "_offset"]
            query = urlencode([*kept, ("_offset", str(offset))] if offset else kept)
            return f"{self.base_url}/{kind}?{query}"

        links = [{"relation": "self", "url": url(part.start)}]
        if part.stop < len(matches):
            links.append({"relation": "next", "url": url(part.stop)})
        return searchset(self.base_url, matches[part], total=len(matches), links=links)


def searchset(
    base_url: str, resources: list[Resource], *, total: int, links: list[dict[str, str]]
) -> Resource:
    """Return a FHIR searchset Bundle."""
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": total,
        "link": links,
    }
    if resources:
        bundle["entry"] = [
            {
                "fullUrl": f"{base_url}/{r['resourceType']}/{r['id']}",
                "resource": r,
                "search": {"mode": "match"},
            }
            for r in resources
        ]
    return bundle


def outcome(status: int, code: str, text: str) -> Response:
    """Return an error as FHIR wants it."""
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)


def _json(body: Resource, status: int = 200) -> Response:
    answer = Response(json.dumps(body), status=status, mimetype=MEDIA_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _grant() -> Grant:
    grant: Grant = g.grant
    return grant


def _forbidden() -> Response:
    return outcome(403, "forbidden", "This access token does not allow that.")


def _is(patient_id: str, reference: str) -> bool:
    return reference in {patient_id, f"Patient/{patient_id}"}


def _may_write(resource: Resource) -> bool:
    return _grant().may_write and patient_of(resource) == _grant().patient_id


def _body(kind: str) -> dict[str, Any] | None:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) and body.get("resourceType") == kind else None


def _number(parameters: Parameters, name: str, usual: int) -> int:
    text = next((value for key, value in parameters if key == name), str(usual))
    if not text.isdecimal() or (name == "_count" and int(text) == 0):
        raise SearchRefusedError(f"'{name}' must be a whole number. Write for example {name}=20.")
    return min(int(text), MAX_PAGE) if name == "_count" else int(text)
