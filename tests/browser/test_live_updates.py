"""Live updates when things go wrong: the panel dies, the session ends, a right is taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import PEOPLE_PASSWORD
from tests.browser.small_fleet import Fleet, fill_in, sign_in_at
from tests.servers import wait_until
from tests.servers.browser import OpenTab, Tab
from tests.servers.cluster import EMAIL, PASSWORD

pytestmark = pytest.mark.slow
DASHBOARD = "/admin/backup-maintenance/"
# A page finds out within this, by an event or by asking.
SOON_MS = 20_000
# After which it tries a stream again.
RETRY_SECONDS = 15
# Long enough to be seen by all, and so short that a bar moves every other second.
UPLOAD_SECONDS = 40
FORGET = """
from django.contrib.sessions.models import Session
print(Session.objects.filter(pk__in={keys!r}).delete()[0])
"""


@pytest.fixture(scope="module")
def slow_fleet(shared_fleet: Fleet) -> Fleet:
    shared_fleet.slow_down(UPLOAD_SECONDS)
    return shared_fleet


@pytest.fixture
def fleet(slow_fleet: Fleet) -> Iterator[Fleet]:
    yield slow_fleet
    slow_fleet.end_all()


@dataclass
class Watched:
    """A page that shows how a backup goes."""

    tab: Tab
    path: str
    bar: str

    @property
    def page(self) -> Page:
        return self.tab.page

    def says(self, words: str | re.Pattern[str], timeout: float = SOON_MS) -> None:
        expect(self.page.locator("[data-connection]")).to_contain_text(words, timeout=timeout)

    def progress(self) -> float:
        return float(self.page.locator(self.bar).evaluate("bar => bar.value"))

    def moves(self) -> None:
        """Wait until the bar shows more than now."""
        now = self.progress()
        wait_until(lambda: self.progress() > now, 20, "the bar moves")

    def never_reloaded(self) -> bool:
        return bool(self.page.evaluate("window.isSameAsBefore === true"))


@pytest.fixture
def watched(fleet: Fleet, open_tab: OpenTab) -> Iterator[list[Watched]]:
    """The dashboard and the site's page, in one context, while a backup runs."""
    fleet.start("large.example")
    site = f"/sites/{fleet.sites['large.example']}/"
    pages = []
    for path, bar in ((DASHBOARD, ".running-row progress"), (site, "[data-bar]")):
        tab = open_tab(fleet.cluster)
        tab.take_clock()
        tab.sign_in(then=path)
        one = Watched(tab, path, bar)
        one.says("Live")
        one.page.evaluate("window.isSameAsBefore = true")
        pages.append(one)
    yield pages


def test_pages_go_on_when_the_panel_was_killed_and_came_back(
    fleet: Fleet, watched: list[Watched]
) -> None:
    for one in watched:
        one.moves()
        for path in ("/admin/", "/api/", "/sites/"):
            one.tab.expect(0, path)
    fleet.cluster.daemons["panel"].kill()
    for one in watched:
        one.says("The panel does not answer.")
    fleet.cluster.start_panel()
    for one in watched:
        one.says(re.compile("^Live$|No live stream; asking every 3 s"))
        one.tab.skip(RETRY_SECONDS)
        one.says("Live")
        one.moves()
        assert one.never_reloaded()
    dashboard, site = watched
    fleet.end_all()
    expect(site.page.locator("#backup")).to_have_attribute("data-state", "stopped", timeout=SOON_MS)
    expect(dashboard.page.locator("[data-running-empty]")).to_be_visible(timeout=SOON_MS)
    # What is started next shows up on both, still without a reload.
    fleet.start("large.example")
    for one in watched:
        expect(one.page.locator(one.bar)).to_be_visible(timeout=SOON_MS)
        one.says("Live")
        one.moves()
        assert one.never_reloaded()
        assert one.page.locator("#notices .notice").count() == 0


