"""Which nodes hold keys that open a backup, by the public ones that their workers tell."""

from __future__ import annotations

from backups.models import Backup, Node
from backups.queries.standing import live_workers


def can_open(node: Node, backup: Backup) -> bool:
    """Tell whether the node can read the backup's bundle, as far as anybody knows.

    While none of its workers lives nobody does, and a job would wait for one anyway.
    """
    if not backup.encrypted_to:
        return True
    workers = list(live_workers().filter(node=node))
    wanted = set(backup.encrypted_to)
    return not workers or any(wanted & set(worker.recipients) for worker in workers)
