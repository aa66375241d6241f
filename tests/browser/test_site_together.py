"""Two people on one site, and what else happens while somebody looks at its page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import NODE_ADMIN, Lived
from tests.browser.people import PEOPLE_PASSWORD, created
from tests.browser.site_page import (
    FILM_BYTES,
    SEEN_MILLISECONDS,
    SHORT_FILM_BYTES,
    SitePage,
    add_site,
    back_up,
    slow_uploads,
    start,
)
from tests.servers import wait_until
from tests.servers.browser import PHONE, OpenTab
from tests.servers.cluster import EMAIL, PASSWORD

pytestmark = pytest.mark.slow
COLLEAGUE = "colleague@example.com"
PageOf = Callable[..., SitePage]


@pytest.fixture
def page_of(
    lived: Lived, open_tab: OpenTab, session_of: Callable[..., Any], tmp_path: Path
) -> PageOf:
    """Return what opens a site's page as somebody: `page_of(site, NODE_ADMIN, PEOPLE_PASSWORD)`."""

    def opened(
        site: dict[str, Any], email: str = EMAIL, password: str = PASSWORD, **options: Any
    ) -> SitePage:
        session = session_of(lived.cluster, email, password)
        tab = open_tab(lived.cluster, storage_state=session, **options)
        return SitePage(tab, site["id"], tmp_path).open()

    return opened


@pytest.fixture
def slow(lived: Lived) -> Iterator[None]:
    with slow_uploads(lived):
        yield


def test_two_people_see_the_same(lived: Lived, page_of: PageOf, slow: None) -> None:
    site = add_site(lived, "shared.example", film=os.urandom(FILM_BYTES))
    body = {"email": COLLEAGUE, "role": "site_admin", "password": PEOPLE_PASSWORD}
    person = created(lived.cluster, "/api/v1/users/", {**body, "is_staff": True})
    path = f"/api/v1/users/{person['id']}/sites"
    assert lived.cluster.request("PUT", path, {"site_ids": [site["id"]]}).status == 200
    one = page_of(site, NODE_ADMIN, PEOPLE_PASSWORD)
    two = page_of(site, COLLEAGUE, PEOPLE_PASSWORD)
    two.page.evaluate("window.isTheSame = true")
    one.button("start").click()
    two.expect_state("running", SEEN_MILLISECONDS)

    def progress() -> list[str]:
        return [each.backup.locator("[data-percent]").inner_text() for each in (one, two)]

    def is_equal() -> bool:
        first, second = progress()
        return first == second and int(first.split()[0]) > 60

    wait_until(is_equal, 20, "both show the same progress")
    two.button("stop").click()
    two.answer_question("Stop it")
    one.expect_state("stopped", SEEN_MILLISECONDS)
    two.expect_state("stopped", SEEN_MILLISECONDS)
    assert two.page.evaluate("window.isTheSame")
    two.button("start").click()
    one.expect_state("running", SEEN_MILLISECONDS)
    one.button("reset").click()
    one.answer_question("Reset it")
    two.expect_state("idle", SEEN_MILLISECONDS)


def test_start_is_refused_in_words_when_somebody_was_faster(
    lived: Lived, page_of: PageOf, slow: None
) -> None:
    site = add_site(lived, "contested.example", film=os.urandom(SHORT_FILM_BYTES))
    page = page_of(site)
    path = f"/api/v1/sites/{site['id']}/backup/start"
    page.tab.expect(409, path)

    def be_faster(route: Route) -> None:
        start(lived.cluster, site["id"])
        route.continue_()

    page.page.route(f"**{path}", be_faster)
    page.button("start").click()
    page.expect_state("running", 5000)
    expect(page.page.get_by_role("alert")).to_contain_text("already")
    page.look("refused")
    page.expect_state("completed")
    expect(page.page.get_by_role("alert")).to_have_count(0)


def test_double_click_starts_one(lived: Lived, page_of: PageOf) -> None:
    site = add_site(lived, "doubled.example")
    page = page_of(site)
    page.button("start").dblclick()
    page.expect_state("completed")
    assert lived.cluster.get(f"/api/v1/jobs?site_id={site['id']}").body["total"] == 1
    expect(page.page.get_by_role("alert")).to_have_count(0)


def test_late_answers_are_not_shown(lived: Lived, page_of: PageOf, slow: None) -> None:
    site = add_site(lived, "late.example")
    page = page_of(site)
    held: list[Route] = []
    page.page.route("**/backups?*", lambda route: held.append(route))
    back_up(lived.cluster, site["id"])
    page.expect_state("completed")
    wait_until(lambda: page.page.wait_for_timeout(50) or held, 10, "the history is asked for")
    film = Path(site["wp_path"]) / "wp-content" / "uploads" / "film.mp4"
    film.write_bytes(os.urandom(SHORT_FILM_BYTES))
    start(lived.cluster, site["id"])
    page.expect_state("running")
    with page.page.expect_response("**/backups?*"):
        for route in held:
            route.continue_()
    page.page.unroute("**/backups?*")
    expect(page.page.locator("[data-history-rows] tr")).to_have_count(1)
    page.expect_state("running")
    page.expect_buttons("Stop", "View logs", "Reset …")
    expect(page.backup.locator("[data-outcome]")).to_be_hidden()
    page.expect_state("completed")
    page.expect_buttons("Start new backup", "Download", "View logs", "Reset …")


