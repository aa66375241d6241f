"""The dashboard in a browser: what it shows, and what may be done there, with a real worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import ElementHandle, Locator, Page, Route, expect

from tests.browser.small_fleet import Fleet
from tests.servers import wait_until
from tests.servers.browser import OpenTab, Tab

pytestmark = pytest.mark.slow
DASHBOARD = "/admin/backup-maintenance/"
# The page asks for a part of itself every 10 seconds.
REFRESH_SECONDS = 10
REFRESH_MS = 13_000
SessionOf = Callable[..., Any]


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet, where nothing runs before or after."""
    yield shared_fleet
    shared_fleet.end_all()


@pytest.fixture
def tab(fleet: Fleet, open_tab: OpenTab, session_of: SessionOf) -> Tab:
    """The super admin's dashboard."""
    tab = open_tab(fleet.cluster, storage_state=session_of(fleet.cluster))
    tab.take_clock()
    tab.open(DASHBOARD)
    expect(tab.page.locator("[data-connection]")).to_have_text("Live")
    return tab


def names(part: Locator) -> list[str]:
    """The names in the first column of a table."""
    return part.locator("tbody th a").all_inner_texts()


def row(page: Page, part: str, name: str) -> Locator:
    return page.locator(f"#{part} tbody tr").filter(has=page.get_by_role("link", name=name))


def running(page: Page, site: str) -> Locator:
    return page.locator(".running-row").filter(has_text=site)


def is_replaced(tab: Tab, old: ElementHandle) -> bool:
    """Let the page be brought up to date, and tell whether that put another in its place."""
    with tab.page.expect_response("**/overview*"):
        tab.skip(REFRESH_SECONDS)
    return not old.evaluate("o => o.isConnected")


def _is_among(fleet: Fleet, code: str, wanted: set[int]) -> bool:
    return int(fleet.shell(code)) in wanted


def test_counts_at_the_top_lead_to_the_sites_that_they_count(tab: Tab) -> None:
    shown = {"protected": ["good"], "at_risk": ["far", "large", "never"], "failing": ["failing"]}
    for word, sites in shown.items():
        count = tab.page.locator(f".health-count.{word}")
        expect(count.locator("strong")).to_have_text(str(len(sites)))
        count.click()
        tab.page.wait_for_url(f"**?state={word}#sites")
        assert names(tab.page.locator("#sites")) == [f"{site}.example" for site in sites]
        expect(count).to_have_attribute("aria-current", "true")
        expect(tab.page.locator("[name=state]")).to_have_value(word)
        tab.page.reload()
        assert names(tab.page.locator("#sites")) == [f"{site}.example" for site in sites]


def test_backup_shows_up_moves_and_vanishes_when_somebody_else_starts_it(
    fleet: Fleet, tab: Tab
) -> None:
    empty = tab.page.locator("[data-running-empty]")
    expect(empty).to_be_visible()
    fleet.start("large.example")
    bar = running(tab.page, "large.example").locator("progress")
    expect(bar).to_have_attribute("aria-label", "Backup of large.example")
    expect(empty).to_be_hidden()
    expect(tab.page.locator("[data-running-count]")).to_have_text("1")
    seen: set[int] = set()
    wait_until(lambda: seen.add(int(bar.evaluate("b => b.value"))) or len(seen) > 4, 30, "it moves")
    expect(running(tab.page, "large.example")).to_contain_text("on web-01")
    expect(running(tab.page, "large.example")).to_contain_text("Stage 4/5: Upload")
    expect(running(tab.page, "large.example")).to_contain_text("left")
    expect(bar).to_have_count(0, timeout=30_000)
    expect(empty).to_be_visible()
    # What has become of it is seen at once, not 10 seconds later.
    expect(row(tab.page, "sites", "large.example")).to_contain_text("protected", timeout=5000)


