"""Which nodes hold keys that open a backup, by the public ones that their workers tell."""

from __future__ import annotations

from collections.abc import Collection

from backups.models import Backup, Node
from backups.queries.standing import live_workers


def can_open(node: Node, backup: Backup) -> bool:
    """Tell whether the node can read the backup's bundle, as far as anybody knows."""
    return has_key_of(node, backup.encrypted_to)


def has_key_of(node: Node, recipients: Collection[str]) -> bool:
    """Tell whether the node opens what is encrypted to these; to nobody is not encrypted.

    While none of its workers lives nobody knows, and a job would wait for one anyway.
    """
    if not recipients:
        return True
    workers = list(live_workers().filter(node=node))
    wanted = set(recipients)
    return not workers or any(wanted & set(worker.recipients) for worker in workers)
