"""What is written about nodes: their making, and the heartbeat of their workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, Q
from django.db.models.functions import Now

from backups import queries
from backups.actions.admission import give_out_soon
from backups.actions.replanning import FIELDS_OF_NODE, replan
from backups.errors import InUseError, NodeHeldError
from backups.models import Node, Worker

FORGET_WORKERS_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HostReading:
    """What a worker tells about its host; None for what does not answer.

    The disk is the spool's; the load is the number of processes that wanted to run, on average
    over the last minute.
    """

    cpu_percent: float
    memory_percent: float
    disk_percent: float | None
    disk_free_bytes: int | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to do now. `slots` is its share of the node's stages at once."""

    slots: int
    is_enabled: bool
    is_draining: bool
    held_by: str


def add_node(*, name: str, allowed_roots: Sequence[str], slots: int = 2) -> Node:
    """Create a node; raises Django's `ValidationError` for an unusable name or root."""
    node = Node(name=name, allowed_roots=list(allowed_roots), slots=slots)
    node.full_clean()
    node.save()
    return node


def set_allowed_roots(*, node: Node, allowed_roots: Sequence[str]) -> Node:
    """Change what the node may read; raises Django's `ValidationError` for an unusable root."""
    node.allowed_roots = list(allowed_roots)
    node.full_clean()
    node.save(update_fields=["allowed_roots"])
    return node


def change_node(*, node: Node, **changes: Any) -> Node:  # noqa: ANN401
    """Change a node's settings; raises Django's `ValidationError` for a value that cannot be.

    Only what is named is written: workers write their readings to the same row. The next runs of
    its sites follow its time zone, its blackouts and its window.
    """
    for name, value in changes.items():
        setattr(node, name, value)
    node.full_clean()
    if changes:
        node.save(update_fields=list(changes))
    if changes.keys() & FIELDS_OF_NODE:
        replan(node.sites.all())
    return node


def scale_node(*, node: Node, slots: int) -> Node:
    """Change how many stages the node runs at once; its workers grow or shrink to it.

    Nothing that runs is ended. Raises Django's `ValidationError` for an unusable number.
    """
    return change_node(node=node, slots=slots)


def drain_node(*, node: Node) -> Node:
    """Let what runs on the node end, and nothing new begin."""
    return change_node(node=node, is_draining=True)


def resume_node(*, node: Node) -> Node:
    """Let the node take stages again."""
    changed = change_node(node=node, is_draining=False)
    give_out_soon(node.pk)
    return changed


def delete_node(*, node: Node) -> None:
    """Remove a node; raises `InUseError` while it has sites or jobs."""
    with transaction.atomic():
        locked = Node.objects.select_for_update().get(pk=node.pk)
        if locked.sites.exists() or locked.jobs.exists():
            raise InUseError(f"{locked} has sites or jobs; move or remove its sites first.")
        locked.delete()


def claim_node(*, node_id: int, identity: str) -> None:
    """Let the host with this identity work as the node.

    Raises `NodeHeldError` while a live worker of another host does. Once that one has been
    silent for long enough, the host that asks has replaced it.
    """
    others = queries.live_workers().filter(node=node_id).exclude(identity=identity)
    free = Q(held_by__in=("", identity)) | ~Exists(others)
    if Node.objects.filter(free, pk=node_id).update(held_by=identity):
        return
    holder = others.order_by("-last_seen_at").first()
    node = Node.objects.get(pk=node_id)
    who = f"the host {holder.hostname} (worker {holder.name})" if holder else "another host"
    raise NodeHeldError(
        f"Node {node.name} is worked by {who}. One host is one node: stop the worker there, or add "
        f"this host as a node of its own with: manage.py node add NAME --root FOLDER"
    )


def record_heartbeat(
    *,
    node_id: int,
    worker: str,
    hostname: str,
    process_id: int,
    concurrency: int,
    reading: HostReading,
    versions: Mapping[str, str],
    identity: str = "",
) -> bool:
    """Note that a worker lives, and how its host is, by the database's clock.

    False if another host holds the node by now: nothing was noted, the worker must end.
    """
    seen = {
        "node_id": node_id,
        "hostname": hostname,
        "process_id": process_id,
        "concurrency": concurrency,
        "versions": dict(versions),
        "identity": identity,
        "last_seen_at": Now(),
    }
    with transaction.atomic():
        held = Node.objects.filter(pk=node_id, held_by=identity).update(
            last_seen_at=Now(),
            hostname=hostname,
            cpu_percent=reading.cpu_percent,
            memory_percent=reading.memory_percent,
            disk_percent=reading.disk_percent,
            disk_free_bytes=reading.disk_free_bytes,
            load_average=reading.load_average,
        )
        if held:
            Worker.objects.update_or_create(
                name=worker, defaults=seen, create_defaults={**seen, "started_at": Now()}
            )
    return held == 1


def orders_of(*, node_id: int, worker: str) -> Orders:
    """Return what a worker is to do now; the node's workers share its slots evenly."""
    node = Node.objects.get(pk=node_id)
    names = set(queries.live_workers().filter(node=node_id).values_list("name", flat=True))
    ordered = sorted(names | {worker})
    whole, rest = divmod(node.slots, len(ordered))
    share = whole + (ordered.index(worker) < rest)
    return Orders(share, node.is_enabled, node.is_draining, node.held_by)


def leave(*, worker: str) -> None:
    """Note that a worker ends what it runs and takes nothing new."""
    Worker.objects.filter(name=worker).update(is_leaving=True)


def forget_worker(*, worker: str) -> None:
    """Remove a worker that ended in good order, or is known to be dead."""
    Worker.objects.filter(name=worker).delete()


def forget_silent_workers() -> int:
    """Remove workers that were killed and never signed off, a day later; return how many."""
    silent = Worker.objects.filter(last_seen_at__lt=Now() - FORGET_WORKERS_AFTER)
    return silent.delete()[0]
