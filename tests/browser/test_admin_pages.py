"""Every page of the admin in a browser: nothing that keeps people out, and no complaint of its."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NODE_ADMIN, SITE_ADMIN, Lived
from tests.browser.people import PEOPLE_PASSWORD
from tests.servers.browser import OpenTab, Tab

pytestmark = pytest.mark.slow
SessionOf = Callable[..., Any]
MODELS = "#content-main th[scope=row] a"
# The row's own page, and what the list links to beside it.
ROW = "#result_list tbody tr:first-child a"
LINKS_OF_ROW = ".object-tools a.historylink, .submit-row .deletelink, [href$='/password/']"


def addresses(page: Page, selector: str) -> list[str]:
    """Where the links lead, without the part that the page alone knows how to read."""
    found = page.locator(selector).evaluate_all("links => links.map((link) => link.href)")
    return [address.split("#")[0] for address in dict.fromkeys(found)]


def pages_of_list(tab: Tab, address: str, seen: set[str]) -> Iterator[Page]:
    """A model's list and what it links to: searched, filtered, a form to add, a row's pages.

    What no model has of its own is in `seen` from then on: a row's history, a search in vain.
    """
    page = tab.open(address)
    yield page
    more = addresses(page, ".object-tools a.addlink")
    more += addresses(page, "#changelist-filter a")[:1]
    if page.locator("#searchbar").count() and "search" not in seen:
        seen.add("search")
        more.append(f"{address}?q=nothing-is-called-so")
    row = addresses(page, ROW)[:1]
    for other in (*more, *row):
        yield tab.open(other)
    for other in addresses(page, LINKS_OF_ROW) if row else ():
        if other.endswith("/history/"):
            if "history" in seen:
                continue
            seen.add("history")
        yield tab.open(other)


def test_nothing_on_any_page_keeps_people_out(
    lived: Lived, open_tab: OpenTab, session_of: SessionOf
) -> None:
    tab = open_tab(lived.cluster, storage_state=session_of(lived.cluster))
    models = addresses(tab.open("/admin/"), MODELS)
    found, seen = tab.violations(), set[str]()
    for model in models:
        for _ in pages_of_list(tab, model, seen):
            found += tab.violations()
    tab.open("/admin/password_change/")
    assert found + tab.violations() == []
    assert len(models) == 13


@pytest.mark.parametrize(("who", "models"), [(NODE_ADMIN, 12), (SITE_ADMIN, 9)])
def test_every_list_and_row_that_a_role_is_led_to_opens(
    who: str, models: int, lived: Lived, open_tab: OpenTab, session_of: SessionOf
) -> None:
    session = session_of(lived.cluster, who, PEOPLE_PASSWORD)
    tab = open_tab(lived.cluster, storage_state=session)
    lists = addresses(tab.open("/admin/"), MODELS)
    assert len(lists) == models
    for address in lists:
        page = tab.open(address)
        for row in addresses(page, ROW):
            tab.open(row)
            expect(page.locator("#content h1")).to_be_visible()


def choose(page: Page, action: str, *names: str) -> None:
    """Select rows of a list by a word in them, and the action on them."""
    for name in names:
        row = page.locator("#result_list tbody tr", has_text=name).first
        row.locator("input.action-select").check()
    page.locator("select[name=action]").select_option(label=action)
    page.locator("button[name=index]").click()


def test_node_admin_does_the_days_work_in_lists(
    lived: Lived, open_tab: OpenTab, session_of: SessionOf
) -> None:
    session = session_of(lived.cluster, NODE_ADMIN, PEOPLE_PASSWORD)
    tab = open_tab(lived.cluster, storage_state=session)
    page = tab.open("/admin/backups/site/?status=failed")
    expect(page.locator("#result_list")).to_contain_text("failing.example")
    expect(page.locator("#result_list")).not_to_contain_text("good.example")
    choose(page, "Back up selected sites", "failing.example")
    expect(page.locator("#content")).to_contain_text("begins as soon as its node has a free slot")
    found = tab.violations()
    page.get_by_role("button", name="Yes, back them up").click()
    expect(page.locator(".messagelist")).to_contain_text("1 backup started.")
    assert lived.cluster.wait_for_end(lived.failing["id"])["status"] == "failed"

    page = tab.open("/admin/backups/job/")
    choose(page, "Reset selected jobs", "failing.example")
    found += tab.violations()
    page.get_by_role("button", name="Yes, reset them").click()
    expect(page.locator(".messagelist")).to_contain_text("reset to idle for failing.example")

    page = tab.open("/admin/backups/node/")
    choose(page, "Scale selected nodes", "web-01")
    page.locator("[name=slots]").fill("3")
    found += tab.violations()
    page.get_by_role("button", name="Scale them").click()
    expect(page.locator("#result_list")).to_contain_text("3")
    choose(page, "Drain selected nodes", "web-01")
    expect(page.locator("#result_list .badge-warning")).to_have_text("draining")
    choose(page, "Resume selected nodes", "web-01")
    expect(page.locator("#result_list .badge-warning")).to_have_count(0)

    page = tab.open(f"/admin/backups/node/{lived.node_id}/change/")
    actions = page.get_by_role("group", name="Actions")
    actions.get_by_role("button", name="Pause schedules").click()
    page.get_by_label("Reason").fill("New disks")
    found += tab.violations()
    page.get_by_role("button", name="Pause them").click()
    expect(page.locator("#result_list .badge-warning")).to_have_text("schedules paused")
    expect(page.locator(".messagelist")).to_contain_text(f"by {NODE_ADMIN}: New disks")
    choose(page, "Resume schedules", "web-01")
    expect(page.locator("#result_list .badge-warning")).to_have_count(0)
    assert (
        lived.cluster.post(f"/api/v1/nodes/{lived.node_id}/scale", {"concurrency": 2}).status == 202
    )
    assert found == []
