"""How much sites and nodes may keep, and how much they do."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import OuterRef, QuerySet, Subquery, Sum

from backups.models import Backup, BackupStatus, Job, Node, Site
from backups.states import ACTIVE, JobKind

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Quota:
    """What may be kept in GiB, None for any amount, and the bytes that good backups take."""

    quota_gb: float | None
    used_bytes: int

    @property
    def used_gb(self) -> float:
        """What is taken, in GiB."""
        return round(self.used_bytes / GIB, 3)

    @property
    def remaining_gb(self) -> float | None:
        """What is left, in GiB; 0 if more than allowed is taken, None without a quota."""
        if self.quota_gb is None:
            return None
        return round(max(0.0, self.quota_gb - self.used_bytes / GIB), 3)

    @property
    def percent_used(self) -> float | None:
        """What is taken of what is allowed, over 100 if that was lowered since."""
        if self.quota_gb is None:
            return None
        return round(self.used_bytes * 100 / (self.quota_gb * GIB), 1) if self.quota_gb else 100.0

    def has_room_for(self, size: int) -> bool:
        """Return whether one more bundle fits in; where nobody knows its size, any room will do."""
        return self.quota_gb is None or self.used_bytes + max(size, 1) <= self.quota_gb * GIB


def site_quota(site: Site) -> Quota:
    """Return the site's quota and use."""
    return Quota(site.storage_quota_gb, _sum(_good().filter(site=site)))


def node_quota(node: Node) -> Quota:
    """Return the quota and use of all sites of the node together."""
    return Quota(node.storage_quota_gb, _sum(_good().filter(site__node=node)))


def expected_stored_bytes(site: Site) -> int:
    """Return the size of the site's newest good bundle, 0 without any."""
    return _newest_sizes(site.pk).first() or 0


def stored_bytes_to_come(node: Node) -> int:
    """Return what the active backups of the node's sites are expected to take."""
    active = Job.objects.filter(site__node=node, state__in=ACTIVE, kind=JobKind.BACKUP)
    sizes = active.annotate(size=Subquery(_newest_sizes(OuterRef("site"))[:1]))
    return sum(size or 0 for size in sizes.values_list("size", flat=True))


def _newest_sizes(site: int | OuterRef) -> QuerySet[Backup, int]:
    newest = _good().filter(site=site, is_suspect=False).order_by("-created_at", "-id")
    return newest.values_list("size_bytes", flat=True)


def _good() -> QuerySet[Backup]:
    return Backup.objects.filter(status=BackupStatus.SUCCESS)


def _sum(backups: QuerySet[Backup]) -> int:
    return int(backups.aggregate(sum=Sum("size_bytes"))["sum"] or 0)