def test_page_recovers_when_the_panel_can_be_reached_again(
    lived: Lived, page_of: PageOf, slow: None
) -> None:
    site = add_site(lived, "cut-off.example", film=os.urandom(FILM_BYTES))
    page = page_of(site)
    page.tab.expect(0, "/api/")
    streams, everything = "**/backup/stream/**", "**/api/**"
    connection = page.backup.locator("[data-connection]")
    page.page.route(streams, lambda route: route.abort())
    page.open()
    expect(connection).to_contain_text("No live stream; asking every 3 s instead")
    start(lived.cluster, site["id"])
    page.expect_state("running", SEEN_MILLISECONDS)
    page.look("polling")
    page.page.route(everything, lambda route: route.abort())
    expect(connection).to_contain_text("The panel does not answer")
    page.button("stop").click()
    page.answer_question("Stop it")
    expect(page.page.get_by_role("alert")).to_contain_text("Is your connection up?")
    page.look("unreachable")
    lived.cluster.wait_for_end(site["id"])
    page.page.unroute_all()
    page.expect_state("completed", 20_000)
    expect(page.page.get_by_role("alert")).to_have_count(0)
    expect(page.page.locator("[data-history-rows] tr")).to_have_count(1)
    start(lived.cluster, site["id"])
    page.expect_state("running", 20_000)
    expect(connection).to_have_text("Live", timeout=20_000)


def test_page_is_right_when_one_comes_back_to_it(lived: Lived, page_of: PageOf) -> None:
    site = add_site(lived, "left.example")
    page = page_of(site)
    page.tab.open("/sites/")
    back_up(lived.cluster, site["id"])
    page.page.go_back()
    page.expect_state("completed", SEEN_MILLISECONDS)


def test_times_are_told_by_the_panels_clock(lived: Lived, page_of: PageOf) -> None:
    site = add_site(lived, "skewed.example")
    back_up(lived.cluster, site["id"])
    page = page_of(site)
    page.page.clock.set_fixed_time(time.time() + 3 * 3600)
    page.open()
    finished = page.backup.locator("dt:text-is('Finished') + dd")
    expect(finished).not_to_contain_text("hour")
    expect(page.page.locator("[data-history-rows] time")).not_to_contain_text("hour")


def test_keyboard_starts_and_stops(lived: Lived, page_of: PageOf, slow: None) -> None:
    site = add_site(lived, "keys.example", film=os.urandom(FILM_BYTES))
    page = page_of(site)
    keyboard = page.page.keyboard

    def tab_to(action: str) -> None:
        for _ in range(30):
            if page.button(action).evaluate("button => button === document.activeElement"):
                return
            keyboard.press("Tab")
        raise AssertionError(f"{action} is not in the tab order")

    tab_to("start")
    keyboard.press("Enter")
    page.expect_state("running")
    expect(page.page.locator("#backup-title")).to_be_focused()
    for action in ("stop", "log", "reset"):
        tab_to(action)
    page.button("stop").focus()
    keyboard.press("Enter")
    question = page.page.locator("dialog[open]")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(page.button("stop")).to_be_focused()
    expect(page.button("stop")).not_to_have_attribute("aria-disabled", "true")
    keyboard.press("Enter")
    keyboard.press("Tab")
    expect(question.get_by_role("button", name="Stop it")).to_be_focused()
    keyboard.press("Enter")
    page.expect_state("stopped")
    expect(page.page.locator("#backup-title")).to_be_focused()


def test_stop_is_refused_in_words_when_the_backup_has_ended_meanwhile(
    lived: Lived, page_of: PageOf
) -> None:
    site = add_site(lived, "ended.example", film=os.urandom(SHORT_FILM_BYTES))
    page = page_of(site)
    page.tab.expect(409, "/api/v1/sites/")
    with slow_uploads(lived):
        page.button("start").click()
        page.button("stop").click()
        page.expect_state("completed")
    page.answer_question("Stop it")
    expect(page.page.get_by_role("alert")).to_contain_text("No backup")
    page.expect_buttons("Start new backup", "Download", "View logs", "Reset …")
    expect(page.page.locator("#backup-title")).to_be_focused()


@pytest.mark.parametrize("options", [{"viewport": PHONE}, {"color_scheme": "dark"}])
def test_long_words_stay_in_the_page(
    options: dict[str, Any], lived: Lived, page_of: PageOf
) -> None:
    name = ("x" if options.get("viewport") else "-".join(["0.Long_"] * 27))[:180]
    site = add_site(lived, name.ljust(190, "x"), broken=True)
    job = back_up(lived.cluster, site["id"], "failed")
    long = "<b>&quot;" + "a-word/without-an-end" * 200
    code = (
        "from backups.models import Job\n"
        f"Job.objects.filter(pk={job!r}).update(error_message={long!r}, error_hint={long!r})"
    )
    lived.cluster.manage("shell", "--verbosity", "0", "-c", code)
    page = page_of(site, **options)
    page.expect_outcome("What failed", long)
    page.button("reset").click()
    page.look("long-question")
    question = page.page.locator("dialog[open]")
    assert question.evaluate("box => box.scrollWidth <= box.clientWidth")
    page.answer_question("Cancel")
    page.button("log").click()
    page.look("long")
