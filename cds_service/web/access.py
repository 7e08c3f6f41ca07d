"""The front desk: who is calling, and may this call be worked on now?

Length and type come first, then the token, then the client's rate.  The body is not touched.
"""

from __future__ import annotations

from typing import Protocol

from flask import Request, g

from cds_service.errors import UnauthorizedError
from cds_service.trust.config import ConfigSource
from cds_service.trust.profile import ClientProfile
from cds_service.web.limits import TokenBuckets, check_length_and_type


class Authenticator(Protocol):
    """Whoever knows which client an Authorization header stands for."""

    def authenticate(
        self, authorization_header: str | None, audiences: tuple[str, ...]
    ) -> ClientProfile:
        """Return the client whose token is addressed to one of *audiences* (paths of ours).

        Raises:
            UnauthorizedError: The header stands for no client.
        """

    @property
    def is_replay_store_lost(self) -> bool:
        """Whether used tokens are at present not shared between worker processes."""

    def keep_house(self) -> None:
        """Start what is done beside the calls, in a process of its own."""


class OpenAccess:
    """Development on this machine: everyone is the same client, and no token is read."""

    def __init__(self, profile: ClientProfile) -> None:
        self._profile = profile

    def authenticate(
        self,
        authorization_header: str | None,  # noqa: ARG002 - not read, by design
        audiences: tuple[str, ...],  # noqa: ARG002 - not read, by design
    ) -> ClientProfile:
        """Return the development profile."""
        return self._profile

    @property
    def is_replay_store_lost(self) -> bool:
        """False: no token is kept."""
        return False

    def keep_house(self) -> None:
        """Do nothing: no token is kept."""


class ClosedAccess:
    """No client is configured: nobody is let in."""

    def authenticate(
        self,
        authorization_header: str | None,  # noqa: ARG002 - no token could be right
        audiences: tuple[str, ...],  # noqa: ARG002 - no token could be right
    ) -> ClientProfile:
        """Refuse.

        Raises:
            UnauthorizedError: Always.
        """
        raise UnauthorizedError("no client is configured")

    @property
    def is_replay_store_lost(self) -> bool:
        """False: no token is accepted."""
        return False

    def keep_house(self) -> None:
        """Do nothing: no token is accepted."""


class FrontDesk:
    """Lets calls in."""

    def __init__(
        self,
        config: ConfigSource,
        authenticator: Authenticator,
        buckets: TokenBuckets | None,
    ) -> None:
        self._config = config
        self._authenticator = authenticator
        self._buckets = buckets

    @property
    def is_replay_store_lost(self) -> bool:
        """Whether used tokens are at present not shared between worker processes."""
        return self._authenticator.is_replay_store_lost

    def keep_house(self) -> None:
        """Start what is done beside the calls, in a process of its own."""
        self._authenticator.keep_house()

    def client_posting(self, request: Request, *paths: str) -> ClientProfile:
        """Return the client of a call with a body, addressed to one of *paths*.

        Raises:
            CdsError: The call is refused; see ``cds_service.errors``.
        """
        check_length_and_type(request, self._config.current().service.max_body_bytes)
        return self._known_client(request, paths)

    def client_discovering(self, request: Request, path: str) -> ClientProfile | None:
        """Return the client of a discovery call, or None where discovery is open to all.

        Raises:
            UnauthorizedError: The site asks for a token here and this one is not accepted.
        """
        if not self._config.current().service.discovery_requires_token:
            return None
        return self._known_client(request, (path,))

    def _known_client(self, request: Request, paths: tuple[str, ...]) -> ClientProfile:
        client = self._authenticator.authenticate(request.headers.get("Authorization"), paths)
        g.client_id = client.id
        if self._buckets is not None:
            self._buckets.take(
                client.id, rate_per_second=client.rate_per_second, burst=client.burst
            )
        return client
