"""The dashboard for every role, light and dark, on a phone, by keyboard, and with nothing in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.people import PEOPLE_PASSWORD
from tests.browser.small_fleet import Fleet, sign_in_at
from tests.servers.browser import DESKTOP, PHONE, OpenTab, Tab
from tests.servers.cluster import Cluster
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
DASHBOARD = "/admin/backup-maintenance/"
SessionOf = Callable[..., Any]
# By how much the page as a whole is wider than the screen.
TOO_WIDE = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""
WORDS = "document.body.innerText"
DELETE_NODES = "from backups.models import Node; Node.objects.all().delete()"


@pytest.fixture(scope="module")
def fleet(shared_fleet: Fleet) -> Fleet:
    return shared_fleet


@pytest.fixture
def tab(fleet: Fleet, open_tab: OpenTab, session_of: SessionOf) -> Tab:
    """The super admin's, nowhere yet."""
    return open_tab(fleet.cluster, storage_state=session_of(fleet.cluster))


def test_page_keeps_nobody_out_and_fits(fleet: Fleet, tab: Tab) -> None:
    fleet.start("large.example")
    for size in (DESKTOP, PHONE):
        tab.page.set_viewport_size(size)
        page = tab.open(DASHBOARD)
        expect(page.locator(".running-row")).to_be_visible()
        page.locator("#charts summary").first.click()
        assert tab.violations() == []
        assert page.evaluate(TOO_WIDE) <= 0
    fleet.end_all()


def test_filters_are_in_the_address_and_work_after_a_reload(fleet: Fleet, tab: Tab) -> None:
    page = tab.open(DASHBOARD)
    page.get_by_label("Node", exact=True).select_option(label="web-02")
    page.get_by_label("Site", exact=True).fill("example")
    page.get_by_label("State").select_option("at_risk")
    page.get_by_label("Time").select_option("7")
    page.get_by_role("button", name="Filter").click()
    wanted = f"node={fleet.nodes['web-02']}&site=example&state=at_risk&days=7"
    page.wait_for_url(f"**/?{wanted}")
    for _ in range(2):
        assert page.locator("#sites tbody th a").all_inner_texts() == ["far.example"]
        assert page.locator("#nodes tbody th a").all_inner_texts() == ["web-02"]
        assert page.locator(".health-count strong").all_inner_texts() == ["0", "1", "0"]
        expect(page.get_by_label("Time")).to_have_value("7")
        page.reload()
    page.get_by_role("link", name="Show all", exact=True).click()
    assert page.locator("#sites tbody tr").count() == 5


def test_what_runs_follows_the_filters(fleet: Fleet, tab: Tab) -> None:
    fleet.start("large.example")
    for query, shown in (("site=LARGE", 1), ("site=good", 0), (f"node={fleet.nodes['web-02']}", 0)):
        page = tab.open(f"{DASHBOARD}?{query}")
        expect(page.locator("[data-connection]")).to_have_text("Live")
        expect(page.locator(".running-row")).to_have_count(shown)
        expect(page.locator("[data-running-count]")).to_have_text(str(shown))
    page = tab.open(f"{DASHBOARD}?state=running")
    assert page.locator("#sites tbody th a").all_inner_texts() == ["large.example"]
    fleet.end_all()


def test_bad_value_is_told_beside_its_field(tab: Tab) -> None:
    bad = {
        "Node": ("node=99", "node=web-01", f"node={10**40}"),
        "State": ("state=perfect",),
        "Time": ("days=8", "days=many"),
        "Site": ("site=" + "x" * 191, "site=%00"),
    }
    for field, queries in bad.items():
        for query in queries:
            page = tab.open(f"{DASHBOARD}?{query}")
            box = page.locator(".filters .field").filter(has=page.get_by_text(field, exact=True))
            expect(box.locator(".field-error")).to_contain_text("It is not applied.")
            assert page.locator(".field-error").count() == 1
            # What is not chosen is not shown as if it were.
            expect(page.get_by_label("Time")).to_have_value("30")
            assert page.locator("#sites tbody tr").count() == 5
        assert tab.violations() == []


def test_page_that_does_not_exist_is_the_last_one(tab: Tab) -> None:
    for number in ("99", "-1", "two", ""):
        page = tab.open(f"{DASHBOARD}?page={number}")
        assert page.locator("#sites tbody tr").count() == 5


def test_way_back_from_filters_that_fit_nothing_leads_to_the_dashboard(tab: Tab) -> None:
    tab.take_clock()
    page = tab.open(f"{DASHBOARD}?site=nowhere")
    expect(page.locator("#sites")).to_contain_text("No site fits these filters.")
    # Also in the part that was asked for by itself, from another address.
    with page.expect_response("**/overview*", timeout=13_000):
        tab.skip(10)
    page.get_by_role("link", name="Show all sites").click()
    page.wait_for_url(f"**{DASHBOARD}?")
    assert page.locator("#sites tbody tr").count() == 5


