"""The chart of one hook call: what the EHR sent along, and what its FHIR server adds in time.

Every key ends as *supplied*, *known empty*, *supplied in part* or *not supplied*; nothing that
fails here raises.  The access token travels to the FHIR server of the request only, and only if
this client lists that server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlsplit

from cds_service.chart.supply import Key, State
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.http import FetchFailedError, FhirServer
from cds_service.fhir.paging import Allowance, safe_next_url
from cds_service.fhir.prefetch import Page, joined_answer, merged_answer, read_page
from cds_service.fhir.queries import searches
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.trust.addresses import AddressRefusedError, allowed_base
from cds_service.trust.connections import guarded_adapter
from cds_service.trust.profile import ClientProfile

MOST_THREADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """What one key of one call cost, for the metrics; holds nothing of a patient."""

    client: str
    key: str
    outcome: State
    seconds: float
    pages: int
    bytes: int


Observer = Callable[[PullRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Access:
    """A FHIR server that may be asked for this call."""

    base: str
    token: str | None = field(repr=False)
    server: FhirServer = field(repr=False)
    deadline: Deadline


class _Pull:
    """One search, page by page; what has arrived can be taken at any time."""

    def __init__(
        self, key: str, access: _Access, *, url: str | None, pages: tuple[Page, ...] = ()
    ) -> None:
        self.key = key
        self._access = access
        self._url = url
        self._pages = list(pages)
        self._cut: str | None = None
        self._is_finished = False
        self._allowance = Allowance()
        self.bytes_read = 0
        self.pages_read = 0

    def run(self) -> None:
        """Read pages until the last one, a limit, a failure or the deadline."""
        seen: set[str] = set()
        url = self._url
        while url is not None:
            if url in seen or self._allowance.is_spent:
                self._cut = reasons.MORE_PAGES
                break
            seen.add(url)
            try:
                page = self._page(url)
            except FetchFailedError as failure:
                self._cut = failure.reason
                break
            self._pages.append(page)
            url = self._following(url, page)
        self._is_finished = True

    def answer(self) -> KeyAnswer:
        """Return what has arrived so far."""
        is_finished = self._is_finished
        pages = tuple(self._pages)
        return joined_answer(pages, self._cut if is_finished else reasons.SERVER_TOO_SLOW)

    def mark_cut(self, reason: str) -> None:
        """Remember why there will be no more pages."""
        self._cut = reason

    def _page(self, url: str) -> Page:
        body = self._access.server.get(
            url,
            token=self._access.token,
            deadline=self._access.deadline,
            most_bytes=self._allowance.bytes,
        )
        page = read_page(self.key, body)
        self._allowance.spend(resources=len(page.resources), size=len(body))
        self.bytes_read += len(body)
        self.pages_read += 1
        return page

    def _following(self, url: str, page: Page) -> str | None:
        if page.next_url is None:
            return None
        following = safe_next_url(self._access.base, url, page.next_url)
        if following is None:
            self._cut = reasons.NEXT_PAGE_ELSEWHERE
        return following


class Gateway:
    """Turns hook requests into answers per key; one for the whole process."""

    def __init__(
        self,
        knowledge: Knowledge,
        clock: Callable[[], float],
        *,
        observer: Observer | None = None,
    ) -> None:
        """Measure time with *clock* (seconds, monotonic); tell *observer* what each key cost."""
        self._knowledge = knowledge
        self._clock = clock
        self._observer = observer
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_owner = 0
        self._servers: dict[tuple[str, str], tuple[ClientProfile, FhirServer]] = {}

    def answers(
        self, request: HookRequest, client: ClientProfile, deadline: Deadline
    ) -> Mapping[str, KeyAnswer]:
        """Return what is known of each key, within *deadline*."""
        wanted = (*Key.DEFAULT, *client.optional_keys)
        keys = tuple(key for key in Key.ALL if key in wanted or key in request.prefetch)
        sent = {key: _sent(key, request.prefetch) for key in keys}
        access = self._access(request, client, deadline)
        if isinstance(access, str):
            return {key: _without_server(pages, access) for key, pages in sent.items()}
        pulls = self._pulls(request, client, sent, access)
        self._run(pulls, client, deadline)
        return {
            key: _pulled(pulls[key]) if key in pulls else joined_answer(pages or ())
            for key, pages in sent.items()
        }

    def close(self) -> None:
        """Give up threads and connections."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            for _, server in self._servers.values():
                server.close()
            self._pool = None
            self._servers.clear()

    def _access(
        self, request: HookRequest, client: ClientProfile, deadline: Deadline
    ) -> _Access | str:
        """Return the server that may be asked, or the reason why none may."""
        if request.fhir_server is None:
            return reasons.NOT_SENT
        try:
            base = allowed_base(request.fhir_server, client)
        except AddressRefusedError:
            return reasons.SERVER_NOT_ALLOWED
        if urlsplit(base).scheme != "https" and not client.allows_loopback_fhir:
            return reasons.SERVER_NOT_ALLOWED
        if request.access_token is None and not client.allows_open_fhir:
            return reasons.NO_ACCESS_TOKEN
        server = self._server(client, base)
        return _Access(base=base, token=request.access_token, server=server, deadline=deadline)

    def _server(self, client: ClientProfile, base: str) -> FhirServer:
        with self._lock:
            known = self._servers.get((client.id, base))
            if known is not None and known[0] is client:
                return known[1]
            server = FhirServer(client, guarded_adapter(client, base=base), self._clock)
            self._servers[client.id, base] = (client, server)
            return server

    def _pulls(
        self,
        request: HookRequest,
        client: ClientProfile,
        sent: Mapping[str, tuple[Page, ...] | None],
        access: _Access,
    ) -> dict[str, tuple[_Pull, ...]]:
        urls = searches(
            self._knowledge,
            request.patient_id,
            optional_keys=sent,
            dialect=client.dialect.value,
        )
        pulls: dict[str, tuple[_Pull, ...]] = {}
        for key, pages in sent.items():
            if _is_to_be_pulled(key, pages):
                pulls[key] = tuple(
                    _Pull(key, access, url=f"{access.base}/{path}") for path in urls[key]
                )
            elif pages and pages[0].next_url is not None:
                pulls[key] = (_continued(key, pages[0], access),)
        return pulls

    def _run(
        self, pulls: Mapping[str, tuple[_Pull, ...]], client: ClientProfile, deadline: Deadline
    ) -> None:
        started = self._clock()
        pool = self._threads()
        futures: dict[Future[None], _Pull] = {
            pool.submit(pull.run): pull for several in pulls.values() for pull in several
        }
        done, late = wait(futures, timeout=deadline.remaining_seconds())
        for future in late:
            future.cancel()
        for future in done:
            future.result()
        if self._observer is not None:
            seconds = self._clock() - started
            for key, several in pulls.items():
                self._observer(_record(client, key, several, seconds))

    def _threads(self) -> ThreadPoolExecutor:
        """Return the pool of this process; a forked worker makes its own."""
        with self._lock:
            if self._pool is None or self._pool_owner != os.getpid():
                self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="fhir")
                self._pool_owner = os.getpid()
            return self._pool


