"""From an assessment to the cards of a CDS Hooks answer.

Nothing is decided here: rules decide what is shown; this module words it, names it and applies what
a site's profile asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from msgspec.structs import replace

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Assessment, Finding, Indicator
from cds_service.evaluation.rules.catalog import DATA_READ, RED_FLAGS
from cds_service.evaluation.selection import SWITCHED_OFF, without
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.explanation import Explanation
from cds_service.rendering.identity import card_uuid
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.rendering.orders import Json, OrderWriter
from cds_service.rendering.placing import Offer, Placement, placement
from cds_service.rendering.plain import plain_text
from cds_service.rendering.story import Story
from cds_service.rendering.wording import Wording, listed, strip_markup, with_measure

__all__ = [
    "CARD_SYSTEM",
    "OVERRIDE_SYSTEM",
    "CardContext",
    "CardOptions",
    "Rendered",
    "render",
    "render_cards",
]

CARD_SYSTEM = "http://post-laminectomy-cds.example/fhir/CodeSystem/card"
OVERRIDE_SYSTEM = "http://post-laminectomy-cds.example/fhir/CodeSystem/override-reason"

_NEVER_CUT = frozenset({*RED_FLAGS, DATA_READ})
_URGENCY = tuple(Indicator)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The cards of an answer, the rows as this call shows them, and what the site's limit cut."""

    cards: list[Json]
    findings: tuple[Finding, ...]
    cut: frozenset[str] = frozenset()


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
    off = options.disabled_cards | {c for c, card in knowledge.cards.items() if not card.is_enabled}
    held = {**context.held, **dict.fromkeys(off, SWITCHED_OFF)}
    assessment = without(assessment, held)
    unwanted = _unwanted_cards(assessment, knowledge, options)
    if unwanted:
        assessment = without(assessment, {**held, **dict.fromkeys(unwanted, SWITCHED_OFF)})
    wanted = [_prepared(finding, knowledge, options) for finding in assessment.shown]
    kept, cut = _capped(wanted, options.max_cards)
    wording = Wording(knowledge, assessment.as_of)
    story = Story(assessment, wording)
    writer = _CardWriter(story, Explanation(story, options), wording, knowledge, options, context)
    last = len(kept) - 1
    cards = [
        _written(writer, finding, cut if position == last else ())
        for position, finding in enumerate(kept)
    ]
    return Rendered(cards, assessment.findings, frozenset(finding.card for finding in cut))


def _unwanted_cards(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions
) -> frozenset[str]:
    """Return the info cards this client does not want."""
    if options.info_cards == "all":
        return frozenset()
    info = [
        finding
        for finding in assessment.shown
        if _prepared(finding, knowledge, options).indicator is Indicator.INFO
        and finding.card not in _NEVER_CUT
    ]
    if options.info_cards == "with-orders":
        info = [finding for finding in info if not placement(finding, knowledge, options).offers]
    return frozenset(finding.card for finding in info)


def _written(writer: _CardWriter, finding: Finding, cut: Sequence[Finding]) -> Json:
    """Return the card; one whose words a site has broken keeps its title and loses its orders."""
    try:
        return writer.card(finding, cut)
    except KnowledgeError:
        return writer.bare_card(finding)


def _prepared(finding: Finding, knowledge: Knowledge, options: CardOptions) -> Finding:
    """Return *finding* with its score in words, no more urgent than the site's ceiling."""
    finding = replace(finding, words=with_measure(finding.words, knowledge))
    ceiling = options.indicator_ceiling.get(finding.card)
    if ceiling is None:
        return finding
    lower = min(finding.indicator, Indicator(ceiling), key=_URGENCY.index)
    return replace(finding, indicator=lower)


def _capped(findings: Sequence[Finding], most: int) -> tuple[list[Finding], list[Finding]]:
    """Return the findings kept and cut: only info cards are cut, from the end."""
    kept, cut = list(findings), list[Finding]()
    for finding in reversed(findings):
        if len(kept) <= most:
            break
        if finding.indicator is Indicator.INFO and finding.card not in _NEVER_CUT:
            kept.remove(finding)
            cut.insert(0, finding)
    return kept, cut


