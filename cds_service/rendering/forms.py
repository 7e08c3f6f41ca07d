"""The blank forms of one client: what its cards and orders say, whoever the patient is.

Each is filled in once and then shared by all answers to this client; nobody changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct

from cds_service.catalogue.orders import OrderEntry
from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Finding, Note
from cds_service.evaluation.selection import SWITCHED_OFF
from cds_service.knowledge.model import (
    SYSTEM_URIS,
    CardTemplate,
    Knowledge,
    OrderTemplate,
    Source,
)
from cds_service.knowledge.publishing import CARD_SYSTEM, OVERRIDE_SYSTEM
from cds_service.rendering.options import CardOptions
from cds_service.rendering.wording import escape_markdown, headed, itemised, listed, strip_markup
from cds_service.values import Side

Json = dict[str, object]

SIDES: dict[Side, str] = {
    Side.LEFT: "side-left",
    Side.RIGHT: "side-right",
    Side.BOTH: "side-both",
}
"""The phrases and value sets of the sides an order can name."""
_VISIT_CATEGORY = "http://terminology.hl7.org/CodeSystem/medicationrequest-category"
_CATEGORIES: dict[str, tuple[str, str, str]] = {
    "outpatient": (_VISIT_CATEGORY, "outpatient", "Outpatient"),
    "inpatient": (_VISIT_CATEGORY, "inpatient", "Inpatient"),
}
"""Categories that say where an order is carried out, in place of what kind of order it is."""


class CardForm(Struct, frozen=True, kw_only=True):
    """One variant of a card before it is filled in.

    ``own_link`` leads to the card's own page, ``links`` to its sources; ``basis`` is the Markdown
    that says whom the card is not for and what it rests on.  The rest are templates by the names
    of their blocks; one that the card does not have is empty.
    """

    template: CardTemplate
    source: Json
    own_link: list[Json]
    links: list[Json]
    basis: str
    summary: str
    action: str
    why: str
    caveat: str
    change: str
    ending: str
    order_note: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OrderForm:
    """One order in the form this client's site uses, before it is filled in.

    ``entries`` are those of the site's own order list; ``is_by_hand``: the site's EHR cannot place
    the order; ``is_lumbar``: its body site is the lumbar spine, so that the operated levels belong
    to it.
    """

    id: str
    template: OrderTemplate
    entries: tuple[OrderEntry, ...]
    is_by_hand: bool
    codings: list[Json]
    code: Json
    category: list[Json]
    body_site: list[Json]
    is_lumbar: bool


class Forms:
    """The blank forms of one client, each made when it is first needed."""

    def __init__(self, options: CardOptions, knowledge: Knowledge) -> None:
        self.options = options
        self.knowledge = knowledge
        self.switched_off = dict.fromkeys(
            (
                *options.disabled_cards,
                *(name for name, card in knowledge.cards.items() if not card.is_enabled),
            ),
            SWITCHED_OFF,
        )
        """The cards that this site or the knowledge has switched off, with why in our words."""
        self.override_reasons = [
            {"system": OVERRIDE_SYSTEM, "code": code, "display": display}
            for code, display in knowledge.override_reasons
        ]
        self._base_url = options.public_base_url.rstrip("/")
        self._cards: dict[tuple[str, str], CardForm] = {}
        self._orders: dict[str, OrderForm] = {}
        self._codes: dict[str, Json] = {}

    def card(self, finding: Finding) -> CardForm:
        """Return the form of the card of *finding*."""
        name = finding.card, finding.variant
        form = self._cards.get(name)
        if form is None:
            form = self._cards[name] = self._card_form(*name)
        return form

    def order(self, order_id: str) -> OrderForm:
        """Return the form of an order."""
        form = self._orders.get(order_id)
        if form is None:
            form = self._orders[order_id] = self._order_form(order_id)
        return form

    def first_code(self, value_set_id: str) -> Json:
        """Return the coding that stands for an idea in an order.

        Raises:
            KnowledgeError: No code of the value set is enabled.
        """
        coding = self._codes.get(value_set_id)
        if coding is None:
            coding = self._codes[value_set_id] = _first_code(value_set_id, self.knowledge)
        return coding

    def _card_form(self, card_id: str, variant: str) -> CardForm:
        card = self.knowledge.cards[card_id]
        phrases, guidance = self.knowledge.phrases, f"{self._base_url}/guidance/{card.id}"
        source: Json = {
            "label": phrases["source-label"],
            "url": guidance,
            "icon": f"{self._base_url}/icon.png",
        }
        if self.options.has_topic:
            code = card.id.replace("-", "")
            source["topic"] = _coding((CARD_SYSTEM, code, card.title))
        own_link = [_link(phrases["link-guidance"], guidance)]
        sources = [self.knowledge.sources[key] for key in card.sources]
        return CardForm(
            template=card,
            source=source,
            own_link=own_link if self.options.links != "none" else [],
            links=[
                _link(strip_markup(source.title), source.url)
                for source in sources
                if self.options.may_link(source.url)
            ],
            basis=self._basis(card, sources),
            summary=card.summaries.get(variant, card.summaries["default"]),
            action=text_of(card, "action", variant),
            why=text_of(card, "why", variant),
            caveat=text_of(card, "caveat", variant),
            change=text_of(card, "change", variant),
            ending=text_of(card, "ending", variant),
            order_note=text_of(card, "order-note", variant),
        )

    def _basis(self, card: CardTemplate, sources: list[Source]) -> str:
        phrases = self.knowledge.phrases
        lines = [self._cited(source) for source in sources]
        if card.claims:
            claims = escape_markdown(listed(list(card.claims)))
            lines.append(phrases["limits-claims"].replace("{claims}", claims))
        blocks = [
            headed(phrases["heading-not-for"], escape_markdown(card.not_for)),
            itemised(phrases["heading-rests-on"], lines),
        ]
        return "\n\n".join(filter(None, blocks))

    def _cited(self, source: Source) -> str:
        """Return a source with its strength in words, as a link where this site allows it."""
        cite = escape_markdown(source.cite)
        if self.options.may_link(source.url):
            url = source.url.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
            cite = f"[{cite}]({url})"
        return f"{cite} - {escape_markdown(source.strength)}"

    def _order_form(self, order_id: str) -> OrderForm:
        options, knowledge = self.options, self.knowledge
        template = _site_form(order_id, options, knowledge)
        codings = [_coding(coding) for coding in template.codings]
        category = _CATEGORIES.get(options.order_category, template.category)
        site = template.body_site
        entries = options.order_catalogue.entries_for(template.id, order_id)
        return OrderForm(
            id=order_id,
            template=template,
            entries=entries,
            is_by_hand=options.requires_local_codes and not entries,
            codings=codings,
            code={"text": template.text, **({"coding": codings} if codings else {})},
            category=(
                [{"coding": [_coding(category)]}]
                if category and options.order_category != "none"
                else []
            ),
            body_site=[{"coding": [_coding(site)]}] if site else [],
            is_lumbar=site is not None
            and any(code.code == site[1] for code in knowledge.value_sets["site-lumbar"].codes),
        )


def forms_of(options: CardOptions, knowledge: Knowledge) -> Forms:
    """Return the forms of one client; all its answers share them until its options change."""
    newest = knowledge.remember(("forms", options.client_id), lambda: [Forms(options, knowledge)])
    forms = newest[0]
    if forms.options is not options:
        forms = newest[0] = Forms(options, knowledge)
    return forms


def text_of(card: CardTemplate, block: str, variant: str) -> str:
    """Return a block of the card's text, in the form for *variant* if it has one, or nothing."""
    return card.texts.get(f"{block}-{variant}") or card.texts.get(block, "")


def note_text(card: CardTemplate, note: Note, phrases: Mapping[str, str]) -> str:
    """Return a note in the card's own words, else in the words all cards share."""
    return card.notes.get(note.key) or phrases[f"note-{note.key}"]


def _site_form(order_id: str, options: CardOptions, knowledge: Knowledge) -> OrderTemplate:
    """Return the order's template, in the form this client's site uses."""
    site_form = f"{order_id}-{options.spine_referral}"
    if options.country != "US" and f"{order_id}-other" in knowledge.orders:
        site_form = f"{order_id}-other"
    return knowledge.orders.get(site_form) or knowledge.orders[order_id]


def _first_code(value_set_id: str, knowledge: Knowledge) -> Json:
    for code in knowledge.value_sets[value_set_id].codes:
        if code.is_enabled:
            return _coding((SYSTEM_URIS[code.system], code.code, code.display))
    raise KnowledgeError(
        f"cards/value-sets/{value_set_id}.yaml: an order needs one enabled code of this set. "
        "Enable one."
    )


def _coding(coding: tuple[str, str, str]) -> Json:
    system, code, display = coding
    return {"system": system, "code": code, "display": display}


def _link(label: str, url: str) -> Json:
    return {"label": label, "url": url, "type": "absolute"}
