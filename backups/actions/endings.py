"""How a job goes back into the queue, and how it ends: each with its stages and its log."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from backups.actions.admission import give_out_soon
from backups.actions.followups import open_tasks_of_failed
from backups.actions.receipts import DISPROVED_CODES, record_disproved
from backups.actions.storable import storable
from backups.actions.transitions import move, record, seconds_from_now
from backups.models import Backup, BackupStatus, EventLevel, Job
from backups.states import JobKind, JobState, StageState

MAX_ATTEMPTS = 3
ERROR_CODE_LENGTH = 50  # of the column
# After these the node needs the room more than a retry needs the work.
NOTHING_KEPT_CODES = frozenset({"disk_full", "not_enough_space"})


def has_left_something(job: Job) -> bool:
    """Return whether the job may have left anything on its node: it ran, or took work over."""
    return job.started_at is not None or job.work_id is not None


def requeue(
    job: Job,
    jobs: QuerySet[Job],
    *,
    message: str,
    kind: str = "requeued",
    **changes: Any,  # noqa: ANN401
) -> bool:
    """Put the job back into the queue under a new epoch and new task ids; False if refused."""
    with transaction.atomic():
        released = {"epoch": job.epoch + 1, "token": None, "lease_expires_at": None}
        if not move(jobs, JobState.QUEUED, claim_deadline=None, **released, **changes):
            return False
        for stage in job.stages.exclude(state=StageState.COMPLETED):
            stage.task_id = uuid.uuid4()
            stage.state = StageState.PENDING
            stage.save(update_fields=["task_id", "state"])
        record(
            job.pk,
            epoch=job.epoch + 1,
            kind=kind,
            message=message,
            level=EventLevel.WARNING,
        )
    return True


def end_job(
    job: Job,
    jobs: QuerySet[Job],
    to: JobState,
    *,
    message: str,
    level: EventLevel = EventLevel.WARNING,
    **changes: Any,  # noqa: ANN401
) -> bool:
    """Move the job to a terminal state, its unfinished stages with it; False if refused.

    Unless `cleanup_pending=False` says that all was removed, what the job left on its node is
    removed by the agent there, now or when the node is back.
    """
    changes.setdefault("cleanup_pending", has_left_something(job))
    stage_state = StageState.FAILED if to == JobState.FAILED else StageState.STOPPED
    with transaction.atomic():
        if not move(jobs, to, **changes):
            return False
        job.stages.filter(state=StageState.RUNNING).update(state=stage_state, finished_at=Now())
        record(job.pk, epoch=job.epoch, kind=str(to), message=message, level=level)
        if to == JobState.FAILED and job.kind == JobKind.BACKUP:
            Backup.objects.create(
                site_id=job.site_id,
                job=job,
                storage_id=job.storage_id,
                status=BackupStatus.FAILED,
                created_at=Now(),
            )
        if to == JobState.FAILED:
            if job.kind == JobKind.VERIFY and changes.get("error_code") in DISPROVED_CODES:
                record_disproved(job, message=message)
            open_tasks_of_failed(job)
        _end_waiting(job, to, reason=changes.get("error_message", ""))
    give_out_soon(job.node_id)
    return True


def _end_waiting(job: Job, to: JobState, *, reason: str) -> None:
    """End what waited for the job: a restore without its checkpoint could not be undone."""
    for waiting in job.waiting.filter(state=JobState.QUEUED):
        changes: dict[str, Any] = {}
        if to == JobState.FAILED:
            changes = {
                "error_code": "checkpoint_failed",
                "error_message": "The checkpoint before it failed, so nothing was restored: "
                f"{reason}",
                "error_hint": "Mend that; or restore without a checkpoint, if what is there now "
                "is worth nothing: then there is no way back to it.",
            }
        end_job(
            waiting,
            Job.objects.filter(pk=waiting.pk, state=JobState.QUEUED),
            to,
            message=f"Its checkpoint, job {job.pk}, is {to}: nothing was restored",
            **changes,
        )


def fail_job(job: Job, jobs: QuerySet[Job], *, code: str, message: str, hint: str) -> bool:
    """End the job as failed, with what a person needs to know; False if refused.

    What its finished stages left is kept for a while, so that a retry can go on from there.
    """
    keeps = job.kind == JobKind.BACKUP and code not in NOTHING_KEPT_CODES
    hours = settings.HOLDFAST_KEEP_FAILED_HOURS if keeps else 0
    keep = seconds_from_now(hours * 3600) if hours and job.stages_done else None
    return end_job(
        job,
        jobs,
        JobState.FAILED,
        message=message,
        level=EventLevel.ERROR,
        error_code=code[:ERROR_CODE_LENGTH],
        error_message=storable(message),
        error_hint=storable(hint),
        work_kept_until=keep,
    )
