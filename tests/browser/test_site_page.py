"""The page of a site: every state of its backup, reached with real workers and looked at."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Lived
from tests.browser.site_page import FILM_BYTES, SitePage, add_site, back_up, slow_uploads, start
from tests.servers.browser import PHONE, OpenTab

pytestmark = pytest.mark.slow
numbers = count(1)

SiteOf = Callable[..., SitePage]


@pytest.fixture
def site_of(
    lived: Lived, open_tab: OpenTab, session_of: Callable[..., Any], tmp_path: Path
) -> SiteOf:
    """Return what opens the page of a new site: `site_of(film=…, viewport=PHONE)`."""

    def opened(film: bytes = b"", *, broken: bool = False, **options: Any) -> SitePage:
        site = add_site(lived, f"page-{next(numbers)}.example", film=film, broken=broken)
        session = session_of(lived.cluster)
        tab = open_tab(lived.cluster, storage_state=session, **options)
        return SitePage(tab, site["id"], tmp_path).open()

    return opened


@pytest.fixture
def slow(lived: Lived) -> Iterator[None]:
    with slow_uploads(lived):
        yield


def test_backup_is_started_watched_and_completed(lived: Lived, site_of: SiteOf, slow: None) -> None:
    site = site_of(os.urandom(FILM_BYTES))
    site.expect_state("idle")
    site.expect_buttons("Start backup", "Reset …")
    expect(site.page.locator("[data-history-empty]")).to_be_visible()
    site.look("idle")
    site.button("start").click()
    site.expect_state("running", 5000)
    figures = site.backup.locator("[data-figures]")
    rate = r"[\d.]+ MB of 5\.\d MB · [\d.]+ KB/s · about \d+ s left"
    expect(figures).to_have_text(re.compile(rate), timeout=30_000)
    expect(site.backup.locator("[data-headline]")).to_have_text("Stage 4/5: Upload")
    expect(site.backup.locator(".stages [data-status=completed]")).to_have_count(3)
    expect(site.backup.locator("[data-connection]")).to_have_text("Live")
    site.expect_buttons("Stop", "View logs", "Reset …")
    percent = int(site.backup.locator("[data-percent]").inner_text().split()[0])
    assert 60 <= percent < 80
    site.look("running")
    site.expect_state("completed")
    site.expect_buttons("Start new backup", "Download", "View logs", "Reset …")
    (backup,) = lived.cluster.get(f"/api/v1/sites/{site.site_id}/backups").body["backups"]
    site.expect_outcome("SHA-256", backup["sha256"])
    site.expect_outcome("Size", f"{backup['size_bytes'] / 1024**2:.1f} MB")
    site.expect_outcome("Finished", re.compile("now|ago"))
    site.expect_outcome("Took", re.compile(r"\d+ s"))
    expect(site.page.locator(".site-head")).to_contain_text("protected")
    expect(site.page.locator(".site-head")).to_contain_text(re.compile(r"5\.\d\sMB stored"))
    site.look("completed")
    with site.page.expect_download() as downloading:
        site.button("download").click()
    fetched = downloading.value
    assert fetched.suggested_filename == backup["filename"]
    assert hashlib.sha256(fetched.path().read_bytes()).hexdigest() == backup["sha256"]


def test_failure_says_why_and_is_retried(lived: Lived, site_of: SiteOf) -> None:
    site = site_of(broken=True)
    site.button("start").click()
    site.expect_state("failed")
    site.expect_buttons("Retry", "Start from the beginning", "View logs", "Reset …")
    status = lived.cluster.get(f"/api/v1/sites/{site.site_id}/backup/status").body
    job = lived.cluster.get(f"/api/v1/jobs/{status['job_id']}").body
    assert job["error_message"]
    assert job["error_hint"]
    site.expect_outcome("What failed", job["error_message"])
    site.expect_outcome("What to do", job["error_hint"])
    site.look("failed")
    site.button("log").click()
    lines = site.page.locator("[data-log-lines] li")
    expect(lines.filter(has_text=job["error_message"]).first).to_be_visible()
    site.look("failed-with-log")
    with site.page.expect_response("**/retry") as retried:
        site.button("retry").click()
    assert retried.value.status == 202
    site.expect_state("failed")


def test_stop_asks_and_stops(site_of: SiteOf, slow: None) -> None:
    site = site_of(os.urandom(FILM_BYTES))
    site.button("start").click()
    site.expect_state("running")
    site.button("stop").click()
    expect(site.page.locator("dialog[open]")).to_contain_text("The backups that you have stay.")
    site.look("stop-question")
    site.answer_question("Cancel")
    site.expect_state("running")
    site.button("stop").click()
    site.answer_question("Stop it")
    site.expect_state("stopped")
    site.expect_buttons("Start new backup", "View logs", "Reset …")
    expect(site.page.locator("[data-history-empty]")).to_be_visible()
    site.look("stopped")


def test_reset_says_what_it_will_do_and_leads_to_idle(site_of: SiteOf, slow: None) -> None:
    site = site_of(os.urandom(FILM_BYTES))
    site.button("start").click()
    site.expect_state("running")
    site.button("reset").click()
    question = site.page.locator("dialog[open]")
    expect(question).to_contain_text("It is given up at once")
    expect(question).to_contain_text("The backups that you have stay.")
    site.look("reset-question")
    site.answer_question("Reset it")
    site.expect_state("idle")
    site.expect_notice(re.compile("reset to idle"))
    site.expect_buttons("Start backup", "Reset …")
    site.look("reset")


@pytest.mark.parametrize("state", ["idle", "completed", "failed", "running"])
def test_page_is_fit_for_phones(state: str, lived: Lived, site_of: SiteOf, slow: None) -> None:
    film = os.urandom(FILM_BYTES) if state == "running" else b""
    site = site_of(film, broken=state == "failed", viewport=PHONE)
    if state == "running":
        start(lived.cluster, site.site_id)
    elif state != "idle":
        back_up(lived.cluster, site.site_id, state)
    site.open("#log")
    site.expect_state(state)
    if state == "completed":
        expect(site.backup.locator("dd.checksum")).to_be_visible()
    site.look(f"phone-{state}")
