"""A backup is looked through, restored and proven on the page of its site."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Lived
from tests.browser.site_page import SitePage, add_site, back_up
from tests.servers.browser import OpenTab

pytestmark = pytest.mark.slow
PATIENCE_MS = 60_000


@pytest.fixture
def site(
    lived: Lived, open_tab: OpenTab, session_of: Callable[..., Any], tmp_path: Path
) -> SitePage:
    row = add_site(lived, "restored.example")
    back_up(lived.cluster, row["id"])
    tab = open_tab(lived.cluster, storage_state=session_of(lived.cluster))
    return SitePage(tab, row["id"], tmp_path).open()


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
