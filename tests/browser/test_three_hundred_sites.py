"""The pages with 300 sites and three weeks behind them: how they page, search, filter and count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.fleet import fleet
from tests.servers.browser import PHONE, OpenTab, Tab
from tests.servers.cluster import Cluster
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.slow
DASHBOARD, SITES = "/admin/backup-maintenance/", "/sites/"
NUMBER, A_PAGE, DAYS = 300, 50, 21
STATES = ("protected", "at_risk", "failing")
LISTS = ("site", "job", "backup", "jobevent", "stage", "auditentry", "followuptask", "worker")
# What the pages should say, asked of the database without what the pages ask with.
TRUTH = """
import json
from datetime import timedelta
from django.utils import timezone
from backups.models import Backup, Job, JobEvent, Node, Site
AGES = {"daily": 2, "weekly": 8, "monthly": 32, "manual": 31}
now, found = timezone.now(), {"protected": [], "at_risk": [], "failing": []}
newest = {}
for job in Job.objects.filter(state__in=("completed", "failed")).order_by("queued_at"):
    newest[job.site_id] = job
for site in Site.objects.all():
    job, age = newest.get(site.pk), timedelta(days=AGES[site.schedule_frequency])
    good = Backup.objects.filter(site=site, status="SUCCESS").order_by("created_at").last()
    is_recent = good is not None and good.created_at > now - age
    is_failing = job is not None and job.state == "failed" and job.reset_at is None
    found["failing" if is_failing else "protected" if is_recent else "at_risk"].append(site.name)
