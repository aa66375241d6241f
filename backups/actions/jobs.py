"""How jobs begin, are given out to nodes, and are given out again when an attempt is lost."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from backups import dispatch, queries
from backups.actions.storable import storable
from backups.actions.transitions import move, record, seconds_from_now
from backups.errors import BackupAlreadyRunningError, NodeDisabledError, StorageMissingError
from backups.models import Backup, BackupStatus, EventLevel, Job, Node, Site, Stage, Storage
from backups.registry import stages_of
from backups.roles import Person
from backups.states import ADMITTED, JobKind, JobState, StageState

MAX_ATTEMPTS = 3
LOST_CODE = "worker_lost"
ERROR_CODE_LENGTH = 50  # of the column


def start_backup(*, site: Site, requested_by: Person | None = None, trigger: str = "manual") -> Job:
    """Record a backup of the site and have it sent; at most one is active, however many ask.

    Raises `BackupAlreadyRunningError`, `NodeDisabledError` or `StorageMissingError`.
    """
    if not site.node.is_enabled:
        raise NodeDisabledError(f"{site.node} is disabled; enable it to back up {site.name}.")
    storage = _storage_for(site)
    try:
        with transaction.atomic():
            job = Job.objects.create(
                kind=JobKind.BACKUP,
                site=site,
                active_site=site,
                node=site.node,
                storage=storage,
                requested_by_id=requested_by.pk if requested_by else None,
                trigger=trigger,
                queued_at=Now(),
            )
            Stage.objects.bulk_create(
                Stage(job=job, name=stage.name, position=position)
                for position, stage in enumerate(stages_of(job.kind))
            )
            record(job.pk, epoch=1, kind="queued", message=f"Backup of {site.name} is queued")
    except IntegrityError as error:
        if not Job.objects.filter(active_site=site).exists():
            raise
        raise BackupAlreadyRunningError(
            f"A backup of {site.name} is already running; wait for it or stop it first."
        ) from error
    give_out_soon(site.node_id)
    return Job.objects.select_related("site", "node").get(pk=job.pk)


def give_out_soon(node_id: int) -> None:
    """Have a node's queued jobs sent after the commit, without making anybody wait for it."""
    work = partial(admit_jobs, node_id=node_id)
    transaction.on_commit(partial(dispatch.in_background, work))


def admit_jobs(*, node_id: int | None = None) -> int:
    """Give out as many queued jobs as their nodes have free slots for; return how many.

    Jobs that are further along go first, then by priority and age. Only nodes with a live worker
    are given any: a message to nobody would only grow old.
    """
    nodes = queries.nodes_with_live_workers()
    if node_id is not None:
        nodes = nodes.filter(pk=node_id)
    number = 0
    for node in nodes:
        admitted = _admit_on(node.pk)
        number += len(admitted)
        if not all(_publish(job) for job in admitted):
            # The broker is away. Each try at one that hangs takes seconds, and others wait.
            break
    return number


def _admit_on(node_id: int) -> list[Job]:
    with transaction.atomic():
        # The lock makes count and admission one step for panel and coordinator together.
        node = Node.objects.select_for_update().get(pk=node_id)
        free = node.slots - node.jobs.filter(state__in=ADMITTED).count()
        waiting = (
            node.jobs.filter(state=JobState.QUEUED)
            .filter(Q(not_before__isnull=True) | Q(not_before__lte=Now()))
            .order_by("-stages_done", "-priority", "queued_at")[: max(free, 0)]
        )
        return [job for job in waiting if _admit(job)]


def _publish(job: Job) -> bool:
    return dispatch.publish_chain(Job.objects.select_related("node").get(pk=job.pk))


def _admit(job: Job) -> bool:
    deadline = seconds_from_now(settings.HOLDFAST_CLAIM_SECONDS)
    jobs = Job.objects.filter(pk=job.pk, epoch=job.epoch)
    if not move(jobs, JobState.DISPATCHED, claim_deadline=deadline, not_before=None):
        return False
    record(job.pk, epoch=job.epoch, kind="dispatched", message=f"Sent to {job.node}")
    return True


def recover_lost_jobs() -> int:
    """Take back what nobody claimed in time and what lost its lease; return how many."""
    unclaimed = Job.objects.filter(
        state__in=(JobState.DISPATCHED, JobState.BETWEEN), claim_deadline__lt=Now()
    )
    lost = Job.objects.filter(
        state__in=(JobState.RUNNING, JobState.STOPPING), lease_expires_at__lt=Now()
    )
    recovered = sum(_requeue_unclaimed(job) for job in unclaimed)
    return recovered + sum(_recover_lost(job) for job in lost)


def _requeue_unclaimed(job: Job) -> bool:
    """Not an attempt that failed: the message was lost, or the worker is away."""
    jobs = Job.objects.filter(pk=job.pk, epoch=job.epoch, claim_deadline__lt=Now())
    return requeue(job, jobs, message="Nobody took the next stage in time; it is sent again")


def _recover_lost(job: Job) -> bool:
    jobs = Job.objects.filter(pk=job.pk, epoch=job.epoch, lease_expires_at__lt=Now())
    stage = job.stages.filter(position=job.stages_done).first()
    what = f"The worker {job.worker} was lost during {stage.name if stage else 'the last stage'}"
    if job.state == JobState.STOPPING:
        return end_job(job, jobs, JobState.STOPPED, message=f"{what}; the job is stopped")
    if job.attempts + 1 >= MAX_ATTEMPTS:
        return fail_job(
            job,
            jobs,
            code=LOST_CODE,
            message=f"{what}, for the {MAX_ATTEMPTS}rd time",
            hint="See the worker's log on the node (memory, disk, restarts), then start again.",
        )
    return requeue(job, jobs, message=f"{what}; going on from there", attempts=F("attempts") + 1)


def requeue(
    job: Job,
    jobs: Any,  # noqa: ANN401
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
    jobs: Any,  # noqa: ANN401
    to: JobState,
    *,
    message: str,
    level: EventLevel = EventLevel.WARNING,
    **changes: Any,  # noqa: ANN401
) -> bool:
    """Move the job to a terminal state, its unfinished stages with it; False if refused."""
    stage_state = StageState.FAILED if to == JobState.FAILED else StageState.STOPPED
    with transaction.atomic():
        if not move(jobs, to, **changes):
            return False
        job.stages.filter(state=StageState.RUNNING).update(state=stage_state, finished_at=Now())
        record(job.pk, epoch=job.epoch, kind=str(to), message=message, level=level)
        if to == JobState.FAILED:
            Backup.objects.create(
                site_id=job.site_id,
                job=job,
                storage_id=job.storage_id,
                status=BackupStatus.FAILED,
                created_at=Now(),
            )
    give_out_soon(job.node_id)
    return True


def fail_job(job: Job, jobs: Any, *, code: str, message: str, hint: str) -> bool:  # noqa: ANN401
    """End the job as failed, with what a person needs to know; False if refused."""
    return end_job(
        job,
        jobs,
        JobState.FAILED,
        message=message,
        level=EventLevel.ERROR,
        error_code=code[:ERROR_CODE_LENGTH],
        error_message=storable(message),
        error_hint=storable(hint),
    )


def _storage_for(site: Site) -> Storage:
    storage = site.storage or Storage.objects.filter(is_default=True).first()
    if storage is None:
        raise StorageMissingError(
            f"{site.name} has no storage and there is no default one; add a storage first."
        )
    return storage
