"""Every card of every vignette as Epic takes it, rule by rule of Epic's documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cds_service.app import card_options
from cds_service.catalogue.orders import read_order_catalogue
from cds_service.evaluation.assess import assess
from cds_service.evaluation.assessment import Assessment, Finding
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.trust.config import load_config
from cds_service.vignettes.charts import PATIENT_ID
from cds_service.vignettes.running import AS_OF, chart_of
from tests.changing import replace
from tests.vignettes.cases import all_vignettes

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CONTEXT = CardContext(patient_id=PATIENT_ID, user_id="PractitionerRole/1", encounter_id="e1")
PREFERENCE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
ORDER_SET = "urn:com.epic.cdshooks.action.code.system.orderset-item"


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding and the card made of it."""

    finding: Finding
    card: Mapping[str, Any]

    @property
    def suggestions(self) -> list[dict[str, Any]]:
        """Return the suggestions of the card, if any."""
        return list(self.card.get("suggestions", ()))

    @property
    def orders(self) -> list[dict[str, Any]]:
        """Return the suggested resources."""
        return [action["resource"] for s in self.suggestions for action in s["actions"]]


@pytest.fixture(scope="module")
def assessments(knowledge: Knowledge) -> list[Assessment]:
    """Return what the core says of every vignette that shows a card."""
    found = (
        assess(chart_of(vignette.facts, knowledge, seed=vignette.seed), knowledge, AS_OF)
        for vignette in all_vignettes()
    )
    return [assessment for assessment in found if assessment.shown]


@pytest.fixture(scope="module")
def lakeside(tmp_path_factory: pytest.TempPathFactory) -> CardOptions:
    """Return how the made-up hospital of the documentation wants its cards, without a limit."""
    folder = tmp_path_factory.mktemp("lakeside")
    for path in EXAMPLES.glob("lakeside*"):
        text = path.read_text(encoding="utf-8").replace("/etc/cds-service/", "")
        (folder / path.name).write_text(text, encoding="utf-8")
    (folder / "identity.key").write_text("0123456789abcdef" * 4)
    config = load_config(folder / "lakeside.toml")
    options = card_options(config.service, config.clients[0], is_unreviewed=True)
    return replace(options, max_cards=40)


def render(
    assessments: list[Assessment], knowledge: Knowledge, options: CardOptions
) -> Iterator[Shown]:
    """Yield every card with its finding."""
    for assessment in assessments:
        cards = render_cards(assessment, knowledge, options, CONTEXT)
        for finding, card in zip(assessment.shown, cards, strict=True):
            yield Shown(finding, card)


@pytest.fixture(scope="module")
def shown(
    assessments: list[Assessment], knowledge: Knowledge, lakeside: CardOptions
) -> list[Shown]:
    """Return every card the vignettes bring up, as the hospital gets it."""
    return list(render(assessments, knowledge, lakeside))


def test_all_cards_are_looked_at(shown: list[Shown], knowledge: Knowledge) -> None:
    """The vignettes bring up all 36 cards, and many with orders."""
    assert {each.finding.card for each in shown} == set(knowledge.cards)
    assert len({each.finding.card for each in shown if each.suggestions}) > 15


def test_selection_is_always_any(shown: list[Shown]) -> None:
    """Epic knows no other behaviour, and none without suggestions."""
    for each in shown:
        assert each.card.get("selectionBehavior") == ("any" if each.suggestions else None)


def test_each_suggestion_has_one_action_that_creates_an_order(shown: list[Shown]) -> None:
    """Epic carries out one action: the creation of an unsigned ServiceRequest."""
    for each in shown:
        for suggestion in each.suggestions:
            (action,) = suggestion["actions"]
            assert action["type"] == "create"
            assert action["resource"]["resourceType"] == "ServiceRequest"
            assert "resourceId" not in action


