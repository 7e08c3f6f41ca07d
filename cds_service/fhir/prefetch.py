"""One answer of an EHR - a prefetch value or a page of a search - to resources and a state.

Tells apart everything that arrives under a key: nothing, null, a resource, a Bundle with entries
or without, a bare OperationOutcome, a Bundle that carries one, a page with a next page, and what
is no FHIR at all.  One odd entry never voids its page, and what a Bundle inside a Bundle says of
itself counts as much as what the outer one says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir import reasons, wire
from cds_service.fhir.answers import (
    NO_URLS,
    Headed,
    KeyAnswer,
    RawResource,
    Unshown,
    joined_full_urls,
)
from cds_service.fhir.decoding import prepare, read_all, read_part, read_plain, read_resource
from cds_service.fhir.paging import MOST_RESOURCES
from cds_service.fhir.queries import TYPES

_DEEPEST_BUNDLE = 3
_HARMLESS = frozenset({"warning", "information", "success"})
_GAP_ISSUES = frozenset(
    {
        "incomplete",
        "too-costly",
        "timeout",
        "throttled",
        "transient",
        "exception",
        "lock-error",
        "no-store",
    }
)
_ACCESS_ISSUES = frozenset({"security", "login", "expired", "forbidden", "suppressed"})
_EPIC_NO_RESULTS = "4101"
_EPIC_MORE_MAY_EXIST = "4119"
_EPIC_ACCESS = frozenset({"4118", "4130", "4131"})
_BESIDE = frozenset({"include", "outcome"})
"""The modes of entries that are no answer to the search themselves."""
_TOTAL = re.compile(rb'"?\s*(\d{1,18})(?:\.0+)?\s*"?')
_DONE = frozenset({"200", "201"})


class _Link(wire.Base, frozen=True, kw_only=True):
    relation: str | None = None
    url: str | None = None


class _Search(wire.Base, frozen=True, kw_only=True):
    mode: str | None = None


class _Response(wire.Base, frozen=True, kw_only=True):
    """What the entry of a batch says of its part."""

    status: str | None = None
    outcome: Raw = Raw()


class _Entry(wire.Base, frozen=True, kw_only=True):
    full_url: str | None = None
    resource: Raw = Raw()
    search: _Search | None = None
    response: Raw = Raw()


class _Top(wire.Base, frozen=True, kw_only=True):
    """What any resource may say of itself."""

    resource_type: str | None = None
    id: str | None = None
    total: Raw = Raw()
    issues: Raw = Raw()
    """R5: an OperationOutcome about the Bundle itself."""


class _Bundle(_Top, frozen=True, kw_only=True):
    """A Bundle; one of the shape it should have is read in one step."""

    link: tuple[_Link, ...] = ()
    entry: tuple[_Entry | None, ...] = ()


class _Envelope(_Top, frozen=True, kw_only=True):
    """Any resource, or a Bundle of any shape: read link by link and entry by entry."""

    link: Raw = Raw()
    entry: Raw = Raw()


class _Issue(wire.Base, frozen=True, kw_only=True):
    severity: str | None = None
    code: str | None = None
    details: wire.CodeableConcept | None = None


class _Outcome(wire.Base, frozen=True, kw_only=True):
    issue: Raw = Raw()


prepare(_Bundle, _Envelope, _Entry, _Response, _Link, _Outcome, _Issue)
_NULL = Raw(b"null")
_WRAPPERS = frozenset({"Bundle", "OperationOutcome"})
_raw_items = msgspec.json.Decoder(tuple[Raw, ...])


class Page(Unshown, frozen=True, kw_only=True):
    """One page of an answer.

    ``matches`` names each entry that answers the search, ``total`` is what the server counted.
    ``problem`` is a reason why the page does not hold all it should.
    """

    resources: tuple[RawResource | Headed, ...] = ()
    full_urls: Mapping[str, str] = NO_URLS
    left: tuple[RawResource, ...] = ()
    """Resources that are not looked at, because there are too many."""
    matches: tuple[str | bytes, ...] = ()
    """Copies and versions of one resource have one name; a server that sends them counts them."""
    total: int | None = None
    next_url: str | None = None
    problem: str | None = None
    is_unusable: bool = False
    """Nothing of it could be used: not FHIR JSON, or only an error."""
    is_of_other_kind: bool = False
    """None of its entries is of the kind that was asked for."""
    is_outcome: bool = False
    """It is a bare OperationOutcome: the EHR tried and says why it has nothing."""


def read_page(key: str, raw: bytes) -> Page:
    """Return what *raw*, the JSON that came under *key*, holds."""
    wanted = TYPES.get(key)
    found = _opened(raw)
    if isinstance(found, _Bundle):
        return _bundle_page(found, wanted)
    if found is None or found.resource_type is None:
        return Page(problem=reasons.NOT_FHIR_JSON, is_unusable=True)
    if found.resource_type == "OperationOutcome":
        return _outcome_page(raw)
    return Page(
        resources=(raw,),
        matches=(raw,),
        problem=None if key == Key.PATIENT else reasons.SINGLE_RESOURCE,
        is_of_other_kind=wanted is not None and found.resource_type != wanted,
    )


def with_outcome(page: Page, outcome: RawResource) -> Page:
    """Return *page* without what *outcome*, an OperationOutcome beside it, takes away."""
    problem, has_failed = judged(outcome)
    return replace(
        page,
        problem=_gravest([found for found in (page.problem, problem) if found is not None]),
        is_unusable=page.is_unusable or (has_failed and not page.resources),
    )


def joined_answer(pages: Sequence[Page], cut: str | None = None) -> KeyAnswer:
    """Return the answer that *pages* add up to; *cut* says why there are not more of them."""
    if not pages:
        return KeyAnswer.not_supplied(cut or reasons.NOT_SENT)
    page = pages[0] if len(pages) == 1 else _joined(pages)
    if page.is_unusable:
        return KeyAnswer.not_supplied(page.problem or reasons.NOT_FHIR_JSON)
    problem = page.problem or cut
    if problem is None and page.total is not None and len(page.matches) < page.total:
        problem = reasons.FEWER_THAN_TOTAL
    if problem is not None:
        supply = Supply(state=State.PARTIAL, reason=problem)
    else:
        supply = _SUPPLIED if page.matches else _EMPTY
    return KeyAnswer(
        supply=supply, resources=page.resources, full_urls=page.full_urls, left=page.left
    )


_SUPPLIED = Supply(state=State.SUPPLIED)
_EMPTY = Supply(state=State.EMPTY)


def _joined(pages: Sequence[Page]) -> Page:
    """Return *pages* as one; of several counts of the whole the highest stands."""
    return replace(
        pages[0],
        resources=tuple(resource for page in pages for resource in page.resources),
        full_urls=joined_full_urls(page.full_urls for page in pages),
        left=tuple(resource for page in pages for resource in page.left),
        matches=tuple(_different(page.matches for page in pages)),
        total=max((page.total for page in pages if page.total is not None), default=None),
        problem=next((page.problem for page in pages if page.problem is not None), None),
    )


def _different(pages: Iterable[Sequence[str | bytes]]) -> Iterator[str | bytes]:
    """Yield the names of each page without those of the pages before: pages may overlap."""
    before: set[str | bytes] = set()
    for names in pages:
        yield from (name for name in names if name not in before)
        before.update(names)


def merged_answer(answers: Sequence[KeyAnswer]) -> KeyAnswer:
    """Return one answer for a key that was asked for in several searches."""
    failed = [answer.supply for answer in answers if answer.supply.has_failed]
    states = {answer.supply.state for answer in answers}
    if len(states) == 1:
        [state] = states
    else:
        state = State.PARTIAL if failed else State.SUPPLIED
    return KeyAnswer(
        supply=Supply(state=state, reason=failed[0].reason if failed else None),
        resources=tuple(resource for answer in answers for resource in answer.resources),
        full_urls=joined_full_urls(answer.full_urls for answer in answers),
    )


@dataclass(slots=True)
class _Gathered:
    """What the entries of a Bundle, and of Bundles inside it, add up to."""

    resources: list[RawResource | Headed] = field(default_factory=list)
    full_urls: dict[str, str] = field(default_factory=dict)
    left: list[RawResource] = field(default_factory=list)
    matches: list[str | bytes] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    has_failed: bool = False
    entries: int = 0

    def add_bundle(self, bundle: _Bundle, depth: int) -> tuple[int | None, str | None]:
        """Take one Bundle; return how many matches it counts, and where its next page is.

        That is None where it does not say so, or not readably, which is a problem.
        """
        self._add_all(bundle.entry, depth)
        if not _is_nothing(bundle.issues):
            self._add_outcome(bundle.issues)
        total, next_url = _total(bundle.total), _next_url(bundle.link)
        if next_url == "":
            self.problems.append(reasons.MORE_PAGES)
        is_total_unclear = total is None and not _is_nothing(bundle.total)
        if is_total_unclear or not all(map(_relation, bundle.link)):
            self.problems.append(reasons.UNCLEAR_WHETHER_ALL)
        return total, next_url or None

    def _add_all(self, entries: Sequence[_Entry | None], depth: int) -> None:
        """Take the entries of one Bundle; beyond the most of a key none is looked at."""
        room = max(MOST_RESOURCES - self.entries, 0)
        if len(entries) > room:
            self.problems.insert(0, reasons.TOO_MUCH)
            self.left += [entry.resource for entry in entries[room:] if entry is not None]
            entries = entries[:room]
        self.entries += len(entries)
        heads = read_all(
            [_NULL if entry is None else entry.resource for entry in entries], wire.Head
        )
        for entry, head in zip(entries, heads, strict=True):
            if entry is not None and entry.response and self._fails(entry.response):
                continue
            if entry is None or (head is None and _is_nothing(entry.resource)):
                self.problems.append(reasons.UNREADABLE_ENTRY)
            elif head is not None and head.resource_type in _WRAPPERS:
                self._add_wrapper(entry.resource, head, depth)
            else:
                self._add_resource(entry, head)

    def _add_wrapper(self, raw: Raw, head: wire.Head, depth: int) -> None:
        if head.resource_type == "Bundle":
            self._add_bundle(raw, depth + 1)
        else:
            self._add_outcome(raw)

    def _fails(self, raw: Raw) -> bool:
        """Whether an entry brings nothing by its own account, a ``response``, which is kept."""
        if _is_nothing(raw):
            return False
        response = read_part(raw, _Response) or _Response()
        status = (response.status or "").strip()[:3]
        if not _is_nothing(response.outcome):
            self._add_outcome(response.outcome)
        if not (status.isascii() and status.isdecimal()):
            self.problems.append(reasons.UNREADABLE_ENTRY)
        elif status not in _DONE:
            self.has_failed = True
            self.problems.append(reasons.of_status(int(status)) or reasons.REPORTED_PROBLEM)
            return True
        return False

    def _add_bundle(self, raw: Raw, depth: int) -> None:
        bundle = _opened(raw)
        if not isinstance(bundle, _Bundle) or depth > _DEEPEST_BUNDLE:
            self.problems.append(reasons.UNREADABLE_ENTRY)
            return
        before = len(self.matches)
        total, next_url = self.add_bundle(bundle, depth)
        if next_url is not None:  # only pages of the whole answer are fetched
            self.problems.append(reasons.MORE_PAGES)
        elif total is not None and len(self.matches) - before < total:
            self.problems.append(reasons.FEWER_THAN_TOTAL)

    def _add_outcome(self, raw: Raw) -> None:
        problem, has_failed = judged(raw)
        self.has_failed = self.has_failed or has_failed
        if problem is not None:
            self.problems.append(problem)

    def _add_resource(self, entry: _Entry, head: wire.Head | None) -> None:
        kind = None if head is None else head.resource_type
        name = f"{kind}/{head.id}" if head is not None and head.id and kind else None
        mode = None if entry.search is None else entry.search.mode
        if mode is None or mode == "match" or mode.strip().lower() not in _BESIDE:
            self.resources.append(Headed(entry.resource, head))
            self.matches.append(name or entry.full_url or bytes(entry.resource))
            if kind:
                self.kinds.add(kind)
        else:
            self.resources.append(Headed(entry.resource, head, is_beside=True))
        if entry.full_url and name is not None:
            url = entry.full_url.strip()
            if self.full_urls.setdefault(url, name) != name:
                self.full_urls[url] = ""  # two places are none


def _is_nothing(resource: Raw) -> bool:
    return not resource or resource == _NULL


def _opened(raw: RawResource) -> _Bundle | _Envelope | None:
    """Return a Bundle of whatever shape, or another resource; None if it is no JSON object."""
    plain = read_plain(raw, _Bundle)
    if plain is not None and plain.resource_type == "Bundle":
        return plain
    envelope = read_resource(raw, _Envelope)
    if envelope is None or envelope.resource_type != "Bundle":
        return envelope
    return _Bundle(
        resource_type="Bundle",
        total=envelope.total,
        issues=envelope.issues,
        link=tuple(read_part(link, _Link) or _Link() for link in _items(envelope.link)),
        entry=tuple(_entries(envelope)),
    )


def _bundle_page(bundle: _Bundle, wanted: str | None) -> Page:
    gathered = _Gathered()
    total, next_url = gathered.add_bundle(bundle, 1)
    return Page(
        resources=tuple(gathered.resources),
        full_urls=gathered.full_urls,
        left=tuple(gathered.left),
        matches=tuple(gathered.matches),
        total=total,
        next_url=next_url,
        problem=_gravest(gathered.problems),
        is_unusable=gathered.has_failed and not gathered.resources,
        is_of_other_kind=bool(wanted and gathered.kinds and wanted not in gathered.kinds),
    )


def _entries(envelope: _Envelope) -> list[_Entry | None]:
    """Return the entries; those beyond the most of a key are only counted."""
    raws = _items(envelope.entry)
    beyond = [None] * max(len(raws) - MOST_RESOURCES, 0)
    return [*read_all(raws[:MOST_RESOURCES], _Entry), *beyond]


def _items(raw: Raw) -> Sequence[Raw]:
    """Return each item of a list; a single one where a list belongs is a list of one."""
    if _is_nothing(raw):
        return ()
    if bytes(raw).startswith(b"["):
        with suppress(msgspec.DecodeError, RecursionError, ValueError):
            return _raw_items.decode(raw)
    return (raw,)


def _total(raw: Raw) -> int | None:
    """Return the whole number that is written, as a number or as text."""
    found = _TOTAL.fullmatch(bytes(raw))
    return None if found is None else int(found[1])


def _next_url(links: Iterable[_Link]) -> str | None:
    """Return the address of the next page; empty if there is a next page without one."""
    for link in links:
        if _relation(link) == "next":
            return (link.url or "").strip()
    return None


def _relation(link: _Link) -> str:
    """Return what a link leads to; empty if it does not say so readably."""
    return (link.relation or "").strip().lower()


def _outcome_page(raw: bytes) -> Page:
    problem, has_failed = judged(raw)
    if problem is None and not has_failed and _is_no_results(raw):
        return Page(is_outcome=True)
    return Page(problem=problem or reasons.REPORTED_PROBLEM, is_unusable=True, is_outcome=True)


def judged(raw: RawResource) -> tuple[str | None, bool]:
    """Return what an OperationOutcome takes away from its page, and whether all failed."""
    issues = _issues(raw)
    if not issues:
        return reasons.REPORTED_PROBLEM, True
    problems = [(_issue_problem(issue), _is_failure(issue)) for issue in issues]
    problem = _gravest([problem for problem, _ in problems if problem is not None])
    return problem, any(has_failed for _, has_failed in problems)


def _gravest(problems: Sequence[str]) -> str | None:
    """Return the first of *problems*; that more may exist, only if there is no other."""
    others = [problem for problem in problems if problem != reasons.REPORTED_MORE]
    return next(iter(others or problems), None)


def without_notice(page: Page) -> Page:
    """Return *page* of an EHR that says on every answer that more may exist."""
    if page.is_unusable or page.problem != reasons.REPORTED_MORE:
        return page
    return replace(page, problem=None)


def _issues(raw: RawResource) -> list[_Issue]:
    """Return the issues; one that cannot be read says nothing, not even that it is harmless."""
    outcome = read_resource(raw, _Outcome)
    items = () if outcome is None else _items(outcome.issue)
    return [read_part(item, _Issue) or _Issue() for item in items]


def _is_failure(issue: _Issue) -> bool:
    return _is_severe(issue) or _issue_problem(issue) == reasons.REPORTED_NOT_AUTHORISED


def _is_severe(issue: _Issue) -> bool:
    """Whether the issue may say that something failed; "no results" never does."""
    is_severe = (issue.severity or "").strip().lower() not in _HARMLESS
    return is_severe and _EPIC_NO_RESULTS not in _codes(issue)


def _issue_problem(issue: _Issue) -> str | None:
    codes = _codes(issue)
    kind = (issue.code or "").strip().lower()
    if codes & _EPIC_ACCESS or kind in _ACCESS_ISSUES:
        return reasons.REPORTED_NOT_AUTHORISED
    if _EPIC_MORE_MAY_EXIST in codes:
        return reasons.REPORTED_MORE
    if _is_severe(issue):
        return reasons.REPORTED_PROBLEM
    return reasons.REPORTED_PROBLEM if kind in _GAP_ISSUES else None


def _codes(issue: _Issue) -> frozenset[str]:
    codings = issue.details.coding if issue.details is not None else ()
    return frozenset(coding.code.strip() for coding in codings if coding.code)


def _is_no_results(raw: bytes) -> bool:
    return any(_EPIC_NO_RESULTS in _codes(issue) for issue in _issues(raw))
