"""Every page of the admin in a browser: nothing that keeps people out, and no complaint of its."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Lived
from tests.servers.browser import OpenTab

pytestmark = pytest.mark.slow


def test_sign_in_leads_to_the_list_of_what_there_is(lived: Lived, open_tab: OpenTab) -> None:
    tab = open_tab(lived.cluster)
    tab.sign_in()
    expect(tab.page.locator("#content-main")).to_contain_text("Sites")
    assert tab.violations() == []