@dataclass(frozen=True, slots=True)
class _CardWriter:
    """Writes the cards of one answer."""

    story: Story
    explanation: Explanation
    wording: Wording
    knowledge: Knowledge
    options: CardOptions
    context: CardContext

    def card(self, finding: Finding, cut: Sequence[Finding]) -> Json:
        """Return one card; *cut* are the findings it speaks for as the last card kept."""
        wording = self.wording
        template = self.knowledge.cards[finding.card]
        summary_template = template.summaries.get(finding.variant, template.summaries["default"])
        summary = wording.summary(summary_template, finding.words, template.title)
        name = self._uuid(finding)
        placed = placement(finding, self.knowledge, self.options)
        detail = self.explanation.detail(finding, self._cut(cut), placed.by_hand)
        card = self._frame(finding, name, summary, detail)
        case = self.story.assessment.case
        operation = case.operation if case is not None else None
        writer = OrderWriter(self.knowledge, self.options, self.context, wording, operation)
        if placed.offers:
            behavior = self._behavior(placed)
            card["suggestions"] = [
                writer.suggestion(finding, offer, name, summary)
                for offer in _marked(placed.offers, behavior)
            ]
            card["selectionBehavior"] = behavior
        links = [*(self._own_link(finding) if placed.by_hand else ()), *self._links(finding)]
        if links:
            card["links"] = links
        return card

    def bare_card(self, finding: Finding) -> Json:
        """Return a card with its title only, for words that cannot be filled in."""
        title = self.knowledge.cards[finding.card].title
        words = self.knowledge.phrases["card-words-fault"]
        return self._frame(finding, self._uuid(finding), title, words)

    def _frame(self, finding: Finding, name: UUID, summary: str, detail: str) -> Json:
        is_plain, extension = self.options.is_plain_text, self.options.detail_type_extension
        kind = "text/plain" if is_plain else "text/markdown"
        return {
            "uuid": str(name),
            "summary": summary,
            "indicator": finding.indicator.value,
            "detail": plain_text(detail) if is_plain else detail,
            **({"extension": {extension: kind}} if extension else {}),
            "source": self._source(finding),
            "overrideReasons": [
                {"system": OVERRIDE_SYSTEM, "code": code, "display": display}
                for code, display in self.knowledge.override_reasons
            ],
        }

    def _uuid(self, finding: Finding) -> UUID:
        return card_uuid(
            finding,
            patient_id=self.context.patient_id,
            client_id=self.options.client_id,
            key=self.options.identity_key,
        )

    def _source(self, finding: Finding) -> Json:
        source: Json = {
            "label": self.knowledge.phrases["source-label"],
            "url": self._guidance(finding),
            "icon": f"{self.options.public_base_url.rstrip('/')}/icon.png",
        }
        if self.options.has_topic:
            source["topic"] = {
                "system": CARD_SYSTEM,
                "code": finding.card.replace("-", ""),
                "display": self.knowledge.cards[finding.card].title,
            }
        return source

    def _behavior(self, placed: Placement) -> str:
        if self.options.selection_behavior != "spec":
            return self.options.selection_behavior
        return "at-most-one" if placed.is_choice else "any"

    def _own_link(self, finding: Finding) -> list[Json]:
        """Return the link to the card's own page, which says how its orders are coded."""
        if self.options.links == "none":
            return []
        label = self.knowledge.phrases["link-guidance"]
        return [{"label": label, "url": self._guidance(finding), "type": "absolute"}]

    def _guidance(self, finding: Finding) -> str:
        return f"{self.options.public_base_url.rstrip('/')}/guidance/{finding.card}"

    def _links(self, finding: Finding) -> list[Json]:
        sources = [
            self.knowledge.sources[key] for key in self.knowledge.cards[finding.card].sources
        ]
        return [
            {"label": strip_markup(source.title), "url": source.url, "type": "absolute"}
            for source in sources
            if self.options.may_link(source.url)
        ]

    def _cut(self, cut: Sequence[Finding]) -> tuple[str, ...]:
        if not cut:
            return ()
        titles = listed([self.knowledge.cards[finding.card].title for finding in cut])
        return (self.story.line("cut-cards", most=self.options.max_cards, cards=titles),)


def _marked(offers: Sequence[Offer], behavior: str) -> list[Offer]:
    """Return *offers*; only the first stays recommended if only one may be taken."""
    if behavior != "at-most-one":
        return list(offers)
    rest = (replace(o, proposal=replace(o.proposal, is_recommended=False)) for o in offers[1:])
    return [offers[0], *rest]
