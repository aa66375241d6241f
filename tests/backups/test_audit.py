"""Every write and every refused attempt over HTTP leaves an entry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from backups.errors import ImmutableRowError
from backups.models import AuditEntry, Job, Node, Site, Storage
from panel.accounts import tokens
from panel.accounts.models import User
from panel.audit import trail
from panel.audit.actions import ACTIONS
from panel.audit.flood import MOST_ADDRESSES, MOST_ENTRIES, Flood

pytestmark = pytest.mark.django_db
PASSWORD = "correct-horse-battery-staple"
ClientOf = Callable[[User], APIClient]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def flood(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trail, "flood", Flood(clock))
    return clock


def entries(**wanted: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(**wanted).order_by("pk"))


def only() -> AuditEntry:
    [entry] = entries()
    return entry


def test_entry_says_who_what_where_and_what_came_of_it(
    api: APIClient, site: Site, super_admin: User
) -> None:
    url = f"/api/v1/sites/{site.pk}/backup/start"
    answer = api.post(url, REMOTE_ADDR="203.0.113.7", headers={"user-agent": "curl/8"})
    entry = only()
    assert (entry.actor_id, entry.actor_name) == (super_admin.pk, super_admin.email)
    assert (entry.actor_role, entry.source) == ("super_admin", "api")
    assert (entry.action, entry.outcome, entry.status_code) == ("backup.start", "success", 202)
    assert (entry.object_type, entry.object_id) == ("site", str(site.pk))
    assert (entry.object_label, entry.site_id, entry.node_id) == (site.name, site.pk, site.node_id)
    assert (entry.address, entry.user_agent) == ("203.0.113.7", "curl/8")
    assert entry.request_id == answer["X-Request-ID"]
    assert entry.detail == answer.json()["message"]
    assert entry.created_at is not None


def test_second_spelling_of_a_route_is_the_same_action(api: APIClient, site: Site) -> None:
    api.post(f"/api/v1/sites/{site.pk}/backup/start/")
    assert only().action == "backup.start"


def test_names_of_fields_are_kept_and_no_value(api: APIClient, site: Site) -> None:
    body = {"db_user": "the-user-value", "db_password": "the-password-value"}
    assert api.patch(f"/api/v1/sites/{site.pk}", body).status_code == 200
    entry = only()
    assert (entry.action, entry.fields) == ("site.change", ["db_user", "db_password"])
    everything = str(AuditEntry.objects.values().get())
    assert "the-password-value" not in everything
    assert "the-user-value" not in everything


def test_what_was_made_and_what_is_gone_have_names(api: APIClient, node: Node) -> None:
    body = {"name": "new.example", "node_id": node.pk, "wp_path": f"{node.allowed_roots[0]}/new"}
    made = api.post("/api/v1/sites/", body).json()
    assert api.delete(f"/api/v1/sites/{made['id']}").status_code == 204
    added, deleted = entries()
    for entry in (added, deleted):
        assert (entry.object_id, entry.object_label) == (str(made["id"]), "new.example")
        assert (entry.site_id, entry.node_id) == (made["id"], node.pk)
    assert (added.action, deleted.action) == ("site.add", "site.delete")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "action"),
    [
        ("post", "sites/{site}/backup/stop", None, 409, "backup.stop"),
        ("post", "sites/{site}/backup/start", {"x": 1}, 400, "backup.start"),
        ("post", "sites/999/backup/start", None, 404, "backup.start"),
        ("post", "nothing", None, 404, "unknown_route"),
        ("delete", "nodes/", None, 405, "nodes.delete"),
    ],
)
def test_write_that_is_refused_is_written_down(
    method: str, path: str, body: Any, status: int, action: str, api: APIClient, site: Site
) -> None:
    answer = getattr(api, method)(f"/api/v1/{path.format(site=site.pk)}", body)
    assert answer.status_code == status
    entry = only()
    assert (entry.action, entry.outcome, entry.status_code) == (action, "refused", status)
    assert entry.detail == answer.json()["detail"]


def test_reading_is_written_down_only_when_it_is_refused(
    api: APIClient, anonymous: APIClient, site_admin: User, client_of: ClientOf, other_site: Site
) -> None:
    for path in ("/api/v1/sites/", "/health", "/health/live", "/"):
        api.get(path)
    api.get("/api/v1/sites/999")
    anonymous.post("/health")
    assert entries() == []
    client_of(site_admin).get(f"/api/v1/sites/{other_site.pk}")
    anonymous.get("/api/v1/sites/")
    forbidden, unknown = entries()
    assert (forbidden.actor_id, forbidden.status_code) == (site_admin.pk, 403)
    assert (forbidden.site_id, forbidden.outcome) == (other_site.pk, "refused")
    assert (unknown.actor_id, unknown.actor_name, unknown.status_code) == (None, "anonymous", 401)


def test_bug_is_written_down_as_failed(
    api: APIClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.actions import jobs

    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "start_backup", fail)
    answer = api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert (answer.status_code, only().outcome) == (500, "failed")


@pytest.mark.parametrize("path", ["/api/auth/login", "/admin/login/", "/api-auth/login/"])
def test_sign_in_is_written_down_with_who_it_was(path: str, db: None) -> None:
    user = User.objects.create_superuser("ada@example.com", PASSWORD)
    html = Client(raise_request_exception=False)
    wrong = {"username": "ADA@example.com", "password": "wrong-secret"}
    kind = {} if path != "/api/auth/login" else {"content_type": "application/json"}
    html.post(path, wrong, **kind)
    html.post(path, {**wrong, "password": PASSWORD}, **kind)
    refused, done = entries()
    assert {refused.action, done.action} == {"sign_in"}
    assert (refused.outcome, refused.actor_id, refused.object_label) == (
        "refused", None, "ada@example.com",
    )  # fmt: skip
    assert (done.outcome, done.actor_id, done.object_id) == ("success", user.pk, str(user.pk))
    assert "wrong-secret" not in str(AuditEntry.objects.values())


def test_name_that_is_nobodys_is_not_written_down(client: Client) -> None:
    for name in ("My-Secret-Password", "my-secret-password", "another"):
        client.post("/api/auth/login", {"email": name, "password": "x"}, "application/json")
    first, second, third = entries(action="sign_in")
    assert first.object_label == second.object_label != third.object_label
    assert first.object_label.startswith("nobody (")
    assert "secret" not in str(AuditEntry.objects.values()).lower()


def test_sign_out_is_written_down_with_who_it_was(staff: Client, super_admin: User) -> None:
    assert staff.post("/admin/logout/").status_code == 200
    entry = only()
    assert (entry.action, entry.actor_id, entry.source) == ("sign_out", super_admin.pk, "admin")


def test_admin_forms_are_written_down(staff: Client, node: Node) -> None:
    url = "/admin/backups/node/add/"
    assert staff.post(url, {"name": ""}).status_code == 200
    form = {"name": "web-09", "allowed_roots": '["/srv"]', "slots": "2", "nice": "10",
            "io_class": "low", "workers-TOTAL_FORMS": "0",
            "workers-INITIAL_FORMS": "0"}  # fmt: skip
    answer = staff.post(url, {**form, "label": "", "upload_bytes_per_second": ""})
    refused, *rest = entries()
    assert (refused.action, refused.outcome, refused.source) == (
        "admin.node.add", "refused", "admin",
    )  # fmt: skip
    assert answer.status_code == 302, answer.content
    [added] = rest
    assert (added.action, added.outcome) == ("admin.node.add", "success")
    assert "web-09" in added.detail
    assert "csrfmiddlewaretoken" not in added.fields
    assert {"name", "slots"} <= set(added.fields)


def test_admin_actions_are_written_down_with_what_was_selected(
    staff: Client, site: Site, other_site: Site
) -> None:
    from backups.actions import jobs

    ids = [str(jobs.start_backup(site=one).pk) for one in (site, other_site)]
    url = "/admin/backups/job/"
    form = {"action": "reset", "_selected_action": ids}
    assert staff.post(url, form).status_code == 200
    assert entries() == []  # it only asked
    assert staff.post(url, {**form, "confirmed": "yes"}).status_code == 302
    done = {entry.object_id: entry for entry in entries()}
    assert set(done) == set(ids)
    for entry, one in zip((done[key] for key in ids), (site, other_site), strict=True):
        assert (entry.action, entry.outcome) == ("admin.job.reset", "success")
        assert (entry.object_label, entry.site_id) == (one.name, one.pk)
        assert (entry.node_id, entry.detail[:20]) == (one.node_id, "2 selected together.")
    assert not Job.objects.exclude(state="reset").exists()
    staff.post(url, {"action": "stop", "_selected_action": ids[:1], "confirmed": "yes"})
    refused = entries()[-1]
    assert (refused.action, refused.outcome) == ("admin.job.stop", "refused")
    assert (refused.object_id, refused.site_id) == (ids[0], site.pk)


def test_rows_that_the_admin_deleted_still_have_names(
    staff: Client, site: Site, other_site: Site
) -> None:
    form = {"action": "delete_selected", "_selected_action": [site.pk], "post": "yes"}
    assert staff.post("/admin/backups/site/", form).status_code == 302
    assert staff.post(f"/admin/backups/site/{other_site.pk}/delete/").status_code == 200
    answer = staff.post(f"/admin/backups/site/{other_site.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert not Site.objects.exists()
    listed, one = entries()
    assert (listed.action, listed.object_label, listed.site_id) == (
        "admin.site.delete_selected", site.name, site.pk,
    )  # fmt: skip
    assert (one.action, one.object_label, one.node_id) == (
        "admin.site.delete", other_site.name, other_site.node_id,
    )  # fmt: skip


def test_write_to_the_admin_by_nobody_is_refused(client: Client, site: Site) -> None:
    assert client.post(f"/admin/backups/site/{site.pk}/delete/").status_code == 302
    assert (only().outcome, only().actor_name) == ("refused", "anonymous")
    assert Site.objects.exists()


def test_csrf_refusal_is_written_down(super_admin: User, site: Site) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(super_admin)
    client.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert (only().outcome, only().status_code) == ("refused", 403)


def test_body_that_was_never_read_is_written_down(
    staff: Client, super_admin: User, settings: Any
) -> None:
    settings.HOLDFAST_MAX_REQUEST_BYTES = 1024
    assert staff.post("/api/v1/sites/", {"name": "x" * 2000}).status_code == 413
    entry = only()
    assert (entry.action, entry.status_code, entry.fields) == ("site.add", 413, [])
    assert entry.actor_id == super_admin.pk


def test_refusals_of_nobody_fill_no_disk(anonymous: APIClient, flood: Clock) -> None:
    for _ in range(MOST_ENTRIES + 15):
        anonymous.post("/api/nothing", REMOTE_ADDR="203.0.113.7")
    anonymous.post("/api/nothing", REMOTE_ADDR="203.0.113.8")
    assert len(entries(address="203.0.113.7")) == MOST_ENTRIES
    assert len(entries(address="203.0.113.8")) == 1
    flood.now += 61
    anonymous.get("/health/live")
    anonymous.get("/health/live")
    [summary] = entries(action="flood")
    assert (summary.address, summary.outcome) == ("203.0.113.7", "refused")
    assert summary.detail.startswith("15 more refusals from 203.0.113.7")
    anonymous.post("/api/nothing", REMOTE_ADDR="203.0.113.7")
    assert len(entries(address="203.0.113.7", action="unknown_route")) == MOST_ENTRIES + 1


def test_known_user_is_always_written_down(api: APIClient) -> None:
    for _ in range(MOST_ENTRIES + 5):
        api.delete("/api/v1/nodes/")
    assert len(entries()) == MOST_ENTRIES + 5


def test_flood_counts_a_subscriber_as_one_and_a_crowd_as_one() -> None:
    flood = Flood(Clock())
    admitted = [flood.admits(f"2001:db8:1:2::{number:x}") for number in range(MOST_ENTRIES + 5)]
    assert admitted.count(True) == MOST_ENTRIES
    crowd = Flood(Clock())
    many = [crowd.admits(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(5000)]
    assert many.count(True) <= MOST_ADDRESSES + MOST_ENTRIES


@pytest.mark.django_db(transaction=True)
def test_entry_is_in_the_log_when_the_database_refuses_it(
    api: APIClient, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    table = AuditEntry._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        with caplog.at_level(logging.INFO, "holdfast.audit"):
            answer = api.delete("/api/v1/nodes/")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
    assert answer.status_code == 405
    [error] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "nodes.delete" in error.getMessage()
    assert "super@example.com" in error.getMessage()


def test_entry_is_a_line_of_the_log(
    api: APIClient, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "holdfast.audit"):
        api.post(f"/api/v1/sites/{site.pk}/backup/start")
    [line] = [one for one in caplog.records if one.name == "holdfast.audit"]
    assert line.__dict__["audit_action"] == "backup.start"
    assert "success backup.start by 'super@example.com' on site 'example.com'" in line.message


def test_nothing_in_the_application_changes_an_entry(api: APIClient, staff: Client) -> None:
    api.post("/api/nothing")
    entry = only()
    everything = AuditEntry.objects.all()
    for change in (
        entry.save,
        entry.delete,
        everything.delete,
        lambda: everything.update(detail="x"),
        lambda: everything.bulk_update([entry], ["detail"]),
        lambda: AuditEntry.objects.update_or_create(pk=entry.pk, defaults={"detail": "x"}),
    ):
        with pytest.raises(ImmutableRowError):
            change()
    url = f"/admin/backups/auditentry/{entry.pk}"
    assert staff.get(f"{url}/change/").status_code == 200
    assert staff.post(f"{url}/change/", {"detail": "x"}).status_code == 403
    assert staff.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    assert staff.post("/admin/backups/auditentry/add/", {}).status_code == 403
    entry.refresh_from_db()
    assert entry.detail != "x"


def test_entry_outlives_its_user(client_of: ClientOf, super_admin: User, api: APIClient) -> None:
    user = User.objects.create_superuser("gone@example.com", PASSWORD)
    client_of(user).delete("/api/v1/nodes/")
    user.delete()
    entry = only()
    assert (entry.actor_id, entry.actor_name) == (None, "gone@example.com")


def writing_routes() -> set[tuple[str, str]]:
    """Return name and method of each route of ours that takes a write; the admin has many."""

    def walk(resolver: URLResolver) -> Iterator[tuple[str, str]]:
        for one in resolver.url_patterns:
            if isinstance(one, URLResolver):
                if one.namespace not in ("admin", "rest_framework"):
                    yield from walk(one)
            elif isinstance(one, URLPattern) and one.name:
                view = getattr(one.callback, "view_class", None)
                for method in ("post", "put", "patch", "delete"):
                    if hasattr(view, method) and method in view.http_method_names:
                        yield one.name, method.upper()

    return set(walk(get_resolver()))


def test_every_writing_route_has_a_name_in_the_trail() -> None:
    found = writing_routes()
    assert len(found) > 20
    assert found - set(ACTIONS) == set()


def test_token_that_is_refused_is_nobodys(anonymous: APIClient, site_admin: User) -> None:
    token = tokens.issue(site_admin)["access_token"]
    User.objects.filter(pk=site_admin.pk).update(is_active=False)
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    anonymous.get("/api/v1/sites/")
    assert (only().actor_id, only().actor_name, only().status_code) == (None, "anonymous", 401)


def test_storage_is_named_and_its_secrets_are_not(api: APIClient, storage: Storage) -> None:
    api.patch(f"/api/v1/storage/providers/{storage.pk}", {"name": "other"})
    entry = only()
    assert (entry.action, entry.object_type, entry.object_label) == (
        "storage.change", "storage", "other",
    )  # fmt: skip


def test_entry_about_nothing_is_no_choice_without_a_name(staff: Any, anonymous: APIClient) -> None:
    anonymous.post("/api/v1/nothing")
    assert only().object_type == ""
    page = staff.get("/admin/backups/auditentry/?object_type=site").content.decode()
    assert 'href="?object_type="' not in page
    assert "0 audit entries" in page
