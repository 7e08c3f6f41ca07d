"""How does a proposal become a suggestion with draft ServiceRequests?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from cds_service.catalogue.orders import OrderEntry
from cds_service.errors import KnowledgeError
from cds_service.evaluation.assessment import Finding, Proposal
from cds_service.evaluation.episode import Operation
from cds_service.rendering.forms import SIDES, CardForm, Forms, Json, OrderForm, note_text
from cds_service.rendering.identity import suggestion_uuid
from cds_service.rendering.options import CardContext
from cds_service.rendering.placing import Offer, Place
from cds_service.rendering.wording import Wording, listed
from cds_service.values import Side

LABEL_LIMIT = 80
_ROUTINE = "routine"
_MOST_REFERENCES = 10
_ON_THE_SERVER = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-._]{1,64}", re.ASCII)
_REQUESTERS = ("Practitioner/", "PractitionerRole/")


class OrderWriter:
    """Writes the suggestions of the cards of one answer.

    *operation* is the index operation: its level belongs to the site, its entry to the facts.
    ``orders`` has the orders behind each suggestion written so far, by its uuid.
    """

    def __init__(
        self,
        forms: Forms,
        context: CardContext,
        wording: Wording,
        operation: Operation | None = None,
    ) -> None:
        self._forms = forms
        self._phrases = forms.knowledge.phrases
        self._wording = wording
        self._operation = operation
        server = context.fhir_server if forms.options.uses_absolute_references else None
        self._base = f"{server.rstrip('/')}/" if server else ""
        self._subject = self._reference(f"Patient/{context.patient_id}")
        self.orders: dict[str, tuple[str, ...]] = {}
        self._people: Json = {}
        if context.encounter_id:
            self._people["encounter"] = self._reference(f"Encounter/{context.encounter_id}")
        if context.user_id and context.user_id.startswith(_REQUESTERS):
            self._people["requester"] = self._reference(context.user_id)

    def suggestions(
        self, finding: Finding, offers: Sequence[Offer], card: str, say: Callable[[Place], str]
    ) -> list[Json]:
        """Return one suggestion for each of *offers*: all its orders, taken together.

        *card* is the uuid of the card, *say* gives the note of an order.
        """
        grounds = self._grounds(finding)
        return [self._suggestion(offer, card, say, grounds) for offer in offers]

    def note(
        self,
        form: CardForm,
        finding: Finding,
        summary: str,
        cautions: Callable[[frozenset[str]], Iterable[str]],
        place: Place,
    ) -> str:
        """Return the note of an order: the numbers, the question, that it is a proposal.

        *cautions* gives what whoever carries out some orders must know of this patient.
        """
        stop = "" if summary.endswith((".", "?")) else "."
        question = self._wording.plain(form.order_note, finding.words)
        orders = frozenset([place.form.id, *[covered.id for covered in place.covers]])
        more = [
            self._wording.plain(note_text(form.template, note, self._phrases), note.words)
            for note in finding.notes
            if note.is_for_order and (not note.orders or not orders.isdisjoint(note.orders))
        ]
        sentences = [
            f"{summary}{stop}",
            question,
            *more,
            *cautions(orders),
            self._phrases["order-note"],
        ]
        return " ".join(filter(None, sentences))

    def _suggestion(
        self, offer: Offer, card: str, say: Callable[[Place], str], grounds: Json
    ) -> Json:
        proposal, places = offer.proposal, offer.places
        first = places[0].entry
        local_code = f"{first.system}|{first.code}" if first and offer.is_second_choice else ""
        is_named = first is not None and offer.names_entry and len(places) == 1
        uuid = suggestion_uuid(card, proposal, local_code)
        self.orders[uuid] = proposal.orders
        suggestion: Json = {
            "label": first.display if first and is_named else _label(places, self._wording),
            "uuid": uuid,
            "actions": [
                {
                    "type": "create",
                    "description": self._description(offer, place),
                    "resource": self._request(proposal, place, {"text": say(place)}, grounds),
                }
                for place in places
            ],
        }
        if proposal.is_recommended:
            suggestion["isRecommended"] = True
        return suggestion

    def _description(self, offer: Offer, place: Place) -> str:
        """Return what is ordered, where, how soon and when: some EHRs show nothing else."""
        phrases, proposal = self._phrases, offer.proposal
        words = self._named(offer, place) if place.entry else place.form.template.description
        if proposal.side in SIDES:
            words += f", {phrases[SIDES[proposal.side]]}"
        if proposal.priority != _ROUTINE:
            words += f", {phrases[f'action-{proposal.priority}']}"
        if proposal.occurrence and proposal.occurrence > self._wording.as_of:
            day = proposal.occurrence.isoformat()
            words += f", {phrases['action-from'].replace('{date}', day)}"
        return words

    def _named(self, offer: Offer, place: Place) -> str:
        """Return the order's words; an order set says its name and what is in it."""
        entry, words = place.entry, place.form.template.description
        if entry and place.covers:
            titles = [form.template.title for form in (place.form, *place.covers)]
            words = self._phrases["action-order-set"]
            return words.replace("{orders}", listed(titles)).replace("{entry}", entry.display)
        return f"{words} ({entry.display})" if entry and offer.names_entry else words

    def _request(self, proposal: Proposal, place: Place, note: Json, grounds: Json) -> Json:
        options, form, entry = self._forms.options, place.form, place.entry
        request: Json = {
            "resourceType": "ServiceRequest",
            "status": options.request_status,
            "intent": options.intent,
            "priority": proposal.priority,
            "code": self._code(form, entry, is_set=bool(place.covers)) if entry else form.code,
            "subject": self._subject,
            "note": [note, {"text": entry.instructions}]
            if entry and entry.instructions
            else [note],
        }
        if form.category:
            request["category"] = form.category
        request.update(self._people)
        if proposal.occurrence:
            request["occurrenceDateTime"] = proposal.occurrence.isoformat()
        if form.body_site:
            request["bodySite"] = self._body_site(form, proposal.side)
        request.update(grounds)
        return request

    def _reference(self, relative: str) -> Json:
        """Return a reference in the form this client wants."""
        return {"reference": f"{self._base}{relative}"}

    def _code(self, form: OrderForm, entry: OrderEntry, *, is_set: bool) -> Json:
        """Return the site's own code first, ours after it where the client wants them.

        An order set has the name the site gave it; the codes of one test in it would be wrong.
        """
        keeps_ours = self._forms.options.keeps_standard_codes and not is_set
        local: Json = {"system": entry.system, "code": entry.code, "display": entry.display}
        return {
            "text": entry.display if is_set else form.template.text,
            "coding": [local, *(form.codings if keeps_ours else ())],
        }

    def _pointed(self, references: Iterable[str]) -> list[Json]:
        """Return *references* as FHIR writes them, each once.

        An entry that came without an id has only a name of ours, to which no order can point.
        """
        base, known = self._base, filter(_ON_THE_SERVER.fullmatch, dict.fromkeys(references))
        return [{"reference": f"{base}{reference}"} for reference in known]

    def _body_site(self, form: OrderForm, side: Side | None) -> list[Json]:
        """Return where, with the operated levels, and the side of it: R4 has no other place."""
        sites = form.body_site
        levels = self._operation.levels if self._operation else ()
        if form.is_lumbar and levels:
            known = self._forms.knowledge.value_sets
            sets = {f"level-{level.lower()}": level for level in sorted(levels)}
            sites = sites + [
                {"coding": [self._forms.first_code(name)], "text": level}
                for name, level in sets.items()
                if name in known
            ]
        if side in SIDES:
            sites = [*sites, {"coding": [self._forms.first_code(SIDES[side])]}]
        return sites

    def _grounds(self, finding: Finding) -> Json:
        """Return why, and the operation and the entries that the finding rests on."""
        operation = self._operation.references if self._operation else ()
        references = self._pointed([*operation, *[entry.reference for entry in finding.evidence]])
        grounds = self._reason(finding)
        if references:
            grounds["supportingInfo"] = references[:_MOST_REFERENCES]
        return grounds

    def _reason(self, finding: Finding) -> Json:
        """Return why: the condition on record, else words, else a code.

        Words stand where a code would claim a diagnosis or a side that nobody has recorded.
        """
        if finding.reason_references:
            references = self._pointed(finding.reason_references)
            if references:
                return {"reasonReference": references}
        words = self._phrases.get(f"reason-{finding.reason_code}")
        if words:
            return {"reasonCode": [{"text": words}]}
        if finding.reason_code:
            return {"reasonCode": [{"coding": [self._forms.first_code(finding.reason_code)]}]}
        return {}


def _label(places: Sequence[Place], wording: Wording) -> str:
    """Return the words of the button, with "and n more" when the list is long."""
    titles = [form.template.title for place in places for form in (place.form, *place.covers)]
    for most in (None, *range(len(titles) - 1, 0, -1)):
        label = wording.listed(titles, most)
        if len(label) <= LABEL_LIMIT:
            return label
    raise KnowledgeError(
        f"cards/orders/{places[0].form.template.id}.yaml: its title is longer than {LABEL_LIMIT} "
        "characters. Use fewer words."
    )
