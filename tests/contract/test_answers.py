"""Every answer of this suite, read by somebody strict."""

from __future__ import annotations

import json
import re

from fhir.resources.R4B.conceptmap import ConceptMap

from cds_service.knowledge.model import Knowledge
from tests.contract.checker import faults_of, order_faults_in
from tests.contract.ehrs import URL, Answered, Ehr

IN_MARKDOWN = re.compile(r"\]\(([^)]+)\)")


def knows_topics(answer: Answered) -> bool:
    """Whether the client of *answer* speaks 2.0 or newer."""
    return answer.version.named != "none"


def test_every_answer_is_correct_for_the_version_of_its_client(answers: list[Answered]) -> None:
    """No persona and no vignette gets an answer that breaks a rule of its client's version."""
    wrong = {
        f"{each.name} ({each.version.named})": faults
        for each in answers
        if (faults := faults_of(each.body, each.version.behaviors))
    }
    assert wrong == {}
    assert {each.status for each in answers} == {200}


def test_every_order_names_the_context_and_only_entries_that_were_sent(
    answers: list[Answered],
) -> None:
    """An order is for the patient opened, by the clinician who opened it, and invents nothing."""
    wrong = {
        each.name: faults
        for each in answers
        if (faults := order_faults_in(each.body, each.request))
    }
    assert wrong == {}


def test_no_answer_acts_by_itself(answers: list[Answered]) -> None:
    """There are no system actions, no choice among actions and no app that starts by itself."""
    for answer in answers:
        assert set(json.loads(answer.body)) == {"cards"}
        assert b"autolaunchable" not in answer.body
        assert b"actionSelectionBehavior" not in answer.body
        assert b'"smart"' not in answer.body


def test_every_card_and_suggestion_can_be_reported_on(answers: list[Answered]) -> None:
    """Without its uuid no feedback about a card or a suggestion is ever sent."""
    for answer in answers:
        for card in answer.cards:
            assert "uuid" in card
            assert all("uuid" in suggestion for suggestion in card.get("suggestions", []))


def test_topic_is_the_card_in_letters_and_digits(
    answers: list[Answered], knowledge: Knowledge
) -> None:
    """Epic keeps acknowledgments by topic: letters and digits, at most 100, one for each kind."""
    newer = [card for each in answers if knows_topics(each) for card in each.cards]
    topics = {card["source"]["topic"]["code"] for card in newer}
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,100}", topic) for topic in topics)
    assert topics == {card.replace("-", "") for card in knowledge.cards}


def test_first_suggestion_is_the_recommended_one(answers: list[Answered]) -> None:
    """Where one is marked, it stands first; descriptions stand alone as Epic shows them."""
    for answer in answers:
        for card in answer.cards:
            suggestions = card.get("suggestions", [])
            marked = [suggestion.get("isRecommended", False) for suggestion in suggestions]
            assert marked == sorted(marked, reverse=True)
            for suggestion in suggestions:
                for action in suggestion["actions"]:
                    assert len(action["description"].split()) >= 2


def test_every_address_of_ours_on_a_card_answers(
    answers: list[Answered], ehrs: dict[str, Ehr]
) -> None:
    """Guidance page and icon are there for every card, without a token."""
    sources = [card["source"] for each in answers for card in each.cards]
    pages = {source["url"] for source in sources}
    assert len(pages) == 36
    http = ehrs["3.0"].http
    for url in pages:
        assert url.startswith(f"{URL}/guidance/")
        page = http.get(url.removeprefix(URL))
        assert (page.status_code, page.mimetype) == (200, "text/html")
    [icon] = {source["icon"] for source in sources}
    assert http.get(icon.removeprefix(URL)).mimetype == "image/png"


def test_every_link_leads_to_a_source_of_the_knowledge_or_to_us(
    answers: list[Answered], knowledge: Knowledge, ehrs: dict[str, Ehr]
) -> None:
    """A site can list all hosts beforehand: links come from cards/ and never from a chart."""
    known = {source.url for source in knowledge.sources.values()}
    cards = [card for each in answers for card in each.cards]
    linked = {link["url"] for card in cards for link in card.get("links", [])}
    written = {url for card in cards for url in IN_MARKDOWN.findall(card["detail"])}
    assert linked
    assert written
    for url in (linked | written) - known:
        assert url.startswith(f"{URL}/")
        assert ehrs["3.0"].http.get(url.removeprefix(URL)).status_code == 200


def test_every_override_reason_is_published(answers: list[Answered], ehrs: dict[str, Ehr]) -> None:
    """The six reasons stand on every card, with the words of the code system we serve."""
    system = ehrs["3.0"].http.get("/fhir/CodeSystem/override-reason").get_json()
    published = [
        {"system": system["url"], "code": each["code"], "display": each["display"]}
        for each in system["concept"]
    ]
    assert len(published) == 6
    assert all(card["overrideReasons"] == published for each in answers for card in each.cards)


def test_override_reasons_have_a_map_to_and_from_the_codes_of_3_0(ehrs: dict[str, Ehr]) -> None:
    """Each of the twelve codes of CDS Hooks 3.0 means exactly one of ours, and one has none."""
    answer = ehrs["3.0"].http.get("/fhir/ConceptMap/override-reason")
    assert answer.mimetype == "application/fhir+json"
    ConceptMap.model_validate_json(answer.data)
    [group] = answer.get_json()["group"]
    assert group["target"] == "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
    theirs = {
        element["code"]: [target["code"] for target in element["target"] if "code" in target]
        for element in group["element"]
    }
    assert len(theirs) == 6
    assert [code for code, targets in theirs.items() if not targets] == ["already-planned"]
    every = [code for targets in theirs.values() for code in targets]
    assert len(every) == len(set(every)) == 12


def test_checks_of_the_inferno_kit_that_fit_this_hook(answers: list[Answered]) -> None:
    """The kit wants a topic on every card, texts that are not blank, and orders to create."""
    for card in [card for each in answers if knows_topics(each) for card in each.cards]:
        topic = card["source"]["topic"]
        texts = [card["summary"], card["source"]["label"], topic["code"], topic["system"]]
        for suggestion in card.get("suggestions", []):
            texts.append(suggestion["label"])
            for action in suggestion["actions"]:
                texts += [action["description"], action["type"]]
                assert (action["type"], action["resource"]["resourceType"]) == (
                    "create",
                    "ServiceRequest",
                )
        assert all(isinstance(text, str) and text.strip() for text in texts)
        assert len(card["summary"]) < 140
        assert card["indicator"] in {"info", "warning", "critical"}
