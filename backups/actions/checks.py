"""The daily look at what is stored: each object is there, with the size and checksum it had.

Nothing is read but what the storage says of the object: the proof by a restore is another thing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError

from backups.actions import errands
from backups.actions.errands import Order, Outcome
from backups.actions.findings import note_findings
from backups.actions.transitions import seconds_from_now
from backups.errors import NodeWorkError
from backups.models import Backup, Errand, ErrandKind, Node
from backups.queries.checks import (
    REST,
    backups_to_check,
    check_key,
    nodes_free_to_check,
    recorded,
)

logger = logging.getLogger(__name__)

NODES_AT_ONCE, BACKUPS_AT_ONCE, MOST_SECONDS = 5, 50, 3.0


def start_due_checks() -> int:
    """Ask nodes to look at what was not looked at for a day; return how many were asked."""
    started, until = 0, time.monotonic() + MOST_SECONDS
    for node in nodes_free_to_check()[:NODES_AT_ONCE]:
        if time.monotonic() > until:
            break
        try:
            started += _ask(node)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except Exception:
            logger.exception("nobody looks at what is stored from %s", node)
    return started


def finish(errand: Errand, answer: Mapping[str, Any]) -> Outcome:
    """Write down what was found, and when."""
    found: dict[int, str] = {int(key): words for key, words in answer["problems"].items()}
    note_findings(found)
    for key, until in answer["locks"].items():
        # Somebody may have set one in the storage itself, or made it longer.
        Backup.objects.filter(pk=key).update(locked_until=datetime.fromisoformat(until))
    return Outcome(len(found))


def refuse(errand: Errand, error: NodeWorkError) -> Outcome:
    """Leave the storage alone for a while."""
    return Outcome(error=error.message)


def _ask(node: Node) -> bool:
    batch = backups_to_check(node, BACKUPS_AT_ONCE)
    if not batch:
        _rest(node)
        return False
    storage_id = batch[0].storage_id
    objects = [{**recorded(backup), "checksum": _checksum_of(backup)} for backup in batch]
    return errands.send(
        Order(
            key=check_key(node, storage_id),
            kind=ErrandKind.CHECK,
            node=node,
            query="check_objects",
            arguments={"storage_id": storage_id, "objects": objects},
            backups=[{"id": backup.pk} for backup in batch],
        )
    )


def _rest(node: Node) -> None:
    """Look again in a while whether there is something to look at."""
    errand = errands.row_of(f"{REST}{node.pk}", ErrandKind.CHECK, node)
    pause = seconds_from_now(settings.HOLDFAST_TIDY_SECONDS)
    Errand.objects.filter(pk=errand.pk).update(not_before=pause)


def _checksum_of(backup: Backup) -> str:
    """Return what the storage said when the bundle was stored, as long as its job is known."""
    stages = backup.job.stages.all() if backup.job else []
    for stage in stages:
        if stage.name == "upload_remote":
            return str(stage.outputs.get("checksum", ""))
    return ""
