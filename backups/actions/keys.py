"""Whether a node may be asked to read an encrypted backup."""

from __future__ import annotations

from backups import queries
from backups.errors import RestoreRefusedError
from backups.models import Backup, Node


def require_keys(node: Node, backup: Backup) -> None:
    """Raise `RestoreRefusedError` for a backup that is encrypted to others than the node's keys."""
    if not queries.can_open(node, backup):
        raise no_keys(node)


def no_keys(node: Node) -> RestoreRefusedError:
    """Return what says that the node cannot open a backup."""
    return RestoreRefusedError(
        f"This backup is encrypted, and {node} has none of the keys that open it. Set "
        "HOLDFAST_AGE_IDENTITY_FILE there and start its workers anew, or restore on a host "
        "that has one."
    )
