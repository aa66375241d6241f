"""A site's history and its log: what there is, to fetch, to delete and to follow."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Lived
from tests.browser.site_page import (
    SHORT_FILM_BYTES,
    SitePage,
    add_site,
    back_up,
    slow_uploads,
    start,
)
from tests.servers import wait_until
from tests.servers.browser import PHONE, OpenTab

pytestmark = pytest.mark.slow
LINES = 4321
ADD_LINES = """
from django.utils import timezone
from backups.models import JobEvent
JobEvent.objects.bulk_create([
    JobEvent(job_id={job!r}, kind="note", epoch=1, created_at=timezone.now(),
             message=f"line {{number}} <b>" + "x" * (number % 300))
    for number in range({lines})
])
"""

SUSPECT = """
from backups.models import Backup
Backup.objects.filter(job={job!r}).update(is_suspect=True)
"""


@pytest.fixture
def page_of(
    lived: Lived, open_tab: OpenTab, session_of: Callable[..., Any], tmp_path: Path
) -> Callable[..., SitePage]:
    """Return what opens a site's page: `page_of(site, viewport=PHONE)`."""

    def opened(site: dict[str, Any], fragment: str = "", **options: Any) -> SitePage:
        tab = open_tab(lived.cluster, storage_state=session_of(lived.cluster), **options)
        return SitePage(tab, site["id"], tmp_path).open(fragment)

    return opened


def rows(page: SitePage) -> Locator:
    return page.page.locator("[data-history-rows] tr")


def delete_first(page: SitePage, *, with_bundle: bool) -> None:
    """Delete the newest backup by its button."""
    rows(page).first.get_by_role("button", name="Delete").click()
    if with_bundle:
        page.page.locator("dialog[open] [name=choice]").check()
    page.look(f"delete-{with_bundle}")
    page.answer_question("Delete it")


def test_history_trusts_pins_and_says_what_goes_next(
    lived: Lived, page_of: Callable[..., SitePage]
) -> None:
    site = add_site(lived, "pinned.example")
    cluster = lived.cluster
    back_up(cluster, site["id"])
    job = back_up(cluster, site["id"])
    cluster.manage("shell", "--verbosity", "0", "-c", SUSPECT.format(job=job))
    page = page_of(site)
    expect(rows(page)).to_have_count(2)
    newest = rows(page).first
    expect(newest).to_contain_text("suspect")
    newest.get_by_role("button", name="Trust").click()
    page.answer_question("It is right")
    expect(newest).not_to_contain_text("suspect")
    card = page.page.locator("#retention")
    expect(card.locator("[data-retention-goes]")).to_have_text("Nothing goes.")
    oldest = rows(page).nth(1)
    oldest.get_by_role("button", name="Pin").click()
    expect(oldest).to_contain_text("pinned")
    expect(oldest.get_by_role("button", name="Unpin")).to_be_visible()
    page.look("pinned")
    card.get_by_role("button", name="Change the rules").click()
    dialog = page.page.locator("#retention-change")
    dialog.get_by_label("The newest ones").fill("1")
    # The pinned one stays all the same.
    expect(dialog.get_by_role("status")).to_have_text("With these rules: Nothing goes.")
    page.look("rules")
    dialog.get_by_label("One of each day").fill("10001")
    page.tab.expect(400, "/api/v1/sites/")
    dialog.locator("form").evaluate("form => { form.noValidate = true; }")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".field-error")).to_contain_text("10000")
    dialog.get_by_label("One of each day").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(card).to_contain_text("Kept: the newest backup")
    card.locator("summary").click()
    expect(card.locator("tbody tr").nth(1)).to_contain_text("pinned")
    oldest.get_by_role("button", name="Unpin").click()
    # It is said, and then it is done.
    expect(card).to_contain_text("1 backup goes next: the one of")
    wait_until(
        lambda: cluster.get(f"/api/v1/sites/{site['id']}/backups").body["total"] == 1, timeout=90
    )


