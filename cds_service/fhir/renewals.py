"""What prescriptions of one drug say of each other: how long it is taken, and how much.

Prescriptions stay active for months after the next one was written, and some records tell of
another prescription: added up they would make a dose that nobody takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.facts import DrugFact
from cds_service.values import FhirDate


class Prescribed(Struct, frozen=True, kw_only=True):
    """A drug fact with what its entry says of other entries.

    ``begins`` is the day from which it holds, which may be later than the day it was written;
    ``tells_dose`` is false for a report that names no dose at all.
    ``products`` are the RxNorm codes that name a clinical or branded drug, ``tells_of`` the
    prescriptions it reports or carries out, ``renews`` those it takes the place of.
    """

    fact: DrugFact
    begins: FhirDate | None = None
    has_begun: bool = True
    tells_dose: bool = True
    products: frozenset[str] = frozenset()
    tells_of: frozenset[str] = frozenset()
    renews: frozenset[str] = frozenset()


def until_renewed(found: Sequence[Prescribed]) -> list[Prescribed]:
    """Return *found*; those that are over without a stated end ran until something renewed them.

    Time:
        The end is the first day of the earliest renewal: the course is not broken.
    """
    renewed: dict[str, list[FhirDate]] = {}
    for one in found:
        if one.fact.started is not None:
            for name in one.renews:
                renewed.setdefault(name, []).append(one.fact.started)
    return [_up_to_renewal(one, renewed.get(one.fact.reference, [])) for one in found]


def _up_to_renewal(one: Prescribed, renewed: Iterable[FhirDate]) -> Prescribed:
    fact = one.fact
    started = fact.started
    if fact.status == "active" or fact.ended is not None or started is None:
        return one
    later = [day for day in renewed if day.latest >= started.latest]
    if not later:
        return one
    ended = min(later, key=lambda day: (day.latest, day.earliest))
    return replace(one, fact=replace(fact, ended=ended))


def without_repeats(found: Sequence[Prescribed]) -> list[DrugFact]:
    """Return the facts of *found*; those whose dose another active one gives are marked."""
    active = [one for one in found if one.fact.status == "active"]
    repeated = _linked(active)
    repeated |= _older([one for one in active if one.fact.reference not in repeated])
    return [
        replace(one.fact, is_repeated=True) if one.fact.reference in repeated else one.fact
        for one in found
    ]


def _linked(active: Sequence[Prescribed]) -> set[str]:
    """Return the references of those that another one renews, or that tell of another one.

    Links lead on from one that nothing repeats; a circle of links says nothing of any of its own.
    """
    known = {one.fact.reference for one in active}
    repeats: dict[str, set[str]] = {reference: set() for reference in known}
    for one in active:
        own = one.fact.reference
        repeats[own] |= (one.renews & known) - {own}
        for told in (one.tells_of & known) - {own}:
            repeats[told].add(own)
    linked: set[str] = set()
    waiting = list(known.difference(*repeats.values()))
    while waiting:
        more = repeats[waiting.pop()] - linked
        linked |= more
        waiting += more
    return linked


def _older(active: Sequence[Prescribed]) -> set[str]:
    """Return the references of those of which a later one of the same drug is active.

    Time:
        Of those that have begun, those of the latest day add up; on one day orders come before
        reports of what is taken.  A report without a dose takes no dose away.
    """
    latest: dict[str, tuple[bool, bool, date, bool]] = {}
    for one in active:
        for product in one.products:
            latest[product] = max(_age(one), latest.get(product, _age(one)))
    return {
        one.fact.reference
        for one in active
        if any(_age(one) < latest[product] for product in one.products)
    }


def _age(one: Prescribed) -> tuple[bool, bool, date, bool]:
    begins = one.begins.latest if one.begins is not None else date.min
    is_request = one.fact.reference.startswith("MedicationRequest/")
    return one.has_begun, one.tells_dose, begins, is_request
