"""Which orders of a card can be placed at this site, and as which entries of its order list?

An order the site's EHR could not place never becomes a button: it is left to words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cds_service.catalogue.orders import OrderEntry
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.knowledge.model import Knowledge, OrderTemplate
from cds_service.rendering.options import CardOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One suggestion: the orders of ``proposal``, each with its entry of the site's list.

    ``entries`` has one place for each order; None stands for an order without a local code.
    ``is_second_choice``: another entry of the list stands for the same order and comes first.
    """

    proposal: Proposal
    entries: tuple[OrderEntry | None, ...]
    is_second_choice: bool = False
    names_entry: bool = False
    """Whether its words name the entry, because several entries stand for the order."""


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
    kept = tuple(_without_repeats(offers))
    is_expanded = len(proposals) == 1 and len(kept) > 1
    return Placement(
        offers=tuple(sorted(kept, key=lambda offer: not offer.proposal.is_recommended)),
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
                entries=(entry,),
                is_second_choice=not is_first,
                names_entry=True,
            )
    else:
        yield Offer(
            proposal=proposal,
            entries=tuple(entries[0] if entries else None for entries in found),
        )


def _without_repeats(offers: Iterable[Offer]) -> Iterator[Offer]:
    """Yield *offers* without what an entry before them has ordered already (an order set)."""
    placed: set[tuple[str, str, object]] = set()
    for offer in offers:
        kept: list[tuple[str, OrderEntry | None]] = []
        for order, entry in zip(offer.proposal.orders, offer.entries, strict=True):
            key = (entry.system, entry.code, offer.proposal.side) if entry else None
            if key is None or key not in placed:
                kept.append((order, entry))
            if key is not None:
                placed.add(key)
        if kept:
            proposal = replace(offer.proposal, orders=tuple(order for order, _ in kept))
            yield replace(offer, proposal=proposal, entries=tuple(entry for _, entry in kept))
