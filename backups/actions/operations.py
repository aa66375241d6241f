"""Stop, reset and retry as a person meets them: with what the node says, and a sentence about it.

API, admin and commands do and tell the same; only the form differs.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from backups.actions import control, proofs, questions, restores
from backups.actions.control import Cleanup
from backups.actions.leftovers import CleanupReport
from backups.errors import (
    BrokerUnavailableError,
    JobNotActiveError,
    NodeUnavailableError,
    NodeWorkError,
)
from backups.models import Job, Site
from backups.registry import stages_of
from backups.roles import Person
from backups.states import JobKind, JobState

MIB = 1 << 20
NOTHING_KEPT = "nothing of the earlier run is kept"
WORK_GONE = "what the earlier run left is gone or has changed"


@dataclass(frozen=True, slots=True)
class ResetDone:
    """A reset with its evidence; `note` says what is still to be removed, and when."""

    job_id: uuid.UUID | None
    revoked: tuple[str, ...]
    cleanup: Cleanup
    message: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Retried:
    """A new job; `resumed_from` is the stage that it goes on with, None for the beginning."""

    job: Job
    resumed_from: str | None
    message: str


def reset_and_wait(*, site: Site, requested_by: Person | None) -> ResetDone:
    """Reset the site's backup and wait, for a bounded time, for what its node removed.

    Whoever resets again learns how far the node is with what an earlier reset left to it.
    """
    done = control.reset_backup(site=site, requested_by=requested_by)
    job_id = done.job_id or _still_cleaned_up(site)
    cleanup = Cleanup(done=True, report=CleanupReport())
    if job_id is not None:
        cleanup = control.wait_for_cleanup(job_id)
    return ResetDone(
        job_id=done.job_id,
        revoked=done.revoked,
        cleanup=cleanup,
        message=f"Backup status reset to idle for {site.name}",
        note=None if cleanup.done else f"What is left on {site.node} is removed when it answers.",
    )


def _still_cleaned_up(site: Site) -> uuid.UUID | None:
    """Return the site's newest job that was reset and whose node is not done with it."""
    left = Job.objects.filter(site=site, state=JobState.RESET, cleanup_pending=True)
    return left.order_by("-queued_at").values_list("pk", flat=True).first()


def require_newest(job: Job) -> None:
    """Raise `JobNotActiveError` if a newer job of the site began since.

    Whoever names a job to reset that has ended must not hit another one that runs.
    """
    if Job.objects.filter(site=job.site_id, queued_at__gt=job.queued_at).exists():
        raise JobNotActiveError(
            f"This backup of {job.site.name} has ended, and a newer one began since."
        )


def retry_with_what_is_left(*, job: Job, requested_by: Person | None) -> Retried:
    """Begin a new job that goes on where this one failed, as far as its node still has the work.

    A node that cannot be asked keeps nobody from trying again: the new job does all stages then.
    Raises what `control.retry_job` does.
    """
    if job.kind != JobKind.BACKUP:
        return _begun_again(job, requested_by)
    intact, reason = _intact_stages(job)
    new = control.retry_job(job=job, requested_by=requested_by, intact_stages=intact)
    stages = stages_of(new.kind)
    if not new.stages_done:
        message = f"Backup of {new.site.name} begins again from the beginning: {reason}"
        return Retried(new, None, message)
    name, number = stages[new.stages_done].name, new.stages_done + 1
    message = f"Backup of {new.site.name} goes on from stage {number}/{len(stages)}: {name}"
    return Retried(new, name, message)


def _begun_again(job: Job, requested_by: Person | None) -> Retried:
    control.require_retryable(job)
    begin_again = {JobKind.RESTORE: restores.begin_again, JobKind.VERIFY: proofs.begin_again}
    new = begin_again[JobKind(job.kind)](job=job, requested_by=requested_by)
    return Retried(new, None, f"The {job.kind} of {new.site.name} begins again from the beginning")


def _intact_stages(job: Job) -> tuple[list[str], str]:
    """Return the finished stages whose work the node still has, and why if there are none."""
    if job.work_kept_until is None:
        return [], NOTHING_KEPT
    try:
        arguments = {"job_id": str(job.pk)}
        task_id = questions.ask(node=job.node, query="work_state", arguments=arguments)
        answer = questions.wait_for_answer(task_id=task_id)
    except (NodeUnavailableError, BrokerUnavailableError, NodeWorkError):
        answer = None
    if answer is None:
        return [], f"{job.node} could not be asked what is left of the earlier run"
    return list(answer["intact"]), WORK_GONE


def evidence(report: CleanupReport) -> str:
    """Return what was removed, in words."""
    return (
        f"{report.folders_removed} folders removed ({report.bytes_freed / MIB:.1f} MB), "
        f"{report.processes_killed} processes killed, {report.uploads_aborted} uploads aborted, "
        f"{report.objects_deleted} objects deleted"
    )
