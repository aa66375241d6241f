"""Stopping a job, resetting a site's stuck one, and trying again what failed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from backups import dispatch, queries
from backups.actions.attempts import ENCRYPTED_SUFFIX, reserve_key
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.endings import end_job, has_left_something
from backups.actions.jobs import begin_backup
from backups.actions.leftovers import CleanupReport
from backups.actions.transitions import move, record
from backups.errors import JobNotActiveError, JobNotRetryableError
from backups.models import Job, Site, Stage
from backups.registry import STAGES
from backups.roles import Person
from backups.states import TERMINAL, JobKind, JobState, StageState, percent

POLL_SECONDS = 0.1
_IDLE = (JobState.QUEUED, JobState.DISPATCHED, JobState.BETWEEN)


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset took away: the job, if there was one, and the tasks that may not run now."""

    job_id: uuid.UUID | None
    revoked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What the node has removed so far; `done` is False while it is away or still at it."""

    done: bool
    report: CleanupReport


def stop_backup(*, site: Site, requested_by: Person | None) -> Job:
    """Stop the site's active job; raises `JobNotActiveError` if there is none."""
    job = Job.objects.filter(active_site=site).first()
    if job is None:
        raise JobNotActiveError(f"No backup of {site.name} is running.")
    return stop_job(job=job, requested_by=requested_by)


@again_after_deadlock
def stop_job(*, job: Job, requested_by: Person | None) -> Job:
    """Stop a job: at once if no stage of it runs, else as soon as its attempt has ended itself.

    Asking again while it stops is no error. Raises `JobNotActiveError` for a job that has ended.
    """
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=job.pk)
        if not locked.is_active:
            raise JobNotActiveError(f"This backup of {locked.site.name} has ended already.")
        if locked.stop_requested_at is None:
            who = f" by {requested_by}" if requested_by else ""
            record(
                locked.pk, epoch=locked.epoch, kind="stop_requested", message=f"Stop requested{who}"
            )
            _stop(locked)
    return Job.objects.select_related("site", "node").get(pk=job.pk)


def _stop(job: Job) -> None:
    """Move a locked job that is active: whatever comes at the same time waits for the lock."""
    idle = Job.objects.filter(pk=job.pk, state__in=_IDLE)
    if not end_job(
        job, idle, JobState.STOPPED, message="Stopped on request", stop_requested_at=Now()
    ):
        running = Job.objects.filter(pk=job.pk, state=JobState.RUNNING)
        move(running, JobState.STOPPING, stop_requested_at=Now())
    if job.waits_for_id is not None:
        checkpoint = Job.objects.select_for_update().get(pk=job.waits_for_id)
        if checkpoint.is_active:
            _stop(checkpoint)


@again_after_deadlock
def reset_backup(*, site: Site, requested_by: Person | None) -> Reset:
    """Give up the site's active job, whatever it is doing, so that a new one can start at once.

    The epoch rises in the same statement: from then on nothing that the old attempt does counts.
    Killing, revoking and removing come after, and may take until the node is back. With nothing
    to reset, the newest job only no longer shows: the site reads idle.
    """
    with transaction.atomic():
        job = _locked_active_job(site)
        if job is None:
            newest = (
                Job.objects.filter(site=site, kind=JobKind.BACKUP)
                .order_by("-queued_at")
                .values_list("pk", flat=True)[:1]
            )
            # One that has begun since is none that anybody wanted to be rid of.
            ended = Job.objects.filter(pk__in=list(newest), reset_at=None, state__in=TERMINAL)
            ended.update(reset_at=Now())
            return Reset(None)
        who = f" by {requested_by}" if requested_by else ""
        revoked = _reset(job, who)
        if job.waits_for_id is not None:
            checkpoint = Job.objects.select_for_update().get(pk=job.waits_for_id)
            revoked += _reset(checkpoint, who) if checkpoint.is_active else ()
    workers = queries.live_workers().filter(node=job.node_id).values_list("name", flat=True)
    dispatch.revoke_soon(revoked, list(workers))
    return Reset(job.pk, revoked)


def _reset(job: Job, who: str) -> tuple[str, ...]:
    """End a locked job that is active; return the ids of its tasks that may not run now."""
    unfinished = job.stages.exclude(state=StageState.COMPLETED)
    revoked = tuple(str(task_id) for task_id in unfinished.values_list("task_id", flat=True))
    end_job(
        job,
        Job.objects.filter(pk=job.pk),
        JobState.RESET,
        message=f"Reset{who}; what it left is removed",
        epoch=F("epoch") + 1,
        reset_at=Now(),
        cleanup_pending=has_left_something(job),
    )
    return revoked