def test_history_shows_fetches_and_deletes(lived: Lived, page_of: Callable[..., SitePage]) -> None:
    site = add_site(lived, "history.example")
    for size in (1000, 300_000, 900_000):
        (Path(site["wp_path"]) / "wp-content" / "new.bin").write_bytes(os.urandom(size))
        back_up(lived.cluster, site["id"])
    backups = lived.cluster.get(f"/api/v1/sites/{site['id']}/backups").body["backups"]
    page = page_of(site)
    expect(rows(page)).to_have_count(3)
    for row, backup in zip(rows(page).all(), backups, strict=True):
        expect(row).to_contain_text(f"{backup['sha256'][:16]}…")
        expect(row.locator(".number")).to_have_text(re.compile(r"^[\d.]+ (KB|MB)$"))
    drawing = page.page.locator("[data-sparkline]")
    expect(drawing).to_have_attribute("aria-label", re.compile("last 3 good backups"))
    page.look("history")
    with page.page.expect_download() as downloading:
        rows(page).nth(1).get_by_role("button", name="Download").click()
    found = hashlib.sha256(downloading.value.path().read_bytes()).hexdigest()
    assert found == backups[1]["sha256"]
    delete_first(page, with_bundle=False)
    page.expect_notice(re.compile("forgotten; its object stays"))
    assert Path(backups[0]["s3_path"]).exists()
    expect(rows(page)).to_have_count(2)
    page.expect_buttons("Start new backup", "View logs", "Reset …")
    page.expect_outcome("Bundle", "This backup was deleted since.")
    expect(page.page.locator("#history-title")).to_be_focused()
    delete_first(page, with_bundle=True)
    expect(rows(page)).to_have_count(1)
    assert not Path(backups[1]["s3_path"]).exists()
    left = lived.cluster.get(f"/api/v1/sites/{site['id']}/backups").body["backups"]
    assert [one["id"] for one in left] == [backups[2]["id"]]


def test_old_backups_are_shown_when_asked_for(
    lived: Lived, page_of: Callable[..., SitePage]
) -> None:
    site = add_site(lived, "many.example")
    job = back_up(lived.cluster, site["id"])
    code = (
        "from backups.models import Backup\n"
        f"one = Backup.objects.get(job_id={job!r})\n"
        "for number in range(29):\n"
        "    one.pk = None; one.job_id = None; one.object_key += '_'; one.save()\n"
    )
    lived.cluster.manage("shell", "--verbosity", "0", "-c", code)
    page = page_of(site, viewport=PHONE)
    expect(rows(page)).to_have_count(20)
    page.page.get_by_role("button", name="Show older ones").click()
    expect(rows(page)).to_have_count(30)
    expect(page.page.get_by_role("button", name="Show older ones")).to_be_hidden()
    page.look("history-phone")


def test_log_follows_a_running_job_to_its_end(
    lived: Lived, page_of: Callable[..., SitePage]
) -> None:
    site = add_site(lived, "followed.example", film=os.urandom(SHORT_FILM_BYTES))
    page = page_of(site)
    with slow_uploads(lived):
        job = start(lived.cluster, site["id"])
        page.expect_state("running")
        page.button("log").click()
        # Two looks at once: no line may be there twice.
        page.button("log").dblclick()
        lines = page.page.locator("[data-log-lines] li")
        expect(lines.first).to_be_visible()
        expect(page.page.locator("[data-log-job]")).to_have_text(f"of job {job}")
        page.look("log-running")
        page.expect_state("completed")
    logs = lived.cluster.get(f"/api/v1/sites/{site['id']}/backup/logs").body["logs"]
    expect(lines).to_have_count(len(logs), timeout=10_000)
    expect(lines.last).to_contain_text(logs[-1]["message"])


def test_log_of_thousands_of_lines_can_be_read(
    lived: Lived, page_of: Callable[..., SitePage]
) -> None:
    site = add_site(lived, "chatty.example")
    job = back_up(lived.cluster, site["id"])
    lived.cluster.manage("shell", "--verbosity", "0", "-c", ADD_LINES.format(job=job, lines=LINES))
    page = page_of(site, "#log", viewport=PHONE)
    lines, log = page.page.locator("[data-log-lines] li"), page.page.locator("[data-log-scroll]")
    expect(lines.last).to_contain_text(f"line {LINES - 1} <b>")
    assert lines.count() > LINES
    is_at_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 24"
    wait_until(lambda: log.evaluate(is_at_end), 5, "the end is in sight")
    log.evaluate("log => { log.scrollTop = 0 }")
    expect(page.page.locator("[data-follow]")).not_to_be_checked()
    page.page.locator("[data-follow]").check()
    assert log.evaluate(is_at_end)
    page.look("log-long", is_long=True)
