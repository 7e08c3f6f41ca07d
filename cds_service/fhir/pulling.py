"""The searches of one hook call: page by page from one FHIR server, alone or begun as a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial

import structlog

from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.batch import Part, batch_body, batch_parts
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.http import FHIR_JSON, FORM, FetchFailedError, FhirServer, Question
from cds_service.fhir.paging import MOST_BYTES, Allowance, safe_next_url
from cds_service.fhir.prefetch import Page, joined_answer, read_page

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A FHIR server that may be asked for this call."""

    base: str
    token: str | None = field(repr=False)
    server: FhirServer = field(repr=False)
    deadline: Deadline


FirstPage = Callable[[], bytes]
"""Brings the first page of a search by other means than its own request."""


class Pull:
    """One search, page by page; what has arrived can be taken at any time."""

    def __init__(
        self,
        key: str,
        access: Access,
        first: Question | FirstPage | None,
        *,
        pages: tuple[Page, ...] = (),
    ) -> None:
        self.key = key
        self._access = access
        self._first = first
        self._pages = list(pages)
        self._cut: str | None = None
        self._ended_at: float | None = None
        self._allowance = Allowance()
        self.bytes_read = 0
        self.pages_read = 0

    def run(self) -> None:
        """Read pages until the last one, a limit, a failure or the deadline; never raises."""
        try:
            self._read()
        except FetchFailedError as failure:
            self._cut = failure.reason
        except Exception as error:  # noqa: BLE001 - a fault may cost one key, never the answer
            self._cut = reasons.SERVER_UNREACHABLE
            _log.error("pull_failed", key=self.key, exception=type(error).__name__)
        self._ended_at = self._access.deadline.clock()

    def answer(self) -> KeyAnswer:
        """Return what has arrived so far."""
        is_finished = self._ended_at is not None
        pages = tuple(self._pages)
        return joined_answer(pages, self._cut if is_finished else reasons.SERVER_TOO_SLOW)

    def seconds_since(self, started: float) -> float:
        """Return how long it took, or takes until now."""
        ended_at = self._ended_at
        return (self._access.deadline.clock() if ended_at is None else ended_at) - started

    def mark_cut(self, reason: str) -> None:
        """Remember why there will be no more pages."""
        self._cut = reason

    def _read(self) -> None:
        following = self._first
        seen = {following.url} if isinstance(following, Question) else set()
        while following is not None:
            page = self._taken(following)
            here = following.url if isinstance(following, Question) else f"{self._access.base}/"
            url = self._next_url(here, page)
            if url is not None and (url in seen or self._allowance.is_spent):
                self._cut = reasons.MORE_PAGES
                return
            if url is not None:
                seen.add(url)
            following = None if url is None else Question(url=url)

    def _taken(self, asked: Question | FirstPage) -> Page:
        """Return one page, which is then part of the answer."""
        body = self._fetched(asked) if isinstance(asked, Question) else asked()
        page = read_page(self.key, body)
        self._allowance.spend(resources=len(page.resources), size=len(body))
        self.bytes_read += len(body)
        self.pages_read += 1
        self._pages.append(page)
        return page

    def _fetched(self, question: Question) -> bytes:
        return self._access.server.fetch(
            question,
            token=self._access.token,
            deadline=self._access.deadline,
            most_bytes=self._allowance.bytes,
        )

    def _next_url(self, here: str, page: Page) -> str | None:
        if page.next_url is None:
            return None
        following = safe_next_url(self._access.base, here, page.next_url)
        if following is None:
            self._cut = reasons.NEXT_PAGE_ELSEWHERE
        return following


class Batch:
    """The first pages of all searches, fetched as one batch Bundle."""

    def __init__(self, access: Access, paths: Sequence[str]) -> None:
        self._access = access
        self._paths = tuple(paths)
        self._parts: Future[tuple[Part, ...]] = Future()

    def run(self) -> None:
        """Fetch the batch; every part then has a page or a reason why not."""
        try:
            parts = self._fetched()
        except FetchFailedError as failure:
            parts = (Part(problem=failure.reason),) * len(self._paths)
        self._parts.set_result(parts)

    def first_page(self, position: int) -> bytes:
        """Wait for the answer to the search at *position*.

        Raises:
            FetchFailedError: It could not be had.
        """
        try:
            part = self._parts.result(self._access.deadline.remaining_seconds())[position]
        except (TimeoutError, CancelledError):
            raise FetchFailedError(reasons.SERVER_TOO_SLOW) from None
        if part.body is None:
            raise FetchFailedError(part.problem)
        return part.body

    def _fetched(self) -> tuple[Part, ...]:
        question = Question(
            url=self._access.base, body=batch_body(self._paths), content_type=FHIR_JSON
        )
        body = self._access.server.fetch(
            question,
            token=self._access.token,
            deadline=self._access.deadline,
            most_bytes=MOST_BYTES,
        )
        return batch_parts(body, len(self._paths))


def first_pages(
    missing: Mapping[str, tuple[str, ...]],
    access: Access,
    batch: Batch | None,
    *,
    by_post: bool,
) -> Iterator[Question | FirstPage]:
    """Yield where the first page of each search comes from, in the order of *missing*."""
    paths = [path for several in missing.values() for path in several]
    for position, path in enumerate(paths):
        if batch is not None:
            yield partial(batch.first_page, position)
        else:
            yield _question(access.base, path, by_post=by_post)


def _question(base: str, path: str, *, by_post: bool) -> Question:
    kind, sign, query = path.partition("?")
    if by_post and sign:
        return Question(url=f"{base}/{kind}/_search", body=query.encode(), content_type=FORM)
    return Question(url=f"{base}/{path}")
