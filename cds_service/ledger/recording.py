"""What of a call goes into the ledger: verdicts, reasons and references; no content of a chart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import structs

from cds_service.chart.facts import Chart
from cds_service.evaluation import selection
from cds_service.evaluation.assessment import Assessment, Finding, Outcome, Verdict
from cds_service.evaluation.rules.catalog import DATA_READ
from cds_service.knowledge.model import Knowledge
from cds_service.ledger import records
from cds_service.ledger.records import CallRecord, ReasonedRow, Showing, State, Why
from cds_service.ledger.snoozes import ACCEPTED, Snooze, held_cards
from cds_service.rendering.cards import Rendered
from cds_service.rendering.identity import CardNames

_DAYS = re.compile(r"\bday -?\d+(?= since surgery)|-?\d+ days(?= since surgery)")
"""A reason may name the day since surgery, from which the date of the operation follows."""
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,40}/[A-Za-z0-9._-]{1,64}")
_SHORTEST_TELLING_ID = 4
_REMEMBERED = 4_096
_STATES: Mapping[str, tuple[State, Why]] = {
    selection.SWITCHED_OFF: (State.SWITCHED_OFF, Why.SITE),
    selection.SILENT: (State.SILENT, Why.SILENT_CARD),
    selection.OVERRIDDEN: (State.HELD_BACK, Why.OVERRIDDEN),
    selection.ACCEPTED: (State.HELD_BACK, Why.ACCEPTED),
    selection.SHOWN_LATELY: (State.HELD_BACK, Why.SHOWN_LATELY),
    selection.INPATIENT: (State.HELD_BACK, Why.INPATIENT),
    selection.WITHHELD: (State.WITHHELD_FROM_ROLE, Why.ROLE),
    selection.ALONE: (State.HELD_BACK, Why.EMERGENCY),
    selection.HOSPICE: (State.HELD_BACK, Why.HOSPICE),
}
_NOT_ABOUT_THEM = frozenset({Outcome.NOT_APPLICABLE, Outcome.NO_OPERATION})


def held_back(
    assessment: Assessment,
    snoozes: Sequence[Snooze],
    names: CardNames,
    *,
    operation: str | None,
    knowledge: Knowledge,
) -> dict[str, str]:
    """Return the cards that earlier answers hold back today, with why in our words."""
    if not snoozes:
        return {}
    wanted = {snooze.card for snooze in snoozes}
    met = (f for f in assessment.findings if f.verdict is Verdict.MET and f.card in wanted)
    held = held_cards(
        snoozes,
        {finding.card: names(finding) for finding in met},
        operation=operation,
        as_of=assessment.as_of,
        knowledge=knowledge,
    )
    return {
        card: selection.ACCEPTED if snooze.reason == ACCEPTED else selection.OVERRIDDEN
        for card, snooze in held.items()
    }


def completed(
    call: CallRecord,
    chart: Chart,
    assessment: Assessment,
    rendered: Rendered,
    showings: tuple[Showing, ...],
) -> CallRecord:
    """Return *call* with what was decided."""
    patient_id = chart.patient.reference.partition("/")[2]
    return structs.replace(
        call,
        outcome=_outcome(assessment, showings),
        unread=dict(assessment.unread),
        set_aside=dict(Counter([e.reason for e in chart.set_aside])) if chart.set_aside else {},
        unmapped=chart.unmapped,
        faulty_rules=tuple([f.card for f in assessment.findings if f.is_faulty]),
        reasoning=tuple([_reasoned(finding, patient_id) for finding in rendered.findings]),
        showings=showings,
    )


def showings_of(
    rendered: Rendered, *, operation: str | None, is_silent: bool
) -> tuple[Showing, ...]:
    """Return every card whose row is met, shown or not; *is_silent*: the patient sees none."""
    cards = iter(rendered.cards)
    showings: list[Showing] = []
    for finding in rendered.findings:
        if finding.verdict is not Verdict.MET:
            continue
        is_sent = finding.is_shown and finding.card not in rendered.cut
        card = next(cards, {}) if is_sent else {}
        state, why = _state(finding, is_cut=not is_sent, is_silent=is_silent)
        showings.append(
            Showing(
                card=finding.card,
                card_uuid=rendered.names[finding.card],
                indicator=str(card.get("indicator") or finding.indicator.value),
                state=state,
                why=why,
                operation=operation,
                suggestions=_suggestions(card, rendered.orders),
            )
        )
    return tuple(showings)


def _state(finding: Finding, *, is_cut: bool, is_silent: bool) -> tuple[State, Why | None]:
    if not finding.is_shown:
        return _STATES.get(finding.held_by or "", (State.HELD_BACK, None))
    if is_cut:
        return State.CUT, Why.CAP
    return (State.SILENT, Why.SILENT_PATIENT) if is_silent else (State.SHOWN, None)


def _suggestions(
    card: Mapping[str, object], orders: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the orders behind each suggestion of *card*."""
    sent = card.get("suggestions")
    return {each["uuid"]: orders[each["uuid"]] for each in sent} if isinstance(sent, list) else {}


def _outcome(assessment: Assessment, showings: tuple[Showing, ...]) -> records.Outcome:
    shown = {
        showing.card
        for showing in showings
        if showing.state is State.SHOWN or showing.why is Why.SILENT_PATIENT
    }
    if shown - {DATA_READ}:
        return records.Outcome.FIRED
    if shown:
        return records.Outcome.INSUFFICIENT_DATA
    if assessment.outcome in _NOT_ABOUT_THEM:
        return records.Outcome.NOT_APPLICABLE
    return records.Outcome.SUPPRESSED if showings else records.Outcome.NOTHING_TO_SAY


def _reasoned(finding: Finding, patient_id: str) -> ReasonedRow:
    has_more = finding.evidence or finding.held_by or finding.unread or finding.is_order_withheld
    if not has_more:
        return _bare_row(finding.card, finding.verdict, finding.reasons)
    references = dict.fromkeys([entry.reference for entry in finding.evidence])
    return ReasonedRow(
        card=finding.card,
        verdict=finding.verdict,
        reasons=tuple(map(_without_days, finding.reasons)),
        held_by=finding.held_by,
        unread=tuple(sorted(finding.unread)),
        is_order_withheld=finding.is_order_withheld,
        evidence=tuple([_without(patient_id, each) for each in references if _is_kept(each)]),
    )


@lru_cache(maxsize=_REMEMBERED)
def _bare_row(card: str, verdict: Verdict, reasons: tuple[str, ...]) -> ReasonedRow:
    """Return a row that names nothing of a chart; most come again and again."""
    return ReasonedRow(card=card, verdict=verdict, reasons=tuple(map(_without_days, reasons)))


def _without(patient_id: str, reference: str) -> str:
    """Return *reference* without the patient's id, which some servers build into other ids.

    An id of a few digits is in too many others to tell anything.
    """
    if len(patient_id) < _SHORTEST_TELLING_ID:
        return reference
    return reference.replace(patient_id, "*")


@lru_cache(maxsize=_REMEMBERED)
def _without_days(reason: str) -> str:
    """Return one of our reasons without the day since surgery; most come again and again."""
    return _DAYS.sub("this day", reason)


def _is_kept(reference: str) -> bool:
    return not reference.startswith("Patient/") and _REFERENCE.fullmatch(reference) is not None
