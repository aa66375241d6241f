"""How queued jobs are given out to nodes: as many as each has free slots for."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from backups import dispatch, queries
from backups.actions.transitions import move, record, seconds_from_now
from backups.actions.unsettled import without_unsettled
from backups.models import Job, Node
from backups.states import ADMITTED, JobState


def give_out_soon(node_id: int) -> None:
    """Have a node's queued jobs sent after the commit, without making anybody wait for it."""
    work = partial(admit_jobs, node_id=node_id)
    transaction.on_commit(partial(dispatch.in_background, work))


def admit_jobs(*, node_id: int | None = None) -> int:
    """Give out as many queued jobs as their nodes have free slots for; return how many.

    Jobs that are further along go first, then by priority and age. Only nodes with a live worker
    are given any: a message to nobody would only grow old. A node that drains gets none.
    """
    nodes = queries.nodes_with_live_workers().filter(is_draining=False)
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
        due = (
            node.jobs.filter(state=JobState.QUEUED)
            .filter(Q(not_before__isnull=True) | Q(not_before__lte=Now()))
            .filter(Q(waits_for__isnull=True) | Q(waits_for__state=JobState.COMPLETED))
        )
        waiting = without_unsettled(due, node).order_by("-stages_done", "-priority", "queued_at")
        return [job for job in waiting[: max(free, 0)] if _admit(job)]


def _publish(job: Job) -> bool:
    return dispatch.publish_chain(Job.objects.select_related("node").get(pk=job.pk))


def _admit(job: Job) -> bool:
    deadline = seconds_from_now(settings.HOLDFAST_CLAIM_SECONDS)
    jobs = Job.objects.filter(pk=job.pk, epoch=job.epoch)
    if not move(jobs, JobState.DISPATCHED, claim_deadline=deadline, not_before=None):
        return False
    record(job.pk, epoch=job.epoch, kind="dispatched", message=f"Sent to {job.node}")
    return True
