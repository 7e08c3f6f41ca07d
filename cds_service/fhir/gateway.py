"""The chart of one hook call: what the EHR sent along, and what its FHIR server adds in time.

Every key ends as *supplied*, *known empty*, *supplied in part* or *not supplied*; no server that
fails raises.  The access token travels to the FHIR server of the request only, and only if
this client lists that server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.deadline import Deadline
from cds_service.fhir.http import FhirServer
from cds_service.fhir.medications import medications_among, missing_medications
from cds_service.fhir.metrics import OTHER_BASES, SENT_ALONG, Observer, PullMetrics, PullRecord
from cds_service.fhir.paging import Allowance
from cds_service.fhir.prefetch import (
    Page,
    joined_answer,
    merged_answer,
    read_page,
    without_notice,
)
from cds_service.fhir.pulling import Access, Batch, Pull, first_pages, question
from cds_service.fhir.queries import LONGEST_URL, TYPES, USER_KEY, Searches, user_read
from cds_service.fhir.side_by_side import run_side_by_side
from cds_service.hooks.request import HookRequest
from cds_service.hooks.scopes import finds_only_a_part
from cds_service.hooks.strict_json import check_part
from cds_service.knowledge.model import Knowledge
from cds_service.trust.addresses import AddressRefusedError, allowed_base
from cds_service.trust.connections import Connector
from cds_service.trust.dialect import ReadingForm
from cds_service.trust.profile import ClientProfile

_DRUG_KEYS = (Key.MEDICATION_REQUESTS, Key.MEDICATION_STATEMENTS)
_DRUGS = "medications"
"""What the drugs that prescriptions refer to are counted as."""
_LONGEST_BODY = 20_000
"""Characters of one search sent as a form; the code lists then need no splitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    """What the answer to one key cost; see :class:`PullRecord` for the units."""

    seconds: float = 0.0
    pages: int = 0
    bytes: int = 0

    @staticmethod
    def of(pulls: tuple[Pull, ...], started: float) -> _Cost:
        return _Cost(
            seconds=max(pull.seconds_since(started) for pull in pulls),
            pages=sum(pull.pages_read for pull in pulls),
            bytes=sum(pull.bytes_read for pull in pulls),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A FHIR server of a client, and what it is asked."""

    client: ClientProfile
    server: FhirServer
    searches: Searches


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
        self._servers: dict[tuple[int, str, str], _Known] = {}
        """By process, client and base: a forked worker makes its own threads and connections."""

    def answers(
        self, request: HookRequest, client: ClientProfile, deadline: Deadline
    ) -> Mapping[str, KeyAnswer]:
        """Return what is known of each key, within *deadline*.

        Raises:
            RequestError: What was sent along is not strict JSON; then no server was asked.
        """
        wanted = (*Key.DEFAULT, *client.optional_keys)
        keys = tuple(key for key in Key.ALL if key in wanted or key in request.prefetch)
        if client.roles and user_read(request.user_id):
            keys = (*keys, USER_KEY)
        sent = {key: _sent(key, request.prefetch, client.reading) for key in keys}
        access = self._access(request, client, deadline)
        if isinstance(access, str):
            answers = {key: _without_server(pages, access) for key, pages in sent.items()}
            self._observe_sent(request, client, answers)
            return answers
        pulls, batch = self._pulls(request, client, sent, access)
        if pulls:
            _check_before_asking(request.prefetch)
        not_pulled = {key: pages for key, pages in sent.items() if key not in pulls}
        answers = {key: joined_answer(pages or ()) for key, pages in not_pulled.items()}
        self._observe_sent(request, client, answers)
        started = self._clock()
        _run(pulls, batch, deadline)
        base = access.base if access.base in client.fhir_bases else OTHER_BASES
        for key, several in pulls.items():
            found = merged_answer([pull.answer() for pull in several])
            answers[key] = _as_far_as_allowed(found, key, request.scope)
            cost = _Cost.of(several, started)
            self._observer(_record(client, base, key, answers[key].supply, cost))
        self._add_medications(answers, client, access, base)
        return {key: answers[key] for key in keys}

    def paused_servers(self) -> tuple[tuple[str, str], ...]:
        """Return client and configured base of each server that is left alone at the moment."""
        with self._lock:
            known = tuple(self._servers.items())
        return tuple(
            (client_id, base)
            for (_, client_id, base), each in known
            if base in each.client.fhir_bases and each.server.is_paused
        )

    def close(self) -> None:
        """Give up threads and connections."""
        with self._lock:
            for known in self._servers.values():
                known.server.close()
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
        if request.is_token_expired:
            return reasons.TOKEN_EXPIRED
        if request.access_token is None and not client.allows_open_fhir:
            return reasons.NO_ACCESS_TOKEN
        known = self._known(client, base)
        return Access(
            base=base,
            token=request.access_token,
            server=known.server,
            searches=known.searches,
            deadline=deadline,
            takes_more_as_notice=client.reading.takes_more_as_notice,
        )

    def _known(self, client: ClientProfile, base: str) -> _Known:
        place = (os.getpid(), client.id, base)
        with self._lock:
            known = self._servers.get(place)
            if known is None or known.client is not client:
                known = self._servers[place] = self._met(client, base)
            return known

    def _met(self, client: ClientProfile, base: str) -> _Known:
        return _Known(
            client=client,
            server=FhirServer(
                Connector(client, base=base),
                self._clock,
                base=base,
                most_requests=client.max_fhir_requests,
                wants_fresh=client.searches.asks_fresh,
            ),
            searches=Searches(
                self._knowledge,
                form=client.searches,
                code_map=client.code_map,
                longest_url=_LONGEST_BODY if client.searches_by_post else LONGEST_URL,
            ),
        )

    def _pulls(
        self,
        request: HookRequest,
        client: ClientProfile,
        sent: Mapping[str, tuple[Page, ...] | None],
        access: Access,
    ) -> tuple[dict[str, tuple[Pull, ...]], Batch | None]:
        """Return the pulls of each key that needs any, and the batch they begin with."""
        missing = {
            key: _paths(key, request, access.searches)
            for key, pages in sent.items()
            if _is_to_be_pulled(key, pages)
        }
        batch = None
        if client.searches_in_batch:
            batch = Batch(access, missing)
        firsts = first_pages(missing, access, batch, by_post=client.searches_by_post)
        pulls = {}
        for key, paths in missing.items():
            allowance = Allowance()
            pulls[key] = tuple(Pull(key, access, next(firsts), allowance) for _ in paths)
        for key, pages in sent.items():
            if key not in pulls and pages and pages[0].next_url is not None:
                pull = Pull(key, access, None, Allowance())
                pull.begin_with(pages[0], len(request.prefetch[key] or b""))
                pulls[key] = (pull,)
        return pulls, batch if missing else None

    def _add_medications(
        self, answers: dict[str, KeyAnswer], client: ClientProfile, access: Access, base: str
    ) -> None:
        """Ask for the drugs that prescriptions only refer to, if there is time.

        Without them the prescriptions cannot be read, and say so; why is counted under *base*.
        """
        held = [answers[key] for key in _DRUG_KEYS if key in answers]
        missing = missing_medications(held, access.base)
        if not missing or access.deadline.has_passed:
            return
        key, allowance = Key.MEDICATION_REQUESTS, Allowance()
        asked = [
            question(access.base, path, by_post=client.searches_by_post)
            for path in access.searches.of_medications(missing)
        ]
        pulls = tuple(Pull(key, access, one, allowance, about="Medication") for one in asked)
        started = self._clock()
        run_side_by_side([pull.run() for pull in pulls], access.deadline)
        came = [pull.answer() for pull in pulls]
        cost = _Cost.of(pulls, started)
        self._observer(_record(client, base, _DRUGS, merged_answer(came).supply, cost))
        found = medications_among(came, missing)
        answers[key] = replace(answers[key], resources=(*answers[key].resources, *found))

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
                    bytes=len(request.prefetch.get(key) or b""),
                )
            )


def _check_before_asking(prefetch: Mapping[str, bytes | None]) -> None:
    """Refuse a prefetch that is not strict JSON while no server has been bothered with the call."""
    for key, text in prefetch.items():
        if text is not None:
            check_part(key, text, ())


def _sent(
    key: str, prefetch: Mapping[str, bytes | None], reading: ReadingForm
) -> tuple[Page, ...] | None:
    """Return what was sent under *key*: None if the key is absent, an empty page for null.

    A way of saying "nothing there" that *reading* does not list is taken as not sent.
    """
    if key not in prefetch:
        return None
    raw = prefetch[key]
    page = Page() if raw is None else read_page(key, raw)
    if reading.takes_more_as_notice:
        page = without_notice(page)
    is_empty = not (page.resources or page.is_unusable or page.problem or page.next_url)
    if is_empty and _empty_form(raw) not in reading.empty_results:
        return None
    return (page,)


def _empty_form(raw: bytes | None) -> str:
    """Return how an empty prefetch value says so, as the profile names it."""
    if raw is None:
        return "null"
    return "outcome" if b'"OperationOutcome"' in raw else "empty-bundle"


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


def _paths(key: str, request: HookRequest, searches: Searches) -> tuple[str, ...]:
    if key == USER_KEY:
        return user_read(request.user_id)
    return searches.of(key, request.patient_id)


def _run(pulls: Mapping[str, tuple[Pull, ...]], batch: Batch | None, deadline: Deadline) -> None:
    """Run everything until the deadline; a batch comes first."""
    if batch is not None:
        run_side_by_side([batch.run()], deadline)
    run_side_by_side([pull.run() for several in pulls.values() for pull in several], deadline)


def _as_far_as_allowed(answer: KeyAnswer, key: str, scope: str) -> KeyAnswer:
    """Return *answer* in part if the server was asked with a token that finds only a part."""
    if not (answer.supply.is_complete and finds_only_a_part(scope, TYPES.get(key, ""))):
        return answer
    supply = Supply(state=State.PARTIAL, reason=reasons.TOKEN_FOR_A_PART)
    return replace(answer, supply=supply)


def _without_server(pages: tuple[Page, ...] | None, why: str) -> KeyAnswer:
    """Return the answer of a key when no server may be asked for the rest."""
    if pages is None:
        return KeyAnswer.not_supplied(why)
    has_more = pages[0].next_url is not None
    return joined_answer(pages, reasons.MORE_PAGES if has_more else None)


def _record(client: ClientProfile, base: str, key: str, supply: Supply, cost: _Cost) -> PullRecord:
    return PullRecord(
        client=client.id,
        base=base,
        key=key,
        outcome=supply.state,
        reason=supply.reason,
        seconds=cost.seconds,
        pages=cost.pages,
        bytes=cost.bytes,
    )
