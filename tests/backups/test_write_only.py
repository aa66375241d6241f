"""A stored secret goes in and never comes out: no answer, page, dump, log or repr holds one."""

from __future__ import annotations

import io
import logging

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from rest_framework.test import APIClient

from backups.models import Backup, Site, Storage
from tests.backups.api.test_routes import _filled, _routes
from tests.backups.conftest import ended_job
from workers.stages.context import StoreSpec

STORED = "geheim-im-speicher-1f9c"
PASSWORD = "geheim-der-datenbank-7ab2"
SECRETS = (STORED, PASSWORD)
ADMIN_PAGES = (
    "/admin/backups/storage/",
    "/admin/backups/storage/{storage}/change/",
    "/admin/backups/storage/{storage}/history/",
    "/admin/backups/storage/{storage}/delete/",
    "/admin/backups/site/",
    "/admin/backups/site/{site}/change/",
    "/admin/backups/site/{site}/history/",
    "/admin/backups/site/{site}/delete/",
    "/admin/backups/job/",
    "/admin/backups/backup/",
)


@pytest.fixture
def planted(site: Site, storage: Storage, make_backup: object, closed_broker: None) -> Site:
    """A site with a password, on S3 with a secret key, with a job and a backup."""
    ended_job(site)
    make_backup(site)  # type: ignore[operator]
    storage.type = "s3"
    storage.config = {
        "bucket": "b",
        "access_key_id": "AK",
        "endpoint_url": "https://s3.example.com",
    }
    storage.secrets = {"secret_access_key": STORED}
    storage.save()
    site.db_password = PASSWORD
    site.save()
    return site


def held_by(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_no_answer_of_the_api_holds_one(
    planted: Site, api: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    paths = {_filled(route) for route, _ in _routes(get_resolver().url_patterns)}
    pk = {"/1": f"/{planted.pk}"}
    asked = 0
    for path in paths:
        for old, new in pk.items():
            path = path.replace(old, new)
        for accept in ("application/json", "text/html"):
            for method in (api.get, api.options):
                answer = method(path, headers={"accept": accept})
                asked += answer.status_code == 200
                if not answer.streaming:
                    assert held_by(answer.content.decode(errors="replace")) == [], path
    assert asked > 50
    # Neither are they in what is said of a change that names them, or fails with them.
    storage = Storage.objects.get()
    url = f"/api/v1/storage/providers/{storage.pk}"
    for config in (
        {"bucket": "b", "secret_access_key": STORED, "access_key_id": "AK"},
        {"bucket": "b", "secret_access_key": STORED},
        {"bucket": "", "secret_access_key": STORED},
        {"bucket": "b", "secret_access_key": [STORED]},
        {"bucket": "b", "endpoint_url": "no url", "secret_access_key": STORED},
    ):
        answer = api.patch(url, {"config": config})
        assert held_by(answer.content.decode()) == [], config
    site = f"/api/v1/sites/{planted.pk}"
    for changes in ({"db_password": PASSWORD}, {"db_password": PASSWORD, "db_engine": "x"}):
        assert held_by(api.patch(site, changes).content.decode()) == []
    assert held_by(caplog.text) == []


def test_no_page_of_the_admin_holds_one(planted: Site, staff: Client) -> None:
    keys = {"site": planted.pk, "storage": Storage.objects.get().pk}
    for page in ADMIN_PAGES:
        answer = staff.get(page.format(**keys))
        assert answer.status_code == 200, page
        assert held_by(answer.content.decode()) == [], page
    # Nor the page that comes back when what was typed cannot be used.
    form = {"name": "", "type": "s3", "config": "{}", "new_secrets": f'{{"a": "{STORED}"}}'}
    answer = staff.post(ADMIN_PAGES[1].format(**keys), form)
    assert held_by(answer.content.decode()) == []


def test_no_dump_holds_one(planted: Site) -> None:
    dump = io.StringIO()
    call_command("dumpdata", "--all", stdout=dump)
    assert held_by(dump.getvalue()) == []
    assert '"backups.storage"' in dump.getvalue()


def test_no_repr_holds_one(planted: Site) -> None:
    storage = Storage.objects.get()
    spec = StoreSpec("s3", storage.full_config())
    said = [repr(one) for one in (storage, planted, spec, spec.open(), Backup.objects.get())]
    assert held_by(" ".join(said)) == []
    assert held_by(f"{storage} {planted} {spec}") == []
