"""What does the card's detail say?  What to do and why first, everything else after it.

The blocks: action and why now; what is in the chart; what else was looked at; cautions; likely
explanations; what would change the advice; what it rests on; limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cds_service.evaluation.assessment import Finding, Note, Term
from cds_service.evaluation.case import Case
from cds_service.knowledge.model import CardTemplate, OrderTemplate, Source
from cds_service.rendering.options import CardOptions
from cds_service.rendering.orders import text_of
from cds_service.rendering.story import Story
from cds_service.rendering.wording import escape_markdown, listed

_ASKED = {
    "sign-bladder": frozenset(
        {"pvr", "urinary-retention", "urinary-incontinence", "incomplete-bladder-emptying"}
    ),
    "sign-saddle": frozenset({"saddle-sensation"}),
    "sign-strength": frozenset(
        {"mrc-grade", "motor-weakness", "motor-paresis", "motor-paraplegia"}
    ),
}
"""What every card reminds of, and the findings that answer it."""
_SHOWN_EXPLANATIONS = 3


@dataclass(frozen=True)
class Explanation:
    """Writes the details of the cards of one answer."""

    story: Story
    options: CardOptions

    def detail(
        self, finding: Finding, cut: Iterable[str] = (), by_hand: Iterable[OrderTemplate] = ()
    ) -> str:
        """Return the Markdown of *finding*.

        *cut* names the cards left out after this one, *by_hand* the orders this site's EHR has no
        code for.
        """
        card = self.story.wording.knowledge.cards[finding.card]
        blocks = [
            self._text(card, finding, "action"),
            self._withheld(finding),
            self._by_hand(by_hand),
            self._text(card, finding, "why"),
            *(self._note(card, note) for note in finding.notes),
            self._text(card, finding, "caveat"),
            self._list("heading-chart", [*self.story.chart, *self._entries(finding)]),
            self._list("heading-looked-at", self._looked_at(finding)),
            self._list("heading-cautions", self.story.cautions(_orders(finding))),
            self._list("heading-explanations", self.story.explanations[:_SHOWN_EXPLANATIONS]),
            self._headed("heading-change", self._text(card, finding, "change")),
            self._headed("heading-not-for", escape_markdown(card.not_for)),
            self._list("heading-rests-on", self._rests_on(card)),
            *cut,
            self._headed("heading-limits", self._limits),
            self._text(card, finding, "ending"),
        ]
        return "\n\n".join(block for block in blocks if block)

    def _text(self, card: CardTemplate, finding: Finding, block: str) -> str:
        template = text_of(card, block, finding.variant)
        return self.story.wording.markdown(template, finding.words) if template else ""

    def _note(self, card: CardTemplate, note: Note) -> str:
        """Return a note in the card's own words, else in the words all cards share."""
        wording = self.story.wording
        template = card.notes.get(note.key) or wording.knowledge.phrases[f"note-{note.key}"]
        return wording.markdown(template, note.words)

    def _withheld(self, finding: Finding) -> str:
        if not finding.unread:
            return ""
        phrase = "withheld-order" if finding.is_order_withheld else "unread-also"
        return self.story.line(phrase, keys=self.story.keys(finding.unread))

    def _by_hand(self, orders: Iterable[OrderTemplate]) -> str:
        titles = listed([order.title for order in orders])
        return self.story.line("order-by-hand", orders=titles) if titles else ""

    def _entries(self, finding: Finding) -> list[str]:
        """Return the other entries the finding rests on, each once, in our words."""
        wording = self.story.wording
        told = self.story.told
        lines = []
        for entry in finding.evidence:
            if entry.reference in told:
                continue
            is_coded = entry.label in wording.knowledge.value_sets
            label = (
                wording.term(Term(kind="value-set", id=entry.label)) if is_coded else entry.label
            )
            if entry.day is None:
                lines.append(self.story.line("fact-entry-undated", label=label))
            else:
                lines.append(self.story.line("fact-entry", label=label, date=entry.day))
        return list(dict.fromkeys(lines))

    def _looked_at(self, finding: Finding) -> list[str]:
        passed = self.story.passed_over(finding.passed_over)
        return [*passed, *self.story.looked_at(finding.unread)]

    def _rests_on(self, card: CardTemplate) -> list[str]:
        sources = self.story.wording.knowledge.sources
        lines = [self._cited(sources[key]) for key in card.sources]
        if card.claims:
            lines.append(self.story.line("limits-claims", claims=listed(list(card.claims))))
        return lines

    def _cited(self, source: Source) -> str:
        """Return a source with its strength in words, as a link where this site allows it."""
        cite = escape_markdown(source.cite)
        if self.options.may_link(source.url):
            url = source.url.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
            cite = f"[{cite}]({url})"
        return f"{cite} - {escape_markdown(source.strength)}"

    @cached_property
    def _limits(self) -> str:
        phrases = self.story.wording.knowledge.phrases
        case = self.story.assessment.case
        sentences = [phrases["limits-always"]]
        missing = [phrase for phrase in _ASKED if case and not _is_coded(case, _ASKED[phrase])]
        if case is None:
            sentences.append(phrases["limits-ask"])
        if missing:
            signs = listed([phrases[phrase] for phrase in missing])
            sentences.append(self.story.line("limits-not-coded", signs=signs))
        if any(finding.is_faulty for finding in self.story.assessment.findings):
            sentences.append(phrases["limits-faulty"])
        if self.options.is_unreviewed:
            sentences.append(phrases["limits-unreviewed"])
        return " ".join(sentences)

    def _headed(self, heading: str, text: str) -> str:
        return f"**{self.story.wording.knowledge.phrases[heading]}.** {text}" if text else ""

    def _list(self, heading: str, lines: list[str]) -> str:
        if not lines:
            return ""
        title = self.story.wording.knowledge.phrases[heading]
        return "\n".join([f"**{title}**", "", *(f"- {line}" for line in lines)])


def _is_coded(case: Case, concepts: frozenset[str]) -> bool:
    """Return whether any coded finding since the operation answers the question."""
    observed = any(
        observation.concepts & concepts
        and observation.effective is not None
        and case.operation.dss(observation.effective.latest) >= 0
        for observation in case.chart.observations
    )
    coded = any(
        condition.is_active
        and condition.concepts & concepts
        and condition.when is not None
        and case.operation.dss(condition.when.latest) >= 0
        for condition in case.chart.conditions
    )
    return observed or coded


def _orders(finding: Finding) -> frozenset[str]:
    """Return the orders the card proposes."""
    if finding.is_order_withheld:
        return frozenset()
    return frozenset(order for proposal in finding.proposals for order in proposal.orders)
