"""Cards as CDS Hooks wants them, and as a site's profile wants them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import cast

from cds_service.evaluation.assessment import (
    Assessment,
    Finding,
    Indicator,
    Proposal,
    Verdict,
)
from cds_service.knowledge.model import Knowledge
from cds_service.rendering.cards import (
    CARD_SYSTEM,
    OVERRIDE_SYSTEM,
    CardContext,
    CardOptions,
    render_cards,
)
from tests.changing import replace


def _values(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict):
        for item in value.values():
            yield from _values(item)
    if isinstance(value, list):
        for item in value:
            yield from _values(item)


def _plain(card: str, row: int, indicator: Indicator = Indicator.INFO) -> Finding:
    return Finding(
        card=card,
        row=row,
        verdict=Verdict.MET,
        indicator=indicator,
        is_shown=True,
        words={"dss": 120, "date": date(2026, 5, 11)},
    )


def test_card_has_every_part_and_nothing_empty(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A client finds every promised part in a card, and never a null or an empty value."""
    [card] = render_cards(assessment, knowledge, options, context)
    assert card["source"] == {
        "label": knowledge.phrases["source-label"],
        "url": "https://cds.example/guidance/IMG-MRI-NR",
        "icon": "https://cds.example/icon.png",
        "topic": {
            "system": CARD_SYSTEM,
            "code": "IMGMRINR",
            "display": knowledge.cards["IMG-MRI-NR"].title,
        },
    }
    assert card["indicator"] == "warning"
    assert card["summary"] == "No relief 120 days after surgery: consider MRI lumbar spine."
    reasons = card["overrideReasons"]
    assert isinstance(reasons, list)
    assert [reason["code"] for reason in reasons] == [
        code for code, _ in knowledge.override_reasons
    ]
    assert len(reasons) == 6
    assert {reason["system"] for reason in reasons} == {OVERRIDE_SYSTEM}
    links = card["links"]
    assert isinstance(links, list)
    assert all(link["type"] == "absolute" for link in links)
    assert not [value for value in _values(card) if value in (None, "", [], {})]