def test_page_that_lost_its_session_leads_to_sign_in_and_back(
    fleet: Fleet, watched: list[Watched]
) -> None:
    for one in watched:
        one.tab.expect(401, "/")
    keys = [cookie["value"] for one in watched for cookie in one.page.context.cookies()]
    assert int(fleet.shell(FORGET.format(keys=keys))) == len(watched)
    for one in watched:
        notice = one.page.locator("#notices [data-key=session]")
        expect(notice).to_contain_text("Your session has ended", timeout=SOON_MS)
        assert one.page.locator("#notices .notice").count() == 1
        assert one.tab.violations() == []
        notice.get_by_role("link", name="Sign in again").click()
        fill_in(one.page, EMAIL, PASSWORD)
        one.page.wait_for_url(re.compile(rf":\d+{one.path}$"))
        one.says("Live")


def test_signing_out_in_another_tab_is_noticed(fleet: Fleet, watched: list[Watched]) -> None:
    one = watched[1]
    one.tab.expect(401, "/")
    other = one.page.context.new_page()
    other.goto("/sites/")
    other.get_by_role("button", name="Sign out").click()
    expect(one.page.locator("#notices")).to_contain_text("Sign in again", timeout=SOON_MS)
    button = one.page.get_by_role("button", name="Stop", exact=True)
    button.click()
    one.page.get_by_role("dialog").get_by_role("button", name="Stop it").click()
    # Nothing was stopped, and nothing claims that it was.
    expect(button).not_to_have_attribute("aria-disabled", "true")
    assert one.page.locator("#notices .notice").count() == 1
    assert fleet.status("large.example")["status"] == "running"


def test_person_who_was_deactivated_sees_no_more(fleet: Fleet, open_tab: OpenTab) -> None:
    person = fleet.add_person("gone@example.com", "node_admin", node=fleet.nodes["web-01"])
    fleet.start("large.example")
    tabs = []
    for path in (DASHBOARD, f"/sites/{fleet.sites['large.example']}/"):
        tab = open_tab(fleet.cluster)
        tab.sign_in("gone@example.com", PEOPLE_PASSWORD, then=path)
        expect(tab.page.locator("[data-connection]")).to_have_text("Live")
        tab.expect(401, "/")
        tabs.append(tab)
    fleet.cluster.request("PATCH", f"/api/v1/users/{person}", {"is_active": False})
    for tab in tabs:
        expect(tab.page.locator("#notices")).to_contain_text("session has ended", timeout=SOON_MS)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "ended"])
def test_right_that_was_taken_away_is_told_apart_from_a_session_that_ended(
    is_running: bool, fleet: Fleet, open_tab: OpenTab
) -> None:
    site = fleet.sites["large.example" if is_running else "good.example"]
    email = f"former-{is_running}@example.com".lower()
    person = fleet.add_person(email, "site_admin", is_staff=False, site=site)
    if is_running:
        fleet.start("large.example")
    tab = open_tab(fleet.cluster)
    sign_in_at(tab, f"/sites/{site}/", email, PEOPLE_PASSWORD)
    expect(tab.page.locator("[data-connection]")).to_have_text(re.compile("Live|Up to date"))
    tab.expect(403, "/api/v1/")
    fleet.assign(person, "site")
    expect(tab.page.locator("#notices")).to_contain_text("right to it was taken", timeout=SOON_MS)
    assert "session" not in tab.page.locator("#notices").inner_text()
    tab.open("/sites/")
    expect(tab.page.locator("#sites")).to_contain_text("No site is assigned to you.")


def test_dashboard_shows_what_a_new_role_may_see(fleet: Fleet, open_tab: OpenTab) -> None:
    person = fleet.add_person("risen@example.com", "node_admin", node=fleet.nodes["web-02"])
    fleet.start("large.example")
    tab = open_tab(fleet.cluster)
    tab.sign_in("risen@example.com", PEOPLE_PASSWORD, then=DASHBOARD)
    expect(tab.page.locator("[data-running-empty]")).to_be_visible()
    fleet.cluster.request("PATCH", f"/api/v1/users/{person}", {"role": "super_admin"})
    expect(tab.page.locator(".running-row")).to_be_visible(timeout=SOON_MS)
    expect(tab.page.locator("[data-connection]")).to_have_text("Live", timeout=SOON_MS)
