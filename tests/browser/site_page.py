"""The page of a site as a test uses it: open, look at, press."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Lived
from tests.browser.people import created
from tests.servers.browser import Tab
from tests.servers.cluster import Cluster
from tests.workers.stages.pipeline import make_sqlite_site

# An upload of such a film takes ten seconds at such a rate: time enough to watch it.
FILM_BYTES = 6_000_000
BYTES_PER_SECOND = 500_000
# Long enough to do one thing while it is uploaded, and to see the end.
SHORT_FILM_BYTES = 2_000_000
# How soon somebody who does nothing sees what somebody else did.
SEEN_MILLISECONDS = 6000
_numbers = count(1)
IS_WIDER = "document.documentElement.scrollWidth > window.innerWidth"


@dataclass
class SitePage:
    """One site's page in a tab; pictures of it go to `pictures`."""

    tab: Tab
    site_id: int
    pictures: Path

    @property
    def page(self) -> Page:
        return self.tab.page

    @property
    def backup(self) -> Locator:
        return self.page.locator("#backup")

    def open(self, fragment: str = "") -> SitePage:
        """Go there, and return it once it shows how the backup stands."""
        self.tab.open(f"/sites/{self.site_id}/{fragment}")
        expect(self.backup).not_to_have_attribute("data-state", "loading")
        return self

    def button(self, action: str) -> Locator:
        return self.backup.locator(f"[data-action={action}]")

    def expect_state(self, state: str, milliseconds: int = 60_000) -> None:
        expect(self.backup).to_have_attribute("data-state", state, timeout=milliseconds)

    def expect_buttons(self, *names: str) -> None:
        """Demand just these buttons below the backup, in this order."""
        expect(self.backup.locator("button:visible")).to_have_text(list(names))

    def expect_outcome(self, term: str, text: str | re.Pattern[str]) -> None:
        value = self.backup.locator(f"dt:text-is('{term}') + dd")
        expect(value).to_have_text(text)

    def expect_notice(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("#notices .notice").filter(has_text=text)).to_be_visible()

    def answer_question(self, name: str) -> None:
        """Press a button of the dialog that is open."""
        self.page.locator("dialog[open]").get_by_role("button", name=name).click()
        expect(self.page.locator("dialog[open]")).to_have_count(0)

    def look(self, name: str, *, is_long: bool = False) -> None:
        """Keep a picture, and demand that nothing keeps people out.

        Axe takes its time for thousands of elements: of a long page only the width is looked at.
        """
        self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)
        found = [] if is_long else self.tab.violations()
        assert not found, found
        assert not self.page.evaluate(IS_WIDER), f"{name} is wider than the window"


def add_site(lived: Lived, name: str, *, film: bytes = b"", broken: bool = False) -> dict[str, Any]:
    """Add a site to the node: a small one, with a `film` to upload, or one that cannot succeed."""
    path = lived.cluster.directory / "browsed" / f"site-{next(_numbers)}"
    if broken:
        path.mkdir(parents=True)
    else:
        make_sqlite_site(path)
        (path / "wp-content" / "uploads" / "film.mp4").write_bytes(film)
    body = {"node_id": lived.node_id, "storage_id": lived.good["storage_id"]}
    return created(lived.cluster, "/api/v1/sites/", {"name": name, "wp_path": str(path), **body})


def start(cluster: Cluster, site_id: int) -> str:
    """Start a backup behind the page's back, and return the job's id."""
    answer = cluster.post(f"/api/v1/sites/{site_id}/backup/start")
    assert answer.status == 202, answer
    return str(answer.body["job_id"])


def back_up(cluster: Cluster, site_id: int, end: str = "completed") -> str:
    """Back up behind the page's back, until it ends as expected."""
    job = start(cluster, site_id)
    status = cluster.wait_for_end(site_id)
    assert status["status"] == end, status
    return job


@contextmanager
def slow_uploads(lived: Lived) -> Iterator[None]:
    """Let the node upload so slowly meanwhile that one can watch it."""
    path = f"/api/v1/nodes/{lived.node_id}"
    for_now = {"upload_bytes_per_second": BYTES_PER_SECOND}
    answer = lived.cluster.request("PATCH", path, for_now)
    assert answer.status == 200, answer
    yield
    answer = lived.cluster.request("PATCH", path, {"upload_bytes_per_second": None})
    assert answer.status == 200, answer