def test_card_offers_alternatives_with_the_recommended_one_first(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Two MRI protocols exclude each other; the recommended one comes first and alone is marked."""
    [card] = render_cards(assessment, knowledge, options, context)
    assert card["selectionBehavior"] == "at-most-one"
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    assert [s.get("isRecommended") for s in suggestions] == [True, None]
    assert suggestions[0]["label"] == "MRI lumbar spine without and with IV contrast"


def test_orders_that_do_not_exclude_each_other_may_all_be_taken(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Two scans of one work-up are both wanted: the EHR lets the user take both."""
    both = replace(assessment.findings[0], is_either_or=False)
    changed = replace(assessment, findings=(both,))
    [card] = render_cards(changed, knowledge, options, context)
    assert len(cast("list[object]", card["suggestions"])) == 2
    assert card["selectionBehavior"] == "any"


def test_selection_behavior_follows_the_client(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A client that knows only one behaviour gets that one."""
    for behavior in ("any", "at-most-one"):
        wish = replace(options, selection_behavior=behavior)
        [card] = render_cards(assessment, knowledge, wish, context)
        assert card["selectionBehavior"] == behavior


def test_at_most_one_never_has_two_recommended(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Even if two proposals are recommended, only one is when only one may be taken."""
    finding = assessment.findings[0]
    both = tuple(replace(p, is_recommended=True) for p in finding.proposals)
    changed = replace(assessment, findings=(replace(finding, proposals=both),))
    [card] = render_cards(changed, knowledge, options, context)
    suggestions = card["suggestions"]
    assert isinstance(suggestions, list)
    assert sum(bool(s.get("isRecommended")) for s in suggestions) == 1


def test_card_without_proposals_has_no_selection_behavior(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A card with words only carries neither suggestions nor a selection behaviour."""
    changed = replace(assessment, findings=(_plain("EARLY-WATCH", 22),))
    [card] = render_cards(changed, knowledge, options, context)
    assert "suggestions" not in card
    assert "selectionBehavior" not in card


def test_withheld_order_says_what_could_not_be_read(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A card whose order is withheld names the unread part and why, and offers nothing."""
    finding = replace(
        assessment.findings[0], unread=frozenset({"serviceRequests"}), is_order_withheld=True
    )
    changed = replace(
        assessment,
        findings=(finding,),
        unread={"serviceRequests": "the FHIR server did not answer in time"},
    )
    [card] = render_cards(changed, knowledge, options, context)
    assert "suggestions" not in card
    detail = str(card["detail"])
    assert "orders (the FHIR server did not answer in time)" in detail
    assert "No order is proposed" in detail[:600]


def test_reason_that_several_parts_share_is_said_once(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A FHIR server that is down takes eight parts with it; nobody reads the reason eight times."""
    slow, refused = "the FHIR server did not answer in time", "the FHIR server refused access (403)"
    unread = {"conditions": slow, "devices": refused, "serviceRequests": slow}
    changed = replace(assessment, unread=unread)
    cards = render_cards(changed, knowledge, options, context)
    shared = f"problem list, orders (all of them: {slow}); implants ({refused})"
    assert shared in str(cards[0]["detail"])


def test_cap_cuts_info_cards_from_the_end_and_says_so(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Warnings and DATA-READ stay; info cards go from the end, named by the last card kept."""
    findings = (
        _plain("RF-CSF", 8, Indicator.WARNING),
        assessment.findings[0],
        _plain("EARLY-WATCH", 22),
        _plain("SMOKE", 33),
        _plain("DATA-PAIN", 34),
    )
    changed = replace(assessment, findings=findings)
    cards = render_cards(changed, knowledge, replace(options, max_cards=3), context)
    topics = [card["source"]["topic"]["code"] for card in cards]  # type: ignore[index]
    assert topics == ["RFCSF", "IMGMRINR", "EARLYWATCH"]
    left_out = "Not shown, so that this answer stays short: Smoking, Pain score missing."
    assert left_out in str(cards[-1]["detail"])
    assert "Smoking" not in str(cards[0]["detail"])


def test_cap_never_cuts_urgent_cards(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A cap below the number of warnings cuts none of them."""
    findings = (_plain("RF-CSF", 8, Indicator.WARNING), assessment.findings[0])
    changed = replace(assessment, findings=findings)
    assert len(render_cards(changed, knowledge, replace(options, max_cards=1), context)) == 2


def test_disabled_card_is_left_out(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A card the site switched off is not shown."""
    wish = replace(options, disabled_cards=frozenset({"IMG-MRI-NR"}))
    assert render_cards(assessment, knowledge, wish, context) == []


def test_indicator_ceiling_lowers_but_never_raises(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A site can make a card less urgent, not more."""
    for ceiling, expected in (("info", "info"), ("critical", "warning")):
        wish = replace(options, indicator_ceiling={"IMG-MRI-NR": ceiling})
        [card] = render_cards(assessment, knowledge, wish, context)
        assert card["indicator"] == expected


def test_same_facts_give_the_same_names(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Tomorrow's card about the same facts keeps its id; another patient's differs."""
    [card] = render_cards(assessment, knowledge, options, context)
    finding = assessment.findings[0]
    tomorrow = replace(finding, words={**finding.words, "dss": 121}, notes=())
    again = render_cards(replace(assessment, findings=(tomorrow,)), knowledge, options, context)
    assert again[0]["uuid"] == card["uuid"]
    others = [
        (options, replace(context, patient_id="p2")),
        (replace(options, client_id="ehr-b"), context),
        (replace(options, identity_key=b"other"), context),
    ]
    names = {render_cards(assessment, knowledge, o, c)[0]["uuid"] for o, c in others}
    assert card["uuid"] not in names
    assert len(names) == len(others)
    assert card["uuid"] == str(card["uuid"]).lower()


def test_new_evidence_gives_a_new_name(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """When the facts behind a card change, so does its id; their order does not matter."""
    finding = assessment.findings[0]
    names = [
        render_cards(
            replace(assessment, findings=(replace(finding, evidence=evidence),)),
            knowledge,
            options,
            context,
        )[0]["uuid"]
        for evidence in (finding.evidence, finding.evidence[::-1], finding.evidence[:1])
    ]
    assert names[0] == names[1]
    assert names[0] != names[2]


def test_client_that_reads_one_action_gets_one_per_suggestion(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """Three blood tests are one suggestion, or three for a client that reads only the first."""
    bloods = Proposal(orders=("crp", "esr", "wbc"), priority="urgent")
    finding = replace(assessment.findings[0], proposals=(bloods,), is_either_or=False)
    changed = replace(assessment, findings=(finding,))
    for splits, counts in ((False, [3]), (True, [1, 1, 1])):
        [card] = render_cards(changed, knowledge, replace(options, splits_orders=splits), context)
        suggestions = card["suggestions"]
        assert isinstance(suggestions, list)
        assert [len(s["actions"]) for s in suggestions] == counts
        assert len({s["uuid"] for s in suggestions}) == len(counts)


def test_card_with_broken_site_words_keeps_its_title_and_loses_its_orders(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A site's template that asks for a word the rule does not have never loses the answer."""
    card = knowledge.cards["IMG-MRI-NR"]
    broken = replace(card, summaries={"default": "MRI after {mme}"})
    words = replace(knowledge, cards={**knowledge.cards, "IMG-MRI-NR": broken})
    (written,) = render_cards(assessment, words, options, context)
    assert written["summary"] == card.title
    assert "suggestions" not in written


def test_every_card_says_that_another_rule_stopped_with_an_error(
    assessment: Assessment, knowledge: Knowledge, options: CardOptions, context: CardContext
) -> None:
    """A rule with a fault loses only its own card, and the others say so."""
    smoke = _plain("SMOKE", 33)
    faulty = replace(smoke, verdict=Verdict.CANNOT_TELL, is_faulty=True, is_shown=False)
    told = replace(assessment, findings=(*assessment.findings, faulty))
    (written,) = render_cards(told, knowledge, options, context)
    assert "stopped with an error" in str(written["detail"])
