"""Take the pictures of the main pages that the README and the docs show.

    python -m tests.browser.screenshots [--only dashboard …] [--to docs/images]

A panel with the fleet of `fleet_plan` is started, looked at with a real browser, and ended. What is
random in the fleet is the same each time, and its times are told from now on, so that two runs make
pictures that differ in little but the dates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, expect

from tests.browser.fleet import fleet, start_heart
from tests.browser.fleet_plan import plan_sites, restored_site
from tests.servers import server_directory
from tests.servers.browser import DESKTOP, PHONE, WAIT_MILLISECONDS, Tab, started_browser
from tests.servers.cluster import ROOT, Cluster
from tests.servers.redis import RedisServer

SITES, NODES = 300, 6
FLEET = "/admin/backup-maintenance/"
DARK: dict[str, Any] = {"color_scheme": "dark"}
# A list with all its columns beside its filters.
WIDE: dict[str, Any] = {"viewport": {"width": 1500, "height": 900}}
ON_PHONE: dict[str, Any] = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
# More says nothing more, and weighs a lot in a repository.
MOST_BYTES = 250_000


@dataclass(frozen=True)
class Picture:
    """What is looked at: a file's name, a path, and what must be there before it is taken.

    In the path, `{running}` and the like are ids of sites of that fate. `height` is the window's.
    """

    name: str
    path: str
    ready: str
    options: dict[str, Any] = field(default_factory=dict)
    height: int | None = None
    scroll_to: str = ""
    is_signed_in: bool = True


LIVE = "[data-kind=live]"
BACKUP = "#backup:not([data-state=loading])"
# Known after a second look.
RATE = f"{BACKUP} [data-figures]:has-text('/s')"
PICTURES = (
    Picture("dashboard-light", FLEET, f"{LIVE} >> nth=0", height=1000),
    Picture("dashboard-dark", FLEET, f"{LIVE} >> nth=0", DARK, height=1000),
    Picture("dashboard-phone", FLEET, f"{LIVE} >> nth=0", ON_PHONE),
    Picture("dashboard-trends", f"{FLEET}?state=failing", f"{LIVE} >> nth=0", scroll_to="#charts"),
    Picture("site-running", "/sites/{running}/", RATE),
    Picture("site-completed", "/sites/{safe}/", f"{BACKUP} .checksum"),
    Picture("site-restored", "/sites/{restored}/", "#restores li", scroll_to="#restores"),
    Picture("site-failed", "/sites/{failing}/", f"{BACKUP} .reason"),
    Picture("site-running-dark", "/sites/{running}/", RATE, DARK),
    Picture("site-failed-phone", "/sites/{failing}/", f"{BACKUP} .reason", ON_PHONE),
    Picture("sites", "/sites/", "#sites table"),
    Picture("sign-in", "/sign-in/", "#sign-in-title", height=640, is_signed_in=False),
    Picture("admin-jobs", "/admin/backups/job/", "#result_list", WIDE),
    Picture("admin-node", "/admin/backups/node/1/change/", "#node_form"),
    Picture("browsable-api", "/api/v1/sites/{safe}/backup/start", ".request-info", height=640),
    Picture("docs", "/docs", ".opblock-tag-section"),
)


def main() -> int:
    """Start, take, end; 1 if a browser complained or a picture is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", nargs="+", default=[""], help="Those whose names begin so.")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    complaints: list[str] = []
    with _running_fleet() as cluster, started_browser() as browser:
        session = _session(browser, cluster)
        for picture in PICTURES:
            if picture.name.startswith(tuple(options.only)):
                file = options.to / f"{picture.name}.png"
                complaints += _take(browser, cluster, session, picture, file)
                size = file.stat().st_size
                print(f"{file.name:28}{size / 1000:7.0f} kB", flush=True)
                if size > MOST_BYTES:
                    complaints.append(f"{file.name} has more than {MOST_BYTES:,} bytes")
    print(*complaints, sep="\n", file=sys.stderr)
    return 1 if complaints else 0


@contextmanager
def _running_fleet() -> Iterator[Cluster]:
    with ExitStack() as stack:
        broker = RedisServer(stack.enter_context(server_directory("redis")))
        broker.start()
        stack.callback(broker.stop)
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="holdfast-pictures-")))
        cluster = stack.enter_context(fleet(directory, broker.url, SITES, NODES))
        start_heart(cluster)
        yield cluster


def _session(browser: Browser, cluster: Cluster) -> Any:
    """Return the cookies of somebody who has signed in."""
    with _opened(browser, cluster, {}) as tab:
        tab.sign_in()
        return tab.page.context.storage_state()


@contextmanager
def _opened(browser: Browser, cluster: Cluster, options: dict[str, Any]) -> Iterator[Tab]:
    base = f"http://127.0.0.1:{cluster.port}"
    context = browser.new_context(
        **{"base_url": base, "viewport": DESKTOP, "reduced_motion": "reduce", **options}
    )
    context.set_default_timeout(2 * WAIT_MILLISECONDS)
    yield Tab(context.new_page(), "")
    context.close()


def _take(
    browser: Browser, cluster: Cluster, session: Any, picture: Picture, file: Path
) -> list[str]:
    """Take one picture; return what the browser complained of."""
    options = dict(picture.options)
    if picture.is_signed_in:
        options["storage_state"] = session
    if picture.height:
        width = options.get("viewport", DESKTOP)["width"]
        options["viewport"] = {"width": width, "height": picture.height}
    with _opened(browser, cluster, options) as tab:
        # The form to start is on a page that can be posted to only.
        tab.expect(405, "/api/")
        page = tab.open(picture.path.format(**_ids()))
        expect(page.locator(picture.ready).first).to_be_visible(timeout=2 * WAIT_MILLISECONDS)
        if picture.scroll_to:
            page.locator(picture.scroll_to).evaluate("one => one.scrollIntoView()")
            page.wait_for_function("window.scrollY > 0")
        page.evaluate("document.fonts.ready")
        page.screenshot(path=file, animations="disabled", scale="css")
        return tab.complaints


def _ids() -> dict[str, int]:
    """Return for each fate the first site that has it: keys follow the plan in a new database."""
    plans = plan_sites(SITES, NODES)
    found = {"restored": restored_site(plans).number + 1}
    for plan in plans:
        found.setdefault(plan.fate, plan.number + 1)
    return found


if __name__ == "__main__":
    sys.exit(main())