def test_everything_is_reached_by_keyboard(tab: Tab) -> None:
    page = tab.open(DASHBOARD)
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('.page :is(a[href], button, input, select, summary)')]"
        ".filter((e) => e.checkVisibility() && e.type !== 'hidden').length"
    )
    page.evaluate(
        "() => { window.reached = new Set();"
        " document.addEventListener('focusin', (event) => window.reached.add(event.target)); }"
    )
    for _ in range(wanted + 40):
        page.keyboard.press("Tab")
    missed = page.evaluate(
        "() => [...document.querySelectorAll('.page :is(a[href], button, input, select, summary)')]"
        ".filter((e) => e.checkVisibility() && e.type !== 'hidden' && !window.reached.has(e))"
        ".map((e) => e.outerHTML)"
    )
    assert (missed, wanted > 20) == ([], True)


def test_node_admin_sees_what_is_theirs(fleet: Fleet, open_tab: OpenTab) -> None:
    fleet.add_person("keeper@example.com", "node_admin", node=fleet.nodes["web-02"])
    tab = open_tab(fleet.cluster)
    tab.sign_in("keeper@example.com", PEOPLE_PASSWORD, then=DASHBOARD)
    fleet.start("large.example")
    expect(tab.page.locator("[data-connection]")).to_have_text("Live")
    assert tab.page.locator("#sites tbody th a").all_inner_texts() == ["far.example"]
    assert tab.page.locator("#nodes tbody th a").all_inner_texts() == ["web-02"]
    text = tab.page.evaluate(WORDS)
    for other in ("web-01", "large.example", "failing.example", "good.example"):
        assert other not in text
    for name in ("web-02", "far.example"):
        tab.page.get_by_role("link", name=name).first.click()
        expect(tab.page.locator("h1").last).to_be_visible()
        tab.page.go_back()
    tab.expect(403, f"/sites/{fleet.sites['good.example']}/")
    page = tab.open(f"/sites/{fleet.sites['good.example']}/")
    assert "good.example" not in page.evaluate(WORDS)
    assert tab.violations() == []
    fleet.end_all()


@pytest.mark.parametrize("is_staff", [False, True])
def test_site_admin_has_their_sites_and_no_node(
    is_staff: bool, fleet: Fleet, open_tab: OpenTab
) -> None:
    email = f"owner-{is_staff}@example.com".lower()
    site = fleet.sites["good.example"]
    fleet.add_person(email, "site_admin", is_staff=is_staff, site=site)
    tab = open_tab(fleet.cluster)
    page = sign_in_at(tab, DASHBOARD, email, PEOPLE_PASSWORD)
    assert urlsplit(page.url).path == (DASHBOARD if is_staff else "/sites/")
    assert page.locator("#sites tbody th a").all_inner_texts() == ["good.example"]
    assert page.locator(".health-count strong").all_inner_texts() == ["1", "0", "0"]
    assert page.locator("#nodes, [name=node]").count() == 0
    assert page.get_by_role("link", name="Dashboard").count() == int(is_staff)
    assert tab.violations() == []


def test_empty_installation_says_how_to_begin(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, open_tab: OpenTab
) -> None:
    directory = tmp_path_factory.mktemp("fresh")
    cluster = Cluster(directory, f"sqlite:///{directory / 'panel.sqlite3'}", redis_server.url)
    with cluster.warmed_up():
        cluster.set_up(directory)
        cluster.manage("shell", "-v0", "-c", DELETE_NODES)
        cluster.start_panel()
        begins_from_nothing(cluster, open_tab(cluster))


def begins_from_nothing(cluster: Cluster, tab: Tab) -> None:
    """Look at the dashboard before there is a node, and when one was added."""
    tab.take_clock()
    tab.sign_in(then=DASHBOARD)
    page = tab.page
    expect(page.locator("#nodes .empty")).to_contain_text("manage.py node add web-01 --root")
    expect(page.locator("#sites .empty")).to_contain_text("Add a node first.")
    assert page.locator(".health-count strong").all_inner_texts() == ["0", "0", "0"]
    assert tab.violations() == []
    cluster.manage("node", "add", "web-01", "--root", "/var/www")
    # By itself, as every 10 seconds.
    tab.skip(10)
    expect(page.locator("#sites .empty")).to_contain_text("Let a node look", timeout=13_000)
    expect(page.locator("#nodes")).to_contain_text("offline")
    for link in page.locator("#sites .empty a").all():
        # 503: no worker has come yet.
        assert page.request.get(str(link.get_attribute("href"))).status in (200, 405, 503)
    page.goto("about:blank")
