"""What does the service answer to the patient of a vignette?  Runs the reader and the core."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from cds_service.chart.facts import Chart
from cds_service.chart.supply import State, Supply
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment, Finding, Proposal
from cds_service.evaluation.selection import SWITCHED_OFF, without
from cds_service.fhir.answers import KeyAnswer
from cds_service.fhir.reading import read_chart
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.vignettes.cases import Vignette
from cds_service.vignettes.charts import BASE, PATIENT_ID, Facts, Resource, expand

AS_OF = date(2026, 6, 15)
"""The day of every vignette."""
_OPTIONS = CardOptions(
    client_id="ehr-a", public_base_url="https://cds.example", identity_key=b"key", max_cards=40
)
_CONTEXT = CardContext(patient_id=PATIENT_ID, user_id="Practitioner/1")


def answers(facts: Facts, resources: Mapping[str, Sequence[Resource]]) -> dict[str, KeyAnswer]:
    """Return *resources* as the gateway hands them to the reader."""
    found = {}
    for key, entries in resources.items():
        if key in facts.get("not supplied", ()):
            found[key] = KeyAnswer.not_supplied("the FHIR server did not answer in time")
            continue
        state = State.SUPPLIED if entries else State.EMPTY
        reason = None
        if key in facts.get("supplied in part", ()):
            state, reason = State.PARTIAL, "only some pages could be read"
        found[key] = KeyAnswer(
            supply=Supply(state=state, reason=reason),
            resources=tuple(json.dumps(entry).encode() for entry in entries),
        )
    return found


def chart_of(
    facts: Facts,
    knowledge: Knowledge,
    *,
    seed: int = 0,
    as_of: date = AS_OF,
    zone: str = "UTC",
) -> Chart:
    """Return the chart that the reader makes of *facts*."""
    resources = expand(facts, as_of, seed)
    return read_answers(answers(facts, resources), knowledge, as_of=as_of, zone=zone)


def read_answers(
    found: Mapping[str, KeyAnswer], knowledge: Knowledge, *, as_of: date = AS_OF, zone: str = "UTC"
) -> Chart:
    """Return the chart that the reader makes of what the gateway found."""
    return read_chart(
        found,
        patient_id=PATIENT_ID,
        as_of=as_of,
        zone=ZoneInfo(zone),
        knowledge=knowledge,
        bases=frozenset({BASE}),
        fhir_server=BASE,
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """An assessment and, when asked for, its cards."""

    assessment: Assessment
    knowledge: Knowledge

    @property
    def shown(self) -> Mapping[str, Finding]:
        """Return the shown findings by card id, in order."""
        return {finding.card: finding for finding in self.assessment.shown}

    def cards(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the cards as a client would get them, without a limit on their number."""
        cards = render_cards(self.assessment, self.knowledge, _OPTIONS, _CONTEXT)
        return dict(zip(self.shown, cards, strict=True))

    def card(self, card: str) -> Mapping[str, Any]:
        """Return one card as a client would get it."""
        return self.cards()[card]


def answered(vignette: Vignette, knowledge: Knowledge, as_of: date = AS_OF) -> Answered:
    """Return what the service answers to the patient of *vignette*, whose chart opens *as_of*."""
    chart = chart_of(vignette.facts, knowledge, seed=vignette.seed, as_of=as_of)
    switched_off = {card for card, words in knowledge.cards.items() if not words.is_enabled}
    assessment = without(assess(chart, knowledge, as_of), dict.fromkeys(switched_off, SWITCHED_OFF))
    return Answered(assessment, knowledge)


def offered(finding: Finding) -> list[str]:
    """Return the suggestions a card offers, in the words of a vignette; none if they are held."""
    proposals = () if finding.is_order_withheld else finding.proposals
    return sorted(map(_order_text, proposals))


def _order_text(proposal: Proposal) -> str:
    recommended = ", recommended" if proposal.is_recommended else ""
    return f"{' + '.join(proposal.orders)}, {proposal.priority}{recommended}"
