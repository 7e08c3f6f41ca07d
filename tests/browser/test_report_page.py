"""The committee's page and the page of explanations: accessible, from a phone to paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from cds_service.knowledge.loading import load_knowledge
from cds_service.reporting.page import as_page
from cds_service.reporting.report import make_report
from tests.browser.test_every_page import violations
from tests.ledger.clinic import SERVICE, chart_of, hook_call, make_clinic, new_uuid
from tests.reporting.conftest import asked
from tests.reporting.simulated import (
    FIRST_DAY,
    LAST_DAY,
    Open,
    Simulation,
    broken,
    days,
    empty_ledger,
)

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]
CSS = Path(__file__).parents[2] / "cds_service" / "web" / "static" / "page.css"
NewPage = Callable[..., Page]


def _partly_silent(opened: Open) -> Open:
    return replace(broken(opened), is_silent=int(opened.patient[1:]) % 4 == 0)


@pytest.fixture(scope="module")
def report() -> str:
    """Return a page with alarms, plots, every table, silent mode and comments."""
    engine = empty_ledger()
    Simulation(engine).run(days(FIRST_DAY, LAST_DAY), a_day=200, change=_partly_silent)
    return as_page(make_report(engine, asked()), with_comments=True)


@pytest.fixture
def explanation(tmp_path: Path) -> str:
    """Return the page that explains one call, with its style in it."""
    clinic, name = make_clinic(load_knowledge(), state_dir=tmp_path), new_uuid()
    clinic.client.post(SERVICE, json=hook_call(chart_of("no-relief"), name))
    page: str = clinic.client.get(f"/explain/{name}").text
    clinic.ledger.close()
    link = '<link rel="stylesheet" href="../static/page.css">'
    assert link in page
    style = f"<style>{CSS.read_text(encoding='utf-8')}</style>"
    return page.replace(link, style).replace('<img src="../icon.png"', "<img")


@pytest.mark.parametrize("name", ["report", "explanation"])
def test_page_is_accessible_light_and_dark(
    name: str, request: pytest.FixtureRequest, new_page: NewPage
) -> None:
    """axe-core has no complaint of any weight."""
    page = new_page(color_scheme="light", reduced_motion="reduce")
    page.set_content(request.getfixturevalue(name))
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []


@pytest.mark.parametrize("name", ["report", "explanation"])
@pytest.mark.parametrize("width", [360, 1440])
def test_page_is_not_scrolled_sideways(
    name: str, width: int, request: pytest.FixtureRequest, new_page: NewPage
) -> None:
    """On a phone the wide tables scroll, the page does not, nor with letters twice as big."""
    page = new_page(viewport={"width": width, "height": 800})
    page.set_content(request.getfixturevalue(name))
    for size in ("100%", "200%"):
        page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", size)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_words_of_the_drawings_can_be_read_on_a_phone(report: str, new_page: NewPage) -> None:
    """A drawing that shrinks to the screen does not take its words along: 8 pixels at least."""
    page = new_page(viewport={"width": 360, "height": 800})
    page.set_content(report)
    heights = page.evaluate(
        "[...document.querySelectorAll('svg text')].map((word) => word.getBoundingClientRect()"
        ".height)"
    )
    assert min(heights) >= 8


def test_head_of_a_column_of_words_stands_above_the_words(report: str, new_page: NewPage) -> None:
    """Words begin at the left; the head "Most frequent reason" stood at the right edge."""
    page = new_page()
    page.set_content(report)
    aligned = page.evaluate(
        """() => [...document.querySelectorAll('td.words')].map((cell) => {
        const head = cell.closest('table').tHead.rows[0].cells[cell.cellIndex];
        return getComputedStyle(head).textAlign;
        })"""
    )
    assert aligned
    assert set(aligned) == {"left"}


def test_on_paper_the_numbers_of_now_are_not_smaller_than_those_of_before(
    report: str, new_page: NewPage
) -> None:
    """The table shrank on paper, and what was before did not."""
    page = new_page(color_scheme="light")
    page.set_content(report)
    page.emulate_media(media="print")
    larger = page.evaluate(
        """() => [...document.querySelectorAll('td > .was, th > .id')].filter((part) =>
        parseFloat(getComputedStyle(part).fontSize)
        > parseFloat(getComputedStyle(part.parentElement).fontSize)).length"""
    )
    assert larger == 0


def test_report_is_printed_whole(report: str, new_page: NewPage) -> None:
    """On paper every table is there: nothing waits behind a scroll bar."""
    page = new_page(color_scheme="light")
    page.set_content(report)
    page.emulate_media(media="print")
    hidden = page.evaluate(
        "[...document.querySelectorAll('.scroll')]"
        ".filter((part) => getComputedStyle(part).overflowX !== 'visible').length"
    )
    assert hidden == 0
    assert page.pdf(format="A4", landscape=True).startswith(b"%PDF")
