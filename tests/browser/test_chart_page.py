"""A clinician and a developer at the test EHR."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from cds_service.demo.broken import BREAKAGES
from tests.browser.running import Site

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]

STATUS = re.compile(r"\b[245]\d\d\b")


def open_chart(page: Page, site: Site, persona: str) -> None:
    """Open a chart and wait for the answer of the service."""
    page.goto(f"{site.ehr}/patients/plcds-{persona}")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    expect(page.locator("#timeline svg")).to_be_visible()


def card(page: Page, topic: str) -> Locator:
    """Return the card with one topic code."""
    return page.locator(f'.card[data-topic="{topic}"]')


def open_again(page: Page) -> None:
    """Open the chart again, as the button after a change does."""
    page.get_by_role("button", name="Open chart again, to see the cards follow").click()
    expect(page.locator("#cards-status")).to_contain_text("answered in")


def test_a_chart_is_opened_from_the_list_and_its_cards_are_read(page: Page, site: Site) -> None:
    """From the list of patients to the cards: urgency in words, headline, what to do, reasons."""
    page.goto(site.ehr)
    page.get_by_role("link", name="Six good weeks, then the leg pain is back").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Demo-Cedar, Tomas")
    review = card(page, "SURGREV")
    expect(review.locator(".indicator")).to_have_text("Warning")
    expect(review.get_by_role("heading", level=3)).to_contain_text("spine surgeon review")
    reasons = review.get_by_text("Reasons, cautions and limits")
    expect(review.get_by_text("not yet clinically reviewed")).to_be_hidden()
    reasons.click()
    expect(review.get_by_text("not yet clinically reviewed")).to_be_visible()
    expect(page.locator(".card")).to_have_count(2)


def test_a_printed_chart_has_the_cautions_of_its_cards(page: Page, site: Site) -> None:
    """Nobody can unfold them on paper; forms and buttons of the cards mean nothing there."""
    open_chart(page, site, "pacemaker")
    page.emulate_media(media="print")
    alternative = card(page, "IMGALT")
    expect(alternative.get_by_text("MR status not recorded")).to_be_visible()
    expect(alternative.get_by_text("Set this card aside")).to_be_hidden()
    expect(card(page, "PTREF").get_by_role("button", name="Order")).to_be_hidden()


def test_a_red_flag_stands_alone_and_says_so_without_colour(page: Page, site: Site) -> None:
    """A possible cauda equina syndrome is one critical card, named in words."""
    open_chart(page, site, "cauda-equina")
    expect(page.locator(".card")).to_have_count(1)
    expect(card(page, "RFCES").locator(".indicator")).to_have_text("Critical")
    expect(card(page, "RFCES").locator(".indicator svg")).to_be_visible()


def test_silence_is_explained_and_not_taken_for_safety(page: Page, site: Site) -> None:
    """Where no card comes, the page says so and claims nothing more."""
    open_chart(page, site, "resolved")
    expect(page.locator("#cards")).to_contain_text("that rules nothing out")


def test_an_accepted_order_is_in_the_chart_and_the_next_opening_knows_it(
    page: Page, site: Site
) -> None:
    """The MRI appears among the orders; when the chart is opened again nobody asks for it."""
    open_chart(page, site, "no-relief")
    offer = card(page, "IMGMRINR")
    expect(offer.get_by_text("✓ Recommended")).to_have_count(1)
    offer.get_by_role("button", name="Order: MRI lumbar spine without contrast").click()
    expect(offer.get_by_text("Ordered, in the chart now. The service was told.")).to_be_visible()
    for button in offer.get_by_role("button", name=re.compile("^Order:")).all():
        expect(button).to_be_disabled()
    orders = page.locator("#lists section", has=page.get_by_role("heading", name="Orders"))
    expect(orders.get_by_text("new", exact=True)).to_be_visible()
    open_again(page)
    expect(card(page, "IMGMRINR")).to_have_count(0)


def test_a_card_is_set_aside_with_a_reason_the_service_hears(page: Page, site: Site) -> None:
    """The reason and comment are sent as feedback, and the card can do no more."""
    open_chart(page, site, "late-stenosis")
    offer = page.locator(".card").first
    offer.get_by_text("Set this card aside").click()
    offer.get_by_label("Reason").select_option("Patient declined")
    offer.get_by_label("Comment (optional)").fill("asked in clinic")
    offer.get_by_role("button", name="Set aside").click()
    expect(offer.get_by_role("status").filter(has_text="Set aside")).to_have_text(
        "Set aside: Patient declined. The service was told."
    )
    for button in offer.get_by_role("button").all():
        expect(button).to_be_disabled()


def test_cards_follow_the_slider_through_time(page: Page, site: Site) -> None:
    """On day 89 it is too early; one day later the MRI is proposed."""
    open_chart(page, site, "too-early")
    slider = page.get_by_role("slider")
    slider.evaluate("(s) => { s.value = 89; s.dispatchEvent(new Event('input')); }")
    expect(page.locator("#viewing")).to_contain_text("Day 89 ·")
    expect(card(page, "EARLYWATCH")).to_be_visible()
    expect(card(page, "IMGMRINR")).to_have_count(0)
    page.get_by_role("button", name="Next change").click()
    expect(page.locator("#viewing")).to_contain_text("Day 90 ·")
    expect(card(page, "IMGMRINR")).to_be_visible()
    expect(card(page, "EARLYWATCH")).to_have_count(0)
    page.get_by_role("button", name="Today").click()
    expect(page.locator("#viewing")).to_contain_text("today")


def test_a_link_opens_the_chart_on_its_day_or_today(page: Page, site: Site) -> None:
    """A link with a day that is none said "Day NaN" and to reload."""
    address = f"{site.ehr}/patients/plcds-too-early"
    page.goto(f"{address}?asOf=2026-02-30")
    expect(page.locator("#viewing")).to_contain_text("today")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    day_back = page.evaluate("new Date(Date.now() - 86400000).toISOString().slice(0, 10)")
    page.goto(f"{address}?asOf={day_back}")
    expect(page.locator("#viewing")).to_contain_text(f"{day_back} · in the past")


def test_the_picture_shows_operation_scores_lines_and_when_cards_come(
    page: Page, site: Site
) -> None:
    """Everything of the timeline is there, in the picture and as a table for screen readers."""
    open_chart(page, site, "after-fusion")
    words = page.locator("#timeline svg text").all_text_contents()
    for wanted in ("operation", "day 90", "day 365", "significant", "from 4", "Tests", "Orders"):
        assert wanted in words
    assert page.locator("#timeline .series.leg").count() == 1
    assert page.locator("#timeline .series.back").count() == 1
    page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="Course since surgery as a table")
    expect(table.get_by_role("row").filter(has_text="Lumbar fusion")).to_be_visible()
    expect(table).to_contain_text("CT to assess fusion: day 365 to")


@pytest.mark.parametrize("delivery", ["pull", "both"])
def test_the_chart_travels_as_the_developer_chooses(page: Page, site: Site, delivery: str) -> None:
    """With a FHIR server and a token the same cards come, and the request shows how."""
    open_chart(page, site, "recurrent-herniation")
    page.get_by_text("For developers").click()
    page.get_by_label("How the chart travels").select_option(delivery)
    page.get_by_role("tab", name="Request").click()
    expect(page.locator("#view-request")).to_contain_text("fhirAuthorization")
    expect(page.locator("#view-request")).to_contain_text("(shortened)")
    expect(page.locator(".card")).to_have_count(2)


def test_the_cards_come_in_the_dialect_of_the_chosen_ehr(page: Page, site: Site) -> None:
    """As Epic, each button is one order of its list; one is accepted, and the service hears it."""
    open_chart(page, site, "recurrent-herniation")
    page.get_by_text("For developers").click()
    page.get_by_label("Kind of EHR").select_option("epic")
    page.get_by_role("tab", name="Answer").click()
    expect(page.locator("#view-answer")).to_contain_text("preference-list-item")
    offer = card(page, "IMGMRIRTR")
    offer.get_by_role("button", name=re.compile("^Order:")).first.click()
    expect(offer.get_by_text("Ordered, in the chart now. The service was told.")).to_be_visible()


def test_every_row_tells_why_or_why_not(page: Page, site: Site) -> None:
    """The developer panel lists the whole decision table and marks what is shown."""
    open_chart(page, site, "no-relief")
    page.get_by_text("For developers").click()
    rows = page.get_by_role("region", name="Decision table").get_by_role("row")
    assert rows.count() > 35
    expect(rows.filter(has_text="IMG-MRI-NR")).to_contain_text("✓ Card shown")
    expect(rows.filter(has_text="RF-CES")).to_contain_text("Not met")
    expect(rows.filter(has_text="CT-FUSION")).to_contain_text("missing: the operation was a fusion")
    expect(rows.filter(has_text="PT-REF")).not_to_contain_text("missing")


def test_an_unknown_patient_gets_a_page_with_words(page: Page, site: Site) -> None:
    """A wrong address shows a page with a way back, not raw data."""
    answer = page.request.get(f"{site.ehr}/patients/nobody")
    assert answer.status == 404
    assert "There is no such page or patient here" in answer.text()
    assert 'href="/"' in answer.text()


def test_the_list_is_searched_by_name_or_story(page: Page, site: Site) -> None:
    """Somebody who remembers a word of a story finds the chart."""
    page.goto(site.ehr)
    page.get_by_label("Name or story").fill("pacemaker")
    page.keyboard.press("Enter")
    expect(page.locator(".patient")).to_have_count(1)
    page.get_by_role("link", name="Show all").click()
    assert page.locator(".patient").count() > 15


def test_a_card_leads_to_its_guidance_page(page: Page, site: Site) -> None:
    """The link on the card opens the page of that card on the service."""
    open_chart(page, site, "no-relief")
    with page.context.expect_page() as opened:
        card(page, "IMGMRINR").get_by_role("link", name="What this card means").click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text(
        "MRI for pain that was not relieved"
    )
    assert opened.value.url == f"{site.service}/guidance/IMG-MRI-NR"


def test_every_broken_request_shows_the_status_it_promises(page: Page, site: Site) -> None:
    """Each button sends its wrong request to the real service; the answer is the promised one."""
    open_chart(page, site, "no-relief")
    page.get_by_text("For developers").click()
    page.get_by_role("tab", name="Break it").click()
    result = page.locator("#break-result")
    buttons = page.locator("[data-breakage]")
    assert buttons.count() == len(BREAKAGES)
    last = [b for b in BREAKAGES if b.id != "slow-fhir"]
    for breakage in [*last, *(b for b in BREAKAGES if b.id == "slow-fhir")]:
        page.locator(f'[data-breakage="{breakage.id}"]').click()
        expect(result.get_by_role("heading")).to_have_text(breakage.title)
        promised = STATUS.search(breakage.expectation)
        assert promised, breakage.expectation
        expect(result.locator(".status")).to_have_text(f"Status {promised.group()}")
        page.locator("#break-result").evaluate("(place) => place.replaceChildren()")
