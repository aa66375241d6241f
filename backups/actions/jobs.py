"""How jobs begin: recorded first, then given out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from backups.actions.admission import give_out_soon
from backups.actions.deadlocks import again_after_deadlock
from backups.actions.quotas import require_quota
from backups.actions.room import WRITING_STAGES, expected_bytes, require_room
from backups.actions.transitions import record
from backups.errors import (
    BackupAlreadyRunningError,
    InUseError,
    NodeDisabledError,
    StorageMissingError,
)
from backups.models import Job, Site, Stage, Storage
from backups.registry import stages_of
from backups.roles import Person
from backups.states import JobKind


def start_backup(*, site: Site, requested_by: Person | None = None, trigger: str = "manual") -> Job:
    """Record a backup of the site and have it sent; at most one is active, however many ask.

    What failed jobs of the site left for a retry is given up. Raises `BackupAlreadyRunningError`,
    `NodeDisabledError`, `StorageMissingError`, `QuotaExceededError`, `NoRoomError`, or `InUseError`
    if the site is moved to another node at this moment.
    """
    return begin_job(
        site=site,
        requested_by=requested_by,
        trigger=trigger,
        message=f"Backup of {site.name} is queued",
    )


@again_after_deadlock
def begin_job(
    *,
    site: Site,
    requested_by: Person | None,
    trigger: str,
    message: str,
    done_stages: Mapping[str, Mapping[str, Any]] | None = None,
    **values: Any,  # noqa: ANN401
) -> Job:
    """Record a backup and have it sent; see `start_backup` for what is raised.

    `done_stages` are the fields of stages that need not be run again; `values` those of the job.
    """
    # Read anew: whoever asks may have found it before it was moved to another node.
    site = Site.objects.select_related("node", "storage").get(pk=site.pk)
    if not site.node.is_enabled:
        raise NodeDisabledError(f"{site.node} is disabled; enable it to back up {site.name}.")
    storage = _storage_for(site)
    require_quota(site)
    done = done_stages or {}
    expected = _expected_bytes(site, writes=len(done) < len(WRITING_STAGES))
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
                stages_done=len(done),
                expected_bytes=expected,
                **values,
            )
            Stage.objects.bulk_create(
                Stage(job=job, name=stage.name, position=position, **done.get(stage.name, {}))
                for position, stage in enumerate(stages_of(job.kind))
            )
            # From here on the job's reference to the site keeps it from being moved.
            if not Site.objects.filter(pk=site.pk, node=site.node_id).exists():
                raise InUseError(f"{site.name} was just moved to another node; start it again.")
            record(job.pk, epoch=job.epoch, kind="queued", message=message)
            give_up_kept_work(site)
    except IntegrityError as error:
        # By what the row says: the other job may have ended since.
        if "active_site" not in str(error):
            raise
        raise BackupAlreadyRunningError(
            f"A backup of {site.name} is already running; wait for it or stop it first."
        ) from error
    give_out_soon(site.node_id)
    return Job.objects.select_related("site", "node").get(pk=job.pk)


def _expected_bytes(site: Site, *, writes: bool) -> int:
    """Return what the job will need in the spool; raises `NoRoomError` if it is not there.

    Where a failed job's work is about to be given up for this one, its room is not free yet: then
    the node looks again before it writes.
    """
    if not writes:
        return 0
    if Job.objects.filter(site=site, work_kept_until__isnull=False).exists():
        return expected_bytes(site)
    return require_room(site, site.node)


def give_up_kept_work(site: Site) -> None:
    """Have what failed jobs of the site left removed: a newer one needs the room."""
    kept = Job.objects.filter(site=site, work_kept_until__isnull=False)
    kept.update(work_kept_until=None, cleanup_pending=True)


def _storage_for(site: Site) -> Storage:
    storage = site.storage or Storage.objects.filter(is_default=True).first()
    if storage is None:
        raise StorageMissingError(
            f"{site.name} has no storage and there is no default one; add a storage first."
        )
    return storage
