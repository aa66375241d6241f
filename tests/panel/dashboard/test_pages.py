"""Who gets which page, and what is in it; how they behave is seen in tests/browser."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backups.actions import jobs, pausing
from backups.models import Backup, Job, Node, Proof, ProofOutcome, Site, Storage
from backups.roles import Role
from panel.accounts.models import User

DASHBOARD = "/admin/backup-maintenance/"
OVERVIEW = f"{DASHBOARD}overview"
pytestmark = pytest.mark.django_db

BrowserOf = Callable[..., Client]


@pytest.fixture
def site(db: None) -> Site:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    storage = Storage.objects.create(
        name="s", type="local", config={"path": "/srv"}, is_default=True
    )
    return Site.objects.create(name="example.com", node=node, storage=storage, wp_path="/srv/a")


@pytest.fixture
def other_site(site: Site) -> Site:
    node = Node.objects.create(name="web-02", allowed_roots=["/srv"])
    return Site.objects.create(name="other.org", node=node, wp_path="/srv/b")


@pytest.fixture
def browser_of() -> BrowserOf:
    def make(role: Role, *, is_staff: bool = False, site: Site | None = None) -> Client:
        user = User.objects.create_user(f"{uuid.uuid4().hex}@example.com", role=role)
        User.objects.filter(pk=user.pk).update(is_staff=is_staff)
        if site is not None:
            (site.node if role == Role.NODE_ADMIN else site).admins.add(user)
        browser = Client(raise_request_exception=False)
        browser.force_login(User.objects.get(pk=user.pk))
        return browser

    return make


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())


def counts(page: str) -> dict[str, int]:
    found = re.findall(r'health-count (\w+)[^"]*".*?<strong>(\d+)</strong>', page, re.S)
    return {word: int(number) for word, number in found}


def failed(site: Site, **more: Any) -> Job:
    job = jobs.start_backup(site=site)
    values = {"error_message": "The disk is full.", "error_hint": "Free 3 GB.", **more}
    Job.objects.filter(pk=job.pk).update(state="failed", active_site=None, **values)
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("path", [DASHBOARD, "/sites/", "/sites/1/"])
def test_nobody_gets_a_page_without_a_session(path: str) -> None:
    assert Client().get(path)["Location"] == f"/sign-in/?next={path}"


def test_overview_is_refused_in_json(browser_of: BrowserOf) -> None:
    answer = Client().get(OVERVIEW)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    answer = browser_of(Role.SITE_ADMIN).get(OVERVIEW)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize("path", [DASHBOARD, OVERVIEW, "/sites/"])
def test_pages_are_only_read(path: str, browser_of: BrowserOf) -> None:
    answer = browser_of(Role.SUPER_ADMIN, is_staff=True).post(path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_somebody_who_is_no_staff_is_sent_to_their_sites(browser_of: BrowserOf) -> None:
    assert browser_of(Role.SITE_ADMIN).get(DASHBOARD)["Location"] == "/sites/"


@pytest.mark.parametrize("role", list(Role))
def test_everybody_sees_their_own_site_and_nobody_anothers(
    role: Role, browser_of: BrowserOf, site: Site, other_site: Site
) -> None:
    browser = browser_of(role, site=site)
    page = text_of(browser.get(f"/sites/{site.pk}/"))
    settings = re.search(r'id="page-settings"[^>]*>(.*?)</script>', page, re.S)
    assert settings is not None
    known = json.loads(settings[1])
    assert known["stop"] == f"/api/v1/sites/{site.pk}/backup/stop"
    assert known["mayManage"] is (role != Role.SITE_ADMIN)
    listed = text_of(browser.get("/sites/"))
    assert "example.com" in listed
    sees_all = role == Role.SUPER_ADMIN
    assert ("other.org" in listed) is sees_all
    answer = browser.get(f"/sites/{other_site.pk}/")
    assert answer.status_code == (200 if sees_all else 403)
    assert browser.get("/sites/999999/").status_code == 404
    if not sees_all:
        assert "Not yours to see" in answer.content.decode()


def test_dashboard_shows_what_somebody_may_see(
    browser_of: BrowserOf, site: Site, other_site: Site
) -> None:
    failed(other_site)
    everything = text_of(browser_of(Role.SUPER_ADMIN, is_staff=True).get(DASHBOARD))
    assert counts(everything) == {"protected": 0, "at_risk": 1, "failing": 1}
    assert "The disk is full." in everything
    assert "Free 3 GB." in everything
    own = text_of(browser_of(Role.NODE_ADMIN, is_staff=True, site=site).get(DASHBOARD))
    assert counts(own) == {"protected": 0, "at_risk": 1, "failing": 0}
    assert "web-01" in own
    assert "web-02" not in own
    assert "other.org" not in own


def test_charts_come_with_the_overview_when_they_are_asked_for(
    browser_of: BrowserOf, site: Site
) -> None:
    failed(site)
    staff = browser_of(Role.SUPER_ADMIN, is_staff=True)
    assert 'data-part="charts"' not in text_of(staff.get(OVERVIEW))
    page = text_of(staff.get(f"{OVERVIEW}?charts=1&state=failing"))
    assert 'data-part="charts"' in page
    assert "0 completed and 1 failed in 30 days" in page


def test_failure_is_gone_once_a_later_backup_completes(browser_of: BrowserOf, site: Site) -> None:
    failed(site, queued_at=timezone.now() - timedelta(hours=1))
    staff = browser_of(Role.SUPER_ADMIN, is_staff=True)
    assert "The disk is full." in text_of(staff.get(OVERVIEW))
    later = jobs.start_backup(site=site)
    Job.objects.filter(pk=later.pk).update(state="completed", active_site=None)
    Site.objects.filter(pk=site.pk).update(last_backup=timezone.now())
    page = text_of(staff.get(OVERVIEW))
    assert "The disk is full." not in page
    assert counts(page) == {"protected": 1, "at_risk": 0, "failing": 0}


def test_filters_narrow_everything_and_say_what_they_refuse(
    browser_of: BrowserOf, site: Site, other_site: Site
) -> None:
    failed(other_site)
    staff = browser_of(Role.SUPER_ADMIN, is_staff=True)
    only = text_of(staff.get(f"{DASHBOARD}?node={site.node_id}"))
    assert counts(only) == {"protected": 0, "at_risk": 1, "failing": 0}
    assert "other.org" not in only
    assert "example.com" not in text_of(staff.get(f"{OVERVIEW}?site=OTHER"))
    assert "example.com" not in text_of(staff.get(f"{OVERVIEW}?state=failing"))
    odd = text_of(staff.get(f"{DASHBOARD}?node=x&state=y&days=-1&page=z"))
    assert odd.count("It is not applied.") == 3
    assert counts(odd) == {"protected": 0, "at_risk": 1, "failing": 1}


def test_fresh_installation_says_what_to_do_first(browser_of: BrowserOf) -> None:
    page = text_of(browser_of(Role.SUPER_ADMIN, is_staff=True).get(DASHBOARD))
    assert "manage.py node add" in page
    assert "No sites yet." in page
    assert "No storage yet" in page
    alone = text_of(browser_of(Role.SITE_ADMIN).get("/sites/"))
    assert "No site is assigned to you." in alone


def test_storage_is_missed_only_where_there_is_none(browser_of: BrowserOf, site: Site) -> None:
    staff = browser_of(Role.NODE_ADMIN, is_staff=True, site=site)
    assert "No storage yet" not in text_of(staff.get(OVERVIEW))
    Site.objects.update(storage=None)
    Storage.objects.all().delete()
    assert "A super admin can add one." in text_of(staff.get(OVERVIEW))


def test_nothing_inline_and_nothing_from_elsewhere(browser_of: BrowserOf, site: Site) -> None:
    failed(site)
    staff = browser_of(Role.SUPER_ADMIN, is_staff=True)
    for path in (DASHBOARD, "/sites/", f"/sites/{site.pk}/", OVERVIEW):
        page = text_of(staff.get(path))
        assert " style=" not in page
        assert not re.search(r"<script(?![^>]*(src=|application/json))", page)
        assert not re.search(r'(?:src|href)="(?:https?:)?//(?!www\.w3\.org)', page)
        assert not re.search(r"\son\w+=", page)


def test_what_is_not_as_recorded_is_said_where_proofs_are(
    browser_of: BrowserOf, site: Site
) -> None:
    browser = browser_of(Role.SUPER_ADMIN, is_staff=True)
    addresses = [DASHBOARD, "/sites/", f"/sites/{site.pk}/"]
    assert not any("not as recorded" in text_of(browser.get(address)) for address in addresses)
    Site.objects.update(backups_amiss=3)
    assert all("3 not as recorded" in text_of(browser.get(address)) for address in addresses)


def test_lists_and_page_say_when_a_proof_failed_and_what_rests(
    browser_of: BrowserOf, site: Site, other_site: Site
) -> None:
    backup = Backup.objects.create(site=site, storage=site.storage, created_at=timezone.now())
    hours = {ProofOutcome.PASSED: 30, ProofOutcome.FAILED: 2}
    for outcome, ago in hours.items():
        at = timezone.now() - timedelta(hours=ago)
        Proof.objects.create(
            backup=backup, site=site, node=site.node, outcome=outcome, created_at=at
        )
    Site.objects.update(next_run_at=timezone.now() + timedelta(hours=1))
    browser = browser_of(Role.SUPER_ADMIN, is_staff=True)
    for path in (DASHBOARD, "/sites/"):
        listed = text_of(browser.get(path))
        assert listed.count('<span class="badge badge-failed">failed</span>') == 1
        assert ">paused</span>" not in listed
    assert "the last proof failed" in text_of(browser.get(f"/sites/{site.pk}/"))
    assert "the last proof failed" not in text_of(browser.get(f"/sites/{other_site.pk}/"))
    pausing.pause(row=site, by="ada")
    pausing.pause(row=other_site.node, by="ben", reason="New disks")
    listed = text_of(browser.get("/sites/"))
    assert listed.count(">paused</span>") == 2
    assert "paused until resumed by ben: New disks" in listed
    # The node's own row says so as well.
    assert text_of(browser.get(DASHBOARD)).count(">paused</span>") == 3
