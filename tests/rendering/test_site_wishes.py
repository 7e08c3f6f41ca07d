"""What a profile may change on a card besides its orders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from cds_service.catalogue.orders import read_order_catalogue
from cds_service.evaluation.assessment import (
    Assessment,
    Finding,
    Indicator,
    Note,
    Proposal,
    Verdict,
)
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import CardContext, CardOptions, render_cards
from cds_service.rendering.plain import plain_text
from cds_service.values import Side
from tests.changing import replace

LIST = b"concept,system,code,display\ncrp,urn:oid:2.999.1,5,LOCAL CRP\n"


def _found(card: str, row: int, indicator: Indicator = Indicator.INFO) -> Finding:
    return Finding(
        card=card,
        row=row,
        verdict=Verdict.MET,
        indicator=indicator,
        is_shown=True,
        words={"dss": 120, "date": date(2026, 5, 11)},
    )


def _topics(cards: Sequence[dict[str, object]]) -> list[str]:
    return [str(card["source"]["topic"]["code"]) for card in cards]  # type: ignore[index]


def _resource(card: dict[str, Any], number: int = 0) -> dict[str, Any]:
    resource: dict[str, Any] = card["suggestions"][number]["actions"][0]["resource"]
    return resource


def _offering(assessment: Assessment, finding: Finding, proposal: Proposal) -> Assessment:
    """Return the assessment with one card, which offers one proposal."""
    only = replace(finding, proposals=(proposal,), is_either_or=False)
    return replace(assessment, findings=(only,))


def test_client_that_wants_actions_gets_no_cards_to_read_only(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Info cards may be off, or limited to those with an order; warnings stay."""
    therapy = Proposal(orders=("smoking-cessation",), priority="routine")
    smoke = replace(_found("SMOKE", 33), proposals=(therapy,))
    read_only = _found("EARLY-WATCH", 22)
    changed = replace(assessment, findings=(assessment.findings[0], read_only, smoke))
    for wish, expected in (
        ("all", ["IMGMRINR", "EARLYWATCH", "SMOKE"]),
        ("with-orders", ["IMGMRINR", "SMOKE"]),
        ("none", ["IMGMRINR"]),
    ):
        cards = render_cards(changed, knowledge, replace(options, info_cards=wish), context)
        assert _topics(cards) == expected


