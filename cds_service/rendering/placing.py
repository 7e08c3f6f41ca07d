"""Which orders of a card can be placed at this site, and as which entries of its order list?

An order the site's EHR could not place never becomes a button: it is left to words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from cds_service.catalogue.orders import OrderEntry
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.knowledge.model import Knowledge, OrderTemplate
from cds_service.rendering.options import CardOptions
from cds_service.values import Side


class Place(Struct, frozen=True, kw_only=True):
    """One order as this site places it; ``entry`` is None for an order without a local code.

    ``covers`` are further orders that the same entry (an order set) carries out.
    """

    order: str
    entry: OrderEntry | None = None
    covers: tuple[str, ...] = ()


class Offer(Struct, frozen=True, kw_only=True):
    """One suggestion: the orders of ``proposal``, in ``places``, taken together.

    ``is_second_choice``: another entry of the list stands for the same order and comes first.
    ``names_entry``: its words name the entry, because several stand for the order.
    """

    proposal: Proposal
    places: tuple[Place, ...]
    is_second_choice: bool = False
    names_entry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What one card may offer, and the orders only words can name here."""

    offers: tuple[Offer, ...] = ()
    by_hand: tuple[OrderTemplate, ...] = ()
    is_choice: bool = False
    """Whether at most one of the offers should be taken."""


def order_template(order_id: str, knowledge: Knowledge, options: CardOptions) -> OrderTemplate:
    """Return the order's template, in the form this client's site uses."""
    site_form = f"{order_id}-{options.spine_referral}"
    if options.country != "US" and f"{order_id}-other" in knowledge.orders:
        site_form = f"{order_id}-other"
    return knowledge.orders.get(site_form) or knowledge.orders[order_id]


def placement(finding: Finding, knowledge: Knowledge, options: CardOptions) -> Placement:
    """Return what the card of *finding* may offer at this client's site."""
    if finding.is_order_withheld:
        return Placement()
    offers: list[Offer] = []
    by_hand: list[OrderTemplate] = []
    proposals = _proposals(finding, splits=options.splits_orders)
    for proposal in proposals:
        found = {order: _entries(order, knowledge, options) for order in proposal.orders}
        missing = [o for o in proposal.orders if not found[o] and options.requires_local_codes]
        by_hand += [order_template(order, knowledge, options) for order in missing]
        orders = tuple(order for order in proposal.orders if order not in missing)
        if orders:
            offers += _offers(replace(proposal, orders=orders), [found[o] for o in orders])
    offers.sort(key=lambda offer: not offer.proposal.is_recommended)
    kept = tuple(_without_repeats(offers, is_either_or=finding.is_either_or))
    is_expanded = len(proposals) == 1 and len(kept) > 1
    return Placement(
        offers=kept,
        by_hand=tuple(dict.fromkeys(by_hand)),
        is_choice=(finding.is_either_or and len(kept) > 1) or is_expanded,
    )


def _proposals(finding: Finding, *, splits: bool) -> tuple[Proposal, ...]:
    if not splits:
        return finding.proposals
    return tuple(
        replace(proposal, orders=(order,))
        for proposal in finding.proposals
        for order in proposal.orders
    )


def _entries(order_id: str, knowledge: Knowledge, options: CardOptions) -> tuple[OrderEntry, ...]:
    template = order_template(order_id, knowledge, options)
    return options.order_catalogue.entries_for(template.id, order_id)


def _offers(proposal: Proposal, found: Sequence[tuple[OrderEntry, ...]]) -> Iterator[Offer]:
    """Yield one offer for each entry of a single order; several orders take their first entries."""
    if len(found) == 1 and len(found[0]) > 1:
        for position, entry in enumerate(found[0]):
            is_first = position == 0
            yield Offer(
                proposal=replace(proposal, is_recommended=proposal.is_recommended and is_first),
                places=(Place(order=proposal.orders[0], entry=entry),),
                is_second_choice=not is_first,
                names_entry=True,
            )
    else:
        places = zip(proposal.orders, found, strict=True)
        yield Offer(
            proposal=proposal,
            places=tuple(Place(order=o, entry=next(iter(entries), None)) for o, entries in places),
        )


def _without_repeats(offers: Sequence[Offer], *, is_either_or: bool) -> Iterator[Offer]:
    """Yield *offers* with each entry once; the first place of an order set covers the others.

    Of alternatives that are one and the same entry, the first stands for all and names the entry.
    """
    orders: dict[_Ordered, list[str]] = {}
    for offer in offers:
        for place in offer.places:
            if place.entry:
                orders.setdefault(_ordered(offer, place.entry), []).append(place.order)
    for offer in offers:
        places = []
        is_shared = False
        for place in offer.places:
            same = orders.pop(_ordered(offer, place.entry), None) if place.entry else [place.order]
            if same is not None:
                is_shared = is_shared or len(same) > 1
                covers = () if is_either_or else tuple(dict.fromkeys(same[1:]))
                places.append(replace(place, covers=covers))
        if places:
            proposal = replace(offer.proposal, orders=tuple(place.order for place in places))
            names_entry = offer.names_entry or is_shared
            yield replace(offer, proposal=proposal, places=tuple(places), names_entry=names_entry)


_Ordered = tuple[str, str, Side | None]


def _ordered(offer: Offer, entry: OrderEntry) -> _Ordered:
    """Return what is ordered by *entry* in *offer*: its code, for a side."""
    return entry.system, entry.code, offer.proposal.side
