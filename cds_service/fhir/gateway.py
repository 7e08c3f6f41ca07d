"""The chart of one hook call: what the EHR sent along, and what its FHIR server adds in time.

Every key ends as *supplied*, *known empty*, *supplied in part* or *not supplied*; nothing that
fails here raises.  The access token travels to the FHIR server of the request only, and only if
this client lists that server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from urllib.parse import urlsplit

from cds_service.chart.supply import Key
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.http import FhirServer, Question
from cds_service.fhir.metrics import SENT_ALONG, Observer, PullMetrics, PullRecord
from cds_service.fhir.paging import safe_next_url
from cds_service.fhir.prefetch import Page, joined_answer, merged_answer, read_page
from cds_service.fhir.pulling import Access, Batch, Pull, first_pages
from cds_service.fhir.queries import LONGEST_URL, searches, wants_fresh
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.trust.addresses import AddressRefusedError, allowed_base
from cds_service.trust.connections import guarded_adapter
from cds_service.trust.profile import ClientProfile

MOST_THREADS = 64


_LONGEST_BODY = 20_000
"""Characters of one search sent as a form; the code lists then need no splitting."""


class Gateway:
    """Turns hook requests into answers per key; one for the whole process."""

    def __init__(
        self,
        knowledge: Knowledge,
        clock: Callable[[], float],
        *,
        observer: Observer | None = None,
    ) -> None:
        """Measure time with *clock* (seconds, monotonic); tell *observer* what each key cost.

        Without an observer the costs are added up in ``metrics``.
        """
        self.metrics = PullMetrics()
        self._knowledge = knowledge
        self._clock = clock
        self._observer = observer if observer is not None else self.metrics.observe
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
            answers = {key: _without_server(pages, access) for key, pages in sent.items()}
            self._observe_sent(request, client, answers)
            return answers
        pulls, batch = self._pulls(request, client, sent, access)
        self._run(pulls, batch, access, client)
        not_pulled = {key: pages for key, pages in sent.items() if key not in pulls}
        answers = {key: joined_answer(pages or ()) for key, pages in not_pulled.items()}
        self._observe_sent(request, client, answers)
        answers |= {key: _pulled(several) for key, several in pulls.items()}
        return {key: answers[key] for key in keys}

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
    ) -> Access | str:
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
        return Access(base=base, token=request.access_token, server=server, deadline=deadline)

    def _server(self, client: ClientProfile, base: str) -> FhirServer:
        with self._lock:
            known = self._servers.get((client.id, base))
            if known is not None and known[0] is client:
                return known[1]
            adapter = guarded_adapter(client, base=base, connections=client.max_fhir_requests)
            fresh = wants_fresh(client.dialect.value)
            server = FhirServer(client, adapter, self._clock, wants_fresh=fresh)
            self._servers[client.id, base] = (client, server)
            return server

    def _pulls(
        self,
        request: HookRequest,
        client: ClientProfile,
        sent: Mapping[str, tuple[Page, ...] | None],
        access: Access,
    ) -> tuple[dict[str, tuple[Pull, ...]], Batch | None]:
        """Return the pulls of each key that needs any, and the batch they begin with."""
        urls = searches(
            self._knowledge,
            request.patient_id,
            optional_keys=sent,
            dialect=client.dialect.value,
            longest_url=_LONGEST_BODY if client.searches_by_post else LONGEST_URL,
        )
        missing = {key: urls[key] for key, pages in sent.items() if _is_to_be_pulled(key, pages)}
        batch = None
        if client.searches_in_batch:
            batch = Batch(access, [path for paths in missing.values() for path in paths])
        firsts = iter(first_pages(missing, access, batch, by_post=client.searches_by_post))
        pulls = {
            key: tuple(Pull(key, access, next(firsts)) for _ in paths)
            for key, paths in missing.items()
        }
        for key, pages in sent.items():
            if key not in pulls and pages and pages[0].next_url is not None:
                pulls[key] = (_continued(key, pages[0], access),)
        return pulls, batch if missing else None

    def _run(
        self,
        pulls: Mapping[str, tuple[Pull, ...]],
        batch: Batch | None,
        access: Access,
        client: ClientProfile,
    ) -> None:
        started = self._clock()
        pool = self._threads()
        if batch is not None:  # first in the queue, because the pulls wait for it
            pool.submit(batch.run)
        futures = [pool.submit(pull.run) for several in pulls.values() for pull in several]
        _, late = wait(futures, timeout=access.deadline.remaining_seconds())
        for future in late:
            future.cancel()
        if late:
            access.server.cut_late(access.deadline)
        for key, several in pulls.items():
            self._observer(_record(client, access.base, key, several, started))

    def _observe_sent(
        self, request: HookRequest, client: ClientProfile, answers: Mapping[str, KeyAnswer]
    ) -> None:
        """Count the keys that no server was asked for."""
        for key, answer in answers.items():
            self._observer(
                PullRecord(
                    client=client.id,
                    base=SENT_ALONG,
                    key=key,
                    outcome=answer.supply.state,
                    reason=answer.supply.reason,
                    seconds=0.0,
                    pages=0,
                    bytes=len(request.prefetch.get(key) or b""),
                )
            )

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


def _continued(key: str, page: Page, access: Access) -> Pull:
    """Return the pull of the pages after the one that was sent."""
    following = safe_next_url(access.base, f"{access.base}/", page.next_url or "")
    first = None if following is None else Question(url=following)
    pull = Pull(key, access, first, pages=(page,))
    if first is None:
        pull.mark_cut(reasons.NEXT_PAGE_ELSEWHERE)
    return pull


def _without_server(pages: tuple[Page, ...] | None, why: str) -> KeyAnswer:
    """Return the answer of a key when no server may be asked for the rest."""
    if pages is None:
        return KeyAnswer.not_supplied(why)
    has_more = pages[0].next_url is not None
    return joined_answer(pages, reasons.MORE_PAGES if has_more else None)


def _pulled(pulls: tuple[Pull, ...]) -> KeyAnswer:
    return merged_answer([pull.answer() for pull in pulls])


def _record(
    client: ClientProfile, base: str, key: str, pulls: tuple[Pull, ...], started: float
) -> PullRecord:
    supply = _pulled(pulls).supply
    return PullRecord(
        client=client.id,
        base=base,
        key=key,
        outcome=supply.state,
        reason=supply.reason,
        seconds=max(pull.seconds_since(started) for pull in pulls),
        pages=sum(pull.pages_read for pull in pulls),
        bytes=sum(pull.bytes_read for pull in pulls),
    )
