"""What one attempt at one stage may write. Every statement carries its epoch and its token.

Zero rows means that somebody else owns the job by now: nothing was changed, nothing may be.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Now

from backups import queries
from backups.actions.admission import give_out_soon
from backups.actions.completions import record_completion
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.endings import MAX_ATTEMPTS, end_job, fail_job, requeue
from backups.actions.storable import storable
from backups.actions.transitions import move, record, seconds_from_now
from backups.models import Backup, BackupStatus, Job, Site, Stage
from backups.states import JobKind, JobState, StageState, percent

# Waits before another attempt, by the number of those that failed: one fewer than MAX_ATTEMPTS.
RETRY_SECONDS = (10, 60)
RESTARTED = "restarted"
# Behind the key of a bundle that is encrypted: `stages/encryption.py` says why.
ENCRYPTED_SUFFIX = ".age"
_UNTOUCHED: dict[str, Any] = {
    "state": StageState.PENDING,
    "started_at": None,
    "finished_at": None,
    "bytes_processed": 0,
    "bytes_total": 0,
    "detail": "",
    "outputs": {},
    "checkpoint": {},
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to run one stage once."""

    job_id: uuid.UUID
    epoch: int
    token: uuid.UUID
    stage_id: int
    stage_name: str
    position: int
    stages_total: int
    folder_name: str
    site_id: int | None = None
    job_kind: str = JobKind.BACKUP

    def jobs(self) -> QuerySet[Job]:
        """The job, as long as this attempt owns it."""
        return Job.objects.filter(pk=self.job_id, epoch=self.epoch, token=self.token)


