"""The page of a site for each role: what is offered to whom, and what is refused how."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NODE_ADMIN, Lived
from tests.browser.people import PEOPLE_PASSWORD, created
from tests.browser.site_page import SitePage, add_site, back_up
from tests.servers.browser import PHONE, OpenTab, Tab

pytestmark = pytest.mark.slow
OWNER = "owner@example.com"


@pytest.fixture(scope="module")
def owned(lived: Lived) -> dict[str, Any]:
    """A site with a backup, and its admin, whom the admin's pages do not let in."""
    site = add_site(lived, "owned.example")
    back_up(lived.cluster, site["id"])
    body = {"email": OWNER, "role": "site_admin", "password": PEOPLE_PASSWORD}
    person = created(lived.cluster, "/api/v1/users/", body)
    assert person["is_staff"] is False
    path = f"/api/v1/users/{person['id']}/sites"
    assert lived.cluster.request("PUT", path, {"site_ids": [site["id"]]}).status == 200
    return {**site, "owner_id": person["id"]}


def sign_in(tab: Tab, email: str = OWNER, password: str = PEOPLE_PASSWORD) -> None:
    tab.page.get_by_label("E-mail address or user name").fill(email)
    tab.page.get_by_label("Password").fill(password)
    tab.page.get_by_role("button", name="Sign in").click()


def test_site_admin_finds_just_what_is_theirs(
    owned: dict[str, Any], lived: Lived, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(lived.cluster)
    tab.open("/")
    expect(tab.page).to_have_url(re.compile("/sign-in/"))
    sign_in(tab, password="wrong")
    expect(tab.page.get_by_role("alert")).to_be_visible()
    tab.page.screenshot(path=tmp_path / "sign-in.png")
    assert tab.violations() == []
    sign_in(tab)
    expect(tab.page).to_have_url(re.compile("/sites/$"))
    rows = tab.page.locator("#sites tbody tr")
    expect(rows).to_have_count(1)
    tab.page.screenshot(path=tmp_path / "sites.png")
    assert tab.violations() == []
    rows.get_by_role("link", name="owned.example").click()
    site = SitePage(tab, owned["id"], tmp_path)
    site.expect_state("completed")
    site.expect_buttons("Start new backup", "Download", "View logs")
    for name in ("Restore", "Browse", "Prove", "Download"):
        button = tab.page.locator("[data-history-rows]").get_by_role("button", name=name)
        expect(button.first).to_be_visible()
    for name in ("Delete", "Reset"):
        expect(tab.page.get_by_role("button", name=name)).to_have_count(0)
    for name in ("Settings", "Admin", "Dashboard"):
        expect(tab.page.get_by_role("link", name=name)).to_have_count(0)
    site.look("owner")
    # Where a copy goes is for those who manage the node, and there is no other site to choose from.
    tab.page.locator("[data-history-rows]").get_by_role("button", name="Restore").first.click()
    dialog = tab.page.locator("dialog#restore")
    dialog.get_by_label("As a copy").check()
    expect(dialog.get_by_label("Folder of the copy")).to_be_hidden()
    dialog.get_by_role("button", name="Cancel").click()
    expect(tab.page.get_by_role("button", name="Restore another site")).to_have_count(0)
    site.button("start").click()
    expect(site.backup.locator("[data-headline]")).to_contain_text("Stage")
    site.expect_state("completed")
    expect(tab.page.locator("[data-history-rows] tr")).to_have_count(2)


def test_site_admin_changes_pauses_and_resumes_the_schedule(
    owned: dict[str, Any], lived: Lived, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(lived.cluster, timezone_id="Asia/Kolkata")
    tab.open(f"/sites/{owned['id']}/")
    sign_in(tab)
    site = SitePage(tab, owned["id"], tmp_path)
    site.expect_state("completed")
    tab.expect(400, "/api/v1/sites/")
    card, dialog = tab.page.locator("#schedule"), tab.page.locator("#schedule-change")
    save = dialog.get_by_role("button", name="Save")
    card.get_by_role("button", name="Change schedule").click()
    expect(dialog.get_by_label("At", exact=True)).to_be_hidden()
    dialog.get_by_label("How often").select_option("Weekly")
    dialog.get_by_label("At", exact=True).fill("23:15")
    dialog.get_by_label("On the clocks of").fill("Berlin")
    dialog.get_by_label("Starts within").fill("0")
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("A weekly schedule needs its days")
    dialog.get_by_label("Monday").check()
    dialog.get_by_label("Thursday").check()
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("IANA name")
    site.look("schedule-form")
    tab.page.set_viewport_size(PHONE)
    site.look("schedule-form-phone")
    dialog.get_by_label("On the clocks of").fill("Europe/Berlin")
    dialog.get_by_label("On the clocks of").press("Enter")
    expect(card).to_contain_text("Weekly on Monday and Thursday at 23:15, Europe/Berlin")
    expect(card.locator("tbody tr")).to_have_count(5)
    expect(tab.page.locator("#schedule-title")).to_be_focused()

    card.get_by_role("button", name="Pause schedule").click()
    dialog = tab.page.locator("#schedule-pause")
    dialog.get_by_label("Until, on your own clock").fill("2020-01-01T00:00")
    dialog.get_by_label("Why").fill("It moves")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Give a moment in the future")
    site.look("pause-phone")
    dialog.get_by_label("Until, on your own clock").fill("2090-01-02T09:00")
    dialog.get_by_role("button", name="Pause").click()
    # Half past three in Greenwich, where it is nine in Kolkata.
    words = f"The schedule is paused until 2090-01-02 03:30 UTC by {OWNER}: It moves."
    expect(card).to_contain_text(words)
    expect(tab.page.locator(".site-head")).to_contain_text("schedule paused")
    site.look("paused-phone")
    card.get_by_role("button", name="Resume").click()
    expect(card).not_to_contain_text("paused")

    card.get_by_role("button", name="Change schedule").click()
    dialog = tab.page.locator("#schedule-change")
    expect(dialog.get_by_label("Thursday")).to_be_checked()
    dialog.get_by_label("How often").select_option("Cron expression")
    expect(dialog.get_by_label("Thursday")).to_be_hidden()
    dialog.get_by_label("Cron expression", exact=True).fill("30 2 * * 1-5")
    save.click()
    expect(card).to_contain_text("By the cron expression 30 2 * * 1-5, Europe/Berlin")
    card.get_by_role("button", name="Change schedule").click()
    dialog.get_by_label("How often").select_option("By hand only")
    save.click()
    expect(card).to_contain_text("No backup starts by itself.")


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}])
def test_refusals_are_pages_for_people(
    options: dict[str, Any],
    owned: dict[str, Any],
    lived: Lived,
    open_tab: OpenTab,
    tmp_path: Path,
) -> None:
    tab = open_tab(lived.cluster, **options)
    foreign = f"/sites/{lived.failing['id']}/"
    tab.expect(403, foreign)
    tab.expect(404, "/sites/9999999/")
    tab.open(foreign)
    sign_in(tab)
    expect(tab.page.get_by_role("heading", name="Not yours to see")).to_be_visible()
    pages = {foreign: "Not yours to see", "/sites/9999999/": "There is nothing at this address"}
    for path, heading in pages.items():
        page = tab.open(path)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.get_by_role("link", name="Sites")).to_be_visible()
        page.screenshot(path=tmp_path / f"{heading[:3]}.png")
        assert tab.violations() == []
    tab.page.get_by_role("link", name="Back to the start").click()
    expect(tab.page).to_have_url(re.compile("/sites/$"))


