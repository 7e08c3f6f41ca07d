"""The searches of one hook call: page by page from one FHIR server, alone or begun as a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog
from msgspec.structs import replace

from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.asking import FHIR_JSON, FORM, Question
from cds_service.fhir.batch import Part, batch_body, batch_parts
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.http import FetchFailedError, FhirServer, Terms
from cds_service.fhir.paging import Allowance, safe_next_url
from cds_service.fhir.prefetch import Page, joined_answer, read_page, with_outcome, without_notice
from cds_service.fhir.queries import TYPES, Searches
from cds_service.fhir.repeats import without_repeats
from cds_service.fhir.side_by_side import Steps

_log = structlog.get_logger()
_SEARCH = "/_search"
"""Ends the address of a search by POST; links to its next pages are relative to what is before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A FHIR server that may be asked for this call."""

    base: str
    token: str | None = field(repr=False)
    server: FhirServer = field(repr=False)
    searches: Searches = field(repr=False)
    deadline: Deadline
    takes_more_as_notice: bool = False

    def terms(self, about: str, allowance: Allowance) -> Terms:
        """Return the terms of one search *about* a key within *allowance*."""
        return Terms(about=about, token=self.token, deadline=self.deadline, allowance=allowance)


FirstPage = Callable[[], tuple[Page, int]]
"""Brings the first page of a search, and its size in bytes, by other means than its own request."""


class Pull:
    """One search, page by page; what has arrived can be taken at any time."""

    def __init__(
        self,
        key: str,
        access: Access,
        first: Question | FirstPage | None,
        allowance: Allowance,
        *,
        about: str | None = None,
    ) -> None:
        """Begin with *first*; *allowance* is shared by all searches of *key*.

        *about* names what is asked for, if that is something else than *key* itself.
        """
        self.key = key
        self._access = access
        self._first = first
        self._allowance = allowance
        self._start = f"{access.base}/{TYPES.get(key, '')}"
        """What a link is relative to on a page that came by other means than its own request."""
        self._terms = access.terms(about or key, allowance)
        self._pages: list[Page] = []
        self._cut: str | None = None
        self._ended_at: float | None = None
        self.bytes_read = 0
        self.pages_read = 0

    def run(self) -> Steps[None]:
        """Read pages until the last one, a limit or a failure; never raises."""
        try:
            yield from self._read()
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

    def begin_with(self, page: Page, size: int) -> None:
        """Take *page* of *size* bytes, which the EHR sent, as the first and go on from there."""
        self._allowance.takes_page()
        self._allowance.takes_bytes(size)
        self._keep(page)
        if self._cut is None:
            self._first = self._following(self._start, page)

    def _read(self) -> Steps[None]:
        following = self._first
        seen: set[str] = set()
        while following is not None:
            here = self._start
            if isinstance(following, Question):
                here = following.url.removesuffix(_SEARCH)
            if here in seen or not self._allowance.takes_page():
                self._cut = reasons.MORE_PAGES
                return
            seen.add(here)
            page = yield from self._taken(following)
            following = self._following(here, page) if self._cut is None else None

    def _taken(self, asked: Question | FirstPage) -> Steps[Page]:
        """Return one page, which is then part of the answer."""
        if isinstance(asked, Question):
            body = yield from self._access.server.fetch(asked, self._terms)
            page, size = without_repeats(read_page(self.key, body), body), len(body)
        else:
            page, size = asked()
            self._allowance.takes_bytes(size)
        self.bytes_read += size
        self.pages_read += 1
        self._keep(page)
        return page

    def _keep(self, page: Page) -> None:
        if self._access.takes_more_as_notice:
            page = without_notice(page)
        kept = self._allowance.takes_resources(len(page.resources))
        if kept < len(page.resources):
            self._cut = reasons.TOO_MUCH
            page = replace(page, resources=page.resources[:kept])
        self._pages.append(page)

    def _following(self, here: str, page: Page) -> Question | None:
        if page.next_url is None:
            return None
        url = safe_next_url(self._access.base, here, page.next_url)
        if url is None:
            self._cut = reasons.NEXT_PAGE_ELSEWHERE
            return None
        return Question(url=url)


class Batch:
    """The first pages of all searches, fetched as one batch Bundle."""

    def __init__(self, access: Access, missing: Mapping[str, tuple[str, ...]]) -> None:
        """Ask for *missing*, the searches of each key."""
        self._access = access
        self._asked = tuple((key, path) for key, paths in missing.items() for path in paths)
        self._found: tuple[tuple[Page, int] | str, ...] | None = None

    def run(self) -> Steps[None]:
        """Fetch the batch; every search then has a page or a reason why not.  Never raises."""
        try:
            self._found = yield from self._fetched()
        except FetchFailedError as failure:
            self._found = (failure.reason,) * len(self._asked)
        except Exception as error:  # noqa: BLE001 - as above
            self._found = (reasons.SERVER_UNREACHABLE,) * len(self._asked)
            _log.error("pull_failed", key="batch", exception=type(error).__name__)

    def first_page(self, position: int) -> tuple[Page, int]:
        """Return the answer to the search at *position*, and its size in bytes.

        Raises:
            FetchFailedError: It could not be had, or not yet.
        """
        found = reasons.SERVER_TOO_SLOW if self._found is None else self._found[position]
        if isinstance(found, str):
            raise FetchFailedError(found)
        return found

    def _fetched(self) -> Steps[tuple[tuple[Page, int] | str, ...]]:
        body = batch_body([path for _, path in self._asked])
        question = Question(url=self._access.base, body=body, content_type=FHIR_JSON)
        answer = yield from self._access.server.fetch(
            question, self._access.terms("batch", Allowance())
        )
        parts = batch_parts(answer, len(self._asked))
        found = tuple(
            _first_page(key, part) for (key, _), part in zip(self._asked, parts, strict=True)
        )
        if any(not isinstance(one, str) and one[0].is_of_other_kind for one in found):
            return (reasons.BATCH_MIXED_UP,) * len(found)
        return found


def _first_page(key: str, part: Part) -> tuple[Page, int] | str:
    if part.body is None:
        return part.problem
    page = without_repeats(read_page(key, part.body), part.body)
    return page if part.outcome is None else with_outcome(page, part.outcome), len(part.body)


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
            yield question(access.base, path, by_post=by_post)


def question(base: str, path: str, *, by_post: bool) -> Question:
    """Return the request that asks for *path*, a search or a read."""
    kind, sign, query = path.partition("?")
    if by_post and sign:
        return Question(url=f"{base}/{kind}{_SEARCH}", body=query.encode(), content_type=FORM)
    return Question(url=f"{base}/{path}")