class Verdict(Enum):
    """What an attempt learns when it renews its lease."""

    GO_ON = "go on"
    STOP = "stop"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is, in bytes of its own work; total 0 while unknown."""

    processed: int = 0
    total: int = 0
    detail: str = ""


@again_after_deadlock
def claim_stage(
    *, job_id: str, epoch: int, stage_name: str, worker: str, process_id: int | None = None
) -> Attempt | None:
    """Claim the stage; None if it is not this stage's turn, or not this epoch's, or stopped.

    A message that comes twice, late, or after a reset gets None. So does one that comes to a node
    which drains or is disabled: the job goes back into the queue until it is open again.
    """
    stage = Stage.objects.select_related("job").filter(job_id=job_id, name=stage_name).first()
    if stage is None:
        return None
    # Before the claim: what fails after it costs an attempt.
    stages_total = Stage.objects.filter(job_id=job_id).count()
    token = uuid.uuid4()
    jobs = Job.objects.filter(
        pk=job_id,
        epoch=epoch,
        stages_done=stage.position,
        token__isnull=True,
        stop_requested_at__isnull=True,
    )
    with transaction.atomic():
        if not move(
            jobs.filter(node__in=queries.nodes_open_for_stages()),
            JobState.RUNNING,
            token=token,
            worker=worker,
            process_id=process_id,
            claim_deadline=None,
            lease_expires_at=seconds_from_now(settings.HOLDFAST_LEASE_SECONDS),
            started_at=Coalesce(F("started_at"), Now()),
            last_byte_at=Now(),
        ):
            _hold_back(jobs)
            return None
        Stage.objects.filter(pk=stage.pk).update(
            state=StageState.RUNNING,
            started_at=Now(),
            finished_at=None,
            bytes_processed=0,
            bytes_total=0,
            detail="",
        )
        record(job_id, epoch=epoch, kind="claimed", stage=stage_name, message=f"Taken by {worker}")
    return Attempt(
        job_id=uuid.UUID(job_id),
        epoch=epoch,
        token=token,
        stage_id=stage.pk,
        stage_name=stage_name,
        position=stage.position,
        stages_total=stages_total,
        folder_name=stage.job.folder_name,
        site_id=stage.job.site_id,
        job_kind=stage.job.kind,
    )


def _hold_back(jobs: QuerySet[Job]) -> None:
    """Queue a job again whose turn it would be, if only its node takes no stage now."""
    closed = jobs.exclude(node__in=queries.nodes_open_for_stages())
    job = closed.select_related("node").first()
    if job is not None:
        requeue(
            job,
            closed.filter(state__in=(JobState.DISPATCHED, JobState.BETWEEN)),
            message=f"{job.node} takes no new stage now; the job waits until it does",
            kind="held_back",
        )


def renew_lease(attempt: Attempt, progress: Progress, *, moved: bool) -> Verdict:
    """Renew the lease and write the progress; `moved` says whether bytes came since last time."""
    reached = percent(attempt.position, attempt.stages_total, progress.processed, progress.total)
    changes: dict[str, Any] = {"last_byte_at": Now()} if moved else {}
    with transaction.atomic():
        renewed = (
            attempt.jobs()
            .filter(state__in=(JobState.RUNNING, JobState.STOPPING))
            .update(
                lease_expires_at=seconds_from_now(settings.HOLDFAST_LEASE_SECONDS),
                progress=Greatest(F("progress"), reached),
                **changes,
            )
        )
        if not renewed:
            return Verdict.FENCED
        Stage.objects.filter(pk=attempt.stage_id).update(
            bytes_processed=progress.processed,
            bytes_total=progress.total,
            detail=storable(progress.detail),
        )
    stopping = attempt.jobs().filter(stop_requested_at__isnull=False).exists()
    return Verdict.STOP if stopping else Verdict.GO_ON


def save_checkpoint(attempt: Attempt, checkpoint: Mapping[str, Any]) -> bool:
    """Keep what a later attempt at this stage can go on from; False if fenced."""
    with transaction.atomic():
        if not attempt.jobs().select_for_update().exists():
            return False
        Stage.objects.filter(pk=attempt.stage_id).update(checkpoint=storable(checkpoint))
    return True


@again_after_deadlock
def finish_stage(
    attempt: Attempt,
    *,
    outputs: Mapping[str, Any],
    detail: str,
    warnings: Sequence[str],
    progress: Progress,
) -> bool:
    """Record the stage as done; after the last one the job is completed, with what it made.

    False if refused: fenced, or a stop came first.
    """
    job = attempt.jobs().first()
    if job is None:
        return False
    kept_warnings = [*job.warnings, *storable(list(warnings))]
    is_last = attempt.position + 1 == attempt.stages_total
    with transaction.atomic():
        if is_last:
            moved = move(
                attempt.jobs(),
                JobState.COMPLETED,
                stages_done=F("stages_done") + 1,
                progress=100,
                warnings=kept_warnings,
            )
        else:
            moved = move(
                attempt.jobs(),
                JobState.BETWEEN,
                token=None,
                lease_expires_at=None,
                claim_deadline=seconds_from_now(settings.HOLDFAST_CLAIM_SECONDS),
                stages_done=F("stages_done") + 1,
                attempts=0,
                warnings=kept_warnings,
                progress=Greatest(
                    F("progress"), percent(attempt.position + 1, attempt.stages_total, 0, 0)
                ),
            )
        if not moved:
            return False
        Stage.objects.filter(pk=attempt.stage_id).update(
            state=StageState.COMPLETED,
            finished_at=Now(),
            outputs=storable(outputs),
            checkpoint={},
            detail=storable(detail),
            bytes_processed=progress.processed,
            bytes_total=max(progress.total, progress.processed),
        )
        record(
            job.pk, epoch=attempt.epoch, kind="stage_done", stage=attempt.stage_name, message=detail
        )
        if is_last:
            record_completion(job, kept_warnings)
    if is_last:
        give_out_soon(job.node_id)
    return True


@again_after_deadlock
def fail_stage(
    attempt: Attempt,
    *,
    code: str,
    message: str,
    hint: str,
    permanent: bool,
    from_start: bool = False,
) -> JobState | None:
    """Record a failed attempt: QUEUED again if that may help, else FAILED; None if refused.

    `from_start` gives up what earlier stages left: their work is gone. Stages that are done again
    forgive the failures of others, so how often a job begins again is counted in its log.
    """
    job = attempt.jobs().first()
    if job is None:
        return None
    failures = job.events.filter(kind=RESTARTED).count() if from_start else job.attempts
    if permanent or failures + 1 >= MAX_ATTEMPTS:
        # A stop that came first wins over an error as it does over a result.
        unstopped = attempt.jobs().filter(stop_requested_at=None)
        failed = fail_job(job, unstopped, code=code, message=message, hint=hint)
        return JobState.FAILED if failed else None
    wait = RETRY_SECONDS[failures]
    changes: dict[str, Any] = {}
    with transaction.atomic():
        if from_start:
            changes = {"stages_done": 0, "warnings": [], "kind": RESTARTED}
            job.stages.update(**_UNTOUCHED)
        queued = requeue(
            job,
            attempt.jobs(),
            message=f"{attempt.stage_name} failed and is tried again in {wait} s: {message}",
            attempts=failures + 1,
            not_before=seconds_from_now(wait),
            **changes,
        )
        if not queued:
            transaction.set_rollback(True)
    return JobState.QUEUED if queued else None


def end_stopped(attempt: Attempt, *, is_clean: bool) -> bool:
    """Record that the attempt ended because somebody asked for it.

    `is_clean` says that all it left is removed; else the node's agent goes on with that.
    """
    job = attempt.jobs().first()
    return job is not None and end_job(
        job,
        attempt.jobs(),
        JobState.STOPPED,
        message="Stopped on request",
        cleanup_pending=not is_clean,
    )


def reserve_object_key(attempt: Attempt) -> str | None:
    """Return a key in the storage that no other bundle has or will have; None if fenced."""
    with transaction.atomic():
        job = attempt.jobs().select_for_update().first()
        return None if job is None else reserve_key(job.site_id, job.started_at)


def reserve_key(site_id: int, moment: datetime | None = None) -> str:
    """Return a key for one bundle of the site: `<node>/<site>/<name>_<time>`.

    Keys hold no job, epoch or token, the wire contract fixes their form; so the second in the
    key is reserved on the site's row, each one given out once. For use within a transaction.
    """
    site = Site.objects.select_for_update().get(pk=site_id)
    stamp = (moment or datetime.now(UTC)).replace(microsecond=0)
    if site.newest_key_at is not None and stamp <= site.newest_key_at:
        stamp = site.newest_key_at + timedelta(seconds=1)
    Site.objects.filter(pk=site.pk).update(newest_key_at=stamp)
    name = f"{site.name}_{stamp.astimezone(UTC):%Y%m%d_%H%M%S}.tar.zst"
    return f"{site.node.uuid}/{site.uuid}/{name}"


def previous_facts(attempt: Attempt) -> dict[str, Any] | None:
    """Return the facts of the site's newest good backup, to hold the new one against."""
    site = Q(site__jobs__pk=attempt.job_id)
    good = Backup.objects.filter(site, status=BackupStatus.SUCCESS, is_suspect=False)
    newest = good.order_by("-created_at", "-id").first()
    return newest.facts if newest else None
