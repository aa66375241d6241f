"""Where bundles are, and what they take."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from backups.models import Backup, BackupStatus, Node, Storage
from backups.queries.standing import nodes_with_live_workers
from backups.queries.visibility import backups_visible_to
from backups.registry import NODE_BOUND_STORES
from backups.roles import Person


def node_of_backup(backup: Backup) -> Node:
    """Return the node that made the backup: without its job, the one that its key names."""
    if backup.job:
        return backup.job.node
    node: Node = backup.site.node
    maker = backup.object_key.partition("/")[0]
    if maker == str(node.uuid):
        return node
    try:
        return Node.objects.filter(uuid=UUID(maker)).first() or node
    except ValueError:
        return node


def node_that_reaches(backup: Backup) -> Node:
    """Return a node that can reach the backup's object: its own, else any that works now."""
    own = node_of_backup(backup)
    alive = nodes_with_live_workers()
    if backup.storage.type in NODE_BOUND_STORES or alive.filter(pk=own.pk).exists():
        return own
    return alive.first() or own


def storage_usage(user: Person) -> list[dict[str, Any]]:
    """Return `id name type backup_count used_bytes` of good visible backups, by storage."""
    return usage_by_storage(backups_visible_to(user))


def usage_by_storage(backups: QuerySet[Backup]) -> list[dict[str, Any]]:
    """Return `id name type backup_count used_bytes` of those of the backups that are good."""
    good = backups.filter(status=BackupStatus.SUCCESS).order_by()
    # Names apart: grouping by a column of another table takes a temporary one.
    sums = good.values("storage").annotate(number=Count("pk"), size=Sum("size_bytes"))
    by_storage = {row["storage"]: row for row in sums}
    return [
        {
            "id": storage.pk,
            "name": storage.name,
            "type": storage.type,
            "backup_count": by_storage[storage.pk]["number"],
            "used_bytes": by_storage[storage.pk]["size"],
        }
        for storage in Storage.objects.filter(pk__in=by_storage).only("name", "type")
    ]
