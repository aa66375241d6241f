"""The domain in Django's admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyrage
import pytest
from django.contrib import admin
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from backups.actions import followups, nodes
from backups.models import (
    AuditEntry,
    Backup,
    EnrolmentToken,
    FollowUpTask,
    Job,
    JobEvent,
    Node,
    Site,
    Stage,
    Storage,
    Worker,
)
from panel.accounts.models import User
from tests.backups.conftest import ended_job

MODELS = [AuditEntry, Backup, EnrolmentToken, FollowUpTask, Job, JobEvent, Node, Site, Stage,
          Storage, Worker, User]  # fmt: skip
READ_ONLY = [AuditEntry, Backup, EnrolmentToken, Job, JobEvent, Stage, Worker]
MakeBackup = Callable[..., Backup]


def page(model: type, name: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


@pytest.fixture
def rows(site: Site, live_worker: Worker, make_backup: MakeBackup, super_admin: User) -> None:
    make_backup(site, job=ended_job(site))
    followups.add_task(user=super_admin, title="example", job=Job.objects.get())
    make_token(site.node)
    make_entry(super_admin)


def make_entry(user: User) -> AuditEntry:
    return AuditEntry.objects.create(
        actor=user, actor_name=user.email, action="site.change", source="api", outcome="success"
    )


def make_token(node: Node, number: int = 1) -> EnrolmentToken:
    times = {"created_at": Now(), "expires_at": Now()}
    return EnrolmentToken.objects.create(node=node, token_hash=f"{number:064}", **times)


@pytest.mark.parametrize("model", MODELS)
def test_list_and_row_render(model: type, staff: Client, rows: None) -> None:
    assert model in admin.site._registry
    assert staff.get(page(model)).status_code == 200
    assert staff.get(page(model), {"q": "example"}).status_code == 200
    row = model.objects.first()
    assert staff.get(page(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_list_takes_as_many_queries_for_one_row_as_for_many(
    model: type, staff: Client, rows: None, node: Node, storage: Storage, make_backup: MakeBackup
) -> None:
    with CaptureQueriesContext(connection) as few:
        staff.get(page(model))
    for number in range(2, 8):
        path = f"{node.allowed_roots[0]}/{number}"
        site = Site.objects.create(name=f"s{number}", node=node, storage=storage, wp_path=path)
        make_backup(site, number=number, job=ended_job(site))
        Storage.objects.create(name=f"s{number}", type="local", config={"path": "/srv"})
        make_token(Node.objects.create(name=f"n{number}", allowed_roots=["/srv"]), number)
        user = User.objects.create_user(f"u{number}@example.com")
        followups.add_task(user=user, title="x", job=Job.objects.first())
        make_entry(user)
    with CaptureQueriesContext(connection) as many:
        assert staff.get(page(model)).status_code == 200
    # Filters in the sidebar come and go with what there is to choose from.
    assert len(many) <= len(few) + 3, [query["sql"][:120] for query in many]


@pytest.mark.parametrize("model", READ_ONLY)
def test_nobody_edits_by_hand_what_jobs_write(model: type, staff: Client, rows: None) -> None:
    row = model.objects.first()
    assert staff.get(page(model, "add")).status_code == 403
    assert staff.post(page(model, "change", row.pk), {}).status_code == 403
    assert staff.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model.objects.filter(pk=row.pk).exists()


def test_backups_start_when_sites_are_selected(staff: Client, site: Site, other_site: Site) -> None:
    ids = [site.pk, other_site.pk]
    form = {"action": "back_up", "_selected_action": ids}
    asked = staff.post(page(Site), form).content.decode()
    assert "Yes, back them up" in asked
    assert other_site.name in asked
    assert not Job.objects.exists()
    form["confirmed"] = "yes"
    said = staff.post(page(Site), form, follow=True).content.decode()
    assert "2 backups started." in said
    assert set(Job.objects.values_list("trigger", "requested_by__email")) == {
        ("admin", "super@example.com")
    }
    said = staff.post(page(Site), form, follow=True).content.decode()
    assert "is already running" in said
    assert Job.objects.count() == 2


def site_form(node: Node, **others: Any) -> dict[str, Any]:
    return {
        "name": "new.example",
        "node": node.pk,
        "wp_path": f"{node.allowed_roots[0]}/new.example",
        "excludes": "null",
        **others,
    }


def test_site_is_added_and_changed_and_its_password_never_shown(staff: Client, node: Node) -> None:
    form = site_form(node, db_password="geheim")
    added = staff.post(page(Site, "add"), form)
    assert added.status_code == 302, added.content
    site = Site.objects.get()
    assert site.db_password == "geheim"
    shown = staff.get(page(Site, "change", site.pk)).content.decode()
    assert "geheim" not in shown
    changed = staff.post(page(Site, "change", site.pk), site_form(node, db_name="wp"))
    assert changed.status_code == 302
    site.refresh_from_db()
    assert (site.db_name, site.db_password) == ("wp", "geheim")


@pytest.mark.parametrize("field", ["wp_path", "wp_config_path", "db_name"])
def test_path_is_refused_beside_its_field_when_outside(
    field: str, staff: Client, node: Node
) -> None:
    form = site_form(node, db_engine="sqlite", db_name=f"{node.allowed_roots[0]}/wp.sqlite")
    answer = staff.post(page(Site, "add"), {**form, field: "/etc/x"})
    assert answer.status_code == 200
    assert "lies outside the folders" in answer.content.decode()
    assert not Site.objects.exists()


def test_refusal_is_shown_and_nothing_changes(staff: Client, site: Site, node: Node) -> None:
    again = site_form(node, wp_path=site.wp_path)
    said = staff.post(page(Site, "add"), again, follow=True).content.decode()
    assert "is the site example.com already" in said
    assert Site.objects.count() == 1
    ended_job(site)
    Job.objects.update(active_site=site, state="running")
    change = site_form(node, name=site.name, wp_path=f"{site.wp_path}/x")
    said = staff.post(page(Site, "change", site.pk), change, follow=True).content.decode()
    assert "cannot change now" in said
    site.refresh_from_db()
    assert not site.wp_path.endswith("/x")


def test_site_is_deleted_through_the_action(staff: Client, site: Site) -> None:
    staff.post(page(Site, "delete", site.pk), {"post": "yes"})
    assert not Site.objects.exists()


def test_storage_takes_secrets_and_never_shows_them(staff: Client, db: None) -> None:
    config = '{"bucket": "b", "access_key_id": "AK"}'
    form = {"name": "s3", "type": "s3", "config": config}
    bad = staff.post(page(Storage, "add"), {**form, "new_secrets": "geheim"})
    assert "Give a JSON object" in bad.content.decode()
    assert "geheim" not in bad.content.decode()
    secrets = '{"secret_access_key": "geheim"}'
    assert staff.post(page(Storage, "add"), {**form, "new_secrets": secrets}).status_code == 302
    storage = Storage.objects.get()
    assert (storage.secrets, "secret" in str(storage.config)) == (
        {"secret_access_key": "geheim"},
        False,
    )
    url = page(Storage, "change", storage.pk)
    assert "geheim" not in staff.get(url).content.decode()
    assert staff.post(url, {**form, "name": "renamed"}).status_code == 302
    storage.refresh_from_db()
    assert (storage.name, storage.secrets) == ("renamed", {"secret_access_key": "geheim"})
    said = staff.post(url, {**form, "config": '{"bukket": "b"}'}, follow=True).content.decode()
    assert "no field bukket" in said


def test_storage_takes_recipients_one_a_line(staff: Client, db: None) -> None:
    first, second = (str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))
    form = {"name": "s3", "type": "s3", "config": '{"bucket": "b"}'}
    wrong = staff.post(page(Storage, "add"), {**form, "encryption_recipients": "age1wrong"})
    assert "is no public key of age" in wrong.content.decode()
    lines = f"{first}\r\n\r\n {second}\r\n"
    staff.post(page(Storage, "add"), {**form, "encryption_recipients": lines})
    storage = Storage.objects.get()
    assert storage.encryption_recipients == [first, second]
    url = page(Storage, "change", storage.pk)
    assert f"{first}\n{second}</textarea>" in staff.get(url).content.decode()
    staff.post(url, {**form, "encryption_recipients": ""})
    storage.refresh_from_db()
    assert storage.encryption_recipients == []


def test_node_is_added_and_changed_without_its_readings(staff: Client, db: None) -> None:
    inline = {"workers-TOTAL_FORMS": "0", "workers-INITIAL_FORMS": "0"}
    form = {"name": "web-09", "slots": "3", "allowed_roots": '["/srv"]', "is_enabled": "on",
            "nice": "10", "io_class": "low"}  # fmt: skip
    assert staff.post(page(Node, "add"), {**form, **inline}).status_code == 302
    node = Node.objects.get()
    Node.objects.update(cpu_percent=42.0)
    change = {**form, "slots": "5", "label": "The ninth", **inline}
    assert staff.post(page(Node, "change", node.pk), change).status_code == 302
    node.refresh_from_db()
    assert (node.slots, node.label, node.cpu_percent) == (5, "The ninth", 42.0)


def test_readings_stay_when_a_node_is_changed_from_an_older_copy(node: Node) -> None:
    Node.objects.update(cpu_percent=42.0)
    nodes.change_node(node=node, slots=5)
    node.refresh_from_db()
    assert (node.slots, node.cpu_percent) == (5, 42.0)


def test_node_stays_when_it_has_sites(staff: Client, site: Site) -> None:
    form = {"action": "delete_selected", "_selected_action": [site.node_id], "post": "yes"}
    staff.post(page(Node), form, follow=True)
    assert Node.objects.filter(pk=site.node_id).exists()


def test_rows_of_others_are_hidden_when_staff_is_no_super_admin(
    site: Site, other_site: Site, node_admin: User
) -> None:
    User.objects.filter(pk=node_admin.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(User.objects.get(pk=node_admin.pk))
    said = client.get(page(Site)).content.decode()
    assert site.name in said
    assert other_site.name not in said
    assert client.get(page(Site, "change", other_site.pk)).status_code == 302
