"""Take the pictures of ``docs/img`` anew: ``make screenshots``.

Starts the demo and Chromium, and says which picture it is taking.  Look at every one afterwards.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page

from cds_service.knowledge.loading import load_knowledge
from cds_service.reporting.page import as_page
from cds_service.reporting.reading import period_of_days
from cds_service.reporting.report import Asked, make_report
from tests.browser.running import CHROMIUM, ROOT, Site, running_browser, running_site
from tests.reporting.simulated import (
    AFTERWARDS,
    FIRST_DAY,
    LAST_DAY,
    Simulation,
    broken,
    days,
    empty_ledger,
)

FOLDER = ROOT / "docs" / "img"
MOST_BYTES = 300_000


def _stays(_: Page) -> None:
    """Leave the page as it opens."""


def _opens_developer_panel(page: Page) -> None:
    page.get_by_text("For developers").click()
    page.get_by_role("tab", name="Break it").click()
    page.get_by_role("button", name="Forged signature").click()
    page.get_by_role("heading", name="Forged signature").wait_for()
    page.locator("#developer").scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.getElementById('developer').offsetTop - 12)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture: of which page, how wide and high, light or dark, after doing what."""

    name: str
    path: str
    width: int = 1440
    height: int = 940
    is_dark: bool = False
    is_guidance: bool = False
    prepare: Callable[[Page], None] = _stays


PICTURES = (
    Picture(name="chart", path="/patients/plcds-recurrent-herniation"),
    Picture(name="list", path="/", height=900),
    Picture(name="red-flag", path="/patients/plcds-cauda-equina"),
    Picture(name="side-panel-300", path="/patients/plcds-no-relief", width=300, height=1250),
    Picture(name="dark", path="/patients/plcds-after-fusion", is_dark=True),
    Picture(name="guidance", path="/guidance/IMG-MRI-RTR", height=1500, is_guidance=True),
    Picture(
        name="developer",
        path="/patients/plcds-no-relief",
        height=1000,
        prepare=_opens_developer_panel,
    ),
)


def main() -> int:
    """Take every picture; return 1 if one is larger than the repository wants."""
    if not CHROMIUM:
        print("No Chromium here: apt-get install chromium, or name it in CHROMIUM.")  # noqa: T201
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    too_large = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder)) as site,
        running_browser() as browser,
    ):
        for number, picture in enumerate(PICTURES, 1):
            size = _take(browser, site, picture)
            too_large += size > MOST_BYTES
            print(f"{number}/{len(PICTURES)} docs/img/{picture.name}.png, {size // 1000} kB")  # noqa: T201
        size = _take_report(browser, Path(folder))
        too_large += size > MOST_BYTES
        print(f"docs/img/report.png, {size // 1000} kB")  # noqa: T201
    return 1 if too_large else 0


def _take(browser: Browser, site: Site, picture: Picture) -> int:
    page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if picture.is_dark else "light",
        reduced_motion="reduce",
    )
    page.goto((site.service if picture.is_guidance else site.ehr) + picture.path)
    if picture.path.startswith("/patients/"):
        page.get_by_text("answered in").wait_for()
        page.locator("#timeline svg").wait_for()
        page.locator("#lists section").first.wait_for()
    picture.prepare(page)
    target = FOLDER / f"{picture.name}.png"
    page.screenshot(path=target)
    page.close()
    return target.stat().st_size


def _take_report(browser: Browser, folder: Path) -> int:
    """Take the committee's page of a made-up fortnight with two hidden faults."""
    engine = empty_ledger()
    simulation = Simulation(engine)
    before = FIRST_DAY - timedelta(days=14)
    simulation.run(days(before, LAST_DAY), a_day=700, change=broken)
    titles = {card.id: card.title for card in load_knowledge().cards.values()}
    period = period_of_days(FIRST_DAY, LAST_DAY)
    asked = Asked(period=period, client=None, made_at=AFTERWARDS, titles=titles)
    path = folder / "report.html"
    path.write_text(as_page(make_report(engine, asked), with_comments=False), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1100, "height": 1950}, color_scheme="light")
    page.goto(path.as_uri())
    target = FOLDER / "report.png"
    page.screenshot(path=target)
    page.close()
    return target.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