def test_backup_is_stopped_only_after_a_question(fleet: Fleet, tab: Tab) -> None:
    fleet.start("large.example")
    stop = tab.page.get_by_role("button", name="Stop the backup of large.example")
    stop.click()
    dialog = tab.page.get_by_role("dialog", name="Stop the backup of large.example?")
    expect(dialog).to_contain_text("The backups that you have stay.")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert fleet.status("large.example")["status"] == "running"
    stop.click()
    assert tab.violations() == []
    dialog.get_by_role("button", name="Stop it").click()
    expect(tab.page.locator("#notices")).to_contain_text("for large.example")
    expect(running(tab.page, "large.example")).to_have_count(0, timeout=30_000)
    assert fleet.cluster.wait_for_end(fleet.sites["large.example"])["status"] == "stopped"


def test_backup_starts_from_the_list_of_sites(fleet: Fleet, tab: Tab) -> None:
    tab.page.get_by_role("button", name="Back up large.example").click()
    expect(tab.page.locator("#notices")).to_contain_text("Backup started for large.example")
    expect(running(tab.page, "large.example")).to_be_visible()
    tab.expect(409, f"/api/v1/sites/{fleet.sites['large.example']}/backup/start")
    tab.page.get_by_role("button", name="Back up large.example").click()
    expect(tab.page.locator("#notices").get_by_role("alert")).to_contain_text("already running")


def test_refusal_stays_when_what_was_asked_before_is_done_only_then(fleet: Fleet, tab: Tab) -> None:
    held: list[Route] = []
    tab.page.route("**/overview*", lambda route: held.append(route))
    start = tab.page.get_by_role("button", name="Back up large.example")
    # The page is asked for because of the button, and again because of the job that runs now.
    with tab.page.expect_request("**/overview*"):
        start.click()
    expect(running(tab.page, "large.example")).to_be_visible()
    old = start.element_handle()
    with tab.page.expect_request("**/overview*"):
        held[0].continue_()
    assert old is not None
    assert not old.evaluate("o => o.isConnected")
    tab.expect(409, f"/api/v1/sites/{fleet.sites['large.example']}/backup/start")
    start.click()
    refusal = tab.page.locator("#notices").get_by_role("alert")
    expect(refusal).to_contain_text("already running")
    with tab.page.expect_response("**/overview*"):
        held[1].continue_()
    tab.page.unroute("**/overview*")
    expect(start).to_be_enabled()
    expect(refusal).to_be_visible()


def test_failure_says_why_and_what_to_do_and_is_tried_again(fleet: Fleet, tab: Tab) -> None:
    failure = tab.page.locator("#failures li").filter(has_text="failing.example")
    expect(failure.locator(".reason")).not_to_be_empty()
    expect(failure.locator(".hint")).not_to_be_empty()
    before = fleet.status("failing.example")["job_id"]
    fleet.mend_site("failing.example")
    failure.get_by_role("button", name="Retry failing.example").click()
    expect(tab.page.locator("#notices .notice-good")).to_be_visible()
    expect(tab.page.locator("#failures")).to_contain_text(
        "no site's newest backup failed", timeout=REFRESH_MS
    )
    expect(tab.page.locator(".health-count.failing strong")).to_have_text("0")
    after = fleet.cluster.wait_for_end(fleet.sites["failing.example"])
    assert (after["status"], after["job_id"] != before) == ("completed", True)
    fleet.break_site("failing.example")
    fleet.start("failing.example")
    failure.get_by_role("link", name="View log").click()
    expect(tab.page.locator("[data-log-lines] li").first).to_be_visible()
    expect(tab.page.locator("[data-log-lines] [data-level=error]").first).to_be_visible()


def test_nodes_show_how_they_stand(tab: Tab) -> None:
    working, silent = row(tab.page, "nodes", "web-01"), row(tab.page, "nodes", "web-02")
    expect(working.locator(".badge")).to_have_text("online")
    expect(working.locator("time")).to_have_text(re.compile("just now|seconds? ago"))
    expect(working.locator("meter")).to_have_attribute("aria-label", "Disk of web-01")
    expect(working).to_contain_text("free")
    expect(silent.locator(".badge")).to_have_text("offline")
    expect(silent).to_contain_text("never")
    # Those that need somebody come first.
    assert names(tab.page.locator("#nodes")) == ["web-02", "web-01"]


