"""How much a site may keep, and that no backup begins which would be more."""

from __future__ import annotations

from dataclasses import dataclass

from backups.errors import QuotaExceededError
from backups.models import Job, Node, Site
from backups.queries import quotas
from backups.queries.quotas import GIB, Quota


@dataclass(frozen=True, slots=True)
class QuotaCheck:
    """Whether the next backup of a site fits in; `reason` says why not."""

    quota: Quota
    expected_bytes: int
    reason: str | None

    @property
    def can_proceed(self) -> bool:
        """Whether it does."""
        return self.reason is None


def set_quota(*, site: Site, quota_gb: float | None) -> None:
    """Change how much the site's good backups may take together; None is any amount.

    What is kept already is never deleted for it.
    """
    Site.objects.filter(pk=site.pk).update(storage_quota_gb=quota_gb)


def check_quota(*, site: Site) -> QuotaCheck:
    """Return whether the next backup fits into the site's quota and into its node's."""
    quota, expected = quotas.site_quota(site), quotas.expected_stored_bytes(site)
    return QuotaCheck(quota, expected, _reason(site, quota, expected))


def require_quota(site: Site) -> None:
    """Raise `QuotaExceededError` if the next backup of the site would not fit in.

    That one of the site is running already is for others to say. Until the commit no other one
    begins on a node that has a quota: each by itself might fit in, and all together not.
    """
    if site.node.storage_quota_gb is not None:
        list(Node.objects.select_for_update().filter(pk=site.node_id).values_list("pk"))
    if site.storage_quota_gb is None and site.node.storage_quota_gb is None:
        return
    if Job.objects.filter(active_site=site).exists():
        return
    if (reason := check_quota(site=site).reason) is not None:
        raise QuotaExceededError(reason)


def _reason(site: Site, quota: Quota, expected: int) -> str | None:
    if not quota.has_room_for(expected):
        return (
            f"{site.name} uses {quota.used_gb:.3f} GiB of its quota of {quota.quota_gb:.10g} GiB, "
            f"and the next backup is expected to take {expected / GIB:.3f} GiB. Delete old backups "
            "or raise the quota."
        )
    if not _node_has_room(site.node, expected):
        # Without numbers: a site's own admins do not see what other sites take.
        return (
            f"The next backup of {site.name} would exceed the quota of its node {site.node}, which "
            "all its sites share. Delete old backups there or raise that quota."
        )
    return None


def _node_has_room(node: Node, expected: int) -> bool:
    """Count what runs and waits as well: many begin at once, and none of them is stored yet."""
    if node.storage_quota_gb is None:
        return True
    return quotas.node_quota(node).has_room_for(expected + quotas.stored_bytes_to_come(node))
