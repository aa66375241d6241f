"""The pages of a panel in production below /holdfast, behind Debian's nginx with buffering on."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from cryptography.fernet import Fernet
from playwright.sync_api import Page, expect

from tests.browser.small_fleet import Fleet, running_fleet, sign_in_at
from tests.servers import wait_until
from tests.servers.browser import OpenTab, Tab
from tests.servers.cluster import EMAIL, PASSWORD
from tests.servers.nginx import NginxServer, running_nginx
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
PREFIX = "/holdfast"
DASHBOARD = f"{PREFIX}/admin/backup-maintenance/"
POLLING = "No live stream; asking every 3 s instead"
# How long the page waits for an event, and until it tries a stream again.
SILENCE_SECONDS, RETRY_SECONDS = 7, 15
# Long enough for a stream to be tried again while it runs.
UPLOAD_SECONDS = 60


@pytest.fixture(scope="module")
def shared_fleet(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    settings = {
        "HOLDFAST_ENVIRONMENT": "production",
        "HOLDFAST_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "HOLDFAST_URL_PREFIX": PREFIX,
        "HOLDFAST_TRUSTED_PROXIES": "127.0.0.1",
    }
    directory = tmp_path_factory.mktemp("proxied")
    with running_fleet(directory, redis_server.url, settings) as fleet:
        fleet.slow_down(UPLOAD_SECONDS)
        yield fleet


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    yield shared_fleet
    shared_fleet.end_all()


@pytest.fixture
def nginx(fleet: Fleet) -> Iterator[NginxServer]:
    """An nginx that hands events on as they come, since the panel asks for it."""
    with running_nginx(fleet.cluster.port, prefix=PREFIX, tls=True) as server:
        yield server


@pytest.fixture
def tabs(fleet: Fleet, nginx: NginxServer, open_tab: OpenTab) -> Iterator[list[Tab]]:
    """The dashboard and the page of the large site, each signed in by the form it led to."""
    site = f"{PREFIX}/sites/{fleet.sites['large.example']}/"
    found = []
    for path in (DASHBOARD, site):
        tab = open_tab(nginx.url.removesuffix(PREFIX), ignore_https_errors=True)
        page = sign_in_at(tab, path, EMAIL, PASSWORD)
        assert page.url.endswith(path)
        page.evaluate("window.isSameAsBefore = true")
        found.append(tab)
    yield found
    for tab in found:
        tab.page.goto("about:blank")


def says(page: Page, words: str, seconds: float) -> None:
    expect(page.locator("[data-connection]")).to_have_text(words, timeout=seconds * 1000)


def bar_of(page: Page) -> str:
    return ".running-row progress" if page.url.endswith("maintenance/") else "[data-bar]"


def moves(page: Page, seconds: float = 20) -> None:
    bar = page.locator(bar_of(page))
    expect(bar).to_be_visible(timeout=10_000)
    before = bar.evaluate("bar => bar.value")
    wait_until(lambda: bar.evaluate("bar => bar.value") > before, seconds, "the bar moves")


def test_pages_work_whole_below_the_prefix(fleet: Fleet, tabs: list[Tab]) -> None:
    dashboard, site = (tab.page for tab in tabs)
    for page in (dashboard, site):
        addresses = page.evaluate(
            "() => [...document.querySelectorAll('[href], [src], [action], [data-post]')]"
            ".map((e) => e.getAttribute('href') ?? e.getAttribute('src')"
            " ?? e.getAttribute('action') ?? e.dataset.post)"
        )
        outside = [one for one in addresses if one.startswith("/") and not one.startswith(PREFIX)]
        assert (outside, len(addresses) > 10) == ([], True)
    says(dashboard, "Live", 5)
    site.get_by_role("button", name="Start backup").click()
    for page in (dashboard, site):
        moves(page)
        says(page, "Live", 5)
    dashboard.locator(".running-row").get_by_role("link", name="large.example").click()
    dashboard.wait_for_url(f"**{PREFIX}/sites/{fleet.sites['large.example']}/")
    site.get_by_role("button", name="Stop", exact=True).click()
    site.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    for page in (dashboard, site):
        expect(page.locator("#backup")).to_have_attribute("data-state", "stopped", timeout=30_000)


def test_session_that_ended_leads_to_sign_in_below_the_prefix(tabs: list[Tab]) -> None:
    tab = tabs[0]
    tab.expect(401, f"{PREFIX}/")
    tab.page.context.clear_cookies()
    link = tab.page.get_by_role("link", name="Sign in again")
    expect(link).to_have_attribute(
        "href", f"{PREFIX}/sign-in/?next={DASHBOARD.replace('/', '%2F')}", timeout=20_000
    )


def test_page_asks_by_itself_while_nginx_holds_events_back_and_is_live_afterwards(
    fleet: Fleet, nginx: NginxServer, tabs: list[Tab]
) -> None:
    nginx.reload(holds_events=True)
    asked: dict[str, list[float]] = {"poll": [], "stream": []}
    page = tabs[0].page
    for tab in tabs:
        tab.take_clock()
        tab.page.reload()
        tab.page.evaluate("window.isSameAsBefore = true")
    page.on("request", lambda request: note(asked, request.url))
    fleet.start("large.example")
    for tab in tabs:
        tab.skip(SILENCE_SECONDS)
        says(tab.page, POLLING, 12)
        moves(tab.page)
    # It goes on asking while it tries whether a stream works by now.
    tries = len(asked["stream"])
    tabs[0].skip(RETRY_SECONDS)
    wait_until(lambda: page.title() and len(asked["stream"]) > tries, 30, "a stream is tried")
    times = asked["poll"]
    polls = len(times)
    wait_until(lambda: page.title() and len(times) >= polls + 2, 10, "it is asked on")
    assert max(after - before for before, after in pairwise(times)) < 5
    nginx.reload(holds_events=False)
    for tab in tabs:
        becomes_live(tab)
        moves(tab.page)
        assert tab.page.evaluate("window.isSameAsBefore === true")


def becomes_live(tab: Tab) -> None:
    """Let what the page waits for be over: that a stream says something, then its next try."""
    for seconds in (SILENCE_SECONDS, RETRY_SECONDS):
        tab.skip(seconds)
        with contextlib.suppress(AssertionError):
            return says(tab.page, "Live", 5)
    return says(tab.page, "Live", 20)


def note(asked: dict[str, list[float]], url: str) -> None:
    if re.search(r"/running(\?|$)", url):
        asked["poll"].append(time.monotonic())
    elif "running-sse" in url:
        asked["stream"].append(time.monotonic())
