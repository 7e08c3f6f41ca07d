"""What does the card's detail say?  What to do and why first, everything else after it.

The blocks: action and why now; what is in the chart; what else was looked at; cautions; likely
explanations; what would change the advice; what it rests on; limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from cds_service.evaluation.assessment import Evidence, Finding, Indicator, Note, Term
from cds_service.evaluation.case import Case
from cds_service.knowledge.model import CardTemplate, OrderTemplate
from cds_service.rendering.forms import CardForm, Forms, note_text
from cds_service.rendering.story import Story
from cds_service.rendering.wording import headed, itemised, listed, number

_ASKED = {
    "sign-bladder": frozenset(
        {"pvr", "urinary-retention", "urinary-incontinence", "incomplete-bladder-emptying"}
    ),
    "sign-saddle": frozenset({"saddle-sensation", "saddle-numbness"}),
    "sign-strength": frozenset(
        {"mrc-grade", "motor-weakness", "motor-paresis", "motor-paraplegia"}
    ),
}
"""What every card reminds of, and the findings that answer it."""
_SHOWN_EXPLANATIONS = 3
_SHOWN_EARLIER = 3
_SHOWN_ALIKE = 3


class Told(Struct, frozen=True, kw_only=True):
    """What a card says beside its own words.

    ``by_hand``: the orders this site's EHR has no code for.  ``again``: orders that an earlier card
    offers too.  ``cut``: the cards left out after this one.
    """

    by_hand: tuple[OrderTemplate, ...] = ()
    again: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()


class Explanation:
    """Writes the details of the cards of one answer; what all of them say is written once."""

    def __init__(self, story: Story, forms: Forms) -> None:
        self._story = story
        self._forms = forms
        self._phrases = forms.knowledge.phrases
        self._chart = self._list("heading-chart", story.chart)
        self._looked_at = self._list("heading-looked-at", story.looked_at())
        likeliest = story.assessment.explanations[:_SHOWN_EXPLANATIONS]
        self._explanations = self._list("heading-explanations", story.explained(likeliest))
        self._limits = headed(self._phrases["heading-limits"], self._limits_line())

    def detail(self, finding: Finding, form: CardForm, told: Told) -> str:
        """Return the Markdown of *finding*, whose card has this *form*."""
        words, text = finding.words, self._story.wording.markdown
        is_critical = finding.indicator is Indicator.CRITICAL  # nothing delays what to do
        blocks = [
            text(form.action, words),
            self._unread(finding, form) if finding.unread else "",
            self._by_hand(told.by_hand) if told.by_hand else "",
            text(form.why, words),
            *[self._note(form.template, note) for note in finding.notes],
            text(form.caveat, words) if form.caveat else "",
            *(() if is_critical else told.again),
            self._chart_and(finding.evidence),
            *(told.again if is_critical else ()),
            self._looked_at_for(finding),
            self._list("heading-cautions", self._story.cautions(_orders(finding))),
            self._explanations,
            headed(self._phrases["heading-change"], text(form.change, words)),
            form.basis,
            *told.cut,
            self._limits,
            text(form.ending, words) if form.ending else "",
        ]
        return "\n\n".join(filter(None, blocks))

    def _list(self, heading: str, lines: list[str]) -> str:
        return itemised(self._phrases[heading], lines)

    def _note(self, card: CardTemplate, note: Note) -> str:
        return self._story.wording.markdown(note_text(card, note, self._phrases), note.words)

    def _unread(self, finding: Finding, form: CardForm) -> str:
        phrase = "unread-also"
        if finding.is_order_withheld:
            phrase = "withheld-order" if form.order_note else "unread-first"
        return self._story.line(phrase, keys=self._story.keys(finding.unread))

    def _by_hand(self, orders: Iterable[OrderTemplate]) -> str:
        titles = listed([order.title for order in orders])
        return self._story.line("order-by-hand", orders=titles)

    def _chart_and(self, evidence: Iterable[Evidence]) -> str:
        """Return what is in the chart, with the other entries that the finding rests on."""
        told = self._story.told
        others = self._entries([entry for entry in evidence if entry.reference not in told])
        if not others:
            return self._chart
        return self._list("heading-chart", [*self._story.chart, *others])

    def _entries(self, entries: Sequence[Evidence]) -> list[str]:
        """Return a line for each entry; many of one kind (a drug renewed monthly) share one."""
        if len(entries) <= _SHOWN_ALIKE:
            return list(dict.fromkeys(map(self._entry, entries)))
        days: dict[str, set[str]] = {}
        for entry in entries:
            days.setdefault(entry.label, set()).update(_day_of(entry))
        many = {label: written for label, written in days.items() if len(written) > _SHOWN_ALIKE}
        lines = [
            self._alike(entry.label, many[entry.label])
            if entry.label in many and _day_of(entry)
            else self._entry(entry)
            for entry in entries
        ]
        return list(dict.fromkeys(lines))

    def _alike(self, label: str, days: Iterable[str]) -> str:
        """Return "Opioid (2026-06-01, 2026-05-01, 2026-04-01 and 9 more)"."""
        wording = self._story.wording
        if label in wording.knowledge.value_sets:
            label = wording.term(Term(kind="value-set", id=label))
        dates = wording.listed(sorted(days, reverse=True), _SHOWN_ALIKE)
        return self._story.line("fact-entry", label=label, date=dates)

    def _entry(self, entry: Evidence) -> str:
        """Return "C-reactive protein: 12 mg/L (2026-06-01); before: 4 on 2026-05-20"."""
        if not entry.earlier:
            return self._dated(entry)
        knowledge = self._story.wording.knowledge
        shown = entry.earlier[-_SHOWN_EARLIER:]
        scores = [knowledge.said("fact-score", score=number(value), day=on) for on, value in shown]
        return self._dated(entry) + self._story.line("fact-before", scores=listed(scores))

    def _dated(self, entry: Evidence) -> str:
        """Return "C-reactive protein: 12 mg/L (2026-06-01; sent as 1.2 mg/dL)"."""
        wording, label, line = self._story.wording, entry.label, self._story.line
        if label in wording.knowledge.value_sets:
            label = wording.term(Term(kind="value-set", id=label))
        if entry.value is not None:
            unit = wording.knowledge.phrases.get(f"unit-{entry.label}", "")
            label = f"{label}: {number(entry.value)} {unit}"
        if entry.day is None:
            if entry.written is None:
                return line("fact-entry-undated", label=label)
            return line("fact-entry", label=label, date=entry.written)
        if entry.converted_from is None:
            return line("fact-entry", label=label, date=entry.day)
        original = entry.converted_from
        return line("fact-entry-converted", label=label, date=entry.day, original=original)

    def _looked_at_for(self, finding: Finding) -> str:
        if not finding.passed_over and not finding.unread:
            return self._looked_at
        passed = self._story.passed_over(finding.passed_over)
        return self._list("heading-looked-at", passed + self._story.looked_at(finding.unread))

    def _limits_line(self) -> str:
        assessment, phrases = self._story.assessment, self._phrases
        sentences = [phrases["limits-always"]]
        if assessment.case is None:
            sentences.append(phrases["limits-ask"])
        else:
            sentences += self._not_coded(assessment.case)
        faulty = [finding for finding in assessment.findings if finding.is_faulty]
        if faulty:
            sentences.append(phrases["limits-faulty"])
        if self._forms.options.is_unreviewed:
            sentences.append(phrases["limits-unreviewed"])
        return " ".join(sentences)

    def _not_coded(self, case: Case) -> list[str]:
        """Return what to ask, because no finding says it or the one that does was not used."""
        open_ones = _not_told(_told(case))
        seen = frozenset(name for entry in case.chart.set_aside for name in entry.concepts)
        missing = _not_told(seen, open_ones)
        unused = [phrase for phrase in open_ones if phrase not in missing]
        not_found = "limits-not-read" if case.signs.unread else "limits-not-coded"
        asked = {not_found: missing, "limits-not-used": unused}
        return [
            self._story.line(key, signs=listed([self._phrases[phrase] for phrase in signs]))
            for key, signs in asked.items()
            if signs
        ]


def _day_of(entry: Evidence) -> tuple[str, ...]:
    """Return the day of an entry that is told by its label and day alone; else nothing."""
    if entry.value is not None or entry.earlier or entry.converted_from is not None:
        return ()
    if entry.day is not None:
        return (entry.day.isoformat(),)
    return () if entry.written is None else (entry.written,)


def _told(case: Case) -> frozenset[str]:
    """Return what the entries since the operation are about; one without a date may be of it.

    Time:
        An operation dated to a month or year counts from its first possible day.
    """
    since = case.first_possible_day
    told: set[str] = set()
    for observation in case.chart.observations:
        if observation.effective is None or observation.effective.latest >= since:
            told |= observation.concepts
    for condition in case.chart.conditions:
        if condition.is_active and (condition.when is None or condition.when.latest >= since):
            told |= condition.concepts
    return frozenset(told)


def _not_told(told: frozenset[str], asked: Iterable[str] = tuple(_ASKED)) -> list[str]:
    """Return the phrases of *asked* that nothing of *told* answers."""
    return [phrase for phrase in asked if told.isdisjoint(_ASKED[phrase])]


def _orders(finding: Finding) -> frozenset[str]:
    """Return the orders the card proposes."""
    if finding.is_order_withheld:
        return frozenset()
    return frozenset([order for proposal in finding.proposals for order in proposal.orders])