def test_cards_and_suggestions_have_ids_for_feedback(shown: list[Shown]) -> None:
    """Without ids no feedback is sent; two suggestions of a card never share one."""
    for each in shown:
        ids = [each.card["uuid"], *(s["uuid"] for s in each.suggestions)]
        assert all(re.fullmatch(r"[0-9a-f-]{36}", found) for found in ids)
        assert len(set(ids)) == len(ids)


def test_description_alone_says_what_is_ordered(shown: list[Shown], knowledge: Knowledge) -> None:
    """Epic shows only the description: what, which side, how soon, and when, if not now."""
    sides = {"7771000": "left", "24028007": "right", "51440002": "both sides"}
    soon = {"stat": "as an emergency", "urgent": "urgent", "asap": "as soon as possible"}
    seen = set()
    for each in shown:
        for suggestion in each.suggestions:
            words, order = suggestion["actions"][0]["description"], suggestion["actions"][0]
            resource = order["resource"]
            seen.add(resource["priority"])
            assert re.match(r"(Order|Refer to) [A-Za-z-]", words), words
            named = [t for t in knowledge.orders.values() if t.text == resource["code"]["text"]]
            assert words.startswith(
                named[0].description if named else "Order INFLAMMATION PANEL: CRP, ESR, Blood count"
            )
            assert soon.get(resource["priority"], "") in words
            codes = {c["code"] for site in resource.get("bodySite", ()) for c in site["coding"]}
            for code in codes & set(sides):
                assert sides[code] in words
            day = resource.get("occurrenceDateTime", "")
            is_later = bool(day) and date.fromisoformat(day) > AS_OF
            assert (f"not before {day}" in words) is is_later
            assert suggestion["label"]
    assert {"stat", "urgent", "routine"} <= seen


def test_codes_are_those_of_the_sites_order_list_and_nothing_else(shown: list[Shown]) -> None:
    """One coding, of a preference list item or an order set: anything else cannot be placed."""
    systems = set()
    for each in shown:
        for order in each.orders:
            (coding,) = order["code"]["coding"]
            systems.add(coding["system"])
            assert coding["display"]
    assert systems == {PREFERENCE, ORDER_SET}


def test_orders_look_like_the_documented_example(shown: list[Shown]) -> None:
    """Draft, proposal, and a category that says outpatient."""
    for each in shown:
        for order in each.orders:
            assert (order["status"], order["intent"]) == ("draft", "proposal")
            (category,) = order["category"]
            assert category["coding"] == [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/medicationrequest-category",
                    "code": "outpatient",
                    "display": "Outpatient",
                }
            ]
            assert order["subject"] == {"reference": f"Patient/{PATIENT_ID}"}


def test_recommended_order_is_first_and_marked_once_among_alternatives(shown: list[Shown]) -> None:
    """Recommended means preselected: of two MRIs only one, and it stands first."""
    choices = 0
    for each in shown:
        marks = [suggestion.get("isRecommended", False) for suggestion in each.suggestions]
        assert marks == sorted(marks, reverse=True)
        if each.finding.is_either_or and len(marks) > 1:
            choices += 1
            assert sum(marks) <= 1
    assert choices


def test_topic_is_short_plain_and_the_same_for_one_kind_of_card(shown: list[Shown]) -> None:
    """Letters and digits, at most 100: Epic keeps acknowledgments under it."""
    topics: dict[str, set[str]] = {}
    for each in shown:
        topics.setdefault(each.finding.card, set()).add(each.card["source"]["topic"]["code"])
    for card, codes in topics.items():
        assert codes == {card.replace("-", "")}
        assert re.fullmatch(r"[A-Za-z0-9]{1,100}", next(iter(codes)))


