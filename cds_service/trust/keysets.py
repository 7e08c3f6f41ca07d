"""Which key of this client has this ``kid`` now?

Key sets come from the profile: written there, or fetched from the one URL written there.  No URL
of a token is ever fetched.  A fetched set is kept while fetching fails, for a day; an unknown
``kid`` makes us look once a minute, because clients rotate their keys, and so does a signature that
the known key does not fit.  Anybody can invent a ``kid``, so only a few calls wait for the answer,
and none whose key is known.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import structlog
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TooSlowError

from cds_service.errors import UnauthorizedError
from cds_service.trust.keys import KeySet, VerificationKey, parse_key_set
from cds_service.trust.patience import ended_after
from cds_service.trust.profile import ClientProfile
from cds_service.turns import resting

_CONNECT_SECONDS, _READ_SECONDS, _WHOLE_SECONDS = 2.0, 2.0, 5.0
_MOST_BYTES = 262_144
_CHUNK_BYTES = 16_384
_SHORTEST_LIFE, _USUAL_LIFE, _LONGEST_LIFE = 300.0, 3600.0, 86_400.0
_STALE_SECONDS = 86_400.0
_LOOK_AGAIN_SECONDS = 60.0
_RETRY_SECONDS = 10.0
_WAIT_SECONDS = 3.0
_MOST_WAITING = 4
_USUAL_PLACES = 30
_LOG = structlog.get_logger("cds_service.trust.keysets")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedKeySet:
    """A key set and for how many seconds its server lets it be kept."""

    key_set: KeySet
    life_seconds: float


class KeySetFetchError(Exception):
    """A key set could not be fetched; the text is a fixed phrase of ours."""


def fetch_key_set(url: str, *, proxy: str | None, ca_file: Path | None) -> FetchedKeySet:
    """Fetch the key set at the configured *url*.

    Raises:
        KeySetFetchError: It did not come in time, is too large or is no key set.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy, "https": proxy} if proxy is not None else {}
        try:
            with (
                ended_after(_WHOLE_SECONDS, session),
                session.get(
                    url,
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                    allow_redirects=False,
                    stream=True,
                    verify=True if ca_file is None else str(ca_file),
                ) as answer,
            ):
                body = _read_body(answer)
                life_seconds = _life_seconds(answer.headers.get("Cache-Control", ""))
        except (requests.RequestException, HTTPError, OSError) as error:
            raise KeySetFetchError(_why_not_had(error)) from error
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise KeySetFetchError("the answer is not a key set") from error
    try:
        key_set = parse_key_set(document)
    except ValueError as error:
        raise KeySetFetchError(f"the answer is not used: {error}") from error
    return FetchedKeySet(key_set=key_set, life_seconds=life_seconds)


