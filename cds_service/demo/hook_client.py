"""How does an EHR talk to the service: discovery, signed hook calls, feedback?

Speaks only HTTP to the service, as any EHR would, and keeps what was said for the developer panel.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid5

import jwt
import requests

from cds_service.demo.personas import Resource
from cds_service.hooks.discovery import SERVICE_ID

TIMEOUT_SECONDS = 20.0
TOKEN_SECONDS = 300
_SHOWN_HEADERS = ("Content-Type", "Cache-Control", "Retry-After", "WWW-Authenticate")


class ServiceUnreachableError(Exception):
    """The service does not answer at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrKey:
    """The key this EHR signs with, and the name under which the service knows it."""

    issuer: str
    key_id: str
    private_key_pem: str = field(repr=False)
    algorithm: str = "ES384"

    def token(self, audience: str, issued_at: int, identifier: str) -> str:
        """Return a signed token for one call.

        Time:
            ``issued_at`` in seconds since 1970; the token ends ``TOKEN_SECONDS`` later.
        """
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + TOKEN_SECONDS,
            "jti": identifier,
        }
        return jwt.encode(
            claims, self.private_key_pem, algorithm=self.algorithm, headers={"kid": self.key_id}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as they went over the wire; tokens are shortened."""

    url: str
    sent_headers: Mapping[str, str]
    sent_body: str
    status: int
    headers: Mapping[str, str]
    body: str
    milliseconds: float

    @property
    def answer(self) -> Resource:
        """Return the answer's JSON object; empty if it is none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def for_people(self) -> Resource:
        """Return the exchange for the developer panel."""
        return {
            "url": self.url,
            "sent_headers": dict(self.sent_headers),
            "sent_body": self.sent_body,
            "status": self.status,
            "headers": dict(self.headers),
            "body": self.body,
            "milliseconds": round(self.milliseconds, 1),
        }


class HookClient:
    """A client of the service at ``service_url``; safe to use from several threads."""

    def __init__(self, service_url: str, key: EhrKey, now: Callable[[], datetime]) -> None:
        self.service_url = service_url.rstrip("/")
        self.hook_url = f"{self.service_url}/cds-services/{SERVICE_ID}"
        self.feedback_url = f"{self.hook_url}/feedback"
        self._key = key
        self._now = now
        self._calls = itertools.count()

    def known_as(self, issuer: str) -> HookClient:
        """Return the same EHR under the name *issuer*, which the service answers in its own way."""
        known = copy(self)
        known._key = replace(self._key, issuer=issuer)  # noqa: SLF001 - a copy of ourselves
        return known

    def templates(self) -> Mapping[str, str]:
        """Return the prefetch templates the service asks for in discovery."""
        answer = self._send("GET", f"{self.service_url}/cds-services", b"", None)
        services = answer.answer.get("services", [])
        wanted = [service for service in services if service.get("id") == SERVICE_ID]
        return wanted[0].get("prefetch", {}) if wanted else {}

    def token(self, audience: str, *, seconds_ago: int = 0) -> str:
        """Return a fresh token; *seconds_ago* makes it an old one."""
        now = self._now()
        identifier = uuid5(UUID(int=0), f"{now.isoformat()} {next(self._calls)}")
        return self._key.token(audience, int(now.timestamp()) - seconds_ago, str(identifier))

    def call(self, request: Resource) -> Exchange:
        """Fire the hook with a good token."""
        return self.send_hook(json.dumps(request).encode(), self.token(self.hook_url))

    def send_hook(self, body: bytes, token: str | None) -> Exchange:
        """Send *body* to the hook as it is, with *token* or without any."""
        return self._send("POST", self.hook_url, body, token)

    def feedback(self, *items: Resource) -> Exchange:
        """Tell the service what became of its cards."""
        body = json.dumps({"feedback": list(items)}).encode()
        return self._send("POST", self.feedback_url, body, self.token(self.feedback_url))

    def _send(self, method: str, url: str, body: bytes, token: str | None) -> Exchange:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        shown = dict(headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
            shown["Authorization"] = f"Bearer {token[:16]}… (shortened)"
        started = time.perf_counter()
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.request(
                    method, url, data=body or None, headers=headers, timeout=TIMEOUT_SECONDS
                )
        except requests.RequestException as error:
            raise ServiceUnreachableError(
                f"The service at {self.service_url} did not answer ({type(error).__name__}). "
                "Look at the terminal in which the demo runs; start it again if it has stopped."
            ) from error
        return Exchange(
            url=url,
            sent_headers=shown,
            sent_body=body.decode(errors="replace"),
            status=answer.status_code,
            headers={k: answer.headers[k] for k in _SHOWN_HEADERS if k in answer.headers},
            body=answer.content.decode(errors="replace"),
            milliseconds=(time.perf_counter() - started) * 1000,
        )