print(json.dumps({
    "states": found,
    "names": sorted(Site.objects.values_list("name", flat=True)),
    "running": sorted(Job.objects.exclude(active_site=None).values_list("site__name", flat=True)),
    "nodes": dict((node.name, node.sites.count()) for node in Node.objects.all()),
    "site": Site.objects.count(), "job": Job.objects.count(), "backup": Backup.objects.count(),
}))
"""
RENAME = """
from backups.models import Site
Site.objects.filter(name={old!r}).update(name={new!r})
"""
# The part of the dashboard that is asked for every 10 seconds has been asked for.
REFRESH_SECONDS, REFRESH_MS = 10, 20_000
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SessionOf = Callable[..., Any]


def asked(cluster: Cluster, code: str) -> str:
    return cluster.manage("shell", "--verbosity", "0", "-c", code).stdout


@pytest.fixture(scope="module")
def cluster(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with fleet(tmp_path_factory.mktemp("fleet"), redis_server.url, NUMBER, days=DAYS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def truth(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked(cluster, TRUTH).strip().splitlines()[-1])
    return found


@pytest.fixture
def tab(cluster: Cluster, open_tab: OpenTab, session_of: SessionOf) -> Tab:
    return open_tab(cluster, storage_state=session_of(cluster))


def names(page: Page) -> list[str]:
    return page.locator("#sites tbody th a").all_inner_texts()


def count_of(part: Locator) -> int:
    return int(part.locator(".count").first.inner_text())


def pages_of(page: Page, most: int = A_PAGE) -> list[list[str]]:
    """The names on this page and on those that follow it, link by link."""
    found = [names(page)]
    while len(found) < most and (link := page.locator("#sites a[rel=next]")).count():
        before = page.url
        link.click()
        page.wait_for_url(lambda url, before=before: url != before)
        found.append(names(page))
    return found


def all_names(page: Page) -> list[str]:
    return list(chain.from_iterable(pages_of(page)))


@pytest.mark.parametrize("path", [DASHBOARD, SITES])
def test_sites_come_in_pages_of_fifty_and_each_is_on_one(
    path: str, tab: Tab, truth: dict[str, Any]
) -> None:
    page = tab.open(path)
    assert count_of(page.locator("#sites")) == NUMBER
    pages = pages_of(page)
    assert [len(one) for one in pages] == [A_PAGE] * (NUMBER // A_PAGE)
    assert list(chain.from_iterable(pages)) == truth["names"]
    expect(page.locator("#sites .pages")).to_contain_text("251–300 of 300")
    page.locator("#sites a[rel=prev]").click()
    expect(page.locator("#sites .pages")).to_contain_text("201–250 of 300")


@pytest.mark.parametrize("path", [DASHBOARD, SITES])
@pytest.mark.parametrize("state", STATES)
def test_each_count_leads_to_as_many_sites(
    path: str, state: str, tab: Tab, truth: dict[str, Any]
) -> None:
    page = tab.open(path)
    wanted = sorted(truth["states"][state])
    count = page.locator(f"#health .{state}")
    expect(count.locator("strong")).to_have_text(str(len(wanted)))
    count.click()
    page.wait_for_url(f"**state={state}*")
    assert count_of(page.locator("#sites")) == len(wanted)
    # All pages of the short page; of the dashboard's, that the second is of the same state.
    most = A_PAGE if path == SITES else 2
    assert list(chain.from_iterable(pages_of(page, most))) == wanted[: most * A_PAGE]
    # Filtered by state or not, the counts are those of the fleet.
    expect(page.locator("#health .protected strong")).to_have_text(
        str(len(truth["states"]["protected"]))
    )


def test_search_node_and_running_leave_what_they_say(tab: Tab, truth: dict[str, Any]) -> None:
    page = tab.open(SITES)
    page.locator("#id_site").fill("BAKERY")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**site=BAKERY*")
    assert all_names(page) == [name for name in truth["names"] if "bakery" in name]
    page.get_by_role("link", name="Show all").click()
    page.locator("#id_state").select_option("running")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**state=running*")
    assert names(page) == truth["running"]
    page = tab.open(f"{SITES}?site=there-is-none")
    expect(page.locator("#sites")).to_contain_text("No site fits these filters.")
    node = tab.open(DASHBOARD).locator("#id_node")
    node.select_option(label="Being moved")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**node=*")
    assert count_of(page.locator("#sites")) == truth["nodes"]["old-01"]


def test_page_that_is_not_there_is_the_last_one(tab: Tab) -> None:
    page = tab.open(f"{SITES}?page=99")
    expect(page.locator("#sites .pages")).to_contain_text("251–300 of 300")


@pytest.mark.parametrize("path", [DASHBOARD, SITES, f"{SITES}?state=at_risk"])
def test_nothing_keeps_people_out_and_a_phone_is_wide_enough(path: str, tab: Tab) -> None:
    tab.page.set_viewport_size(PHONE)
    page = tab.open(path)
    assert page.evaluate(WIDER) <= 0
    assert tab.violations() == []
    page.set_viewport_size({"width": 1280, "height": 900})
    assert tab.violations() == []


def test_dashboard_follows_what_happens_without_a_reload(
    cluster: Cluster, tab: Tab, truth: dict[str, Any]
) -> None:
    tab.take_clock()
    page = tab.open(DASHBOARD)
    expect(page.locator(".running-row")).to_have_count(len(truth["running"]))
    page.evaluate("window.isTheSamePage = true")
    assert sorted(truth["states"]["failing"])[0] in page.locator("#failures").inner_text()
    old, new = names(page)[0], "aaa-renamed.example"
    for before, after in ((old, new), (new, old)):
        asked(cluster, RENAME.format(old=before, new=after))
        tab.skip(REFRESH_SECONDS)
        first = page.locator("#sites tbody th a").first
        expect(first).to_have_text(after, timeout=REFRESH_MS)
    assert page.evaluate("window.isTheSamePage")


@pytest.mark.parametrize("model", LISTS)
def test_admin_lists_open_count_search_and_page(
    model: str, tab: Tab, truth: dict[str, Any]
) -> None:
    page = tab.open(f"/admin/backups/{model}/")
    expect(page.locator("#result_list tbody tr").first).to_be_visible()
    if model in truth:
        # The others' rows look as those of test_admin_pages.
        assert tab.violations() == []
        expect(page.locator(".paginator").first).to_contain_text(str(truth[model]))
        page = tab.open(f"/admin/backups/{model}/?p=2")
        expect(page.locator("#result_list tbody tr").first).to_be_visible()
    if page.locator("#searchbar").count():
        page.locator("#searchbar").fill("bakery")
        page.locator("#changelist-search [type=submit]").click()
        page.wait_for_url("**q=bakery*")
        expect(page.locator("#changelist")).to_be_visible()
