"""A backup is looked through, restored and proven on the page of its site."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Lived
from tests.browser.site_page import SitePage, add_site, back_up
from tests.servers.browser import PHONE, OpenTab

pytestmark = pytest.mark.slow
PATIENCE_MS = 60_000
SITE_URL = "SELECT option_value FROM wp_options WHERE option_name = 'siteurl'"
PageOf = Callable[[dict[str, Any]], SitePage]


@pytest.fixture
def page_of(
    lived: Lived, open_tab: OpenTab, session_of: Callable[..., Any], tmp_path: Path
) -> PageOf:
    """Return what opens a site's page."""

    def opened(site: dict[str, Any]) -> SitePage:
        tab = open_tab(lived.cluster, storage_state=session_of(lived.cluster))
        return SitePage(tab, site["id"], tmp_path).open()

    return opened


@pytest.fixture
def site(lived: Lived, page_of: PageOf) -> SitePage:
    row = add_site(lived, "restored.example")
    back_up(lived.cluster, row["id"])
    return page_of(row)


@pytest.fixture(scope="module")
def shop(lived: Lived) -> dict[str, Any]:
    """A backed up site with more tables than are seen at a glance."""
    site = add_site(lived, "shop-of-old.example")
    for number in range(12):
        execute(site, f"CREATE TABLE wp_orders_{number} (id INTEGER PRIMARY KEY, note TEXT)")
        execute(site, f"INSERT INTO wp_orders_{number} (note) VALUES ('as backed up')")
    address(lived, site, "http://example.com")
    back_up(lived.cluster, site["id"])
    return site


def execute(site: dict[str, Any], statement: str) -> list[str]:
    """Run a statement in the site's database; return the first column of what it finds."""
    file = Path(site["wp_path"]) / "wp-content" / "database" / ".ht.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        return [row[0] for row in connection.execute(statement)]


def address(lived: Lived, site: dict[str, Any], url: str) -> None:
    answer = lived.cluster.request("PATCH", f"/api/v1/sites/{site['id']}", {"url": url})
    assert answer.status == 200, answer


def begun(lived: Lived, site: dict[str, Any]) -> int:
    """How many restores of the site were begun."""
    answer = lived.cluster.get(f"/api/v1/jobs?site_id={site['id']}&kind=restore")
    return int(answer.body["total"])


def opened_dialog(page: SitePage) -> Locator:
    """Open the dialog for the newest backup."""
    row = page.page.locator("[data-history-rows] tr").first
    row.get_by_role("button", name="Restore").click()
    return page.page.locator("dialog#restore")


def expect_newest(page: SitePage, text: str) -> Locator:
    """Wait until the newest restore says so, and return it."""
    newest = page.page.locator("[data-restores-list] > li").first
    expect(newest).to_contain_text(text, timeout=PATIENCE_MS)
    return newest


def path_of(lived: Lived, site: SitePage) -> Path:
    return Path(lived.cluster.get(f"/api/v1/sites/{site.site_id}").body["wp_path"])


def newest(site: SitePage) -> Locator:
    return site.page.locator("[data-restores-list] > li").first


def test_site_is_restored_undone_looked_through_and_proven(lived: Lived, site: SitePage) -> None:
    path = path_of(lived, site)
    index = path / "wp-content" / "index.php"
    content = index.read_text()
    index.write_text("<?php defaced();")
    shutil.rmtree(path / "wp-content" / "uploads")
    row = site.page.locator("[data-history-rows] tr").first
    dialog = site.page.locator("dialog#restore")

    row.get_by_role("button", name="Restore").click()
    expect(dialog).to_be_visible()
    site.look("dialog")
    site.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    row.get_by_role("button", name="Restore").click()
    dialog.get_by_role("button", name="Cancel").click()
    # Nothing was begun by looking.
    assert lived.cluster.get(f"/api/v1/jobs?site_id={site.site_id}&kind=restore").body["total"] == 0
    row.get_by_role("button", name="Restore").click()
    dialog.get_by_role("button", name="Show what would change").click()
    expect(newest(site)).to_contain_text("2 files created", timeout=PATIENCE_MS)
    expect(newest(site)).to_contain_text("1 file overwritten")
    expect(newest(site)).to_contain_text("needed beside what is there")
    assert index.read_text() == "<?php defaced();"
    site.look("plan")

    newest(site).get_by_role("button", name="Restore …").click()
    dialog.get_by_role("button", name="Restore", exact=True).click()
    undo = newest(site).get_by_role("button", name="Undo")
    expect(undo).to_be_visible(timeout=PATIENCE_MS)
    assert index.read_text() == content
    site.look("restored")

    undo.click()
    restores = re.compile(r"^\s*completed\s+(Restore|Undo) of")
    items = site.page.locator("[data-restores-list] > li").filter(has_text=restores)
    expect(items).to_have_count(2, timeout=PATIENCE_MS)
    assert index.read_text() == "<?php defaced();"

    oldest = site.page.locator("[data-history-rows] tr").last
    oldest.get_by_role("button", name="Browse").click()
    contents = site.page.locator("#contents")
    expect(contents).to_contain_text("database.sql", timeout=PATIENCE_MS)
    contents.get_by_role("button", name="wp-content/").click()
    expect(contents).to_contain_text("index.php", timeout=PATIENCE_MS)
    site.look("contents")
    with site.page.expect_download() as downloading:
        contents.get_by_role("link", name="Download index.php").click()
    assert downloading.value.path().read_text() == content
    contents.get_by_role("button", name="Restore index.php").click()
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect(items).to_have_count(3, timeout=PATIENCE_MS)
    assert index.read_text() == content
    assert not (path / "wp-content" / "uploads").exists()
    expect(newest(site)).to_contain_text("wp-content/index.php, in place")
    newest(site).get_by_role("button", name="It is fine").click()
    expect(newest(site)).to_contain_text("for as long as the rules keep it")
    expect(newest(site).get_by_role("button")).to_have_text(["Undo", "Log"])

    oldest.get_by_role("button", name="Prove").click()
    proof = re.compile(r"completed\s+Proof of the backup of")
    expect(newest(site)).to_have_text(proof, timeout=PATIENCE_MS)
    head = site.page.locator(".site-head")
    expect(head).to_contain_text(re.compile(r"restores in .*, measured"), timeout=PATIENCE_MS)
    expect(oldest).to_contain_text("proven", timeout=PATIENCE_MS)
    site.look("proven")


