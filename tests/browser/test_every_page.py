"""Every kind of page: accessible by axe-core, light and dark, from side panel to wide screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.running import Site

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]

EHR_PAGES = (
    "/",
    "/?name=nobody-is-called-so",
    "/patients/plcds-no-relief",
    "/patients/plcds-cauda-equina",
    "/patients/plcds-resolved",
    "/patients/plcds-late-stenosis",
    "/patients/plcds-after-fusion",
)
SERVICE_PAGES = (
    "/",
    "/guidance/",
    "/guidance/IMG-MRI-NR",
    "/guidance/RF-CES",
    "/guidance/SCS-EVAL",
    "/guidance/DATA-DATE",
)
PAGES = [*(("ehr", path) for path in EHR_PAGES), *(("service", path) for path in SERVICE_PAGES)]
DARKEST_SUM, LIGHTEST_SUM = 150, 600
"""Of red, green and blue."""
KINDS = pytest.mark.parametrize(("place", "path"), PAGES)


def visit(page: Page, site: Site, place: str, path: str) -> None:
    """Open a page and everything on it that can be opened."""
    page.goto((site.ehr if place == "ehr" else site.service) + path)
    if path.startswith("/patients/"):
        expect(page.locator("#cards-status")).to_contain_text("answered in")
        expect(page.locator("#timeline svg")).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.evaluate("document.querySelectorAll('[role=tabpanel]').forEach(p => p.hidden = false)")


def violations(page: Page, *rules: str) -> list[Any]:
    """Return what axe-core complains of: rule, weight, places."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = Axe().run(page, options=options).response["violations"]
    return [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]][:4])
        for one in found
    ]


@KINDS
def test_axe_finds_nothing(
    new_page: Callable[..., Page], site: Site, place: str, path: str
) -> None:
    """axe-core has no complaint of any weight, with every part of the page open, light and dark."""
    page = new_page(color_scheme="light", reduced_motion="reduce")
    visit(page, site, place, path)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []
    assert _is_dark(page)


def test_axe_does_find_what_is_wrong(new_page: Callable[..., Page], site: Site) -> None:
    """The check above can fail: a field without a name is found."""
    page = new_page()
    page.goto(site.ehr)
    page.evaluate("document.querySelector('main').append(document.createElement('select'))")
    assert [rule for rule, _, _ in violations(page)] == ["select-name"]


@KINDS
def test_nothing_is_scrolled_sideways(
    new_page: Callable[..., Page], site: Site, place: str, path: str
) -> None:
    """At 300, 768 and 1440 pixels all is inside the window, and with letters twice as big."""
    page = new_page(viewport={"width": 300, "height": 900})
    visit(page, site, place, path)
    for width in (300, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert _outside(page, width) == []
        assert _squeezed(page) == []
        assert _overlapping(page) == []
    page.set_viewport_size({"width": 390, "height": 900})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("path", "place"),
    [("/", ".patient-title"), ("/patients/plcds-resolved", ".banner h1")],
)
def test_a_name_without_a_gap_stays_inside_the_window(
    new_page: Callable[..., Page], site: Site, path: str, place: str
) -> None:
    """A patient of a FHIR server may be called by an id of 64 letters, or by one long word."""
    page = new_page(viewport={"width": 375, "height": 900})
    visit(page, site, "ehr", path)
    page.locator(place).first.evaluate("(name) => { name.textContent = 'Wolfe'.repeat(20); }")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def _squeezed(page: Page) -> list[str]:
    """Return texts of more than twenty letters that stand in a column of a few letters."""
    squeezed: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('main :is(p, li, caption, th, td, h1, h2, h3, dd)')]
        .filter((e) => e.checkVisibility() && e.textContent.trim().length > 20)
        .filter((e) => e.getBoundingClientRect().width < 60)
        .map((e) => e.textContent.trim())"""
    )
    return squeezed


def _overlapping(page: Page) -> list[str]:
    """Return the names of lanes that what happened in the lane is written over."""
    overlapping: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('#timeline .lane-label')].filter((label) => {
        const a = label.getBoundingClientRect();
        return [...document.querySelectorAll('#timeline .event-text')].some((e) => {
          const b = e.getBoundingClientRect();
          return a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 4 && b.top < a.bottom - 4;
        });
        }).map((label) => label.textContent)"""
    )
    return overlapping


def _outside(page: Page, width: int) -> list[str]:
    """Return buttons, links, headings and labels of the picture that leave the window."""
    outside: list[str] = page.evaluate(
        """(width) => [...document.querySelectorAll('main button, main a, main h3, #timeline text')]
        .filter((e) => e.checkVisibility() && !e.closest('.scrolls'))
        .map((e) => [e.textContent, e.getBoundingClientRect()])
        .filter(([, r]) => r.width && (r.right > width + 1 || r.left < -1))
        .map(([text]) => text)""",
        width,
    )
    return outside


def _is_dark(page: Page) -> bool:
    """Return whether the page has a dark ground and light letters."""
    ground, letters = page.evaluate(
        """() => ['backgroundColor', 'color'].map((part) =>
        getComputedStyle(document.body)[part].match(/\\d+/g).slice(0, 3)
        .reduce((sum, one) => sum + Number(one), 0))"""
    )
    return bool(ground < DARKEST_SUM and letters > LIGHTEST_SUM)


@pytest.mark.parametrize("card", ["IMG-MRI-NR", "RF-CES"])
def test_guidance_is_printed_in_black_with_its_sources(
    new_page: Callable[..., Page], site: Site, card: str
) -> None:
    """On paper the page keeps its sections and shows the addresses behind the links."""
    page = new_page()
    page.goto(f"{site.service}/guidance/{card}")
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="When it appears")).to_be_visible()
    expect(page.locator("header")).to_be_hidden()
    after = page.locator(".sources dt a").first.evaluate(
        "(a) => getComputedStyle(a, '::after').content"
    )
    assert "http" in after or "attr" in after
