"""One answer of an EHR - a prefetch value or a page of a search - to resources and a state.

Tells apart everything that arrives under a key: nothing, null, a resource, a Bundle with entries
or without, a bare OperationOutcome, a Bundle that carries one, a page with a next page, and what
is no FHIR at all.  One odd entry never voids its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from cds_service.fhir.decoding import prepare, read_all, read_plain, read_resource
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


class _Link(wire.Base, frozen=True, kw_only=True):
    relation: str | None = None
    url: str | None = None


class _Search(wire.Base, frozen=True, kw_only=True):
    mode: str | None = None


class _Entry(wire.Base, frozen=True, kw_only=True):
    full_url: str | None = None
    resource: Raw = Raw()
    search: _Search | None = None


class _Top(wire.Base, frozen=True, kw_only=True):
    """What a Bundle says of itself."""

    resource_type: str | None = None
    id: str | None = None
    total: Raw = Raw()
    link: tuple[_Link, ...] = ()


class _PlainBundle(_Top, frozen=True, kw_only=True):
    """A Bundle of the shape it should have: read in one step."""

    entry: tuple[_Entry, ...] = ()


class _Envelope(_Top, frozen=True, kw_only=True):
    """Any resource, or a Bundle of any shape: read entry by entry."""

    entry: Raw = Raw()


class _Issue(wire.Base, frozen=True, kw_only=True):
    severity: str | None = None
    code: str | None = None
    details: wire.CodeableConcept | None = None


class _Outcome(wire.Base, frozen=True, kw_only=True):
    issue: tuple[_Issue, ...] = ()


prepare(_PlainBundle, _Envelope, _Entry, _Outcome)
_NULL = Raw(b"null")
_WRAPPERS = frozenset({"Bundle", "OperationOutcome"})
_raw_entries = msgspec.json.Decoder(tuple[Raw, ...])


class Page(Unshown, frozen=True, kw_only=True):
    """One page of an answer.

    ``matches`` counts the entries that answer the search, ``total`` is what the server counted.
    ``problem`` is a reason why the page does not hold all it should.
    """

    resources: tuple[RawResource | Headed, ...] = ()
    full_urls: Mapping[str, str] = NO_URLS
    left: tuple[RawResource, ...] = ()
    """Resources that are not looked at, because there are too many."""
    matches: int = 0
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
    plain = read_plain(raw, _PlainBundle)
    if plain is not None and plain.resource_type == "Bundle":
        return _bundle_page(plain, plain.entry, TYPES.get(key))
    envelope = read_resource(raw, _Envelope)
    if envelope is None or envelope.resource_type is None:
        return Page(problem=reasons.NOT_FHIR_JSON, is_unusable=True)
    if envelope.resource_type == "OperationOutcome":
        return _outcome_page(raw)
    if envelope.resource_type == "Bundle":
        return _bundle_page(envelope, _entries(envelope), TYPES.get(key))
    is_of_other_kind = envelope.resource_type != TYPES.get(key, envelope.resource_type)
    problem = None if key == Key.PATIENT else reasons.SINGLE_RESOURCE
    return Page(resources=(raw,), matches=1, problem=problem, is_of_other_kind=is_of_other_kind)


def joined_answer(pages: Sequence[Page], cut: str | None = None) -> KeyAnswer:
    """Return the answer that *pages* add up to; *cut* says why there are not more of them."""
    if not pages:
        return KeyAnswer.not_supplied(cut or reasons.NOT_SENT)
    page = pages[0] if len(pages) == 1 else _joined(pages)
    if page.is_unusable:
        return KeyAnswer.not_supplied(page.problem or reasons.NOT_FHIR_JSON)
    problem = page.problem or cut
    if problem is None and page.matches < (page.total or 0):
        problem = reasons.FEWER_THAN_TOTAL
    if problem is not None:
        supply = Supply(state=State.PARTIAL, reason=problem)
    else:
        supply = _SUPPLIED if page.resources else _EMPTY
    return KeyAnswer(
        supply=supply, resources=page.resources, full_urls=page.full_urls, left=page.left
    )


_SUPPLIED = Supply(state=State.SUPPLIED)
_EMPTY = Supply(state=State.EMPTY)


def _joined(pages: Sequence[Page]) -> Page:
    """Return *pages* as one; what the first says of the whole stays."""
    return replace(
        pages[0],
        resources=tuple(resource for page in pages for resource in page.resources),
        full_urls=joined_full_urls(page.full_urls for page in pages),
        left=tuple(resource for page in pages for resource in page.left),
        matches=sum(page.matches for page in pages),
        problem=next((page.problem for page in pages if page.problem is not None), None),
    )


def merged_answer(answers: Sequence[KeyAnswer]) -> KeyAnswer:
    """Return one answer for a key that was asked for in several searches."""
    failed = [answer.supply for answer in answers if answer.supply.has_failed]
    if failed and all(supply.state is State.NOT_SUPPLIED for supply in failed):
        state = State.NOT_SUPPLIED if len(failed) == len(answers) else State.PARTIAL
    else:
        state = State.PARTIAL
    resources = tuple(resource for answer in answers for resource in answer.resources)
    if not failed:
        state = State.SUPPLIED if resources else State.EMPTY
    return KeyAnswer(
        supply=Supply(state=state, reason=failed[0].reason if failed else None),
        resources=resources,
        full_urls=joined_full_urls(answer.full_urls for answer in answers),
    )


@dataclass(slots=True)
class _Gathered:
    """What the entries of a Bundle, and of Bundles inside it, add up to."""

    resources: list[RawResource | Headed] = field(default_factory=list)
    full_urls: dict[str, str] = field(default_factory=dict)
    left: list[RawResource] = field(default_factory=list)
    matches: int = 0
    kinds: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    has_failed: bool = False
    entries: int = 0

    def add_all(self, entries: Sequence[_Entry | None], depth: int) -> None:
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

    def _add_bundle(self, raw: Raw, depth: int) -> None:
        envelope = read_resource(raw, _Envelope)
        if envelope is None or depth > _DEEPEST_BUNDLE:
            self.problems.append(reasons.UNREADABLE_ENTRY)
        else:
            self.add_all(_entries(envelope), depth)

    def _add_outcome(self, raw: Raw) -> None:
        problem, has_failed = judged(raw)
        self.has_failed = self.has_failed or has_failed
        if problem is not None:
            self.problems.append(problem)

    def _add_resource(self, entry: _Entry, head: wire.Head | None) -> None:
        self.resources.append(Headed(entry.resource, head))
        kind = None if head is None else head.resource_type
        if entry.search is None or (entry.search.mode or "match").strip() == "match":
            self.matches += 1
            if kind is not None:
                self.kinds.add(kind)
        if entry.full_url and head is not None and head.id and kind:
            url, target = entry.full_url.strip(), f"{kind}/{head.id}"
            is_new = self.full_urls.setdefault(url, target) == target
            self.full_urls[url] = target if is_new else ""  # two places are none


def _is_nothing(resource: Raw) -> bool:
    return not resource or resource == _NULL


def _bundle_page(bundle: _Top, entries: Sequence[_Entry | None], wanted: str | None) -> Page:
    gathered = _Gathered()
    gathered.add_all(entries, 1)
    next_url = _next_url(bundle.link)
    if next_url == "":
        gathered.problems.append(reasons.MORE_PAGES)
    return Page(
        resources=tuple(gathered.resources),
        full_urls=gathered.full_urls,
        left=tuple(gathered.left),
        matches=gathered.matches,
        total=_whole_number(bundle.total),
        next_url=next_url or None,
        problem=next(iter(gathered.problems), None),
        is_unusable=gathered.has_failed and not gathered.resources,
        is_of_other_kind=bool(wanted and gathered.kinds and wanted not in gathered.kinds),
    )


def _entries(envelope: _Envelope) -> list[_Entry | None]:
    """Return the entries; a single object where a list belongs is one entry.

    Those beyond the most of a key are only counted.
    """
    text = bytes(envelope.entry)
    if not text or text == b"null":
        return []
    if text.startswith(b"["):
        with suppress(msgspec.DecodeError, RecursionError, ValueError):
            raws = _raw_entries.decode(envelope.entry)
            beyond = [None] * max(len(raws) - MOST_RESOURCES, 0)
            return [*read_all(raws[:MOST_RESOURCES], _Entry), *beyond]
    return read_all((envelope.entry,), _Entry)


def _whole_number(raw: Raw) -> int | None:
    text = bytes(raw).strip(b'" ')
    return int(text) if text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - digits


def _next_url(links: Iterable[_Link]) -> str | None:
    """Return the address of the next page; empty if there is a next page without one."""
    for link in links:
        if (link.relation or "").strip().lower() == "next":
            return (link.url or "").strip()
    return None


def _outcome_page(raw: bytes) -> Page:
    problem, has_failed = judged(raw)
    if problem is None and not has_failed and _is_no_results(raw):
        return Page(is_outcome=True)
    return Page(problem=problem or reasons.REPORTED_PROBLEM, is_unusable=True, is_outcome=True)


def judged(raw: RawResource) -> tuple[str | None, bool]:
    """Return what an OperationOutcome takes away from its page, and whether all failed."""
    outcome = read_resource(raw, _Outcome)
    if outcome is None:
        return reasons.REPORTED_PROBLEM, True
    problems = [(_issue_problem(issue), _is_failure(issue)) for issue in outcome.issue]
    problem = next((problem for problem, _ in problems if problem is not None), None)
    return problem, any(has_failed for _, has_failed in problems)


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
    outcome = read_resource(raw, _Outcome)
    return outcome is not None and any(_EPIC_NO_RESULTS in _codes(issue) for issue in outcome.issue)
