"""A real browser: Debian's Chromium, driven by Playwright, with an eye on what goes wrong in it.

What a page shows is looked at through `Tab.page`; whatever the browser complains of meanwhile is
in `Tab.complaints`, and fails the test that opened the tab.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.servers.cluster import EMAIL, PASSWORD, Cluster

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
AXE = Path(__file__).parents[1] / "browser"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
GRAVE = ["serious", "critical"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]
WAIT_MILLISECONDS = 15_000
# Left pages and cancelled downloads: nobody misses those.
LEFT = "net::ERR_ABORTED"
# Told by the response or the request itself, with its status.
TOLD_OTHERWISE = "Failed to load resource"

RUN_AXE = """async ([grave, rules]) => {
    const changing = document.getAnimations().filter((one) => one instanceof CSSTransition);
    await Promise.allSettled(changing.map((one) => one.finished));
    // Loading the sheets again, for a rule about turned screens, runs into the page's policy.
    const options = {preload: false, resultTypes: ["violations"]};
    if (rules) options.runOnly = rules;
    const found = await window.axe.run(document, options);
    return found.violations.filter((one) => grave.includes(one.impact)).flatMap((one) =>
        one.nodes.map((node) => `${one.id}: ${node.target.join(" ")} ${node.html.slice(0, 200)} `
            + `(${[...node.any, ...node.all, ...node.none].map((c) => c.message).join("; ")})`));
}"""


class Tab:
    """A page in a context of its own: its own cookies, as another person at another computer.

    `complaints` holds errors and warnings of the console, uncaught exceptions, requests that failed
    and answers of 400 and more; what a test provokes it announces with `expect`.
    """

    def __init__(self, page: Page, axe: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._axe = axe
        self._expected: list[tuple[int, str]] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    def expect(self, status: int, path: str) -> None:
        """Take no offence at answers with that status whose path begins so; 0: at no answer."""
        self._expected.append((status, path))

    def open(self, path: str) -> Page:
        """Go there, and return the page once it has loaded."""
        self.page.goto(path)
        return self.page

    def take_clock(self) -> None:
        """Let `skip` move the clock of what is opened from now on; else it goes as it does."""
        self.page.clock.install()

    def skip(self, seconds: float) -> None:
        """Let the page find that so much time has passed: what it does by then it does now."""
        self.page.clock.fast_forward(int(seconds * 1000))

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD, then: str = "/admin/") -> None:
        """Sign in by the admin's form, as people do, and be at `then`."""
        self.open(f"/admin/login/?next={then}")
        self.page.locator("[name=username]").fill(email)
        self.page.locator("[name=password]").fill(password)
        self.page.locator("[type=submit]").first.click()
        self.page.wait_for_url(f"**{then}")

    def violations(self) -> list[str]:
        """Return what axe finds serious or critical in the page, a line for each element.

        In the tab's colours, and what has to do with colours in the dark as well.
        """
        page = self.page
        # Evaluated, not added as a script, so that no content security policy stands in the way.
        page.evaluate(self._axe)
        found = [f"light {one}" for one in page.evaluate(RUN_AXE, [GRAVE, None])]
        page.emulate_media(color_scheme="dark")
        found += [f"dark {one}" for one in page.evaluate(RUN_AXE, [GRAVE, OF_COLOURS])]
        page.emulate_media(color_scheme="light")
        return [f"{urlsplit(page.url).path} {one}" for one in found]

    def _is_expected(self, status: int, url: str) -> bool:
        path = urlsplit(url).path
        return any(status == one and path.startswith(begin) for one, begin in self._expected)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(TOLD_OTHERWISE):
            place = message.location.get("url") or self.page.url
            self.complaints.append(f"{message.type}: {message.text} ({place})")

    def _on_failure(self, request: Request) -> None:
        if request.failure != LEFT and not self._is_expected(0, request.url):
            self.complaints.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and not self._is_expected(response.status, response.url):
            method = response.request.method
            self.complaints.append(f"{response.status}: {method} {response.url}")


OpenTab = Callable[..., Tab]


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Yield a browser; while it runs, an event loop does in this thread."""
    found = [path for name in PROGRAMS if (path := shutil.which(name))]
    assert found, f"none of {', '.join(PROGRAMS)} is installed"
    # Chromium's sandbox refuses root.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found[0], args=flags, headless=True)
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a file.

    Not of the session: Django lets nobody near a database from a thread with an event loop. The
    pages under test are served by other processes.
    """
    with started_browser() as started:
        yield started


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core's script, installed as the lock names it."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(AXE / name, folder)
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"npm reaches no registry, or the lock is stale: {done.stderr}"
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture
def open_tab(browser: Browser, axe: str) -> Iterator[OpenTab]:
    """Return what opens a tab: `open_tab(cluster, color_scheme="dark", viewport=PHONE)`.

    Options are those of Playwright's contexts. Afterwards none may have anything to complain of.
    """
    tabs: list[Tab] = []

    def opened(installation: Cluster | str, **options: Any) -> Tab:
        is_cluster = isinstance(installation, Cluster)
        base = f"http://127.0.0.1:{installation.port}" if is_cluster else installation
        context = browser.new_context(**{"base_url": base, "viewport": DESKTOP, **options})
        context.set_default_timeout(WAIT_MILLISECONDS)
        tabs.append(Tab(context.new_page(), axe))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.page.context.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@pytest.fixture(scope="session")
def known_sessions() -> dict[tuple[Path, str], Any]:
    """Who has signed in where: cookies outlive the browser of a file."""
    return {}


@pytest.fixture(scope="module")
def session_of(browser: Browser, known_sessions: dict[tuple[Path, str], Any]) -> Callable[..., Any]:
    """Return what signs in once and returns that session: `open_tab(…, storage_state=session)`."""

    def session(cluster: Cluster, email: str = EMAIL, password: str = PASSWORD) -> Any:
        key = (cluster.directory, email)
        if key not in known_sessions:
            context = browser.new_context(base_url=f"http://127.0.0.1:{cluster.port}")
            Tab(context.new_page(), "").sign_in(email, password)
            known_sessions[key] = context.storage_state()
            context.close()
        return known_sessions[key]

    return session
