"""Which nodes can prove a backup: reach its bundle, open it, and load what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from backups.models import Backup, Job, Node
from backups.queries.standing import live_workers, nodes_with_live_workers
from backups.queries.stored import node_of_backup
from backups.registry import FILE_ENGINES, NODE_BOUND_STORES
from backups.states import ACTIVE, JobKind

# What WordPress uses unless somebody saw to it.
USUAL_ENGINE = "mysql"
# A right that is missing is missing tomorrow as well, until somebody grants it.
DENIED_CODE = "privileges_missing"
DENIED_PAUSE = timedelta(days=7)


class Host(NamedTuple):
    """The engines that a node has scratch servers for, and the keys that it opens bundles with."""

    engines: set[str]
    recipients: set[str]


# By nodes' ids; those without a live worker are not in it.
Told = Mapping[int, Host]


def engine_of(backup: Backup) -> str:
    """Return the engine whose server a trial of the backup needs; empty for none."""
    site_engine = backup.site.db_engine or USUAL_ENGINE
    # Older backups do not say it, and whoever can load the usual kind can do without as well.
    engine = str(backup.facts.get("database_engine", site_engine))
    return "" if engine == "none" or engine in FILE_ENGINES else engine


def what_nodes_tell() -> Told:
    """Return what the live workers of all nodes tell of their hosts, in one query."""
    told: dict[int, Host] = {}
    for worker in live_workers():
        host = told.setdefault(worker.node_id, Host(set(), set()))
        host.engines.update(worker.scratch_engines)
        host.recipients.update(worker.recipients)
    return told


def can_reach(node: Node, backup: Backup) -> bool:
    """Tell whether the node can read the storage that the backup's bundle is in."""
    return backup.storage.type not in NODE_BOUND_STORES or node_of_backup(backup).pk == node.pk


def has_server(node: Node, backup: Backup, told: Told) -> bool:
    """Tell whether the node has a scratch server for the backup's database."""
    return node.pk in told and engine_of(backup) in told[node.pk].engines


def can_prove(node: Node, backup: Backup, told: Told) -> bool:
    """Tell whether the node can restore the backup for trial, as far as anybody knows.

    The site's own node has the site's own server; every other one needs one of its own.
    """
    # See `can_open`, which asks for one node what is known of all of them here.
    is_open = not backup.encrypted_to or node.pk not in told
    if not (is_open or told[node.pk].recipients.intersection(backup.encrypted_to)):
        return False
    is_own = node.pk == backup.site.node_id
    loads = is_own or not engine_of(backup) or has_server(node, backup, told)
    return loads and can_reach(node, backup)


def proving_nodes() -> QuerySet[Node]:
    """Return the nodes that take proofs now."""
    return nodes_with_live_workers().filter(is_draining=False)


def idle_nodes() -> QuerySet[Node]:
    """Return those of them without any work: a proof gives way to everything."""
    busy = Job.objects.filter(node=OuterRef("pk"), state__in=ACTIVE)
    return proving_nodes().filter(~Exists(busy))


def prover_of(backup: Backup) -> Node | None:
    """Return the node that is to prove the backup, None if there is none.

    The site's own, unless nobody works there, it cannot, or its server refused the last trial;
    then the first that can, those without work before others. A site's own node that is only away
    is waited for where no other one can.
    """
    own, told = backup.site.node, what_nodes_tell()
    able = own.is_enabled and can_prove(own, backup, told)
    there = list(proving_nodes())
    denied = denied_proofs().filter(site=backup.site_id, node=own)
    if able and own in there and not denied.exists():
        return own
    idle = set(idle_nodes())
    others = sorted((node for node in there if node != own), key=lambda node: node not in idle)
    found = (node for node in others if can_prove(node, backup, told))
    return next(found, own if able else None)


def denied_proofs() -> QuerySet[Job]:
    """Return the proofs that failed for want of a right, not long ago: on another node they may."""
    return Job.objects.filter(
        kind=JobKind.VERIFY, error_code=DENIED_CODE, queued_at__gt=Now() - DENIED_PAUSE
    )
