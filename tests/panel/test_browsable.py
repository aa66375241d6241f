"""The browsable API's pages: where they lead, and what they show where there is only a form."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from backups.models import Node, Site
from panel import browsable
from panel.accounts.models import User

HTML = {"accept": "text/html"}


@pytest.fixture
def site(db: None) -> Site:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    return Site.objects.create(name="example.com", node=node, wp_path="/srv/example.com")


@pytest.fixture
def browser(db: None) -> APIClient:
    client = APIClient()
    client.force_login(User.objects.create_superuser("super@example.com", "x"))
    return client


def page(client: APIClient, path: str) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200, path
    return str(answer.content.decode())


def test_every_route_that_pages_lead_to_exists() -> None:
    for argument, named in browsable.OF_ONE.items():
        key = str(UUID(int=0)) if argument == "job_id" else 1
        for _, route in named:
            assert reverse(route, kwargs={argument: key}).startswith("/api/v1/")
    for _, route in browsable.EVERYWHERE:
        assert reverse(route).startswith("/api/v1/")


def test_lists_lead_to_their_rows_and_rows_to_what_can_be_done(
    browser: APIClient, site: Site
) -> None:
    assert f'href="/api/v1/sites/{site.pk}">example.com</a>' in page(browser, "/api/v1/sites/")
    assert f'href="/api/v1/nodes/{site.node_id}">web-01</a>' in page(browser, "/api/v1/nodes/")
    of_site = page(browser, f"/api/v1/sites/{site.pk}")
    for path in (f"sites/{site.pk}/backup/start", f"daemon/backup/reset/{site.pk}"):
        assert f'href="/api/v1/{path}"' in of_site
    breadcrumbs = of_site[of_site.index('class="breadcrumb"') :].split("</ul>")[0]
    assert breadcrumbs.count("<li") == 2


def test_route_that_is_only_written_to_shows_its_form_to_browsers_alone(
    browser: APIClient, site: Site
) -> None:
    path = f"/api/v1/sites/{site.pk}/backup/start"
    shown = page(browser, path)
    assert browsable.WRITTEN_TO in shown
    assert 'id="post-object-form"' in shown
    answer = browser.get(path, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_every_control_has_its_label(browser: APIClient, site: Site) -> None:
    shown = page(browser, f"/api/v1/sites/{site.pk}")
    labelled = re.findall(r'<label for="(field-\w+)"', shown)
    assert "field-wp_path" in labelled
    for key in labelled:
        assert shown.count(f'id="{key}"') == 1, key
    assert '<html lang="en">' in shown


def test_what_a_site_is_called_stays_text(browser: APIClient, site: Site) -> None:
    Site.objects.update(url='https://x.example/" style="color:red"><b name="name">')
    shown = page(browser, f"/api/v1/sites/{site.pk}")
    assert "<b name" not in shown
    assert not re.search(r'<[^>]* style="', shown)


def test_form_of_a_restore_asks_for_a_checkpoint_unless_somebody_takes_the_tick_away(
    browser: APIClient, site: Site
) -> None:
    form = page(browser, f"/api/v1/sites/{site.pk}/restore")
    [box] = re.findall(r'<input[^>]*name="checkpoint"[^>]*>', form)
    assert "checked" in box
