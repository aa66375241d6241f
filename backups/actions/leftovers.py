"""What jobs that ended left on their node, and what its agent found and removed of it."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from backups.actions.deadlocks import again_after_deadlock
from backups.actions.transitions import record
from backups.models import BackupStatus, EventLevel, Job, Stage
from backups.states import ACTIVE, TERMINAL, StageState


@dataclass(frozen=True, slots=True)
class Leftover:
    """What to look for of one job. Empty names are nothing to look for.

    Processes of epochs below `epoch` are to end; `folder_name` is below the spool; `upload` is
    the checkpoint of an unfinished upload to `object_key`, an object that no backup refers to.
    """

    job_id: uuid.UUID
    epoch: int
    folder_name: str
    storage_id: int
    object_key: str
    upload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What was removed; sums over several rounds."""

    folders_removed: int = 0
    bytes_freed: int = 0
    processes_killed: int = 0
    uploads_aborted: int = 0
    objects_deleted: int = 0

    def plus(self, other: CleanupReport) -> CleanupReport:
        """Return both together."""
        mine, theirs = asdict(self), asdict(other)
        return CleanupReport(**{name: mine[name] + theirs[name] for name in mine})


def leftovers_of(node_id: int) -> list[Leftover]:
    """Return what the node's agent is to remove now."""
    jobs = Job.objects.filter(node=node_id, cleanup_pending=True, state__in=TERMINAL)
    wanted = wanted_folders(node_id)
    return [_leftover(job, wanted) for job in jobs.prefetch_related("stages")]


def leftover_of(job_id: uuid.UUID) -> Leftover:
    """Return what there may be of one job, whether it has ended or not."""
    return _leftover(Job.objects.prefetch_related("stages").get(pk=job_id), set())


def wanted_folders(node_id: int) -> set[str]:
    """Return the folders of the node's spool that active jobs use or that wait for a retry."""
    wanted = Q(state__in=ACTIVE) | Q(work_kept_until__gt=Now())
    return {job.folder_name for job in Job.objects.filter(wanted, node=node_id)}


@again_after_deadlock
def record_cleanup(leftover: Leftover, report: CleanupReport, *, done: bool = True) -> None:
    """Note what was removed of a job; unless `done`, there is more to remove later."""
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=leftover.job_id)
        total = CleanupReport(**job.cleanup_report).plus(report)
        # A folder that was kept when the agent looked may have been given up since.
        still_pending = not done or (job.work_kept_until is None and not leftover.folder_name
                                     and _has_folder_of_its_own(job))  # fmt: skip
        Job.objects.filter(pk=job.pk).update(
            cleanup_report=asdict(total), cleanup_pending=still_pending
        )
        if report != CleanupReport():
            record(
                job.pk,
                epoch=job.epoch,
                kind="cleaned",
                message=f"Removed what was left: {_words(report)}",
            )


def note_switched(job_id: uuid.UUID) -> None:
    """Write into a restore's log that the site is as it asked for, however the job itself ended."""
    job = Job.objects.only("pk", "epoch").get(pk=job_id)
    record(
        job_id,
        epoch=job.epoch,
        kind="switched",
        message="The exchange had begun and was completed: the site is as this restore asked for",
        level=EventLevel.WARNING,
    )


def _has_folder_of_its_own(job: Job) -> bool:
    return job.folder_name not in wanted_folders(job.node_id)


def _leftover(job: Job, wanted: set[str]) -> Leftover:
    stages = {stage.name: stage for stage in job.stages.all()}
    key, upload = _stored(job, stages)
    return Leftover(
        job_id=job.pk,
        epoch=job.epoch,
        folder_name="" if job.folder_name in wanted else job.folder_name,
        storage_id=job.storage_id,
        object_key=key,
        upload=upload,
    )


def _stored(job: Job, stages: dict[str, Stage]) -> tuple[str, dict[str, Any]]:
    """Return the key that was reserved for the job's bundle alone, and its unfinished upload."""
    sealed, upload = stages.get("create_bundle"), stages.get("upload_remote")
    is_counted = hasattr(job, "backup") and job.backup.status == BackupStatus.SUCCESS
    if sealed is None or sealed.state != StageState.COMPLETED or is_counted:
        return "", {}
    checkpoint = upload.checkpoint.get("upload", {}) if upload else {}
    return str(sealed.outputs["key"]), dict(checkpoint)


def _words(report: CleanupReport) -> str:
    return ", ".join(
        f"{number} {name.replace('_', ' ')}" for name, number in asdict(report).items() if number
    )
