"""People's to-do lists: what they write themselves, and what failed backups put there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, DateTimeField, QuerySet, Value, When
from django.db.models.functions import Coalesce, Now

from backups import queries
from backups.actions.deadlocks import again_after_deadlock, lost_to_another
from backups.errors import InvalidFieldError, TaskGoneError, with_hint
from backups.models import FollowUpTask, Job
from backups.models.followup import DESCRIPTION_LENGTH, TITLE_LENGTH
from backups.roles import Person
from backups.states import JobKind

logger = logging.getLogger(__name__)


@again_after_deadlock
def add_task(
    *,
    user: Person,
    title: str,
    description: str = "",
    due_at: datetime | None = None,
    job: Job | None = None,
    completed: bool = False,
) -> FollowUpTask:
    """Put a task on the person's list, linked to a job if there is one."""
    # Read before anybody else can see it, and remove it.
    with transaction.atomic():
        task = FollowUpTask.objects.create(
            user_id=user.pk,
            title=title,
            description=description,
            due_at=due_at,
            job=job,
            site_id=job.site_id if job else None,
            completed_at=Now() if completed else None,
            created_at=Now(),
            updated_at=Now(),
        )
        return FollowUpTask.objects.get(pk=task.pk)


@again_after_deadlock
def change_task(
    *,
    task: FollowUpTask,
    title: str,
    description: str = "",
    due_at: datetime | None = None,
    job: Job | None = None,
    completed: bool | None = None,
) -> FollowUpTask:
    """Replace what a task says; without `completed` it stays as done or open as it is.

    The job of a task that a failed backup opened is what that task is about: it stays. Raises
    `InvalidFieldError` for another one, `TaskGoneError` if the task was removed meanwhile.
    """
    if task.is_automatic:
        if job is not None and job.pk != task.job_id:
            raise InvalidFieldError("job_id", "A failed backup opened this task; its job stays.")
        job = task.job
    values: dict[str, Any] = {
        "title": title,
        "description": description,
        "due_at": due_at,
        "job": job,
        "site_id": job.site_id if job else None,
        "updated_at": Now(),
    }
    if completed is not None:
        # What is done already was done when it was.
        values["completed_at"] = Coalesce("completed_at", Now()) if completed else None
    tasks = FollowUpTask.objects.filter(pk=task.pk)
    return _written(tasks, tasks.update(**values))


@again_after_deadlock
def toggle_task(*, task: FollowUpTask) -> FollowUpTask:
    """Make an open task done, and a done one open, in one statement.

    Raises `TaskGoneError` if it was removed meanwhile.
    """
    done = When(completed_at=None, then=Now())
    tasks = FollowUpTask.objects.filter(pk=task.pk)
    nothing = Value(None, output_field=DateTimeField())
    changed = tasks.update(completed_at=Case(done, default=nothing), updated_at=Now())
    return _written(tasks, changed)


def delete_task(*, task: FollowUpTask) -> None:
    """Remove a task; one that is gone already is no error."""
    FollowUpTask.objects.filter(pk=task.pk).delete()


def open_tasks_of_failed(job: Job) -> None:
    """Open a task for each admin of a failed backup's site, in the caller's transaction.

    Never a second one for the same job and person; nor does anything here hold the failure back.
    """
    with _holding_nothing_back(job):
        _open_tasks(Job.objects.select_related("site").defer("site__db_password").get(pk=job.pk))


def close_tasks_of_completed(job: Job) -> None:
    """Close what failed backups of the site opened, in the transaction that completes one."""
    with _holding_nothing_back(job):
        if job.kind == JobKind.BACKUP:
            close_tasks_of(job.site_id)


@contextmanager
def _holding_nothing_back(job: Job) -> Iterator[None]:
    """Undo what goes wrong within, and log it, but let the job's transition be.

    Unless the database has ended the caller's transaction as well: then the caller must know.
    """
    try:
        with transaction.atomic():
            yield
    except Exception as error:
        if connection.needs_rollback or lost_to_another(error):
            raise
        logger.exception("the follow-up tasks of the job %s are not up to date", job.pk)


def _open_tasks(job: Job) -> None:
    if job.kind != JobKind.BACKUP:
        return
    title = f"Backup of {job.site.name} failed"
    description = with_hint(job.error_message, job.error_hint)
    tasks = [
        FollowUpTask(
            user_id=admin,
            title=_shortened(title, TITLE_LENGTH),
            description=_shortened(description, DESCRIPTION_LENGTH),
            job=job,
            site_id=job.site_id,
            failed_job=job.pk,
            created_at=Now(),
            updated_at=Now(),
        )
        for admin in queries.responsible_for(job.site).values_list("pk", flat=True)
    ]
    FollowUpTask.objects.bulk_create(tasks, ignore_conflicts=True)


def close_tasks_of(site_id: int) -> None:
    """Close what failed backups of the site opened.

    By their keys, and only if there are any: the statement locks no row that it does not change.
    """
    opened = FollowUpTask.objects.filter(
        site=site_id, failed_job__isnull=False, completed_at__isnull=True
    )
    if keys := list(opened.values_list("pk", flat=True)):
        tasks = FollowUpTask.objects.filter(pk__in=keys, completed_at__isnull=True)
        tasks.update(completed_at=Now(), updated_at=Now())


def _written(tasks: QuerySet[FollowUpTask], changed: int) -> FollowUpTask:
    task = tasks.first() if changed else None
    if task is None:
        raise TaskGoneError("There is no such task any more.")
    return task


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
