"""Whose resource is this?  Compares a reference with the patient in context, in every form.

Nothing is guessed: only the patient's own id behind "Patient/", under a base that is known, or a
``urn:uuid`` that names the patient's entry in the same request, makes a resource the patient's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from urllib.parse import urlsplit

from cds_service.fhir.wire import Reference

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Owner(Enum):
    """Whose resource it is."""

    PATIENT = "the patient in context"
    ANOTHER = "another patient"
    UNKNOWN = "it does not say"


class Subjects:
    """Compares references with one patient."""

    def __init__(
        self,
        patient_id: str,
        *,
        bases: Iterable[str],
        fhir_server: str | None,
        full_urls: Mapping[str, str],
    ) -> None:
        """Accept absolute references under *bases* and *fhir_server*, and *full_urls*."""
        self._patient_id = patient_id
        self._is_server_known = fhir_server is not None
        known = [*bases, *([fhir_server] if fhir_server is not None else [])]
        self._bases = frozenset(normalised_base(base) for base in known) - {None}
        self._judged: dict[str, bool] = {}
        """Which bases of references are known; a chart has few and names them often."""
        self.full_urls = full_urls
        """Where the ``fullUrl`` of any entry of the request leads."""

    def owner(self, *references: Reference | None) -> Owner:
        """Return whose resource has *references* as subject; one to another patient decides."""
        decided = Owner.UNKNOWN
        for reference in references:
            text = None if reference is None else reference.reference
            owner = Owner.UNKNOWN if text is None else self._compared(text.strip())
            if owner is Owner.ANOTHER:
                return owner
            if owner is Owner.PATIENT:
                decided = owner
        return decided

    def relative(self, text: str) -> str | None:
        """Return "Type/id" of the entry here that a reference leads to, or None."""
        base, found_type, found_id = self._split(text)
        if found_type is None or (base is not None and not self._is_known(base)):
            return None
        return f"{found_type}/{found_id}"

    def _split(self, text: str) -> tuple[str | None, str | None, str | None]:
        if text.lower().startswith("urn:"):
            text = self.full_urls.get(text, "")
        return split_reference(text)

    def _compared(self, text: str) -> Owner:
        base, found_type, found_id = self._split(text)
        if found_type != "Patient" or found_id is None:
            return Owner.UNKNOWN
        if found_id != self._patient_id:
            return Owner.ANOTHER
        if base is None or self._is_known(base):
            return Owner.PATIENT
        return Owner.ANOTHER

    def _is_known(self, base: str) -> bool:
        if base not in self._judged:
            normalised = normalised_base(base)
            is_any_known = not self._is_server_known and normalised is not None
            self._judged[base] = normalised in self._bases or is_any_known
        return self._judged[base]


def split_reference(text: str) -> tuple[str | None, str | None, str | None]:
    """Return base, type and id of a reference; the base is None for a relative one.

    Versioned references lose their version.  Anything else gives three times None.
    """
    nothing = (None, None, None)
    if not text or any(sign in text for sign in "?#\\ "):
        return nothing
    parts = text.split("/")
    if len(parts) >= 4 and parts[-2] == "_history":  # noqa: PLR2004 - type, id, word, version
        parts = parts[:-2]
    if len(parts) < 2 or not parts[-1] or not parts[-2].isalpha():  # noqa: PLR2004 - type and id
        return nothing
    base = "/".join(parts[:-2])
    if base and "://" not in base:
        return nothing
    return base or None, parts[-2], parts[-1]


def normalised_base(url: str) -> str | None:
    """Return *url* with lower-case scheme and host, explicit port and no slash at the end.

    None when it is no plain http(s) URL or hides a user name.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc or "\\" in url:
        return None
    if parts.query or parts.fragment:
        return None
    shown_port = port or _DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}:{shown_port}{parts.path.rstrip('/')}"
