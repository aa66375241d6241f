"""To-do lists in Django's admin: everybody their own, a super admin all."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from backups.actions import followups
from backups.models import FollowUpTask, Site
from panel.accounts.models import User
from tests.backups.conftest import claimed
from tests.backups.test_admin import page
from tests.backups.test_follow_ups import fail

pytestmark = pytest.mark.usefixtures("closed_broker")


@pytest.fixture
def browser(site_admin: User) -> Client:
    """A site's admin in the admin, without any permission of Django's."""
    User.objects.filter(pk=site_admin.pk).update(is_staff=True)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(pk=site_admin.pk))
    return client


def form(user: User, **others: Any) -> dict[str, Any]:
    empty = {"due_at": "", "description": ""}
    return {"user": user.pk, "title": "Call the host", **empty, **others}


def test_own_list_is_read_and_written(browser: Client, site_admin: User) -> None:
    added = browser.post(page(FollowUpTask, "add"), form(site_admin, description="at nine"))
    assert added.status_code == 302, added.content
    task = FollowUpTask.objects.get()
    assert (task.user, task.description, task.is_completed) == (site_admin, "at nine", False)
    assert "Call the host" in browser.get(page(FollowUpTask)).content.decode()
    url = page(FollowUpTask, "change", task.pk)
    change = form(site_admin, title="Done", completed="on", due_at="2030-01-02T03:04")
    assert browser.post(url, change).status_code == 302
    task.refresh_from_db()
    assert (task.title, task.is_completed, task.due_at.year) == ("Done", True, 2030)
    assert "checked" in browser.get(url).content.decode()
    assert browser.post(url, form(site_admin)).status_code == 302
    assert not FollowUpTask.objects.get().is_completed
    delete = page(FollowUpTask, "delete", task.pk)
    assert browser.post(delete, {"post": "yes"}).status_code == 302
    assert not FollowUpTask.objects.exists()


def test_lists_of_others_are_neither_shown_nor_taken(browser: Client, super_admin: User) -> None:
    theirs = followups.add_task(user=super_admin, title="Not yours")
    assert "Not yours" not in browser.get(page(FollowUpTask)).content.decode()
    # Django sends whoever asks for a row that is not theirs back to the index.
    url = page(FollowUpTask, "change", theirs.pk)
    for answer in (browser.get(url), browser.post(url, form(super_admin, title="Mine now"))):
        assert answer.status_code == 302
    delete = page(FollowUpTask, "delete", theirs.pk)
    assert browser.post(delete, {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [theirs.pk], "post": "yes"}
    browser.post(page(FollowUpTask), chosen)
    refused = browser.post(page(FollowUpTask, "add"), form(super_admin))
    assert (refused.status_code, "valid choice" in refused.content.decode()) == (200, True)
    assert list(FollowUpTask.objects.values_list("title", flat=True)) == ["Not yours"]


def test_super_admin_writes_any_list(staff: Client, site_admin: User) -> None:
    assert staff.post(page(FollowUpTask, "add"), form(site_admin)).status_code == 302
    task = FollowUpTask.objects.get()
    url = page(FollowUpTask, "change", task.pk)
    assert staff.post(url, form(site_admin, title="Other")).status_code == 302
    task.refresh_from_db()
    assert (task.user, task.title) == (site_admin, "Other")


def test_task_of_a_failed_backup_leads_to_its_job_and_keeps_it(
    browser: Client, site: Site, site_admin: User
) -> None:
    fail(claimed(site))
    task = FollowUpTask.objects.get()
    url = page(FollowUpTask, "change", task.pk)
    assert str(task.job_id) in browser.get(url).content.decode()
    assert browser.post(url, form(site_admin)).status_code == 302
    changed = FollowUpTask.objects.get()
    assert (changed.title, changed.job_id, changed.site_id) == (
        "Call the host", task.job_id, site.pk,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=open", {"Backup of example.com failed", "open"}),
        ("state=overdue", set()),
        ("state=completed", {"done"}),
        ("origin=backup", {"Backup of example.com failed"}),
        ("origin=person", {"open", "done"}),
        ("q=failed", {"Backup of example.com failed"}),
    ],
)
def test_filters_choose(
    query: str, shown: set[str], browser: Client, site: Site, site_admin: User
) -> None:
    fail(claimed(site))
    followups.add_task(user=site_admin, title="open")
    followups.add_task(user=site_admin, title="done", completed=True)
    rows = browser.get(f"{page(FollowUpTask)}?{query}").context["cl"].result_list
    assert {task.title for task in rows} == shown
