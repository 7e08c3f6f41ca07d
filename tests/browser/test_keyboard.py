"""Everything a clinician does works without a mouse."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.running import Site

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]

MOST_STEPS = 60


def go_to(page: Page, name: str) -> None:
    """Press Tab until the element called *name* has the focus."""
    seen = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        words = page.evaluate(
            "(() => { const e = document.activeElement; const l = e.labels?.[0];"
            " return (e.getAttribute('aria-label') || l?.textContent || e.textContent || '')"
            ".trim(); })()"
        )
        seen.append(words[:50])
        if words.startswith(name):
            return
    raise AssertionError(f"'{name}' was not reached; reached were: {seen}")


def test_a_chart_is_worked_through_with_keys_alone(page: Page, site: Site) -> None:
    """Skip link, patient, slider, order, reason: each is reached by Tab and works by keys."""
    page.goto(site.ehr)
    go_to(page, "Skip to content")
    page.keyboard.press("Enter")
    go_to(page, "Day 60 after disc surgery")
    page.keyboard.press("Enter")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    expect(page.get_by_role("slider")).to_be_enabled()
    go_to(page, "View the chart as of this day")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewing")).to_contain_text("Day 61 ·")
    expect(page.locator("#day")).to_have_attribute("aria-valuetext", re.compile("Day 61.*future"))
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewing")).to_contain_text("today")
    expect(page.locator("#cards")).to_have_attribute("aria-busy", "false")
    go_to(page, "Order: Physical therapy")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ordered, in the chart now.")).to_be_focused()


def test_a_card_is_set_aside_with_keys_alone(page: Page, site: Site) -> None:
    """The reasons open, a reason is chosen and sent without a mouse."""
    page.goto(f"{site.ehr}/patients/plcds-pacemaker")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    go_to(page, "Set this card aside")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    go_to(page, "Set aside")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The service was told.")).to_be_focused()


def test_developer_views_are_changed_with_arrow_keys(page: Page, site: Site) -> None:
    """The views are one stop for Tab; arrows move between them and show them."""
    page.goto(f"{site.ehr}/patients/plcds-resolved")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    go_to(page, "For developers")
    page.keyboard.press("Enter")
    go_to(page, "Why, why not")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Request")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Request")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tabpanel", name="Why, why not")).to_be_visible()


def test_whatever_has_the_focus_shows_it(page: Page, site: Site) -> None:
    """An outline follows the keyboard over the whole chart page."""
    page.goto(f"{site.ehr}/patients/plcds-no-relief")
    expect(page.locator("#cards-status")).to_contain_text("answered in")
    outlines = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        outlines.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert len(outlines) > 15
    assert set(outlines) == {"solid"}
