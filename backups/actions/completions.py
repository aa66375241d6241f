"""What a job leaves when its last stage is done, kind by kind: in the transaction that ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime

from backups.actions.admission import give_out_soon
from backups.actions.followups import close_tasks_of_completed
from backups.actions.receipts import record_passed
from backups.actions.restores import CHECKPOINT_NOTE, CHECKPOINT_TRIGGER
from backups.actions.transitions import record
from backups.actions.usage import usage_kept
from backups.models import Backup, BackupStatus, Job, Site
from backups.states import JobKind

# The way back from a restore stays until somebody says that it went well.
_PIN: dict[str, Any] = {"pinned_at": Now(), "pin_note": CHECKPOINT_NOTE}


def record_completion(job: Job, warnings: Sequence[str]) -> None:
    """Write what the completed job stands for, and say so in its log."""
    outputs = {stage.name: stage.outputs for stage in job.stages.all()}
    _RECORDERS[JobKind(job.kind)](job, outputs)
    words = f"Completed with {len(warnings)} warnings" if warnings else "Completed"
    record(job.pk, epoch=job.epoch, kind="completed", message=words)


def _record_backup(job: Job, outputs: dict[str, Any]) -> None:
    """Make the Backup exist: here, and in `catalogue` where only its bundle is left."""
    sealed, stored = outputs["create_bundle"], outputs["upload_remote"]
    dumped = outputs.get("backup_db", {})
    with usage_kept(job.site_id):
        Backup.objects.create(
            site_id=job.site_id,
            job=job,
            storage_id=job.storage_id,
            status=BackupStatus.SUCCESS,
            object_key=stored["key"],
            size_bytes=stored["size"],
            sha256=sealed["sha256"],
            verified_by=stored["verified_by"],
            is_suspect=bool(sealed["suspicions"]),
            # Who proves it needs a server of that kind.
            facts={**sealed["facts"], "database_engine": dumped.get("engine", "")},
            encrypted_to=sealed.get("encrypted_to", []),
            created_at=Now(),
            checked_at=Now(),
            locked_until=parse_datetime(stored.get("locked_until") or ""),
            **(_PIN if job.trigger == CHECKPOINT_TRIGGER else {}),
        )
        # One more may be one too many.
        Site.objects.filter(pk=job.site_id).update(retention_due_at=Now())
    close_tasks_of_completed(job)
    if job.waiting.exists():
        give_out_soon(job.node_id)


def _record_restore(job: Job, outputs: dict[str, Any]) -> None:
    """Nothing but the job itself: what it did is in its stages."""


_RECORDERS: dict[JobKind, Callable[[Job, dict[str, Any]], None]] = {
    JobKind.BACKUP: _record_backup,
    JobKind.RESTORE: _record_restore,
    JobKind.VERIFY: record_passed,
}
