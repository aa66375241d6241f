"""Proofs: when a backup is restored for trial."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError

from backups import queries
from backups.actions.jobs import begin_job
from backups.actions.keys import no_keys
from backups.errors import (
    BackupAlreadyRunningError,
    DomainError,
    NodeDisabledError,
    RestoreRefusedError,
)
from backups.models import Backup, BackupStatus, Job, Node, Site
from backups.roles import Person
from backups.states import JobKind

logger = logging.getLogger(__name__)

TRIGGER = "schedule"
# After everything that somebody waits for.
PROOF_PRIORITY = -100


def start_proof(
    *,
    backup: Backup,
    requested_by: Person | None = None,
    trigger: str = "manual",
    node: Node | None = None,
) -> Job:
    """Record a proof of the backup and have it sent; at most one of a backup runs at a time.

    On `node`, else on the site's own if that can, else on one that can. Raises
    `RestoreRefusedError` for a backup without a bundle or one that no node can prove,
    `NodeDisabledError`, and `BackupAlreadyRunningError`.
    """
    # As it is now: whoever asks may have found it before it was moved.
    backup.site = Site.objects.select_related("node").get(pk=backup.site_id)
    if backup.status != BackupStatus.SUCCESS or not backup.object_key:
        raise RestoreRefusedError("This backup failed: there is no bundle to prove.")
    prover = node or queries.prover_of(backup)
    if prover is None:
        raise _why_nowhere(backup)
    where = "" if prover == backup.site.node else f" on {prover}"
    try:
        return begin_job(
            kind=JobKind.VERIFY,
            site=backup.site,
            node=prover,
            storage=backup.storage,
            requested_by=requested_by,
            trigger=trigger,
            message=f"Proof of {backup.filename} is queued{where}",
            holds_site=False,
            source=backup,
            active_proof=backup,
            priority=PROOF_PRIORITY,
        )
    except IntegrityError as error:
        if "active_proof" not in str(error):
            raise
        raise BackupAlreadyRunningError(f"A proof of {backup} is already running.") from error


def _why_nowhere(backup: Backup) -> DomainError:
    """Return what keeps the site's own node from it: no other one was in question."""
    site, made_on = backup.site, queries.node_of_backup(backup)
    if not site.node.is_enabled:
        return NodeDisabledError(f"{site.node} is disabled; enable it to work on {site.name}.")
    if not queries.can_reach(site.node, backup):
        return RestoreRefusedError(
            f"The bundle lies in a folder of {made_on}, not of {site.node}, and {made_on} cannot "
            "prove it: it needs a live worker, and a scratch server for the database."
        )
    return no_keys(site.node)


def begin_again(*, job: Job, requested_by: Person | None) -> Job:
    """Begin the proof anew that failed or was stopped."""
    if job.source is None:
        raise RestoreRefusedError("The backup that was to be proven is no longer there.")
    return start_proof(backup=job.source, requested_by=requested_by, trigger="retry")


def start_due_proofs() -> int:
    """Start the proofs that are due, at most one on each node; return how many."""
    if not _is_time():
        return 0
    started = 0
    for node, backup in queries.proofs_due(every=settings.HOLDFAST_PROOFS == "every"):
        try:
            start_proof(backup=backup, trigger=TRIGGER, node=node)
            started += 1
        except (OperationalError, InterfaceError):
            raise  # the database is away, for the others as well
        except DomainError as refusal:
            logger.info("the proof of %s is left out: %s", backup, refusal.message)
    return started


def _is_time() -> bool:
    """Tell whether proofs may begin now: each backup's at any time, rolling ones by night."""
    if settings.HOLDFAST_PROOFS == "every":
        return True
    if settings.HOLDFAST_PROOFS == "off":
        return False
    first, last = settings.HOLDFAST_PROOF_HOURS
    hour = datetime.now(UTC).hour
    return first <= hour < last if first < last else hour >= first or hour < last
