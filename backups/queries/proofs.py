"""Which backups are to be proven next, and where; which sites' last proof failed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from backups.models import Backup, BackupStatus, Job, Node, Proof, ProofOutcome, Site
from backups.queries.provers import (
    Told,
    can_prove,
    denied_proofs,
    has_server,
    idle_nodes,
    proving_nodes,
    what_nodes_tell,
)
from backups.registry import NODE_BOUND_STORES
from backups.states import JobKind

# After a proof that did not come to an end: a server that is away is no reason to ask all night.
PAUSE = timedelta(hours=20)
# Of the sites that are due, to find one that the node can prove.
MOST_LOOKED_AT = 50
ENCRYPTED_SUFFIX = ".age"

Due = list[tuple[Node, Backup]]


def proofs_due(*, every: bool) -> Due:
    """Return one backup for each node that has nothing better to do, the longest unproven first.

    Of `every` site the newest good backup unless it is proven; else of those sites whose last
    proof is HOLDFAST_PROOF_DAYS old. A node's own sites come first; one without any that is due
    takes those whose own node cannot, or whose database it has a scratch server for.
    """
    idle = list(idle_nodes())
    if not idle:
        return []
    told = what_nodes_tell()
    due = _due_sites(every=every)
    found: Due = []
    free = []
    for node in idle:
        denied = denied_proofs().filter(site=OuterRef("pk"), node=node)
        keys = due.filter(~Exists(denied), node=node).values_list("newest", flat=True)
        # One that it cannot prove holds no other up.
        able = (one for one in _backups(keys) if can_prove(node, one, told))
        if (backup := next(able, None)) is not None:
            found.append((node, backup))
        else:
            free.append(node)
    if free:
        taken = [backup.site_id for _node, backup in found]
        found += _of_others(free, due.exclude(pk__in=taken), told)
    return found


def failed_proofs(site_ids: Collection[int]) -> dict[int, datetime]:
    """Return of those of the sites whose newest proof failed when that was."""
    later = Proof.objects.filter(site=OuterRef("site"), created_at__gt=OuterRef("created_at"))
    failed = Proof.objects.filter(~Exists(later), site__in=site_ids, outcome=ProofOutcome.FAILED)
    return dict(failed.order_by("created_at").values_list("site", "created_at"))


def _of_others(free: list[Node], due: QuerySet[Any], told: Told) -> Due:
    """Return what these nodes prove for others: one look at all due sites, however many nodes."""
    proving = {node.pk for node in proving_nodes()}
    keys = _hard_for_their_own(free, due, told, proving).values_list("newest", flat=True)
    backups = _backups(keys)
    sites = [backup.site_id for backup in backups]
    denied = set(denied_proofs().filter(site__in=sites).values_list("site", "node"))
    found: Due = []
    for backup in backups:
        own = backup.site.node
        is_left_alone = own.pk in proving and can_prove(own, backup, told)
        able = (
            node
            for node in free
            if node != own
            and (backup.site_id, node.pk) not in denied
            and (not is_left_alone or has_server(node, backup, told))
            and can_prove(node, backup, told)
        )
        if (node := next(able, None)) is not None:
            found.append((node, backup))
            free.remove(node)
    return found


def _hard_for_their_own(
    free: list[Node], due: QuerySet[Any], told: Told, proving: Collection[int]
) -> QuerySet[Any]:
    """Return the due sites among which there may be one that these nodes take."""
    newest = _newest_good()
    sites: QuerySet[Any] = due.annotate(
        newest_key=Subquery(newest.values("object_key")[:1]),
        newest_storage=Subquery(newest.values("storage__type")[:1]),
        newest_maker=Subquery(newest.values("job__node")[:1]),
    )
    in_folder = Q(newest_storage__in=NODE_BOUND_STORES)
    # Of a site that was moved to another node since.
    moved = in_folder & Q(newest_maker__isnull=False) & ~Q(newest_maker=F("node"))
    if any(node.pk in told and told[node.pk].engines for node in free):
        return sites.filter(~in_folder | moved)
    # Its own node is away, or may lack the key.
    is_hard = ~Q(node__in=proving) | Q(newest_key__endswith=ENCRYPTED_SUFFIX)
    return sites.filter((~in_folder & is_hard) | moved)


def _backups(keys: QuerySet[Any, Any]) -> list[Backup]:
    """Return the first of these backups, in their order."""
    wanted = list(keys[:MOST_LOOKED_AT])
    related = Backup.objects.select_related("storage", "site__node", "job__node")
    found = related.in_bulk(wanted)
    return [found[key] for key in wanted if key in found]


def _newest_good() -> QuerySet[Backup]:
    # What is not as recorded, or is going, says nothing that is not known already.
    return Backup.objects.filter(
        site=OuterRef("pk"),
        status=BackupStatus.SUCCESS,
        is_suspect=False,
        check_problem="",
        removing_since__isnull=True,
    ).order_by("-created_at", "-id")


def _due_sites(*, every: bool) -> QuerySet[Any]:
    newest = _newest_good()
    tried = Job.objects.filter(
        site=OuterRef("pk"), kind=JobKind.VERIFY, queued_at__gt=Now() - PAUSE
    )
    sites: QuerySet[Any] = Site.objects.filter(~Exists(tried)).annotate(
        newest=Subquery(newest.values("pk")[:1]),
        newest_proven=Subquery(newest.values("verified_at")[:1]),
    )
    age = timedelta(days=settings.HOLDFAST_PROOF_DAYS)
    old = Q(proven_at__isnull=True) | Q(proven_at__lt=Now() - age)
    due = Q(newest_proven__isnull=True) if every else old
    wanted = sites.filter(due, newest__isnull=False).only("pk")
    return wanted.order_by(F("proven_at").asc(nulls_first=True), "pk")
