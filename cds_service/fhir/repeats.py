"""FHIR JSON in which a key is written twice: two readers could read it differently.

What an EHR sends along was checked with the request; this is for what its FHIR server answers.
"""

from __future__ import annotations

from itertools import islice

from msgspec.structs import replace

from cds_service.fhir import reasons
from cds_service.fhir.answers import raw_of
from cds_service.fhir.prefetch import Page
from cds_service.hooks.strict_json import strictly_parsed

_MOST_DOUBTFUL = 20
"""More such entries than these are no accident of one entry: the page is not used."""


def without_repeats(page: Page, body: bytes) -> Page:
    """Return *page* of *body* without the entries that write a key twice or are bottomless.

    A page that itself writes a key twice is unusable.
    """
    if _is_certain(body):
        return page
    found = [bytes(raw_of(resource)) for resource in page.resources]
    doubtful = dict.fromkeys(text for text in found if not _is_certain(text))
    for text in islice(doubtful, _MOST_DOUBTFUL):
        body = body.replace(text, b"null")
    if not doubtful or not _is_certain(body):
        return Page(problem=reasons.NOT_FHIR_JSON, is_unusable=True)
    pairs = zip(page.resources, found, strict=True)
    kept = tuple(resource for resource, text in pairs if text not in doubtful)
    return replace(page, resources=kept, problem=page.problem or reasons.UNREADABLE_ENTRY)


def _is_certain(text: bytes) -> bool:
    try:
        strictly_parsed(text)
    except ValueError:
        return False
    return True
