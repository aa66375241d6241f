"""Every page of the admin in a browser: nothing that keeps people out, and no complaint of its."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NODE_ADMIN, PEOPLE_PASSWORD, SITE_ADMIN, Lived
from tests.servers.browser import OpenTab, Tab

pytestmark = pytest.mark.slow
SessionOf = Callable[..., Any]
PEOPLE = {
    "super admin": (),
    "node admin": (NODE_ADMIN, PEOPLE_PASSWORD),
    "site admin": (SITE_ADMIN, PEOPLE_PASSWORD),
}
MODELS = "#content-main th[scope=row] a"
ROW = "#result_list tbody th a, #result_list tbody td a"
LINKS_OF_ROW = ".object-tools a.historylink, .submit-row .deletelink, [href$='/password/']"


def addresses(page: Page, selector: str) -> list[str]:
    """Where the links lead, without the part that the page alone knows how to read."""
    found = page.locator(selector).evaluate_all("links => links.map((link) => link.href)")
    return [address.split("#")[0] for address in dict.fromkeys(found)]


def pages_of_list(tab: Tab, address: str) -> Iterator[str]:
    """A model's list and what it links to: searched, filtered, a form to add, a row's pages."""
    page = tab.open(address)
    yield "list"
    more = addresses(page, ".object-tools a.addlink")
    more += addresses(page, "#changelist-filter a")[:1]
    if page.locator("#searchbar").count():
        more.append(f"{address}?q=nothing-is-called-so")
    row = addresses(page, ROW)[:1]
    for other in (*more, *row):
        page = tab.open(other)
        yield other
    for other in addresses(page, LINKS_OF_ROW) if row else ():
        tab.open(other)
        yield other


@pytest.mark.parametrize("who", PEOPLE)
def test_nothing_on_any_page_keeps_people_out(
    who: str, lived: Lived, open_tab: OpenTab, session_of: SessionOf
) -> None:
    session = session_of(lived.cluster, *PEOPLE[who])
    tab = open_tab(lived.cluster, storage_state=session)
    page = tab.open("/admin/")
    models = addresses(page, MODELS)
    found = tab.violations()
    seen = []
    for model in models:
        for address in pages_of_list(tab, model):
            seen.append(address)
            found += tab.violations()
    tab.open("/admin/password_change/")
    found += tab.violations()
    print(len(seen), "pages", *found, sep="\n")
    assert found == []
    assert len(models) >= 5
