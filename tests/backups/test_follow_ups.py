"""What failed backups put on people's lists, and what takes it off again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.utils import timezone

from backups import queries
from backups.actions import attempts, control, followups, sites
from backups.actions.attempts import Attempt, Progress
from backups.models import Backup, FollowUpTask, Job, Node, Site
from backups.roles import Role
from panel.accounts.models import User
from tests.backups.conftest import claimed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

OUTPUTS = {
    "key": "n/s/x.tar.zst", "size": 1, "verified_by": "md5", "sha256": "", "facts": {},
    "suspicions": [],
}  # fmt: skip


def fail(attempt: Attempt, message: str = "No space left", hint: str = "Make room.") -> None:
    ended = attempts.fail_stage(
        attempt, code="disk_full", message=message, hint=hint, permanent=True
    )
    assert ended == "failed"


def complete(attempt: Attempt) -> None:
    """Let an attempt finish its stage and all that follow."""
    names = [stage.name for stage in Job.objects.get(pk=attempt.job_id).stages.all()]
    for name in names:
        if name != attempt.stage_name:
            attempt = attempts.claim_stage(
                job_id=str(attempt.job_id), epoch=attempt.epoch, stage_name=name, worker="w@h"
            )
        assert attempts.finish_stage(
            attempt, outputs=OUTPUTS, detail="", warnings=[], progress=Progress()
        )


def people(*, open_only: bool = True) -> list[str]:
    tasks = FollowUpTask.objects.filter(completed_at=None) if open_only else FollowUpTask.objects
    return sorted(tasks.values_list("user__email", flat=True))


def test_each_admin_of_the_site_gets_a_task_when_its_backup_fails(
    site: Site, site_admin: User, node_admin: User, super_admin: User, other_site: Site
) -> None:
    site.admins.add(node_admin)  # twice responsible, told once
    stranger = User.objects.create_user("stranger@example.com", role=Role.NODE_ADMIN)
    other_site.node.admins.add(stranger)
    attempt = claimed(site)
    fail(attempt)
    assert people() == ["node@example.com", "site@example.com"]
    task = site_admin.follow_up_tasks.get()
    assert task.title == "Backup of example.com failed"
    assert task.description == "No space left. Make room."
    assert (task.job_id, task.site_id, task.is_automatic) == (attempt.job_id, site.pk, True)
    assert (task.is_completed, task.due_at) == (False, None)
    assert abs((timezone.now() - task.created_at).total_seconds()) < 60


def test_super_admins_get_it_when_the_site_has_no_admin_who_could(
    site: Site, node: Node, super_admin: User
) -> None:
    User.objects.create_superuser("gone@example.com", is_active=False)
    site.admins.add(User.objects.create_user("left@example.com", is_active=False))
    # One whose role gives them nothing of a node.
    node.admins.add(User.objects.create_user("mistaken@example.com", role=Role.SITE_ADMIN))
    fail(claimed(site))
    assert people() == ["super@example.com"]


def test_backup_fails_all_the_same_when_there_is_nobody_to_tell(site: Site) -> None:
    fail(claimed(site))
    assert Job.objects.get().state == "failed"
    assert not FollowUpTask.objects.exists()


def test_texts_are_cut_when_they_are_long(site: Site, site_admin: User) -> None:
    Site.objects.filter(pk=site.pk).update(name="x" * 190)
    fail(claimed(site), message="m" * 5000)
    task = FollowUpTask.objects.get()
    assert (len(task.title), len(task.description)) == (200, 2000)
    assert (task.title[-1], task.description[-1]) == ("…", "…")


def test_next_completed_backup_closes_what_failed_ones_opened(
    site: Site, site_admin: User, node_admin: User, other_site: Site, super_admin: User
) -> None:
    fail(claimed(site))
    fail(claimed(site))
    fail(claimed(other_site))
    own = followups.add_task(user=site_admin, title="Look", job=Job.objects.filter(site=site)[0])
    assert len(people()) == 6
    complete(claimed(site))
    left = FollowUpTask.objects.filter(completed_at=None)
    assert set(left) == {own, FollowUpTask.objects.get(site=other_site)}


def test_task_that_somebody_closed_keeps_its_time(site: Site, site_admin: User) -> None:
    fail(claimed(site))
    closed = followups.toggle_task(task=FollowUpTask.objects.get())
    complete(claimed(site))
    assert FollowUpTask.objects.get().completed_at == closed.completed_at


def test_no_task_is_opened_when_a_backup_is_stopped_reset_or_tried_again(
    site: Site, site_admin: User
) -> None:
    attempt = claimed(site)
    control.stop_backup(site=site, requested_by=None)
    assert attempts.end_stopped(attempt, is_clean=True)
    claimed(site)
    control.reset_backup(site=site, requested_by=None)
    again = claimed(site)
    tried = attempts.fail_stage(again, code="x", message="m", hint="h", permanent=False)
    assert tried == "queued"
    assert not FollowUpTask.objects.exists()


def test_no_second_task_is_opened_for_the_same_failure(
    site: Site, site_admin: User, node_admin: User
) -> None:
    fail(claimed(site))
    node_admin.follow_up_tasks.all().delete()
    followups.open_tasks_of_failed(Job.objects.get())
    assert people() == ["node@example.com", "site@example.com"]


def test_tasks_go_with_the_transition_when_it_is_rolled_back(site: Site, site_admin: User) -> None:
    attempt = claimed(site)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        fail(attempt)
        assert FollowUpTask.objects.count() == 1
        raise ZeroDivisionError
    assert (Job.objects.get().state, FollowUpTask.objects.count()) == ("running", 0)


@contextmanager
def missing(model: Any) -> Iterator[None]:
    """Let a model's table be somewhere else, as in a migration that went wrong."""
    name = model._meta.db_table
    with connection.schema_editor() as editor:
        editor.alter_db_table(model, name, "elsewhere")
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(model, "elsewhere", name)


def test_failure_is_recorded_when_nobody_can_be_found(
    site: Site, site_admin: User, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = claimed(site)
    with caplog.at_level(logging.ERROR), missing(Site.admins.through):
        fail(attempt)
    assert Job.objects.get().state == "failed"
    assert Backup.objects.get().status == "FAILED"
    assert f"the follow-up tasks of the job {attempt.job_id} are not up to date" in caplog.text


def test_completion_is_recorded_when_tasks_cannot_be_closed(site: Site, site_admin: User) -> None:
    attempt = claimed(site)
    with missing(FollowUpTask):
        complete(attempt)
    assert Job.objects.get().state == "completed"
    assert Backup.objects.get().status == "SUCCESS"


def test_failure_is_tried_again_as_a_whole_when_a_deadlock_hits_the_tasks(
    site: Site, site_admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has undone the transition by then: to go on would be to lose it."""
    found, calls = queries.responsible_for, []

    def deadlocked(site: Site) -> Any:
        calls.append(site)
        if len(calls) == 1:
            raise OperationalError(1213, "Deadlock found") from DatabaseError(1213, "Deadlock")
        return found(site)

    monkeypatch.setattr("backups.actions.followups.queries.responsible_for", deadlocked)
    fail(claimed(site))
    assert (len(calls), Job.objects.get().state) == (2, "failed")
    assert people() == ["site@example.com"]
    assert Backup.objects.count() == 1


def test_tasks_are_closed_and_kept_when_the_site_is_removed(site: Site, site_admin: User) -> None:
    fail(claimed(site))
    sites.delete_site(site=site)
    task = FollowUpTask.objects.get()
    assert (task.is_completed, task.is_automatic) == (True, True)
    assert (task.site_id, task.job_id) == (None, None)
