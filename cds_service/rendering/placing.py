"""Which orders of a card can be placed at this site, and as which entries of its order list?

An order the site's EHR could not place never becomes a button: it is left to words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cds_service.catalogue.orders import OrderEntry
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.knowledge.model import OrderTemplate
from cds_service.rendering.forms import Forms, OrderForm
from cds_service.values import Side


class Place(Struct, frozen=True, kw_only=True):
    """One order as this site places it; ``entry`` is None for an order without a local code.

    ``covers`` are further orders that the same entry (an order set) carries out.
    """

    form: OrderForm
    entry: OrderEntry | None = None
    covers: tuple[OrderForm, ...] = ()


class Offer(Struct, frozen=True, kw_only=True):
    """One suggestion: the orders of ``proposal``, in ``places``, taken together.

    ``is_second_choice``: another entry of the list stands for the same order and comes first.
    ``names_entry``: its words name the entry, because several stand for the order.
    """

    proposal: Proposal
    places: tuple[Place, ...]
    is_second_choice: bool = False
    names_entry: bool = False


class Placement(Struct, frozen=True, kw_only=True):
    """What one card may offer, and the orders only words can name here."""

    offers: tuple[Offer, ...] = ()
    by_hand: tuple[OrderTemplate, ...] = ()
    is_choice: bool = False
    """Whether at most one of the offers should be taken."""


_NOTHING = Placement()


def placement(finding: Finding, forms: Forms) -> Placement:
    """Return what the card of *finding* may offer at this client's site."""
    if finding.is_order_withheld or not finding.proposals:
        return _NOTHING
    options = forms.options
    offers: list[Offer] = []
    by_hand: list[OrderTemplate] = []
    proposals = _proposals(finding, splits=options.splits_orders)
    for proposal in proposals:
        orders = [forms.order(order) for order in proposal.orders]
        if options.requires_local_codes:
            by_hand += [form.template for form in orders if form.is_by_hand]
            orders = [form for form in orders if not form.is_by_hand]
        if orders:
            offers += _offers(proposal, orders)
    offers.sort(key=_is_second_to_others)
    if options.order_catalogue.entries:
        offers = list(_without_repeats(offers, is_either_or=finding.is_either_or))
    is_expanded = len(proposals) == 1 and len(offers) > 1
    return Placement(
        offers=tuple(offers),
        by_hand=tuple(dict.fromkeys(by_hand)),
        is_choice=(finding.is_either_or and len(offers) > 1) or is_expanded,
    )


def _is_second_to_others(offer: Offer) -> bool:
    return not offer.proposal.is_recommended


def _proposals(finding: Finding, *, splits: bool) -> tuple[Proposal, ...]:
    if not splits:
        return finding.proposals
    return tuple(
        replace(proposal, orders=(order,))
        for proposal in finding.proposals
        for order in proposal.orders
    )


def _offers(proposal: Proposal, orders: Sequence[OrderForm]) -> list[Offer]:
    """Return one offer for each entry of a single order; of several, the first entry of each."""
    first = orders[0]
    if len(orders) > 1 or len(first.entries) <= 1:
        places = [Place(form=o, entry=o.entries[0] if o.entries else None) for o in orders]
        return [Offer(proposal=proposal, places=tuple(places))]
    return [
        Offer(
            proposal=replace(proposal, is_recommended=proposal.is_recommended and position == 0),
            places=(Place(form=first, entry=entry),),
            is_second_choice=position > 0,
            names_entry=True,
        )
        for position, entry in enumerate(first.entries)
    ]


def _without_repeats(offers: Sequence[Offer], *, is_either_or: bool) -> Iterator[Offer]:
    """Yield *offers* with each entry once; the first place of an order set covers the others.

    Of alternatives that are one and the same entry, the first stands for all and names the entry.
    """
    orders: dict[_Ordered, list[OrderForm]] = {}
    for offer in offers:
        for place in offer.places:
            if place.entry:
                orders.setdefault(_ordered(offer, place.entry), []).append(place.form)
    for offer in offers:
        places = []
        is_shared = False
        for place in offer.places:
            same = orders.pop(_ordered(offer, place.entry), None) if place.entry else [place.form]
            if same is not None:
                is_shared = is_shared or len(same) > 1
                covers = () if is_either_or else tuple(dict.fromkeys(same[1:]))
                places.append(replace(place, covers=covers))
        if places:
            proposal = replace(offer.proposal, orders=tuple(place.form.id for place in places))
            names_entry = offer.names_entry or is_shared
            yield replace(offer, proposal=proposal, places=tuple(places), names_entry=names_entry)


_Ordered = tuple[str, str, Side | None]


def _ordered(offer: Offer, entry: OrderEntry) -> _Ordered:
    """Return what is ordered by *entry* in *offer*: its code, for a side."""
    return entry.system, entry.code, offer.proposal.side
