"""From an assessment to the cards of a CDS Hooks answer.

Nothing is decided here: rules decide what is shown; this module words it, names it and applies what
a site's profile asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from msgspec.structs import replace

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Assessment, Finding, Indicator, Verdict
from cds_service.evaluation.rules.catalog import DATA_READ
from cds_service.evaluation.selection import SWITCHED_OFF, is_red_flag, without
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.publishing import CARD_SYSTEM, OVERRIDE_SYSTEM
from cds_service.rendering.explanation import Explanation, Told
from cds_service.rendering.forms import CardForm, Forms, Json, OrderForm, forms_of
from cds_service.rendering.identity import CardNames
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.rendering.orders import OrderWriter
from cds_service.rendering.placing import Offer, Placement, placement
from cds_service.rendering.plain import plain_text
from cds_service.rendering.story import Story
from cds_service.rendering.wording import listed, with_measure, wording_on
from cds_service.values import lazy

__all__ = [
    "CARD_SYSTEM",
    "OVERRIDE_SYSTEM",
    "CardContext",
    "CardOptions",
    "Rendered",
    "render",
    "render_cards",
]

_URGENCY = tuple(Indicator)
_PRIORITIES = ("routine", "urgent", "asap", "stat")
"""Of an order, as FHIR ranks them."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The cards of an answer, the rows as this call shows them, and what the site's limit cut.

    ``names`` has the uuid of every card whose row is met, shown or not, by card id; ``orders`` the
    orders behind each suggestion, by its uuid.
    """

    cards: list[Json]
    findings: tuple[Finding, ...]
    cut: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def render_cards(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> list[Json]:
    """Return the cards of *assessment* in order of priority, at most as many as the site wants."""
    return render(assessment, knowledge, options, context).cards


def render(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> Rendered:
    """Return the cards of *assessment*, and what became of those that are not among them.

    Raises:
        KnowledgeError: A template has no words for what a rule found.
    """
    forms = forms_of(options, knowledge)
    held = {**context.held, **forms.switched_off}
    met = _met(assessment)
    if any(finding.card in held for finding in met):
        assessment = without(assessment, held)
        met = _met(assessment)
    unwanted = _unwanted_cards(assessment, forms)
    if unwanted:
        assessment = without(assessment, {**held, **dict.fromkeys(unwanted, SWITCHED_OFF)})
        met = _met(assessment)
    wanted = [_prepared(finding, forms) for finding in met if finding.is_shown]
    kept, cut = _capped(wanted, options.max_cards)
    names = CardNames(
        patient_id=context.patient_id, client_id=options.client_id, key=options.identity_key
    )
    uuids = {finding.card: names(finding) for finding in met}
    writer = _CardWriter(assessment, forms, context, uuids)
    last = len(kept) - 1
    cards = [
        _written(writer, finding, cut if position == last else ())
        for position, finding in enumerate(kept)
    ]
    return Rendered(
        cards,
        assessment.findings,
        frozenset([finding.card for finding in cut]),
        uuids,
        writer.orders.orders,
    )


def _met(assessment: Assessment) -> list[Finding]:
    """Return the rows that are met, whether their cards are shown or not."""
    met = Verdict.MET
    return [finding for finding in assessment.findings if finding.verdict is met]


def _unwanted_cards(assessment: Assessment, forms: Forms) -> frozenset[str]:
    """Return the info cards this client does not want."""
    wish = forms.options.info_cards
    if wish == "all":
        return frozenset()
    info = [
        finding
        for finding in assessment.shown
        if _prepared(finding, forms).indicator is Indicator.INFO and _may_be_cut(finding)
    ]
    if wish == "with-orders":
        info = [finding for finding in info if not placement(finding, forms).offers]
    return frozenset(finding.card for finding in info)


def _written(writer: _CardWriter, finding: Finding, cut: Sequence[Finding]) -> Json:
    """Return the card; one whose words a site has broken keeps its title and loses its orders."""
    try:
        return writer.card(finding, cut)
    except KnowledgeError:
        return writer.bare_card(finding)


def _prepared(finding: Finding, forms: Forms) -> Finding:
    """Return *finding* with its score in words, no more urgent than the site's ceiling."""
    words = with_measure(finding.words, forms.knowledge)
    ceiling = forms.options.indicator_ceiling.get(finding.card)
    if ceiling is None:
        return replace(finding, words=words)
    lower = min(finding.indicator, Indicator(ceiling), key=_URGENCY.index)
    return replace(finding, words=words, indicator=lower)


def _capped(findings: Sequence[Finding], most: int) -> tuple[list[Finding], list[Finding]]:
    """Return the findings kept and cut: only info cards are cut, from the end."""
    kept, cut = list(findings), list[Finding]()
    for finding in reversed(findings):
        if len(kept) <= most:
            break
        if finding.indicator is Indicator.INFO and _may_be_cut(finding):
            kept.remove(finding)
            cut.insert(0, finding)
    return kept, cut


def _may_be_cut(finding: Finding) -> bool:
    return finding.card != DATA_READ and not is_red_flag(finding)


