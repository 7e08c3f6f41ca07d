"""How does a proposal become a suggestion with draft ServiceRequests?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.evaluation.episode import Operation
from cds_service.knowledge.model import SYSTEM_URIS, CardTemplate, Knowledge, OrderTemplate
from cds_service.rendering.identity import suggestion_uuid
from cds_service.rendering.options import CardContext, CardOptions
from cds_service.rendering.placing import Offer, Place, order_template
from cds_service.rendering.wording import Wording, listed
from cds_service.values import Side

Json = dict[str, object]

LABEL_LIMIT = 80
_ROUTINE = "routine"
_VISIT_CATEGORY = "http://terminology.hl7.org/CodeSystem/medicationrequest-category"
_CATEGORIES: Mapping[str, tuple[str, str, str]] = {
    "outpatient": (_VISIT_CATEGORY, "outpatient", "Outpatient"),
    "inpatient": (_VISIT_CATEGORY, "inpatient", "Inpatient"),
}
"""Categories that say where an order is carried out, in place of what kind of order it is."""
_MOST_REFERENCES = 10
_ON_THE_SERVER = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-._]{1,64}", re.ASCII)
_REQUESTERS = ("Practitioner/", "PractitionerRole/")
_SIDES: Mapping[Side, str] = {
    Side.LEFT: "side-left",
    Side.RIGHT: "side-right",
    Side.BOTH: "side-both",
}


@dataclass(frozen=True, slots=True)
class OrderWriter:
    """Writes the suggestions of one card."""

    knowledge: Knowledge
    options: CardOptions
    context: CardContext
    wording: Wording
    operation: Operation | None = None
    """The index operation: its level belongs to the site, its entry to the facts."""

    def suggestion(self, finding: Finding, offer: Offer, card: UUID, summary: str) -> Json:
        """Return one suggestion: every order of *offer*, taken together."""
        proposal = offer.proposal
        first = offer.places[0].entry
        local_code = f"{first.system}|{first.code}" if first and offer.is_second_choice else ""
        is_named = first is not None and offer.names_entry and len(offer.places) == 1
        templates = [self.order(place.order) for place in offer.places]
        suggestion: Json = {
            "label": first.display if first and is_named else _label(templates),
            "uuid": str(suggestion_uuid(card, proposal, local_code)),
            "actions": [
                {
                    "type": "create",
                    "description": self._description(offer, place),
                    "resource": self._request(finding, proposal, place, summary),
                }
                for place in offer.places
            ],
        }
        if proposal.is_recommended:
            suggestion["isRecommended"] = True
        return suggestion

    def order(self, order_id: str) -> OrderTemplate:
        """Return the order's template, in the form this client's site uses."""
        return order_template(order_id, self.knowledge, self.options)

    def _description(self, offer: Offer, place: Place) -> str:
        """Return what is ordered, where, how soon and when: some EHRs show nothing else."""
        phrases, proposal = self.knowledge.phrases, offer.proposal
        parts = [self._named(offer, place)]
        if proposal.side is not None and proposal.side in _SIDES:
            parts.append(phrases[_SIDES[proposal.side]])
        if proposal.priority != _ROUTINE:
            parts.append(phrases[f"action-{proposal.priority}"])
        if proposal.occurrence and proposal.occurrence > self.wording.as_of:
            day = proposal.occurrence.isoformat()
            parts.append(phrases["action-from"].replace("{date}", day))
        return ", ".join(parts)

    def _named(self, offer: Offer, place: Place) -> str:
        """Return the order's words; an order set says its name and what is in it."""
        entry, words = place.entry, self.order(place.order).description
        if entry and place.covers:
            titles = [self.order(order).title for order in (place.order, *place.covers)]
            words = self.knowledge.phrases["action-order-set"]
            return words.replace("{orders}", listed(titles)).replace("{entry}", entry.display)
        return f"{words} ({entry.display})" if entry and offer.names_entry else words

    def _request(
        self,
        finding: Finding,
        proposal: Proposal,
        place: Place,
        summary: str,
    ) -> Json:
        template, entry = self.order(place.order), place.entry
        request: Json = {
            "resourceType": "ServiceRequest",
            "status": self.options.request_status,
            "intent": self.options.intent,
            "priority": proposal.priority,
            "code": self._code(template, place),
            "subject": self._reference(f"Patient/{self.context.patient_id}"),
            "note": [{"text": self._note(finding, summary)}],
        }
        if entry and entry.instructions:
            request["note"] = [{"text": self._note(finding, summary)}, {"text": entry.instructions}]
        category = _CATEGORIES.get(self.options.order_category, template.category)
        if category and self.options.order_category != "none":
            request["category"] = [{"coding": [_coding(category)]}]
        if self.context.encounter_id:
            request["encounter"] = self._reference(f"Encounter/{self.context.encounter_id}")
        if self.context.user_id and self.context.user_id.startswith(_REQUESTERS):
            request["requester"] = self._reference(self.context.user_id)
        if proposal.occurrence:
            request["occurrenceDateTime"] = proposal.occurrence.isoformat()
        body_site = self._body_site(template, proposal.side)
        if body_site:
            request["bodySite"] = body_site
        request.update(self._reason(finding))
        references = self._references(finding)
        if references:
            request["supportingInfo"] = references[:_MOST_REFERENCES]
        return request

    def _reference(self, relative: str) -> Json:
        """Return a reference in the form this client wants."""
        base = self.context.fhir_server
        if not self.options.uses_absolute_references or not base:
            return {"reference": relative}
        return {"reference": f"{base.rstrip('/')}/{relative}"}

    def _code(self, template: OrderTemplate, place: Place) -> Json:
        """Return the code: the site's own first, ours after it where the client wants them.

        An order set has the name the site gave it; the codes of one test in it would be wrong.
        """
        codings, text, entry = list(template.codings), template.text, place.entry
        if entry:
            keeps_ours = self.options.keeps_standard_codes and not place.covers
            local = (entry.system, entry.code, entry.display)
            codings = [local, *(codings if keeps_ours else [])]
            text = entry.display if place.covers else text
        code: Json = {"text": text}
        if codings:
            code["coding"] = [_coding(coding) for coding in codings]
        return code

    def _pointed(self, references: Iterable[str]) -> list[Json]:
        """Return *references* as FHIR writes them, each once.

        An entry that came without an id has only a name of ours, to which no order can point.
        """
        found = (reference for reference in references if _ON_THE_SERVER.fullmatch(reference))
        return [self._reference(reference) for reference in dict.fromkeys(found)]

    def _references(self, finding: Finding) -> list[Json]:
        """Return the operation and the entries the finding rests on."""
        operation = self.operation.references if self.operation else ()
        return self._pointed([*operation, *(entry.reference for entry in finding.evidence)])

    def _note(self, finding: Finding, summary: str) -> str:
        """Return the order's note: the numbers, the question, and that it is only proposed."""
        card = self.knowledge.cards[finding.card]
        question = text_of(card, "order-note", finding.variant)
        sentences = [summary if summary.endswith((".", "?")) else f"{summary}."]
        if question:
            sentences.append(self.wording.plain(question, finding.words))
        sentences.append(self.knowledge.phrases["order-note"])
        return " ".join(sentences)

    def _body_site(self, template: OrderTemplate, side: Side | None) -> list[Json]:
        """Return where, with the operated levels, and the side of it: R4 has no other place."""
        sites: list[Json] = []
        if template.body_site:
            sites.append({"coding": [_coding(template.body_site)]})
            if template.body_site[1] in self._lumbar_codes():
                sites += [
                    {"coding": [self._first_code(f"level-{level.lower()}")], "text": level}
                    for level in sorted(self.operation.levels if self.operation else ())
                    if f"level-{level.lower()}" in self.knowledge.value_sets
                ]
        if sites and side is not None and side in _SIDES:
            sites.append({"coding": [self._first_code(_SIDES[side])]})
        return sites

    def _lumbar_codes(self) -> frozenset[str]:
        return frozenset(code.code for code in self.knowledge.value_sets["site-lumbar"].codes)

    def _reason(self, finding: Finding) -> Json:
        """Return why: the condition on record, else words, else a code.

        Words stand where a code would claim a diagnosis or a side that nobody has recorded.
        """
        references = self._pointed(finding.reason_references)
        if references:
            return {"reasonReference": references}
        words = self.knowledge.phrases.get(f"reason-{finding.reason_code}")
        if words:
            return {"reasonCode": [{"text": words}]}
        if finding.reason_code:
            return {"reasonCode": [{"coding": [self._first_code(finding.reason_code)]}]}
        return {}

    def _first_code(self, value_set_id: str) -> Json:
        for code in self.knowledge.value_sets[value_set_id].codes:
            if code.is_enabled:
                return _coding((SYSTEM_URIS[code.system], code.code, code.display))
        raise KnowledgeError(
            f"cards/value-sets/{value_set_id}.yaml: an order needs one enabled code of this set. "
            "Enable one."
        )


def text_of(card: CardTemplate, block: str, variant: str) -> str | None:
    """Return a block of the card's text, in the form for *variant* if it has one."""
    return card.texts.get(f"{block}-{variant}") or card.texts.get(block)


def _coding(coding: tuple[str, str, str]) -> Json:
    system, code, display = coding
    return {"system": system, "code": code, "display": display}


def _label(templates: list[OrderTemplate]) -> str:
    """Return the words of the button, with "and n more" when the list is long."""
    titles = [template.title for template in templates]
    for most in range(len(titles), 0, -1):
        label = listed(titles, most)
        if len(label) <= LABEL_LIMIT:
            return label
    raise KnowledgeError(
        f"cards/orders/{templates[0].id}.yaml: the title is longer than {LABEL_LIMIT} characters. "
        "Use fewer words."
    )
