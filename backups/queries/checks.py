"""Which stored bundles are to be looked at next, and by which node."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from backups.models import Backup, BackupStatus, Errand, ErrandKind, Node
from backups.queries.standing import nodes_with_live_workers
from backups.queries.stored import node_of_backup
from backups.registry import NODE_BOUND_STORES

EVERY = timedelta(days=1)
# A disk that was not mounted is back soon.
EVERY_WITH_PROBLEM = timedelta(hours=1)
REST = "rest:"
# Among so many of the newest ones in a storage, one of the same node is looked for.
MOST_WITNESSES = 50


def stored_backups() -> QuerySet[Backup]:
    """Return the backups whose objects have to be there."""
    good = Backup.objects.filter(status=BackupStatus.SUCCESS, removing_since__isnull=True)
    return good.exclude(object_key="")


def nodes_free_to_check() -> QuerySet[Node]:
    """Return the live nodes that are asked nothing now and may have something to look at."""
    own = Errand.objects.filter(node=OuterRef("pk"), kind=ErrandKind.CHECK)
    resting = own.filter(key__startswith=REST, not_before__gt=Now())
    busy = own.filter(task_id__isnull=False)
    return nodes_with_live_workers().filter(~Exists(resting), ~Exists(busy)).order_by("pk")


def backups_to_check(node: Node, limit: int) -> list[Backup]:
    """Return backups in one storage that the node is to look at, those first that wait longest.

    Its own, else those in a bucket whose own node is away.
    """
    due = Q(checked_at__isnull=True) | Q(checked_at__lt=Now() - EVERY)
    again = ~Q(check_problem="") & Q(checked_at__lt=Now() - EVERY_WITH_PROBLEM)
    waiting = stored_backups().filter(due | again).exclude(storage__in=_paused(node))
    waiting = waiting.order_by(F("checked_at").asc(nulls_first=True), "pk")
    own = Q(job__node=node) | Q(job__isnull=True) & _made_by(node)
    live = nodes_with_live_workers().values("pk")
    stray = ~Q(storage__type__in=NODE_BOUND_STORES) & ~Q(job__node__in=live)
    for whose in (own, stray):
        first = waiting.filter(whose).first()
        if first is not None:
            together = waiting.filter(whose, storage=first.storage_id)
            return list(together.prefetch_related("job__stages")[:limit])
    return []


def _made_by(node: Node) -> Q:
    """Return what holds of backups whose job is forgotten and that the node has made.

    Their keys name it, as `node_of_backup` reads them: a site may have been on another node then.
    Where the key names nobody who is there, it is the site's node.
    """
    made_here = Q(object_key__startswith=f"{node.uuid}/")
    if not Backup.objects.filter(~made_here, job__isnull=True, site__node=node).exists():
        return made_here
    others = Node.objects.exclude(pk=node.pk).values_list("uuid", flat=True)
    of_others = [Q(object_key__startswith=f"{uuid}/") for uuid in others]
    return made_here | Q(site__node=node) & ~reduce(or_, of_others, Q(pk__in=[]))


def witness_for(backup: Backup) -> Backup | None:
    """Return another backup that is known to lie where this one does; None if there is none."""
    others = stored_backups().filter(storage=backup.storage_id, check_problem="")
    related = others.exclude(pk=backup.pk).select_related("storage", "job__node", "site__node")
    near = related.defer("facts", "site__db_password", "storage__secrets")[:MOST_WITNESSES]
    node = node_of_backup(backup)
    is_bound = backup.storage.type in NODE_BOUND_STORES
    return next((one for one in near if not is_bound or node_of_backup(one) == node), None)


def check_key(node: Node, storage_id: int) -> str:
    """Return the key of the errand that looks at a storage's bundles from a node."""
    return f"{ErrandKind.CHECK}:{node.pk}:{storage_id}"


def _paused(node: Node) -> Collection[int]:
    paused = Errand.objects.filter(
        node=node, kind=ErrandKind.CHECK, key__startswith=ErrandKind.CHECK, not_before__gt=Now()
    )
    return [int(key.rpartition(":")[2]) for key in paused.values_list("key", flat=True)]


def recorded(backup: Backup) -> dict[str, Any]:
    """Return a stored bundle as it was recorded, for a node to compare."""
    return {
        "id": backup.pk,
        "storage_id": backup.storage_id,
        "key": backup.object_key,
        "size": backup.size_bytes,
        "sha256": backup.sha256,
    }