def _locked_active_job(site: Site) -> Job | None:
    """Lock the site's active job and return it, None if there is none.

    By its key, as everybody who writes to it does: InnoDB locks the row of another index first
    when it finds it by that, and two who lock in different orders wait for each other for ever.
    """
    key = Job.objects.filter(active_site=site).values_list("pk", flat=True).first()
    job = None if key is None else Job.objects.select_for_update().get(pk=key)
    return job if job is not None and job.is_active else None


def wait_for_cleanup(job_id: uuid.UUID) -> Cleanup:
    """Return what the node removed of a job that ended, waiting for it for a bounded time.

    Not at all while the node has no worker: it cleans up when it is back.
    """
    deadline = time.monotonic() + settings.HOLDFAST_NODE_ANSWER_SECONDS
    while True:
        job = Job.objects.get(pk=job_id)
        report = CleanupReport(**job.cleanup_report)
        if not job.cleanup_pending:
            return Cleanup(True, report)
        is_there = queries.live_workers().filter(node=job.node_id).exists()
        if not is_there or time.monotonic() > deadline:
            return Cleanup(False, report)
        time.sleep(POLL_SECONDS)


@again_after_deadlock
def retry_job(*, job: Job, requested_by: Person | None, intact_stages: Collection[str] = ()) -> Job:
    """Begin a new job that goes on where `job` failed, if its work is still there.

    `intact_stages` are the finished stages whose work the node has just seen in its spool. What
    comes after the first that is not among them is done again; `Job.stages_done` of the new job
    says how many were taken over. Raises `JobNotRetryableError`, and what `begin_job` does.
    """
    require_retryable(job)
    site = Site.objects.select_related("node", "storage").get(pk=job.site_id)
    with transaction.atomic():
        Site.objects.select_for_update().get(pk=site.pk)
        done = _kept_stages(job, intact_stages) if job.node_id == site.node_id else []
        # Whoever clears this mark has the work for good; the agent removes it without.
        kept = Job.objects.filter(pk=job.pk, work_kept_until__gt=Now())
        if not done or not kept.update(work_kept_until=None):
            message = f"Backup of {site.name} is queued, from the beginning"
            return begin_backup(
                site=site,
                requested_by=requested_by,
                trigger="retry",
                message=message,
                retry_of=job,
            )
        following = job.stages.filter(position=len(done)).values_list("name", flat=True)[0]
        return begin_backup(
            site=site,
            requested_by=requested_by,
            trigger="retry",
            message=f"Backup of {site.name} is queued and goes on with {following}",
            done_stages={stage.name: _fields(stage, site) for stage in done},
            retry_of=job,
            work_id=job.work_id or job.pk,
            # Attempts of the old job that still run write into folders of lower epochs.
            epoch=job.epoch + 1,
            warnings=job.warnings,
            progress=percent(len(done), job.stages.count(), 0, 0),
        )


def require_retryable(job: Job) -> None:
    """Raise `JobNotRetryableError` for a job that runs or did what it should."""
    if job.state not in (JobState.FAILED, JobState.STOPPED):
        raise JobNotRetryableError("Only a job that failed or was stopped can be tried again.")


def _kept_stages(job: Job, intact: Collection[str]) -> list[Stage]:
    """Return the finished stages from the first on that left their work in the spool."""
    kept: list[Stage] = []
    for stage in job.stages.order_by("position"):
        has_work = STAGES[stage.name].has_folder and stage.name in intact
        if stage.state != StageState.COMPLETED or not has_work:
            break
        kept.append(stage)
    return kept


def _fields(stage: Stage, site: Site) -> dict[str, Any]:
    outputs = dict(stage.outputs)
    if "key" in outputs:
        # What the old job stored under its own key is removed: this one needs another.
        suffix = ENCRYPTED_SUFFIX if outputs.get("encrypted_to") else ""
        outputs["key"] = f"{reserve_key(site.pk)}{suffix}"
    return {
        "state": StageState.COMPLETED,
        "started_at": stage.started_at,
        "finished_at": stage.finished_at,
        "bytes_processed": stage.bytes_processed,
        "bytes_total": stage.bytes_total,
        "detail": stage.detail,
        "outputs": outputs,
    }