def test_one_table_is_found_tried_and_restored(
    lived: Lived, shop: dict[str, Any], page_of: PageOf
) -> None:
    for number in (7, 8):
        execute(shop, f"UPDATE wp_orders_{number} SET note = 'lost'")
    page = page_of(shop)
    dialog = opened_dialog(page)
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    expect(dialog.locator("summary")).to_be_hidden()
    dialog.get_by_label("Only the database").check()
    dialog.locator("summary").click()
    expect(dialog).to_contain_text("13 tables. None is chosen, so all are restored.")
    search = dialog.get_by_label("Find tables")
    search.fill("ORDERS_7")
    search.press("Enter")
    boxes = dialog.get_by_role("group", name="Tables").get_by_role("checkbox")
    expect(boxes).to_have_count(1)
    expect(dialog.get_by_text("wp_orders_7")).to_contain_text("1 row, ")
    boxes.check()
    search.fill("")
    expect(dialog).to_contain_text("Only these are restored: wp_orders_7.")
    page.page.set_viewport_size(PHONE)
    page.look("tables-phone")
    page.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert begun(lived, shop) == 0

    dialog = opened_dialog(page)
    expect(dialog.get_by_label("Files and database")).to_be_checked()
    dialog.get_by_label("Only the database").check()
    # What was chosen and given up is forgotten.
    expect(dialog.locator("summary")).to_have_text("Choose tables")
    dialog.locator("summary").click()
    dialog.get_by_label("wp_orders_7").check()
    dialog.get_by_label("Back up what is there now first").uncheck()
    dialog.get_by_role("button", name="Show what would change").click()
    plan = expect_newest(page, "1 table replaced (1 row")
    # And what was tried is what is done.
    plan.get_by_role("button", name="Restore …").click()
    expect(dialog.locator("summary")).to_have_text("Choose tables: 1 chosen")
    expect(dialog.get_by_label("wp_orders_7")).to_be_checked()
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect_newest(page, "cannot be undone")
    assert execute(shop, "SELECT note FROM wp_orders_7") == ["as backed up"]
    assert execute(shop, "SELECT note FROM wp_orders_8") == ["lost"]


def test_copy_goes_where_it_is_told_and_what_is_refused_is_said_there(
    lived: Lived, shop: dict[str, Any], page_of: PageOf
) -> None:
    before = begun(lived, shop)
    page = page_of(shop)
    page.tab.expect(400, f"/api/v1/sites/{shop['id']}/restore")
    dialog = opened_dialog(page)
    folder = dialog.get_by_label("Folder of the copy")
    expect(folder).to_be_hidden()
    dialog.get_by_label("As a copy").check()
    expect(dialog.get_by_label("Back up what is there now first")).to_be_hidden()
    folder.fill("backups/copy")
    dialog.get_by_role("button", name="Restore", exact=True).click()
    error = dialog.locator("[data-field=target_path]").get_by_role("alert")
    expect(error).to_contain_text("Give an absolute path")
    expect(folder).to_be_focused()
    page.look("refused")
    folder.fill("/etc/copy")
    dialog.get_by_role("button", name="Show what would change").click()
    expect(error).to_contain_text("/etc/copy")
    assert begun(lived, shop) == before
    copy = f"{shop['wp_path']}-copy"
    folder.fill(copy)
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect_newest(page, f"as a copy in {copy}")
    expect_newest(page, "The site itself is as it was.")
    assert (Path(copy) / "wp-content" / "index.php").exists()


def test_another_sites_backup_comes_under_this_ones_address(
    lived: Lived, shop: dict[str, Any], page_of: PageOf
) -> None:
    site = add_site(lived, "moved-here.example")
    address(lived, site, "https://moved-here.example")
    execute(site, "UPDATE wp_options SET option_value = 'to be replaced'")
    page = page_of(site)
    dialog = page.page.locator("dialog#restore")
    page.page.get_by_role("button", name="Restore another site's backup").click()
    expect(dialog.get_by_label("Find the site")).to_be_focused()
    restore = dialog.get_by_role("button", name="Restore", exact=True)
    restore.click()
    # Nothing is begun before a backup is chosen.
    expect(dialog).to_be_visible()
    dialog.get_by_label("Find the site").fill("shop-of-old")
    expect(dialog.get_by_label("Site", exact=True)).to_have_value(str(shop["id"]))
    expect(dialog.get_by_label("Backup", exact=True)).not_to_have_value("")
    page.look("another-site")
    dialog.get_by_label("Only the database").check()
    dialog.get_by_label("Back up what is there now first").uncheck()
    expect(dialog.get_by_label("Change the other site's address")).to_be_checked()
    restore.click()
    done = expect_newest(page, "cannot be undone")
    expect(done).to_contain_text(f"of {shop['name']}")
    assert execute(site, SITE_URL) == ["https://moved-here.example"]
    assert "wp_orders_3" in execute(site, "SELECT name FROM sqlite_master")
