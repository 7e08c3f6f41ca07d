"""Whose charts does the test EHR hold: the synthetic patients, or those of a FHIR server?

A FHIR server is only read.  Its charts are copied into the memory of the test EHR when they are
opened, so an order placed here never reaches the server.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol
from urllib.parse import urlsplit

import requests

from cds_service.demo.personas import Persona, Resource, load_personas
from cds_service.demo.store import TYPES
from cds_service.errors import SettingsError

MOST_LISTED = 50
MOST_PAGES = 40
PAGE = 200
TIMEOUT_SECONDS = 30.0
NEEDED = frozenset({"Patient", "Procedure", "Condition", "Observation"})
"""A server that has not even these has no charts for us."""
COPIED = sorted(TYPES - {"Patient", "Practitioner"})
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OK = 200


class ChartServerError(Exception):
    """The FHIR server whose charts are shown did not give what was asked."""


class People(Protocol):
    """Who can be opened in the test EHR."""

    @property
    def server(self) -> str | None:
        """Return the FHIR server the charts come from; None for the synthetic patients."""

    def listed(self, name: str = "") -> Sequence[Persona]:
        """Return the patients of the list, those called *name* if it is given."""

    def chart(self, patient_id: str) -> Persona | None:
        """Return the whole chart of one patient, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPeople:
    """The personas, with the dates of ``today()``."""

    today: Callable[[], date]

    @property
    def server(self) -> str | None:
        """Return None: these charts come with the product."""
        return None

    def listed(self, name: str = "") -> Sequence[Persona]:
        """Return every persona, or those with *name* in their name or title."""
        wanted = name.casefold()
        personas = load_personas(self.today())
        return [
            p for p in personas if wanted in f"{full_name(p.resources[0])} {p.title}".casefold()
        ]

    def chart(self, patient_id: str) -> Persona | None:
        """Return one persona."""
        return next((p for p in load_personas(self.today()) if p.patient_id == patient_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPeople:
    """The patients of the FHIR R4 server at ``base``; nothing is ever written to it."""

    base: str
    access_token: str | None = field(default=None, repr=False)

    @property
    def server(self) -> str | None:
        """Return the base address of the server."""
        return self.base

    def listed(self, name: str = "") -> Sequence[Persona]:
        """Return the first patients of the server, or the first called *name*.

        Raises:
            ChartServerError: The server did not give them.
        """
        wanted = {"name": name} if name else {}
        found = self._all("Patient", {"_count": str(MOST_LISTED), **wanted})
        return [self._person((patient,)) for patient in itertools.islice(found, MOST_LISTED)]

    def chart(self, patient_id: str) -> Persona | None:
        """Return a copy of one chart.

        Raises:
            ChartServerError: The server did not give all of it.
        """
        if not _ID.fullmatch(patient_id):
            return None
        patient = next(self._all("Patient", {"_id": patient_id}), None)
        if patient is None:
            return None
        query = {"patient": patient_id, "_count": str(PAGE)}
        copied = (resource for kind in COPIED for resource in self._all(kind, query))
        return self._person((patient, *copied))

    def _person(self, resources: tuple[Resource, ...]) -> Persona:
        return Persona(
            id=str(resources[0]["id"]),
            title=full_name(resources[0]),
            story="",
            expected_cards=(),
            bundle={"entry": [{"resource": resource} for resource in resources]},
        )

    def _all(self, kind: str, query: dict[str, str]) -> Iterator[Resource]:
        """Yield every match over all pages; a kind the server does not know has none."""
        page = self._get(f"{self.base}/{kind}", query, is_optional=kind not in NEEDED)
        for count in itertools.count(1):
            yield from _matches(page, kind)
            onward = _next_page(page)
            if not onward:
                return
            if count == MOST_PAGES or not self._is_own(onward):
                raise ChartServerError(
                    f"{self.base}: the list of {kind} has too many pages, or leads to another "
                    "server, so this chart was not copied. Choose another patient."
                )
            page = self._get(onward, {})

    def _is_own(self, url: str) -> bool:
        """Return whether *url* is on the same server, so that the token may go there."""
        ours, theirs = urlsplit(self.base), urlsplit(url)
        return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)

    def _get(self, url: str, query: dict[str, str], *, is_optional: bool = False) -> Resource:
        headers = {"Accept": "application/fhir+json"}
        if self.access_token:
            headers["Authorization"] = f"Bearer {self.access_token}"
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(
                    url,
                    params=query,
                    headers=headers,
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise ChartServerError(
                f"{self.base}: the FHIR server could not be reached ({type(error).__name__}). "
                "Check the address given with --fhir and your network."
            ) from None
        if answer.status_code != _OK:
            if is_optional and answer.status_code in {400, 403, 404}:
                return {}
            raise ChartServerError(
                f"{self.base}: the FHIR server answered {answer.status_code} to a search. Check "
                "that --fhir names the base of a FHIR R4 server, and whether it needs a token "
                "(--fhir-token)."
            )
        return self._bundle(answer)

    def _bundle(self, answer: requests.Response) -> Resource:
        try:
            bundle = answer.json()
        except ValueError:
            bundle = None
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
            raise ChartServerError(
                f"{self.base}: the answer to a search is not a FHIR Bundle. Check that --fhir "
                "names the base of a FHIR R4 server, for example https://hapi.fhir.org/baseR4."
            )
        return bundle


def server_people(base: str, access_token: str | None) -> ServerPeople:
    """Return the patients of the FHIR server at *base*, after one search has succeeded.

    Raises:
        SettingsError: *base* is no web address, the token would travel unencrypted, or the server
            did not answer the search.
    """
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise SettingsError(
            "demo --fhir: this is not the address of a FHIR server. Give its base, for example "
            "https://hapi.fhir.org/baseR4, without a name or password in it."
        )
    if access_token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise SettingsError(
            "demo --fhir: the token would travel unencrypted. Give an address that starts with "
            "https."
        )
    people = ServerPeople(base=base.rstrip("/"), access_token=access_token or None)
    try:
        people.listed()
    except ChartServerError as error:
        raise SettingsError(f"demo --fhir: {error}") from None
    return people


def full_name(patient: Resource) -> str:
    """Return the name of a patient, family name first; the id if there is none."""
    names = patient.get("name") or [{}]
    parts = [names[0].get("family"), " ".join(filter(None, names[0].get("given", ())))]
    return ", ".join(part for part in parts if part) or str(patient.get("id", "no name"))


def _next_page(bundle: Resource) -> str:
    links = bundle.get("link", ())
    return next((str(link["url"]) for link in links if link.get("relation") == "next"), "")


def _matches(bundle: Resource, kind: str) -> list[Resource]:
    found = (entry.get("resource", {}) for entry in bundle.get("entry", ()))
    return [r for r in found if r.get("resourceType") == kind and "id" in r]
