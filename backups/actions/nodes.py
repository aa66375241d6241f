"""What is written about nodes: their making, and the heartbeat of their workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from backups.errors import InUseError
from backups.models import Node, Worker

FORGET_WORKERS_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HostReading:
    """What a worker tells about its host, in percent; None for what does not answer."""

    cpu_percent: float
    memory_percent: float
    disk_percent: float | None


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

    Only what is named is written: workers write their readings to the same row.
    """
    for name, value in changes.items():
        setattr(node, name, value)
    node.full_clean()
    if changes:
        node.save(update_fields=list(changes))
    return node


def delete_node(*, node: Node) -> None:
    """Remove a node; raises `InUseError` while it has sites or jobs."""
    with transaction.atomic():
        locked = Node.objects.select_for_update().get(pk=node.pk)
        if locked.sites.exists() or locked.jobs.exists():
            raise InUseError(f"{locked} has sites or jobs; move or remove its sites first.")
        locked.delete()


def record_heartbeat(
    *,
    node_id: int,
    worker: str,
    hostname: str,
    process_id: int,
    concurrency: int,
    reading: HostReading,
    versions: Mapping[str, str],
) -> None:
    """Note that a worker lives, and how its host is, by the database's clock."""
    seen = {
        "node_id": node_id,
        "hostname": hostname,
        "process_id": process_id,
        "concurrency": concurrency,
        "versions": dict(versions),
        "last_seen_at": Now(),
    }
    with transaction.atomic():
        Worker.objects.update_or_create(
            name=worker, defaults=seen, create_defaults={**seen, "started_at": Now()}
        )
        Node.objects.filter(pk=node_id).update(
            last_seen_at=Now(),
            hostname=hostname,
            cpu_percent=reading.cpu_percent,
            memory_percent=reading.memory_percent,
            disk_percent=reading.disk_percent,
        )


def forget_worker(*, worker: str) -> None:
    """Remove a worker that ended in good order."""
    Worker.objects.filter(name=worker).delete()


def forget_silent_workers() -> int:
    """Remove workers that were killed and never signed off, a day later; return how many."""
    silent = Worker.objects.filter(last_seen_at__lt=Now() - FORGET_WORKERS_AFTER)
    return silent.delete()[0]