def test_node_admin_may_reset_and_delete(
    owned: dict[str, Any],
    lived: Lived,
    open_tab: OpenTab,
    session_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    session = session_of(lived.cluster, NODE_ADMIN, PEOPLE_PASSWORD)
    tab = open_tab(lived.cluster, storage_state=session)
    site = SitePage(tab, owned["id"], tmp_path).open()
    site.expect_buttons("Start new backup", "Download", "View logs", "Reset …")
    expect(tab.page.get_by_role("button", name="Delete").first).to_be_visible()
    site.look("node-admin")
    tab.page.get_by_role("link", name="Settings").click()
    expect(tab.page.locator("[name=name]")).to_have_value("owned.example")


def test_page_says_so_when_the_site_is_taken_away(
    owned: dict[str, Any], lived: Lived, open_tab: OpenTab, tmp_path: Path
) -> None:
    tab = open_tab(lived.cluster)
    tab.open(f"/sites/{owned['id']}/")
    sign_in(tab)
    site = SitePage(tab, owned["id"], tmp_path)
    site.expect_state("completed")
    tab.expect(403, "/")
    path = f"/api/v1/users/{owned['owner_id']}/sites"
    assert lived.cluster.request("PUT", path, {"site_ids": []}).status == 200
    expect(site.page.locator("[data-connection]")).to_have_attribute("data-kind", "lost")
    site.look("taken-away")
    site.button("start").click()
    expect(site.page.get_by_role("alert")).to_be_visible()
    site.look("taken-away-start")
    assert lived.cluster.request("PUT", path, {"site_ids": [owned["id"]]}).status == 200
