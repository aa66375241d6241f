"""People, rows and clients for tests of the domain's faces."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from backups.actions.attempts import Attempt
from backups.actions.usage import usage_kept
from backups.models import Backup, BackupStatus, Job, Node, Site, Storage, Worker
from backups.roles import Role
from panel.accounts import tokens
from panel.accounts.models import User


@pytest.fixture(autouse=True)
def quick_passwords(settings: pytest.FixtureRequest) -> None:
    """Hash passwords cheaply: sign-in has tests of its own, with the real hash."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def super_admin(db: None) -> User:
    return User.objects.create_superuser("super@example.com", "a-fine-password")


@pytest.fixture
def node(db: None, tmp_path: Path) -> Node:
    (tmp_path / "www").mkdir()
    return Node.objects.create(name="web-01", allowed_roots=[str(tmp_path / "www")])


@pytest.fixture
def other_node(db: None) -> Node:
    return Node.objects.create(name="web-02", allowed_roots=["/srv/other"])


@pytest.fixture
def storage(db: None, tmp_path: Path) -> Storage:
    (tmp_path / "store").mkdir()
    config = {"path": str(tmp_path / "store")}
    return Storage.objects.create(name="folder", type="local", config=config, is_default=True)


@pytest.fixture
def site(node: Node, storage: Storage) -> Site:
    path = f"{node.allowed_roots[0]}/example.com"
    return Site.objects.create(name="example.com", node=node, storage=storage, wp_path=path)


@pytest.fixture
def other_site(other_node: Node, storage: Storage) -> Site:
    return Site.objects.create(name="other.org", node=other_node, wp_path="/srv/other/other.org")


@pytest.fixture
def node_admin(node: Node) -> User:
    user = User.objects.create_user("node@example.com", "a-fine-password", role=Role.NODE_ADMIN)
    node.admins.add(user)
    return user


@pytest.fixture
def site_admin(site: Site) -> User:
    user = User.objects.create_user("site@example.com", "a-fine-password", role=Role.SITE_ADMIN)
    site.admins.add(user)
    return user


@pytest.fixture
def client_of() -> Callable[[User], APIClient]:
    """Return a client that shows a user's real access token."""

    def make(user: User) -> APIClient:
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens.issue(user)['access_token']}")
        return client

    return make


@pytest.fixture
def api(super_admin: User, client_of: Callable[[User], APIClient]) -> APIClient:
    """A super admin's client."""
    return client_of(super_admin)


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient(raise_request_exception=False)


@pytest.fixture
def staff(super_admin: User) -> Client:
    """A super admin's browser, signed in to the admin."""
    client = Client(raise_request_exception=False)
    client.force_login(super_admin)
    return client


@pytest.fixture
def live_worker(node: Node) -> Worker:
    """The heartbeat of a worker, without the worker."""
    return Worker.objects.create(
        name="web-01.1@host",
        node=node,
        hostname="host",
        process_id=1,
        started_at=Now(),
        last_seen_at=Now(),
    )


@pytest.fixture
def closed_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Celery app find nobody at its broker's address: port 9 takes no connection."""
    current_app.set_current()
    monkeypatch.setattr(current_app.conf, "broker_url", "redis://127.0.0.1:9/0")
    monkeypatch.setattr(current_app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    monkeypatch.setattr(current_app, "_pool", None)
    monkeypatch.setattr(current_app.amqp, "_producer_pool", None)


@pytest.fixture
def answering(live_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let questions to nodes be answered at once, in this process, by what nodes run."""
    import workers.tasks  # noqa: F401  registers the questions

    current_app.set_current()
    for name, task in current_app.tasks.items():
        if name.startswith("node."):
            # Read from the settings when a task is first used, which may be long ago.
            monkeypatch.setattr(task, "store_eager_result", True)
    current_app.conf.update(task_always_eager=True, task_store_eager_result=True)
    yield
    current_app.conf.update(task_always_eager=False, task_store_eager_result=False)


@pytest.fixture
def settled_dispatch(db: None, closed_broker: None) -> Iterator[None]:
    """Wait at the end for what was to be sent after a commit: it needs the database until then."""
    yield
    for thread in threading.enumerate():
        if thread.name == "dispatch":
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def make_backup(storage: Storage) -> Callable[..., Backup]:
    """Return what makes a backup with a real object in the folder."""

    def make(site: Site, content: bytes = b"bundle", number: int = 1, **fields: Any) -> Backup:
        key = f"{site.node.uuid}/{site.uuid}/{site.name}_20260101_0000{number:02}.tar.zst"
        path = Path(storage.config["path"], key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        values = {
            "status": BackupStatus.SUCCESS,
            "object_key": key,
            "size_bytes": len(content),
            "sha256": f"{number:064}",
            "created_at": Now(),
            **fields,
        }
        with usage_kept(site.pk):
            backup = Backup.objects.create(site=site, storage=storage, **values)
        return Backup.objects.get(pk=backup.pk)

    return make


def ended_job(site: Site, state: str = "completed", **fields: Any) -> Job:
    """Return a job of the past, as its last update left it."""
    from backups.actions import jobs

    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state=state, active_site=None, finished_at=Now(), **fields)
    return Job.objects.get(pk=job.pk)


def claimed(site: Site) -> Attempt:
    """Return a worker's right to run the first stage of a new job of the site."""
    from backups.actions import attempts, jobs

    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    attempt = attempts.claim_stage(
        job_id=str(job.pk), epoch=job.epoch, stage_name="backup_db", worker="web-01.1@host"
    )
    assert attempt is not None
    return attempt