def test_only_listed_links_are_sent(shown: list[Shown]) -> None:
    """Links must be known to the site beforehand; in the text as well as under it."""
    hosts = set()
    for each in shown:
        links = each.card.get("links", [])
        assert all(link["type"] == "absolute" and link["label"] for link in links)
        in_text = re.findall(r"\]\((https?://[^)]+)\)", each.card["detail"])
        hosts |= {urlsplit(url).hostname for url in (*(k["url"] for k in links), *in_text)}
    assert hosts == {"acsearch.acr.org", "cds.lakeside.example"}


def test_kind_of_text_is_stated_in_epics_extension(shown: list[Shown]) -> None:
    """Epic's extension says Markdown; plain text says so too and has no marks left."""
    for each in shown:
        assert each.card["extension"] == {
            "com.epic.cdshooks.card.detail.content-type": "text/markdown"
        }


def test_override_reasons_have_system_code_and_words(shown: list[Shown]) -> None:
    """The site maps each code to an acknowledgment reason."""
    for each in shown:
        assert len(each.card["overrideReasons"]) == 6
        for reason in each.card["overrideReasons"]:
            assert reason["system"]
            assert reason["code"]
            assert reason["display"]


def test_order_without_a_local_code_is_words_and_a_link_never_a_button(
    shown: list[Shown],
) -> None:
    """The hospital has no entry for stimulation: the card says what to order by hand."""
    found = [each for each in shown if each.finding.card == "SCS-EVAL"]
    assert found
    for each in found:
        texts = {order["code"]["text"] for order in each.orders}
        assert not any("stimulation" in text for text in texts)
        if each.finding.is_order_withheld:
            continue
        assert "**Order by hand:** Spinal cord stimulation candidacy" in each.card["detail"]
        assert each.card["links"][0]["url"] == "https://cds.lakeside.example/guidance/SCS-EVAL"


def test_no_order_of_any_card_is_lost(
    assessments: list[Assessment], knowledge: Knowledge, lakeside: CardOptions
) -> None:
    """Whatever the list lacks, each proposed order is a button or is named in the text."""
    systems = frozenset({PREFERENCE, ORDER_SET})
    few = read_order_catalogue(
        "o", f"concept,system,code,display\ncrp,{PREFERENCE},5,CRP\n".encode(), systems
    )
    nothing = replace(lakeside, order_catalogue=few)
    for each in render(assessments, knowledge, nothing):
        if each.finding.is_order_withheld:
            continue
        wanted = {order for proposal in each.finding.proposals for order in proposal.orders}
        buttons = [order["code"]["text"] for order in each.orders]
        assert buttons == (["C-reactive protein"] if "crp" in wanted else [])
        for order_id in wanted - {"crp"}:
            assert knowledge.orders[order_id].title in each.card["detail"].replace("\\", "")


def test_order_set_that_covers_three_tests_is_offered_once(shown: list[Shown]) -> None:
    """CRP, ESR and blood count are one order set here: one button, not three."""
    panels = [
        [o for o in each.orders if o["code"]["coding"][0]["code"] == "52001"] for each in shown
    ]
    assert any(panels)
    assert all(len(found) <= 1 for found in panels)
    for (panel,) in filter(None, panels):
        assert panel["code"]["text"] == "INFLAMMATION PANEL"


def test_several_entries_for_one_order_are_alternatives_by_name(shown: list[Shown]) -> None:
    """The MRI can be ordered at two places; the first is recommended, both carry their name."""
    for each in shown:
        names = [
            s["label"]
            for s in each.suggestions
            if "W/WO CONTRAST" in s["actions"][0]["description"]
        ]
        if names:
            assert names == ["MR L-SPINE W/WO CONTRAST (MAIN)", "MR L-SPINE W/WO CONTRAST (NORTH)"]


def test_instructions_of_the_list_go_into_the_note(shown: list[Shown]) -> None:
    """What the site wants told with an order stands in its note."""
    notes = {
        note["text"]
        for each in shown
        for order in each.orders
        if order["code"]["coding"][0]["code"] == "41001"
        for note in order["note"]
    }
    assert "Screening form for implants before the scan." in notes
