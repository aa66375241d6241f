"""What the dashboard's page fetches: a staff session, JSON alone, and never a false 404."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from backups.actions import jobs
from backups.models import Job, Node, Site, Storage
from backups.roles import Role
from panel.accounts.models import User

BASE = "/admin/backup-maintenance"
pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    node = Node.objects.create(name="web-01", allowed_roots=["/srv"])
    storage = Storage.objects.create(name="s", type="local", config={"path": "/srv"})
    return Site.objects.create(name="example.com", node=node, storage=storage, wp_path="/srv/a")


@pytest.fixture
def job(site: Site) -> Job:
    return jobs.start_backup(site=site)


@pytest.fixture
def browser_of() -> Callable[..., Client]:
    def make(role: Role, *, is_staff: bool = True, site: Site | None = None) -> Client:
        user = User.objects.create_user(f"{uuid.uuid4().hex}@example.com", role=role)
        User.objects.filter(pk=user.pk).update(is_staff=is_staff)
        if site is not None:
            site.admins.add(user)
        client = Client()
        client.force_login(User.objects.get(pk=user.pk))
        return client

    return make


def routes(job_id: object) -> list[str]:
    return [f"{BASE}/backup-progress/{job_id}", f"{BASE}/backup-progress-sse/{job_id}"]


def test_backup_is_started_once_and_its_progress_read(
    browser_of: Callable[..., Client], site: Site
) -> None:
    staff = browser_of(Role.SUPER_ADMIN)
    body = {"site_id": site.pk}
    answer = staff.post(f"{BASE}/trigger", body, content_type="application/json")
    assert (answer.status_code, answer.json().keys()) == (202, {"job_id"})
    again = staff.post(f"{BASE}/trigger", body, content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (409, "backup_already_running")
    shown = staff.get(f"{BASE}/backup-progress/{answer.json()['job_id']}").json()
    assert (shown["job_id"], shown["status"]) == (answer.json()["job_id"], "running")
    wrong = staff.post(f"{BASE}/trigger", {"site": 1}, content_type="application/json")
    assert (wrong.status_code, set(wrong.json()["errors"])) == (400, {"site_id", "site"})


def test_answer_is_401_in_json_when_there_is_no_session(job: Job) -> None:
    answers = [Client().get(path) for path in routes(job.pk)]
    answers += [Client().get(path) for path in routes(uuid.uuid4())]
    answers.append(Client().post(f"{BASE}/trigger", {"site_id": job.site_id}))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"].startswith("Session")


@pytest.mark.parametrize(
    ("role", "is_staff"),
    [(Role.SITE_ADMIN, True), (Role.NODE_ADMIN, True), (Role.SITE_ADMIN, False)],
)
def test_answer_is_403_in_json_when_the_site_is_not_theirs(
    role: Role, is_staff: bool, browser_of: Callable[..., Client], job: Job
) -> None:
    browser = browser_of(role, is_staff=is_staff)
    answers = [browser.get(path) for path in routes(job.pk)]
    body = {"site_id": job.site_id}
    answers.append(browser.post(f"{BASE}/trigger", body, content_type="application/json"))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_answer_is_404_in_json_when_the_job_does_not_exist(
    browser_of: Callable[..., Client], job: Job
) -> None:
    staff = browser_of(Role.SITE_ADMIN, site=job.site)
    for unknown in (uuid.uuid4(), "no-uuid"):
        for path in routes(unknown):
            answer = staff.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    assert staff.get(routes(job.pk)[0]).status_code == 200


def test_session_without_its_csrf_token_starts_nothing(job: Job, site: Site) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("super@example.com"))
    body = {"site_id": site.pk}
    answer = client.post(f"{BASE}/trigger", body, content_type="application/json")
    assert answer.status_code == 403
    assert Job.objects.count() == 1
