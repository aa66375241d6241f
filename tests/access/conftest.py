"""One world in which every role has somebody to whom it is assigned, and somebody to whom not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from backups.actions import jobs
from backups.models import Backup, FollowUpTask, Job, Node, Site, Storage
from backups.roles import Role
from panel.accounts import tokens
from panel.accounts.models import User

SUBJECTS = ("super", "node+", "node-", "site+", "site-")
STRANGERS = ("anonymous", "bad token", "expired token", "deactivated")
# What every request may write, whatever comes of it.
TRACES = {"backups.AuditEntry", "accounts.SignIn", "accounts.StreamTicket", "sessions.Session"}


@dataclass
class World:
    """Rows by the name of the argument that routes call them, and clients by subject."""

    rows: dict[str, Any]
    foreign: dict[str, Any]
    users: dict[str, User]
    clients: dict[str, APIClient] = field(default_factory=dict)

    def path(self, template: str) -> str:
        """Fill a route's arguments with the ids of this world's rows."""
        return template.format(**self.rows)


@pytest.fixture(autouse=True)
def cheap_and_uncounted(settings: Any) -> Iterator[None]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    yield
    cache.clear()


def _ended(site: Site, state: str) -> Job:
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state=state, active_site=None, finished_at=Now())
    return job


def _backup(site: Site, storage: Storage, number: int) -> Backup:
    key = f"{site.node.uuid}/{site.uuid}/{site.name}_2026010{number}_000000.tar.zst"
    path = Path(storage.config["path"], key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bundle")
    values = {"object_key": key, "size_bytes": 6, "sha256": f"{number:064}", "created_at": Now()}
    return Backup.objects.create(site=site, storage=storage, status="SUCCESS", **values)


def _side(name: str, storage: Storage, tmp_path: Path, number: int) -> dict[str, Any]:
    node = Node.objects.create(name=f"web-{name}", allowed_roots=[str(tmp_path)])
    site = Site.objects.create(
        name=f"{name}.example", node=node, storage=storage, wp_path=f"{tmp_path}/{name}"
    )
    owner = User.objects.create_user(f"site-{name}@example.com", "a-fine-password-9")
    keeper = User.objects.create_user(f"node-{name}@example.com", "x", role=Role.NODE_ADMIN)
    site.admins.add(owner)
    node.admins.add(keeper)
    task = FollowUpTask.objects.create(user=owner, title="look", created_at=Now(), updated_at=Now())
    return {
        "node": node,
        "site": site,
        "owner": owner,
        "keeper": keeper,
        "task": task,
        "job": _ended(site, "failed"),
        "backup": _backup(site, storage, number),
    }


def _ids(side: dict[str, Any], storage: Storage) -> dict[str, Any]:
    names = {"user": "owner", "site": "site", "node": "node", "job": "job", "backup": "backup"}
    ids = {f"{name}_id": side[key].pk for name, key in names.items()}
    return {**ids, "task_id": side["task"].pk, "storage_id": storage.pk, "link": "x"}


def client_with(token: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    if token:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def _strangers(user: User) -> dict[str, APIClient]:
    gone = User.objects.create_user("gone@example.com", "x")
    dead = tokens.issue(gone)["access_token"]
    User.objects.filter(pk=gone.pk).update(is_active=False)
    expired: Any = AccessToken(tokens.issue(user)["access_token"])
    expired.set_exp(lifetime=-expired.lifetime)
    shown = {"anonymous": "", "bad token": "a.b.c", "expired token": str(expired)}
    return {name: client_with(token) for name, token in {**shown, "deactivated": dead}.items()}


@pytest.fixture
def world(db: None, tmp_path: Path) -> World:
    (tmp_path / "store").mkdir()
    storage = Storage.objects.create(
        name="folder", type="local", config={"path": str(tmp_path / "store")}, is_default=True
    )
    ours, theirs = (_side(name, storage, tmp_path, n) for n, name in enumerate("ab", start=1))
    users = {
        "super": User.objects.create_superuser("super@example.com", "x"),
        "node+": ours["keeper"],
        "node-": theirs["keeper"],
        "site+": ours["owner"],
        "site-": theirs["owner"],
    }
    rows = {**_ids(ours, storage), "root": str(tmp_path)}
    world = World(rows, _ids(theirs, storage), users)
    world.clients = {
        name: client_with(tokens.issue(user)["access_token"]) for name, user in users.items()
    }
    world.clients |= _strangers(users["super"])
    return world


@pytest.fixture(scope="session")
def rows_of_the_domain() -> dict[str, str]:
    """The statement that reads every row of a model, by the model's label."""
    statements = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.label in TRACES or model._meta.app_label in ("axes", "contenttypes"):
            continue
        # When somebody last came is no change.
        columns = [field.column for field in model._meta.concrete_fields if field.column]
        wanted = ", ".join(f'"{column}"' for column in columns if column != "last_login")
        table = model._meta.db_table
        statements[model._meta.label] = f'SELECT {wanted} FROM "{table}" ORDER BY 1'
    return statements


@pytest.fixture
def fingerprint_of_rows(rows_of_the_domain: dict[str, str]) -> Callable[[], str]:
    """Return what tells whether any row of the domain has changed."""

    def fingerprint() -> str:
        digest = hashlib.sha256()
        with connection.cursor() as cursor:
            for label, statement in rows_of_the_domain.items():
                rows = cursor.execute(statement).fetchall()
                digest.update(repr((label, rows)).encode())
        return digest.hexdigest()

    return fingerprint