def test_queue_and_slots_are_counted(fleet: Fleet, tab: Tab) -> None:
    fleet.start("far.example")
    fleet.start("large.example")
    numbers = "td.number"
    expect(row(tab.page, "nodes", "web-02").locator(numbers).nth(1)).to_have_text("1")
    expect(row(tab.page, "nodes", "web-01").locator(numbers).nth(0)).to_have_text(
        "1", timeout=REFRESH_MS
    )
    expect(running(tab.page, "far.example")).to_contain_text("0 %")


def test_node_is_scaled_and_its_worker_grows(fleet: Fleet, tab: Tab) -> None:
    node = f"/api/v1/nodes/{fleet.nodes['web-01']}"
    size = "from backups.models import Worker; print(Worker.objects.get().concurrency)"
    for number in (4, 2):
        tab.page.get_by_label("Stages at once on web-01").fill(str(number))
        tab.page.get_by_role("button", name="Scale web-01").click()
        expect(tab.page.locator("#notices")).to_contain_text(f"Stages at once on web-01: {number}")
        assert fleet.cluster.get(node).body["concurrency"] == number
        # The pool has one process more, which answers scans.
        sizes = {number, number + 1}
        wait_until(partial(_is_among, fleet, size, sizes), 60, "the worker follows")
    tab.page.get_by_label("Stages at once on web-01").fill("65")
    tab.page.get_by_role("button", name="Scale web-01").click()
    assert tab.page.get_by_label("Stages at once on web-01").evaluate("i => !i.validity.valid")
    assert fleet.cluster.get(node).body["concurrency"] == 2


def test_node_drains_and_resumes(fleet: Fleet, tab: Tab) -> None:
    node = row(tab.page, "nodes", "web-01")
    node.get_by_role("button", name="Drain web-01").click()
    expect(node.locator(".badge")).to_have_text("draining")
    fleet.start("good.example")
    expect(running(tab.page, "good.example")).to_be_visible()
    expect(node.locator("td.number").nth(1)).to_have_text("1", timeout=REFRESH_MS)
    node.get_by_role("button", name="Resume web-01").click()
    expect(node.locator(".badge")).to_have_text("online")
    assert fleet.cluster.wait_for_end(fleet.sites["good.example"])["status"] == "completed"


def test_what_is_typed_stays_while_the_page_is_refreshed(tab: Tab) -> None:
    field = tab.page.get_by_label("Stages at once on web-02")
    other = tab.page.locator("#sites")
    field.fill("7")
    with tab.page.expect_response("**/overview*", timeout=REFRESH_MS):
        tab.skip(REFRESH_SECONDS)
    expect(field).to_be_focused()
    expect(field).to_have_value("7")
    # Nor is it lost when somebody looks something up elsewhere before pressing the button.
    other.locator("h2").click()
    for _ in range(2):
        with tab.page.expect_response("**/overview*", timeout=REFRESH_MS):
            tab.skip(REFRESH_SECONDS)
    expect(field).to_have_value("7")


def test_place_in_the_page_is_kept_while_it_is_refreshed(tab: Tab) -> None:
    # So narrow that the table scrolls, and not yet so that its rows stand under one another.
    tab.page.set_viewport_size({"width": 770, "height": 844})
    wrap = tab.page.locator("#nodes .table-wrap")
    link = tab.page.locator("#nodes").get_by_role("link", name="web-01")
    old = link.element_handle()
    link.focus()
    wrap.evaluate("w => { w.scrollLeft = 10; }")
    # The heartbeat has moved on, so this part of the page is another one.
    wait_until(lambda: is_replaced(tab, old), 30, "the part was replaced")
    expect(link).to_be_focused()
    assert wrap.evaluate("w => w.scrollLeft") == 10
