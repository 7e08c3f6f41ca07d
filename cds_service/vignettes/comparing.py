"""Which made-up patients get another answer when the knowledge changes, and how it differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from cds_service.evaluation.assessment import Finding
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.running import AS_OF, Answered, answered, offered


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswer:
    """A vignette whose answer differs, and the differences in words."""

    title: str
    differences: tuple[str, ...]


def changed_answers(
    vignettes: Iterable[Vignette], old: Knowledge, new: Knowledge
) -> Iterator[ChangedAnswer]:
    """Yield each of *vignettes* that *old* and *new* answer differently.

    Time:
        The charts open on the day of the vignettes, and on each later day from which a number of
        either counts; the first day with a difference is told.
    """
    days = _days(old, new)
    for vignette in vignettes:
        for day in days:
            was, now = answered(vignette, old, day), answered(vignette, new, day)
            differences = tuple(_differences(was, now))
            if differences:
                since = "" if day == AS_OF else f" (from {day} on)"
                yield ChangedAnswer(title=f"{vignette.title}{since}", differences=differences)
                break


def _days(*contents: Knowledge) -> list[date]:
    """Return the days on which the contents could differ, the day of the vignettes first."""
    later = {
        value.from_day
        for knowledge in contents
        for threshold in knowledge.thresholds.values()
        for value in threshold.values
        if value.from_day > AS_OF
    }
    return [AS_OF, *sorted(later)]


def _differences(before: Answered, after: Answered) -> Iterator[str]:
    yield from (f"{card} is no longer shown" for card in before.shown if card not in after.shown)
    yield from (f"{card} is now shown" for card in after.shown if card not in before.shown)
    old_cards, new_cards = before.cards(), after.cards()
    for card, finding in before.shown.items():
        if card in after.shown:
            yield from _card_differences(card, finding, after.shown[card])
            yield from _word_differences(card, old_cards[card], new_cards[card])
    yield from _row_differences(before, after)


def _card_differences(card: str, before: Finding, after: Finding) -> Iterator[str]:
    if before.indicator is not after.indicator:
        yield f"{card} was {before.indicator.value}, is now {after.indicator.value}"
    was, now = offered(before), offered(after)
    if was != now:
        yield f"{card} offered {_listed(was)}, now offers {_listed(now)}"


def _word_differences(card: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if was["summary"] != now["summary"]:
        yield f"{card} was headed '{was['summary']}', is now headed '{now['summary']}'"
    elif was["detail"] != now["detail"]:
        yield f"{card} explains itself in other words"


def _row_differences(before: Answered, after: Answered) -> Iterator[str]:
    """Tell rows that answer differently although their card is shown in neither answer."""
    rows = {finding.card: finding for finding in before.assessment.findings}
    for finding in after.assessment.findings:
        old = rows.get(finding.card)
        is_told = finding.card in before.shown or finding.card in after.shown
        if old is not None and old.verdict is not finding.verdict and not is_told:
            was, now = old.verdict.value, finding.verdict.value
            yield f"the row {finding.card} was '{was}', is now '{now}'"


def _listed(orders: list[str]) -> str:
    return "; ".join(orders) or "no order"
