"""How jobs are taken back from attempts that are lost, and handed over by workers that leave."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from backups.actions.admission import give_out_soon
from backups.actions.endings import MAX_ATTEMPTS, end_job, fail_job, requeue
from backups.models import Job, Worker
from backups.states import JobState

LOST_CODE = "worker_lost"


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
    return take_back(job, Job.objects.filter(epoch=job.epoch, lease_expires_at__lt=Now()))


def recover_worker(*, worker: str) -> int:
    """Take back what a worker ran that is known to be dead; return how many jobs.

    Nobody has to wait for a lease: whoever calls this has seen that the process is gone.
    """
    return sum(take_back(job, _running(worker)) for job in _running(worker))


def recover_attempt(*, job_id: uuid.UUID, epoch: int, token: uuid.UUID) -> bool:
    """Take back the one attempt whose process is known to be dead; False if it is not the last."""
    attempts = Job.objects.filter(pk=job_id, epoch=epoch, token=token)
    job = attempts.first()
    return job is not None and take_back(job, attempts)


def hand_over(*, worker: str, reason: str) -> int:
    """Put what a worker runs back into the queue at once, for another one; return how many jobs.

    Its processes must be dead by now. It is nobody's failure, so no attempt is counted.
    """
    number = 0
    for job in _running(worker):
        jobs = _running(worker).filter(pk=job.pk, epoch=job.epoch)
        number += _hand_over(job.pk, jobs, reason)
    for node_id in set(Worker.objects.filter(name=worker).values_list("node", flat=True)):
        give_out_soon(node_id)
    return number


@transaction.atomic
def _hand_over(job_id: uuid.UUID, jobs: QuerySet[Job], reason: str) -> bool:
    job = _locked(job_id)
    if job.state == JobState.STOPPING:
        return end_job(job, jobs, JobState.STOPPED, message=f"{reason}; the job is stopped")
    words = f"{reason}; another one goes on from there"
    return requeue(job, jobs, message=words, kind="handed_over")


def _locked(job_id: uuid.UUID) -> Job:
    """Return the job as it is now, and as it stays: a stop may have come since it was found."""
    return Job.objects.select_for_update().get(pk=job_id)


def _running(worker: str) -> QuerySet[Job]:
    return Job.objects.filter(worker=worker, state__in=(JobState.RUNNING, JobState.STOPPING))


@transaction.atomic
def take_back(job: Job, condition: QuerySet[Job]) -> bool:
    """Take a job back from an attempt that is gone, as long as `condition` still holds."""
    jobs = condition.filter(pk=job.pk, epoch=job.epoch)
    job = _locked(job.pk)
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
