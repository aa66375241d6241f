"""A node admin's day in the browsable API: signed in there, by its pages' links and forms alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NODE_ADMIN, SITE_ADMIN, Lived
from tests.browser.people import PEOPLE_PASSWORD
from tests.servers.browser import OpenTab, Tab

pytestmark = pytest.mark.slow


def signed_in(open_tab: OpenTab, lived: Lived, email: str, password: str = PEOPLE_PASSWORD) -> Tab:
    """Return a tab on the list of sites, signed in by the API's own form."""
    tab = open_tab(lived.cluster)
    page = tab.open("/api-auth/login/?next=/api/v1/sites/")
    page.get_by_label("Username").or_(page.get_by_label("Email")).fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/api/v1/sites/")
    return tab


def follow(page: Page, *names: str) -> None:
    """Click links of the navigation, one after the other."""
    for name in names:
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        page.wait_for_load_state()


def send(page: Page, **fields: str) -> str:
    """Fill in the form of the page, send it, and return what the page says then."""
    form = page.locator("#post-object-form")
    for name, value in fields.items():
        form.get_by_label(name).fill(value)
    with page.expect_navigation():
        form.get_by_role("button", name="POST").click()
    return said(page)


def said(page: Page) -> str:
    return page.locator(".response-info").inner_text()


def status_of(lived: Lived, site: dict[str, Any]) -> str:
    path = f"/api/v1/sites/{site['id']}/backup/status"
    return str(lived.cluster.get(path).body["status"])


def test_node_admin_does_the_days_work(lived: Lived, open_tab: OpenTab) -> None:
    tab = signed_in(open_tab, lived, NODE_ADMIN)
    page = tab.page
    follow(page, "Nodes", "web-01", "Scale")
    assert "HTTP 202" in send(page, Concurrency="3")
    assert lived.cluster.get(f"/api/v1/nodes/{lived.node_id}").body["concurrency"] == 3
    send(page, Concurrency="2")
    follow(page, "Drain")
    assert "Draining web-01" in send(page)

    # Nothing begins a stage now: each state stays until somebody changes it.
    follow(page, "Sites", "good.example", "Start")
    assert "This is only written to" in said(page)
    assert "Backup started for good.example" in send(page)
    assert status_of(lived, lived.good) == "running"
    tab.expect(409, f"/api/v1/sites/{lived.good['id']}/backup/start")
    assert "backup_already_running" in send(page)
    follow(page, "Stop")
    assert "Backup stop requested" in send(page)
    assert status_of(lived, lived.good) == "stopped"
    follow(page, "Status")
    assert '"message": "Backup stopped"' in said(page)
    follow(page, "Start")
    send(page)
    follow(page, "Reset")
    assert "reset to idle for good.example" in send(page)
    assert status_of(lived, lived.good) == "idle"

    follow(page, "Nodes", "web-01", "Resume")
    assert "it takes stages again" in send(page)
    follow(page, "Sites", "good.example", "Start")
    send(page)
    assert lived.cluster.wait_for_end(lived.good["id"])["status"] == "completed"
    tab.expect(401, "/api/v1/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_nothing_on_its_pages_keeps_people_out(lived: Lived, open_tab: OpenTab) -> None:
    tab = open_tab(lived.cluster)
    tab.open("/api-auth/login/")
    found = tab.violations()
    tab = signed_in(open_tab, lived, NODE_ADMIN)
    site, node = f"sites/{lived.good['id']}", f"nodes/{lived.node_id}"
    for path in ("sites/", site, f"{site}/backup/start", f"{site}/backup/logs", f"{site}/backups",
                 f"{site}/schedule", "nodes/", node, f"{node}/scale", "jobs", "storage/providers",
                 "activity-logs/", "users/"):  # fmt: skip
        tab.open(f"/api/v1/{path}")
        found += tab.violations()
    assert found == []


def test_site_admin_stops_and_is_told_who_may_reset(lived: Lived, open_tab: OpenTab) -> None:
    tab = signed_in(open_tab, lived, SITE_ADMIN)
    page = tab.page
    expect(page.get_by_role("navigation").get_by_text("failing.example")).to_have_count(0)
    tab.expect(403, f"/api/v1/daemon/backup/reset/{lived.good['id']}")
    follow(page, "good.example", "Reset")
    assert "Only an admin of the node may reset a backup" in send(page)
    tab.expect(403, f"/api/v1/sites/{lived.failing['id']}")
    tab.open(f"/api/v1/sites/{lived.failing['id']}")
    assert "HTTP 403" in said(page)