class _CardWriter:
    """Writes the cards of one answer, and what ``orders`` writes."""

    def __init__(
        self,
        assessment: Assessment,
        forms: Forms,
        context: CardContext,
        uuids: Mapping[str, str],
    ) -> None:
        wording = wording_on(assessment.as_of, forms.knowledge)
        operation = assessment.case.operation if assessment.case is not None else None
        self._forms = forms
        self._wording = wording
        self._uuids = uuids
        self._story = Story(assessment, wording)
        self.orders = OrderWriter(forms, context, wording, operation)
        self._offered: dict[str, tuple[str, str, str]] = {}
        """The title of the first card that offers an order, what the order is called there and its
        priority, by the order's first code."""

    @lazy
    def _explanation(self) -> Explanation:
        return Explanation(self._story, self._forms)

    def card(self, finding: Finding, cut: Sequence[Finding]) -> Json:
        """Return one card; *cut* are the findings it speaks for as the last card kept."""
        form = self._forms.card(finding)
        summary = self._wording.summary(form.summary, finding.words, form.template.title)
        placed = placement(finding, self._forms)
        told_of_cut = self._cut(cut) if cut else ()
        again = self._offered_before(placed, form.template.title)
        told = Told(by_hand=placed.by_hand, again=again, cut=told_of_cut)
        detail = self._explanation.detail(finding, form, told)
        card = self._frame(finding, form, summary, detail)
        if placed.offers:
            uuid, behavior = self._uuids[finding.card], self._behavior(placed)
            offers = _marked(placed.offers, behavior)
            say = partial(self.orders.note, form, finding, summary, self._story.scanner_note)
            card["suggestions"] = self.orders.suggestions(finding, offers, uuid, say)
            card["selectionBehavior"] = behavior
        links = form.own_link + form.links if placed.by_hand else form.links
        if links:
            card["links"] = links
        return card

    def bare_card(self, finding: Finding) -> Json:
        """Return a card with its title only, for words that cannot be filled in."""
        form = self._forms.card(finding)
        words = self._forms.knowledge.phrases["card-words-fault"]
        return self._frame(finding, form, form.template.title, words)

    def _frame(self, finding: Finding, form: CardForm, summary: str, detail: str) -> Json:
        options = self._forms.options
        card: Json = {
            "uuid": self._uuids[finding.card],
            "summary": summary,
            "indicator": finding.indicator.value,
            "detail": plain_text(detail) if options.is_plain_text else detail,
        }
        if options.detail_type_extension:
            kind = "text/plain" if options.is_plain_text else "text/markdown"
            card["extension"] = {options.detail_type_extension: kind}
        card["source"] = form.source
        card["overrideReasons"] = self._forms.override_reasons
        return card

    def _behavior(self, placed: Placement) -> str:
        wish = self._forms.options.selection_behavior
        if wish != "spec":
            return wish
        return "at-most-one" if placed.is_choice else "any"

    def _offered_before(self, placed: Placement, title: str) -> tuple[str, ...]:
        """Return which orders of the card called *title* an earlier card of this answer offers.

        Where this card wants an order sooner, it says so: only one of the two will be taken.  An
        order that has another name there is told by that name.
        """
        before: dict[tuple[str, str, str], dict[str, None]] = {}
        for offer in placed.offers:
            here = offer.proposal.priority
            for form in (place.form for place in offer.places):
                name = form.template.title
                offered = self._offered.setdefault(_first_code(form), (title, name, here))
                first, name_there, there = offered
                if first != title:
                    is_sooner = _PRIORITIES.index(here) > _PRIORITIES.index(there)
                    told = "sooner" if is_sooner else "" if name == name_there else "as"
                    urgency = here if is_sooner else ""
                    orders = before.setdefault((first, told, urgency), {})
                    orders[name_there if told == "as" else name] = None
        return tuple(
            self._again(card, told, urgency, list(orders))
            for (card, told, urgency), orders in before.items()
        )

    def _again(self, card: str, told: str, urgency: str, orders: Sequence[str]) -> str:
        phrase = f"also-proposed-{told}" if told else "also-proposed"
        how_soon = self._forms.knowledge.phrases[f"action-{urgency}"] if urgency else ""
        return self._story.line(phrase, card=card, orders=listed(orders), urgency=how_soon)

    def _cut(self, cut: Sequence[Finding]) -> tuple[str, ...]:
        titles = listed([self._forms.knowledge.cards[finding.card].title for finding in cut])
        return (self._story.line("cut-cards", cards=titles),)


def _first_code(form: OrderForm) -> str:
    """Return what two orders for the same thing share: their first code, without one their id."""
    return str(form.codings[0]["code"]) if form.codings else form.id


def _marked(offers: Sequence[Offer], behavior: str) -> list[Offer]:
    """Return *offers*; only the first stays recommended if only one may be taken."""
    if behavior != "at-most-one":
        return list(offers)
    rest = (replace(o, proposal=replace(o.proposal, is_recommended=False)) for o in offers[1:])
    return [offers[0], *rest]
