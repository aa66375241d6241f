"""Whether a node's spool has room for one more backup, before anything is recorded."""

from __future__ import annotations

from django.conf import settings
from django.db.models import OuterRef, Subquery

from backups import queries
from backups.errors import NoRoomError
from backups.models import Backup, BackupStatus, Job, Node, Site, Stage, Storage
from backups.states import ACTIVE, StageState

# What a site may have grown by since its last backups, of which the largest counts.
GROWTH_PERCENT = 115
LAST_BACKUPS = 3
MEBIBYTE = 1 << 20
# Once these stages are done, all but a few bytes of the bundle are on the disk, which says so.
WRITING_STAGES = ("backup_db", "backup_files")


def require_room(site: Site, node: Node) -> int:
    """Return how many bytes a backup of the site will need in the spool; 0 if nobody can know.

    Raises `NoRoomError` when they are not there: the free room as the node's workers told it last,
    less what the node's running and queued jobs will still write, less a reserve. What the site
    needs for the first time is estimated on the node, where its files are; and a node that nobody
    works on now tells nothing. That a backup of the site is running already is for others to say.
    """
    expected = expected_bytes(site)
    if not expected or node.disk_free_bytes is None:
        return expected
    if not queries.nodes_with_live_workers().filter(pk=node.pk).exists():
        return expected
    if Job.objects.filter(active_site=site).exists():
        return expected
    promised = bytes_still_to_come(node)
    reserve = settings.HOLDFAST_SPOOL_RESERVE_MB * MEBIBYTE
    if expected > node.disk_free_bytes - promised - reserve:
        raise NoRoomError(
            f"The spool of {node} has no room for a backup of {site.name}: it needs about "
            f"{_megabytes(expected)}, but of {_megabytes(node.disk_free_bytes)} free there other "
            f"backups will need {_megabytes(promised)}, and {_megabytes(reserve)} are kept free. "
            "Make room on that disk, wait for the other backups, or give the node a larger spool."
        )
    return expected


def expected_bytes(site: Site) -> int:
    """Return what the largest of the site's last good bundles leads to expect, 0 without any."""
    good = Backup.objects.filter(site=site, status=BackupStatus.SUCCESS, is_suspect=False)
    sizes = good.order_by("-created_at", "-id").values_list("size_bytes", flat=True)
    expected = max(sizes[:LAST_BACKUPS], default=0) * GROWTH_PERCENT // 100
    # An encrypted bundle lies beside the plain one until it is known to be whole.
    return expected * 2 if expected and _is_encrypted(site) else expected


def _is_encrypted(site: Site) -> bool:
    storage = site.storage or Storage.objects.filter(is_default=True).first()
    return bool(storage and storage.encryption_recipients)


def bytes_still_to_come(node: Node) -> int:
    """Return what the node's active jobs will still write, by what was expected of each.

    What they have written so far is missing from the free room already.
    """
    running = Stage.objects.filter(job=OuterRef("pk"), state=StageState.RUNNING)
    jobs = Job.objects.filter(
        node=node, state__in=ACTIVE, stages_done__lt=len(WRITING_STAGES), expected_bytes__gt=0
    ).annotate(
        stage=Subquery(running.values("name")[:1]),
        processed=Subquery(running.values("bytes_processed")[:1]),
        total=Subquery(running.values("bytes_total")[:1]),
    )
    fields = jobs.values_list("expected_bytes", "stage", "processed", "total")
    return sum(_left_of(*values) for values in fields)


def _left_of(expected: int, stage: str | None, processed: int | None, total: int | None) -> int:
    """Take the files for the whole: of a dump nobody knows beforehand what share it will have."""
    if stage != WRITING_STAGES[-1] or not total:
        return expected
    return expected * max(0, total - (processed or 0)) // total


def _megabytes(size: int) -> str:
    return f"{size / MEBIBYTE:,.1f} MB"
