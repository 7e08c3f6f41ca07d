"""The test EHR: whose charts it holds, and what it does when a clinician acts on a card.

For demonstrations with synthetic patients on this machine only.  The service is reached over HTTP
like by any EHR; nothing here is part of what runs at a site.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from cds_service.demo.fhir_server import AccessTokens
from cds_service.demo.hook_client import Exchange, HookClient
from cds_service.demo.insight import Insight
from cds_service.demo.people import People
from cds_service.demo.personas import Persona, Resource, load_personas
from cds_service.demo.prefetch import USER, Manner, Opening, RequestWriter
from cds_service.demo.store import ChartStore
from cds_service.knowledge.model import Knowledge
from cds_service.trust.demo_profile import DEMO_ISSUERS

MOST_OPENINGS = 200


class NotShownError(Exception):
    """The card or suggestion was not shown by this opening of a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a clinician was shown by one opening of a chart."""

    patient_id: str
    as_of: date
    manner: Manner
    cards: Mapping[str, Resource]


@dataclass(frozen=True, kw_only=True)
class DemoEhr:
    """The rooms of the test EHR."""

    client: HookClient
    knowledge: Knowledge
    fhir_base: str
    now: Callable[[], datetime]
    store: ChartStore
    people: People
    forget_answers: Callable[[], object] = bool
    """Makes the service forget what was accepted and overridden here."""
    tokens: AccessTokens = field(default_factory=AccessTokens)
    shown: OrderedDict[str, Shown] = field(default_factory=OrderedDict)
    opened: dict[str, tuple[date, Persona]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def today_utc(self) -> date:
        """Return the real calendar day, in UTC like the service's."""
        return self.now().astimezone(UTC).date()

    @property
    def personas(self) -> tuple[Persona, ...]:
        """Return the personas with the dates of today."""
        return load_personas(self.today_utc)

    def person(self, patient_id: str) -> Persona | None:
        """Return whom this id means, with the chart in ``store``; None if there is nobody.

        Raises:
            ChartServerError: The chart is on a FHIR server that did not give it.
        """
        with self.lock:
            known = self.opened.get(patient_id)
        if known is not None and (self.people.server or known[0] == self.today_utc):
            return known[1]
        person = self.people.chart(patient_id)
        if person is not None:
            if self.people.server:
                self.store.replace_chart(patient_id, person.resources)
            with self.lock:
                self.opened[patient_id] = (self.today_utc, person)
        return person

    def start_afresh(self) -> None:
        """Forget every order placed here, every answer to a card, and every copy of a chart."""
        self.forget_answers()
        with self.lock:
            self.opened.clear()
        self.store.replace_all(r for persona in self.personas for r in persona.resources)

    @property
    def writer(self) -> RequestWriter:
        """Return the writer of hook requests."""
        return RequestWriter(store=self.store, tokens=self.tokens, fhir_base=self.fhir_base)

    @property
    def insight(self) -> Insight:
        """Return the core, looking at these charts."""
        return Insight(store=self.store, knowledge=self.knowledge)

    def client_in(self, manner: Manner) -> HookClient:
        """Return the client that the service knows as an EHR of this kind."""
        return self.client.known_as(DEMO_ISSUERS[manner.value])

    def open_chart(self, opening: Opening) -> Exchange:
        """Fire the hook for one opening and remember the cards shown."""
        client = self.client_in(opening.manner)
        exchange = client.call(self.writer.request(opening, client.templates()))
        cards = {str(card.get("uuid")): card for card in exchange.answer.get("cards", [])}
        shown = Shown(
            patient_id=opening.patient_id, as_of=opening.as_of, manner=opening.manner, cards=cards
        )
        with self.lock:
            self.shown[str(opening.hook_instance)] = shown
            while len(self.shown) > MOST_OPENINGS:
                self.shown.popitem(last=False)
        return exchange

    def accept(self, hook_instance: str, card_id: str, suggestion_id: str) -> Resource:
        """Put the orders of a suggestion into the chart and tell the service."""
        shown, card = self._card(hook_instance, card_id)
        suggestions = {str(s.get("uuid")): s for s in card.get("suggestions", [])}
        if suggestion_id not in suggestions:
            raise NotShownError
        orders = [
            self.store.create(_signed(action["resource"], shown.as_of))
            for action in suggestions[suggestion_id].get("actions", [])
            if action.get("type") == "create"
        ]
        item = {"outcome": "accepted", "acceptedSuggestions": [{"id": suggestion_id}]}
        return {"orders": orders, **self._feedback(shown.manner, card_id, item)}

    def override(
        self, hook_instance: str, card_id: str, reason: Resource, comment: str
    ) -> Resource:
        """Tell the service why a card was set aside."""
        shown, _ = self._card(hook_instance, card_id)
        override: Resource = {"reason": reason} if reason else {}
        if comment:
            override["userComment"] = comment
        item: Resource = {"outcome": "overridden"}
        if override:
            item["overrideReason"] = override
        return self._feedback(shown.manner, card_id, item)

    def _card(self, hook_instance: str, card_id: str) -> tuple[Shown, Resource]:
        shown = self.shown.get(hook_instance)
        if shown is None or card_id not in shown.cards:
            raise NotShownError
        return shown, shown.cards[card_id]

    def _feedback(self, manner: Manner, card_id: str, item: Resource) -> Resource:
        moment = self.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        told = {"card": card_id, "outcomeTimestamp": moment, **item}
        exchange = self.client_in(manner).feedback(told)
        return {"feedback": exchange.for_people()}


def _signed(order: Resource, as_of: date) -> Resource:
    """Return an order as the clinician's signature leaves it in the chart."""
    return {
        **order,
        "status": "active",
        "intent": "order",
        "authoredOn": as_of.isoformat(),
        "requester": {"reference": USER},
    }
