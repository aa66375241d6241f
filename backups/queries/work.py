"""What runs on a node, and what of its spool and its storages is in use: for the node's agent."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from backups.models import Job, Stage, Storage
from backups.states import ACTIVE, JobState, StageState

_OWNED = (JobState.RUNNING, JobState.STOPPING)


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt that owns its job now, and the process on the worker's host that it runs in."""

    job_id: uuid.UUID
    epoch: int
    token: uuid.UUID
    process_id: int | None

    @property
    def mark(self) -> str:
        """What its child processes carry, as its folders do: `<epoch>-<token>`."""
        return f"{self.epoch}-{self.token.hex}"


def running_attempts(worker: str) -> list[RunningAttempt]:
    """Return what a worker runs now."""
    return _attempts(Job.objects.filter(worker=worker, state__in=_OWNED))


def owners_of(node_id: int, job_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return for each of these jobs that is the node's the mark of who owns it now, or ""."""
    jobs = Job.objects.filter(node=node_id, pk__in=job_ids)
    owners = dict.fromkeys(jobs.values_list("pk", flat=True), "")
    owned = _attempts(jobs.filter(state__in=_OWNED))
    return owners | {attempt.job_id: attempt.mark for attempt in owned}


def keys_in_use(node_id: int) -> set[str]:
    """Return the keys that active jobs of the node may upload to, now or later."""
    sealed = Stage.objects.filter(
        job__node=node_id,
        job__state__in=ACTIVE,
        name="create_bundle",
        state=StageState.COMPLETED,
    )
    return {str(outputs["key"]) for outputs in sealed.values_list("outputs", flat=True)}


def oldest_active_job(node_id: int) -> datetime | None:
    """Return when the oldest of the node's active jobs was queued, None if there is none."""
    active = Job.objects.filter(node=node_id, state__in=ACTIVE).order_by("queued_at")
    return active.values_list("queued_at", flat=True).first()


def storages_used_by(node_id: int) -> list[Storage]:
    """Return the storages that jobs of the node have written to."""
    used = Job.objects.filter(node=node_id, started_at__isnull=False).values("storage")
    return list(Storage.objects.filter(pk__in=used))


def _attempts(jobs: QuerySet[Job]) -> list[RunningAttempt]:
    fields = ("pk", "epoch", "token", "process_id")
    rows = jobs.filter(token__isnull=False).values_list(*fields)
    return [RunningAttempt(*row) for row in rows]
