"""One demo and one browser for all tests of this folder; a fresh page for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip(
    "playwright.sync_api", reason="the package playwright is not installed (make install)"
)

from playwright.sync_api import expect

from tests.browser.running import CHROMIUM, Site, running_browser, running_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MOST_SECONDS = 15
expect.set_options(timeout=MOST_SECONDS * 1000)


@pytest.fixture(scope="session", autouse=True)
def _chromium() -> None:
    """Without Chromium nothing here is started."""
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium, or name it in CHROMIUM")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo, as its own process."""
    with running_site(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with running_browser() as running:
        yield running


@pytest.fixture
def new_page(site: Site, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end none may have had an error or asked anybody else for anything."""
    faults: list[str] = []
    own = {urlsplit(site.ehr).netloc, urlsplit(site.service).netloc}
    contexts = []

    def page(**options: Any) -> Page:  # noqa: ANN401 - any option of a browser context
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(MOST_SECONDS * 1000)
        opened = context.new_page()
        opened.on("console", lambda said: faults.append(said.text) if said.type in WORSE else None)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda asked: faults.extend(_foreign(asked.url, own)))
        return opened

    yield page
    for context in contexts:
        context.close()
    assert faults == []


WORSE = ("error", "warning")


def _foreign(url: str, own: set[str]) -> list[str]:
    parts = urlsplit(url)
    return [] if parts.scheme in {"data", "blob"} or parts.netloc in own else [f"asked for {url}"]


@pytest.fixture
def page(new_page: Callable[..., Page], site: Site) -> Page:
    """A page of usual size, before charts without new orders."""
    opened = new_page(viewport={"width": 1440, "height": 900})
    opened.goto(site.ehr)
    opened.evaluate(
        "fetch('/api/reset', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: '{}'}).then((answer) => answer.ok)"
    )
    return opened