def test_changed_wishes_of_a_client_hold_from_the_next_answer_on(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """What is kept for a client never outlives its wishes, and comes back with them."""
    wishes = [options, replace(options, has_topic=False, intent="proposal"), options]
    answers = [render_cards(assessment, knowledge, wish, context) for wish in wishes]
    assert [_resource(card)["intent"] for (card,) in answers] == ["order", "proposal", "order"]
    assert answers[0] == answers[2]


def test_gap_is_said_even_where_info_cards_are_off(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """If no other card is left to say that something could not be read, DATA-READ does."""
    gap = replace(_found("DATA-READ", 36), verdict=Verdict.NOT_MET, is_shown=False)
    changed = replace(
        assessment,
        findings=(_found("EARLY-WATCH", 22), gap),
        unread={"devices": "the FHIR server did not answer in time"},
    )
    cards = render_cards(changed, knowledge, replace(options, info_cards="none"), context)
    assert _topics(cards) == ["DATAREAD"]


def test_red_flag_is_never_cut_even_where_a_site_lowered_it(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A red flag that a site shows as info stays, whatever the limit and the wish."""
    flag = _found("RF-CSF", 8, Indicator.WARNING)
    changed = replace(assessment, findings=(assessment.findings[0], flag))
    wish = replace(options, max_cards=1, info_cards="none", indicator_ceiling={"RF-CSF": "info"})
    assert "RFCSF" in _topics(render_cards(changed, knowledge, wish, context))


def test_question_on_which_a_red_flag_hangs_is_not_cut_where_a_site_lowered_it(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A site shows DATA-DATE as info; its warning of a red flag stays all the same."""
    titles = {"flag": "Possible epidural haematoma", "flags": "Possible epidural haematoma"}
    asked = replace(_found("DATA-DATE", 35, Indicator.WARNING), variant="disputed", words=titles)
    changed = replace(assessment, findings=(assessment.findings[0], asked))
    lowered = replace(options, indicator_ceiling={"DATA-DATE": "info"})
    for wish in (replace(lowered, max_cards=1), replace(lowered, info_cards="none")):
        assert "DATADATE" in _topics(render_cards(changed, knowledge, wish, context))


def test_local_code_comes_first_and_standard_codes_stay_unless_unwanted(
    mri_finding: Finding,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """The EHR finds its own code first; another system still finds LOINC."""
    crp = Proposal(orders=("crp",), priority="routine")
    changed = _offering(assessment, mri_finding, crp)
    catalogue = read_order_catalogue("o", LIST)
    for keeps, expected in ((True, ["5", "1988-5"]), (False, ["5"])):
        wish = replace(options, order_catalogue=catalogue, keeps_standard_codes=keeps)
        [card] = render_cards(changed, knowledge, wish, context)
        codes = [coding["code"] for coding in _resource(card)["code"]["coding"]]
        assert codes[: len(expected)] == expected
        assert (len(codes) == 1) is not keeps
        suggestions = card["suggestions"]
        assert isinstance(suggestions, list)
        words = (suggestions[0]["label"], suggestions[0]["actions"][0]["description"])
        assert words == ("CRP", "Order C-reactive protein (CRP)")


def test_form_of_an_order_for_other_countries_takes_the_plain_entry_or_its_own(
    mri_finding: Finding,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """A hospital maps physiotherapy once; an entry for the form it uses comes first."""
    therapy = Proposal(orders=("physiotherapy-referral",), priority="routine")
    changed = _offering(assessment, mri_finding, therapy)
    rows = "concept,system,code,display\nphysiotherapy-referral,urn:oid:2.999.1,1,PT & OT_A\n"
    for text, code in ((rows, "1"), (f"{rows}physiotherapy-referral-other,urn:oid:2.9,2,P\n", "2")):
        catalogue = read_order_catalogue("o", text.encode())
        wish = replace(options, order_catalogue=catalogue, country="other")
        [card] = render_cards(changed, knowledge, wish, context)
        coding = _resource(card)["code"]["coding"][0]
        assert coding["code"] == code
        assert coding["display"] in {"PT & OT_A", "P"}


def test_order_without_a_local_code_keeps_our_codes_where_none_is_required(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An EHR that takes standard codes gets its button as before."""
    wish = replace(options, order_catalogue=read_order_catalogue("o", LIST))
    [card] = render_cards(assessment, knowledge, wish, context)
    assert _resource(card)["code"]["coding"][0]["system"] == "http://loinc.org"
    assert "Order by hand" not in str(card["detail"])


def test_alternative_without_a_local_code_is_not_a_button_but_a_sentence(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Of two MRIs only the one in the list is a button; the recommended one is told in words."""
    text = b"concept,system,code,display\nmri-lumbar-without-contrast,urn:oid:2.999.1,9,MR WO\n"
    wish = replace(
        options, order_catalogue=read_order_catalogue("o", text), requires_local_codes=True
    )
    [card] = render_cards(assessment, knowledge, wish, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    assert len(suggestions) == 1
    assert "isRecommended" not in suggestions[0]
    assert card["selectionBehavior"] == "any"
    assert "**Order by hand:** MRI lumbar spine without and with IV contrast" in str(card["detail"])
    links = card["links"]
    assert isinstance(links, list)
    assert links[0]["url"] == "https://cds.example/guidance/IMG-MRI-NR"


def test_one_entry_for_both_alternatives_is_one_button(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Where the radiologist decides on contrast, the hospital has one MRI: nothing to choose."""
    rows = "".join(
        f"{name},urn:oid:2.999.1,9,MR L-SPINE PER RADIOLOGY\n"
        for name in ("mri-lumbar-without-contrast", "mri-lumbar-without-and-with-contrast")
    )
    catalogue = read_order_catalogue("o", f"concept,system,code,display\n{rows}".encode())
    wish = replace(options, order_catalogue=catalogue)
    [card] = render_cards(assessment, knowledge, wish, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    (only,) = suggestions
    assert only["isRecommended"] is True
    assert card["selectionBehavior"] == "any"
    assert only["label"] == "MR L-SPINE PER RADIOLOGY"
    assert only["actions"][0]["description"] == (
        "Order MRI lumbar spine without and with IV contrast (MR L-SPINE PER RADIOLOGY)"
    )


def test_two_entries_for_one_order_are_a_choice_and_cost_no_order_beside_it(
    mri_finding: Finding,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """The laboratory lists CRP twice: one of the two is ticked, and the ESR is never lost."""
    rows = "".join(f"crp,urn:oid:2.999.1,{n},CRP {n}\n" for n in (1, 2))
    catalogue = read_order_catalogue("o", f"concept,system,code,display\n{rows}".encode())
    wish = replace(options, order_catalogue=catalogue)
    for orders, labels, behavior in (
        (("crp",), ["CRP 1", "CRP 2"], "at-most-one"),
        (("esr",), ["ESR"], "any"),
        (("crp", "esr"), ["CRP, ESR"], "any"),
    ):
        changed = _offering(assessment, mri_finding, Proposal(orders=orders, priority="routine"))
        [card] = render_cards(changed, knowledge, wish, context)
        suggestions = card["suggestions"]
        assert isinstance(suggestions, list)
        assert [each["label"] for each in suggestions] == labels
        assert {len(each["actions"]) for each in suggestions} == {len(orders)}
        assert card["selectionBehavior"] == behavior


def test_order_set_of_a_suggestion_is_one_action_that_names_its_tests(
    mri_finding: Finding,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """CRP, ESR and blood count are one set, blood cultures are not: two actions, both named.

    Who gets the set reads what any of its tests must be told, and nothing else of the card.
    """
    bloods = Proposal(orders=("crp", "esr", "wbc", "blood-cultures"), priority="stat")
    notes = (
        Note(key="allergy-no-contrast", is_for_order=True, orders=("wbc",)),
        Note(key="renal-no-contrast", is_for_order=True, orders=("xray-lumbar-standing",)),
        Note(key="age-not-recorded"),
    )
    changed = _offering(assessment, replace(mri_finding, notes=notes), bloods)
    rows = "".join(f"{name},urn:oid:2.999.1,52,PANEL\n" for name in ("crp", "esr", "wbc"))
    catalogue = read_order_catalogue("o", f"concept,system,code,display\n{rows}".encode())
    [card] = render_cards(changed, knowledge, replace(options, order_catalogue=catalogue), context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    (only,) = suggestions
    assert only["label"] == "CRP, ESR, Blood count, Blood cultures"
    assert [action["description"] for action in only["actions"]] == [
        "Order PANEL: CRP, ESR, Blood count, as an emergency",
        "Order blood cultures, before antibiotics unless septic, as an emergency",
    ]
    codes = [action["resource"]["code"]["coding"][0]["code"] for action in only["actions"]]
    assert codes == ["52", "600-7"]
    assert _resource(card)["code"]["text"] == "PANEL"
    assert len(_resource(card)["code"]["coding"]) == 1
    told = [action["resource"]["note"][0]["text"] for action in only["actions"]]
    assert ["Gadolinium allergy on record" in text for text in told] == [True, False]
    assert not any("kidney" in text or "age not" in text for text in told)


def test_first_suggestion_keeps_its_id_when_a_list_is_added(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Feedback on yesterday's suggestion still finds it after the hospital sends its list."""
    rows = "".join(
        f"mri-lumbar-without-and-with-contrast,urn:oid:2.999.1,{n},MR {n}\n" for n in (1, 2)
    )
    catalogue = read_order_catalogue("o", f"concept,system,code,display\n{rows}".encode())
    [before] = render_cards(assessment, knowledge, options, context)
    [after] = render_cards(
        assessment, knowledge, replace(options, order_catalogue=catalogue), context
    )
    old, new = before["suggestions"], after["suggestions"]
    assert isinstance(old, list)
    assert isinstance(new, list)
    assert (len(old), len(new)) == (2, 3)
    assert new[0]["uuid"] == old[0]["uuid"]
    assert len({suggestion["uuid"] for suggestion in new}) == 3
    assert [s.get("isRecommended") for s in new] == [True, None, None]


def test_absolute_references_stand_below_the_server_of_the_call(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An EHR that wants absolute references gets them, if the call names its server."""
    wish = replace(options, uses_absolute_references=True)
    here = replace(context, fhir_server="https://ehr.example/r4/")
    [card] = render_cards(assessment, knowledge, wish, here)
    order = _resource(card)
    references = re.findall(r"'reference': '([^']+)'", str(order))
    assert len(references) > 3
    assert all(found.startswith("https://ehr.example/r4/") for found in references)
    [card] = render_cards(assessment, knowledge, wish, context)
    assert _resource(card)["subject"] == {"reference": "Patient/p1"}


def test_category_follows_the_client(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Either what kind of order it is, or where it is carried out."""
    for wish, code in (
        ("clinical", "363679005"),
        ("outpatient", "outpatient"),
        ("inpatient", "inpatient"),
    ):
        [card] = render_cards(assessment, knowledge, replace(options, order_category=wish), context)
        (category,) = _resource(card)["category"]
        assert [coding["code"] for coding in category["coding"]] == [code]


def test_category_and_topic_may_be_left_out(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """What a strict client does not know is not sent."""
    wish = replace(options, order_category="none", has_topic=False)
    [card] = render_cards(assessment, knowledge, wish, context)
    assert "category" not in _resource(card)
    assert "topic" not in card["source"]  # type: ignore[operator]


def test_links_follow_the_client(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Listed links only, or none: neither under the card nor in its text."""
    for links, hosts, expected in (
        ("sources", (), True),
        ("listed", (), False),
        ("listed", ("acsearch.acr.org",), True),
        ("none", ("acsearch.acr.org",), False),
    ):
        wish = replace(options, links=links, allowed_link_hosts=hosts)
        [card] = render_cards(assessment, knowledge, wish, context)
        assert ("links" in card) is expected
        assert ("](https://" in str(card["detail"])) is expected


def test_plain_text_has_no_marks_and_loses_no_word(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """An EHR without Markdown gets the same words without asterisks and entities."""
    wish = replace(options, is_plain_text=True, detail_type_extension="ehr.example.kind")
    [plain] = render_cards(assessment, knowledge, wish, context)
    [marked] = render_cards(assessment, knowledge, options, context)
    text = str(plain["detail"])
    assert plain["extension"] == {"ehr.example.kind": "text/plain"}
    assert "extension" not in marked
    assert not re.search(r"\*\*|\]\(|\\|&[a-z#0-9]+;", text)
    assert "https://acsearch.acr.org" in text
    words = re.findall(r"[A-Za-z]{3,}", re.sub(r"https?://\S+|&\S+?;", "", str(marked["detail"])))
    assert set(words) <= set(re.findall(r"[A-Za-z]{3,}", text))


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("**Bold** and plain", "Bold and plain"),
        ("[a \\[b\\]](https://x.example/%28y%29)", "a [b] (https://x.example/%28y%29)"),
        ("3 \\* 4 \\_ 5 &lt;6&gt; a&#58;//b", "3 * 4 _ 5 <6> a://b"),
        ("- one\n- two", "- one\n- two"),
        ("\\*\\*not bold\\*\\*", "**not bold**"),
        ("*This record* shows, *that one* not", "This record shows, that one not"),
        ("a_b_c, 2 * 3 * 4, \\*not so\\*", "a_b_c, 2 * 3 * 4, *not so*"),
    ],
)
def test_our_markdown_becomes_plain_text(markdown: str, expected: str) -> None:
    """Bold, emphasis, lists, links and escaped signs are all this service writes."""
    assert plain_text(markdown) == expected


@pytest.mark.parametrize("variant", ["action", "why", "caveat", "change", "ending"])
def test_no_text_of_a_card_keeps_a_star_where_no_markdown_is_shown(
    knowledge: Knowledge, variant: str
) -> None:
    """In an EHR with plain text PT-REF read "*This record* shows no therapy"."""
    texts = [
        text
        for card in knowledge.cards.values()
        for name, text in card.texts.items()
        if name.startswith(variant)
    ]
    assert not [text for text in map(plain_text, texts) if "*" in text]


def test_description_says_side_urgency_and_first_useful_day(
    mri_finding: Finding,
    assessment: Assessment,
    knowledge: Knowledge,
    options: CardOptions,
    context: CardContext,
) -> None:
    """What an EHR ignores in the order stands in the words the clinician reads."""
    emg = Proposal(
        orders=("emg-lower-limb",), priority="urgent", side=Side.LEFT, occurrence=date(2026, 7, 1)
    )
    changed = _offering(assessment, mri_finding, emg)
    [card] = render_cards(changed, knowledge, options, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    assert suggestions[0]["actions"][0]["description"] == (
        "Order EMG and nerve conduction study, lower limb, left, urgent, not before 2026-07-01"
    )