def _sent(key: str, prefetch: Mapping[str, bytes | None]) -> tuple[Page, ...] | None:
    """Return what was sent under *key*: None if the key is absent, an empty page for null."""
    if key not in prefetch:
        return None
    raw = prefetch[key]
    return (Page() if raw is None else read_page(key, raw),)


def _is_to_be_pulled(key: str, pages: tuple[Page, ...] | None) -> bool:
    """Whether to ask the server: nothing usable was sent.

    An OperationOutcome says that the EHR has already tried; only required keys are tried again.
    """
    if pages is None:
        return True
    if key == Key.PATIENT and not pages[0].resources:
        return True
    if not pages[0].is_unusable:
        return False
    return not pages[0].is_outcome or key in Key.REQUIRED


def _continued(key: str, page: Page, access: _Access) -> _Pull:
    """Return the pull of the pages after the one that was sent."""
    following = safe_next_url(access.base, f"{access.base}/", page.next_url or "")
    pull = _Pull(key, access, url=following, pages=(page,))
    if following is None:
        pull.mark_cut(reasons.NEXT_PAGE_ELSEWHERE)
    return pull


def _without_server(pages: tuple[Page, ...] | None, why: str) -> KeyAnswer:
    """Return the answer of a key when no server may be asked for the rest."""
    if pages is None:
        return KeyAnswer.not_supplied(why)
    has_more = pages[0].next_url is not None
    return joined_answer(pages, reasons.MORE_PAGES if has_more else None)


def _pulled(pulls: tuple[_Pull, ...]) -> KeyAnswer:
    return merged_answer([pull.answer() for pull in pulls])


def _record(
    client: ClientProfile, key: str, pulls: tuple[_Pull, ...], seconds: float
) -> PullRecord:
    return PullRecord(
        client=client.id,
        key=key,
        outcome=_pulled(pulls).supply.state,
        seconds=seconds,
        pages=sum(pull.pages_read for pull in pulls),
        bytes=sum(pull.bytes_read for pull in pulls),
    )
