"""Which backups are to be proven next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from backups.models import Backup, BackupStatus, Job, Node, Site
from backups.queries.keys import can_open
from backups.queries.standing import nodes_with_live_workers
from backups.queries.stored import node_of_backup
from backups.registry import NODE_BOUND_STORES
from backups.states import ACTIVE, JobKind

# After a proof that did not come to an end: a server that is away is no reason to ask all night.
PAUSE = timedelta(hours=20)
# Of the sites of a node that are due, to find one that is not encrypted to others.
MOST_LOOKED_AT = 50


def backups_to_prove(*, every: bool) -> list[Backup]:
    """Return one backup for each node that has nothing better to do, the longest unproven first.

    Of `every` site the newest good backup unless it is proven; else of those sites whose last
    proof is HOLDFAST_PROOF_DAYS old.
    """
    found = []
    for node in _idle_nodes():
        newest = _due_sites(node, every=every).values_list("newest", flat=True)
        backup = _first_readable(node, list(newest[:MOST_LOOKED_AT]))
        if backup is not None:
            found.append(backup)
    return found


def _first_readable(node: Node, keys: Sequence[int]) -> Backup | None:
    """Return the first backup that the node can read: no other waits for one that it cannot.

    It may lack the key, or the bundle may lie in the folder of the node that the site was on.
    """
    for key in keys:
        related = Backup.objects.select_related("storage", "site__node", "job__node")
        backup = related.get(pk=key)
        is_elsewhere = backup.storage.type in NODE_BOUND_STORES and node_of_backup(backup) != node
        if not is_elsewhere and can_open(node, backup):
            return backup
    return None


def _idle_nodes() -> QuerySet[Node]:
    """Return the nodes with a worker and without any work: a proof gives way to everything."""
    busy = Job.objects.filter(node=OuterRef("pk"), state__in=ACTIVE)
    return nodes_with_live_workers().filter(~Exists(busy), is_draining=False)


def _due_sites(node: Node, *, every: bool) -> QuerySet[Any]:
    # What is not as recorded, or is going, says nothing that is not known already.
    newest = Backup.objects.filter(
        site=OuterRef("pk"),
        status=BackupStatus.SUCCESS,
        is_suspect=False,
        check_problem="",
        removing_since__isnull=True,
    ).order_by("-created_at", "-id")
    tried = Job.objects.filter(
        site=OuterRef("pk"), kind=JobKind.VERIFY, queued_at__gt=Now() - PAUSE
    )
    sites: QuerySet[Any] = Site.objects.filter(~Exists(tried), node=node).annotate(
        newest=Subquery(newest.values("pk")[:1]),
        newest_proven=Subquery(newest.values("verified_at")[:1]),
    )
    age = timedelta(days=settings.HOLDFAST_PROOF_DAYS)
    old = Q(proven_at__isnull=True) | Q(proven_at__lt=Now() - age)
    due = Q(newest_proven__isnull=True) if every else old
    wanted = sites.filter(due, newest__isnull=False).only("pk")
    return wanted.order_by(F("proven_at").asc(nulls_first=True), "pk")
