"""Does this request come from an EHR we know, for this endpoint, now, and for the first time?

Every refusal is one :class:`UnauthorizedError`; its reason is a fixed phrase for the log and never
holds anything of the token.  The signature is checked by PyJWT with the algorithm of the key's own
record; no claim is believed before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import jwt

from cds_service.errors import UnauthorizedError
from cds_service.trust.config import Config, ConfigSource
from cds_service.trust.keys import ALGORITHMS, VerificationKey
from cds_service.trust.keysets import KeySets
from cds_service.trust.profile import ClientProfile
from cds_service.trust.replay import ReplayStore
from cds_service.trust.token import UnverifiedToken, read_token

Clock = Callable[[], datetime]

_LONGEST_JTI = 256
_SIGNATURES = {name: jwt.PyJWS().get_algorithm_by_name(name) for name in ALGORITHMS}


class Verifier:
    """Checks the token of every request; safe to share between threads."""

    def __init__(
        self,
        config: ConfigSource,
        state_dir: Path,
        clock: Clock,
        *,
        key_sets: KeySets | None = None,
        endpoints: tuple[str, ...] = (),
    ) -> None:
        """Know the clients of *config*; *endpoints* are the paths of ours a token may name too."""
        self._config = config
        self._endpoints = endpoints
        self._clock = clock
        self._key_sets = key_sets if key_sets is not None else KeySets()
        self._used_tokens = ReplayStore(state_dir)

    @property
    def is_replay_store_lost(self) -> bool:
        """Whether used tokens are at present not shared between worker processes."""
        return self._used_tokens.is_lost

    def warm(self) -> None:
        """Do what the first request would wait for; call it once in each worker process.

        The store of used tokens is opened, and the configured key sets begin to be fetched.
        """
        self._used_tokens.open()
        self._key_sets.warm(self._config.current().clients)

    def keep_house(self) -> None:
        """Start the thread that tidies the store of used tokens; once in each worker process."""
        self._used_tokens.keep_house()

    def authenticate(
        self, authorization_header: str | None, audiences: tuple[str, ...]
    ) -> ClientProfile:
        """Return the client whose good, unused token this is.

        *audiences* are the endpoints the token may be addressed to: paths such as
        ``/cds-services/post-laminectomy-evaluation``, or URLs that begin with our public base URL.

        Time:
            ``exp``, ``nbf`` and ``iat`` each hold within the client's clock skew, both ends
            included.

        Raises:
            UnauthorizedError: The token is not accepted.
            cds_service.errors.OverloadedError: The store of used tokens is lost and the service is
                configured to refuse then.
        """
        config = self._config.current()
        token = read_token(authorization_header)
        client = _client(config, token)
        try:
            self._check(config, client, token, audiences)
        except UnauthorizedError as error:
            error.claims = client.id
            raise
        return client

    def _check(
        self,
        config: Config,
        client: ClientProfile,
        token: UnverifiedToken,
        audiences: tuple[str, ...],
    ) -> None:
        algorithm, kid = _checked_header(client, token)
        key = self._key_sets.find(client, kid)
        if key is None:
            raise UnauthorizedError("the client has no key with this kid")
        try:
            _check_signature(token, algorithm, key)
        except UnauthorizedError:
            self._key_sets.doubt(client)
            raise
        asked = _own_urls(config, client, audiences)
        _check_audience(client, token, asked, asked | _own_urls(config, client, self._endpoints))
        now = self._clock().timestamp()
        expires_at = _checked_times(client, token, now)
        self._claim(config, token, expires_at=expires_at, now=int(now))

    def _claim(self, config: Config, token: UnverifiedToken, *, expires_at: int, now: int) -> None:
        jti = token.claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
            raise UnauthorizedError("jti is missing or not a text of 1 to 256 characters")
        is_first = self._used_tokens.claim(
            str(token.claims["iss"]),
            jti,
            expires_at=expires_at,
            now=now,
            refuses=config.service.on_replay_store_loss == "refuse",
        )
        if not is_first:
            raise UnauthorizedError("the token was used before")


def _why_unknown(config: Config, issuer: str) -> str:
    """Return the reason for an issuer of no client, without the issuer itself."""
    listed = (each.rstrip("/") for client in config.clients for each in client.issuers)
    if issuer.rstrip("/") in listed:
        return "iss is not on the list; one there differs only by a slash at its end"
    return "iss is not on the list"


def _client(config: Config, token: UnverifiedToken) -> ClientProfile:
    """Return the one client the token claims to be; its key must then prove it."""
    issuer = token.claims.get("iss")
    if not isinstance(issuer, str):
        raise UnauthorizedError("iss is missing or not a text")
    known = [client for client in config.clients if issuer in client.issuers]
    if not known:
        raise UnauthorizedError(_why_unknown(config, issuer))
    for claim, listed in (("tenant", "tenants"), ("sub", "subjects")):
        value = token.claims.get(claim)
        accepted = {client.id: getattr(client, listed) for client in known}
        known = [
            client
            for client in known
            if not accepted[client.id] or (isinstance(value, str) and value in accepted[client.id])
        ]
        if not known:
            raise UnauthorizedError(f"{claim} is not on the client's list")
    if len(known) > 1:
        raise UnauthorizedError("the token fits more than one client")
    return known[0]


def _checked_header(client: ClientProfile, token: UnverifiedToken) -> tuple[str, str]:
    """Return algorithm and key id of a header this client may send."""
    header = token.header
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in client.algorithms:
        raise UnauthorizedError("alg is not on the client's list")
    is_typ_left_out = "typ" not in header and client.allows_missing_typ
    if header.get("typ") != "JWT" and not is_typ_left_out:
        raise UnauthorizedError("typ is not JWT")
    if not isinstance(kid, str):
        raise UnauthorizedError("kid is missing or not a text")
    if "jku" in header:
        jku = header["jku"]
        if not isinstance(jku, str) or jku not in (*client.jku_urls, client.jwks_url):
            raise UnauthorizedError("jku is not on the client's list")
    return algorithm, kid


def _check_signature(token: UnverifiedToken, algorithm: str, key: VerificationKey) -> None:
    if algorithm not in key.algorithms:
        raise UnauthorizedError("alg does not fit the key")
    if not _SIGNATURES[algorithm].verify(token.signed, key.public_key, token.signature):
        raise UnauthorizedError("the signature is not good")


def _own_urls(config: Config, client: ClientProfile, audiences: tuple[str, ...]) -> frozenset[str]:
    """Return every URL under which this client reaches the endpoints in *audiences*."""
    bases = (config.service.public_base_url, *client.audience_base_urls)
    paths = [audience.removeprefix(bases[0]) for audience in audiences]
    return frozenset(f"{base}{path}" for base in bases for path in paths if path.startswith("/"))


def _check_audience(
    client: ClientProfile, token: UnverifiedToken, asked: frozenset[str], ours: frozenset[str]
) -> None:
    """Refuse a token that is not for the endpoint *asked*, or also for one that is not *ours*.

    We answer with and without a slash at the end of an address, so both name the endpoint.
    """
    stated = token.claims.get("aud")
    members = [
        member.removesuffix("/") if isinstance(member, str) else None
        for member in (stated if isinstance(stated, list) else [stated])
    ]
    if not any(member in asked for member in members):
        raise UnauthorizedError("aud is not this endpoint")
    if not all(member in ours for member in members) and not client.allows_foreign_audience:
        raise UnauthorizedError("aud names another service too")


def _checked_times(client: ClientProfile, token: UnverifiedToken, now: float) -> int:
    """Return the second after which the token can no longer be used."""
    issued_at, expires_at = _seconds(token, "iat"), _seconds(token, "exp")
    skew, lifetime = client.clock_skew_seconds, client.max_lifetime_seconds
    if now > expires_at + skew:
        raise UnauthorizedError("exp is past")
    if issued_at > now + skew:
        raise UnauthorizedError("iat is in the future")
    if "nbf" in token.claims and _seconds(token, "nbf") > now + skew:
        raise UnauthorizedError("nbf is in the future")
    if not 0 < expires_at - issued_at <= lifetime:
        raise UnauthorizedError("the time from iat to exp is longer than the client may use")
    return math.ceil(expires_at + skew)


def _seconds(token: UnverifiedToken, claim: str) -> float:
    value = token.claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthorizedError(f"{claim} is missing or not a number")
    if not 0 <= value <= 2**53:
        raise UnauthorizedError(f"{claim} is not a time")
    return value