def _why_not_had(error: Exception) -> str:
    """Return where the operator has to look; the texts of *error* are not used."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted (see ca_file), or it speaks no TLS"
    if isinstance(error, requests.Timeout | TooSlowError):
        return "the server of the key set did not answer in time"
    return "the server of the key set could not be reached, or broke off its answer"


def _read_body(answer: requests.Response) -> bytes:
    if answer.status_code != requests.codes.ok:
        raise KeySetFetchError("the server of the key set did not answer with 200")
    body = bytearray()
    # read1 returns what is there; iter_content would wait for a full chunk of dripping bytes.
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise KeySetFetchError("the key set is larger than 256 KB")
    return bytes(body)


def _life_seconds(cache_control: str) -> float:
    found = re.search(r"max-age=([0-9]{1,9})", cache_control)
    stated = float(found[1]) if found else _USUAL_LIFE
    return min(max(stated, _SHORTEST_LIFE), _LONGEST_LIFE)


class _WaitingRoom:
    """The calls of this process that wait for a key set, of whichever client."""

    def __init__(self, places: int) -> None:
        self._most_for_first = max(1, places // 2)
        self._most = min(_MOST_WAITING, self._most_for_first)
        self._lock = threading.Lock()
        self._waiting = 0

    @contextmanager
    def place(self, *, is_first: bool) -> Iterator[None]:
        """Give one call a place; more of them while a client's first set is on its way.

        Raises:
            UnauthorizedError: There is none left.
        """
        with self._lock:
            if self._waiting >= (self._most_for_first if is_first else self._most):
                raise UnauthorizedError("enough calls wait for a key set that is being fetched")
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1


class _FetchedKeys:
    """The key set behind one URL, fetched when needed by one thread at a time."""

    def __init__(
        self,
        fetch: Callable[[], FetchedKeySet],
        monotonic: Callable[[], float],
        client_id: str,
        waiting_room: _WaitingRoom,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._client_id = client_id
        self._waiting_room = waiting_room
        self._lock = threading.Lock()
        self._running: threading.Event | None = None
        self._runs_in = os.getpid()
        self._held: tuple[FetchedKeySet, float] | None = None
        self._next_retry = float("-inf")
        self._next_look = float("-inf")

    def find(self, kid: str) -> VerificationKey | None:
        """Return the key, looking again at its server if that can help.

        Raises:
            UnauthorizedError: It is being looked for, and too many calls wait for that already.
        """
        key = self._held_key(kid)
        fetching = self._start_if_due(is_unknown=key is None)
        if key is None and fetching is not None:
            with self._waiting_room.place(is_first=self._held is None), resting():
                fetching.wait(_WAIT_SECONDS)
            key = self._held_key(kid)
        return key

    def look_again(self) -> None:
        """Start to fetch what is held already, once a minute at most, without waiting for it."""
        self._start_if_due(is_unknown=True)

    def start(self) -> None:
        """Start to fetch the key set if none is held, without waiting for it."""
        if self._held is None:
            self._start_if_due(is_unknown=True)

    def _held_key(self, kid: str) -> VerificationKey | None:
        if self._held is None:
            return None
        held, since = self._held
        if self._monotonic() - since > held.life_seconds + _STALE_SECONDS:
            return None
        return held.key_set.keys.get(kid)

    def _is_old(self, now: float) -> bool:
        if self._held is None:
            return True
        held, since = self._held
        return now - since > held.life_seconds

    def _start_if_due(self, *, is_unknown: bool) -> threading.Event | None:
        """Start to fetch if it is time to; return what is running, if anything is."""
        with self._lock:
            # A thread that was fetching when this process was forked off is not here.
            if self._running is not None and self._runs_in == os.getpid():
                return self._running
            now = self._monotonic()
            looks = is_unknown and self._held is not None and now >= self._next_look
            if not looks and not (self._is_old(now) and now >= self._next_retry):
                return None
            if looks:
                self._next_look = now + _LOOK_AGAIN_SECONDS
            self._next_retry = now + (_RETRY_SECONDS if is_unknown else _LOOK_AGAIN_SECONDS)
            self._running, self._runs_in = self._started(), os.getpid()
            return self._running

    def _started(self) -> threading.Event | None:
        """Start to fetch; return what is set at the end, None if there is no thread for it."""
        done = threading.Event()
        try:
            threading.Thread(target=self._run, args=(done,), daemon=True).start()
        except RuntimeError:
            _LOG.warning("key set not fetched", client=self._client_id, why="no thread to be had")
            return None
        return done

    def _run(self, done: threading.Event) -> None:
        try:
            fetched = self._fetch()
            self._held = (fetched, self._monotonic())
            for fault in fetched.key_set.faults:
                _LOG.warning("a key of the client is not used", client=self._client_id, why=fault)
        except KeySetFetchError as error:
            _LOG.warning("key set not fetched", client=self._client_id, why=str(error))
        finally:
            with self._lock:
                self._running = None
            done.set()


class KeySets:
    """The keys of all clients, each client's for itself.

    Of the calls that are at work at once, ``places``, at most four wait for a key nobody knows,
    and at most half for the first key set of a client; the others are refused at once.
    """

    def __init__(
        self, *, places: int = _USUAL_PLACES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._waiting_room = _WaitingRoom(places)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._fetched: dict[tuple[str, str, str | None, Path | None], _FetchedKeys] = {}

    def find(self, client: ClientProfile, kid: str) -> VerificationKey | None:
        """Return the key *kid* of this *client*; another client's key is never found.

        Raises:
            UnauthorizedError: It is being looked for, and too many calls wait for that already.
        """
        if client.jwks is not None:
            return client.jwks.keys.get(kid)
        if client.jwks_url is None:
            return None
        return self._source(client, client.jwks_url).find(kid)

    def doubt(self, client: ClientProfile) -> None:
        """Look soon whether *client* has other keys now; it may have renewed one under its kid."""
        if client.jwks is None and client.jwks_url is not None:
            self._source(client, client.jwks_url).look_again()

    def warm(self, clients: tuple[ClientProfile, ...]) -> None:
        """Start to fetch the key sets of *clients*, so that their first call need not wait."""
        for client in clients:
            if client.jwks is None and client.jwks_url is not None:
                self._source(client, client.jwks_url).start()

    def _source(self, client: ClientProfile, url: str) -> _FetchedKeys:
        place = (client.id, url, client.outbound_proxy, client.ca_file)
        with self._lock:
            if place not in self._fetched:
                self._fetched[place] = _FetchedKeys(
                    lambda: fetch_key_set(url, proxy=client.outbound_proxy, ca_file=client.ca_file),
                    self._monotonic,
                    client.id,
                    self._waiting_room,
                )
            return self._fetched[place]
