"""How jobs begin: recorded first, then given out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from backups.actions.admission import give_out_soon
from backups.actions.backups import hold_backup
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
from backups.models import Backup, Job, Node, Site, Stage, Storage
from backups.registry import stages_of
from backups.roles import Person
from backups.states import JobKind

# The trigger of what the coordinator starts, and gives out itself right after: a thread with a
# connection of its own for each of thousands would only get in its way.
SCHEDULE = "schedule"


def start_backup(*, site: Site, requested_by: Person | None = None, trigger: str = "manual") -> Job:
    """Record a backup of the site and have it sent; at most one is active, however many ask.

    What failed jobs of the site left for a retry is given up. Raises `BackupAlreadyRunningError`,
    `NodeDisabledError`, `StorageMissingError`, `QuotaExceededError`, `NoRoomError`, or `InUseError`
    if the site is moved to another node at this moment.
    """
    return begin_backup(
        site=site,
        requested_by=requested_by,
        trigger=trigger,
        message=f"Backup of {site.name} is queued",
    )


@again_after_deadlock
def begin_backup(
    *,
    site: Site,
    requested_by: Person | None,
    trigger: str,
    message: str,
    done_stages: Mapping[str, Mapping[str, Any]] | None = None,
    **values: Any,  # noqa: ANN401
) -> Job:
    """Record a backup, after a look at quota and room; see `start_backup` for what is raised.

    `done_stages` are the fields of stages that need not be run again; `values` those of the job.
    """
    done = done_stages or {}
    with transaction.atomic():
        site = read_anew(site)
        storage = _storage_for(site)
        require_quota(site)
        expected = _expected_bytes(site, writes=len(done) < len(WRITING_STAGES))
        return begin_job(
            kind=JobKind.BACKUP,
            site=site,
            storage=storage,
            requested_by=requested_by,
            trigger=trigger,
            message=message,
            done_stages=done,
            expected_bytes=expected,
            **values,
        )


def read_anew(site: Site) -> Site:
    """Return the site as it is now: whoever asks may have found it before it was moved.

    Raises `NodeDisabledError` for one whose node takes no work.
    """
    site = Site.objects.select_related("node", "storage").get(pk=site.pk)
    if not site.node.is_enabled:
        raise NodeDisabledError(f"{site.node} is disabled; enable it to work on {site.name}.")
    return site


@again_after_deadlock
def begin_job(
    *,
    kind: JobKind,
    site: Site,
    storage: Storage,
    requested_by: Person | None,
    trigger: str,
    message: str,
    done_stages: Mapping[str, Mapping[str, Any]] | None = None,
    holds_site: bool = True,
    source: Backup | None = None,
    node: Node | None = None,
    **values: Any,  # noqa: ANN401
) -> Job:
    """Record a job of the kind for a site that was just read, and have it sent.

    To its node, unless another `node` is to do it. Unless it `holds_site`, others may work on the
    site at the same time. Raises `BackupAlreadyRunningError` where another one holds it,
    `InUseError`, and `BackupGoingError` for a `source` that is being removed.
    """
    done, doer = done_stages or {}, node or site.node
    try:
        with transaction.atomic():
            if source is not None:
                hold_backup(source.pk)
            job = Job.objects.create(
                kind=kind,
                site=site,
                active_site=site if holds_site else None,
                node=doer,
                storage=storage,
                source=source,
                requested_by_id=requested_by.pk if requested_by else None,
                trigger=trigger,
                queued_at=Now(),
                stages_done=len(done),
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
            if kind == JobKind.BACKUP:
                give_up_kept_work(site)
    except IntegrityError as error:
        # By what the row says: the other job may have ended since.
        if "active_site" not in str(error):
            raise
        raise BackupAlreadyRunningError(_who_holds(site)) from error
    if trigger != SCHEDULE:
        give_out_soon(doer.pk)
    return Job.objects.select_related("site", "node").get(pk=job.pk)


def _who_holds(site: Site) -> str:
    holder = Job.objects.filter(active_site=site).values_list("kind", flat=True).first()
    kind = holder or JobKind.BACKUP
    return f"A {kind} of {site.name} is already running; wait for it or stop it first."


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


def storage_of(site: Site) -> Storage | None:
    """Return where the site's next bundle goes, None where nobody has said."""
    return site.storage or Storage.objects.filter(is_default=True).first()


def _storage_for(site: Site) -> Storage:
    storage = storage_of(site)
    if storage is None:
        raise StorageMissingError(
            f"{site.name} has no storage and there is no default one; add a storage first."
        )
    return storage
